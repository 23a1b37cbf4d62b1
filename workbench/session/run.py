"""One flat row for any run, ours or another program's: what lists, filters, comparisons and analyses need of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from workbench.session.events import Against, Direction, FinalScores, Metric, SessionEnded, SessionStarted, Totals

if TYPE_CHECKING:
    from workbench.session.state import SessionState

_LONGEST_TEXT = 200
"""Characters of a text in a row: a file may hold any."""

Author = Literal["model", "human", "policy", ""]


class Run(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A run in one line. What a file does not say is empty, or None."""

    path: str
    """Absolute: the session folder or the file; `FILE#SAMPLE/EPOCH` for one of several in a file."""
    ident: str
    """What it is called: the name of the session folder, or of the run."""
    format: str = "mlgym-tui"
    """Whose file it is: `mlgym-tui` for our own."""
    task: str = ""
    agent: str = ""
    model: str = ""
    author: Author = ""
    """What acts in it: a model, a person, or a policy (a script, a recording)."""
    started: str = ""
    """When it began, as RFC 3339."""
    changed: float = 0.0
    """When its file was last written, in seconds since 1970."""
    steps: int = 0
    status: str = ""
    """The exit status; `running` while a process drives it, `crashed` if it never ended, `damaged` if unreadable."""
    category: str = ""
    """What kind of end that is, as `workbench.session.outcome` sorts them."""
    metric: str = ""
    direction: str = "maximize"
    baseline: float | None = None
    best: float | None = None
    best_error: float | None = None
    """The standard error of the best, where its evaluator is stochastic."""
    last: float | None = None
    best_split: str = ""
    last_split: str = ""
    caveats: tuple[str, ...] = ()
    """What must be said with best and last."""
    cost: float | None = None
    """US dollars; None where the price is unknown."""
    tokens_in: int | None = None
    tokens_out: int | None = None
    working: float | None = None
    """Seconds, without pauses."""
    parent: str = ""
    """The session that it was forked from, and the step."""
    parent_step: int | None = None
    sweep: str = ""
    """The job of a sweep that it is."""
    problem: str = ""
    live: bool = False
    """A process drives it now."""

    # What only a whole reading tells; a list is made without it.
    size: int = 0
    """Bytes of its file."""
    whole: bool = False
    """The file was read whole: what follows is known."""
    attempts: tuple[float | None, ...] = ()
    """The metric that counts at each validate and submit that was scored, in order; None where it was not among what
    the evaluator returned.
    """
    standard_errors: tuple[float | None, ...] = ()
    """Of the same scores, where the evaluation says how far a repetition would differ."""
    kinds: str = ""
    """A letter for each step, as `workbench.session.kinds` has them."""
    seconds: tuple[float, ...] = ()
    """How long each step's command took."""
    scored_at: tuple[int, ...] = ()
    """The step of each attempt."""
    failures: tuple[tuple[int, str], ...] = ()
    """(step, kind) of what went wrong, as `workbench.session.outcome` finds it."""
    tampered: str = ""
    """A file of the task that nobody should change, and which this run changed."""

    @property
    def age(self) -> float:
        """Seconds since its file was last written."""
        return max(0.0, time.time() - self.changed)

    @property
    def scores(self) -> FinalScores:
        """Metric, baseline, best and last, as `session.ended` carries them."""
        alike = msgspec.convert(self, FinalScores, from_attributes=True)
        against = self.against
        return msgspec.structs.replace(alike, against_baseline=against, worse_than_baseline=against == "worse")

    @property
    def against(self) -> Against:
        """How the best stands to the baseline: `better`, `about`, `worse`; nothing where that is not known."""
        way: Direction = "minimize" if self.direction == "minimize" else "maximize"
        return Metric(name="", direction=way, baseline=self.baseline).against(self.best, self.best_error)

    @property
    def gain(self) -> float | None:
        """By how much the best beats the baseline; negative where it is worse."""
        if self.best is None or self.baseline is None:
            return None
        return self.baseline - self.best if self.direction == "minimize" else self.best - self.baseline


def run_of(
    state: SessionState, path: Path | str, *, changed: float = 0.0, live: bool = False, problem: str = ""
) -> Run:
    """The row of a session that was folded. `live`: a process drives it."""
    end = SessionEnded(
        exit_status=_status(state, live), steps=state.last_step, scores=state.final_scores(), totals=state.totals()
    )
    started = state.started or SessionStarted(format=0, task="")
    return row_of(started, end, path, changed=changed, live=live, problem=problem)


def _status(state: SessionState, live: bool) -> str:
    if state.ended:
        return state.ended.exit_status
    told = not (state.started and state.started.source)  # other programs may just not say that it ended
    return "running" if live else "crashed" if told else ""


def row_of(
    started: SessionStarted, ended: SessionEnded, path: Path | str, *, changed: float = 0.0, live: bool = False,
    problem: str = "",
) -> Run:  # fmt: skip
    """The row of a session of which the first and the last event are known."""
    from workbench.session.outcome import category  # here: a list whose rows are all known needs no more than this file

    metric, scores, totals, parent = started.metric, ended.scores, ended.totals or Totals(), started.parent
    return Run(
        path=str(path),
        ident=Path(path).name if not started.source else _cut(started.session or Path(path).name),
        format=_cut(started.source or "mlgym-tui"),
        task=_cut(started.task),
        agent=_cut(started.agent),
        model=_cut(f"human:{started.person}" if started.person else totals.model or started.model),
        author=_author(started),
        started=_cut(started.time),
        changed=changed,
        steps=ended.steps,
        status=_cut(ended.exit_status),
        category=_cut(category(ended.exit_status)),
        metric=_cut(metric.name) if metric else "",
        direction=metric.direction if metric else "maximize",
        baseline=metric.baseline if metric else None,
        best=scores.best,
        best_error=scores.best_error,
        last=scores.last,
        best_split=_cut(scores.best_split),
        last_split=_cut(scores.last_split),
        caveats=tuple(_cut(said) for said in scores.caveats[:5]),
        cost=totals.cost,
        tokens_in=totals.input_tokens,
        tokens_out=totals.output_tokens,
        working=totals.working if ended.totals else None,
        sweep=_cut(started.sweep),
        parent=_cut(parent.session) if parent else "",
        parent_step=parent.step if parent else None,
        problem=_cut(problem),
        live=live,
    )


def damaged(path: Path | str, problem: str, changed: float = 0.0) -> Run:
    """The row of what cannot be read."""
    return Run(
        path=str(path),
        ident=Path(path).name,
        status="damaged",
        category="damaged",
        problem=_cut(problem),
        changed=changed,
    )


def _author(started: SessionStarted) -> Author:
    provider = started.model.partition(":")[0]
    if provider == "human" or started.agent == "human":
        return "human"
    if provider in ("scripted", "replay", "policy") or started.agent in ("scripted", "replay"):
        return "policy"
    return "model" if started.model else ""


def _cut(text: str) -> str:
    return text[:_LONGEST_TEXT]
