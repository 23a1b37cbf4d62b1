"""A message as people read it, in the form of any provider."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workbench.session.prompt_view import message_text

CALL = '(calls bash {"command": "ls"}, as c1)'


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"role": "user", "content": "Go on."}, "Go on."),
        ({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}, "a\n(image_url)"),
        (
            {"role": "assistant", "content": [{"type": "output_text", "text": ""}, {"type": "refusal", "refusal": ""}]},
            "",
        ),
        (
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "function": {"name": "bash", "arguments": '{"command": "ls"}'}}],
            },
            CALL,
        ),
        ({"role": "tool", "tool_call_id": "c1", "content": "a.py"}, "(answers the call c1)\na.py"),
        (
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm."},
                    {"type": "tool_use", "id": "c1", "name": "bash", "input": {"command": "ls"}},
                ],
            },
            f"Hm.\n{CALL}",
        ),
        (
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": [{"text": "a.py"}]}]},
            "(answers the call c1)\na.py",
        ),
        ({"type": "function_call", "call_id": "c1", "name": "bash", "arguments": '{"command": "ls"}'}, CALL),
        ({"type": "function_call_output", "call_id": "c1", "output": "a.py"}, "(answers the call c1)\na.py"),
        ({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi."}]}, "Hi."),
        (
            {"role": "model", "parts": [{"functionCall": {"name": "bash", "id": "c1", "args": {"command": "ls"}}}]},
            CALL,
        ),
        (
            {"role": "user", "parts": [{"functionResponse": {"name": "bash", "response": {"result": "a.py"}}}]},
            '(answers the call bash)\n{"result": "a.py"}',
        ),
    ],
)
def test_messages(message: dict[str, Any], text: str) -> None:
    assert message_text(json.dumps(message).encode()) == text


@pytest.mark.parametrize(
    "tool",
    [
        {"name": "bash", "description": "a shell", "parameters": {"type": "object"}},
        {"type": "function", "function": {"name": "bash", "description": "a shell", "parameters": {"type": "object"}}},
        {"name": "bash", "description": "a shell", "input_schema": {"type": "object"}},
        {"functionDeclarations": [{"name": "bash", "description": "a shell", "parameters": {"type": "object"}}]},
    ],
)
def test_tools(tool: dict[str, Any]) -> None:
    assert message_text(json.dumps([tool]).encode()) == 'bash: a shell\n{\n  "type": "object"\n}'
