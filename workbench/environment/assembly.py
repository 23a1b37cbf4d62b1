"""Puts the world's side of a session together, for whoever drives it: workspace, sandbox, episode."""

from __future__ import annotations

import functools
import getpass
import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from workbench import __version__
from workbench.environment.episode import Episode
from workbench.environment.live import LiveSession
from workbench.environment.resources import lease_gpus, sandbox_limits, shortage_notes
from workbench.environment.services.notes import memory_folder
from workbench.environment.workspace import fill_with, make_workspace, offer_data
from workbench.sandbox.base import RUN_FOLDER, WORKSPACE, Sandbox, SandboxError, SandboxSpec
from workbench.sandbox.commands import LintPolicy, linter_folder
from workbench.sandbox.gpus import GpuLease
from workbench.sandbox.temporary import OwnedFolder
from workbench.session import events as ev
from workbench.session.secrets import state_folder
from workbench.session.snapshot import restore
from workbench.tasks.catalogue import Task, task_folders
from workbench.tasks.datasets import Prepared, cache_folder, mounts
from workbench.tasks.packages import INSIDE as PACKAGES
from workbench.tasks.packages import installed_for, missing_modules, not_installed
from workbench.tasks.packages import variables as package_variables

if TYPE_CHECKING:
    from workbench.environment.services.desk import Service

SandboxName = Literal["local", "docker"]

STEPS = 50
"""Limit on steps where nobody sets one."""
WINDOW = 100
"""Lines of the file window where nobody says."""


@dataclass(frozen=True)
class Setting:
    """Where the commands of a session run."""

    sandbox: SandboxName = "local"
    unsafe_local: bool = False
    image: str | None = None
    window: int = WINDOW
    """Lines of the agent's file window."""
    command_seconds: float | None = None
    """Limit on a command that trains nothing; None: as the task says."""
    untrusted: str = ""
    """Whose commands must not run unprotected; empty where they may."""
    foreign: bool = False
    """The session is not the user's own: nothing of it ever runs unprotected."""
    gpus: str = ""
    """As `sandbox.gpus.read_request` reads it; empty: as many as the task needs."""
    share_gpus: bool = False
    """Take GPUs that other sessions have, too."""
    lint: LintPolicy = "warn"
    """About edits of Python files. MLGym's protocol has them refused, and so has a recording of MLGym."""
    as_mlgym: bool = False
    """The actions were recorded in MLGym, and mean what they meant there."""


@dataclass(frozen=True)
class Assembled:
    """An episode that can be started."""

    episode: Episode
    cwd: str | None
    """Where its shell begins; None: in the workspace."""
    run_folder: OwnedFolder
    """Holds the workspace."""
    lease: GpuLease

    def release(self) -> None:
        """Remove the workspace and give the GPUs back, once the sandbox is stopped. Can be called twice."""
        self.lease.release()
        self.run_folder.remove()


def assemble(
    live: LiveSession,
    task: Task,
    setting: Setting,
    first: ev.SessionStarted | ev.SessionResumed,
    *,
    seed: int,
    prepared: dict[str, Prepared],
    notes: list[str] | None = None,
    services: Mapping[str, Service] | None = None,
    starting: Mapping[str, tuple[bytes, int]] | None = None,
) -> Assembled:
    """Fill a workspace, or restore that of a session that goes on, and log `first` and `notes`. `starting` are files
    (content and mode) in place of those that the task starts with.

    Raises SandboxError, LogError, TaskError or OSError, with no folder left behind.
    """
    notes = [*(notes or []), *shortage_notes(task)]
    holder = f"session {live.folder.name}"
    lease = lease_gpus(task, setting.gpus, share=setting.share_gpus, holder=holder, notes=notes)
    run_folder = OwnedFolder("run")
    try:
        workspace = make_workspace(run_folder)
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
                notes.append(f"not restored (too large to have been kept, or lost): {', '.join(missing[:20])}")
            if isinstance(first, ev.SessionResumed):
                first = msgspec.structs.replace(first, not_restored=list(missing[:20]))
        data = mounts(task, prepared)
        packages = find_packages(task, setting, notes)
        sandbox = make_sandbox(task, setting, live.folder.name, workspace, notes, data, packages, lease.gpus)
        offer_data(workspace, data, mounted=sandbox.protected)
        cwd = live.state.current.cwd or None
        if isinstance(first, ev.SessionStarted):
            description = task.description(sandbox.workspace)
            live.emit(msgspec.structs.replace(first, workspace=sandbox.workspace, description=description))
        elif sandbox.workspace == live.state.workspace:
            live.emit(first)
        else:
            inside = live.state.relative_path(f"{cwd}/")
            cwd = None if inside is None else f"{sandbox.workspace}/{inside}".rstrip("/")
            live.emit(msgspec.structs.replace(first, workspace=sandbox.workspace))
        for note in notes:
            live.emit(ev.NoteAdded(text=note))
        episode = Episode(
            task,
            sandbox,
            folder=live.folder,
            state=live.state,
            emit=live.emit,
            seed=seed,
            secret=functools.cache(functools.partial(session_secret, seed)),
            command_seconds=setting.command_seconds,
            redactor=live.redactor,
            services=services,
            gpus=lease.gpus,
            lacking=missing_modules(task, packages, setting.sandbox),
            as_mlgym=setting.as_mlgym,
        )
    except BaseException:
        lease.release()
        run_folder.remove()
        raise
    return Assembled(episode, cwd, run_folder, lease)


