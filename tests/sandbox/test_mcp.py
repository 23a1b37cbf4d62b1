"""`mlgym-mcp`: validate and submit as tools of the Model Context Protocol, and what a careless client may send."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workbench.sandbox.base import SandboxSpec
from workbench.sandbox.local import LocalSandbox


async def ask(workspace: Path, *messages: Any) -> list[dict[str, Any]]:
    """What the server says to these messages."""
    sandbox = LocalSandbox(SandboxSpec(session="test"), workspace, "none")

    async def score(request: dict[str, Any]) -> dict[str, Any]:
        good = request["request"] == "validate"
        return {"ok": good, "text": "Score: 1" if good else "nothing to submit", "exit_code": 0 if good else 1}

    sandbox.on_request = score
    await sandbox.start()
    try:
        lines = "".join((m if isinstance(m, str) else json.dumps(m)) + "\n" for m in messages)
        done = await sandbox.exec(["mlgym-mcp"], stdin=lines.encode())
    finally:
        await sandbox.stop()
    assert (done.exit_code, done.stderr) == (0, b"")
    return [json.loads(line) for line in done.stdout.splitlines()]


def request(method: str, number: int = 1, **parameters: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}


async def test_an_agent_takes_its_tools_from_the_server(workspace: Path) -> None:
    begun, listed, scored, refused = await ask(
        workspace,
        request("initialize", protocolVersion="2025-06-18", capabilities={}),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        request("tools/list", 2),
        request("tools/call", 3, name="validate", arguments={}),
        request("tools/call", 4, name="submit"),
    )
    assert begun["result"]["protocolVersion"] == "2025-06-18"
    assert [tool["name"] for tool in listed["result"]["tools"]] == ["validate", "submit"]
    assert all(tool["inputSchema"]["type"] == "object" for tool in listed["result"]["tools"])
    assert scored["id"] == 3
    assert scored["result"] == {"content": [{"type": "text", "text": "Score: 1\n"}], "isError": False}
    assert refused["result"]["isError"] is True


async def test_what_is_no_request_is_answered_with_an_error(workspace: Path) -> None:
    said = await ask(
        workspace,
        "no json",
        "",
        "[1]",
        {"jsonrpc": "2.0", "id": 7, "result": {}},
        request("tools/call", 8, name="rm"),
        request("resources/list", 9),
        {"jsonrpc": "2.0", "id": 10, "method": "ping", "params": [1]},
        "[" * 100_000,
        request("ping", 11),
    )
    codes = [(each["id"], each.get("error", {}).get("code")) for each in said]
    assert codes == [
        (None, -32700), (None, -32600), (8, -32602), (9, -32601), (10, -32602), (None, -32700), (11, None)
    ]  # fmt: skip
