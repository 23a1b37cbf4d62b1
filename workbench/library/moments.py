"""What a condition can ask of a step: the fields of breakpoints, approval rules, and of search in a replay."""

from __future__ import annotations

import contextlib
import math
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from workbench.library.filter import Fields, Filter, FilterError, Value, parse
from workbench.session.commands import Breakpoint
from workbench.session.kinds import NAMES, kind_of
from workbench.session.outcome import Failures
from workbench.session.repetition import repetition
from workbench.session.state import SessionState, Step
from workbench.session.status import Resources

if TYPE_CHECKING:
    from workbench.library.curves import Curve, Curves

_WORDS = re.compile(r"""[\s"'`;&|<>(){}=,]+""")


class Running(NamedTuple):
    """What a condition may ask of a command while it runs."""

    took: float
    """Seconds so far."""
    silent: float
    """Seconds since it last printed anything."""
    curves: Curves
    resources: Resources = Resources()


_BEFORE: dict[str, Callable[[SessionState, Step], Value]] = {
    "step": lambda state, step: float(step.number),
    "author": lambda state, step: step.author,
    "thought": lambda state, step: step.thought,
    "action": lambda state, step: step.action,
    "command": lambda state, step: (step.action.split(None, 1) or [""])[0],
    "kind": lambda state, step: NAMES[kind_of(step.action)].lower(),
    "file": lambda state, step: (*_WORDS.split(step.action), *(change.path for change in step.changes)),
    "repeats": lambda state, step: repetition(state, step) or None,
    "answer": lambda state, step: "malformed" if any(a.cause == "bad_format" for a in step.attempts) else None,
    "cost": lambda state, step: state.cost,
    "tokens": lambda state, step: float(state.input_tokens + state.output_tokens),
    "time": lambda state, step: state.working,
}
_AFTER: dict[str, Callable[[SessionState, Step], Value]] = {
    "output": lambda state, step: step.observation,
    "exit": lambda state, step: None if step.exit_code is None else float(step.exit_code),
    "timeout": lambda state, step: "yes" if step.timed_out else None,
    "score": lambda state, step: step.score,
    "worse": lambda state, step: "yes" if _worse(state, step) else None,
    "changed": lambda state, step: tuple(change.path for change in step.changes) or None,
}
FIELDS = {
    "step": "number of the step",
    "author": "who proposed it",
    "thought": "what was thought before",
    "action": "the action, as it runs",
    "command": "its first word",
    "kind": "edit, view, validate, submit, search, python or bash",
    "file": "words of the action, and files that it changed",
    "repeats": "known where it repeats what was tried",
    "answer": "malformed, where an answer before it could not be parsed",
    "cost": "US dollars so far",
    "tokens": "tokens so far",
    "time": "working seconds so far",
    "output": "what the command printed",
    "exit": "its exit code",
    "took": "seconds that it took, or takes so far",
    "silent": "seconds since it last printed anything (live only)",
    "nan": "metrics that it printed as NaN or infinite",
    "rising": "points over which a loss that it printed rose, up to now",
    "timeout": "known where it ran out of time",
    "failure": "what failed: exit, traceback, refused, timeout, format, empty, score or repeat",
    "score": "the score of a validate or submit",
    "worse": "known where the score is worse than the best before",
    "changed": "files that it changed",
    "disk": "bytes free for the workspace (live only)",
    "memory": "bytes of memory free for the sandbox (live only)",
}
"""Name → what it is."""
_PRINTED = frozenset({"took", "silent", "nan", "rising"})
_RUNNING = frozenset({*_PRINTED, "disk", "memory"})
"""Known while a command runs."""
_LATER = frozenset({*_AFTER, "failure"})


def condition(text: str) -> Filter:
    """The condition that a text says about a step. Raises FilterError, also for a field's name that stands alone: as a
    word it is hardly ever meant, and what waits for it would never come (`kind edit`).
    """
    given = parse(text, FIELDS)
    if alone := sorted(given.words & FIELDS.keys()):
        name = alone[0]
        raise FilterError(
            f"{name} alone would be looked for as a word: the field is {name}:WORD, {name}>NUMBER or {name}:* "
            f'(it is known), the word "{name}"'
        )
    return given


def needs_outcome(given: Filter) -> bool:
    """Whether it can only be decided once the step is over, or as its command runs."""
    return bool(given.names & (_LATER | _PRINTED))


