"""3-SAT: how many decisions a plain DPLL solver needs with the submitted heuristic."""

from __future__ import annotations

import json
import sys
import time

from workbench.tasks.author_code import load_function
from workbench.tasks.submission import Failure, Job, NoPlainValue, Scores

WRONG_TIME = 1e8
"""Seconds, as MLGym counts a heuristic that is wrong even once."""


def evaluate(job: Job) -> Scores:
    """Solve all instances of the split, asking the submission for every decision.

    An answer that is no variable to be assigned makes its instance incorrect, and costs more decisions than any honest
    search of that instance can take: it never pays.
    """
    make_solver = load_function(job.folder / "starter" / "solver.py", "DPLL", "solver")  # the pristine one
    wrong_answer = sys.modules["solver"].WrongAnswer
    instances = [json.loads(line) for line in (job.secret / f"{job.split}.jsonl").read_text("ascii").splitlines()]
    correct = decisions = 0
    began = time.perf_counter()
    for number, instance in enumerate(instances, 1):
        solver = make_solver(instance["clauses"], job.submission.call)
        try:
            answer = solver.solve()
        except (wrong_answer, NoPlainValue):
            decisions += 1 << instance["variables"]
        except Failure as failure:
            failure.message += f" (instance {number:,}, decision {solver.num_decisions:,})"
            raise
        else:
            correct += answer == instance["satisfiable"]
            decisions += solver.num_decisions
        if number % 100 == 0:
            job.progress(number / len(instances), f"solving {len(instances):,} instances")
    seconds = time.perf_counter() - began
    incorrect = len(instances) - correct
    return Scores(
        metrics={
            "Decisions": decisions,
            "Time": WRONG_TIME if incorrect else seconds,
            "Correct": correct,
            "Incorrect": incorrect,
        }
    )
