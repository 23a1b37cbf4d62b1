"""Answers from a list, in the form that each program expects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.agents import work
from tests.gateway.rig import gateway, user
from workbench.gateway.answering import UpstreamError
from workbench.gateway.routes import PROTOCOLS
from workbench.gateway.scripted import Said, Scripted
from workbench.gateway.upstream import make_upstream

SCHEMA = {"type": "object", "properties": {"command": {"type": "string"}, "timeout": {"type": "number"}}}
OTHER = {"type": "object", "properties": {"path": {"type": "string"}}}
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": (
        "/v1/chat/completions",
        {
            "messages": [user("Go.")],
            "tools": [
                {"type": "function", "function": {"name": "read", "parameters": OTHER}},
                {"type": "function", "function": {"name": "bash", "parameters": SCHEMA}},
            ],
        },
    ),
    "responses": (
        "/v1/responses",
        {"input": "Go.", "tools": [{"type": "function", "name": "shell", "parameters": SCHEMA}]},
    ),
    "messages": ("/v1/messages", {"messages": [user("Go.")], "tools": [{"name": "Bash", "input_schema": SCHEMA}]}),
    "gemini": (
        "/v1beta/models/m:generateContent",
        {
            "contents": [{"role": "user", "parts": [{"text": "Go."}]}],
            "tools": [{"functionDeclarations": [{"name": "run_command", "parameters": SCHEMA}]}],
        },
    ),
}


@pytest.mark.parametrize("name", FORMS)
async def test_a_command_is_a_call_of_the_shell_that_is_offered(tmp_path: Path, name: str) -> None:
    path, body = FORMS[name]
    async with gateway(tmp_path, upstream=Scripted([Said(say="Look.", run="ls")])) as rig:
        got = await rig.post(path, {"model": "m", **body})
        said = PROTOCOLS[name].said(got.json())
        assert said.text == "Look." and json.loads(said.calls[0].arguments) == {"command": "ls"}
        without = await rig.post(path, {"model": "m", **{n: v for n, v in body.items() if n != "tools"}})
        said = PROTOCOLS[name].said(without.json())
        assert said.text == "Look.\n\n```bash\nls\n```" and not said.calls


async def test_without_a_file_it_looks_validates_and_submits(tmp_path: Path) -> None:
    async with gateway(tmp_path, upstream=make_upstream("scripted")) as rig:
        messages = await work(rig, "Solve it.")
    calls = [call["function"] for each in messages for call in each.get("tool_calls") or ()]
    assert [json.loads(call["arguments"])["command"] for call in calls] == ["ls -la", "validate", "submit"]


def test_a_file_with_faults(tmp_path: Path) -> None:
    script = tmp_path / "script.yaml"
    script.write_text("answers:\n- {say: Hello., runs: ls}\n")
    with pytest.raises(UpstreamError, match=r"line 2.*runs"):
        Scripted.read(script)
