"""The row of a run says what its log says, and nothing that it does not."""

from __future__ import annotations

from workbench.session import events as ev
from workbench.session.run import run_of
from workbench.session.state import fold

STARTED = ev.SessionStarted(
    format=1,
    task="3SATTime",
    agent="default",
    model="openai:gpt",
    metric=ev.Metric(name="Time", direction="minimize", baseline=16.0),
    parent=ev.Parent(session="20260101-000000-3SATTime-abcdef", step=4),
    seq=0,
)
ANSWER = ev.ModelResponded(
    text="ls", model="openai:gpt", usage=ev.Usage(input_tokens=10, output_tokens=2, cost=0.25), elapsed=2.0
)
STEP = [
    ev.ActionProposed(step=1, author="model:gpt", action="validate"),
    ev.ActionFinished(step=1, exit_code=0, observation=""),
    ev.ScoreRecorded(step=1, score=12.0, verdict="ok", kind="validate", split="test", artifact=""),
    ev.ScoreRecorded(step=1, score=14.0, verdict="ok", kind="validate", split="test", artifact=""),
]


def test_a_run_that_ended() -> None:
    row = run_of(fold([STARTED, ANSWER, *STEP, ev.SessionEnded(exit_status="submitted")]), "/s/x", changed=5.0)
    assert (row.ident, row.task, row.author, row.steps, row.status) == ("x", "3SATTime", "model", 1, "submitted")
    assert (row.metric, row.direction, row.baseline, row.best, row.last) == ("Time", "minimize", 16.0, 12.0, 14.0)
    assert (row.cost, row.tokens_in, row.tokens_out, row.working, row.gain) == (0.25, 10, 2, 2.0, 4.0)
    assert (row.parent, row.parent_step) == ("20260101-000000-3SATTime-abcdef", 4)


def test_a_run_that_did_not_end_runs_or_crashed() -> None:
    state = fold([STARTED, ANSWER])
    assert [run_of(state, "/s/x", live=live).status for live in (True, False)] == ["running", "crashed"]


def test_what_is_not_known_is_not_zero() -> None:
    row = run_of(fold([STARTED]), "/s/x")
    assert (row.cost, row.tokens_in, row.best, row.gain) == (None, None, None, None)


def test_who_acts() -> None:
    for model, agent, author in [("human", "human", "human"), ("scripted:demo", "scripted", "policy"), ("", "", "")]:
        row = run_of(fold([ev.SessionStarted(format=1, task="t", model=model, agent=agent, seq=0)]), "/s/x")
        assert row.author == author
