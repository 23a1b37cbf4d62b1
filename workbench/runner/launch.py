"""Puts a session together: task, sandbox, agent, folder, and the runner that drives them."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import msgspec

from workbench.agents.agent import Agent, Changeable, Configured, Linted
from workbench.agents.catalogue import whole_reference
from workbench.agents.models.replay import ReplayAgent
from workbench.environment.assembly import STEPS, WINDOW, SandboxName, Setting, assemble, user_name, versions
from workbench.environment.live import LiveSession
from workbench.runner.approval import Always, Approval, ApprovalError, read_approval
from workbench.runner.places import command_for
from workbench.runner.runner import Runner
from workbench.runner.services import ServiceError, make_services, switched_on
from workbench.runner.starting import StarterError, starting_point
from workbench.runner.trust import Consent, named_by, trust
from workbench.session import events as ev
from workbench.session.events import Limits, Mode
from workbench.session.log import read_log, repair_log
from workbench.session.state import SessionState, fold
from workbench.session.store import new_session_folder
from workbench.tasks.catalogue import Task, find_task
from workbench.tasks.datasets import Prepared, prepare_task

MODELS = ("scripted:demo", "human", "replay:PATH", "openai:NAME", "anthropic:NAME", "gemini:NAME")
"""What `--model` takes."""


class LaunchError(Exception):
    """A session cannot be started as asked. `str()` says why, `hint` what to do."""

    def __init__(self, message: str, hint: str = "", exit_code: int = 1) -> None:
        super().__init__(message)
        self.hint = hint
        self.exit_code = exit_code


@dataclass(frozen=True)
class Launch:
    """What a session is started with."""

    task: str
    model: str = ""
    """Empty: the agent's own, or `scripted:demo` where no agent is named; as before where a session goes on."""
    agent: str = ""
    """A name, the path of a YAML file, or `module:Class`; empty: `default` for the models of providers."""
    base_url: str = ""
    temperature: float | None = None
    """At which answers are drawn; None: as the agent's configuration says, or as before where a session goes on."""
    sandbox: SandboxName | None = None
    """None: local, or as before where a session goes on."""
    unsafe_local: bool = False
    limits: Limits = field(default_factory=Limits)
    """Those that the user set; the agent's configuration and STEPS fill in the rest, or those from before."""
    seed: int | None = None
    image: str | None = None
    window: int | None = None
    command_seconds: float | None = None
    mode: Mode | None = None
    """None: auto, or as it was left where a session goes on."""
    interactive: bool = False
    delay: float = 0.0
    gpus: str = ""
    """As `sandbox.gpus.read_request` reads it. Empty: what the task needs, or as before where a session goes on."""
    share_gpus: bool = False
    dataset: str = ""
    """`tiny`: the small generated stand-in of the task's data."""
    protocol: str = ""
    """`mlgym`: `validate` sees the test data, and MLGym's primary metric counts."""
    starter: str = ""
    """A folder whose files take the place of those that the task starts with."""
    approve: str = ""
    """What waits for a person in auto mode: `always`, `never`, or the path of a file with rules. Empty: nothing, or as
    before where a session goes on.
    """
    consent: Consent = field(default_factory=Consent)
    """What may be used of a session that goes on, where it is not the user's own."""


