"""Everything that is wrong with a value, against the type that it should have. msgspec names the first fault only.

Imported where there is a fault.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Iterator
from typing import Any

from msgspec import inspect

Place = tuple[str | int, ...]
"""Where a value is, as `yamlfile.Place`."""


def faults(value: Any, kind: Any, place: Place) -> Iterator[tuple[Place, str]]:
    """All that is wrong with a value of this type (as msgspec.inspect describes types), in plain words."""
    words = ""
    if isinstance(kind, inspect.Metadata):
        words, kind = (kind.extra_json_schema or {}).get("description", ""), kind.type
    if isinstance(kind, inspect.UnionType):
        if value is None and kind.includes_none:
            return
        kinds = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
        if all(isinstance(one, inspect.StructType) for one in kinds) and len(kinds) > 1 and isinstance(value, dict):
            tagged = {one.tag: one for one in kinds if isinstance(one, inspect.StructType)}
            field = next(one.tag_field for one in tagged.values())
            if field not in value:
                yield place, f"must say which one it is, in the field {field!r}"
            elif str(value[field]) not in tagged:
                listed = ", ".join(map(repr, tagged))
                yield place, f"the {field!r} should be one of {listed} (it is {value[field]!r})"
            else:
                yield from faults(value, tagged[str(value[field])], place)
            return
        found = [list(faults(value, one, place)) for one in kinds]
        if all(found):
            yield from found[0]
    elif isinstance(kind, inspect.StructType):
        yield from _of_fields(value, kind, place)
    elif isinstance(kind, inspect.ListType | inspect.DictType):
        what = "list" if isinstance(kind, inspect.ListType) else "mapping"
        if not isinstance(value, list if what == "list" else dict):
            yield place, f"should be a {what}{_given(value)}"
            return
        if len(value) < (kind.min_length or 0):
            yield place, "must not be empty"
        if kind.max_length is not None and len(value) > kind.max_length:
            yield place, f"should have at most {kind.max_length} entries, not {len(value)}"
        if isinstance(kind, inspect.DictType):
            for key in value:
                yield from faults(key, kind.key_type, (*place, str(key)))
        held = kind.item_type if isinstance(kind, inspect.ListType) else kind.value_type
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from faults(item, held, (*place, key if isinstance(key, int) else str(key)))
    elif isinstance(kind, inspect.LiteralType):
        if value not in kind.values:
            yield place, f"should be {' or '.join(map(repr, kind.values))}{_given(value)}"
    elif what := _leaf_fault(value, kind):
        yield place, (words if isinstance(value, str) and words else what) + _given(value)


def _of_fields(value: Any, kind: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if not isinstance(value, dict):
        yield place, f"should be a mapping of fields{_given(value)}"
        return
    known = {field.encode_name: field for field in kind.fields}
    for name, field in known.items():
        if name in value:
            yield from faults(value[name], field.type, (*place, name))
        elif field.required:
            yield (*place, name), "is required"
    for name in value:
        if name not in known and name != kind.tag_field:
            near = difflib.get_close_matches(str(name), known, 1)
            yield (*place, str(name)), "is not a known field" + (f"; did you mean {near[0]!r}?" if near else "")


def _leaf_fault(value: Any, kind: Any) -> str:
    """What is wrong with a value that holds no others."""
    plain, what = _LEAVES[type(kind).__name__]
    if not isinstance(value, plain) or (isinstance(value, bool) and plain is not bool):
        return f"should be {what}"
    if isinstance(kind, inspect.StrType):
        if len(value) < (kind.min_length or 0):
            return "must not be empty"
        matches = kind.pattern is None or re.search(kind.pattern, value)
        return "" if matches else f"should match the pattern {kind.pattern!r}"
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        if isinstance(value, float) and not math.isfinite(value):
            return "should be a finite number"
        for limit, holds, how in (
            (kind.gt, operator.gt, "greater than"),
            (kind.ge, operator.ge, "greater than or equal to"),
            (kind.lt, operator.lt, "less than"),
            (kind.le, operator.le, "less than or equal to"),
        ):
            if limit is not None and not holds(value, limit):
                return f"should be {how} {limit:,}"
    return ""


_LEAVES: dict[str, tuple[Any, str]] = {
    "StrType": (str, "text"),
    "BoolType": (bool, "a boolean: true or false"),
    "IntType": (int, "a whole number (an integer)"),
    "FloatType": (int | float, "a number"),
}


def _given(value: Any) -> str:
    return f" (it is {value!r})" if isinstance(value, str | int | float) and len(str(value)) < 60 else ""
