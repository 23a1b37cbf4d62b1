"""Repetition: an agent that proposes what it has just tried. Pure functions of the session's state."""

from __future__ import annotations

from workbench.session.state import SessionState, Step

_EDITS = frozenset({"edit", "insert", "create"})
_MOVES_ON = frozenset({"scroll_up", "scroll_down"})
"""Commands that do something else each time."""


def repetition(state: SessionState) -> str:
    """What the newest step, which has just been proposed, repeats; empty when nothing.

    Told are: the action of the step before, once more; an edit that failed or was rejected, though the files are still
    as they were then; `validate`, though the artifact is still what was scored last.
    """
    step = state.current
    if step.number == 0 or step.author.startswith("human:"):
        return ""
    return _failed_edit(state, step) or _validates_the_same(state, step) or _same_action(state, step)


def _same_action(state: SessionState, step: Step) -> str:
    """The same action as in the step before. What a person did in between is a new situation."""
    if _word(step) in _MOVES_ON:
        return ""
    times = 1
    for before in reversed(state.steps[1 : step.number]):
        if before.author != step.author or not _same(before, step) or _undecided(before):
            break
        times += 1
    if times == 1:
        return ""
    return f"the same action {times} times in a row"


def _failed_edit(state: SessionState, step: Step) -> str:
    if _word(step) not in _EDITS:
        return ""
    files = state.steps[step.number - 1].tree
    for before in reversed(state.steps[1 : step.number]):
        if before.tree != files:
            return ""  # something is different since
        if before.author == step.author and _same(before, step) and not _undecided(before):
            if before.status == "rejected":
                return f"the same edit as in step {before.number}, which was rejected"
            if not before.edited and (before.status == "refused" or before.exit_code):
                return f"the same edit as in step {before.number}, which failed, and no file has changed since"
    return ""


def _validates_the_same(state: SessionState, step: Step) -> str:
    if step.proposed.strip() != "validate":
        return ""
    for before in reversed(state.steps[: step.number]):
        scores = [score for score in before.scores if score.kind == "validate" and score.visible_to_agent]
        if not scores:
            continue
        last = scores[-1]
        now = state.file_at(last.artifact_name) if last.artifact_name else None
        # A file is known by its content. What is no single file is the same when nothing at all has changed.
        same = now.object == last.artifact if now and now.object else before.tree == state.steps[step.number - 1].tree
        if not same:
            return ""
        what = last.artifact_name or "the submission"
        return f"validate again, though {what} is as it was when it was scored in step {before.number}"
    return ""


def _word(step: Step) -> str:
    return (step.proposed.split(None, 1) or [""])[0]


def _same(one: Step, other: Step) -> bool:
    return one.proposed.strip() == other.proposed.strip()


def _undecided(step: Step) -> bool:
    """It was dropped: a take-over or the end of the process came before anybody decided."""
    return step.status == "rejected" and not step.rejected_by
