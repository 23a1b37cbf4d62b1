"""Where keys are found, and that they show nowhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workbench.agents.agent import ModelError
from workbench.agents.models import keys
from workbench.agents.models.catalogue import make_model
from workbench.agents.models.keys import Key, find_key, find_server_key, scrub
from workbench.session.secrets import Redactor, config_folder, parse_dotenv, secret_values, secrets_in


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=plain", "plain"),
        ("  export NAME = spaced  ", "spaced"),
        ("NAME=with # a comment", "with"),
        ("NAME=with#no comment", "with#no comment"),
        ("NAME='single # quoted' # comment", "single # quoted"),
        ('NAME="double \\"quoted\\" \\n"', 'double "quoted" \n'),
        ("NAME='unfinished", "'unfinished"),
        ("NAME=", ""),
        ("NAME=a=b==", "a=b=="),
        ("\ufeffNAME=after a mark", "after a mark"),
        ("NAME=first\r\nNAME=second\r\n", "second"),
    ],
)
def test_lines_of_a_dotenv(line: str, value: str) -> None:
    assert parse_dotenv(line) == {"NAME": value}


def test_other_lines_mean_nothing() -> None:
    assert parse_dotenv("# NAME=x\n\nwords\n=x\n1NAME=x\nNA-ME=x\n") == {}


def test_the_environment_goes_before_the_files(tmp_path: Path) -> None:
    config = config_folder()
    config.mkdir(parents=True)
    (config / ".env").write_text("OPENAI_API_KEY=from-config\n")
    assert find_key("openai", env={}).reveal() == "from-config"
    (tmp_path / ".env").write_text("OPENAI_API_KEY=from-here\n")
    key = find_key("openai", env={})
    assert (key.reveal(), key.source) == ("from-here", str(tmp_path / ".env"))
    assert find_key("openai", env={"OPENAI_API_KEY": "from-env"}).source == "the environment"
    assert find_key("openai", env={"OPENAI_API_KEY": "  "}).reveal() == "from-here", "an empty one is none"


def test_gemini_has_two_names() -> None:
    assert find_key("gemini", env={"GOOGLE_API_KEY": "google", "GEMINI_API_KEY": "gemini"}).reveal() == "gemini"
    assert find_key("gemini", env={"GOOGLE_API_KEY": "google"}).variable == "GOOGLE_API_KEY"


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
def test_a_missing_key_is_one_sentence_that_names_the_variable(provider: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        make_model(f"{provider}:some-model", env={})
    text = str(caught.value)
    assert caught.value.cause == "auth" and "\n" not in text
    assert keys.VARIABLES[provider][0] in text and str(tmp_path / ".env") in text


def test_a_named_variable_is_the_only_one() -> None:
    env = {"OPENAI_API_KEY": "one", "MY_KEY": "two"}
    key = find_server_key("MY_KEY", env)
    assert key is not None and key.reveal() == "two"
    assert find_server_key("OTHER_KEY", env) is None


@pytest.mark.parametrize("value", ["sk-with\u200bjoiner", "sk-with\x07bell", "two words", "ключ"])
def test_a_key_that_cannot_be_one(value: str) -> None:
    with pytest.raises(ModelError, match="OPENAI_API_KEY") as caught:
        find_key("openai", env={"OPENAI_API_KEY": value})
    assert caught.value.cause == "auth" and value not in str(caught.value)


@pytest.mark.parametrize("data", [b"\xff\xfeO\x00", b"A=" + b"x" * (1 << 20)])
def test_a_file_that_is_no_dotenv(tmp_path: Path, data: bytes) -> None:
    (tmp_path / ".env").write_bytes(data)
    with pytest.raises(ModelError, match=r"\.env") as caught:
        find_key("openai", env={})
    assert caught.value.cause == "auth"
    assert secret_values({}) == set()


def test_a_folder_called_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    with pytest.raises(ModelError, match="there is no key"):
        find_key("openai", env={})


def test_a_key_does_not_show() -> None:
    key = Key("OPENAI_API_KEY", "the environment", "sk-secret-0123456789")
    for shown in (repr(key), str(key), f"{key}", f"{key!r}", "%s" % key, repr([key]), f"{key:>40}"):  # noqa: UP031
        assert "secret" not in shown


def test_files_feed_the_redactor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(
        "OPENAI_API_KEY=sk-in-the-file-1\nHF_TOKEN=hf-in-the-file-2\nEDITOR=neovim-nightly\n"
    )
    monkeypatch.setenv("OPENAI_API_KEY", "sk-in-the-environment")
    assert secret_values() >= {"sk-in-the-file-1", "hf-in-the-file-2", "sk-in-the-environment"}
    assert "neovim-nightly" not in secret_values()
    text = Redactor().text("sk-in-the-file-1 hf-in-the-file-2 sk-in-the-environment neovim-nightly")
    assert text == "[redacted] [redacted] [redacted] neovim-nightly"


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        *((name, True) for name in ("OPENAI_API_KEY", "APIKEY_OF_X", "SSH_KEY", "GPG_PRIVATE_KEY_2", "HF_TOKEN")),
        *((name, True) for name in ("token_of_ci", "DB_PASSWORD", "PASSWD", "CLIENT_SECRET", "AWS_CREDENTIALS")),
        *((name, False) for name in ("EDITOR", "HOME", "KEYBOARD", "MONKEY", "PASS_THROUGH")),
    ],
)
def test_which_variables_are_secret(name: str, secret: bool) -> None:
    assert secrets_in({name: " a value "}) == ({"a value"} if secret else set())


def test_scrubbing_knows_keys_by_their_looks() -> None:
    text = scrub("Incorrect API key: sk-proj-ab****************yz, or my-own, or AIzaSyA1234567890", "my-own")
    assert text == "Incorrect API key: [redacted], or [redacted], or [redacted]"
    assert scrub("the task-force asked for skateboarding") == "the task-force asked for skateboarding"


def test_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    os.rmdir(gone)
    with pytest.raises(ModelError, match="OPENAI_API_KEY"):
        find_key("openai", env={})
