"""The state of a session: a fold over its events. What panes show, live and in replay.

`SessionState.apply` takes one event and costs the same at step 2,000 as at step 1. Everything that was true at an
earlier step can be asked with that step's number: replay is the same state with another cursor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from workbench.session import events as ev
from workbench.session.clock import Correction, WorkTime
from workbench.session.events import Event, FileChange, Mode, ScoreRecorded, SessionStarted, WindowChanged
from workbench.session.prompts import Prompts
from workbench.session.spending import MOST_COST, Spending

StepStatus = Literal["proposed", "running", "ran", "refused", "rejected"]


# What a hostile log may make the state grow to, beyond what its own size explains.
_LARGEST_GAP = 10
"""Steps that may be missing from a log at one place."""
_MOST_MISSING = 1000
"""Steps that may be missing from it in all."""
_MOST_STEPS = 100_000
"""Steps of a session; what is said of later ones is taken for the newest."""
_LONGEST = 1e10
"""Seconds since a session began, or of anything in it: some centuries."""
_MOST_SPLITS = 16
"""Splits of the data whose best and newest scores are known, of those that were scored first."""
MOST_LOST = 1000
"""Files that are known not to have been restored."""


class Answer(NamedTuple):
    """What came with a model's answer beside thought and action."""

    reasoning: str = ""
    """What the provider shows of the reasoning before it."""
    continuation: str = ""
    """As in `model.responded`."""


NO_ANSWER = Answer()
_NO_METRIC = ev.Metric(name="")


class Attempt(NamedTuple):
    """An answer of a model that gave nothing to run: the model was asked again, or the session ended."""

    cause: str
    """As in `model.failed`."""
    message: str = ""
    text: str = ""
    """What the model answered; empty where nothing came, or the log has not kept it."""


class NewShell(NamedTuple):
    """A shell that knows nothing of the one before it."""

    resumed: bool = False
    """In a new sandbox as well: the session went on in another process."""
    cwd: str = ""
    not_restored: tuple[str, ...] = ()
    """Files of the workspace that are gone."""
    given: tuple[str, ...] = ()
    """Variables, functions and aliases that it holds as the one before did."""
    gone: tuple[str, ...] = ()
    """What that held besides."""


class Alternative(msgspec.Struct):
    """Another proposal for the same step, which a person asked for."""

    number: int
    author: str = ""
    thought: str = ""
    action: str | None = None
    """None: nothing that could be run came (yet)."""
    remark: str = ""
    temperature: float | None = None
    spending: Spending = msgspec.field(default_factory=Spending)