def while_it_runs(given: Filter) -> bool:
    """Whether it can be decided while a command runs, and may change meanwhile."""
    return bool(given.names & _RUNNING) and not given.names & _LATER


def fields_of(
    state: SessionState,
    step: Step,
    failures: Failures | None = None,
    folder: Path | None = None,
    running: Running | None = None,
) -> Fields:
    """The fields of a step. `failures`: of the session, where they are known; `folder`: of a session that runs;
    `running`: of a step whose command runs.
    """

    def field(name: str) -> Value:
        if name in _BEFORE:
            return _BEFORE[name](state, step)
        if name in _AFTER:
            return _AFTER[name](state, step) if step.over else None
        if name == "failure":
            found = (failures or Failures(state)).at(step.number) if step.over else ()
            return tuple(failure.kind for failure in found) or None
        if name in _PRINTED:
            return _printed(name, step, running)
        if name in ("disk", "memory"):
            known = running and getattr(running.resources, f"{name}_free")
            return float(known) if known is not None else _free(name, folder) if folder is not None else None
        return f"{step.action}\n{step.observation}"

    return field


def _printed(name: str, step: Step, running: Running | None) -> Value:
    """What is known of a command that runs, and (but for its silences) of one that is over."""
    if name == "took":
        return running.took if running else step.duration or None
    if name == "silent":
        return running.silent if running else None
    from workbench.library.curves import is_loss, of_event  # when first needed: it slows the start

    curves: Iterable[Curve | None] = running.curves.by_name.values() if running else map(of_event, step.metrics)
    known = [curve for curve in curves if curve is not None]
    if name == "rising":
        return max((float(curve.rising) for curve in known if is_loss(curve.newest.name)), default=None)
    if running:
        return tuple(curve.newest.name for curve in known if not math.isfinite(curve.newest.value)) or None
    return tuple(event.name for event in step.metrics if None in event.values) or None


def _worse(state: SessionState, step: Step) -> bool:
    best = state.best_score(step.number - 1)
    return None not in (step.score, best) and state.better(best.score, step.score)  # type: ignore[union-attr,arg-type]


def _free(name: str, folder: Path) -> float | None:
    if name == "memory":
        from workbench.isolation.usage import memory_available  # late: few conditions ask for it

        free = memory_available()
        return None if free is None else float(free)
    with contextlib.suppress(OSError):
        return float(shutil.disk_usage(folder).free)
    return None


# -- breakpoints -------------------------------------------------------------------------------------------------------

_WRITTEN = re.compile(
    r"(?P<once>once\s+)?(?:ignore\s+(?P<ignore>\d{1,6})\s+)?(?P<when>.*?)(?:\s*=>\s*(?P<then>\w+)(?:\s+(?P<text>.*))?)?",
    re.DOTALL,
)
ANSWERS = ("stop", "ask", "notify", "score", "interrupt", "tell")


def read_breakpoint(text: str) -> Breakpoint:
    """`[once] [ignore N] CONDITION [=> stop|ask|notify|score|interrupt|tell TEXT]`. Raises FilterError."""
    found = _WRITTEN.fullmatch(text.strip())
    assert found is not None
    given, then = condition(found["when"]), found["then"] or "stop"
    if then not in ANSWERS:
        raise FilterError(f"after => comes one of {', '.join(ANSWERS)}, and not {then[:20]!r}")
    if (then == "tell") != bool(found["text"]):
        raise FilterError("=> tell needs what the agent is told" if then == "tell" else f"=> {then} stands alone")
    if not found["when"].strip():
        raise FilterError("a breakpoint needs a condition, such as exit!=0 or kind:submit")
    if then == "interrupt" and not while_it_runs(given):
        known = ", ".join(sorted(_RUNNING))
        raise FilterError(f"=> interrupt needs a condition that can be met while a command runs: {known}")
    return Breakpoint(
        when=found["when"], then=then, text=found["text"] or "", once=bool(found["once"]),
        ignore=int(found["ignore"] or 0),
    )  # fmt: skip


def written(given: Breakpoint) -> str:
    """A breakpoint as `read_breakpoint` reads it."""
    once = "once " if given.once else ""
    ignore = f"ignore {given.ignore} " if given.ignore else ""
    then = "" if given.then == "stop" else f" => {given.then}{f' {given.text}' if given.text else ''}"
    return f"{once}{ignore}{given.when.strip()}{then}"
