"""Answers that no server gives: of a script, or of a person, in the form that a program expects."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from workbench.agents.remote import Host
from workbench.gateway.actions import COMMANDS, is_shell, read_calls
from workbench.gateway.answering import Reply, Unanswered, Upstream
from workbench.gateway.protocols.base import Asked, ToolCall

_SCHEMAS = ("parameters", "input_schema", "parametersJsonSchema", "parameters_json_schema")
"""What the protocols, and google-genai, call the schema of a tool."""


def composed(asked: Asked, say: str, run: str) -> Reply:
    """The answer to a request that says one thing, and runs another: a command, which becomes a call of the shell among
    the tools that the program offers, else a fenced block; or calls of its tools by their names. Raises ValueError.
    """
    tools = dict(_offered(json.loads(asked.tools) if asked.tools else []))
    calls: list[tuple[str, str]] = []
    if (named := re.match(r"\s*(\S+)\s*\{", run)) and named[1] in tools:
        calls = list(read_calls(run))
    elif run and (shell := _shell(tools)) is not None:
        name, place = shell
        calls = [(name, json.dumps({place: run}, ensure_ascii=False))]
    elif run:
        say = f"{say}\n\n```bash\n{run}\n```".strip()
    made = [ToolCall(f"call_{secrets.token_hex(8)}", name, arguments) for name, arguments in calls]
    whole = asked.protocol.written(say, made, asked.model)
    if asked.stream:
        return ready(asked.protocol.streamed(whole, asked), "text/event-stream")
    return ready([asked.protocol.body(whole, asked)], "application/json")


def ready(pieces: Sequence[bytes], media: str) -> Reply:
    """A reply that is there already."""

    async def each() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return Reply(200, [("content-type", media)], each(), recorded=True)


def _shell(tools: dict[str, Any]) -> tuple[str, str] | None:
    """Name and argument of the tool that takes commands."""
    found = (
        (name, place)
        for name, properties in tools.items()
        for place in COMMANDS
        if place in properties and (is_shell(name) or len(properties) == 1)
    )
    return next(found, None)


def _offered(value: Any) -> Iterator[tuple[str, Any]]:
    """Names of tools, and what they take, in any protocol."""
    if isinstance(value, list):
        for each in value:
            yield from _offered(each)
    elif isinstance(value, dict):
        schema = next((value[name] for name in _SCHEMAS if name in value), None)
        if isinstance(value.get("name"), str) and isinstance(schema, dict):
            yield value["name"], schema.get("properties") or {}
        else:
            for each in value.values():
                yield from _offered(each)


class Local(Upstream):
    """One without a server."""

    async def pass_on(self, method: str, path: str, query: str, headers: list[tuple[str, str]], body: bytes) -> Reply:
        if method == "GET" and path.endswith("/models"):
            mine = {"id": self.name, "object": "model", "created": 0, "owned_by": "me"}
            return ready([json.dumps({"object": "list", "data": [mine]}).encode()], "application/json")
        raise Unanswered(404, "error", "there is no server here that could answer anything but calls of a model")


class ByHand(Exception):
    """A person is to write the answer."""


class Person(Local):
    """`human`: a person writes each answer."""

    name = "human"

    async def answer(self, asked: Asked, host: Host) -> Reply:
        raise ByHand