class Step(msgspec.Struct):
    """One proposed action with one outcome. Step 0 is the state before the first action."""

    number: int
    author: str = ""
    thought: str = ""
    proposed: str = ""
    """The action as it was proposed."""
    action: str = ""
    """The action as it was run: differs from `proposed` after an edit."""
    proposed_thought: str = ""
    """The thought as it was proposed: differs from `thought` when a person changed it."""
    alternatives: dict[int, Alternative] = msgspec.field(default_factory=dict)
    """By their numbers; when there are any, 0 is what was proposed first."""
    chosen: int = 0
    """Which of them took the place of the proposal."""
    answers: dict[int, Answer] = msgspec.field(default_factory=dict)
    """What came with the answers that the proposal (0) and its alternatives are from, where anything did."""
    attempts: list[Attempt] = msgspec.field(default_factory=list)
    """The answers for it that came to nothing."""
    agent_change: ev.AgentChanged | None = None
    """It is the first that was proposed after this change of model or temperature."""
    answered: int | None = None
    """`seq` of the `model.responded` that it is from, where its event says so: for agent programs."""
    conversation: str = ""
    """Which of the conversations of an agent program it is from; empty for all other agents."""
    relation: str = ""
    """Of its call, as in `prompt.sent`."""
    edited_by: str = ""
    edit_told: bool | None = None
    """Whether the model learns of the change; None: as its agent is configured."""
    remark: str = ""
    """What the model is told about its answer with the outcome."""
    status: StepStatus = "proposed"
    comment: str = ""
    """Why it was rejected."""
    proposed_again: bool = False
    """Nobody judged it, and a later step is the same proposal."""
    rejected_by: str = ""
    exit_code: int | None = None
    observation: str = ""
    truncated: bool = False
    cwd: str = ""
    duration: float = 0.0
    cast: tuple[float, float] | None = None
    raw: str | None = None
    interrupted: bool = False
    timed_out: bool = False
    signal: str = ""
    shell_restarted: bool = False
    window: WindowChanged | None = None
    """The agent's file window after this step."""
    tree: str = ""
    changes: list[FileChange] = msgspec.field(default_factory=list)
    shell: str = ""
    """What is known of the agent's shell after it: see `workspace.snapshot`."""
    scores: list[ScoreRecorded] = msgspec.field(default_factory=list)
    tools: list[ev.ToolUsed] = msgspec.field(default_factory=list)
    """What of memory and literature it used."""
    new_shell: NewShell | None = None
    """What took the place of the shell after this step, before the next."""
    metrics: list[ev.MetricLogged] = msgspec.field(default_factory=list)
    """What a program printed while it ran, by name."""
    extended: list[ev.ActionExtended] = msgspec.field(default_factory=list)
    """It was given more time."""
    messages: list[ev.MessageInjected] = msgspec.field(default_factory=list)
    """Said after this step, before the next."""
    spending: Spending = msgspec.field(default_factory=Spending)
    """What the model calls for it cost: those that came to nothing since the agent's step before are among them. Of a
    proposal that comes again, it stands at the last of its steps.
    """
    started: float = 0.0
    """Seconds since the session began, when it was proposed."""
    finished: float = 0.0
    time: str = ""

    @property
    def answer(self) -> Answer:
        """What came with the answer that its action is from."""
        return self.answers.get(self.chosen, NO_ANSWER)

    @property
    def edited(self) -> bool:
        return bool(self.edited_by)

    @property
    def over(self) -> bool:
        """Nothing more will happen to it."""
        return self.status in ("ran", "refused", "rejected")

    @property
    def executed(self) -> bool:
        """Whether its action ran at all: not where it was rejected, blocked, or nothing that a shell could run."""
        return self.status in ("running", "ran")

    @property
    def dropped(self) -> bool:
        """Whether it was a proposal that nobody judged: a take-over or the session's end came first."""
        return self.status == "rejected" and not self.rejected_by

    def is_proposed_by(self, event: ev.ActionProposed) -> bool:
        """Whether an event proposes the same, as it was before any edit."""
        if event.answer is not None:
            return event.answer == self.answered
        as_before = (self.author, self.proposed, self.proposed_thought)
        return self.answered is None and (event.author, event.action, event.thought) == as_before

    @property
    def counts(self) -> bool:
        """Whether it is the agent's, and was not dropped."""
        return not self.author.startswith("human:") and not self.dropped

    @property
    def had_its_turn(self) -> bool:
        """False for what was dropped, and for an action that went down with the process that ran it: a resumed session
        begins with the files from before it.
        """
        return not self.dropped and not (self.status == "ran" and self.exit_code is None)

    @property
    def score(self) -> float | None:
        """The primary metric of its last successful evaluation."""
        for score in reversed(self.scores):
            if score.score is not None:
                return score.score
        return None


class Standing(NamedTuple):
    """The ledger as of a step: its successful entries."""

    last: ScoreRecorded | None = None
    before: float | None = None
    """The score before this step's own, on the same split of the data; None for the first."""
    own: float | None = None
    """The score recorded in this step itself."""
    bests: Mapping[str, ScoreRecorded] = MappingProxyType({})
    """The best of each split."""
    lasts: Mapping[str, ScoreRecorded] = MappingProxyType({})
    """The newest of each split."""
    validated: str = ""
    """The split that is validated on."""

    @property
    def split(self) -> str:
        """The split of the data that "best" is about; empty where nothing was scored.

        Scores of different splits cannot be compared. What was validated are the attempts, so best is among them; only
        where nothing was validated is it among what was submitted.
        """
        return self.validated or (self.last.split if self.last is not None else "")

    @property
    def best(self) -> ScoreRecorded | None:
        """Of that split."""
        return self.bests.get(self.split)


