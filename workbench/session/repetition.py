"""Repetition: an agent that proposes what it has just tried. Pure functions of the session's state."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.session.state import SessionState, Step

_EDITS = frozenset({"edit", "insert", "create"})
_MOVES_ON = frozenset({"scroll_up", "scroll_down"})
"""Commands that do something else each time."""
_FAR = 100
"""Steps that are looked back on."""


def repetition(state: SessionState, step: Step | None = None) -> str:
    """What a step (the newest, which has just been proposed) repeats; empty when nothing.

    Told are: the action of the step before, once more; an edit that failed or was rejected, though the files are still
    as they were then; `validate`, though the artifact is still what was scored last.
    """
    step = step or state.current
    if step.number == 0 or step.author.startswith("human:"):
        return ""
    return _failed_edit(state, step) or _validates_the_same(state, step) or _same_action(state, step)


def _same_action(state: SessionState, step: Step) -> str:
    """The same action as in the step before. What a person did in between is a new situation."""
    if _word(step) in _MOVES_ON:
        return ""
    times = 1
    for before in _before(state, step):
        if before.author != step.author or not _same(before, step):
            break
        times += 1
    if times == 1:
        return ""
    return f"the same action {times} times in a row"


def _failed_edit(state: SessionState, step: Step) -> str:
    if _word(step) not in _EDITS:
        return ""
    files = state.steps[step.number - 1].tree
    for before in _before(state, step) if _knows_files(state) else ():
        if before.tree != files:
            return ""  # something is different since
        if before.author == step.author and _same(before, step):
            if before.status == "rejected":
                return f"the same edit as in step {before.number}, which was rejected"
            if not before.edited and (before.status == "refused" or before.exit_code):
                return f"the same edit as in step {before.number}, which failed, and no file has changed since"
    return ""


def _validates_the_same(state: SessionState, step: Step) -> str:
    if step.proposed.strip() != "validate":
        return ""
    files = state.steps[step.number - 1].tree
    for before in _before(state, step) if _knows_files(state) else ():
        scores = [score for score in before.scores if score.kind == "validate" and score.visible_to_agent]
        if not scores:
            continue
        last = scores[-1]
        now = state.file_at(last.artifact_name, step.number - 1) if last.artifact_name else None
        # A file is known by its content. What is no single file is the same when nothing at all has changed.
        same = now.object == last.artifact if now and now.object else before.tree == files
        if not same:
            return ""
        what = last.artifact_name or "the submission"
        return f"validate again, though {what} is as it was when it was scored in step {before.number}"
    return ""


def _before(state: SessionState, step: Step) -> Iterator[Step]:
    """The steps before one that somebody judged, the nearest first; not all of a long session."""
    before = (state.steps[number] for number in range(step.number - 1, max(0, step.number - _FAR), -1))
    return (each for each in before if not each.dropped)


def _knows_files(state: SessionState) -> bool:
    """Whether the log has the files: other programs' recordings have not."""
    return state.started is None or not state.started.source


def _word(step: Step) -> str:
    return (step.proposed.split(None, 1) or [""])[0]


def _same(one: Step, other: Step) -> bool:
    return one.proposed.strip() == other.proposed.strip()
