"""A small agent program: asks its model by HTTP, runs what it is told to, and tells what came of it."""

from __future__ import annotations

from typing import Any

import httpx2

from tests.gateway.rig import Rig, user

TOOLS = [
    {
        "type": "function",
        "function": {"name": "bash", "parameters": {"type": "object", "properties": {"command": {"type": "string"}}}},
    }
]


async def work(rig: Rig, words: str, *, most: int = 20, tells: str = "out of {}", **more: Any) -> list[dict[str, Any]]:
    """Ask until an answer calls no tool. Returns the messages of the conversation."""
    import json

    messages = [user(words)]
    for _ in range(most):
        answer = await rig.chat(*messages, tools=TOOLS, **more)
        if answer.status_code != 200:
            raise httpx2.HTTPStatusError(answer.text, request=answer.request, response=answer)
        said = answer.json()["choices"][0]["message"]
        messages.append(said)
        if not said.get("tool_calls"):
            break
        for call in said["tool_calls"]:
            command = json.loads(call["function"]["arguments"])["command"]
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": tells.format(command)})
    return messages
