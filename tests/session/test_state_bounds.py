"""What a hostile log says makes the state no larger than it is itself, and nothing of it slow."""

from __future__ import annotations

import difflib
import json
import math
import time
from collections import Counter
from collections.abc import Hashable

import pytest

from workbench.session import events as ev
from workbench.session.diff import diff_lines
from workbench.session.prompt_view import compare
from workbench.session.prompts import SentMessage
from workbench.session.state import fold

STARTED = ev.SessionStarted(format=1, task="t")


def test_steps_that_a_log_skips_are_not_made_without_end() -> None:
    far_apart = [ev.ActionProposed(step=number, author="a", action="x") for number in range(10, 500_000, 10)]
    assert len(fold([STARTED, *far_apart]).steps) < 2_000
    near = [ev.ActionProposed(step=number, author="a", action=str(number)) for number in (1, 2, 4, 5)]
    state = fold([STARTED, *near])
    assert [step.action for step in state.steps] == ["", "1", "2", "", "4", "5"], "a step that is missing leaves a gap"
    assert len(fold([STARTED, *near, *far_apart, ev.ActionStarted(step=-1, author="a", action="x")]).steps) < 2_000


def test_proposals_after_many_steps_of_a_person_take_no_longer_each() -> None:
    by_hand = [ev.ActionProposed(step=number, author="human:ann", action="ls") for number in range(1, 40_001)]
    begun = time.process_time()
    fold([STARTED, *by_hand])
    alone = time.process_time() - begun
    begun = time.process_time()
    fold([STARTED, *by_hand, *[ev.ActionProposed(step=40_001, author="model:m", action="ls")] * 2_000])
    assert time.process_time() - begun < 2 * alone + 1


def test_scores_of_ever_other_splits_take_no_more_room_each() -> None:
    count = 500
    state = fold([STARTED, *(ev.ActionProposed(step=step, author="a", action="x") for step in range(1, count + 1))])
    for step in range(1, count + 1):
        for split in ("test", f"{step}", f"{step} again"):
            state.apply(ev.ScoreRecorded(step=step, kind="validate", score=float(step), split=split))
    assert sum(len(state.standing(step).bests) + len(state.standing(step).lasts) for step in range(count)) < 40 * count
    best, last = state.best_score(), state.last_score()
    assert best is not None and last is not None and (best.split, best.score, last.score) == ("test", count, count)


@pytest.mark.parametrize("number", [-1, 2**60, -(2**60), 3])
def test_numbers_out_of_range_are_borne(number: int) -> None:
    edge = 1e308
    change = ev.FileChange(path="f", kind="added", size=number, mode=number)
    window = ev.WindowChanged(path="/home/agent/workspace/f", first_line=number, total_lines=number, step=number)
    span = (edge, -edge)
    answer = ev.ModelResponded(text="", usage=ev.Usage(cost=edge, input_tokens=number), alternative=number)
    state = fold(
        [
            STARTED,
            ev.ActionProposed(step=number, author="a", action="x", elapsed=edge),
            ev.ActionFinished(step=number, exit_code=number, observation="", duration=-edge, elapsed=-edge, cast=span),
            window,
            ev.WorkspaceSnapshot(step=number, tree="", changes=[change]),
            *[answer] * 3,
            ev.ScoreRecorded(step=number, score=edge),
            ev.ClockPaused(elapsed=-edge),
            ev.ClockResumed(elapsed=edge),
            ev.ClockPaused(elapsed=edge),
        ]
    )
    assert 0 <= state.working <= state.elapsed < 1e12
    assert math.isfinite(state.cost) and all(math.isfinite(spent.cost) for spent in state.spending_by.values())
    json.dumps([spent.as_dict() for spent in state.spending_by.values()], allow_nan=False)
    assert state.file_at("f") is not None, "it stands at the step that it was taken for"
    assert state.relative_path("/home/agent/workspace/../../x") is None


def test_files_that_were_not_restored_are_counted_once_and_no_more_than_so_many() -> None:
    resumed = [ev.SessionResumed(not_restored=[f"{i}-{j}" for j in range(500)]) for i in range(20)]
    shell = fold([STARTED, *resumed]).current.new_shell
    assert shell is not None
    assert len(shell.not_restored) == 1000


def test_prompts_that_grow_without_end_are_not_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.session.prompts._MOST_WORK", 5_000)
    first = ev.PromptSent(messages=["m"] * 100, step=1, seq=1)
    more = [ev.PromptSent(messages=[], same=[(0, 0, 100)], step=1, seq=n) for n in range(2, 100)]
    prompts = fold([STARTED, first, *more]).prompts
    assert len(prompts.prompt(prompts.calls[10]).messages) == 100
    assert "too large" in prompts.prompt(prompts.calls[98]).problem


def _text(marks: str) -> str:
    return "\n".join(marks)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (_text("ab" * 900), _text("ba" * 900)),
        (_text("a" * 1900), _text("b" + "a" * 1700 + "c")),
        (_text("abc" * 600), _text("acb" * 600)),
        (_text(f"{'a' * 9}x" * 180), _text(f"x{'a' * 8}" * 180)),
        (_text("a" * 5000 + "b"), _text("c" + "a" * 5000)),
    ],
)
def test_repetitive_texts_are_compared_within_the_work_that_others_take(
    old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = difflib.SequenceMatcher

    def sparing(_: None, a: list[Hashable], b: list[Hashable], *, autojunk: bool) -> difflib.SequenceMatcher[Hashable]:
        times = Counter(b)
        assert sum(count * times[each] for each, count in Counter(a).items()) <= 100_000
        assert len(a) + len(b) <= 4_000
        return real(None, a, b, autojunk=autojunk)

    monkeypatch.setattr(difflib, "SequenceMatcher", sparing)
    lines = diff_lines(old.split("\n"), new.split("\n"))
    assert [line.text for line in lines if line.mark != "+"] == old.split("\n")
    assert [line.text for line in lines if line.mark != "-"] == new.split("\n")
    before, now = (
        [SentMessage(line, "user", number % 7) for number, line in enumerate(text.split("\n"))] for text in (old, new)
    )
    changes = compare(before, now)
    assert [change.new for change in changes if change.new is not None] == now
    assert {id(change.old) for change in changes if change.old is not None} == {id(message) for message in before}
