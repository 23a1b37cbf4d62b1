"""Random 3-SAT instances with known answers, from a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from workbench.tasks.making import Making

Clause = list[int]
FEWEST, MOST = 3, 10
"""Variables of an instance."""
SPARSEST, DENSEST = 1.0, 11.0
"""Clauses for each variable."""


def prepare(making: Making) -> None:
    """Public: instances to try a heuristic on, with their answers. Secret: those that it is scored on."""
    counts = {"validation": int(making.options["scored"]), "test": int(making.options["scored"])}
    write(making, making.public / "train.jsonl", "train", int(making.options["public"]))
    for split, count in counts.items():
        write(making, making.secret / f"{split}.jsonl", split, count)


def write(making: Making, file: Path, split: str, count: int) -> None:
    with file.open("w", encoding="ascii") as stream:
        for number, (variables, clauses) in enumerate(instances(making.random(split), count)):
            if number % 1000 == 0:
                making.progress(number / count, f"3-SAT instances, {split}")
            instance = {
                "variables": variables,
                "clauses": clauses,
                "satisfiable": satisfiable(variables, clauses),
            }
            stream.write(json.dumps(instance, separators=(",", ":")) + "\n")


def instances(dice: random.Random, count: int) -> Iterator[tuple[int, list[Clause]]]:
    """Number of variables, and clauses of three different variables with random signs."""
    for _ in range(count):
        variables = FEWEST + int(dice.random() * (MOST - FEWEST + 1))
        density = SPARSEST + dice.random() * (DENSEST - SPARSEST)
        yield variables, [clause(dice, variables) for _ in range(round(density * variables))]


def clause(dice: random.Random, variables: int) -> Clause:
    chosen: Clause = []
    while len(chosen) < 3:
        variable = 1 + int(dice.random() * variables)
        if variable not in chosen:
            chosen.append(variable)
    return [variable if dice.random() < 0.5 else -variable for variable in chosen]


def satisfiable(variables: int, clauses: list[Clause]) -> bool:
    """By trying every assignment: bit a of a number stands for assignment a."""
    everything = (1 << (1 << variables)) - 1
    true_in = [table(variable, variables) for variable in range(variables)]
    remaining = everything
    for literals in clauses:
        fulfilled = 0
        for literal in literals:
            where = true_in[abs(literal) - 1]
            fulfilled |= where if literal > 0 else everything ^ where
        remaining &= fulfilled
    return remaining != 0


def table(variable: int, variables: int) -> int:
    """The assignments in which a variable is true."""
    half = 1 << variable
    pattern = ((1 << half) - 1) << half
    width = 2 * half
    while width < 1 << variables:
        pattern |= pattern << width
        width *= 2
    return pattern
