"""What providers say of the tokens that a call took, in the JSON of their answers: read for the models that we ask, and
for the calls of others that go through the gateway.
"""

from __future__ import annotations

from typing import Any

from workbench.session.events import Usage


def part(value: Any, name: str) -> Any:
    """The field of a JSON object; None for what is none."""
    return value.get(name) if isinstance(value, dict) else None


def count(value: Any, name: str) -> int:
    """A number of tokens in a JSON object. 0 if it is no such number: servers that imitate a provider may send
    anything.
    """
    found = part(value, name)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < 1e12:
        return 0
    return int(found)


def chat_usage(usage: Any, sent: str = "prompt", made: str = "completion") -> Usage | None:
    """Of OpenAI's Chat Completions; None where nothing is told. `sent` and `made` are what its fields call the two."""
    if not isinstance(usage, dict):
        return None
    details = usage.get(f"{sent}_tokens_details")
    whole = count(usage, f"{sent}_tokens")
    cached = min(whole, count(details, "cached_tokens"))
    return Usage(
        input_tokens=whole,
        output_tokens=count(usage, f"{made}_tokens"),
        cached_tokens=cached,
        cache_write_tokens=min(whole - cached, count(details, "cache_write_tokens")),
        reasoning_tokens=count(usage.get(f"{made}_tokens_details"), "reasoning_tokens"),
    )


def responses_usage(usage: Any) -> Usage | None:
    """Of OpenAI's Responses."""
    return chat_usage(usage, "input", "output")


def messages_usage(usage: Any, before: Usage | None = None) -> Usage | None:
    """Of Anthropic's Messages: input from the first event of a stream, output from the last, and later corrections.
    `before` is what was told so far.
    """
    if not isinstance(usage, dict):
        return before
    known = before or Usage()
    earlier = {
        "cache_read_input_tokens": known.cached_tokens,
        "cache_creation_input_tokens": known.cache_write_tokens,
        "input_tokens": known.input_tokens - known.cached_tokens - known.cache_write_tokens,  # ours is the sum
    }
    read, written, plain = (
        number if usage.get(name) is None else count(usage, name) for name, number in earlier.items()
    )
    return Usage(
        input_tokens=plain + read + written,
        output_tokens=count(usage, "output_tokens"),
        cached_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=count(usage.get("output_tokens_details"), "thinking_tokens"),
    )


def gemini_usage(usage: Any) -> Usage | None:
    """Of Google's generateContent."""
    if not isinstance(usage, dict):
        return None
    sent, total = count(usage, "promptTokenCount"), count(usage, "totalTokenCount")
    visible = count(usage, "candidatesTokenCount")
    thought = count(usage, "thoughtsTokenCount") or max(0, total - sent - visible)
    return Usage(
        input_tokens=sent,
        output_tokens=visible + thought,
        cached_tokens=count(usage, "cachedContentTokenCount"),
        reasoning_tokens=thought,
    )
