"""Puts the world's side of a session together, for whoever drives it: workspace, sandbox, episode."""

from __future__ import annotations

import functools
import getpass
import hashlib
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import __version__
from workbench.environment.episode import Episode, Evaluate
from workbench.environment.live import LiveSession
from workbench.environment.resources import lease_gpus, sandbox_limits, shortage_notes
from workbench.environment.services.notes import memory_folder
from workbench.environment.workspace import fill_with, make_workspace, offer_data
from workbench.isolation.gpus import GpuLease
from workbench.isolation.spec import RUN_FOLDER, SandboxError
from workbench.isolation.temporary import OwnedFolder
from workbench.sandbox.base import WORKSPACE, Sandbox, SandboxSpec
from workbench.sandbox.commands import LintPolicy, linter_folder
from workbench.scoring.evaluation import evaluate
from workbench.session.secrets import state_folder
from workbench.session.snapshot import restore
from workbench.session.spec import WINDOW, SessionSpec
from workbench.tasks.catalogue import Task, task_folders
from workbench.tasks.datasets import Prepared, cache_folder, mounts
from workbench.tasks.packages import INSIDE as PACKAGES
from workbench.tasks.packages import installed_for, missing_modules, not_installed
from workbench.tasks.packages import variables as package_variables

if TYPE_CHECKING:
    from workbench.environment.services.desk import Service


@dataclass(frozen=True)
class Actor:
    """What the environment has to know of who acts in it."""

    untrusted: str = ""
    """Whose commands must not run unprotected; empty where they may."""
    foreign: bool = False
    """The session is not the user's own: nothing of it ever runs unprotected."""
    lint: LintPolicy = "warn"
    """About edits of Python files. MLGym's protocol has them refused, and so has a recording of MLGym."""
    as_mlgym: bool = False
    """The actions were recorded in MLGym, and mean what they meant there."""


@dataclass(frozen=True)
class Grounds:
    """What a session stands on: the one place where a test puts something lighter."""

    unprotected: Callable[[SandboxSpec, Path], Sandbox] | None = None
    """Makes the sandbox of `--unsafe-local`."""
    evaluate: Evaluate = evaluate


OURS = Grounds()


@dataclass
class World:
    """A workspace and a sandbox over it, for one session, before anything is started or logged."""

    task: Task
    sandbox: Sandbox
    spec: SessionSpec
    actor: Actor
    packages: Path | None
    """The task's Python packages on the host, where they are installed."""
    cwd: str | None
    """Where its shell begins; None: in the workspace."""
    not_restored: list[str]
    """Files of the workspace that are gone."""
    notes: list[str]
    """What the session's log should say of it."""
    run_folder: OwnedFolder
    """Holds the workspace."""
    lease: GpuLease
    evaluate: Evaluate

    def release(self) -> None:
        """Remove the workspace and give the GPUs back, once the sandbox is stopped. Can be called twice."""
        self.lease.release()
        self.run_folder.remove()


def make_world(
    live: LiveSession,
    task: Task,
    spec: SessionSpec,
    prepared: dict[str, Prepared],
    actor: Actor,
    starting: Mapping[str, tuple[bytes, int]] | None = None,
    grounds: Grounds = OURS,
) -> World:
    """Fill a workspace, or restore that of a session that goes on, and make the sandbox for it.

    `starting`: files (content and mode) in place of those that the task starts with. Raises SandboxError, TaskError or
    OSError, with no folder left behind.
    """
    notes = shortage_notes(task)
    holder = f"session {live.folder.name}"
    lease = lease_gpus(task, spec.gpus, share=spec.share_gpus, holder=holder, notes=notes)
    run_folder = OwnedFolder("run")
    try:
        workspace = make_workspace(run_folder)
        missing: list[str] = []
        before = live.state.started
        if starting is not None:
            contents = {path: data for path, (data, _) in starting.items()}
            fill_with(workspace, contents, {path: mode for path, (_, mode) in starting.items()})
        elif not live.state.steps[0].tree and not (before and before.starting_files):
            fill_with(workspace, task.starter_files())
        else:
            # Killed before the first snapshot, a session still has the files that it was to start with.
            files = live.state.files_at() if before is None or live.state.steps[0].tree else before.starting_files
            missing = restore(files, live.objects, workspace)
            if missing:
                shown = ", ".join(name if len(name) <= 80 else f"{name[:79]}…" for name in missing[:20])
                notes.append(f"not restored (too large to have been kept, or lost): {shown}")
        data = mounts(task, prepared)
        packages = find_packages(task, spec, notes)
        sandbox = make_sandbox(
            task, spec, live.folder.name, workspace, notes, data, packages, lease.gpus, actor, grounds
        )
        offer_data(workspace, data, mounted=sandbox.protected)
    except BaseException:
        lease.release()
        run_folder.remove()
        raise
    cwd = live.state.current.cwd or None
    if cwd is not None and sandbox.workspace != live.state.workspace:
        inside = live.state.relative_path(f"{cwd}/")
        cwd = None if inside is None else f"{sandbox.workspace}/{inside}".rstrip("/")
    return World(task, sandbox, spec, actor, packages, cwd, missing[:20], notes, run_folder, lease, grounds.evaluate)


