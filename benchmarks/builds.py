"""Two builds of the workbench side by side: what a user waits for, as a ratio. `make benchmark BASE=<revision>`.

Each build runs with the packages of this environment, as a user would run it: nothing of it is imported here. Runs
alternate, so that what else the machine does falls on both; the best of each counts.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import resource
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.link import bytes_sent

ROOT = Path(__file__).resolve().parent.parent
_STEPS = 100
_PATIENCE = 60.0


@dataclass(frozen=True)
class Build:
    """A checkout, and a place where it keeps what it saves."""

    name: str
    tree: Path
    home: Path

    def start(
        self, *arguments: str, variables: Mapping[str, str] | None = None, **options: object
    ) -> subprocess.Popen[bytes]:
        """The command of this build with these arguments."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("MLGYM_")}
        env |= {"PYTHONPATH": str(self.tree), "XDG_CACHE_HOME": str(self.home), "XDG_STATE_HOME": str(self.home)}
        env |= {"MLGYM_SESSIONS": str(self.home / "sessions"), "TERM": "xterm-256color"}
        # Compiled, as what is installed is: each in a cache of its own, which the first run fills.
        env |= {"PYTHONPYCACHEPREFIX": str(self.home / "compiled"), "PYTHONDONTWRITEBYTECODE": ""}
        env |= variables or {}
        command = [sys.executable, "-m", "workbench", *arguments]
        return subprocess.Popen(command, cwd=self.tree, env=env, **options)  # type: ignore[call-overload, no-any-return]


@contextlib.contextmanager
def build_of(revision: str, folder: Path) -> Iterator[Build]:
    """A worktree of the revision, as long as it is needed."""
    tree = folder / "base"
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(tree), revision], check=True)
    try:
        yield Build(revision, tree, folder / "base-home")
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=True)


Seconds = dict[str, float]
"""What was waited for → how long."""


def help_page(build: Build) -> Seconds:
    """`--help`, from start to end."""
    with _timed("--help") as taken:
        build.start("--help", stdout=subprocess.DEVNULL).wait()
    return taken


def headless(build: Build) -> Seconds:
    """A run of the scripted agent up to its first finished step, and what each step of a longer one takes."""
    plan = build.home / "plan.json"
    plan.write_text(json.dumps(["echo painted"] * _STEPS))
    ends: list[float] = []
    began = time.perf_counter()
    options = ["--model", f"replay:{plan}", "--headless", "--json", "--max-steps", str(_STEPS)]
    process = build.start("run", "battleOfSexes", *options, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(b'{"event":"action.finished"'):
            ends.append(time.perf_counter())
            if len(ends) == _STEPS:
                process.terminate()
    process.wait()
    assert len(ends) == _STEPS, f"{build.name}: only {len(ends)} of {_STEPS} steps were finished"
    return {
        "run --headless, to the first finished step": ends[0] - began,
        "a step": (ends[-1] - ends[0]) / (_STEPS - 1),
    }


def replay(build: Build) -> Seconds:
    """From the start to the first frame that shows a step of the newest session."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    began = time.perf_counter()
    process = build.start("replay", "last", stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    seen = b""
    try:
        while b"painted" not in seen:
            ready, _, _ = select.select([master], [], [], _PATIENCE)
            piece = os.read(master, 65536) if ready else b""
            assert piece, f"{build.name}: the replay never painted: {seen[-500:]!r}"
            seen = seen[-100:] + piece
        return {"replay, to the first frame with its steps": time.perf_counter() - began}
    finally:
        process.kill()
        process.wait()
        os.close(master)


@contextlib.contextmanager
def _timed(what: str) -> Iterator[Seconds]:
    taken: Seconds = {}
    began = time.perf_counter()
    yield taken
    taken[what] = time.perf_counter() - began


PARTS: tuple[Callable[[Build], Seconds], ...] = (help_page, headless, replay)


def measure(builds: tuple[Build, Build], runs: int) -> dict[str, tuple[list[float], list[float]]]:
    """What was waited for → how long in each run, of either build. Processor time stands beside."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for part in PARTS:
        print(f"measuring {part.__name__} …", file=sys.stderr, flush=True)
        for run in range(runs + 1):
            for number, build in enumerate(builds):
                before = _processor_time()
                taken = part(build)
                used = _processor_time() - before
                if run:  # the first one fills caches
                    for what, seconds in {**taken, f"  processor time of {part.__name__}": used}.items():
                        found.setdefault(what, ([], []))[number].append(seconds)
    return found


def _processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def compare_with(revision: str, runs: int = 7) -> int:
    """Print the table. Exit code 2 where there is no such revision."""
    git = ["git", "-C", str(ROOT), "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"]
    known = subprocess.run(git, stdout=subprocess.DEVNULL, check=False)
    if known.returncode:
        print(f"there is no revision {revision!r} here; `git log --oneline` and `git tag` show some", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="mlgym-builds-"))
    try:
        with build_of(revision, folder) as base:
            builds = (base, Build("this", ROOT, folder / "home"))
            for build in builds:
                build.home.mkdir()
            found = measure(builds, runs)
            sent = [bytes_sent(build) for build in builds]
        print(f"best of {runs} runs in turn, in milliseconds{'':<22}{revision[:12]:>12}{'this':>9}{'ratio':>8}")
        for what, (theirs, ours) in found.items():
            print(f"{what:<61}{min(theirs) * 1000:>12.1f}{min(ours) * 1000:>9.1f}{min(ours) / min(theirs):>8.2f}")
        print(f"bytes sent to a terminal of 80x24 without colours{'':<12}{revision[:12]:>12}{'this':>9}{'ratio':>8}")
        for what, count in sent[0].items():
            print(f"{what:<61}{count:>12}{sent[1][what]:>9}{sent[1][what] / max(1, count):>8.2f}")
        return 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)
