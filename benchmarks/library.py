"""Lists of many runs: published trajectories (`$MLGYM_RUNS`, else some that are made here), and 20,000 sessions."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.rows import Row, absolute, compare

_SESSIONS = 20_000
_TRIES = 5


def library() -> list[Row]:
    """Home's index, its filter, and the list as a command."""
    rows = []
    with _folder() as scratch:
        os.environ["MLGYM_CACHE"] = str(scratch / "cache")
        runs = Path(os.environ.get("MLGYM_RUNS") or _trajectories(scratch / "runs"))
        files = sorted(runs.rglob("*.traj"))
        loads = _best(lambda: [json.loads(path.read_bytes()) for path in files])
        cold = _best(lambda: _index(runs), before=lambda: shutil.rmtree(scratch / "cache", ignore_errors=True))
        rows.append(compare(f"rows of {len(files)} trajectories, cold; json.loads", cold, loads, 1.0))
        warm = _best(lambda: _command("sessions", str(runs))) - _best(lambda: _command("--help"))
        rows.append(absolute("the same as a table, warm, over --help", warm, 100))
        _sessions(scratch / "sessions")
        _index(scratch / "sessions")
        rows.append(absolute(f"rows of {_SESSIONS:,} sessions, warm", _best(lambda: _index(scratch / "sessions")), 300))
        rows += [_filtering(folder) for folder in (runs, scratch / "sessions")]
        rows.append(asyncio.run(_held(scratch / "sessions")))
    return rows + _inspect()


async def _held(folder: Path) -> Row:
    """How long the loop works at one thing at most, while home fills with many sessions and keys sort, group and filter
    them: its processor time, which other programs do not change.
    """
    from workbench.tui.app import WorkbenchApp
    from workbench.tui.screens.home import HomeScreen

    worst = 0.0
    run = asyncio.Handle._run
    kept = gc.get_threshold()

    def timed(handle: asyncio.Handle) -> None:
        nonlocal worst
        begun = time.thread_time()
        run(handle)
        worst = max(worst, time.thread_time() - begun)

    home = HomeScreen([folder])
    gc.set_threshold(200_000, 10, 10)  # as the command has it
    try:
        async with WorkbenchApp(home=home).run_test(size=(120, 40)) as pilot:
            while not home.painted:
                await pilot.pause(0.01)
            asyncio.Handle._run = timed  # type: ignore[method-assign]
            while home.finding.reading:
                await pilot.pause(0.01)
            for key in ("s", "r", "v", "v", "v", "slash", *"task:b"):
                await pilot.press(key)
            while home.listing.filter.text != "task:b":
                await pilot.pause(0.01)
    finally:
        asyncio.Handle._run = run  # type: ignore[method-assign]
        gc.set_threshold(*kept)
    return absolute(f"home with {_SESSIONS:,} sessions: the longest that the loop is held", worst * 1000, 50)


def _inspect() -> list[Row]:
    """A log of Inspect (`$MLGYM_EVAL`), by its own command and by ours: both begin from nothing and print all of it."""
    log, inspect = os.environ.get("MLGYM_EVAL"), shutil.which("inspect")
    if log is None or inspect is None:
        return []
    ours = _best(lambda: _command("sessions", "show", log, "--json"))
    theirs = _best(lambda: subprocess.run([inspect, "log", "dump", log], check=True, stdout=subprocess.DEVNULL))
    return [compare("a log of Inspect, printed; inspect log dump", ours, theirs, 0.5)]


def _filtering(folder: Path) -> Row:
    from workbench.library.listing import Listing

    listing = Listing()
    listing.put(_index(folder))

    def key() -> None:
        listing.look_for("task:b score>0.1")
        assert listing.rows is not None

    return absolute(f"a key of the filter over {len(listing.runs):,} runs", _best(key), 30)


def _index(folder: Path) -> list[object]:
    from workbench.library.index import runs

    return list(runs([folder]))


def _command(*arguments: str) -> None:
    command = [sys.executable, "-m", "workbench", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _best(do: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """Milliseconds of the quickest try."""
    times = []
    for _ in range(_TRIES):
        before()
        begun = time.perf_counter()
        do()
        times.append(time.perf_counter() - begun)
    return 1000 * min(times)


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="mlgym-benchmark-"))
    kept = os.environ.get("MLGYM_CACHE")
    try:
        yield folder
    finally:
        os.environ.pop("MLGYM_CACHE", None)
        if kept is not None:
            os.environ["MLGYM_CACHE"] = kept
        shutil.rmtree(folder, ignore_errors=True)


def _trajectories(folder: Path, count: int = 200, steps: int = 60) -> Path:
    """Runs of MLGym, of about 300 KB each."""
    text = "".join(f"{number}:    value = compute({number}) + 1\n" for number in range(1, 60))
    step = {
        "action": "open train.py\n", "observation": text, "response": "I open it.\n```\nopen train.py\n```",
        "thought": "I open it.", "state": '{"open_file": "train.py", "working_dir": "/home"}', "execution_time": 0.5,
    }  # fmt: skip
    asked = [
        {"role": "assistant", "content": "I open it.", "action": "open train.py"},
        {"role": "user", "content": text},
    ]
    content = {
        "environment": "mlgym_main", "trajectory": [step] * steps, "history": asked * steps,
        "info": {"exit_status": "submitted", "score": [{"Score": 1.2}], "model_stats": {"total_cost": 0.5}},
    }  # fmt: skip
    data = json.dumps(content)
    for number in range(count):
        run = folder / f"metagen-m__blotto__default__t-0.00__p-0.95__c-4.00__install-0__run_{number}"
        run.mkdir(parents=True)
        (run / "blotto.traj").write_text(data)
    return folder


def _sessions(root: Path) -> None:
    """Sessions of ours, of a few events each."""
    import msgspec

    from workbench.session import events as ev

    events: list[ev.Event] = [
        ev.SessionStarted(format=1, task="blotto", model="openai:m", metric=ev.Metric(name="Score", baseline=0.2)),
        ev.ActionProposed(step=1, author="model:m", action="ls"),
        ev.ActionFinished(step=1, exit_code=0, observation="x"),
        ev.SessionEnded(
            exit_status="submitted", steps=1, scores=ev.FinalScores(metric="Score", best=0.5, last=0.1),
            totals=ev.Totals(model="openai:m", cost=0.1, input_tokens=5, output_tokens=6, working=12.0),
        ),
    ]  # fmt: skip
    stamped = [msgspec.structs.replace(event, seq=place, elapsed=float(place)) for place, event in enumerate(events)]
    data = b"".join(ev.encode(event) + b"\n" for event in stamped)
    for number in range(_SESSIONS):
        folder = root / f"20260101-{number:06}-blotto-{number:06x}"
        folder.mkdir(parents=True)
        (folder / "events.jsonl").write_bytes(data)
