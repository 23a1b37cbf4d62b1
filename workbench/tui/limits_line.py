"""The limits of a session as a line that a person changes: `steps=50 cost=4`."""

from __future__ import annotations

from typing import Any

import msgspec

from workbench.session.events import Limits


def limits_line(limits: Limits) -> str:
    """Those that are set."""
    given = msgspec.structs.asdict(limits)
    return " ".join(
        f"{name}={int(value) if value == int(value) else value}" for name, value in given.items() if value is not None
    )


def read_limits_line(line: str) -> dict[str, Any]:
    """The fields of `ChangeLimits` that a line asks for; `cost=none` removes a limit, and what the line does not name
    stays as it is.

    Raises ValueError, fit to be shown, for what is no limit or no number.
    """
    changes: dict[str, Any] = {}
    for word in line.split():
        name, _, text = word.partition("=")
        if name not in Limits.__struct_fields__:
            raise ValueError(f"{word!r}: limits are steps, seconds, cost, tokens and validates, as in cost=5")
        if text.lower() == "none":
            changes.setdefault("remove", []).append(name)
            continue
        kind = float if name in ("seconds", "cost") else int
        text = text.replace(",", "").replace("_", "").removeprefix("$")
        try:
            changes[name] = kind(text)
        except ValueError:
            raise ValueError(f"{word!r}: {text!r} is no number") from None
    return changes
