"""How a session ended, what failed in it, and where it began to go wrong."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import pytest

from workbench.session import events as ev
from workbench.session.outcome import Failures, category, failures, verdict
from workbench.session.state import SessionState, fold

CORPUS = os.environ.get("MLGYM_CORPUS", "")


def session(
    *outcomes: Iterable[ev.Event], status: str = "autosubmission (max_steps)", source: str = "mlgym"
) -> SessionState:
    metric = ev.Metric(name="Score", baseline=0.5)
    events: list[ev.Event] = [
        ev.SessionStarted(format=1, task="t", metric=metric, limits=ev.Limits(steps=4), source=source)
    ]
    events += [event for outcome in outcomes for event in outcome]
    return fold([*events, ev.SessionEnded(exit_status=status, steps=len(outcomes))])


def step(
    number: int, action: str, observation: str, exit_code: int | None = None, score: float | None = None
) -> Iterator[ev.Event]:
    yield ev.ActionProposed(step=number, author="model:m", action=action)
    yield ev.ActionStarted(step=number, author="model:m", action=action)
    yield ev.ActionFinished(step=number, exit_code=exit_code, observation=observation)
    if score is not None:
        yield ev.ScoreRecorded(step=number, score=score, metrics={"Score": score})


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("submitted", "Success"),
        ("Submitted", "Success"),
        ("submitted (exit_cost)", "Cost"),
        ("autosubmission (exit_api)", "API"),
        ("autosubmission (max_time)", "Max Time"),
        ("evaluation_format_error (submit)", "Evaluation|Submit"),
        ("evaluation_format_error (max_time)", "Evaluation"),
        ("submission_not_found (submit)", "Evaluation"),
        ("unknown_error (validate)", "Evaluation"),
        ('unknown_error (open "big.csv" 7)', "Permission"),
        ("unknown_error (python other.py)", "Runtime"),
        ("interrupted", "Stopped"),
        ("", ""),
        ("LimitsExceeded", "Limit"),
        ("limit (message)", "Max Steps"),
        ("exit_command_timeout", "Max Time"),
        ("SomethingNew", "SomethingNew"),
    ],
)
def test_category_goes_by_rule(status: str, expected: str) -> None:
    assert category(status) == expected


@pytest.mark.parametrize(
    ("action", "observation", "exit_code", "kind", "said"),
    [
        (
            "python a.py",
            "x\nTraceback (most recent call last):\n  File\nKeyError: 'a'\n",
            None,
            "traceback",
            "KeyError",
        ),
        (
            "edit 1:2",
            "Your proposed edit has introduced new syntax error(s).\nERRORS:\n- E999 bad",
            None,
            "refused",
            "E999",
        ),
        ("edit 1:2\nx", "a.py would no longer compile, so nothing was changed.", 1, "refused", "no longer compile"),
        ("if", "bash: syntax error near `fi'", None, "refused", "syntax error"),
        ("python a.py", "EXECUTION TIMED OUT BECAUSE THE COMMAND", None, "timeout", "timed out"),
        ("python a.py", "/bin/bash: line 1: 77 Killed   python a.py", None, "exit", "Killed"),
        ("grep x y", "not there", 1, "exit", "exit 1: not there"),
    ],
)
def test_what_failed_is_read_from_fields_or_text(
    action: str, observation: str, exit_code: int | None, kind: str, said: str
) -> None:
    (failure,) = failures(session(step(1, action, observation, exit_code)))
    assert (failure.step, failure.kind) == (1, kind)
    assert said in failure.text


@pytest.mark.parametrize(
    ("action", "observation", "exit_code"),
    [
        ("cat log", "12:Traceback of the matter", None),
        ("ls", "bashrc: there", None),
        ("cat notes", "bash: line 1: said somebody", 0),
    ],
)
def test_what_worked_is_no_failure(action: str, observation: str, exit_code: int | None) -> None:
    assert failures(session(step(1, action, observation, exit_code))) == []


def test_a_score_that_fell_and_a_repeated_action() -> None:
    state = session(
        step(1, "validate", "", 0, score=0.9),
        step(2, "ls", "", 0),
        step(3, "ls", "", 0),
        step(4, "v", "", 0, score=0.7),
    )
    assert [(failure.step, failure.kind) for failure in failures(state)] == [(3, "repeat"), (4, "score")]


def test_an_answer_that_could_not_be_parsed_is_an_attempt_of_its_step() -> None:
    state = session(
        [
            ev.ModelResponded(text="no fence", model="m"),
            ev.ModelFailed(cause="bad_format", message="no action in it"),
            ev.ModelResponded(text="fine", model="m"),
            *step(1, "ls", "", 0),
        ]
    )
    assert [attempt.text for attempt in state.steps[1].attempts] == ["no fence"]
    assert state.attempts == []
    assert [failure.kind for failure in failures(state)] == ["format"]


def test_failures_are_computed_once_as_steps_come() -> None:
    state = SessionState()
    found = Failures(state)
    for number in range(1, 6):
        for event in step(number, f"a{number}", "", number % 2):
            state.apply(event)
        found.update(number)
    assert found.steps == [1, 3, 5] == Failures(state).steps
    assert (found.next(1), found.next(5), found.previous(3), found.previous(1)) == (3, None, 1, None)


def test_the_verdict_says_why_and_where() -> None:
    state = session(
        step(1, "validate", "", 0, score=0.9),
        step(2, "edit 1:2", "Your proposed edit has introduced new syntax error(s).\n- E999 bad"),
        step(3, "edit 1:3", "Your proposed edit has introduced new syntax error(s).\n- E999 bad"),
        step(4, "ls", "ok"),
    )
    found = verdict(state)
    assert (found.category, found.failed, found.incomplete, found.step) == ("Max Steps", False, False, 2)
    text = " ".join(found.sentences)
    assert "all of its 4 steps" in text
    assert "step 2 (edit 1:2), after its best score in step 1" in text


def test_the_verdict_keeps_the_last_answer_that_could_not_be_parsed() -> None:
    events = [ev.ModelResponded(text="hm", model="m"), ev.ModelFailed(cause="bad_format", message="no action")]
    found = verdict(session(step(1, "ls", ""), events, status="autosubmission (exit_format)"))
    assert (found.category, found.answer) == ("Format", "hm")


def test_a_log_without_an_end_says_so() -> None:
    assert "ends before" in verdict(fold([ev.SessionStarted(format=1, task="t")])).sentences[0]


def test_what_an_unparsed_answer_looks_like_is_said() -> None:
    for answer, said in (
        ("no", "no fenced block"),
        ("```\na\n```\n```\nb\n```", "2 fenced blocks"),
        ("```\na", "never ends"),
    ):
        events = [ev.ModelResponded(text=answer, model="m"), ev.ModelFailed(cause="bad_format", message="no action")]
        found = verdict(session(step(1, "ls", ""), events, status="submission_not_found (exit_format)"))
        assert said in found.sentences[1]


def test_what_an_evaluator_says_is_its_last_exception() -> None:
    said = "Failed to decode metrics. Output:\n---\nTraceback (most recent call last):\nKeyError: 'a'\n"
    state = session([*step(1, "validate", ""), ev.ScoreRecorded(step=1, verdict="invalid", message=said)])
    assert [failure.text for failure in failures(state)] == ["validate: KeyError: 'a'"]


def test_a_run_that_broke_off_went_wrong_where_it_broke_off() -> None:
    found = verdict(session(step(1, "ls", ""), step(2, "open big", "x" * 200_000), status="unknown_error (open big)"))
    assert found.step == 2
    assert "200,000 characters" in found.sentences[0]
    assert not any("No step failed" in sentence for sentence in found.sentences)