def session_secret(seed: int) -> bytes:
    """What the dice of a session's evaluations hang on: the same for the same seed.

    A seed that nobody gave is too long to be guessed. One that a person gave may be short, and a submission could try
    them all against what it sees of its opponent: each try is made to take about a tenth of a second.
    """
    return hashlib.pbkdf2_hmac("sha256", b"mlgym-tui session", str(seed).encode(), 500_000)


def user_name() -> str:
    """Who signs the steps of a person."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "someone"


def versions() -> dict[str, str]:
    """What ran this session."""
    return {"mlgym-tui": __version__, "python": platform.python_version(), "platform": platform.platform()}


def find_packages(task: Task, setting: Setting, notes: list[str]) -> Path | None:
    """The task's Python packages, where they were installed for this sandbox.

    Raises SandboxError where nothing of the task runs without them, unless the image or the host may have them: then a
    note says how they would be installed.
    """
    from workbench.sandbox.image import DEFAULT_IMAGE

    found = installed_for(task, setting.sandbox, setting.image or DEFAULT_IMAGE)
    if found is None and task.requirements and not task.spec.requirements_optional:
        why, _, remedy = not_installed(task, setting.sandbox).partition(": ")
        if not (setting.image or setting.unsafe_local):
            raise SandboxError(f"task {task.id}: {why}", f"{remedy} installs them once")
        notes.append(f"{why} ({', '.join(task.requirements)}); `{remedy}` installs them once")
    return found


def make_sandbox(
    task: Task,
    setting: Setting,
    session: str,
    workspace: Path,
    notes: list[str],
    data: dict[Path, str],
    packages: Path | None,
    gpus: Sequence[int],
) -> Sandbox:
    """The sandbox asked for. What keeps a model's commands from the host is never left out silently."""
    linter = linter_folder()
    lint = "refuse" if task.protocol == "mlgym" or setting.as_mlgym else setting.lint
    spec = SandboxSpec(
        session=session,
        limits=sandbox_limits(task),
        gpus=gpus,
        env={"WINDOW": str(setting.window), "MLGYM_LINT": lint},
        mounts={
            linter: f"{RUN_FOLDER}/{linter.name}",
            **{folder: f"{WORKSPACE}/{inside}" for folder, inside in data.items()},
        },
        hidden=(*task.folders, *task_folders(), cache_folder(), memory_folder(), state_folder()),
    )
    plain = replace(spec, env={**spec.env, "MLGYM_LINTER": str(linter.parent)})
    if packages is not None:
        spec = replace(
            spec, mounts={**spec.mounts, packages: PACKAGES}, env={**spec.env, **package_variables(PACKAGES)}
        )
        beside = package_variables(str(packages), os.environ.get("PATH", os.defpath))
        plain = replace(plain, env={**plain.env, **beside})
    if setting.sandbox == "docker":
        from workbench.sandbox.docker import DockerSandbox
        from workbench.sandbox.image import DEFAULT_IMAGE

        return DockerSandbox(spec, workspace, image=setting.image or DEFAULT_IMAGE)
    from workbench.sandbox.local import LocalSandbox, probe_bubblewrap

    if setting.unsafe_local:
        notes.append("--unsafe-local: nothing keeps the commands of this session from the host")
        return LocalSandbox(plain, workspace, unsafe=True)
    problem = probe_bubblewrap()
    if problem is None:
        return LocalSandbox(spec, workspace)
    if setting.untrusted or setting.foreign:
        raise SandboxError(
            f"no protected sandbox for the commands of {setting.untrusted or 'a session that is not yours'}: {problem}",
            "--sandbox docker runs them in a container" if setting.foreign else "--unsafe-local runs them unprotected",
        )
    notes.append(f"unprotected: {problem}")
    return LocalSandbox(plain, workspace, unsafe=True)