@dataclass
class SessionState:
    """Everything known about a session after some events."""

    started: SessionStarted | None = None
    sandbox: dict[str, Any] = field(default_factory=dict)
    mode: Mode = "paused"
    driver: str = ""
    """Who set the mode."""
    driven: bool = False
    """A mode was set."""
    mode_before_human: Mode = "step"
    """What is gone back to when a person who took the shell over gives it back."""
    named: list[ev.Naming] = field(default_factory=list)
    """Every event so far that names what this machine will use."""
    steps: list[Step] = field(default_factory=lambda: [Step(0, status="ran")])
    """steps[n] is step n; steps[0] the state before the first."""
    ended: ev.SessionEnded | None = None
    breakpoint_hit: int = 0
    """The step at which a breakpoint was hit last; 0 where none was."""
    cost: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    unpriced_tokens: int = 0
    """Tokens of calls whose price is unknown."""
    spending_by: dict[str, Spending] = field(default_factory=dict)
    """What each author's model calls cost."""
    prompts: Prompts = field(default_factory=Prompts)
    """What the models were sent."""
    failures: list[ev.ModelFailed] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    """The answers since the agent's last proposal that came to nothing."""
    notes: list[ev.NoteAdded] = field(default_factory=list)
    elapsed: float = 0.0
    last_seq: int = -1
    clock: WorkTime = field(default_factory=WorkTime)
    """When was worked."""
    sealed: list[ScoreRecorded] = field(default_factory=list)
    """Scores of a blind session that is not over: nobody is shown them."""
    limits: ev.Limits = field(default_factory=ev.Limits)
    gpus: str = ""
    """Which GPUs were asked for, as in `session.started`."""
    approve: str = ""
    """What waits for a person though the agent drives, as in `session.started`."""
    agent_change: ev.AgentChanged | None = None
    """The newest change of model or temperature."""
    workspace: str = "/home/agent/workspace"
    """Path of the workspace inside the sandbox."""
    _unseen_change: ev.AgentChanged | None = None
    """A change of the agent after which nothing was proposed yet."""
    _proposal: Step | None = None
    """The step that the agent proposed last."""
    _answer: Answer = NO_ANSWER
    """What came with the newest answer, until something is proposed from it."""
    _said: str = ""
    """The text of the newest answer, until something is proposed from it or it comes to nothing."""
    unassigned: Spending = field(default_factory=Spending)
    """What the model calls cost since an agent's last proposal."""
    _answers: dict[int, ev.ModelResponded] = field(default_factory=dict)
    """Answers in conversations of an agent program, of which nothing was proposed yet."""
    _missing: int = 0
    """Steps that the log skipped."""
    _counted: tuple[int, int, list[Step]] = field(default_factory=lambda: (1, 0, []), compare=False)
    """When steps were counted last: how many there were, of those that were over how many count, and the others."""
    workspaces: list[str] = field(default_factory=list)
    """Where the workspace was, in the processes that drove it."""
    _standings: list[Standing] = field(default_factory=list, compare=False)
    """Of the first steps, as far as somebody asked for it."""
    _files: dict[str, list[tuple[int, FileChange]]] = field(default_factory=dict)
    _folders: dict[str, list[tuple[int, FileChange]]] = field(default_factory=dict)

    # -- the fold ----------------------------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Take in the next event. Events out of order or for unknown steps are taken as far as they make sense."""
        self.last_seq = event.seq
        self.elapsed = max(self.elapsed, _seconds(event.elapsed))
        if isinstance(event, ev.Naming):
            self.named.append(event)
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)

    def _step(self, number: int) -> Step:
        # A damaged log may name any number: one far ahead is taken for the newest step, not grown towards.
        if 0 <= number < len(self.steps):
            return self.steps[number]
        missing = number - len(self.steps)
        if not 0 <= missing < _LARGEST_GAP or number > _MOST_STEPS or self._missing + missing > _MOST_MISSING:
            return self.steps[-1]
        self._missing += missing
        while len(self.steps) <= number:
            before = self.steps[-1]
            self.steps.append(Step(len(self.steps), cwd=before.cwd, window=before.window, tree=before.tree))
        return self.steps[number]

    # -- as of a step ------------------------------------------------------------------------------------------------

    @property
    def last_step(self) -> int:
        """Number of the newest step; 0 before the first."""
        return len(self.steps) - 1

    @property
    def agent_steps(self) -> int:
        """Steps that count against an agent's limit: neither those of a person, nor proposals that nobody judged."""
        begun, count, still = self._counted
        new = [*still, *self.steps[begun:]]
        still = [step for step in new if not step.over]  # the others change no more
        count += sum(step.counts for step in new if step.over)
        self._counted = len(self.steps), count, still
        return count + sum(step.counts for step in still)

    @property
    def current(self) -> Step:
        """The newest step."""
        return self.steps[-1]

    @property
    def metric(self) -> ev.Metric:
        """The primary one of the task; without a name where it is not known."""
        return (self.started.metric if self.started else None) or _NO_METRIC

    @property
    def model(self) -> str:
        """`provider:name` of the model that is asked now; for agents without one, how they are called."""
        started = self.started.model if self.started else ""
        return self.agent_change.model if self.agent_change else started

    @property
    def base_url(self) -> str:
        """The server of that model, where it is not the provider's own."""
        started = self.started.base_url if self.started else ""
        return self.agent_change.base_url if self.agent_change else started

    @property
    def dropped_proposal(self) -> Step | None:
        """The agent's newest proposal, where nobody judged it and the model is still the same: it comes next, as the
        person had changed it.
        """
        newest = self._proposal
        return newest if newest is not None and newest.dropped and self._unseen_change is None else None

    @property
    def working(self) -> float:
        """Seconds up to the last event, net of pauses."""
        return self.clock.working(self.elapsed)

    @property
    def validations(self) -> int:
        """How often the agent, or the person in its place, had the work scored by `validate`."""
        entries = [*self.scores_until(), *self.sealed]
        return sum(entry.kind == "validate" and entry.visible_to_agent for entry in entries)

    def unseal(self) -> None:
        """Show the scores of a blind session."""
        sealed, self.sealed = self.sealed, []
        for entry in sealed:
            self.scored(entry)

    def scores_until(self, step: int | None = None) -> list[ScoreRecorded]:
        """The ledger up to and including a step."""
        upto = self.last_step if step is None else min(step, self.last_step)
        return [score for item in self.steps[: upto + 1] for score in item.scores]

    def better(self, a: float, b: float) -> bool:
        """Whether score `a` beats score `b` for this task."""
        return a < b if self.metric.direction == "minimize" else a > b

    def against_baseline(self, entry: ScoreRecorded) -> ev.Against:
        """How a score stands to the baseline."""
        return self.metric.against(entry.score, entry.standard_error)

    def standing(self, step: int | None = None) -> Standing:
        """The ledger as of a step, which takes no longer however many there are."""
        upto = self.last_step if step is None else max(0, min(step, self.last_step))
        while len(self._standings) <= upto:
            before = self._standings[-1] if self._standings else Standing()
            scored = [entry for entry in self.steps[len(self._standings)].scores if entry.score is not None]
            self._standings.append(self._after(before, scored))
        return self._standings[upto]

    def _after(self, earlier: Standing, scored: list[ScoreRecorded]) -> Standing:
        if not scored:
            return earlier if earlier.own is None else earlier._replace(before=earlier.own, own=None)
        bests, lasts = dict(earlier.bests), dict(earlier.lasts)
        validated, last = earlier.validated, scored[-1]
        for entry in scored:
            if entry.split not in lasts and len(lasts) == _MOST_SPLITS:
                continue
            best = bests.get(entry.split)
            if best is None or self.better(entry.score or 0.0, best.score or 0.0):
                bests[entry.split] = entry
            lasts[entry.split] = entry
            validated = validated or (entry.split if entry.kind == "validate" else "")
        before = earlier.lasts.get(last.split)
        return Standing(last, before.score if before is not None else None, last.score, bests, lasts, validated)

    def scored(self, entry: ScoreRecorded) -> None:
        """A score stands in the ledger, from its step on."""
        step = self._step(entry.step)
        step.scores.append(entry)
        del self._standings[step.number :]

    def best_score(self, step: int | None = None, split: str = "") -> ScoreRecorded | None:
        """The best entry of the ledger up to a step, of one split (else that of `Standing`); the first of equals."""
        standing = self.standing(step)
        return standing.bests.get(split or standing.split)

    def last_score(self, step: int | None = None) -> ScoreRecorded | None:
        """The newest successful entry of the ledger up to a step, of whichever split."""
        return self.standing(step).last

    def final_scores(self, step: int | None = None) -> ev.FinalScores:
        """Metric, baseline, best and last, as `session.ended` carries them."""
        best, last = self.best_score(step), self.last_score(step)
        against = self.against_baseline(best) if best else ""
        return ev.FinalScores(
            metric=self.metric.name,
            baseline=self.metric.baseline,
            best=best.score if best else None,
            last=last.score if last else None,
            best_split=best.split if best else "",
            worse_than_baseline=against == "worse",
            best_error=best.standard_error if best else None,
            against_baseline=against,
            last_split=last.split if last else "",
            caveats=list(dict.fromkeys(said for entry in (best, last) if entry for said in entry.caveats)),
        )

    def totals(self) -> ev.Totals:
        """What the whole session took, as `session.ended` carries it."""
        known = bool(self.spending_by)
        free = self.model == "human" or self.model.startswith(("scripted:", "replay:", "policy:"))
        return ev.Totals(
            model=self.model,
            cost=None if self.unpriced_tokens or not (known or free) else self.cost,
            input_tokens=self.input_tokens if known else None,
            output_tokens=self.output_tokens if known else None,
            working=self.working,
        )

    def file_at(self, path: str, step: int | None = None) -> FileChange | None:
        """The file `path` (relative to the workspace) as of a step; None when it did not exist or was never seen."""
        return _as_of(self._files.get(path, []), self.last_step if step is None else step)

    def file_seen(self, path: str, step: int) -> FileChange | None:
        """The file of a path in the sandbox as of a step; None outside of the workspace, too."""
        relative = self.relative_path(path)
        return self.file_at(relative, step) if relative is not None else None

    def files_at(self, step: int | None = None) -> list[FileChange]:
        """All files of the workspace as of a step."""
        return self._all_at(self._files, step)

    def folders_at(self, step: int | None = None) -> list[FileChange]:
        """All folders of the workspace as of a step; none that a log of an older version has."""
        return self._all_at(self._folders, step)

    @property
    def shell(self) -> str:
        """The object with what the shell holds; empty where it holds nothing of its own."""
        return next((each.shell for each in reversed(self.steps) if each.shell), "")

    @property
    def has_folders(self) -> bool:
        """Whether the log tells of folders."""
        return bool(self._folders)

    def _all_at(self, history: dict[str, list[tuple[int, FileChange]]], step: int | None) -> list[FileChange]:
        upto = self.last_step if step is None else step
        found = (_as_of(history[path], upto) for path in sorted(history))
        return [change for change in found if change is not None]

    def relative_path(self, path: str) -> str | None:
        """A sandbox path (of this process or one before a resume) as a path of the workspace; None outside of it."""
        for workspace in reversed(self.workspaces or [self.workspace]):
            root = workspace.rstrip("/") + "/"
            if path.startswith(root) and "/../" not in f"{path}/":
                return path[len(root) :]
        return None


