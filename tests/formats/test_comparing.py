"""Whether a replay came out as it was recorded: what counts as a difference, and what does not."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from tests.formats.trajectories import WRITTEN, window
from workbench.formats.comparing import ScorePair, compare_step
from workbench.session import events as ev
from workbench.session.events import Event
from workbench.session.state import Step

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "reexecute.py"))
FILE = "/home/agent/workspace/strategy.py"


def ran(
    action: str, observation: str, *, exit_code: int | None = 0, scores: list[ev.ScoreRecorded] | None = None
) -> Step:
    return Step(1, action=action, observation=observation, status="ran", exit_code=exit_code, scores=scores or [])


def scored(score: float | None, error: float | None = None, **metrics: float) -> ev.ScoreRecorded:
    verdict: ev.Verdict = "invalid" if score is None else "ok"
    metrics = metrics or ({} if score is None else {"Score": score})
    return ev.ScoreRecorded(
        step=1, kind="validate", verdict=verdict, metrics=metrics, score=score, standard_error=error
    )


@pytest.mark.parametrize(
    ("action", "then", "now"),
    [
        ("ls -a", "./\n../\nrun.sh*\ndata/\n", ".  ..  data  run.sh"),
        ("ls -l", "total 8\n-rwxr-xr-x 1 a b 12 Nov 18 13:09 run.sh*\n", "-rw-r--r-- 1 c c 9 Jan  1 00:00 run.sh"),
        ("cat x", "a  \n\nb\r\n", "a\n\n\nb"),
        ("edit 1:1", window(FILE, ["a", "", "b"]) + f"\n{WRITTEN}", f"{FILE}: line 1 replaced by 3 lines.\n"
         + window(FILE, ["a", "", "b"])),
        ("find_file a", 'Found 1 matches for "a" in /w:\n/w/a', 'Found 1 file called "a" in /w:\n/w/a'),
        ("goto 9", "(1 more lines above)\n2:x", "(1 more line above)\n2:x"),
        ("python t.py", "done in 12.5 seconds, real 0m1.2s, at 2024-11-18 13:09:01", 
         "done in 3 seconds, real 0m9.7s, at 2026-01-02 03:04:05"),
        ("open d.csv", "1:" + "7," * 400, "1:" + "7," * 250 + "... (300 more characters cut)"),
        ("validate", "Evaluation failed", "missing: strategy.py"),
    ],
)  # fmt: skip
def test_what_is_no_difference(action: str, then: str, now: str) -> None:
    assert compare_step(ran(action, then, exit_code=None), ran(action, now)) is None


@pytest.mark.parametrize(
    ("action", "then", "now", "cause", "detail"),
    [
        ("ls", "a.py b.py", "a.py", "listing", "'(nothing)', recorded was 'b.py'"),
        ("ls", "a.py target.py", "a.py", "opponent", "'(nothing)', recorded was 'target.py'"),
        ("open a.py", "1:x = 1.437", "1:x = 1.023", "", "'1:x = 1.023', recorded was '1:x = 1.437'"),
        ("open a.py", "3:10", "3:20", "", "'3:20', recorded was '3:10'"),
        ("cat a", "a b", "a  b", "", "'a  b', recorded was 'a b'"),
        ("ls data/", "dataset.pkl", "train.jsonl", "data", ""),
        ("python a.py", "1", "FileNotFoundError: 'data/dataset.pkl'", "data", ""),
        ("python a.py", "loss 0.5 at 1e-05", "loss 0.51 at 2e-05", "numbers", ""),
        ("pip install x", "Collecting x", "no network", "network", ""),
        ("python a.py", "1", "bash: python: command not found", "python", ""),
        ("python a.py", "1", "ModuleNotFoundError: No module named 'numpy'", "packages", ""),
        (
            "edit 1:1",
            window(FILE, ["a"]),
            f"edit: {FILE} would no longer compile, so nothing was changed.",
            "linter",
            "",
        ),
        ("create a.py", window(FILE, [""]), window(FILE, []), "create", ""),
    ],
)
def test_a_difference_is_shown_with_its_cause(action: str, then: str, now: str, cause: str, detail: str) -> None:
    found = compare_step(ran(action, then, exit_code=None), ran(action, now))
    assert found is not None and found.cause == (cause or "text")
    assert detail in f"{found.got!r}, recorded was {found.expected!r}"


def test_what_only_this_workbench_scores_is_told_apart() -> None:
    then, now = ran("validate", "", scores=[scored(None)]), ran("validate", "", scores=[scored(1.0)])
    found = compare_step(then, now)
    assert found is not None and (found.what, found.cause) == ("score", "scored here")


def test_a_refusal_in_other_words_is_told_apart() -> None:
    then = "Your proposed edit has introduced new syntax error(s)."
    found = compare_step(ran("edit 1:1", then, exit_code=None), ran("edit 1:1", "nothing was changed", exit_code=1))
    assert found is not None and found.cause == "refusal"


@pytest.mark.parametrize(
    ("then", "now", "same"),
    [
        (scored(1.40), scored(1.45, 0.01), True),  # within 4 √2 standard errors
        (scored(1.40), scored(1.46, 0.01), False),
        (scored(0.9, rmse=100.0), scored(0.9, rmse=100.09), True),
        (scored(0.9, rmse=100.0), scored(0.9, rmse=100.2), False),
        (scored(12.0, Time=12.0, Decisions=1000.0), scored(3.0, Time=3.0, Decisions=1009.0), True),
        (scored(12.0, Time=12.0, Decisions=1000.0), scored(3.0, Time=3.0, Decisions=1011.0), False),
        (scored(None), scored(None), True),
        (scored(1.0), scored(None), False),
        (scored(1.0), None, False),
    ],
)
def test_scores_are_compared_as_numbers(then: ev.ScoreRecorded, now: ev.ScoreRecorded | None, same: bool) -> None:
    assert ScorePair(then, now).same is same


def session(*steps: tuple[str, str], author: str, score: float | None = None) -> list[Event]:
    events: list[Event] = [ev.SessionStarted(format=1, task="t", source="mlgym" if author == "model:m" else "")]
    for number, (action, observation) in enumerate(steps, 1):
        events.append(ev.ActionProposed(step=number, author=author, action=action))
        events.append(ev.ActionStarted(step=number, author=author, action=action))
        code = None if author == "model:m" else 0
        events.append(ev.ActionFinished(step=number, exit_code=code, observation=observation))
    if score is not None:
        events.append(
            ev.ScoreRecorded(step=len(steps), kind="autosubmit", verdict="ok", metrics={"Score": score}, score=score)
        )
    return events


def test_two_lists_of_events_are_compared_step_by_step() -> None:
    then = session(("ls", "a"), ("cat a", "1"), ("cat b", "2"), ("cat c", "3"), author="model:m", score=1.0)
    now = session(("ls", "a"), ("cat a", "9"), ("cat b", "8"), author="policy:replay", score=1.0)
    found = SCRIPT["compare"](then, now)
    assert [verdict.sameness for verdict in found] == ["identical", "different", "different", "different"]
    assert [verdict.cause for verdict in found] == ["", "text", "cascade", "not reached"]
    assert [(verdict.recorded, verdict.number) for verdict in found] == [(1, 1), (2, 2), (3, 3), (4, 0)]
    pair = SCRIPT["final_score"](then, now)
    assert pair is not None and pair.same


def test_scores_after_the_opponent_was_edited_are_not_expected_back() -> None:
    edit = ("edit 1:1\nx\nend_of_edit", window("/home/agent/workspace/target.py", ["x"]))
    then, now = (session(edit, ("validate", ""), author=author) for author in ("model:m", "policy:replay"))
    for events, value in ((then, 0.57), (now, 0.01)):
        events.append(ev.ScoreRecorded(step=2, kind="validate", verdict="ok", metrics={"Score": value}, score=value))
    assert [verdict.cause for verdict in SCRIPT["compare"](then, now)] == ["", "opponent"]
