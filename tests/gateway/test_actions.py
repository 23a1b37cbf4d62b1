"""The action of an answer as a person reads it, and the answer that an edited one amounts to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workbench.gateway.actions import rewritten, shown
from workbench.gateway.protocols.base import Said, ToolCall


def call(name: str, number: int = 1, **arguments: Any) -> ToolCall:
    return ToolCall(f"c{number}", name, json.dumps(arguments))


@pytest.mark.parametrize(
    ("calls", "action", "edited", "arguments"),
    [
        ([call("bash", command="ls")], "ls", "pwd", [{"command": "pwd"}]),
        ([call("run", anything="ls")], "ls", "pwd", [{"anything": "pwd"}]),
        ([call("Bash", command="ls", description="List.")], "ls", "pwd", [{"command": "pwd", "description": "List."}]),
        ([call("exec_command", cmd="ls", workdir="/")], "ls", "pwd", [{"cmd": "pwd", "workdir": "/"}]),
        (
            [call("shell", command=["bash", "-lc", "ls"], timeout_ms=5)],
            "ls",
            "pwd",
            [{"command": ["bash", "-lc", "pwd"], "timeout_ms": 5}],
        ),
        (
            [call("str_replace_editor", command="view", path="a.py")],
            'str_replace_editor {\n "command": "view",\n "path": "a.py"\n}',
            'str_replace_editor {"command": "view", "path": "b.py"}',
            [{"command": "view", "path": "b.py"}],
        ),
        (
            [call("bash", 1, command="ls"), call("bash", 2, command="pwd")],
            'bash {\n "command": "ls"\n}\nbash {\n "command": "pwd"\n}',
            'bash {"command": "pwd"}',
            [{"command": "pwd"}],
        ),
        ([call("finish")], "finish {}", 'finish {"message": "x"}', [{"message": "x"}]),
    ],
)
def test_calls_of_tools(calls: list[ToolCall], action: str, edited: str, arguments: list[Any]) -> None:
    said = Said("I look.", calls=tuple(calls))
    before = shown(said)
    assert (before.thought, before.action) == ("I look.", action)
    assert rewritten(said, before, "I look.", action) == ("I look.", tuple(calls))
    text, now = rewritten(said, before, "I think.", edited)
    assert text == "I think." and [json.loads(each.arguments) for each in now] == arguments
    assert {each.id for each in now} <= {each.id for each in calls}


def test_a_call_whose_arguments_are_no_json() -> None:
    said = Said(calls=(ToolCall("c1", "apply_patch", "*** Begin Patch\n*** End Patch"),))
    before = shown(said)
    assert before.action == "apply_patch *** Begin Patch\n*** End Patch"
    assert rewritten(said, before, "", "apply_patch *** Nothing")[1][0].arguments == "*** Nothing"


@pytest.mark.parametrize(
    ("text", "thought", "action", "edited", "after"),
    [
        (
            "So:\n```bash\nls\n```\nThat is all.",
            "So:\n\nThat is all.",
            "ls",
            "pwd",
            "So:\n```bash\npwd\n```\nThat is all.",
        ),
        ("~~~\n```mswea_bash_command\nls -a\nls\n```", "~~~", "ls -a\nls", "x", "~~~\n```mswea_bash_command\nx\n```"),
        ("I am done.", "I am done.", "", "ls", "I am done.\n\n```bash\nls\n```"),
        ("Not closed:\n```bash\nls", "Not closed:\n```bash\nls", "", "", "Not closed:\n```bash\nls"),
        (
            "One\n```sh\na\n```\ntwo\n```sh\nb\n```",
            "One\n```sh\na\n```\ntwo\n```sh\nb\n```",
            "```sh\na\n```\n```sh\nb\n```",
            "```sh\na\n```\n```sh\nc\nd\n```",
            "One\n```sh\na\n```\ntwo\n```sh\nc\nd\n```",
        ),
    ],
)
def test_fenced_blocks(text: str, thought: str, action: str, edited: str, after: str) -> None:
    said = Said(text)
    before = shown(said)
    assert (before.thought, before.action) == (thought, action)
    assert rewritten(said, before, thought, edited) == (after, ())
    assert rewritten(said, before, thought, action) == (text, ())


def test_another_thought_before_a_fenced_block() -> None:
    said = Said("So:\n```bash\nls\n```")
    assert rewritten(said, shown(said), "Otherwise.", "pwd") == ("Otherwise.\n\n```bash\npwd\n```", ())
    several = Said("```sh\na\n```\n```sh\nb\n```")
    with pytest.raises(ValueError, match="2 fenced blocks"):
        rewritten(several, shown(several), several.text, "```sh\na\n```")