def fold(events: Iterable[Event]) -> SessionState:
    """The state after `events`."""
    state = SessionState()
    for event in events:
        state.apply(event)
    return state


def _as_of(history: list[tuple[int, FileChange]], step: int) -> FileChange | None:
    for number, change in reversed(history):
        if number <= step:
            return None if change.kind == "deleted" else change
    return None


def _seconds(value: float) -> float:
    return min(max(value, 0.0), _LONGEST)


# -- one small function per event, found by its name ------------------------------------------------------------------


def _session_started(state: SessionState, event: ev.SessionStarted) -> None:
    state.started = event
    state.limits = event.limits
    state.approve = event.approve
    state.gpus = event.gpus
    state.steps[0].time = event.time
    state.workspace = event.workspace
    state.workspaces.append(event.workspace)


def _session_resumed(state: SessionState, event: ev.SessionResumed) -> None:
    state.ended = None
    before = state.current.new_shell
    lost = (*(before.not_restored if before else ()), *event.not_restored)
    state.current.new_shell = NewShell(resumed=True, not_restored=tuple(dict.fromkeys(lost))[:MOST_LOST])
    _clock_resumed(state, event)  # a process that was killed in a pause did not say that it ended
    if event.limits is not None:
        state.limits = event.limits
    state.gpus = event.gpus or state.gpus
    if event.approve:
        state.approve = "" if event.approve == "never" else event.approve
    if event.workspace:
        state.workspace = event.workspace
        state.workspaces.append(event.workspace)


