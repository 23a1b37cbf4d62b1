"""Sessions of language agents through the providers' own SDKs, with a local server that says what a test scripts."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.agents.models.dialects import (
    OPENAI,
    PROVIDERS,
    AnthropicDialect,
    Dialect,
    GeminiDialect,
)
from tests.agents.models.server import Reply, Server, named, sse
from tests.runner.rig import Driven, driven
from workbench.agents.catalogue import FOLDER
from workbench.agents.config import AgentConfig, read_agent
from workbench.agents.language_agent import LanguageAgent

every = pytest.mark.parametrize("dialect", PROVIDERS, ids=str)
"""With each provider."""

BILL = {
    # Each scripted answer: 1000 tokens in, of which 400 were cached (and with Anthropic 100 written), and 50 out.
    "openai": (600 * 2.5 + 400 * 1.25 + 50 * 10) / 1e6,  # gpt-4o
    "anthropic": (500 * 3 + 400 * 0.3 + 100 * 3.75 + 50 * 15) / 1e6,  # claude-sonnet-4-6
    "gemini": (600 * 1.25 + 400 * 0.125 + 50 * 10) / 1e6,  # gemini-2.5-pro; 20 of the 50 are thoughts
}
"""Dollars of one scripted answer, from the providers' published prices."""

SIGNATURE = "c2lnbmVk"


def said(dialect: Dialect, action: str, thought: str = "So be it.") -> Reply:
    """An answer as `default` reads it."""
    return dialect.answer(f"{thought}\n", "```bash\n", f"{action}\n```")


def called(dialect: Dialect, name: str, **arguments: Any) -> Reply:
    """A call of a tool, in the provider's own way."""
    if isinstance(dialect, GeminiDialect):
        call = {"functionCall": {"name": name, "args": arguments}}
        chunks = [dialect.chunk({"text": "A thought."}), dialect.chunk(call)]
        return Reply(dialect.stream([*chunks, dialect.chunk(finish="STOP", usageMetadata=dialect.usage)]))
    text = json.dumps(arguments)
    if isinstance(dialect, AnthropicDialect):
        use = {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
        pieces = [{"type": "input_json_delta", "partial_json": part} for part in (text[:5], text[5:])]
        block = dialect.block(1, use, *pieces)
        words = dialect.block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "A thought."})
        return Reply(named(dialect.start(), *words, *block, *dialect.end("tool_use")))
    function = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": text[:5]}}
    rest = {"index": 0, "function": {"arguments": text[5:]}}
    events = [OPENAI.chunk({"content": "A thought."}), *(OPENAI.chunk({"tool_calls": [it]}) for it in (function, rest))]
    return Reply(sse(*events, OPENAI.chunk({}, "tool_calls"), OPENAI.usage))


def make_agent(
    dialect: Dialect, server: Server, name: str = "default", model: str = "", **changes: Any
) -> LanguageAgent:
    """A shipped agent, perhaps changed, whose model is behind that server."""
    config: AgentConfig = read_agent(FOLDER / f"{name}.yaml")
    return LanguageAgent(replace(config, **changes), dialect.make(server, model))


@contextlib.asynccontextmanager
async def talking(
    root: Path, dialect: Dialect, server: Server, name: str = "default", **options: Any
) -> AsyncIterator[Driven]:
    """A session of a shipped agent with that server."""
    async with driven(root, make_agent(dialect, server, name), **options) as session:
        yield session


def asked(server: Server, call: int = -1) -> str:
    """All that was sent in a call, as JSON."""
    return json.dumps(server.calls[call].body)


def thoughtful(dialect: Dialect, thought: str, name: str, **arguments: Any) -> Reply:
    """A call of a tool after some reasoning, which is signed by those who sign it."""
    if isinstance(dialect, GeminiDialect):
        call = {"functionCall": {"name": name, "args": arguments}, "thoughtSignature": SIGNATURE}
        chunks = [dialect.chunk({"text": thought, "thought": True}), dialect.chunk(call)]
        return Reply(dialect.stream([*chunks, dialect.chunk(finish="STOP", usageMetadata=dialect.usage)]))
    if isinstance(dialect, AnthropicDialect):
        block = {"type": "thinking", "thinking": "", "signature": ""}
        deltas = [{"type": "thinking_delta", "thinking": thought}, {"type": "signature_delta", "signature": SIGNATURE}]
        use = {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
        piece = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
        blocks = [*dialect.block(0, block, *deltas), *dialect.block(1, use, piece)]
        return Reply(named(dialect.start(), *blocks, *dialect.end("tool_use")))
    function = {"name": name, "arguments": json.dumps(arguments)}
    events = [
        OPENAI.chunk({"reasoning_content": thought}),
        OPENAI.chunk({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}),
        OPENAI.chunk({}, "tool_calls"),
    ]
    return Reply(sse(*events, OPENAI.usage))
