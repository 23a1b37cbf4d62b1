"""The entrance: from what was asked of a session, new or going on, to the runner that drives it."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from workbench.agents.agent import Agent
from workbench.agents.catalogue import whole_reference
from workbench.environment.assembly import OURS, Actor, Grounds, World, make_world, versions
from workbench.environment.episode import Episode
from workbench.environment.live import LiveSession
from workbench.runner.agents import StartError, begun, make_agent
from workbench.runner.conditions import Conditions, conditions_of
from workbench.runner.runner import Runner
from workbench.runner.services import make_services, switched_on
from workbench.runner.starting import folder_for, starting_point
from workbench.session import events as ev
from workbench.session.log import read_log, repair_log
from workbench.session.marks import user_name
from workbench.session.secrets import logged_settings, secret_settings
from workbench.session.spec import STEPS, WINDOW, SessionSpec
from workbench.session.state import SessionState, fold
from workbench.session.store import command_for
from workbench.tasks.catalogue import Task, find_task
from workbench.tasks.datasets import Prepared, prepare_task

if TYPE_CHECKING:
    from workbench.runner.trust import Consent, Named, Trust


def start(
    spec: SessionSpec,
    root: Path | None = None,
    *,
    agent: Agent | None = None,
    resume: Path | None = None,
    parent: ev.Parent | None = None,
    consent: Consent | None = None,
    grounds: Grounds = OURS,
    prepare: Callable[[Task], dict[str, Prepared]] = prepare_task,
) -> Runner:
    """A runner for a new session under `root`, or for the saved one in the folder `resume`; `await runner.run()` drives
    it. Of a session that goes on, the workspace is restored from the last snapshot.

    `agent` takes the place of the one that `spec` names; `parent` is what the log calls the session that a new one does
    again up to a step. `consent` says what may be used of a session that is not the user's own; `grounds`, on what it
    stands; `prepare` has the data of a new session's task ready.

    Raises StartError, NotTrusted, UnknownTask, TaskError, LogError, SandboxError or OSError; then nothing of a new
    session is left behind.
    """
    if resume is not None:
        return _go_on(resume, spec, agent, consent, grounds)
    assert root is not None
    return _begin(root, spec, agent, parent, grounds, prepare)


def _begin(
    root: Path,
    spec: SessionSpec,
    agent: Agent | None,
    parent: ev.Parent | None,
    grounds: Grounds,
    prepare: Callable[[Task], dict[str, Prepared]],
) -> Runner:
    conditions = conditions_of(spec)
    task = find_task(spec.task).under(spec.protocol, spec.dataset)
    given = agent is not None
    agent = agent or make_agent(spec.model, task, spec.agent, spec.base_url)
    change = _other_temperature(agent, spec)
    spec = _with_defaults(spec, agent, task, given=given)
    begun = starting_point(task, agent, spec.starter)
    # Both the name of the folder and its presence are a promise: make it last of what can fail.
    prepared = prepare(task) if task.spec.datasets else {}
    folder = folder_for(root, task.id)
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        live = LiveSession(folder)
        undo.callback(live.close)
        live.redactor.hide(secret_settings(spec.agent_env))
        world = make_world(live, task, spec, prepared, _actor(agent), begun.files if begun else None, grounds)
        undo.callback(world.release)
        named = "" if task.id == spec.task and not Path(task.id).exists() else str(task.folder)
        first = _first_event(spec, task, named, agent, folder.name, world, parent)
        notes = world.notes
        if begun is not None:
            files = begun.stored(live.objects)
            first = msgspec.structs.replace(first, starter=begun.source, starting_files=files)
            notes = [begun.note, *notes]
        live.emit(first)
        runner = _runner(live, world, spec, agent, conditions, notes, change)
        undo.pop_all()
        return runner


def _first_event(
    spec: SessionSpec,
    task: Task,
    task_folder: str,
    agent: Agent | None,
    name: str,
    world: World,
    parent: ev.Parent | None,
) -> ev.SessionStarted:
    # What a spec and the event call by one name is as it was asked, unless something else is said here.
    alike = set(ev.SessionStarted.__struct_fields__) & set(SessionSpec.__struct_fields__)
    said: dict[str, Any] = {
        "format": ev.FORMAT,
        "session": name,
        "task": task.id,
        "task_folder": task_folder,
        "task_name": task.spec.name,
        "description": task.description(world.sandbox.workspace),
        "agent": agent.name if agent else "human",
        "agent_reference": whole_reference(spec.agent),
        "sandbox": spec.sandbox or "local",
        "metric": task.primary_metric,
        "starter": "",
        "workspace": world.sandbox.workspace,
        "window": spec.window or WINDOW,
        "tools": switched_on(agent),
        "user": user_name(),
        "versions": versions(),
        "parent": parent,
        "approve": "" if spec.approve == "never" else _whole(spec.approve),
        "printed_metrics": [*spec.printed_metrics, *task.spec.printed_metrics],
        "agent_env": logged_settings(spec.agent_env),
        "agent_mount": [str(Path(folder).expanduser().absolute()) for folder in spec.agent_mount],
    }
    return ev.SessionStarted(**{field: getattr(spec, field) for field in alike} | said)


def _go_on(folder: Path, spec: SessionSpec, agent: Agent | None, consent: Consent | None, grounds: Grounds) -> Runner:
    state = fold(read_log(folder)[0])
    started, named, trusted = _allowed(folder, state, spec, consent)
    asked, spec = spec, spec.over(state)
    conditions = conditions_of(spec)
    events, problems = repair_log(folder)
    again = fold(events)
    if again.named != state.named:
        raise StartError(f"{folder.name} was changed while it was opened", "resume it again")
    notes = [f"the log was damaged: {problem}; what was cut off is in events.damaged" for problem in problems]
    if asked.mode is None and spec.mode != "auto" and not spec.interactive:
        notes.append(f"it was left in {spec.mode} mode; where nobody is there to decide, it goes on in auto mode")
        spec = msgspec.structs.replace(spec, mode="auto")
    if trusted.own:
        spec = msgspec.structs.replace(spec, gpus=spec.gpus or state.gpus)
    else:
        notes.append("this session is not marked as yours: its commands run in a sandbox only")
    task = trusted.task(started)
    prepared = prepare_task(task)
    agent, change = _agent_as_before(state, started, task, asked, agent)
    with contextlib.ExitStack() as undo:
        live = LiveSession(folder, state=again)
        undo.callback(live.close)
        world = make_world(live, task, spec, prepared, _actor(agent, foreign=not trusted.own), grounds=grounds)
        undo.callback(world.release)
        live.emit(
            ev.SessionResumed(
                user=user_name(),
                versions=versions(),
                limits=spec.limits,
                workspace="" if world.sandbox.workspace == state.workspace else world.sandbox.workspace,
                gpus=asked.gpus,
                approve=_whole(asked.approve),
                not_restored=world.not_restored,
                trusted=[] if trusted.own else sorted({item.word for item in named}),
            )
        )
        runner = _runner(live, world, spec, agent, conditions, notes + world.notes, change)
        undo.pop_all()
        return runner


def _allowed(
    folder: Path, state: SessionState, spec: SessionSpec, consent: Consent | None
) -> tuple[ev.SessionStarted, list[Named], Trust]:
    """The first event of a session that can go on, what would be used of it, and what may be. Raises StartError and
    NotTrusted.
    """
    from workbench.runner.trust import Consent, named_by, trust

    name = folder.name
    started = begun(name, state, state.last_step)
    if state.ended is not None and state.ended.exit_status == "submitted":
        raise StartError(
            f"{name} was submitted: there is nothing to go on with",
            f"look at it with `{command_for(folder, 'replay')}`",
        )
    named = named_by(state, model=spec.model, base_url=spec.base_url, approve=spec.approve)
    trusted = trust(folder, state, named, consent or Consent())
    if spec.unsafe_local and not trusted.own:
        raise StartError(
            f"{name} is not marked as yours: its commands never run without a sandbox", "leave --unsafe-local out"
        )
    if started.agent_command and not spec.model:
        raise StartError(
            f"{name} was driven by an agent program, which cannot be taken up in the middle",
            f"it is answered from the log up to a step: {command_for(folder, 'fork')} --step {state.last_step} --run",
        )
    if (spec.model or state.model) == "human" and not spec.interactive:
        raise StartError(f"a person works in {name}, and needs a terminal", "resume it in one", 2)
    return started, named, trusted


def _runner(
    live: LiveSession,
    world: World,
    spec: SessionSpec,
    agent: Agent | None,
    conditions: Conditions,
    notes: list[str],
    change: ev.AgentChanged | None,
) -> Runner:
    """The session's log has its first event, and gets `notes`, who drives, and `change`."""
    services = make_services(switched_on(agent), world.task.id)
    alone = [] if live.log.locked else [_NOT_ALONE]
    for note in (*notes, *alone):
        live.emit(ev.NoteAdded(text=note))
    seed = secrets.randbits(48) if spec.seed is None else spec.seed
    runner = Runner(live, Episode(live, world, seed, services), agent, spec, conditions, world.cwd)
    runner.on_closed = world.release
    mode = (spec.mode or "auto") if agent is not None or spec.mode == "human" else "paused"
    runner.controls.set_mode(mode, author="", reason="start")
    if change is not None:
        live.emit(change)
    return runner


