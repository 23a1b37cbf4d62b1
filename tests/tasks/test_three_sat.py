"""3-SAT: the instances and their answers, the solver, and heuristics that are wrong, hostile, or merely good."""

from __future__ import annotations

import itertools
import random
import sys
from types import ModuleType
from typing import Any

import pytest

from workbench.resources import data_folder
from workbench.scoring.evaluation import Evaluation, evaluate
from workbench.tasks.author_code import load_function
from workbench.tasks.catalogue import Task, find_task

NAME = "def heuristic_fn(clauses, assignments, conflict_count, assignment_history, level):\n"
STARTER = find_task("3SATTime").baseline_submission() or b""


@pytest.fixture
def task() -> Task:
    return find_task("3SATTime").under(variant="tiny")


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    load_function(data_folder("tasks") / "datasets" / "three_sat.py", "prepare", "three_sat")
    return sys.modules["three_sat"]


@pytest.fixture(scope="module")
def solver() -> ModuleType:
    load_function(data_folder("tasks") / "3SATTime" / "starter" / "solver.py", "DPLL", "solver")
    return sys.modules["solver"]


def brute_force(variables: int, clauses: list[list[int]]) -> bool:
    return any(
        all(any(values[abs(literal) - 1] == (literal > 0) for literal in clause) for clause in clauses)
        for values in itertools.product((False, True), repeat=variables)
    )


def first_variable(clauses: list[list[int]], assignments: dict[int, bool], *_: object) -> tuple[int, bool]:
    return min({abs(literal) for clause in clauses for literal in clause} - assignments.keys()), False


def test_instances_and_answers(maker: ModuleType, solver: ModuleType) -> None:
    found = list(maker.instances(random.Random("test"), 300))
    assert found == list(maker.instances(random.Random("test"), 300))
    satisfiable = 0
    for variables, clauses in found:
        assert 3 <= variables <= 10 and variables <= len(clauses) <= 11 * variables
        assert all(len({abs(literal) for literal in clause}) == 3 for clause in clauses)
        answer = maker.satisfiable(variables, clauses)
        assert answer == solver.DPLL(clauses, first_variable).solve()
        if variables <= 6:
            assert answer == brute_force(variables, clauses)
        satisfiable += answer
    assert 100 < satisfiable < 200


def test_what_the_heuristic_is_told(solver: ModuleType) -> None:
    seen: list[tuple[object, ...]] = []

    def heuristic(*arguments: Any) -> tuple[int, bool]:
        seen.append(arguments)
        return (1, True) if len(seen) == 1 else first_variable(*arguments)

    clauses = [[-1, 2, 3], [-1, 2, -3], [-2, 4, 5], [-2, 4, -5], [-2, -4, 5], [-2, -4, -5]]
    made = solver.DPLL(clauses, heuristic)
    assert made.solve() is True and made.num_decisions == len(seen)
    assert seen[0] == (clauses, {}, {}, [], [])
    # 1 is true: no clause has a single literal left, so a second decision follows
    unsatisfied, assignments, conflicts, history, levels = seen[1]
    assert (unsatisfied, assignments, history, levels) == (clauses, {1: True}, [1], [[1]])
    assert conflicts == {}


def test_the_heuristic_is_told_of_what_was_taken_back(solver: ModuleType) -> None:
    seen: list[tuple[list[int], dict[int, int], list[list[int]]]] = []

    def heuristic(*arguments: Any) -> tuple[int, bool]:
        seen.append((arguments[3], arguments[2], arguments[4]))
        return first_variable(*arguments)

    # 1 false demands nothing; then 2 false demands 3 and not 3: a conflict of whichever was demanded last.
    clauses = [[1, 2, 3], [1, 2, -3], [1, -2, 4], [1, -2, -4], [-1, 5, 6]]
    assert solver.DPLL(clauses, heuristic).solve() is True
    histories, conflicts, levels = zip(*seen, strict=True)
    assert histories == ([], [1], [1, 2, 2, 1])  # 2 false, 2 true and 1 false were taken back
    assert conflicts == ({}, {}, {3: 1, 4: 1})
    assert levels == ([], [[1]], [[1]])


@pytest.mark.parametrize("answer", [None, 3, (1,), (1, True, 2), (9, True), ("1", True), (1, "True"), ([1], True)])
def test_answers_that_are_none(solver: ModuleType, answer: object) -> None:
    with pytest.raises(solver.WrongAnswer):
        solver.DPLL([[1, 2, 3]], lambda *_: answer).solve()


async def score(task: Task, source: str | bytes, split: str = "test") -> Evaluation:
    return await evaluate(task, source.encode() if isinstance(source, str) else source, seed=1, split=split)


