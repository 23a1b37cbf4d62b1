"""Plain values (texts, numbers, lists, mappings) out of other people's files, made fit to be handled and shown."""

from __future__ import annotations

import json
import re
from typing import Any

_MOST_LEVELS = 100
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")


def read_json(data: bytes | str, *, strict: bool = True) -> Any:
    """The value of a JSON text. Unpaired surrogates in it are replaced.

    Raises ValueError for what is no JSON, and for what is nested so deeply that nothing could be done with it.
    """
    try:
        value = json.loads(data, strict=strict)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    refuse_deep(value)
    raw = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    return without_surrogates(value) if _SURROGATE.search(raw) else value


def refuse_deep(value: Any, levels: int = _MOST_LEVELS) -> None:
    """Raises ValueError when `value` is nested more deeply."""
    if isinstance(value, list | dict):
        if not levels:
            raise ValueError("it is nested too deeply")
        for item in value.values() if isinstance(value, dict) else value:
            refuse_deep(item, levels - 1)


def without_surrogates(value: Any) -> Any:
    """`value` with texts that can be written and printed: pairs of surrogates become their character, others U+FFFD."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_surrogates(item) for item in value]
    return value