_NOT_ALONE = (
    "the file system of the session's folder gives no locks: nothing keeps another process from driving it, or tells "
    "that it runs; --sessions on a local disk does"
)


def _actor(agent: Agent | None, *, foreign: bool = False) -> Actor:
    return Actor(
        untrusted=agent.model if agent is not None and not agent.trusted else "",
        foreign=foreign,
        lint=agent.lint if agent is not None else "warn",
        as_mlgym=agent is not None and agent.as_mlgym,
        mounts=agent.mounts if agent is not None else {},
    )


def _other_temperature(agent: Agent | None, spec: SessionSpec) -> ev.AgentChanged | None:
    """Have the agent of a new session draw its answers at the temperature that `spec` asks for, if they do."""
    if spec.temperature is None:
        return None
    if agent is None or not agent.asks_model:
        raise StartError(
            f"{agent.name if agent else 'a person'} asks no model that has a temperature",
            "leave --temperature out, or name the model of a provider",
        )
    agent.sampling = replace(agent.sampling, temperature=spec.temperature)
    return ev.AgentChanged(
        model=agent.model,
        base_url=spec.base_url,
        temperature=spec.temperature,
        author=f"human:{user_name()}",
    )


def _agent_as_before(
    state: SessionState, started: ev.SessionStarted, task: Task, spec: SessionSpec, agent: Agent | None
) -> tuple[Agent | None, ev.AgentChanged | None]:
    """The agent of a session that goes on (`agent`, where one is given), and the change that `spec` asks for."""
    model = spec.model or state.model
    same_provider = model.partition(":")[0] == state.model.partition(":")[0]
    base_url = spec.base_url or (state.base_url if same_provider else "")
    agent = agent or make_agent(model, task, started.agent_reference, base_url)
    if agent is None or not agent.asks_model:
        if spec.model or spec.base_url or spec.temperature is not None:
            raise StartError(
                f"{agent.name if agent else 'a person'} asks no model that could be changed",
                "go on without --model, --base-url and --temperature, or name the model of a provider",
            )
        return agent, None
    change = state.agent_change
    temperature = agent.sampling.temperature if change is None or change.agent else change.temperature
    changed = (agent.model, base_url) != (state.model, state.base_url)
    if spec.temperature is not None and spec.temperature != temperature:
        temperature, changed = spec.temperature, True
    agent.sampling = replace(agent.sampling, temperature=temperature)
    if not changed:
        return agent, None
    who = f"human:{user_name()}"
    return agent, ev.AgentChanged(model=agent.model, base_url=base_url, temperature=temperature, author=who)


def _with_defaults(spec: SessionSpec, agent: Agent | None, task: Task, *, given: bool) -> SessionSpec:
    """What the user left open, as the agent's configuration says, else as ours does."""
    limits = spec.limits
    own = None if agent is None else agent.limits
    if own is not None:
        asked = {name: value for name, value in msgspec.structs.asdict(limits).items() if value is not None}
        limits = msgspec.structs.replace(own, **asked)
    elif agent is not None and not given and limits.steps is None:
        limits = msgspec.structs.replace(limits, steps=STEPS)
    if limits.validates is None:
        limits = msgspec.structs.replace(limits, validates=task.limits.validates)
    named = spec.agent or ("default" if own is not None else "")
    return msgspec.structs.replace(
        spec,
        model="human" if agent is None else agent.model,
        limits=limits,
        window=spec.window or (agent.window if agent is not None else None),
        agent=named,
        submit_best=spec.submit_best or (agent is not None and agent.submit == "best"),
        seed=secrets.randbits(48) if spec.seed is None else spec.seed,
    )


def _whole(approve: str) -> str:
    """A policy as the log keeps it: a file by its whole path, for the session may be resumed from another folder."""
    return approve if approve in ("", "always", "never") else str(Path(approve).expanduser().absolute())