async def test_the_starter_repeats(task: Task) -> None:
    found = await score(task, STARTER)
    assert (found.verdict, found.score, found.dataset) == ("ok", task.primary_metric.baseline, "stand-in")
    assert (found.metrics["Correct"], found.metrics["Incorrect"]) == (600, 0) and found.metrics["Time"] > 0
    assert (await score(task, STARTER)).score == found.score
    assert (await score(task, STARTER, "validation")).score != found.score


async def test_a_heuristic_may_import_the_solver(task: Task) -> None:
    body = "    variable = min({abs(x) for clause in clauses for x in clause} - assignments.keys())\n"
    value = "    return variable, DPLL.is_satisfied_clause([1], {1: True})\n"
    found = await score(task, f"from solver import DPLL\n{NAME}{body}{value}")
    assert found.verdict == "ok" and found.metrics["Correct"] == 600


@pytest.mark.parametrize(
    ("clauses", "value", "expected", "left"),
    [
        ([[1, 2, 3], [-1, 2, 3], [-1, 4, 5]], True, 1, [[-1, 2, 3]]),
        ([[1, 2, 3], [1, -2, 4]], True, 10_000, []),
        ([[-1, 2, 3], [-2, 3, 4]], False, 0, [[-2, 3, 4]]),
        ([[4, 1, 2], [4, 1, -2]], False, -10_000, [[4, 1, -2]]),
    ],
)
def test_a_look_ahead(solver: ModuleType, clauses: list[list[int]], value: bool, expected: int, left: Any) -> None:
    assignments = {4: False}
    assert solver.DPLL.num_new_clauses(1, value, clauses, assignments) == expected
    assert clauses == left and assignments[1] is value


async def test_the_demo_is_better(task: Task) -> None:
    baseline = task.primary_metric.baseline
    assert baseline is not None
    found = await score(task, task.demo() or "")
    assert found.score is not None and found.score < 0.9 * baseline and found.metrics["Incorrect"] == 0


@pytest.mark.parametrize(
    "body",
    [
        "return None",
        "return None, True",
        "return 'x' * 10_000, True",
        "return object(), [True]",
        "return [1], float('nan')",
        "return next(iter(assignments), None), True",
    ],
)
async def test_a_wrong_answer_is_a_bad_score(task: Task, body: str) -> None:
    found = await score(task, f"{NAME}    {body}\n")
    assert found.verdict == "ok" and found.metrics["Incorrect"] > 100
    assert found.score is not None and found.score > 5 * (task.primary_metric.baseline or 0)
    assert found.metrics["Time"] == 1e8 and found.metrics["Correct"] + found.metrics["Incorrect"] == 600


@pytest.mark.parametrize(
    ("body", "verdict", "words"),
    [
        ("raise KeyError(7)", "crashed", "KeyError: 7 (instance 1, decision 1)"),
        ("return heuristic_fn()", "crashed", "TypeError"),
        ("import os; os._exit(3)", "crashed", "exit status 3"),
        ("import sys; sys._getframe(1).f_locals['send'](b'x [1,true]\\n')", "invalid", "written to the evaluator"),
    ],
)
async def test_failures_are_verdicts(task: Task, body: str, verdict: str, words: str) -> None:
    found = await score(task, f"{NAME}    {body}\n")
    assert found.verdict == verdict and words in found.message and found.score is None


async def test_an_answer_without_its_question_scores_nothing(task: Task) -> None:
    """What is open beside standard input is a matter of the room: writing there crashes, or is an invalid answer."""
    found = await score(task, f"{NAME}    import os; [os.write(fd, b'x 1\\n') for fd in range(3, 9)]\n")
    assert found.verdict in ("crashed", "invalid") and found.score is None


async def test_changing_the_arguments_changes_nothing(task: Task) -> None:
    starter = STARTER.decode().replace(
        "    if not unassigned", "    clauses.clear(); level.clear()\n    if not unassigned"
    )
    spoiled = starter + "\n_honest = heuristic_fn\n" + NAME + (
        "    answer = _honest(clauses, assignments, conflict_count, assignment_history, level)\n"
        "    assignments.clear(); conflict_count.clear(); assignment_history.append(1)\n"
        "    return answer\n"
    )  # fmt: skip
    assert (await score(task, spoiled)).score == task.primary_metric.baseline


async def test_numpy_like_values_are_taken(task: Task) -> None:
    source = (
        "class Number:\n    dtype = 'int64'; shape = ()\n    def __init__(self, n): self.n = n\n"
        "    def item(self): return self.n\n"
        + STARTER.decode().replace("random.choice(unassigned), True", "Number(random.choice(unassigned)), 1")
    )  # fmt: skip
    assert (await score(task, source)).score == task.primary_metric.baseline


def test_mlgyms_protocol_counts_time() -> None:
    task = find_task("3SATTime").under("mlgym")
    assert task.primary_metric.name == "Time" and task.primary_metric.baseline == 16.158
    assert task.split_for("validate") == "test"
