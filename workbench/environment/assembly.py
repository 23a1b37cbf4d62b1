"""Prepares the environment of a session: its workspace, its sandbox, and what both are made from."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import msgspec
from msgspec.structs import replace

from workbench import __version__
from workbench.environment.live import LiveSession
from workbench.environment.resources import lease_gpus, sandbox_limits, shortage_notes
from workbench.environment.services.notes import memory_folder
from workbench.isolation.gpus import GpuLease
from workbench.isolation.spec import DEFAULT_IMAGE, RUN_FOLDER, SandboxError
from workbench.isolation.temporary import OwnedFolder
from workbench.sandbox.base import WORKSPACE, Sandbox, SandboxSpec
from workbench.sandbox.commands import LintPolicy, linter_folder
from workbench.session.events import Evaluation
from workbench.session.secrets import cache_folder, state_folder
from workbench.session.snapshot import restore
from workbench.session.spec import WINDOW, SessionSpec
from workbench.session.state import MOST_LOST
from workbench.tasks.catalogue import Task, task_folders
from workbench.tasks.datasets import Prepared, mounts
from workbench.tasks.packages import INSIDE as PACKAGES
from workbench.tasks.packages import installed_for, not_installed
from workbench.tasks.packages import variables as package_variables
from workbench.text import first_of

Evaluate = Callable[..., Awaitable[Evaluation]]
"""See `evaluate`."""


class Actor(msgspec.Struct, frozen=True):
    """What the environment has to know about the agent or person who acts in it."""

    untrusted: str = ""
    """The model whose commands must not run unprotected; empty if they may."""
    foreign: bool = False
    """The session is not the user's own: nothing of it ever runs unprotected."""
    lint: LintPolicy = "warn"
    """What happens to an edit that introduces undefined names. MLGym's protocol and recordings of MLGym refuse it."""
    as_mlgym: bool = False
    """The actions were recorded in MLGym and are interpreted as MLGym does."""
    mounts: Mapping[Path, str] = msgspec.field(default_factory=dict)
    """What an agent that runs in the sandbox brings: folder or file of the host → path inside, read-only."""


class Grounds(msgspec.Struct, frozen=True):
    """The parts of a session that a test replaces by lighter ones."""

    unprotected: Callable[[SandboxSpec, Path], Sandbox] | None = None
    """Makes the sandbox for `--unsafe-local`; None for the usual one."""
    evaluate: Evaluate | None = None


OURS = Grounds()


class World(msgspec.Struct):
    """The workspace and sandbox of one session, before anything is started or logged."""

    task: Task
    sandbox: Sandbox
    spec: SessionSpec
    actor: Actor
    packages: Path | None
    """The task's Python packages on the host, where they are installed."""
    cwd: str | None
    """The directory in which the shell starts; None for the workspace."""
    not_restored: list[str]
    """Files of the workspace that could not be restored."""
    notes: list[str]
    """Notes for the session's log."""
    run_folder: OwnedFolder
    """Holds the workspace."""
    lease: GpuLease
    evaluate: Evaluate | None

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
            missing = restore(files, live.objects, workspace, live.state.folders_at())[:MOST_LOST]
            if missing:
                shown = first_of([name if len(name) <= 80 else f"{name[:79]}…" for name in missing])
                notes.append(f"not restored (too large to have been kept, or lost): {shown}")
        data = mounts(task, prepared)
        packages = find_packages(task, spec, notes)
        sandbox = make_sandbox(
            task, spec, live.folder.name, workspace, notes, data, packages, lease.gpus, actor, grounds
        )
        offer_data(workspace, data, mounted=sandbox.workspace == WORKSPACE)
    except BaseException:
        lease.release()
        run_folder.remove()
        raise
    cwd = live.state.current.cwd or None
    if cwd is not None and sandbox.workspace != live.state.workspace:
        inside = live.state.relative_path(f"{cwd}/")
        cwd = None if inside is None else f"{sandbox.workspace}/{inside}".rstrip("/")
    return World(task, sandbox, spec, actor, packages, cwd, missing, notes, run_folder, lease, grounds.evaluate)


SECRET_ROUNDS = 500_000


def session_secret(seed: int) -> bytes:
    """The secret from which the random numbers of a session's evaluations are derived; the same seed gives the same
    secret. A random seed is too long to be guessed. A seed that a person chose may be short, and a submission could
    compare all of them with what it sees of its opponent, so each attempt is made to take about a tenth of a second.
    """
    return hashlib.pbkdf2_hmac("sha256", b"mlgym-tui session", str(seed).encode(), SECRET_ROUNDS)


def versions() -> dict[str, str]:
    """The versions of the software that runs this session."""
    # As `platform.platform()` says it, which starts a program to ask for the processor.
    parts = (platform.system(), platform.release(), platform.machine(), "with", "".join(platform.libc_ver()))
    return {"mlgym-tui": __version__, "python": sys.version.split()[0], "platform": "-".join(parts).rstrip("-")}


