"""Plain values (texts, numbers, lists, mappings) from other people's files, made safe to handle and to show."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec

_MOST_LEVELS = 100
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")


def read_json(data: bytes | str, *, strict: bool = True, constant: Callable[[str], Any] | None = None) -> Any:
    """The value of a JSON text. Unpaired surrogates in it are replaced; `constant` makes something else of NaN and
    Infinity, which some write though JSON has none.

    Raises ValueError for what is no JSON, and for what is nested so deeply that nothing could be done with it.
    """
    try:
        value = json.loads(data, strict=strict, parse_constant=constant)
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


def without_defaults(struct: msgspec.Struct, *, in_lists: bool = False) -> dict[str, Any]:
    """The fields of a record that differ from their defaults, and so of the records in it; with `in_lists`, of those in
    lists, too.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, msgspec.Struct):
            return without_defaults(value, in_lists=in_lists)
        return [plain(item) for item in value] if in_lists and isinstance(value, list) else value

    said: dict[str, Any] = {}
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        if value != default:
            said[field.name] = plain(value)
    return said
