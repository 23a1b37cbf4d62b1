"""An evaluation that nobody wants any more ends at once, wherever it is, and leaves no process behind."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tests.runner.rig import wait_for
from tests.tasks.quick_task import make_quick_task
from workbench.isolation import bwrap
from workbench.scoring.evaluation import evaluate


async def test_an_evaluation_can_be_cancelled_at_any_moment(tmp_path: Path) -> None:
    """Also while its processes are being started, where asyncio itself would wait for ever."""
    task = make_quick_task(tmp_path / "quick")
    before = _children()
    for moment in range(30):
        bwrap.probe_bubblewrap.cache_clear()  # the sandbox is tried out as in a new process
        running = asyncio.ensure_future(evaluate(task, b"def row_strategy(history):\n    return 0\n", seed=1))
        done, _ = await asyncio.wait({running}, timeout=moment * 0.003)
        running.cancel()
        done, _ = await asyncio.wait({running}, timeout=45)
        assert done, f"cancelled after {moment * 3} ms, it still goes on"
    await wait_for(lambda: not _children() - before, "no process is left")


def _children() -> set[int]:
    """Our children that are not over, and what bubblewrap left when its parent was killed."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            ours = int(status[1]) == os.getpid() or (status[1] == "1" and b"--hostname\0sandbox" in command)
            if ours and status[0] != "Z":
                found.add(int(entry.name))
    return found