def _sandbox_ready(state: SessionState, event: ev.SandboxReady) -> None:
    if not event.restarted:
        state.sandbox = event.sandbox
    step = state.current
    if step.new_shell is not None:
        given, gone = (tuple(names[:MOST_LOST]) for names in (event.shell_given, event.shell_gone))
        step.new_shell = step.new_shell._replace(cwd=event.cwd, given=given, gone=gone)
    elif event.restarted and step.over:  # else the step that it happened in tells of it
        step.new_shell = NewShell(cwd=event.cwd)
    if event.cwd and len(state.steps) == 1:
        state.steps[0].cwd = event.cwd


def _prompt_sent(state: SessionState, event: ev.PromptSent) -> None:
    state.prompts.sent(event, state.last_step)


def _model_drafted(state: SessionState, event: ev.ModelDrafted) -> None:
    state.prompts.drafted(event)


def _model_responded(state: SessionState, event: ev.ModelResponded) -> None:
    state.prompts.answered(event)
    answer = Answer(event.reasoning, event.continuation)
    if event.conversation and not event.alternative:
        state._answers[event.seq] = event
    elif not event.alternative:
        state._answer, state._said = answer, event.text
    elif any(answer):
        state.current.answers[event.alternative] = answer
    if event.usage is not None:
        state.cost = min(state.cost + (event.usage.cost or 0.0), MOST_COST)
        state.input_tokens += event.usage.input_tokens
        state.output_tokens += event.usage.output_tokens
        if event.usage.cost is None:
            state.unpriced_tokens += event.usage.input_tokens + event.usage.output_tokens
        author = event.author or f"model:{event.model.partition(':')[2] or event.model}"
        state.spending_by.setdefault(author, Spending()).add(event.usage)
        if event.alternative:
            _alternative(state.current, event.alternative).spending.add(event.usage)
            state.current.spending.add(event.usage)
        elif not event.conversation:
            state.unassigned.add(event.usage)


