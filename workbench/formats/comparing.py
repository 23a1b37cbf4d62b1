"""Whether a replay came out as it was recorded, step by step: pure functions over two lists of events.

What another program words differently, or what no two runs share (times), is no difference. Scores are compared as
numbers, by their standard errors where an evaluation is drawn by chance.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from workbench.formats import mlgym_text
from workbench.session.events import ScoreRecorded
from workbench.session.state import SessionState, Step

What = Literal["exit code", "output", "score", "files", "not reached"]

TOLERANCES = {"Decisions": 0.01, "Reward Mean": math.inf, "Reward Std": math.inf, "Time": math.inf}
"""How far, in parts of it, a metric may be from the recorded one where no standard error says: decisions are counted on
other instances of the same kind; times are those of another machine.
"""
TOLERANCE = 1e-3
SIGMAS = 4 * math.sqrt(2)
"""Standard errors of one score that two scores of the same submission may be apart."""

_MORE = re.compile(r"\((\d+) more lines? (above|below)\)")
_OWN_HEADS = re.compile(
    r"/\S+: (?:lines? \d+(?: to \d+)? replaced by|\d+ lines? (?:deleted|added|inserted)|the text is the same as before)"
    r".*"
)
_MLGYM_TAILS = re.compile(r"File updated\. Please review the changes.*")
_FOUND = re.compile(r"Found (\d+) (?:matches for|files? called) (\".*\") in")
"""What `find_file` says first."""
_TIMES = re.compile(
    r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?|\b(?:\d+:)?\d+:\d\d(?:\.\d+)?\b"
    r"|\b\d+(?:\.\d+)?(?:e-?\d+)? ?(?:ms|s|secs?|seconds|minutes|min|m\d+\.\d+s)\b"
)
_NUMBERED = re.compile(r"\d+:")
"""A line of a file, as a window shows it."""
_LONG = re.compile(r"\.\.\. \(\d+ more characters? cut\)$")
_LISTING = re.compile(r"[-dlbcps][-rwxsStT]{9}[.+]?\s")


class ScorePair(msgspec.Struct, frozen=True):
    """The scores of one evaluation: then, and now (None where there was none)."""

    recorded: ScoreRecorded
    replayed: ScoreRecorded | None

    @property
    def same(self) -> bool:
        """Whether all metrics that both have are as near as they can be expected to be."""
        then, now = self.recorded, self.replayed
        if now is None or (then.verdict == "ok") != (now.verdict == "ok"):
            return False
        error = now.standard_error
        for name, value in then.metrics.items():
            other = now.metrics.get(name)
            if other is None:
                continue
            if error is not None and value == then.score:
                allowed = SIGMAS * error
            else:
                allowed = TOLERANCES.get(name, TOLERANCE) * max(abs(value), 1e-9)
            if abs(value - other) > allowed:
                return False
        return True


class Divergence(msgspec.Struct, frozen=True):
    """The first thing in which a step came out otherwise."""

    step: int
    """In the recording."""
    what: What
    expected: str
    got: str
    cause: str


def steps_run(recorded: SessionState) -> list[Step]:
    """The steps of a recording whose actions really ran, and of our own those that bash refused: it would again.

    So of MLGym's neither the exits that it writes in the place of an action, nor the one action beyond the step limit,
    which it asks for, records and throws away.
    """
    foreign = recorded.started is not None and bool(recorded.started.source)
    return [step for step in recorded.steps[1:] if step.executed or (step.status == "refused" and not foreign)]


def moved(step: Step, workspace: str, there: str) -> Step:
    """A step as it would read with the workspace in another place (an unprotected sandbox has its own)."""
    if workspace == there or not workspace:
        return step
    return replace(step, observation=step.observation.replace(workspace, there))


def compare_step(recorded: Step, replayed: Step) -> Divergence | None:
    """The first thing in which a step came out otherwise than another program recorded it, if it did."""
    what: What
    if recorded.scores or mlgym_text.action_category(recorded.action) in ("Validate", "Submit"):
        pairs = score_pairs(recorded, replayed)
        if all(pair.same for pair in pairs):
            return None
        what, (expected, got) = "score", scores_in_words(pairs)
    else:
        then, now = (normalised(step.observation, recorded.action) for step in (recorded, replayed))
        place = _parting(then, now)
        if recorded.observation == replayed.observation or place is None:
            return None
        what = "output"
        expected, got = (lines[place][:120] if place < len(lines) else "(nothing)" for lines in (then, now))
    return Divergence(recorded.number, what, expected, got, cause_of(recorded, replayed) or "text")


def normalised(observation: str, action: str = "") -> list[str]:
    """The lines of an observation, without what another program words differently and what no two runs share."""
    lines = [line.rstrip() for line in observation.replace("\r\n", "\n").split("\n")]
    lines = [line for line in lines if line and not _OWN_HEADS.fullmatch(line) and not _MLGYM_TAILS.fullmatch(line)]
    if action.split()[:1] == ["ls"]:
        return _listed(lines)
    return [
        line
        if _NUMBERED.match(line)
        else _MORE.sub(r"(\1 more lines \2)", _TIMES.sub("#", _FOUND.sub(r"Found \1 \2 in", line)))
        for line in lines
    ]


def _listed(lines: Sequence[str]) -> list[str]:
    """The names in a listing, whatever its columns and marks."""
    names: list[str] = []
    for line in lines:
        if _LISTING.match(line):
            names.append(line.split(maxsplit=8)[-1])
        elif not re.fullmatch(r"total \S+", line):
            names += line.split()
    return sorted({name.rstrip("*/@=|") for name in names} - {".", "..", ""})


def _parting(then: Sequence[str], now: Sequence[str]) -> int | None:
    """The first line that differs; a line that one of them cut for its length differs only before that."""
    for place in range(max(len(then), len(now))):
        if place >= len(then) or place >= len(now):
            return place
        if then[place] != now[place]:
            cut = _LONG.search(now[place])
            if cut is None or not then[place].startswith(now[place][: cut.start()]):
                return place
    return None


# -- scores ------------------------------------------------------------------------------------------------------------


def _evaluations(step: Step) -> list[ScoreRecorded]:
    return [entry for entry in step.scores if entry.kind != "autosubmit"]


def score_pairs(recorded: Step, replayed: Step) -> tuple[ScorePair, ...]:
    """The recorded evaluations of a step, each with the one that it was in the replay."""
    now = _evaluations(replayed)
    return tuple(
        ScorePair(entry, now[index] if index < len(now) else None) for index, entry in enumerate(_evaluations(recorded))
    )


def scores_in_words(pairs: Sequence[ScorePair]) -> tuple[str, str]:
    """The first pair that is not the same: as it was recorded, and now."""
    for pair in pairs:
        if not pair.same:
            return _score_in_words(pair.recorded), _score_in_words(pair.replayed)
    return "none", "a score"


def _score_in_words(score: ScoreRecorded | None) -> str:
    if score is None:
        return "no evaluation"
    if score.verdict != "ok" or score.score is None:
        return f"{score.verdict} ({score.message[:100]})" if score.message else score.verdict
    return f"{score.score:.6g}"


# -- causes ------------------------------------------------------------------------------------------------------------

STATELESS = ("refusal", "create", "opponent")
"""Causes after which the files are as they would have been."""

_REFUSED = re.compile(
    r"has introduced new syntax error|^Usage: |^Malformed edit|^Error: |syntax error near unexpected token"
    r"|Permission denied",
    re.MULTILINE,
)
_NETWORK = re.compile(r"\b(?:pip3?|wget|curl|git clone|apt(?:-get)?|conda)\b")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
_DATA = re.compile(r"\bdata/|\bls data\b|dataset\.pkl")
"""The task's data, which lie here in files of another form."""


