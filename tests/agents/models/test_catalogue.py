"""Models by name, and what naming them loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

from workbench.agents.agent import ModelError
from workbench.agents.messages import ChatModel, Message, Sampling
from workbench.agents.models.catalogue import make_model
from workbench.agents.models.tokens import estimate_prompt
from workbench.session.prices import nearest_models

ENV = {"OPENAI_API_KEY": "key-1", "ANTHROPIC_API_KEY": "key-2", "GEMINI_API_KEY": "key-3"}


@pytest.mark.parametrize("name", ["openai:gpt-4o", "anthropic:claude-opus-5-5", "gemini:gemini-2.5-pro", "openai:a:b"])
def test_models_are_made_by_name(name: str) -> None:
    model: ChatModel = make_model(name, env=ENV)
    assert model.name == name and name in repr(model)
    assert model.partial().text == ""


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gpt-4o", "did you mean openai:gpt-4o"),
        ("claude-opus-5.5", "anthropic:claude-opus-5-5"),
        ("openapi:gpt-4o", "there is no provider 'openapi' \\(there are openai, anthropic, gemini\\)"),
        ("openai:", "is not provider:name"),
        ("", "for example openai:"),
        ("zzz", "for example openai:"),
    ],
)
def test_a_name_that_is_none(name: str, says: str) -> None:
    with pytest.raises(ModelError, match=says) as caught:
        make_model(name, env=ENV)
    assert caught.value.cause == "error" and "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["", "localhost:8000", "ftp://host", "http://", "http://host:port", "http://[::1"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(ModelError, match="not the address of a server"):
        make_model("openai:llama", base_url=address, env=ENV)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("openai:gpt-4-o", "openai:gpt-4o"),
        ("anthropic:claude-sonet-4-6", "anthropic:claude-sonnet-4-6"),
        ("gemini:gemini-2.5-flashlite", "gemini:gemini-2.5-flash-lite"),
    ],
)
def test_nearest_names(wrong: str, right: str) -> None:
    assert nearest_models(wrong)[0] == right


@pytest.mark.parametrize("address", ["http://ada:secret-word@host/v1", "https://secret-word@host:8000/v1"])
def test_an_address_that_would_be_logged_holds_no_password(address: str) -> None:
    with pytest.raises(ModelError, match="set MLGYM_MODEL_API_KEY instead") as caught:
        make_model("openai:m", base_url=address, env={})
    assert "secret-word" not in str(caught.value)


def test_naming_a_model_loads_no_sdk() -> None:
    code = (
        "from workbench.agents.models.catalogue import make_model\n"
        "import sys\n"
        "for name in ('openai:gpt-4o', 'anthropic:claude-opus-5', 'gemini:gemini-2.5-pro'):\n"
        f"    make_model(name, env={ENV})\n"
        "print('loaded:', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.partition("loaded:")[2].split())
    heavy = {"openai", "anthropic", "google.generativeai", "google.ai", "google.genai", "httpx", "httpx2", "requests"}
    assert loaded.isdisjoint({*heavy, "yaml", "textual"})


def test_the_worst_case_of_a_call() -> None:
    model = make_model("anthropic:claude-sonnet-4-6", env=ENV)
    messages = [Message("user", "x" * 700)]
    tokens = estimate_prompt(messages)
    # all of it written to the cache at 3.75, 1,000 out at 15; without a limit of its own the call is sent 8,192
    assert model.worst_case(messages, sampling=Sampling(max_output_tokens=1_000)) == pytest.approx(
        (tokens * 3.75 + 1_000 * 15) / 1e6
    )
    assert model.worst_case(messages, sampling=Sampling(max_output_tokens=None)) == pytest.approx(
        (tokens * 3.75 + 8_192 * 15) / 1e6
    )
    assert make_model("openai:my-own", env=ENV).worst_case(messages) is None
