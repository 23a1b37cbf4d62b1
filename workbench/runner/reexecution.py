"""A recorded session run again in a fresh sandbox, with a check: step by step, what came out is compared with what was
recorded.

Of one of our sessions that is a fork from before its first step, with the files that it had; of a recording of another
program, a new session on the task of that name, with the files that the recording shows or a folder holds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from workbench.agents.agent import ActionsExhausted, Proposal
from workbench.agents.models.replay import ReplayAgent
from workbench.environment.assembly import OURS, Grounds
from workbench.formats.actions import Plan, PlannedAction, plan_of
from workbench.formats.checking import Content, check_step, different_files
from workbench.formats.comparing import STATELESS, Divergence, compare_step, moved, steps_run
from workbench.formats.mlgym import SOURCE as MLGYM
from workbench.formats.table import SOURCE
from workbench.runner.agents import StartError
from workbench.runner.forking import Fork, Heir, make_fork
from workbench.runner.runner import Runner
from workbench.runner.start import start
from workbench.runner.trust import Consent, named_task, trust
from workbench.session import events as ev
from workbench.session.branch import events_until
from workbench.session.events import Event, Limits
from workbench.session.log import read_log
from workbench.session.marks import origin
from workbench.session.objects import ObjectStore
from workbench.session.recording import Recording
from workbench.session.spec import SessionSpec
from workbench.session.state import SessionState, Step, fold
from workbench.tasks.catalogue import find_known_task
from workbench.tasks.errors import UnknownTask

Answer = Literal["accept", "stop"]
Decide = Callable[[Divergence], Awaitable[Answer]]


class Checked(msgspec.Struct):
    """How far a session came out again as it was recorded."""

    steps: int
    """Number of the last step that was to be run."""
    verified_to: int = 0
    """Number of the last step up to which all was as it was recorded."""
    divergence: Divergence | None = None
    """The first."""
    accepted: list[Divergence] = msgspec.field(default_factory=list)
    """Those past which somebody went on."""
    by_design: list[Divergence] = msgspec.field(default_factory=list)
    """Where this workbench means to be otherwise than the program that recorded it, and the files are as they were."""
    ended: ev.SessionEnded | None = None

    @property
    def verified(self) -> bool:
        """All steps came out as they were recorded."""
        return self.divergence is None and self.verified_to == self.steps


class Checker(ReplayAgent):
    """Proposes the recorded actions, and looks at what came of each before it proposes the next."""

    def __init__(
        self, recording: Recording, plan: Plan, until: int, decide: Decide | None, on_step: Callable[[int, int], None]
    ) -> None:
        super().__init__(plan, str(recording.path))
        self.recorded = fold(recording.events)
        self.checked = Checked(until)
        self._decide = decide
        self._on_step = on_step
        self._looked_at = 0
        self._stopped = False
        self._since = (-1, -1)
        self._excused: frozenset[str] = frozenset()
        self._contents: tuple[Content, Content] | None = None
        self.ours = recording.source == SOURCE
        self._theirs = ObjectStore(recording.folder / "objects") if recording.folder is not None else None

    def look_at(self, session: Path) -> None:
        """Where the replay keeps its files."""
        if self._theirs is not None and self.recorded.steps[0].tree:
            self._contents = (_reader(self._theirs), _reader(ObjectStore(session / "objects")))

    async def propose(self, state: SessionState) -> Proposal:
        """The next action, unless something came out otherwise and nobody goes on past it."""
        await self.catch_up(state)
        if self._stopped:
            raise ActionsExhausted("it came out otherwise than it was recorded")
        self._on_step(self._looked_at, len(self.plan.actions))
        return await super().propose(state)

    def comment(self, state: SessionState) -> str:
        """Nothing: what differs is told otherwise."""
        return ""

    async def catch_up(self, state: SessionState) -> None:
        """Look at the steps that are over."""
        done = self._done(state)
        while self._looked_at < len(done) and not self._stopped:
            recorded, replayed = self.plan.steps[self._looked_at], done[self._looked_at]
            self._looked_at += 1
            found = self._difference(recorded, replayed, state)
            if found is not None and not self.ours and found.cause in STATELESS and found.what != "score":
                self.checked.by_design.append(found)
                found = None
            if found is None:
                if self.checked.divergence is None:
                    self.checked.verified_to = recorded.number
                continue
            if self.checked.accepted and found.cause == "edited":
                found = replace(found, cause="cascade")
            self.checked.divergence = self.checked.divergence or found
            if self._decide is None or await self._decide(found) == "stop":
                self._stopped = True
                return
            self.checked.accepted.append(found)
            if self._contents is not None:
                steps = range(recorded.number + 1), range(replayed.number + 1)
                self._excused |= different_files(steps, (self.recorded, state), self._contents, self._said())

    def _difference(self, recorded: Step, replayed: Step, state: SessionState) -> Divergence | None:
        if not self.ours:
            return compare_step(recorded, moved(replayed, state.workspace, self.recorded.workspace))
        both, since = (self.recorded, state), self._since
        self._since = (recorded.number, replayed.number)
        return check_step(recorded, replayed, both, self._contents, self._said(), self._excused, since)

    def _said(self) -> str:
        """What the actions up to here say."""
        return "\n".join(action for _, action in self.plan.actions[: self._looked_at])


def _reader(store: ObjectStore) -> Content:
    def read(digest: str) -> bytes | None:
        try:
            return store.get(digest)
        except (OSError, ValueError):
            return None

    return read


def begin(
    recording: Recording,
    root: Path,
    spec: SessionSpec,
    *,
    until: int | None = None,
    decide: Decide | None = None,
    on_step: Callable[[int, int], None] = lambda done, total: None,
    consent: Consent | None = None,
    grounds: Grounds = OURS,
) -> tuple[Runner, Checker]:
    """A runner that runs a recording again, in a session under `root`, and what checks it. `spec` says where.

    `decide` is asked at each step that came out otherwise; without it the first one is the end. Raises what `start`
    does.
    """
    state = fold(recording.events)
    if state.started is None:
        raise StartError(f"{recording.path} has no beginning: its first event is missing", "it can only be looked at")
    if spec.unsafe_local and recording.folder is not None and not origin(state.named).own:
        raise StartError(
            f"{recording.folder.name} is not marked as yours: its commands never run without a sandbox",
            "leave --unsafe-local out",
        )
    plan = plan_of(recording)
    ours = recording.source == SOURCE  # what went down with its process left nothing behind
    steps = [step for step in steps_run(state) if step.had_its_turn or not ours]
    steps = [step for step in steps if until is None or step.number <= until]
    if not steps:
        raise StartError(f"{recording.path} holds no action that was run", "there is nothing to run again")
    plan = replace(plan, actions=[PlannedAction(step.thought, step.action) for step in steps], steps=steps, cause="")
    checker = Checker(recording, plan, steps[-1].number, decide, on_step)
    spec = msgspec.structs.replace(spec, approve="never", mode="auto")
    if recording.folder is not None and state.steps[0].tree and not spec.starter:
        heir = Heir(checker.model)
        made = make_fork(recording.folder, 0, root, heir, consent=consent, limits=Limits())
        runner = start(spec, resume=made.session, agent=checker, grounds=grounds)
    else:
        spec = _as_recorded(spec, recording, state.started, state, consent or Consent())
        runner = start(spec, root, agent=checker, grounds=grounds)
    checker.look_at(runner.live.folder)
    return runner, checker


def _as_recorded(
    spec: SessionSpec, recording: Recording, started: ev.SessionStarted, state: SessionState, consent: Consent
) -> SessionSpec:
    """What was asked of a session whose files are not known; only a task that may be used is."""
    if recording.folder is not None:
        task = trust(recording.folder, state, named_task(started), consent).task(started)
        known = str(task.folder) if started.task_folder else task.id
    else:
        try:
            known = find_known_task(started.task).id
        except UnknownTask as error:
            raise StartError(
                f"the task {started.task[:80]!r} of {recording.path.name} is not here: its actions cannot be run",
                "it can be looked at; a folder with such a task can be named in $MLGYM_TASKS",
            ) from error
    return msgspec.structs.replace(
        spec,
        task=known,
        seed=started.seed,
        window=spec.window or started.window,
        dataset=started.dataset,
        protocol=started.protocol or ("mlgym" if started.source == MLGYM else ""),
    )


async def check(runner: Runner, checker: Checker) -> Checked:
    """Run it to its end, or to where it came out otherwise."""
    ended = await runner.run()
    if ended.exit_status != "interrupted":  # else what it was stopped in is no difference, and nobody is asked about it
        await checker.catch_up(runner.state)
    checked = checker.checked
    checked.ended = ended
    if checked.divergence is None and checked.verified_to != checked.steps:
        following = next(step for step in checker.plan.steps if step.number > checked.verified_to)
        why = ended.exit_status + (f": {ended.reason}" if ended.reason else "")
        checked.divergence = Divergence(following.number, "not reached", following.action[:200], why, "not reached")
    return checked


def fork_verified(recording: Recording, replayed: Path, step: int, root: Path, heir: Heir) -> Fork:
    """A fork of a recording that holds no files, with those that running it again (the session in the folder
    `replayed`) gave. Raises what `make_fork` does.
    """
    again = read_log(replayed)[0]
    state, now = fold(recording.events), fold(again)
    assert now.started is not None and state.started is not None
    number_then = {0: 0} | {
        step.number: then.number for then, step in zip(steps_run(state), now.steps[1:], strict=False)
    }
    snapshots: dict[int, list[Event]] = {}
    for event in again:
        if isinstance(event, ev.WorkspaceSnapshot) and event.step in number_then:
            then = number_then[event.step]
            snapshots.setdefault(then, []).append(msgspec.structs.replace(event, step=then))
    directories = {number_then[step.number]: step.cwd for step in now.steps if step.number in number_then}
    started = state.started
    first = msgspec.structs.replace(
        now.started, agent=started.agent, model=started.model, agent_reference="", limits=started.limits
    )
    events: list[Event] = [first, ev.SandboxReady(sandbox=now.sandbox, cwd=now.steps[0].cwd), *snapshots.get(0, [])]
    for event in events_until(recording.events, step)[1:]:
        if isinstance(event, ev.ActionFinished):
            event = msgspec.structs.replace(event, cwd=directories.get(event.step, event.cwd))
        events.append(event)
        if isinstance(event, ev.ActionFinished):
            events += [
                msgspec.structs.replace(each, elapsed=event.elapsed, time=event.time)
                for each in snapshots.get(event.step, [])
            ]
    return make_fork(recording.path, step, root, heir, events=events, objects_of=replayed)
