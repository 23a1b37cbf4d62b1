"""A process that runs sessions of a sweep, one after another: jobs are lines of JSON on stdin, reports on stdout.

It outlives its sessions, so what a process costs to start is paid once. SIGTERM ends the running session as
interrupted.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from workbench.errors import WorkbenchError
from workbench.library.index import own_run
from workbench.runner.start import start
from workbench.session.files import NoLocks, lock
from workbench.session.run import Run
from workbench.session.spec import SessionSpec

LOCKS = ".sweep"
"""Folder of a lock for each job, so that no two processes run the same one."""
PASSING = ("error", "crashed", "interrupted", "worker died")
"""Ends that another try may not meet again."""
_TOLD_SECONDS = 1.0
"""As often as it is said how far a session is."""


class Order(msgspec.Struct):
    """A job, as it is handed out."""

    key: str
    spec: SessionSpec
    folder: str
    """Where sessions are saved."""
    resume: str = ""
    """The session folder to go on with."""
    secret: str = ""
    """Where it runs on another machine: what its session is marked with (see `workbench.session.marks`)."""


class Report(msgspec.Struct):
    """What is said of a job: how far it is, then how it ended."""

    key: str
    session: str = ""
    status: str = ""
    """The exit status; `busy`: another process runs it; `failed`: it could not begin. Empty: it runs."""
    problem: str = ""
    cost: float = 0.0
    tokens: int = 0
    """Without a price."""
    steps: int = 0
    best: float | None = None


def said_of(run: Run, key: str) -> Report:
    """What the log of a session says."""
    tokens = (run.tokens_in or 0) + (run.tokens_out or 0) if run.cost is None else 0
    return Report(key, run.path, run.status, "", run.cost or 0.0, tokens, run.steps, run.best)


async def work(order: Order, say: Callable[[Report], None] = lambda _: None) -> Report:
    """Run one job to its end. `say` is told when it has begun, and how far it is."""
    with _alone(order) as held:
        if held is None:
            return Report(order.key, status="busy", problem="another process runs it")
        if (found := _known(order, held)) is not None:
            if not may_go_on(found.status):
                return said_of(found, order.key)
            order.resume = found.path
        try:
            # A session that goes on has all but its limits in its log.
            again = SessionSpec(limits=order.spec.limits, mode="auto")
            spec, resume = (again, Path(order.resume)) if order.resume else (order.spec, None)
            agent = None
            if order.spec.agent_command:  # it begins anew, for it cannot be taken up in the middle
                from workbench.gateway.program_agent import program_agent

                spec, resume = order.spec, None
                agent = program_agent(spec, Path(order.folder))
            runner = start(spec, Path(order.folder), agent=agent, resume=resume)
        except (WorkbenchError, OSError) as error:
            return Report(order.key, order.resume, "failed", str(error).partition("\n")[0])
        held.truncate()
        held.write(os.fsencode(runner.live.folder.name))
        held.flush()

        def report(status: str = "", reason: str = "") -> Report:
            state = runner.state
            best = state.final_scores().best
            return Report(
                order.key, str(runner.live.folder), status, reason, state.cost, state.unpriced_tokens, state.last_step,
                best,
            )  # fmt: skip

        telling = asyncio.create_task(_tell_on(say, report))
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, runner.controls.stop, "interrupted", "the sweep was stopped")
        try:
            ended = await runner.run()
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
            telling.cancel()
    return report(ended.exit_status, ended.reason)


async def _tell_on(say: Callable[[Report], None], report: Callable[[], Report]) -> None:
    """Say how far a session is, wherever that is another than before."""
    before = None
    while True:
        now = report()
        if now != before:
            say(now)
        before = now
        await asyncio.sleep(_TOLD_SECONDS)


@contextlib.contextmanager
def _alone(order: Order) -> Iterator[BinaryIO | None]:
    """The lock of the job, until this process is done with it; None where another has it. It holds the name of the
    job's newest session.
    """
    locks = Path(order.folder) / LOCKS
    locks.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(os.open(locks / order.key, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b", 0) as held:
        yield held if lock(held) else None


def _known(order: Order, held: BinaryIO) -> Run | None:
    """The session that another process began for the job since it was handed out."""
    name = Path(os.fsdecode(held.read(256))).name
    held.seek(0)
    if not name or (order.resume and name == Path(order.resume).name):
        return None
    found = own_run(Path(order.folder) / name)
    return found if found.sweep == order.key else None


def may_go_on(status: str) -> bool:
    """Whether another try may end otherwise. `evaluation_format_error` is no such end: the work could not be scored."""
    return status in PASSING or status.endswith("(exit_api)")


def _tell(report: Report) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


async def main() -> None:
    """Work on orders until there are no more."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.buffer.readline):
        order = msgspec.json.decode(line, type=Order)
        try:
            _tell(await work(order, _tell))
        except NoLocks as error:
            _tell(Report(order.key, status="failed", problem=f"{order.folder} cannot hold a sweep: {error.strerror}"))


if __name__ == "__main__":
    if sys.platform == "linux":
        # When whoever waits for the report is gone, the session ends as interrupted.
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl+c is for the sweep, which tells us
    for number in (signal.SIGUSR1, signal.SIGUSR2):  # so are those of a batch system; what we start shall hear them
        signal.signal(number, lambda *_: None)
    with contextlib.suppress(BrokenPipeError):
        asyncio.run(main())