def launch(options: Launch, root: Path) -> Runner:
    """A runner for a new session under `root`; `await runner.run()` drives it.

    Raises LaunchError, UnknownTask, TaskError, LogError, SandboxError or OSError, with nothing left behind.
    """
    _read_approval(options.approve, options.interactive)  # its faults come before anything is made
    task = find_task(options.task).under(options.protocol, options.dataset)
    agent = make_agent(options.model, task, options.agent, options.base_url)
    change = _other_temperature(agent, options)
    options = _with_defaults(options, agent)
    try:
        start = starting_point(task, agent, options.starter)
    except StarterError as error:
        raise LaunchError(f"--starter: {error}", "name a folder with the files that the agent is to find") from error
    prepared = prepare_task(task)
    seed = secrets.randbits(48) if options.seed is None else options.seed
    # Both the name of the folder and its presence are a promise: make it last of what can fail.
    try:
        folder = new_session_folder(root, task.id)
    except OSError as error:
        raise LaunchError(
            f"no session can be saved in {root}: {error.strerror or error}",
            "choose another folder with --sessions or $MLGYM_SESSIONS, or mend this one",
        ) from error
    live = None
    try:
        live = LiveSession(folder)
        started = ev.SessionStarted(
            format=ev.FORMAT,
            session=folder.name,
            task=task.id,
            task_folder="" if task.id == options.task and not Path(task.id).exists() else str(task.folder),
            task_name=task.name,
            agent=agent.name if agent else "human",
            agent_reference=whole_reference(options.agent),
            model=options.model,
            base_url=options.base_url,
            sandbox=options.sandbox or "local",
            limits=options.limits,
            seed=seed,
            metric=task.primary_metric,
            dataset=options.dataset,
            protocol=options.protocol,
            starter=start.source if start else "",
            starting_files=start.stored(live.objects) if start else [],
            window=options.window or WINDOW,
            tools=switched_on(agent),
            user=user_name(),
            versions=versions(),
            gpus=options.gpus,
            approve="" if options.approve == "never" else _whole(options.approve),
        )
        notes = [start.note] if start else []
        runner = _assemble(
            live, task, agent, options, seed, started, notes, prepared, starting=start.files if start else None
        )
        if change is not None:
            live.emit(change)
        return runner
    except BaseException:
        if live is not None:
            live.close()
        shutil.rmtree(folder, ignore_errors=True)
        raise


def relaunch(folder: Path, options: Launch) -> Runner:
    """A runner that goes on with a saved session; `options` may give new limits, modes, another model or approval.

    The workspace is restored from the last snapshot. Raises what `launch` does, LaunchError when the session cannot be
    resumed, and NotTrusted when it is not the user's own and names what they do not allow.
    """
    state = fold(read_log(folder)[0])
    if state.started is None:
        raise LaunchError(f"{folder.name} has no beginning: its first event is missing", "it can only be replayed")
    if state.ended is not None and state.ended.exit_status == "submitted":
        raise LaunchError(
            f"{folder.name} was submitted: there is nothing to go on with",
            f"look at it with `{command_for(folder, 'replay')}`",
        )
    named = named_by(state, model=options.model, base_url=options.base_url, approve=options.approve)
    trusted = trust(folder, state, named, options.consent)
    if options.unsafe_local and not trusted.own:
        raise LaunchError(
            f"{folder.name} is not marked as yours: its commands never run without a sandbox",
            "leave --unsafe-local out",
        )
    if (options.model or state.model) == "human" and not options.interactive:
        raise LaunchError(f"a person works in {folder.name}, and needs a terminal", "resume it in one", 2)
    events, problems = repair_log(folder)
    again = fold(events)
    if again.named != state.named:
        raise LaunchError(f"{folder.name} was changed while it was opened", "resume it again")
    options, notes = _as_before(options, state)
    _read_approval(options.approve or state.approve, options.interactive)
    task = trusted.task(state.started)
    prepared = prepare_task(task)
    agent, change = _agent_as_before(state, state.started, task, options)
    live = LiveSession(folder, state=again)
    try:
        seed = state.started.seed if state.started.seed is not None else secrets.randbits(48)
        resumed = ev.SessionResumed(
            user=user_name(),
            versions=versions(),
            limits=options.limits,
            gpus=options.gpus,
            approve=_whole(options.approve),
            trusted=[] if trusted.own else sorted({item.word for item in named}),
        )
        notes += [f"the log was damaged: {problem}; what was cut off is in events.damaged" for problem in problems]
        if trusted.own:
            options = replace(options, gpus=options.gpus or state.gpus)
        else:
            notes.append("this session is not marked as yours: its commands run in a sandbox only")
        runner = _assemble(live, task, agent, options, seed, resumed, notes, prepared, foreign=not trusted.own)
        if change is not None:
            live.emit(change)
        return runner
    except BaseException:
        live.close()
        raise