def _model_failed(state: SessionState, event: ev.ModelFailed) -> None:
    state.failures.append(event)
    state.prompts.failed(event)
    for_alternative = bool(state.prompts.calls) and bool(state.prompts.calls[-1].sent.alternative)
    # The end of a run says once more what its last answer was not.
    answered = state._said or (event.cause == "bad_format" and not state.attempts)
    if answered and not for_alternative:
        state.attempts.append(Attempt(event.cause, event.message, state._said))
    state._said = ""


def _action_proposed(state: SessionState, event: ev.ActionProposed) -> None:
    by_agent = not event.author.startswith("human:")
    dropped = state.dropped_proposal if by_agent else None
    step = state._step(event.step)
    _propose(step, event.author, event.thought, event.action, event.remark)
    step.answered, step.conversation = event.answer, event.conversation
    if event.answer is not None and (answer := state._answers.pop(event.answer, None)) is not None:
        if answer.usage is not None:
            state.unassigned.add(answer.usage)
        state._answer = Answer(answer.reasoning, answer.continuation)
        call = state.prompts.belongs(event.answer, step.number)
        step.relation = call.sent.relation if call is not None else ""
    if by_agent:
        if dropped is not None and dropped.is_proposed_by(event):
            dropped.proposed_again = dropped.number < step.number  # a damaged log may name a step twice
            state._answer = state._answer if any(state._answer) else dropped.answer
            state.unassigned.add_all(dropped.spending)
            dropped.spending = Spending()
        step.spending.add_all(state.unassigned)
        state.unassigned = Spending()
        if any(state._answer):
            step.answers[0] = state._answer
        step.attempts, state.attempts = state.attempts, []
        state._answer, state._said = NO_ANSWER, ""
        step.agent_change, state._unseen_change = state._unseen_change, None
        state.prompts.proposed(step.number)
        state._proposal = step
    step.status, step.started, step.time = "proposed", _seconds(event.elapsed), event.time


def _propose(step: Step, author: str, thought: str, action: str, remark: str) -> None:
    step.author, step.remark = author, remark
    step.thought = step.proposed_thought = thought
    step.action = step.proposed = action


def _alternative(step: Step, number: int) -> Alternative:
    """The alternative of a number; with the first comes what it is an alternative to, as number 0."""
    if not step.alternatives:
        step.alternatives[0] = Alternative(
            0, step.author, step.proposed_thought, step.proposed, step.remark, spending=replace(step.spending)
        )
    return step.alternatives.setdefault(number, Alternative(number))


def _action_sampled(state: SessionState, event: ev.ActionSampled) -> None:
    alternative = _alternative(state._step(event.step), event.alternative)
    alternative.author, alternative.thought = event.author, event.thought
    alternative.action, alternative.remark = event.action, event.remark
    alternative.temperature = event.temperature


