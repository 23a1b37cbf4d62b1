"""The limits of a session as a line that a person changes: `steps=50 cost=4`."""

from __future__ import annotations

from typing import TypedDict

import msgspec

from workbench.session.events import Limits


class Changes(TypedDict, total=False):
    """New limits, as `Control.raise_limits` takes them."""

    steps: int
    seconds: float
    cost: float
    tokens: int
    remove: list[str]


def limits_line(limits: Limits) -> str:
    """Those that are set."""
    given = msgspec.structs.asdict(limits)
    return " ".join(
        f"{name}={int(value) if value == int(value) else value}" for name, value in given.items() if value is not None
    )


def read_limits_line(line: str) -> Changes:
    """What a line asks for; `cost=none` removes a limit, and what the line does not name stays as it is.

    Raises ValueError, fit to be shown, for what is no limit or no number.
    """
    changes = Changes()
    for word in line.split():
        name, _, text = word.partition("=")
        if text.lower() == "none" and name in Limits.__struct_fields__:
            changes.setdefault("remove", []).append(name)
            continue
        text = text.replace(",", "").replace("_", "").removeprefix("$")
        try:
            match name:
                case "steps":
                    changes["steps"] = int(text)
                case "tokens":
                    changes["tokens"] = int(text)
                case "seconds":
                    changes["seconds"] = float(text)
                case "cost":
                    changes["cost"] = float(text)
                case _:
                    raise ValueError(f"{word!r}: limits are steps, seconds, cost and tokens, as in cost=5")
        except ValueError as error:
            if name in Limits.__struct_fields__:
                raise ValueError(f"{word!r}: {text!r} is no number") from None
            raise error
    return changes