def find_packages(task: Task, spec: SessionSpec, notes: list[str]) -> Path | None:
    """The task's Python packages, where they were installed for this sandbox.

    Raises SandboxError where nothing of the task runs without them, unless the image or the host may have them: then a
    note says how they would be installed.
    """
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
    """The sandbox that was asked for. Protection of the host from a model's commands is never dropped silently."""
    linter = linter_folder()
    confined = SandboxSpec(
        session=session,
        limits=sandbox_limits(task),
        gpus=gpus,
        env={
            "WINDOW": str(spec.window or WINDOW),
            "PYTHONHASHSEED": "0",  # sets in the same order each time: a session that is run again comes out as it was
            "MLGYM_LINT": "refuse" if task.protocol == "mlgym" or actor.as_mlgym else actor.lint,
        },
        readonly={
            linter: f"{RUN_FOLDER}/{linter.name}",
            **{folder: f"{WORKSPACE}/{inside}" for folder, inside in data.items()},
            **actor.mounts,
        },
        hidden=(*task.folders, *task_folders(), cache_folder(), memory_folder(), state_folder()),
    )
    plain = replace(confined, env={**confined.env, "MLGYM_LINTER": str(linter.parent)})
    if packages is not None:
        confined = replace(
            confined,
            readonly={**confined.readonly, packages: PACKAGES},
            env={**confined.env, **package_variables(PACKAGES)},
        )
        beside = package_variables(str(packages), os.environ.get("PATH", os.defpath))
        plain = replace(plain, env={**plain.env, **beside})
    if spec.sandbox == "docker":
        from workbench.isolation.bwrap import hidden_in
        from workbench.sandbox.docker import DockerSandbox

        brought = {path.resolve(): Path(inside) for path, inside in actor.mounts.items()}
        if seen := hidden_in(brought, confined.hidden):
            raise SandboxError(
                f"a container would see {seen[0]}, which agents must not",
                "name a folder without it, or use the local sandbox, which hides it",
            )
        return DockerSandbox(confined, workspace, image=spec.image or DEFAULT_IMAGE)
    from workbench.isolation.local import best_way
    from workbench.sandbox.local import LocalSandbox

    if spec.unsafe_local:
        notes.append("--unsafe-local: nothing keeps the commands of this session from the host")
        if grounds.unprotected is not None:
            return grounds.unprotected(plain, workspace)
        return LocalSandbox(plain, workspace, "none")
    way, problem = best_way()
    if way == "bubblewrap":
        return LocalSandbox(confined, workspace)
    if way == "landlock":
        from workbench.isolation.landlock import LACKS

        if actor.mounts:
            raise SandboxError(
                f"an agent program cannot reach its model under Landlock, which refuses all networks ({problem})",
                "--sandbox docker, bubblewrap (`mlgym-tui doctor` says how to get it), or --agent-on-host",
            )
        notes.append(f"reduced isolation: Landlock, since {problem}. The workspace is {workspace}; {LACKS}")
        readable = [linter, *data, *([] if packages is None else [packages])]
        return LocalSandbox(replace(plain, readonly=dict.fromkeys(readable, "")), workspace, way)
    if actor.untrusted or actor.foreign:
        raise SandboxError(
            f"no protected sandbox for the commands of {actor.untrusted or 'a session that is not yours'}: {problem}",
            "--sandbox docker runs them in a container" if actor.foreign else "--unsafe-local runs them unprotected",
        )
    notes.append(f"unprotected: {problem}")
    return LocalSandbox(plain, workspace, "none")


# -- the workspace -----------------------------------------------------------------------------------------------------


def make_workspace(folder: OwnedFolder) -> Path:
    """The agent's part of a run's temporary folder. Raises OSError."""
    workspace = folder.path / "workspace"
    workspace.mkdir(mode=0o755)
    return workspace


def offer_data(workspace: Path, data: Mapping[Path, str], *, mounted: bool) -> None:
    """Places for the folders of `data` (host → path in the workspace): to mount at, or links where nothing is mounted.

    Raises OSError.
    """
    for folder, inside in data.items():
        *above, name = PurePosixPath(inside).parts
        parent = workspace
        for part in above:
            parent = _folder_at(parent / part)
        place = _folder_at(parent / name)
        if not mounted:
            place.rmdir()
            place.symlink_to(folder)


def _folder_at(place: Path) -> Path:
    """A folder of ours, in the place of a link or a file: a restored workspace may hold those wherever it likes."""
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        place.unlink()
    place.mkdir(exist_ok=True)
    return place


def fill_with(workspace: Path, files: Mapping[str, bytes], modes: Mapping[str, int] | None = None) -> None:
    """Write the files that a task starts with: path, with '/' between parts → content. Raises OSError."""
    for path, data in files.items():
        target = workspace / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        if modes is not None:
            target.chmod(modes[path] & 0o777)