def _as_before(options: Launch, state: SessionState) -> tuple[Launch, list[str]]:
    """What the user leaves open, as the session had it, and what is to be said of it."""
    assert state.started is not None
    notes = []
    by_hand = (options.model or state.model) == "human"
    mode: Mode = options.mode or (state.mode if state.driven else "human" if by_hand else "auto")
    if options.mode is None and mode != "auto" and not options.interactive:
        notes.append(f"it was left in {mode} mode; where nobody is there to decide, it goes on in auto mode")
        mode = "auto"
    given = {name: value for name, value in msgspec.structs.asdict(options.limits).items() if value is not None}
    options = replace(
        options,
        mode=mode,
        limits=msgspec.structs.replace(state.limits, **given),
        sandbox=options.sandbox or ("docker" if state.started.sandbox == "docker" else "local"),
        window=options.window or min(max(state.started.window, 5), 10_000),
    )
    return options, notes


def _other_temperature(agent: Agent | None, options: Launch) -> ev.AgentChanged | None:
    """Have the agent of a new session draw its answers at the temperature that `options` ask for, if they do."""
    if options.temperature is None:
        return None
    if not isinstance(agent, Changeable):
        raise LaunchError(
            f"{agent.name if agent else 'a person'} asks no model that has a temperature",
            "leave --temperature out, or name the model of a provider",
        )
    agent.sampling = replace(agent.sampling, temperature=options.temperature)
    return ev.AgentChanged(
        model=agent.model,
        base_url=options.base_url,
        temperature=options.temperature,
        author=f"human:{user_name()}",
    )


def _agent_as_before(
    state: SessionState, started: ev.SessionStarted, task: Task, options: Launch
) -> tuple[Agent | None, ev.AgentChanged | None]:
    """The agent of a session that goes on, and the change that `options` ask for, if they do."""
    model = options.model or state.model
    same_provider = model.partition(":")[0] == state.model.partition(":")[0]
    base_url = options.base_url or (state.base_url if same_provider else "")
    agent = make_agent(model, task, started.agent_reference, base_url)
    if not isinstance(agent, Changeable):
        if options.model or options.base_url or options.temperature is not None:
            raise LaunchError(
                f"{agent.name if agent else 'a person'} asks no model that could be changed",
                "go on without --model, --base-url and --temperature, or name the model of a provider",
            )
        return agent, None
    temperature = agent.sampling.temperature if state.agent_change is None else state.agent_change.temperature
    changed = (agent.model, base_url) != (state.model, state.base_url)
    if options.temperature is not None and options.temperature != temperature:
        temperature, changed = options.temperature, True
    agent.sampling = replace(agent.sampling, temperature=temperature)
    if not changed:
        return agent, None
    who = f"human:{user_name()}"
    return agent, ev.AgentChanged(model=agent.model, base_url=base_url, temperature=temperature, author=who)


def make_agent(model: str, task: Task, reference: str = "", base_url: str = "") -> Agent | None:
    """The agent for `--model` and `--agent`; None for `human`. Raises LaunchError for one that cannot be had."""
    provider, _, name = model.partition(":")
    if not reference and model == "human":
        return None
    if provider == "policy":
        raise LaunchError(
            f"{model} acted from outside, through Gymnasium: nothing can go on in its place",
            "`mlgym-tui replay` shows such a session",
        )
    if not reference and model in ("", "scripted:demo"):
        return _scripted_demo(task)
    if not reference and provider == "replay" and name:
        from workbench.formats.actions import read_plan

        path = Path(name).expanduser()
        # By its whole path: the session may be resumed from another folder.
        return ReplayAgent(read_plan(path), str(path.absolute()))
    if provider in ("human", "scripted", "replay"):
        raise LaunchError(
            f"{model!r} goes with no agent" if reference else f"unknown model {model!r}",
            f"known are: {', '.join(MODELS)}",
        )
    return _language_agent(model, task, reference or "default", base_url)


