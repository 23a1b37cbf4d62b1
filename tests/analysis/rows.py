"""Rows of runs, made by hand."""

from __future__ import annotations

from typing import Any

from workbench.session.run import Run


def row(task: str, model: str, number: int = 0, **more: Any) -> Run:
    """A finished run that scored `more["attempts"]`; best and last follow from them."""
    attempts = tuple(more.pop("attempts", ()))
    known = [value for value in attempts if value is not None]
    lower = more.get("direction") == "minimize"
    given: dict[str, Any] = {
        "path": f"/runs/{model}-{task}-{number}",
        "ident": f"{model}-{task}-{number}",
        "task": task,
        "model": model,
        "author": "model",
        "metric": "Score",
        "status": "submitted",
        "category": "Success",
        "whole": True,
        "attempts": attempts,
        "best": (min if lower else max)(known) if known else None,
        "last": known[-1] if known else None,
        "kinds": "VEAS",
        "seconds": (1.0, 0.0, 2.0, 2.0),
        "scored_at": tuple(range(3, 3 + len(attempts))),
        "steps": 4,
    }
    return Run(**{**given, **more})
