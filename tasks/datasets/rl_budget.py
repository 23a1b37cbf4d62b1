"""No data, but how much of it: what share of its steps a baseline trains, and how many episodes are evaluated."""

from __future__ import annotations

import json

from workbench.tasks.making import Making


def prepare(making: Making) -> None:
    """Public: shares of the steps and the environments of a config. Secret: seeds, and episodes for each of them."""
    options = making.options
    budget = {"steps": float(options["steps"]), "environments": float(options["environments"])}
    evaluation = {"seeds": int(options["seeds"]), "episodes": int(options["episodes"])}
    (making.public / "budget.json").write_text(json.dumps(budget), encoding="utf-8")
    (making.secret / "evaluation.json").write_text(json.dumps(evaluation), encoding="utf-8")
