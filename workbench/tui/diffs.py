"""Old and new lines of files, each with its number: what a step changed, or how two runs differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from textual.content import Content

from workbench.session.diff import diff_lines
from workbench.session.events import WindowChanged
from workbench.session.state import SessionState
from workbench.tui.text import display_line, one_line, split_lines
from workbench.tui.widgets.line_view import Line

FileBytes = Callable[[str, int], bytes | None]
"""A file of the workspace as of a step: (path in the sandbox, step)."""

_AROUND = 3
"""Lines that are as before, shown around those that are not."""
_LARGEST = 1_000_000
"""Bytes of a file that is compared."""
_MOST_FILES = 50
"""Of which lines are shown."""
_MOST_NAMED = 1000
_MUTED = "$foreground 55%"


class Pair(NamedTuple):
    """A file before and after."""

    path: str
    old: str
    new: str
    first_old: int = 1
    first_new: int = 1
    """Numbers of the first lines: a window shows a part of a file."""
    remark: str = ""
    """Why there is nothing to compare."""


def step_changes(state: SessionState, file_bytes: FileBytes, number: int) -> list[Pair]:
    """The files that a step changed; in another program's log, what of them its windows show."""
    step = state.steps[number]
    if step.changes:
        return _pairs(
            [change.path for change in step.changes],
            lambda path: [_bytes(state, file_bytes, path, at) for at in (number - 1, number)],
        )
    before = state.steps[number - 1].window if number else None
    after = step.window
    if before is None or after is None or after is before or before.path != after.path:
        return []
    return [_seen(before, after)] if before.text is not None and after.text is not None else []


def run_differences(a: tuple[SessionState, FileBytes, int], b: tuple[SessionState, FileBytes, int]) -> list[Pair]:
    """The files that differ between two runs, each as of a step of its own."""
    (one, _, one_step), (other, _, other_step) = a, b
    then, now = ({file.path: file.object for file in state.files_at(step)} for state, _, step in (a, b))
    if not then and not now:
        newest = one.steps[one_step].window or other.steps[other_step].window
        windows = [_last_seen(state, step, newest.path) for state, _, step in (a, b)] if newest else []
        return [_seen(windows[0], windows[1])] if windows and windows[0] and windows[1] else []
    paths = sorted(path for path in {*then, *now} if then.get(path) != now.get(path))
    return _pairs(paths, lambda path: [_bytes(state, files, path, step) for state, files, step in (a, b)])


def _pairs(paths: list[str], sides: Callable[[str], list[bytes | None]]) -> list[Pair]:
    """The files of these paths, the first of many; the others are named."""
    pairs = [_pair(path, *sides(path)) for path in paths[:_MOST_FILES]]
    rest = paths[_MOST_FILES : _MOST_FILES + _MOST_NAMED]
    if rest:
        names = [*map(one_line, rest), *(["…"] if len(paths) > _MOST_FILES + len(rest) else [])]
        more = f"{len(paths) - _MOST_FILES:,} more: their lines are not shown"
        pairs.append(Pair(more, "", "", remark="\n".join(names)))
    return pairs


def _last_seen(state: SessionState, number: int, path: str) -> WindowChanged | None:
    """The last window on a file up to a step, with what it showed."""
    windows = (step.window for step in reversed(state.steps[: number + 1]))
    return next((seen for seen in windows if seen and seen.path == path and seen.text is not None), None)


def _bytes(state: SessionState, file_bytes: FileBytes, path: str, step: int) -> bytes | None:
    file = state.file_at(path, step)
    if file is None:
        return b""
    return None if file.size > _LARGEST else file_bytes(f"{state.workspace}/{path}", step)


def _pair(path: str, old: bytes | None, new: bytes | None) -> Pair:
    if old is None or new is None:
        return Pair(path, "", "", remark="too large to be compared, or not in the recording")
    if b"\0" in old[:8192] or b"\0" in new[:8192]:
        return Pair(path, "", "", remark=f"not text: {len(old):,} bytes before, {len(new):,} after")
    return Pair(path, old.decode("utf-8", "replace"), new.decode("utf-8", "replace"))


def _seen(before: WindowChanged, after: WindowChanged) -> Pair:
    """What two windows on files show; the numbers are those of the windows."""
    return Pair(after.path, before.text or "", after.text or "", max(1, before.first_line), max(1, after.first_line))


def shown(pairs: Iterable[Pair]) -> list[Line]:
    """Old and new lines with their numbers, and a few around them, file after file."""
    lines: list[Line] = []
    for pair in pairs:
        if lines:
            lines.append("")
        lines.append(Content.styled(one_line(pair.path), "bold"))
        if pair.remark:
            lines += [Content.styled(line, _MUTED) for line in split_lines(f"({pair.remark})")]
        else:
            lines += _compared(pair)
    return lines


def _compared(pair: Pair) -> Iterator[Line]:
    rows = diff_lines(split_lines(pair.old), split_lines(pair.new))
    near = _near([row.mark != " " for row in rows])
    old, new = pair.first_old, pair.first_new
    hidden = False
    for row, visible in zip(rows, near, strict=True):
        left = "" if row.mark == "+" else str(old)
        right = "" if row.mark == "-" else str(new)
        if visible:
            style = {"+": "$success", "-": "$error"}.get(row.mark, _MUTED)
            yield Content.assemble((f"{left:>5} {right:>5} {row.mark} ", _MUTED), (display_line(row.text), style))
        elif not hidden:
            yield Content.styled("    … ", _MUTED)
        hidden = not visible
        old += row.mark != "+"
        new += row.mark != "-"
    if not any(near):
        yield Content.styled("(no line differs)", _MUTED)


def _near(differs: list[bool]) -> list[bool]:
    """Which lines differ, or stand near one that does."""
    near = [False] * len(differs)
    for place, different in enumerate(differs):
        if different:
            for around in range(max(0, place - _AROUND), min(len(differs), place + _AROUND + 1)):
                near[around] = True
    return near