def _action_chosen(state: SessionState, event: ev.ActionChosen) -> None:
    step = state._step(event.step)
    chosen = step.alternatives.get(event.alternative)
    if chosen is None or chosen.action is None:
        return
    step.chosen, step.edited_by, step.edit_told = chosen.number, "", None
    _propose(step, chosen.author, chosen.thought, chosen.action, chosen.remark)


def _action_edited(state: SessionState, event: ev.ActionEdited) -> None:
    step = state._step(event.step)
    step.action, step.edited_by, step.edit_told = event.after, event.author, event.told
    if event.thought_after is not None:
        step.thought = event.thought_after


def _action_rejected(state: SessionState, event: ev.ActionRejected) -> None:
    step = state._step(event.step)
    step.status, step.comment, step.rejected_by = "rejected", event.comment, event.author
    step.finished = _seconds(event.elapsed)


def _action_started(state: SessionState, event: ev.ActionStarted) -> None:
    step = state._step(event.step)
    step.status, step.action = "running", event.action
    step.author = step.author or event.author


def _action_finished(state: SessionState, event: ev.ActionFinished) -> None:
    step = state._step(event.step)
    step.status = "refused" if event.refused else "ran"
    step.exit_code, step.observation, step.truncated = event.exit_code, event.observation, event.truncated
    step.cwd, step.duration = event.cwd or step.cwd, _seconds(event.duration)
    step.cast, step.raw = event.cast, event.raw
    step.interrupted, step.timed_out, step.signal = event.interrupted, event.timed_out, event.signal
    step.shell_restarted, step.finished = event.shell_restarted, _seconds(event.elapsed)


def _window_changed(state: SessionState, event: ev.WindowChanged) -> None:
    state._step(event.step).window = event if event.path else None


def _workspace_snapshot(state: SessionState, event: ev.WorkspaceSnapshot) -> None:
    step = state._step(event.step)
    step.tree = event.tree
    step.changes.extend(event.changes)
    step.shell = event.shell or step.shell
    for history, changes in ((state._files, event.changes), (state._folders, event.folders)):
        for change in changes:
            history.setdefault(change.path, []).append((step.number, change))


def _score_recorded(state: SessionState, event: ev.ScoreRecorded) -> None:
    if state.started is not None and state.started.blind and state.ended is None:
        state.sealed.append(event)
    else:
        state.scored(event)


def _tool_used(state: SessionState, event: ev.ToolUsed) -> None:
    state._step(event.step).tools.append(event)


def _control_changed(state: SessionState, event: ev.ControlChanged) -> None:
    if event.mode == "human" and state.mode != "human":
        state.mode_before_human = state.mode
    state.mode, state.driver, state.driven = event.mode, event.author, True


def _limits_changed(state: SessionState, event: ev.LimitsChanged) -> None:
    state.limits = event.limits


def _action_extended(state: SessionState, event: ev.ActionExtended) -> None:
    state._step(event.step).extended.append(event)


def _agent_changed(state: SessionState, event: ev.AgentChanged) -> None:
    state.agent_change = state._unseen_change = event


def _clock_paused(state: SessionState, event: ev.ClockPaused) -> None:
    state.clock.pause(_seconds(event.elapsed), event.reason)


def _clock_resumed(state: SessionState, event: Event) -> None:
    state.clock.resume(_seconds(event.elapsed))


def _clock_corrected(state: SessionState, event: ev.ClockCorrected) -> None:
    state.clock.correct(Correction(_seconds(event.elapsed), event.seconds, event.reason, event.author))


def _message_injected(state: SessionState, event: ev.MessageInjected) -> None:
    state.current.messages.append(event)


def _metric_logged(state: SessionState, event: ev.MetricLogged) -> None:
    state._step(event.step).metrics.append(event)


def _note_added(state: SessionState, event: ev.NoteAdded) -> None:
    state.notes.append(event)


def _breakpoint_hit(state: SessionState, event: ev.BreakpointHit) -> None:
    state.breakpoint_hit = event.step


def _session_ended(state: SessionState, event: ev.SessionEnded) -> None:
    state.ended = event
    if event.exit_status not in GOES_ON:
        state.unseal()


GOES_ON = ("stopped", "interrupted", "error", "breakpoint", "forked")
"""How a session ends that somebody means to go on with."""

_HANDLERS: dict[type[Event], Callable[[SessionState, Any], None]] = {
    event: handler
    for event in ev.EVENTS
    if (handler := globals().get(f"_{event.__struct_config__.tag}".replace(".", "_"))) is not None
}
"""The function above that bears the event's name."""