def cause_of(recorded: Step, replayed: Step) -> str:
    """Why a step is different, as far as action and texts tell; empty where they do not."""
    word = (recorded.action.split() or [""])[0]
    said = replayed.observation + "".join(entry.message for entry in replayed.scores)
    failed = replayed.exit_code not in (0, None)
    if "python: command not found" in said:
        return "python"
    if "ModuleNotFoundError" in said and "ModuleNotFoundError" not in recorded.observation:
        return "packages"
    if word in ("edit", "insert", "create"):
        if failed and _REFUSED.search(recorded.observation):
            return "refusal"
        if mlgym_text.lint_rejected(recorded.observation) or "so nothing was changed" in said:
            return "linter"
        return "create" if word == "create" else ""
    if _NETWORK.search(recorded.action):
        return "network"
    if failed and _REFUSED.search(recorded.observation):
        return "refusal"
    if recorded.scores and any(entry.verdict == "ok" for entry in replayed.scores) and not recorded.score:
        return "scored here"
    if _DATA.search(recorded.action + said):
        return "data"
    if word == "ls":
        gone = set(normalised(recorded.observation, "ls")) ^ set(normalised(replayed.observation, "ls"))
        return "opponent" if gone <= {"evaluate.py", "target.py"} else "listing"
    words = [_NUMBER.sub("#", " ".join(normalised(step.observation))) for step in (recorded, replayed)]
    return "numbers" if mlgym_text.action_category(recorded.action) == "Python" and words[0] == words[1] else ""