def _scripted_demo(task: Task) -> Agent:
    from workbench.agents.models.scripted import ScriptedDemo

    solution = task.demo()
    if solution is None:
        raise LaunchError(f"task {task.id} has no demo", "choose another model: human or replay:PATH")
    if task.artifact.kind == "code":
        return ScriptedDemo(task.artifact.path, solution)
    program = PurePosixPath(task.spec.demo or "").name
    return ScriptedDemo(program, solution, command=f"python3 {program}")


def _language_agent(model: str, task: Task, reference: str, base_url: str) -> Agent:
    from workbench.agents.agent import ModelError
    from workbench.agents.catalogue import AgentSetup
    from workbench.agents.catalogue import make_agent as make_configured
    from workbench.agents.config import AgentError
    from workbench.agents.models.catalogue import make_model

    setup = AgentSetup(task.id, task.description(), model, lambda name: make_model(name, base_url=base_url or None))
    try:
        return make_configured(reference, setup)
    except ModelError as error:
        raise LaunchError(str(error), f"models are: {', '.join(MODELS)}" if error.cause == "error" else "") from error
    except AgentError as error:
        raise LaunchError(str(error), "`mlgym-tui agents` lists those that ship") from error


def _with_defaults(options: Launch, agent: Agent | None) -> Launch:
    """What the user left open, as the agent's configuration says, else as ours does."""
    limits, window = options.limits, options.window
    if isinstance(agent, Configured):
        given = {name: value for name, value in msgspec.structs.asdict(limits).items() if value is not None}
        limits, window = msgspec.structs.replace(agent.limits, **given), window or agent.window
    elif agent is not None and limits.steps is None:
        limits = msgspec.structs.replace(limits, steps=STEPS)
    if isinstance(agent, ReplayAgent):
        window = window or agent.plan.window
    named = options.agent or ("default" if isinstance(agent, Configured) else "")
    return replace(options, model="human" if agent is None else agent.model, limits=limits, window=window, agent=named)


def _assemble(
    live: LiveSession,
    task: Task,
    agent: Agent | None,
    options: Launch,
    seed: int,
    first: ev.SessionStarted | ev.SessionResumed,
    notes: list[str],
    prepared: dict[str, Prepared],
    *,
    foreign: bool = False,
    starting: Mapping[str, tuple[bytes, int]] | None = None,
) -> Runner:
    setting = Setting(
        sandbox=options.sandbox or "local",
        unsafe_local=options.unsafe_local,
        image=options.image,
        window=options.window or WINDOW,
        command_seconds=options.command_seconds,
        gpus=options.gpus,
        share_gpus=options.share_gpus,
        untrusted=agent.model if agent is not None and not agent.trusted else "",
        foreign=foreign,
        lint=agent.lint if isinstance(agent, Linted) else "warn",
        as_mlgym=isinstance(agent, ReplayAgent) and agent.plan.of_mlgym,
    )
    try:
        services = make_services(switched_on(agent), task.id)
    except ServiceError as error:
        raise LaunchError(str(error), "docs/agents.md says what memory and literature need") from error
    made = assemble(
        live, task, setting, first, seed=seed, prepared=prepared, notes=notes, services=services, starting=starting
    )
    try:
        runner = Runner(
            live,
            made.episode,
            agent,
            user=user_name(),
            mode=(options.mode or "auto") if agent is not None or options.mode == "human" else "paused",
            interactive=options.interactive,
            delay=options.delay,
            cwd=made.cwd,
            approval=_read_approval(live.state.approve, options.interactive),
        )
    except BaseException:
        made.release()
        raise
    runner.on_closed = made.release
    return runner


def _read_approval(given: str, interactive: bool) -> Approval:
    try:
        approval = read_approval(given)
    except ApprovalError as error:
        raise LaunchError(str(error), "docs/agents.md says what such a file holds") from error
    if isinstance(approval, Always) and not interactive:
        raise LaunchError(
            "nobody is there to approve each action", "--approve never needs nobody, and without --headless you are"
        )
    return approval


def _whole(approve: str) -> str:
    """A policy as the log keeps it: a file by its whole path, for the session may be resumed from another folder."""
    return approve if approve in ("", "always", "never") else str(Path(approve).expanduser().absolute())
