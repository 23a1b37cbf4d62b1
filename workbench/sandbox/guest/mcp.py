"""`validate` and `submit` as tools of the Model Context Protocol, for agents that take their tools from such a server.

Speaks JSON-RPC 2.0 on standard input and output, a message a line. Each call runs the agent command of that name beside
this file. Standard library only; runs inside the sandbox as `mlgym-mcp`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(HERE)
from agent_commands import COMMANDS  # type: ignore[import-not-found]  # noqa: E402

VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
OFFERED = ("validate", "submit")
LONGEST = 1 << 20
"""Characters of a message."""


class Fault(Exception):
    """An error of the protocol: code and message."""


def tools() -> list[dict[str, Any]]:
    nothing = {"type": "object", "properties": {}, "additionalProperties": False}
    return [{"name": name, "description": COMMANDS[name].about_tool, "inputSchema": nothing} for name in OFFERED]


def call(parameters: dict[str, Any]) -> dict[str, Any]:
    name = parameters.get("name")
    if name not in OFFERED:
        raise Fault(-32602, f"unknown tool: {name!s:.40}")
    command = [sys.executable, "-I", "-S", os.path.join(HERE, "tools.py"), name]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = done.stdout.decode("utf-8", "replace")
    return {"content": [{"type": "text", "text": text}], "isError": done.returncode != 0}


def answer(method: str, parameters: dict[str, Any]) -> dict[str, Any]:
    if method == "initialize":
        wanted = parameters.get("protocolVersion")
        return {
            "protocolVersion": wanted if wanted in VERSIONS else VERSIONS[0],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "mlgym", "version": "1"},
        }
    if method == "ping":
        return {}
    if method == "tools/list":
        return {"tools": tools()}
    if method == "tools/call":
        return call(parameters)
    raise Fault(-32601, f"unknown method: {method:.60}")


def reply(line: str) -> dict[str, Any] | None:
    """The answer to a message; None where it wants none."""
    number = None
    try:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            raise Fault(-32700, "not JSON") from None
        if not isinstance(message, dict) or not isinstance(message.get("method"), str):
            if isinstance(message, dict) and ("result" in message or "error" in message):
                return None
            raise Fault(-32600, "not a request")
        number = message.get("id")
        parameters = message.get("params") or {}
        if number is None:  # a notification
            return None
        if not isinstance(parameters, dict):
            raise Fault(-32602, "the parameters are no object")
        return {"jsonrpc": "2.0", "id": number, "result": answer(message["method"], parameters)}
    except Fault as fault:
        code, text = fault.args
        return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": text}}


def main() -> None:
    while line := sys.stdin.readline(LONGEST):
        if line.strip() and (said := reply(line)) is not None:
            sys.stdout.write(json.dumps(said) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
