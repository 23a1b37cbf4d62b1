"""The state is a fold over events, and answers for any step."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.cli.output import standing
from workbench.library.columns import SIGNS
from workbench.session import events as ev
from workbench.session.events import AGAINST
from workbench.session.run import run_of
from workbench.session.state import SessionState, fold


def started(direction: ev.Direction = "maximize") -> ev.SessionStarted:
    return ev.SessionStarted(
        format=1, task="blotto", metric=ev.Metric(name="Score", direction=direction, baseline=0.5), seq=0
    )


def step(number: int, action: str = "true", author: str = "policy:demo", exit_code: int = 0) -> list[ev.Event]:
    return [
        ev.ActionProposed(step=number, author=author, action=action, thought="because"),
        ev.ActionStarted(step=number, author=author, action=action),
        ev.ActionFinished(step=number, exit_code=exit_code, observation=f"out {number}", cwd="/tmp"),
    ]


def score(number: int, value: float | None) -> ev.ScoreRecorded:
    verdict: ev.Verdict = "ok" if value is not None else "invalid"
    return ev.ScoreRecorded(step=number, score=value, verdict=verdict, artifact="a" * 64)


def test_a_step_from_proposal_to_outcome() -> None:
    state = SessionState()
    state.apply(started())
    state.apply(ev.ActionProposed(step=1, author="model:x", action="rm -r .", thought="tidy"))
    seen = [state.current.status]
    state.apply(ev.ActionEdited(step=1, author="human:me", before="rm -r .", after="ls"))
    state.apply(ev.ActionStarted(step=1, author="human:me", action="ls"))
    seen.append(state.current.status)
    state.apply(ev.ActionFinished(step=1, exit_code=0, observation="a b"))
    found = state.current
    assert (found.author, found.proposed, found.action, found.edited_by) == ("model:x", "rm -r .", "ls", "human:me")
    assert [*seen, found.status] == ["proposed", "running", "ran"]
    assert found.exit_code == 0


def test_rejection_keeps_the_comment() -> None:
    state = fold([started(), ev.ActionProposed(step=1, author="model:x", action="submit")])
    state.apply(ev.ActionRejected(step=1, author="human:me", comment="not yet"))
    assert (state.current.status, state.current.comment) == ("rejected", "not yet")


def test_best_and_last_follow_the_direction() -> None:
    values = [0.9, None, 1.4, 1.2]
    events = [started(), *(e for n, v in enumerate(values, 1) for e in [*step(n), score(n, v)])]
    state = fold(events)
    assert state.final_scores() == ev.FinalScores(
        metric="Score",
        baseline=0.5,
        best=1.4,
        last=1.2,
        best_split="test",
        last_split="test",
        against_baseline="better",
    )
    assert state.final_scores(step=2).best == 0.9
    assert state.final_scores(step=0).last is None
    minimised = fold([started("minimize"), *events[1:]])
    assert minimised.final_scores().best == 0.9


@pytest.mark.parametrize(
    ("score", "error", "way", "expected"),
    [
        (0.6, None, "maximize", "better"),
        (0.6, 0.05, "maximize", "about"),
        (0.6, 0.04, "maximize", "better"),
        (0.4, 0.05, "maximize", "about"),
        (0.4, None, "maximize", "worse"),
        (0.4, 0.01, "minimize", "better"),
        (0.5, None, "minimize", "about"),
    ],
)
def test_a_score_stands_to_the_baseline_within_its_error(
    score: float, error: float | None, way: Any, expected: str
) -> None:
    entry = ev.ScoreRecorded(step=1, score=score, standard_error=error)
    found = fold([started(way), *step(1), entry]).final_scores()
    assert (found.against_baseline, found.worse_than_baseline) == (expected, expected == "worse")
    row = run_of(fold([started(way), *step(1), entry]), "/r")
    assert row.against == expected and SIGNS[row.against] == {"better": "+", "about": "=", "worse": "-"}[expected]
    assert AGAINST[row.against] in standing(row.scores)


def test_best_is_among_scores_of_one_split() -> None:
    """A submission on the test data does not beat, and is not beaten by, what was validated on other data."""

    def on(number: int, kind: Any, split: str, value: float | None) -> ev.ScoreRecorded:
        return ev.ScoreRecorded(
            step=number, kind=kind, split=split, score=value, verdict="ok" if value is not None else "invalid"
        )

    ledger = [
        on(1, "validate", "validation", None),
        on(2, "validate", "validation", 0.8),
        on(3, "validate", "validation", 0.7),
        on(4, "submit", "test", 0.9),
    ]
    state = fold([started(), *(e for entry in ledger for e in [*step(entry.step), entry])])
    best = state.best_score()
    assert best is not None and (best.step, best.split) == (2, "validation")
    assert state.final_scores() == ev.FinalScores(
        metric="Score",
        baseline=0.5,
        best=0.8,
        last=0.9,
        best_split="validation",
        last_split="test",
        against_baseline="better",
    )
    on_test = state.best_score(split="test")
    assert on_test is not None and on_test.score == 0.9
    # Nothing was validated: what was submitted is all there is.
    only = fold([started(), *step(1), on(1, "autosubmit", "test", 0.4)])
    assert only.final_scores().best == 0.4 and only.final_scores().best_split == "test"
    assert fold([started(), *step(1)]).best_score() is None and fold([]).standing().split == ""
    assert [state.standing(number).last for number in range(5)] == [None, None, *ledger[1:]]
    assert (state.standing(3).best, state.standing(3).before, state.standing(3).own) == (ledger[1], 0.8, 0.7)
    assert (state.standing(4).before, state.standing(4).own) == (None, 0.9)  # the first on test data
    # What comes later for an earlier step is seen from that step on.
    late = on(2, "validate", "validation", 0.95)
    state.apply(late)
    assert state.standing(1).best is None and state.standing(2).best == state.best_score() == late
    assert state.standing(3).before == 0.95


def test_the_window_is_as_of_the_step() -> None:
    state = fold(
        [
            started(),
            *step(1),
            ev.WindowChanged(step=1, path="/w/a.py", first_line=1, last_line=10, total_lines=10),
            *step(2),
            *step(3),
            ev.WindowChanged(step=3, path="/w/b.py", first_line=5, last_line=9, total_lines=90),
        ]
    )
    windows = [item.window.path if item.window else None for item in state.steps]
    assert windows == [None, "/w/a.py", "/w/a.py", "/w/b.py"]


def test_files_are_as_of_the_step() -> None:
    one, two = "1" * 64, "2" * 64
    state = fold(
        [
            started(),
            ev.WorkspaceSnapshot(step=0, tree="t0", changes=[ev.FileChange(path="a", kind="added", object=one)]),
            *step(1),
            ev.WorkspaceSnapshot(step=1, tree="t1", changes=[ev.FileChange(path="a", kind="modified", object=two)]),
            *step(2),
            ev.WorkspaceSnapshot(step=2, tree="t2", changes=[ev.FileChange(path="a", kind="deleted")]),
            *step(3),
        ]
    )
    found = [state.file_at("a", n) for n in range(4)]
    assert [change.object if change else None for change in found] == [one, two, None, None]
    assert [file.path for file in state.files_at(1)] == ["a"]
    assert [item.tree for item in state.steps] == ["t0", "t1", "t2", "t2"]


def test_pauses_do_not_count_as_work() -> None:
    state = fold(
        [
            started(),
            ev.ClockPaused(reason="review", elapsed=10.0),
            ev.ClockResumed(reason="review", elapsed=25.0),
            ev.NoteAdded(text="x", elapsed=30.0),
        ]
    )
    assert state.working == 15.0


def test_costs_add_up() -> None:
    usage = ev.Usage(input_tokens=10, output_tokens=5, cost=0.25)
    state = fold([started(), ev.ModelResponded(text="a", usage=usage), ev.ModelResponded(text="b", usage=usage)])
    assert (state.cost, state.input_tokens, state.output_tokens) == (0.5, 20, 10)


def responded(cost: float | None, author: str = "", tokens: int = 10) -> ev.ModelResponded:
    usage = ev.Usage(input_tokens=tokens, output_tokens=1, cached_tokens=4, reasoning_tokens=1, cost=cost)
    return ev.ModelResponded(text="a", model="openai:m", author=author, usage=usage)


def test_a_step_costs_what_was_paid_since_the_agents_step_before() -> None:
    agent, person = "model:m", "human:ada"
    state = fold(
        [
            started(),
            responded(0.1),
            ev.ActionProposed(step=1, author=agent, action="a"),
            responded(0.2),  # cut short by a take-over
            ev.ActionProposed(step=2, author=person, action="b"),
            responded(0.4),
            responded(0.8),
            ev.ActionProposed(step=3, author=agent, action="c"),
            responded(1.6),
        ]
    )
    assert [step.spending.cost for step in state.steps] == [
        0,
        0.1,
        0,
        pytest.approx(1.4),
    ]
    assert [step.spending.calls for step in state.steps] == [0, 1, 0, 3]
    assert state.cost == state.spending_by[agent].cost == pytest.approx(3.1), "with what has become no step"


def test_a_proposal_that_comes_again_costs_what_was_paid_for_it_where_it_came_last() -> None:
    def proposed(step: int, action: str = "a") -> list[ev.Event]:
        return [ev.ActionProposed(step=step, author="model:m", action=action)]

    dropped = [ev.ActionRejected(step=number, author="") for number in range(4)]
    person = ev.ActionProposed(step=2, author="human:ada", action="b")
    events = [started(), responded(0.1), *proposed(1), dropped[1], person, *proposed(3), dropped[3]]
    again = fold([*events, *proposed(4)])
    assert [step.spending.cost for step in again.steps] == [0, 0, 0, 0, 0.1]
    assert [step.proposed_again for step in again.steps] == [False, True, False, True, False]
    other = fold([*events, responded(0.2), *proposed(4, "another")])
    assert [step.spending.cost for step in other.steps] == [0, 0, 0, 0.1, 0.2]
    same = fold([*events[:4], *proposed(1)])
    assert not same.steps[1].proposed_again and same.steps[1].spending.cost == 0.1, "a log that names a step twice"


def test_spending_is_by_author_and_says_where_no_price_is_known() -> None:
    state = fold(
        [
            started(),
            responded(0.5, "model:one"),
            ev.ActionProposed(step=1, author="model:one", action="a"),
            responded(None, "model:two", tokens=99),
            ev.ActionProposed(step=2, author="model:two", action="b"),
        ]
    )
    one, two = (state.spending_by[author].as_dict() for author in ("model:one", "model:two"))
    assert one == {
        "cost": 0.5,
        "calls": 1,
        "tokens": {"input": 10, "output": 1, "cached": 4, "reasoning": 1},
    }
    assert two["cost"] is None and state.unpriced_tokens == 100
    assert [step.spending.known for step in state.steps[1:]] == [True, False]


def test_a_resumed_session_has_not_ended() -> None:
    state = fold([started(), ev.SessionEnded(exit_status="interrupted")])
    assert state.ended is not None
    state.apply(ev.SessionResumed(limits=ev.Limits(steps=9)))
    assert state.ended is None
    assert state.limits.steps == 9


def test_absurd_step_numbers_do_not_grow_the_state() -> None:
    state = fold([started(), *step(1), ev.ActionProposed(step=10**12, author="x", action="y")])
    assert len(state.steps) == 2
    state.apply(ev.ActionProposed(step=-5, author="x", action="y"))
    assert len(state.steps) == 2


def test_steps_that_jump_cost_no_memory() -> None:
    """Each event of a hostile log may name a step as far ahead as is believed."""
    state = SessionState()
    for number in range(1, 1001):
        state.apply(ev.ActionProposed(step=number * 1000, author="a", action="x"))
        state.apply(ev.ActionProposed(step=len(state.steps) + 5, author="a", action="x"))
    assert len(state.steps) <= 10 * 1000
    assert state.current.action == "x"


def test_the_agents_steps_are_counted_the_same_however_often_somebody_asks() -> None:
    events = [
        started(),
        *step(1),
        *step(2, author="human:me"),
        *step(3)[:2],  # of a program's first conversation: it runs on while others end
        ev.ActionProposed(step=4, author="model:x", action="dropped"),
        ev.ActionRejected(step=4, author=""),
        ev.ActionProposed(step=5, author="model:x", action="rejected"),
        ev.ActionRejected(step=5, author="human:me"),
        step(3)[2],
        *step(6),
    ]
    asked = SessionState()
    counts = []
    for event in events:
        asked.apply(event)
        counts.append(asked.agent_steps)
    assert counts == [fold(events[: number + 1]).agent_steps for number in range(len(events))]
    assert counts[-1] == 4 and asked == fold(events)
