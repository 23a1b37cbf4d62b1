"""The rows of the table: each measures the workbench and its floor, one after the other, in the same run."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.floors import BareExec, BarePty, median_ms

if TYPE_CHECKING:
    from workbench.sandbox.base import Sandbox

_LINES = f"seq -f '%.0f {'x' * 92}' 1 10000"
"""Prints 1 MB in lines."""


@dataclass(frozen=True)
class Row:
    """One line of the table. Times in milliseconds, sizes in MB; `target` is a ratio or an absolute figure."""

    what: str
    ours: str
    floor: str
    ratio: str
    target: str
    met: bool | None


def compare(what: str, ours: float, floor: float, times: float, unit: str = "ms") -> Row:
    """A row whose target is a multiple of its floor."""
    ratio = ours / floor
    return Row(what, f"{ours:.3g} {unit}", f"{floor:.3g} {unit}", f"×{ratio:.2f}", f"≤ ×{times:g}", ratio <= times)


def absolute(what: str, ours: float, limit: float, unit: str = "ms", note: str = "") -> Row:
    """A row whose target is a figure of its own."""
    return Row(what, f"{ours:.3g} {unit}", note or "–", "–", f"≤ {limit:g} {unit}", ours <= limit)


@asynccontextmanager
async def sandbox(kind: str) -> AsyncIterator[Sandbox]:
    """A started sandbox with an empty workspace."""
    from workbench.sandbox.base import SandboxSpec

    folder = Path(tempfile.mkdtemp(prefix="mlgym-benchmark-"))
    made: Sandbox
    if kind == "docker":
        from workbench.sandbox.docker import DockerSandbox

        made = DockerSandbox(SandboxSpec(session="benchmark"), folder)
    else:
        from workbench.isolation.bwrap import probe_bubblewrap
        from workbench.sandbox.local import LocalSandbox

        unprotected = () if probe_bubblewrap() is None else ("none",)  # to older builds, too, which only ask whether
        made = LocalSandbox(SandboxSpec(session="benchmark"), folder, *unprotected)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def steps(kind: str, times: int = 300) -> list[Row]:
    """`echo` and 1 MB of output through the shared shell, against a bare bash on the same kind of terminal."""
    from workbench.sandbox.shell import Shell

    where = kind
    async with sandbox(kind) as made:
        shell = Shell(made)
        await shell.start()
        floor: BarePty | BareExec
        if kind == "docker":
            from workbench.isolation.engine import connect

            engine = made.describe()["engine"]
            where = f"{engine['engine']} {engine['version']}{', rootless' if engine['rootless'] else ''}"
            api = connect(time_limit=30)
            container = api.containers(filters={"label": "mlgym-tui.session=benchmark"})[0]["Id"]
            floor = BareExec(api, container)
        else:
            floor = BarePty()
        rows = []
        for what, command, end, count in (
            ("step overhead: echo", "echo hi", "hi", times),
            ("1 MB of output", _LINES, "x", 7),
        ):
            ours, bare = list[float](), list[float]()
            for _ in range(count):  # in turn: whatever else the machine does befalls both
                began = time.perf_counter()
                result = await shell.run(command)
                ours.append(time.perf_counter() - began)
                assert result.observation.rstrip().endswith(end)
                bare.append(median_ms(partial(floor.run, command), 1))
            rows.append(compare(f"{what}, {where}", statistics.median(ours) * 1000, statistics.median(bare), 3))
        floor.close()
        await shell.close()
    return rows


def engines() -> list[Row]:
    """The same through each container engine that is here."""
    from workbench.isolation.engine import engine_addresses
    from workbench.isolation.spec import SandboxError

    rows, named = list[Row](), os.environ.get("DOCKER_HOST")
    try:
        for address in dict.fromkeys(engine_addresses()):
            os.environ["DOCKER_HOST"] = address
            try:
                rows += asyncio.run(steps("docker"))
            except SandboxError as error:
                print(f"  left out: {address}: {error}", file=sys.stderr)
    finally:
        os.environ.pop("DOCKER_HOST")
        if named is not None:
            os.environ["DOCKER_HOST"] = named
    return rows


async def whole_loop(count: int = 2000) -> list[Row]:
    """Propose, run, log, snapshot, fold: a trivial step of a headless session, at its beginning and at its end."""
    from workbench.runner.start import start
    from workbench.session import events as ev
    from workbench.session.spec import SessionSpec

    with tempfile.TemporaryDirectory() as folder:
        actions = Path(folder) / "actions.yaml"
        actions.write_text("\n".join(["- echo hi"] * count))
        runner = start(
            SessionSpec(task="battleOfSexes", model=f"replay:{actions}", unsafe_local=_no_bubblewrap()),
            Path(folder) / "sessions",
        )
        ends: list[float] = []
        runner.live.subscribe(
            lambda event: ends.append(time.perf_counter()) if isinstance(event, ev.ActionFinished) else None
        )
        await runner.run()
        gaps = [b - a for a, b in itertools.pairwise(ends)]
        first, last = statistics.median(gaps[:100]) * 1000, statistics.median(gaps[-100:]) * 1000
    return [
        absolute("whole step, headless (first 100)", first, 5),
        absolute(f"whole step, headless (last 100 of {count})", last, 5),
        Row("  growth over the session", f"×{last / first:.2f}", "–", "–", "flat (≤ ×1.5)", last / first <= 1.5),
    ]


def event_logging(count: int = 2000, payload: int = 5000) -> list[Row]:
    """Recording 2,000 steps of 5 KB: bytes written, and time per event against `json.dumps` + `write`."""
    from workbench.session import events as ev
    from workbench.session.clock import Clock
    from workbench.session.log import EventLog

    text = ("The quick brown fox jumps over the lazy dog.\n" * (payload // 45 + 1))[:payload]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = EventLog(folder, Clock())
        log.append(ev.SessionStarted(format=ev.FORMAT, task="benchmark"))
        taken = []
        for step in range(1, count + 1):
            began = time.perf_counter()
            log.append(ev.ActionProposed(step=step, author="policy:x", action="cat file"))
            log.append(ev.ActionStarted(step=step, author="policy:x", action="cat file"))
            log.append(ev.ActionFinished(step=step, exit_code=0, observation=text, cwd="/home/agent/workspace"))
            taken.append((time.perf_counter() - began) / 3)
        log.close()
        size = (folder / "events.jsonl").stat().st_size
        record = {"step": 1, "observation": text, "action": "cat file"}
        with (folder / "floor.jsonl").open("ab", buffering=0) as stream:
            floor = median_ms(lambda: stream.write(json.dumps(record).encode() + b"\n"), count)
    ours = statistics.median(taken) * 1000
    early, late = statistics.median(taken[:100]), statistics.median(taken[-100:])
    return [
        Row(
            f"events.jsonl for {count:,} steps of 5 KB",
            f"{size / 1e6:.2f} MB",
            f"{count * payload / 1e6:.2f} MB",
            f"×{size / (count * payload):.2f}",
            "≤ ×1.5",
            size <= 1.5 * count * payload,
        ),
        compare("one event logged (floor: json.dumps + write of a step)", ours, floor, 3),
        Row("  growth over the session", f"×{late / early:.2f}", "–", "–", "flat (≤ ×1.5)", late / early <= 1.5),
    ]


def start_up() -> list[Row]:
    """`--help`, against Python doing nothing; and the first paint of a replay, in a real terminal."""
    script = Path(sys.executable).with_name("mlgym-tui")
    nothing = median_ms(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True), 10)
    shown = median_ms(lambda: subprocess.run([str(script), "--help"], check=True, stdout=subprocess.DEVNULL), 10)
    rows = [absolute("--help", shown, 150, note=f"python: {nothing:.3g} ms")]
    if shutil.which("tmux"):
        rows.append(absolute("first paint of a replay", _first_paint(script), 500))
    return rows


def _first_paint(script: Path) -> float:
    from workbench.session import events as ev
    from workbench.session.clock import Clock
    from workbench.session.log import EventLog

    with tempfile.TemporaryDirectory() as name:
        log = EventLog(Path(name), Clock())
        log.append(ev.SessionStarted(format=ev.FORMAT, task="benchmark"))
        log.append(ev.ActionProposed(step=1, author="policy:x", action="echo painted"))
        log.append(ev.ActionFinished(step=1, exit_code=0, observation="painted"))
        log.close()
        tmux = ["tmux", "-L", f"benchmark-{os.getpid()}", "-f", "/dev/null"]
        subprocess.run([*tmux, "new-session", "-d", "-x", "120", "-y", "40", "sleep 60"], check=True)
        taken = []
        try:
            for _ in range(5):
                began = time.perf_counter()
                subprocess.run([*tmux, "respawn-pane", "-k", f"{script} replay {name}"], check=True)
                while (
                    b"echo painted"
                    not in subprocess.run([*tmux, "capture-pane", "-p"], check=True, capture_output=True).stdout
                ):
                    if time.perf_counter() - began > 20:
                        raise TimeoutError("the replay never painted")
                taken.append(time.perf_counter() - began)
        finally:
            subprocess.run([*tmux, "kill-server"], check=False)
    return statistics.median(taken) * 1000


async def flood(seconds: float = 5.0) -> list[Row]:
    """`yes` in the shell pane: the worst stall of the event loop and the memory it took."""
    import gc
    import resource

    from textual.app import App, ComposeResult

    from workbench.tui.widgets.terminal_pane import TerminalPane

    class Flooded(App[None]):
        def compose(self) -> ComposeResult:
            yield TerminalPane(id="shell")

    worst = 0.0
    fed = 0
    app = Flooded()
    async with app.run_test(size=(120, 40)) as pilot:
        pane = app.query_one(TerminalPane)
        await pilot.pause()
        gc.collect()
        gc.freeze()
        process = subprocess.Popen(["yes"], stdout=subprocess.PIPE)  # noqa: ASYNC220 - it returns at once
        assert process.stdout is not None
        output = process.stdout.fileno()
        held = asyncio.Event()
        held.set()
        pane.on_high, pane.on_low = held.clear, held.set
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        until = time.perf_counter() + seconds

        async def feed() -> None:
            nonlocal fed
            while time.perf_counter() < until:
                await held.wait()
                data = await asyncio.to_thread(os.read, output, 65536)
                fed += len(data)
                pane.feed(data.replace(b"\n", b"\r\n"))

        feeding = asyncio.ensure_future(feed())
        last = time.perf_counter()
        while not feeding.done():
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            worst = max(worst, now - last)
            last = now
        process.kill()
        process.wait()
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        gc.unfreeze()
    return [
        absolute(
            f"`yes` for {seconds:g} s: worst stall of the event loop", worst * 1000, 50, note=f"{fed / 1e6:.0f} MB"
        ),
        absolute("  memory it took", (after - before) / 1024, 20, "MB"),
    ]


async def large_observation() -> list[Row]:
    """An observation of 1.8 million characters: from asking to the next frame."""
    from textual.app import App, ComposeResult

    from workbench.tui.widgets.line_view import LineView

    class Viewer(App[None]):
        def compose(self) -> ComposeResult:
            yield LineView(id="view")

    text = "\n".join(
        f"drwxr-xr-x 2 agent agent 4096 data/train/image_{n:06d}.jpg some more words here" for n in range(22_500)
    )
    app = Viewer()
    async with app.run_test(size=(120, 40)) as pilot:
        view = app.query_one(LineView)
        taken = []
        for turn in range(5):
            view.show("")
            await pilot.pause()
            painted = asyncio.Event()
            began = time.perf_counter()
            view.show(f"{turn}\n{text}")
            view.call_after_refresh(painted.set)
            await painted.wait()
            taken.append(time.perf_counter() - began)
    return [absolute(f"showing {len(text) / 1e6:.1f} MB in the observation pane", statistics.median(taken) * 1000, 50)]


def rendering() -> list[Row]:
    """What a command printed, made the observation as it comes; floor: finding the control characters in it."""
    import re
    import tracemalloc

    from workbench.sandbox.output import OutputRecord

    step = "\r\x1b[2K\x1b[1A\x1b[2K\x1b[1mepoch\x1b[0m \x1b[38;5;237m" + "━" * 40 + "\x1b[0m {:4}/4000 loss=0.5\r\n"
    bar = "\repoch 1: {:4}/4000|" + "█" * 20 + "| [00:01<00:02, 41.29it/s, loss=0.5]"
    special = re.compile(rb"[\x00-\x1f]")
    kinds = {
        "lines": (b"".join(b"%d %s\r\n" % (number, b"x" * 92) for number in range(20_000)), 4),
        "bars": ("".join(bar.format(number % 4000) for number in range(20_000)).encode(), 4),
        "repainted rows": ("".join(step.format(number % 4000) for number in range(10_000)).encode(), 4),
    }
    rows = []
    for what, (printed, times) in kinds.items():

        def render(printed: bytes = printed) -> None:
            record = OutputRecord()
            for at in range(0, len(printed), 4095):
                record.add(printed[at : at + 4095])
            record.observation(30_000)

        floor = median_ms(lambda printed=printed: [*special.finditer(printed)], 7)  # type: ignore[misc]
        rows.append(compare(f"rendering {len(printed) / 1e6:.1f} MB of {what}", median_ms(render, 7), floor, times))
        tracemalloc.start()
        render()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        rows.append(absolute("  memory beyond the bytes", (peak - len(printed)) / 1e6, 2, "MB"))
    return rows


def _no_bubblewrap() -> bool:
    from workbench.isolation.bwrap import probe_bubblewrap

    return probe_bubblewrap() is not None


def snapshot(files: int = 2000) -> list[Row]:
    """A snapshot when one small file of 2,000 changed."""
    from workbench.session.objects import ObjectStore
    from workbench.session.snapshot import Snapshotter

    with tempfile.TemporaryDirectory() as name:
        workspace = Path(name) / "workspace"
        for number in range(files):
            file = workspace / f"d{number % 40}" / f"{number}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(os.urandom(4096))
        snapshotter = Snapshotter(workspace, ObjectStore(Path(name) / "objects"))
        snapshotter.scan()
        time.sleep(0.05)
        snapshotter.scan()
        taken = []
        for number in range(30):
            (workspace / "d0" / "0.txt").write_bytes(os.urandom(4096))
            began = time.perf_counter()
            found = snapshotter.scan()
            taken.append(time.perf_counter() - began)
            assert len(found.changes) == 1, number
    return [absolute(f"snapshot, 1 of {files:,} files changed", statistics.median(taken) * 1000, 10), *_large_files()]


def _large_files(size: int = 300 << 20) -> list[Row]:
    """A file of 300 MB to which 1 MB was appended: its snapshot against copying it; and a fork of a session with it."""
    from workbench.runner.forking import make_fork
    from workbench.session import events as ev
    from workbench.session.clock import Clock
    from workbench.session.log import EventLog
    from workbench.session.marks import marked
    from workbench.session.objects import ObjectStore
    from workbench.session.snapshot import Snapshotter

    with tempfile.TemporaryDirectory() as name:
        workspace, session = Path(name) / "workspace", Path(name) / "sessions" / "s"
        workspace.mkdir()
        large = workspace / "large"
        with large.open("wb") as stream:
            for _ in range(size >> 20):
                stream.write(os.urandom(1 << 20))
        snapshotter = Snapshotter(workspace, ObjectStore(session / "objects"))
        found = snapshotter.scan()
        taken, copied = [], []
        for _ in range(5):
            began = time.perf_counter()
            shutil.copyfile(large, Path(name) / "copy")
            copied.append(time.perf_counter() - began)
            with large.open("ab") as stream:
                stream.write(os.urandom(1 << 20))
            began = time.perf_counter()
            snapshotter.scan()
            taken.append(time.perf_counter() - began)
        log = EventLog(session, Clock(), mark=lambda event: marked(event, []))
        log.append(ev.SessionStarted(format=ev.FORMAT, task="battleOfSexes", model="scripted:demo"))
        log.append(ev.WorkspaceSnapshot(step=0, tree=found.tree, changes=found.changes))
        log.close()
        began = time.perf_counter()
        make_fork(session, 0, session.parent)
        forked = time.perf_counter() - began
    what = f"snapshot, 1 MB appended to {size >> 20} MB (floor: a copy)"
    return [
        compare(what, statistics.median(taken) * 1000, statistics.median(copied) * 1000, 0.1),
        absolute(f"fork of a session with {size >> 20} MB", forked * 1000, 2000),
    ]


Part = tuple[str, Callable[[], list[Row]]]


def parts() -> list[Part]:
    """All parts of the table, by name."""
    from benchmarks.gateway import gateway_calls
    from benchmarks.library import library
    from benchmarks.link import link
    from benchmarks.many import analysis, sweeps

    return [
        ("local", lambda: asyncio.run(steps("local"))),
        ("docker", engines),
        ("loop", lambda: asyncio.run(whole_loop())),
        ("log", event_logging),
        ("snapshot", snapshot),
        ("rendering", rendering),
        ("observation", lambda: asyncio.run(large_observation())),
        ("flood", lambda: asyncio.run(flood())),
        ("start", start_up),
        ("link", link),
        ("library", library),
        ("analysis", analysis),
        ("sweeps", sweeps),
        ("gateway", lambda: asyncio.run(gateway_calls())),
    ]
