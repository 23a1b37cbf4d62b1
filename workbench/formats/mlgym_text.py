"""What the observations of an MLGym run tell: the file window, scores, verdicts, time-outs.

MLGym records none of this in fields; it only stands in the text that the agent was shown.
"""

from __future__ import annotations

import ast
import re
from typing import Any

import msgspec

from workbench.session.events import Verdict
from workbench.session.kinds import NAMES, kind_of

_HEADER = re.compile(r"^\[File: (.+) \((\d+) lines total\)\]$", re.MULTILINE)
_PROTECTED = re.compile(r"\[File: \S*/((?:evaluate|target)\.py) \(\d+ lines total\)\]")
_NUMBERED = re.compile(r"([0-9]{1,11}):([^\n]*)\n?")
_MORE_ABOVE = re.compile(r"\(\d+ more lines above\)\n?")
_EVALUATION = re.compile(r"^Evaluation Score: (\{.*\})", re.MULTILINE)

_LONGEST_SCORE = 10_000

SCORED = "Your code produced a valid submission artefact"
_NOT_FOUND = "Submission artefact not found"
_BAD_OUTPUT = "Failed to decode metrics"
_TIMED_OUT = "EXECUTION TIMED OUT BECAUSE"
_READ_TIMED_OUT = "Timeout reached while reading"
_LINT_REJECTED = "has introduced new syntax error"


class SeenWindow(msgspec.Struct, frozen=True):
    """Lines of a file as an observation showed them, without their numbers."""

    path: str
    first_line: int
    last_line: int
    total_lines: int
    text: str


def action_category(action: str) -> str:
    """Kind of an action by its prefix, as MLGym's published figures count it (`openssl` is View, `exit_cost` Bash)."""
    return NAMES[kind_of(action, by_prefix=True)]


def timed_out(observation: str) -> bool:
    """Whether MLGym killed the command (it ran too long, or printed nothing for too long)."""
    return _TIMED_OUT in observation


def lint_rejected(observation: str) -> bool:
    """Whether an edit or insert was undone because the linter found new errors."""
    return _LINT_REJECTED in observation


def protected_edit(action: str, observation: str) -> str:
    """The evaluator's or the opponent's file that an edit has changed (in MLGym they lie in the workspace), or nothing.

    An edit that was made shows the file, first thing.
    """
    found = _PROTECTED.match(observation) if action.lstrip().startswith(("edit", "insert")) else None
    return found[1] if found else ""


def was_scored(observation: str) -> bool:
    """Whether the step was a successful validate."""
    return observation.startswith(SCORED)


def failed_verdict(observation: str) -> Verdict:
    """Why a validate that was not scored failed."""
    if _NOT_FOUND in observation:
        return "missing"
    if _READ_TIMED_OUT in observation or _TIMED_OUT in observation:
        return "timeout"
    return "invalid" if _BAD_OUTPUT in observation or observation.strip() else "crashed"


def shown_score(observation: str) -> dict[str, Any] | None:
    """The metrics that a successful validate printed; None when they cannot be read."""
    match = _EVALUATION.search(observation)
    if match is None or len(match[1]) > _LONGEST_SCORE:
        return None
    try:
        value = ast.literal_eval(match[1])
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def shown_windows(observation: str) -> list[SeenWindow]:
    """The file windows in an observation, in order. A window of which no line is shown is left out."""
    if "[File: " not in observation:
        return []
    windows = (_window(observation, header) for header in _HEADER.finditer(observation))
    return [window for window in windows if window is not None]


def _window(observation: str, header: re.Match[str]) -> SeenWindow | None:
    path, total = header[1], int(header[2][:9])
    position = min(header.end() + 1, len(observation))
    above = _MORE_ABOVE.match(observation, position)
    position = above.end() if above else position
    lines: list[str] = []
    first = expected = 0
    while line := _NUMBERED.match(observation, position):
        number, written = line.groups()
        if lines and int(number) != expected:
            break
        if not lines:
            first = expected = int(number)
        lines.append(written)
        expected += 1
        position = line.end()
    if not lines:
        return SeenWindow(path, 0, 0, 0, "") if total == 0 else None
    last = expected - 1
    return SeenWindow(path, first, last, max(total, last), "\n".join(lines))