def make_episode(live: LiveSession, world: World, seed: int, services: Mapping[str, Service] | None = None) -> Episode:
    """The environment of the session, over its world."""
    return Episode(
        world.task,
        world.sandbox,
        folder=live.folder,
        state=live.state,
        emit=live.emit,
        seed=seed,
        secret=functools.cache(functools.partial(session_secret, seed)),
        command_seconds=world.spec.command_seconds,
        redactor=live.redactor,
        services=services,
        gpus=world.lease.gpus,
        lacking=missing_modules(world.task, world.packages, world.spec.sandbox or "local"),
        as_mlgym=world.actor.as_mlgym,
        evaluate=world.evaluate,
    )


SECRET_ROUNDS = 500_000


def session_secret(seed: int) -> bytes:
    """What the dice of a session's evaluations hang on: the same for the same seed.

    A seed that nobody gave is too long to be guessed. One that a person gave may be short, and a submission could try
    them all against what it sees of its opponent: each try is made to take about a tenth of a second.
    """
    return hashlib.pbkdf2_hmac("sha256", b"mlgym-tui session", str(seed).encode(), SECRET_ROUNDS)


def user_name() -> str:
    """Who signs the steps of a person."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "someone"


def versions() -> dict[str, str]:
    """What ran this session."""
    return {"mlgym-tui": __version__, "python": platform.python_version(), "platform": platform.platform()}


def find_packages(task: Task, spec: SessionSpec, notes: list[str]) -> Path | None:
    """The task's Python packages, where they were installed for this sandbox.

    Raises SandboxError where nothing of the task runs without them, unless the image or the host may have them: then a
    note says how they would be installed.
    """
    from workbench.isolation.image import DEFAULT_IMAGE

    kind = spec.sandbox or "local"
    found = installed_for(task, kind, spec.image or DEFAULT_IMAGE)
    if found is None and task.requirements and not task.spec.requirements_optional:
        why, _, remedy = not_installed(task, kind).partition(": ")
        if not (spec.image or spec.unsafe_local):
            raise SandboxError(f"task {task.id}: {why}", f"{remedy} installs them once")
        notes.append(f"{why} ({', '.join(task.requirements)}); `{remedy}` installs them once")
    return found


def make_sandbox(
    task: Task,
    spec: SessionSpec,
    session: str,
    workspace: Path,
    notes: list[str],
    data: dict[Path, str],
    packages: Path | None,
    gpus: Sequence[int],
    actor: Actor,
    grounds: Grounds = OURS,
) -> Sandbox:
    """The sandbox asked for. What keeps a model's commands from the host is never left out silently."""
    linter = linter_folder()
    confined = SandboxSpec(
        session=session,
        limits=sandbox_limits(task),
        gpus=gpus,
        env={
            "WINDOW": str(spec.window or WINDOW),
            "MLGYM_LINT": "refuse" if task.protocol == "mlgym" or actor.as_mlgym else actor.lint,
        },
        mounts={
            linter: f"{RUN_FOLDER}/{linter.name}",
            **{folder: f"{WORKSPACE}/{inside}" for folder, inside in data.items()},
        },
        hidden=(*task.folders, *task_folders(), cache_folder(), memory_folder(), state_folder()),
    )
    plain = replace(confined, env={**confined.env, "MLGYM_LINTER": str(linter.parent)})
    if packages is not None:
        confined = replace(
            confined,
            mounts={**confined.mounts, packages: PACKAGES},
            env={**confined.env, **package_variables(PACKAGES)},
        )
        beside = package_variables(str(packages), os.environ.get("PATH", os.defpath))
        plain = replace(plain, env={**plain.env, **beside})
    if spec.sandbox == "docker":
        from workbench.isolation.image import DEFAULT_IMAGE
        from workbench.sandbox.docker import DockerSandbox

        return DockerSandbox(confined, workspace, image=spec.image or DEFAULT_IMAGE)
    from workbench.isolation.bwrap import probe_bubblewrap
    from workbench.sandbox.local import LocalSandbox

    if spec.unsafe_local:
        notes.append("--unsafe-local: nothing keeps the commands of this session from the host")
        if grounds.unprotected is not None:
            return grounds.unprotected(plain, workspace)
        return LocalSandbox(plain, workspace, unsafe=True)
    problem = probe_bubblewrap()
    if problem is None:
        return LocalSandbox(confined, workspace)
    if actor.untrusted or actor.foreign:
        raise SandboxError(
            f"no protected sandbox for the commands of {actor.untrusted or 'a session that is not yours'}: {problem}",
            "--sandbox docker runs them in a container" if actor.foreign else "--unsafe-local runs them unprotected",
        )
    notes.append(f"unprotected: {problem}")
    return LocalSandbox(plain, workspace, unsafe=True)
