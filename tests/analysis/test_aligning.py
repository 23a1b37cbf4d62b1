"""Runs are aligned by what they did, and where they first part is known."""

from __future__ import annotations

import random
from collections.abc import Sequence

from workbench.analysis.aligning import Row, align, course, first_divergence, plots
from workbench.session import events as ev
from workbench.session.state import SessionState, fold


def run(*actions: str, said: Sequence[str] = ()) -> SessionState:
    events: list[ev.Event] = [ev.SessionStarted(format=1, task="t")]
    for number, action in enumerate(actions, 1):
        observation = said[number - 1] if number <= len(said) else ""
        events += [
            ev.ActionProposed(step=number, author="model:m", action=action),
            ev.ActionFinished(step=number, exit_code=0, observation=observation, elapsed=60.0 * number),
        ]
    return fold(events)


def steps(rows: Sequence[Row]) -> list[tuple[int | None, ...]]:
    return [row.steps for row in rows]


def test_steps_stand_beside_those_that_did_the_same() -> None:
    rows = align(
        [run("ls", "cat a", "python t.py", "submit"), run("pwd", "ls", "python t.py", "python t.py", "submit")]
    )
    assert steps(rows) == [(None, 1), (1, 2), (2, None), (None, 3), (3, 4), (4, 5)]
    assert [row.sameness for row in rows] == ["", "same", "", "", "same", "same"]


def test_between_them_are_those_that_did_the_like() -> None:
    rows = align([run("ls", "edit 1:2 a.py\nx", "submit"), run("ls", "edit 3:4 a.py\ny", "submit")])
    assert steps(rows) == [(1, 1), (2, 2), (3, 3)]
    assert [row.sameness for row in rows] == ["same", "alike", "same"]


def test_calls_of_the_same_tool_are_alike() -> None:
    assert align([run("look(n=5)"), run("look(n=0)")]) == [Row((1, 1), "alike")]


def test_a_workspace_elsewhere_is_no_difference() -> None:
    states = [run("ls /home/agent/workspace/data "), run("ls data")]
    assert align(states) == [Row((1, 1), "same")]


def test_three_runs_are_aligned_to_the_first() -> None:
    rows = align([run("a", "b", "c"), run("a", "c"), run("b", "x", "c")])
    assert steps(rows) == [(1, 1, None), (2, None, 1), (None, None, 2), (3, 2, 3)]


def test_where_they_part() -> None:
    same = run("a", "b", said=["took 3.1 s", "y"])
    for other, expected in (
        (run("a", "b", said=["took 2.9 s", "y"]), None),
        (run("a", "b", said=["took 3.1 s", "z"]), (1, "outcome")),
        (run("a", "x", said=["took 3.1 s"]), (1, "action")),
        (run("a", said=["took 3.1 s"]), (1, "end")),
    ):
        states = [same, other]
        found = first_divergence(states, align(states))
        assert (None if found is None else (found.row, found.what)) == expected


def test_every_step_stands_in_one_row_and_in_order() -> None:
    chance = random.Random(7)
    states = [run(*(chance.choice("abcde") for _ in range(chance.randrange(40)))) for _ in range(3)]
    rows = align(states)
    for place, state in enumerate(states):
        assert [row.steps[place] for row in rows if row.steps[place] is not None] == list(range(1, len(state.steps)))


def test_the_course_of_a_run() -> None:
    state = run("validate", "ls")
    state.apply(ev.ScoreRecorded(step=1, score=0.5))
    assert course(state).scores == [(1.0, 0.5)]
    assert course(state).times == [(1.0, 1.0), (2.0, 2.0)]
    assert course(state).costs == []


def test_a_metric_that_runs_printed_is_plotted_beside_their_scores() -> None:
    state = run("python train.py", "python train.py")
    for step, values in ((1, (0.5, 0.25)), (2, (0.4, 0.125, None))):
        steps = tuple(map(float, range(len(values))))
        state.apply(ev.MetricLogged(step=step, name="loss", steps=steps, values=values))
        state.apply(ev.MetricLogged(step=step, name="val_loss", steps=steps, values=values))
    assert course(state).printed["val_loss"] == [(1.0, 0.25), (2.0, 0.125)]
    assert any("val_loss" in row for row in plots([state, state], 80))
