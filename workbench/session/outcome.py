"""How a session ended, what failed in it, and where it began to go wrong: pure functions of its state.

What failed is read from the fields of our own log; in those of other programs, which have no exit codes, from the text
of the observation.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from typing import Literal, NamedTuple

from workbench.session.events import AGAINST
from workbench.session.repetition import repetition
from workbench.session.state import SessionState, Step
from workbench.text import many

Kind = Literal["format", "timeout", "refused", "traceback", "exit", "empty", "score", "repeat"]

KINDS: dict[Kind, str] = {
    "format": "answer that could not be parsed",
    "timeout": "time-out",
    "refused": "refused edit or command",
    "traceback": "traceback",
    "exit": "failed command",
    "empty": "empty submission",
    "score": "bad or failed score",
    "repeat": "repeated action",
}
"""What each kind of failure is called; the first that a step has is the one that it is marked with."""

_ORDER = {kind: place for place, kind in enumerate(KINDS)}


class Failure(NamedTuple):
    """Something that went wrong in a step."""

    step: int
    kind: Kind
    text: str


# -- how it ended ------------------------------------------------------------------------------------------------------

_STATUS = re.compile(r"(\w+) \((.*)\)", re.DOTALL)
_ENDS = {
    "max_steps": ("Max Steps", "it had used all of its {steps} steps"),
    "max_time": ("Max Time", "its time was over"),
    "exit_cost": ("Cost", "it had spent all that it might{cost}"),
    "exit_format": ("Format", "the model did not answer in the form that it had to: its answer held no action"),
    "exit_context": ("Context", "what the model had to be sent was longer than it can read"),
    "exit_api": ("API", "the model could not be asked"),
    "exit_error": ("Runtime", "the program around the model failed"),
    "agent_exited": ("Exited", "the agent program had ended without a submission"),
    "exit_environment_error": ("Runtime", "its environment failed"),
    "exit_command_timeout": ("Max Time", "its commands took too long too often"),
    "exit_total_execution_time": ("Max Time", "its commands had taken all of their time"),
    "exit_forfeit": ("Forfeit", "the model gave up"),
    "submitted": ("Success", ""),
    "success": ("Success", ""),
    "submit": ("Submit", ""),
    "message": ("Max Steps", "it had exchanged as many messages as it might"),
    "time": ("Max Time", "its time was over"),
    "working": ("Max Time", "its time was over"),
    "timeexceeded": ("Max Time", ""),
    "cost": ("Cost", "it had spent all that it might"),
    "token": ("Context", "it had used as many tokens as it might"),
    "context": ("Context", ""),
    "limit": ("Limit", ""),
    "limitsexceeded": ("Limit", "it had reached a limit"),
    "formaterror": ("Format", ""),
    "repeatedformaterror": ("Format", "the model did not answer in the form that it had to, again and again"),
    "actions_exhausted": ("Exhausted", "the recorded actions had come to their end"),
    "skipped": ("Forfeit", "it was skipped"),
    "stopped": ("Stopped", "somebody stopped it"),
    "interrupted": ("Stopped", "it was interrupted"),
    "cancelled": ("Stopped", "it was cancelled"),
    "started": ("Runtime", "its process died, for the file never says that it ended"),
    "crashed": ("Runtime", ""),
    "early_exit": ("Runtime", "the environment broke down"),
    "error": ("Runtime", "the workbench, or its sandbox, failed"),
}
"""What ended a run, or how it stands → its category, and the reason in words, where there are some."""


def _ended(how: str) -> tuple[str, str]:
    return _ENDS.get(how.lower(), (how, ""))


def category(exit_status: str) -> str:
    """The category of an exit status as MLGym's analysis has it, and in its terms for the statuses of others.

    A run that could not be scored is of two: what failed, then what ended it (`Evaluation|Format`).
    """
    parts = _STATUS.fullmatch(exit_status)
    if parts is None:
        return _ended(exit_status)[0]
    outcome, cause = parts[1], parts[2]
    if outcome == "unknown_error":
        word = (cause.split() or [""])[0]
        return {"validate": "Evaluation", "submit": "Evaluation", "open": "Permission"}.get(word, "Runtime")
    if outcome not in ("submitted", "autosubmission", "submission_not_found", "evaluation_format_error", "limit"):
        return exit_status
    why = _ended(cause)[0]
    if outcome in ("submitted", "autosubmission", "limit"):
        return why
    if cause in ("max_steps", "max_time") or (cause, outcome) == ("submit", "submission_not_found"):
        return "Evaluation"
    return f"Evaluation|{why}"


class Verdict(NamedTuple):
    """Why a session ended, and where it began to go wrong."""

    exit_status: str
    """Empty where the log does not say."""
    category: str
    failed: bool
    """Nothing was ever scored."""
    incomplete: bool
    """Something was scored, but the session neither submitted nor used all of its steps."""
    step: int
    """Where it began to go wrong; 0 where no step did."""
    sentences: tuple[str, ...]
    answer: str
    """The last answer of the model, where it could not be parsed."""

    @property
    def submitted(self) -> bool:
        return self.category == "Success"

    @property
    def tells(self) -> bool:
        """Whether a recording opens with it: it did not submit, as far as its file says how it ended."""
        return not self.submitted and "does not say" not in self.sentences[0]


# -- what failed -------------------------------------------------------------------------------------------------------

_EDITS = frozenset({"edit", "insert", "create"})
_LOOKED_AT = 20_000
"""Characters of both ends of an observation in which failures are looked for."""
_TIMED_OUT = re.compile(r"EXECUTION TIMED OUT BECAUSE|^Error: Timeout reached while", re.MULTILINE)
_REFUSED = re.compile(
    r"^(?:Your proposed (?:edit|insertion) has introduced new syntax error"
    r"|Malformed edit command|Usage: (?:edit|insert|create)\b.*|bash: (?:-c: )?(?:line \d+: )?syntax error.*"
    r"|/bin/bash: (?:-c: )?(?:line \d+: )?(?:syntax error|unexpected EOF).*"
    r"|Error: File '.*' already exists)",
    re.MULTILINE,
)
_LINTED = re.compile(r"^- .+", re.MULTILINE)
_WINDOW = re.compile(r"\[File: .*\n(?:\(\d+ more lines above\)\n)?(?:\d+:.*\n)*")
"""The lines of a file that the agent is shown: what they say is no failure."""
_TRACEBACK = "Traceback (most recent call last)"
_EXITS = re.compile(r"exit_\w+|skip")
"""What MLGym writes in the place of an action when it ends a run."""
_EXCEPTION = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit)\b(?:: .*)?$", re.MULTILINE)
_FAILED = re.compile(
    r"(?:/bin/)?bash: (?:line \d+: )?.*|^usage: .*|^Usage: .*|^EXECUTION FAILED OR COMMAND MALFORMED.*"
    r"|^File .* not found.*|^Error: .*|^(?:ls|cp|mv|cat|rm|cd|head|tail|grep|find): (?:cannot|can't) .*"
    r"|^\S+: (?:No such file or directory|Permission denied|command not found).*",
    re.MULTILINE,
)


_WORDS = {
    _TIMED_OUT: ("EXECUTION TIMED OUT", "Error: Timeout"),
    _REFUSED: ("Your proposed", "Malformed edit", "Usage: ", "syntax error", "unexpected EOF", "already exists"),
    _EXCEPTION: ("Error", "Exception", "Interrupt", "Exit"),
    _FAILED: (
        "bash: ", "sage: ", "EXECUTION FAILED", " not found", "Error: ", ": cannot ", ": can't ", "No such file",
        "Permission denied",
    ),
}  # fmt: skip
"""What each of them cannot do without: to look for a word costs a hundredth of what the pattern does."""


def _matches(pattern: re.Pattern[str], text: str, start: int = 0) -> Iterator[re.Match[str]]:
    """The first match in each line that has one, from `start` on: only lines that hold a word of it are looked at."""
    lines = set()
    for word in _WORDS[pattern]:
        at = text.find(word, start)
        while at >= 0:
            lines.add(text.rfind("\n", 0, at) + 1)
            end = text.find("\n", at)
            at = text.find(word, end) if end >= 0 else -1
    for line in sorted(lines):
        end = text.find("\n", line)
        found = pattern.search(text, max(line, start), end if end >= 0 else len(text))
        if found is not None:
            yield found


def _search(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next(_matches(pattern, text), None)


class Failures:
    """The failures of every step, each computed once."""

    def __init__(self, state: SessionState) -> None:
        self._state = state
        self._of: list[tuple[Failure, ...]] = []
        self.steps: list[int] = []
        """Numbers of the steps that failed."""
        self.update(0)

    def update(self, step: int) -> None:
        """Take in what changed in `step` and later."""
        del self._of[max(0, step) :]
        del self.steps[bisect_left(self.steps, len(self._of)) :]
        for item in self._state.steps[len(self._of) :]:
            each = _failures(self._state, item) if item.number else ()
            found = tuple(sorted(each, key=lambda failure: _ORDER[failure.kind]))
            self._of.append(found)
            if found:
                self.steps.append(item.number)

    def at(self, step: int) -> tuple[Failure, ...]:
        """The failures of a step, in the order of `KINDS`."""
        return self._of[step] if 0 <= step < len(self._of) else ()

    def next(self, step: int) -> int | None:
        """The first step after `step` that failed."""
        index = bisect_right(self.steps, step)
        return self.steps[index] if index < len(self.steps) else None

    def previous(self, step: int) -> int | None:
        """The last step before `step` that failed."""
        index = bisect_left(self.steps, step)
        return self.steps[index - 1] if index else None

    def all(self) -> list[Failure]:
        """Every failure, step after step."""
        return [failure for number in self.steps for failure in self._of[number]]


def failures(state: SessionState) -> list[Failure]:
    """Every failure of a session, step after step."""
    return Failures(state).all()


def _failures(state: SessionState, step: Step) -> Iterator[Failure]:
    for count, attempt in enumerate(step.attempts, 1):
        if attempt.cause == "bad_format":
            which = f"answer {count}" if len(step.attempts) > 1 else "an answer"
            yield Failure(step.number, "format", f"{which} could not be parsed: {_first_line(attempt.message)}")
    if step.action.strip() == "exit_format" and not step.attempts:
        yield Failure(step.number, "format", "no answer of the model could be parsed")
    if step.status in ("ran", "refused") and not _EXITS.fullmatch(step.action.strip()):
        found = _outcome(step)
        if found is not None:
            yield Failure(step.number, *found)
    for entry in step.scores:
        if entry.score is None:
            kind: Kind = {"missing": "empty", "timeout": "timeout"}.get(entry.verdict, "score")  # type: ignore[assignment]
            yield Failure(step.number, kind, f"{entry.kind}: {_complaint(entry.message) or entry.verdict}")
    standing = state.standing(step.number)
    own, before = standing.own, standing.before
    if own is not None and before is not None and state.better(before, own):
        yield Failure(step.number, "score", f"the score fell from {before:.4g} to {own:.4g}")
    elif own is not None and before is None and standing.last and state.against_baseline(standing.last) == "worse":
        yield Failure(step.number, "score", f"the score {own:.4g} is worse than the baseline")
    if not step.dropped and (repeated := repetition(state, step)):
        yield Failure(step.number, "repeat", repeated)


def _outcome(step: Step) -> tuple[Kind, str] | None:
    """What went wrong as the action ran, if anything did."""
    seen = step.observation
    if len(seen) > 2 * _LOOKED_AT:
        seen = f"{seen[:_LOOKED_AT]}\n{seen[-_LOOKED_AT:]}"
    if window := _WINDOW.match(seen):
        seen = seen[window.end() :]
    word = (step.action.split(None, 1) or [""])[0]
    if step.timed_out or (step.exit_code is None and _search(_TIMED_OUT, seen)):
        return "timeout", f"stopped after {step.duration:.0f} s" if step.duration >= 0.5 else "it timed out"
    if step.status == "refused" and not step.action.strip():
        return "format", f"no action could be read from the answer: {_first_line(seen)}"
    refused = _search(_REFUSED, seen) if step.exit_code != 0 else None
    if step.status == "refused" or refused or (word in _EDITS and step.exit_code):
        linted = _LINTED.search(seen) if refused and refused[0].startswith("Your proposed") else None
        said = linted[0].removeprefix("- ") if linted else refused[0] if refused else seen
        return "refused", f"{word if word in _EDITS else 'the action'} was refused: {_first_line(said)}"
    traceback = seen.rfind(_TRACEBACK)
    if traceback >= 0 or step.exit_code != 0:
        raised = list(_matches(_EXCEPTION, seen, max(0, traceback)))
        if raised or traceback >= 0:
            return "traceback", _first_line(raised[-1][0] if raised else _TRACEBACK)
    if step.exit_code is None:
        failed = _search(_FAILED, seen)
        return ("exit", _first_line(failed[0])) if failed else None
    if step.exit_code != 0:
        last = next((line for line in reversed(seen.splitlines()) if line.strip()), "")
        return "exit", f"exit {step.exit_code}" + (f": {_first_line(last)}" if last else "")
    return None


def _first_line(text: str, most: int = 160) -> str:
    line = next((line.strip() for line in text[:4000].splitlines() if line.strip()), "")
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _complaint(message: str) -> str:
    """What an evaluator says was wrong: the exception that it ended with, else its first words that say something."""
    message = message[-_LOOKED_AT:]
    raised = list(_matches(_EXCEPTION, message))
    if raised:
        return _first_line(raised[-1][0])
    lines = [line for line in message.splitlines() if line.strip(" -=") and not line.rstrip().endswith("Output:")]
    return _first_line("\n".join(lines) or message)


# -- why, and where ----------------------------------------------------------------------------------------------------

_MUCH = 100_000
"""Characters of an observation that are worth a word."""
_SCORED = {
    "submitted": "What it had done by then was submitted for it.",
    "submission_not_found": "There was nothing to score: no submission was found.",
    "evaluation_format_error": "What it left could not be scored.",
    "autosubmission": "What it had done by then was submitted for it.",
}


_WEIGHTS: dict[Kind, int] = {"format": 3, "timeout": 3, "traceback": 2, "empty": 2, "score": 2}
"""How much a failure of a kind says about why nothing came of a session; others: 1."""


def verdict(state: SessionState, found: Failures | None = None) -> Verdict:
    """Why the session ended, and where it began to go wrong. `found`: its failures, where they are known already."""
    found = found or Failures(state)
    status = state.ended.exit_status if state.ended else ""
    if not status and any(entry.kind == "submit" and entry.score is not None for entry in state.current.scores):
        status = "submitted"  # and only the last line of the log is missing
    kind = category(status)
    scored = any(entry.score is not None for entry in state.scores_until())
    last = state.current
    attempts = state.attempts or (last.attempts if last.action.strip() == "exit_format" else [])
    answer = next((attempt.text for attempt in reversed(attempts) if attempt.text), "")
    step, turn = (0, "") if kind == "Success" else _turn(state, found, status)
    sentences = (
        _why(state, status), _form(answer), *_result(state, status), turn, _tally(found), _scores(state),
    )  # fmt: skip
    return Verdict(
        status,
        kind,
        failed=not scored,
        incomplete=scored and not {"Success", "Max Steps"} & set(kind.split("|")),
        step=step,
        sentences=tuple(sentence for sentence in sentences if sentence),
        answer=answer,
    )


def _parts(status: str) -> tuple[str, str]:
    """What became of the submission, and what ended the run."""
    parts = _STATUS.fullmatch(status)
    return (parts[1], parts[2]) if parts else ("", status)


def _why(state: SessionState, status: str) -> str:
    outcome, cause = _parts(status)
    if not status and state.started and state.started.source:
        return "The file does not say how the run ended."
    if not status:
        return "The log ends before the run does: it still goes on, or its process died."
    if status == "submitted":
        return "The run ended because its work was submitted."
    if cause == "submit" and outcome:
        return "The run ended because the agent submitted its work."
    if outcome == "unknown_error":
        printed = len(state.current.observation)
        much = f" It had printed {printed:,} characters." if printed > _MUCH else ""
        return f"The run broke off as “{_first_line(cause, 80)}” ran; nothing says why.{much}"
    steps, cost = state.limits.steps, state.limits.cost
    known = _ended(cause)[1]
    if not known:
        text = f"The run ended as “{_first_line(status, 80)}”"
    else:
        text = "The run ended because " + known.format(
            steps=f"{steps:,}" if steps else f"{state.last_step:,}", cost=f" (${cost:g})" if cost else ""
        )
    reason = _first_line(state.ended.reason, 300) if state.ended and cause not in ("max_steps", "max_time") else ""
    return _sentence(f"{text}: {reason}" if reason else text)


def _form(answer: str) -> str:
    """What is to be seen in an answer that could not be parsed: agents are mostly asked for one fenced block."""
    fences = sum(line.lstrip().startswith("```") for line in answer.splitlines())
    if not answer or fences == 2:
        return ""
    blocks = "no fenced block" if not fences else "a fenced block that never ends" if fences % 2 else ""
    return f"Its last answer has {blocks or many(fences // 2, 'fenced block')}."


def _result(state: SessionState, status: str) -> Iterator[str]:
    """What became of the submission at the end."""
    outcome = _parts(status)[0]
    final = next((entry for entry in reversed(state.scores_until()) if entry.kind != "validate"), None)
    if outcome in _SCORED:
        yield _SCORED[outcome]
    if final is not None and final.score is None and outcome == "evaluation_format_error":
        said = next(
            (e.message for e in reversed(state.scores_until()) if e.verdict == "invalid" and e.kind == "validate"), ""
        )
        if said:
            yield f"The last validation that failed said: {_complaint(said)}"


def _turn(state: SessionState, found: Failures, status: str) -> tuple[int, str]:
    """The step where it began to go wrong, and the sentence about it."""
    outcome, cause = _parts(status)
    if cause == "exit_context":
        largest = max(state.steps, key=lambda step: len(step.observation))
        total = sum(len(step.observation) for step in state.steps)
        if len(largest.observation) > max(8000, total // 5):
            share = len(largest.observation) * 100 // total
            return largest.number, (
                f"Step {largest.number} ({_action(largest)}) alone printed {len(largest.observation):,} characters, "
                f"{share}% of all that the run printed."
            )
    best = state.best_score()
    good = best is not None and best.kind == "validate" and state.against_baseline(best) != "worse"
    after = best.step if best is not None and good else 0
    bad = [each for each in found.all() if each.step > after and not each.text.startswith("autosubmit")]
    if cause == "exit_format":
        bad = [failure for failure in bad if failure.kind == "format"] or bad
    if outcome in ("submission_not_found", "evaluation_format_error"):
        bad = [failure for failure in bad if failure.step != state.last_step] or bad
    if not any(step.executed for step in state.steps[1:]):
        return 0, "No action was ever run."
    if outcome == "unknown_error" and not bad:
        return state.last_step, ""
    if not bad:
        since = f" after its best score in step {after}" if after else ""
        return after, f"No step failed{since}: it went on until it was ended."
    weights: Counter[Kind] = Counter()
    for failure in bad:
        weights[failure.kind] += _WEIGHTS.get(failure.kind, 1)
    common = weights.most_common(1)[0][0]
    first = next(failure for failure in bad if failure.kind == common)
    where = f"It began to go wrong in step {first.step} ({_action(state.steps[first.step])})"
    since = f", after its best score in step {after}" if after else ""
    text = f"{where}{since}: {_sentence(first.text)}"
    if cause == "exit_format" and not state.best_score():
        earlier = next((each for each in found.all() if each.step < first.step and each.kind in _WEIGHTS), None)
        if earlier is not None:
            text += f" Before that, in step {earlier.step} ({_action(state.steps[earlier.step])}): "
            text += _sentence(earlier.text)
    return first.step, text


def _sentence(text: str) -> str:
    return text if text.endswith((".", "…", "!", "?")) else f"{text}."


def _action(step: Step) -> str:
    return _first_line(step.action, 60) or "no action"


def _tally(found: Failures) -> str:
    counts = Counter(failure.kind for failure in found.all())
    if not counts:
        return ""
    parts = [f"{counts[kind]:,} × {name}" for kind, name in KINDS.items() if counts[kind]]
    return f"Something went wrong in {many(len(found.steps), 'step')}: {', '.join(parts)}."


def _scores(state: SessionState) -> str:
    best, last = state.best_score(), state.last_score()
    name, level = state.metric.name or "score", state.metric.baseline
    baseline = f" (baseline {level:.4g})" if level is not None else ""
    if best is None or best.score is None:
        return f"It never had a score{baseline}."
    text = f"Its best {name} was {best.score:.4g} in step {best.step}{baseline}"
    if against := AGAINST[state.against_baseline(best)]:
        text += f", {against}"
    if last is None or last is best or last.score is None:
        return f"{text}."
    where = f" on {last.split} data, where best is on {best.split}" if last.split != best.split else ""
    return f"{text}; its last was {last.score:.4g}{where}."
