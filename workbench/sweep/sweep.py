"""Drives the jobs of a plan: hands them to workers within a budget, and goes on with what broke off.

What a job has come to stands in the sessions themselves (`session.started` names its job), so a sweep that is called
again goes on where it stopped, however it ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Literal

import msgspec

from workbench.agents.models.pacing import VARIABLE
from workbench.errors import WorkbenchError
from workbench.isolation.batch import memory, processors
from workbench.isolation.gpus import list_gpus
from workbench.library.index import runs
from workbench.session.events import Limits
from workbench.session.run import Run
from workbench.sweep.plan import Budget, Job, Plan
from workbench.sweep.worker import LOCKS, Order, Report, may_go_on, said_of
from workbench.tasks.catalogue import find_task

State = Literal["waiting", "running", "done", "failed", "interrupted", "no budget"]

_MEMORY = 2 << 30
"""Bytes that a session is reckoned with whose task says nothing."""
_FIRST_WAIT = 2.0
"""Seconds before a session is tried again; each further time twice as long."""


class Progress(Report, kw_only=True):
    """Where a job stands, and what was last said of its session."""

    job: Job
    state: State = "waiting"
    seconds: float = 0.0
    """That its process worked on it, in this sweep's time; of one that was finished before, as its session says."""
    began: float = 0.0
    """When it was handed out, on the monotonic clock; 0 while it does not run."""
    tries: int = 0
    not_before: float = 0.0
    reserved: Limits = msgspec.field(default_factory=Limits)
    """What of the budget is set aside for it while it runs."""
    gpus: int = 0
    memory: int = _MEMORY

    @property
    def took(self) -> float:
        """Seconds, up to now."""
        return self.seconds + (time.monotonic() - self.began if self.began else 0.0)


class Sweep:
    """The jobs of a plan, and what they have come to. `await run()` drives them; `stop()` ends that, all resumable."""

    def __init__(
        self,
        plan: Plan,
        jobs: list[Job],
        folder: Path,
        on_change: Callable[[Progress], None] = lambda _: None,
        start_worker: Callable[[], Awaitable[Worker]] | None = None,
    ) -> None:
        """`start_worker` gives another kind of worker than a process on this machine."""
        self.plan, self.folder, self.on_change = plan, folder, on_change
        self.start_worker = start_worker or (lambda: LocalWorker.start(self.folder / LOCKS))
        self.one_machine = True
        """Sessions run here, and share what this machine has."""
        self.progress = {job.key: Progress(job.key, job=job) for job in jobs}
        self._workers: set[Worker] = set()
        self._idle: list[Worker] = []
        self._running: dict[str, Progress] = {}
        self._stopping = False
        self._deadline: float | None = None
        self._took_up()
        self.counts = Counter(progress.state for progress in self.progress.values())
        """State → jobs."""
        self.spent = sum(progress.cost for progress in self.progress.values())
        """US dollars."""
        self.spent_tokens = sum(progress.tokens for progress in self.progress.values())
        """Of models without a price."""

    def _took_up(self) -> None:
        """Take in what the sessions in the folder say, the newest of each job."""
        for key, run in self._newest().items():
            progress = self.progress[key]
            said = msgspec.structs.asdict(said_of(run, key))
            progress = msgspec.structs.replace(progress, **said, seconds=run.working or 0.0)
            self.progress[key] = progress
            limits = progress.job.spec.limits
            # Its share of the budget was too small; without a budget, it was the agent's own limit.
            more = progress.cost < limits.cost if limits.cost is not None else self.plan.budget != Budget()
            cut = "exit_cost" in run.status and more
            if run.live:
                progress.state = "running"
            elif run.status in ("crashed", "interrupted") or cut:
                progress.state = "waiting"
            elif may_go_on(run.status):
                progress.state = "waiting" if self.plan.retries else "failed"
            else:
                progress.state = "done"

    def _newest(self) -> dict[str, Run]:
        """The newest session of each job that has one."""
        newest: dict[str, Run] = {}
        for run in runs([self.folder]) if self.folder.is_dir() else ():
            if run.sweep in self.progress and (run.sweep not in newest or run.started > newest[run.sweep].started):
                newest[run.sweep] = run
        return newest

    # -- the budget ----------------------------------------------------------------------------------------------------

    def _left(self) -> tuple[float | None, int | None]:
        """Dollars and tokens that are neither spent nor set aside."""
        cost, tokens = self.plan.budget.cost, self.plan.budget.tokens
        if cost is not None:
            aside = (max(0.0, (it.reserved.cost or 0.0) - it.cost) for it in self._running.values())
            cost -= self.spent + sum(aside)
        if tokens is not None:
            tokens -= self.spent_tokens + sum(
                max(0, (it.reserved.tokens or 0) - it.tokens) for it in self._running.values()
            )
        return cost, tokens

    def _reserve(self, progress: Progress) -> bool:
        """Set aside what the job may spend, so that jobs that run together cannot spend the same money. False when
        nothing is left. A session's limits count what it has spent before, too.
        """
        cost, tokens = self._left()
        own = progress.job.spec.limits
        share = max(1, self.parallel - len(self._running))
        limits = own
        if cost is not None:
            wanted = own.cost if own.cost is not None else progress.cost + cost / share
            limits = msgspec.structs.replace(limits, cost=min(wanted, progress.cost + cost))
            if limits.cost is None or limits.cost <= progress.cost:
                return False
        if tokens is not None:
            most = own.tokens if own.tokens is not None else progress.tokens + tokens // share
            limits = msgspec.structs.replace(limits, tokens=min(most, progress.tokens + tokens))
            if not limits.tokens or limits.tokens <= progress.tokens:
                return False
        progress.reserved = limits
        return True

    @property
    def parallel(self) -> int:
        """Sessions at a time."""
        return self.plan.parallel or max(1, processors() // 2)

    def _fits(self, progress: Progress) -> bool:
        """Whether the machine has GPUs and memory for it beside those that run. One alone always runs."""
        running = self._running.values()
        if not running or not self.one_machine:
            return True
        enough = sum(other.memory for other in running) + progress.memory <= memory()
        gpus = len(list_gpus())
        return enough and (not gpus or sum(other.gpus for other in running) + progress.gpus <= gpus)

    # -- driving -------------------------------------------------------------------------------------------------------

    async def run(self) -> Counter[State]:
        """Drive the jobs until all are over, or nothing more can be. Returns how many are in which state."""
        self._needs()
        (self.folder / LOCKS).mkdir(parents=True, exist_ok=True, mode=0o700)
        hours = self.plan.budget.hours
        self._deadline = None if hours is None else time.monotonic() + 3600 * hours
        waiting = deque(p for p in self.progress.values() if p.state == "waiting")
        running: set[asyncio.Task[Progress]] = set()
        try:
            while (waiting or running) and not (self._stopping and not running):
                self._hand_out(waiting, running)
                if not running and not waiting:
                    break
                pause = self._pause(waiting)
                if running:
                    done, running = await asyncio.wait(running, timeout=pause, return_when="FIRST_COMPLETED")
                    waiting.extend(it for task in done if (it := task.result()).state == "waiting")
                else:
                    await asyncio.sleep(pause)
                if self._deadline is not None and time.monotonic() > self._deadline:
                    self.stop()
        finally:
            await self._end()
        return +self.counts

    def stop(self) -> None:
        """Hand out nothing more, and have what runs end as interrupted."""
        if not self._stopping:
            self._stopping = True
            for worker in self._workers:
                worker.signal(signal.SIGTERM)

    def kill(self) -> None:
        """Do not wait any more."""
        self._stopping = True
        for worker in self._workers:
            worker.signal(signal.SIGKILL)

    def _hand_out(self, waiting: deque[Progress], running: set[asyncio.Task[Progress]]) -> None:
        for _ in range(len(waiting)):
            if self._stopping or len(running) >= self.parallel:
                return
            progress = waiting.popleft()
            if progress.not_before > time.monotonic() or not self._fits(progress):
                waiting.append(progress)
                continue
            if not self._reserve(progress):
                # What others have set aside and do not spend may still come back.
                self._set(progress, "no budget" if not running else "waiting", problem="the budget is spent")
                if running:
                    waiting.append(progress)
                    return
                continue
            self._set(progress, "running")
            running.add(asyncio.create_task(self._one(progress)))

    def _pause(self, waiting: Iterable[Progress]) -> float:
        soonest = min((p.not_before for p in waiting), default=0.0) - time.monotonic()
        return min(60.0, max(0.05, soonest)) if soonest > 0 else 1.0

    async def _one(self, progress: Progress) -> Progress:
        """One try of a job."""
        worker = self._idle.pop() if self._idle else await self._new_worker()
        spec = msgspec.structs.replace(progress.job.spec, limits=progress.reserved)
        progress.tries += 1
        order = Order(progress.job.key, spec, str(self.folder.absolute()), progress.session)
        report = await worker.do(order, lambda report: self._runs(progress, report))
        if report is None:
            self._workers.discard(worker)
            known = self._newest().get(progress.job.key)
            session = known.path if known is not None else progress.session
            report = Report(progress.job.key, session, "worker died", "its process was killed")
        elif self._stopping:
            await worker.close()
        else:
            self._idle.append(worker)
        self._finish(progress, report)
        return progress

    def _runs(self, progress: Progress, report: Report) -> None:
        self._came(progress, report)
        self._set(progress, "running", session=report.session)

    def _came(self, progress: Progress, report: Report) -> None:
        """Take in how far it is."""
        self.spent += max(0.0, report.cost - progress.cost)
        self.spent_tokens += max(0, report.tokens - progress.tokens)
        progress.cost, progress.tokens = max(progress.cost, report.cost), max(progress.tokens, report.tokens)
        progress.best, progress.steps = report.best, max(progress.steps, report.steps)

    def _finish(self, progress: Progress, report: Report) -> None:
        self._came(progress, report)
        state: State = "done"
        if report.status == "busy":  # whoever runs it sees to its end
            self._set(progress, "running", problem=report.problem)
            del self._running[progress.job.key]
            return
        if report.status == "interrupted" or (self._stopping and report.status == "worker died"):
            state = "interrupted"
        elif report.status == "failed":
            state = "failed"
        elif may_go_on(report.status):
            state = "waiting" if progress.tries <= self.plan.retries and not self._stopping else "failed"
            progress.not_before = time.monotonic() + _FIRST_WAIT * 2 ** (progress.tries - 1)
        elif "exit_cost" in report.status and progress.reserved != progress.job.spec.limits:
            state = "no budget"
        self._set(progress, state, session=report.session, status=report.status, problem=report.problem)

    def _set(self, progress: Progress, state: State, *, session: str = "", status: str = "", problem: str = "") -> None:
        self.counts[progress.state] -= 1
        self.counts[state] += 1
        if state == "running":
            self._running[progress.job.key] = progress
            progress.began = progress.began or time.monotonic()
        else:
            self._running.pop(progress.job.key, None)
            progress.seconds, progress.began = progress.took, 0.0
        progress.state = state
        progress.session = session or progress.session
        progress.status = status or progress.status
        progress.problem = problem
        self.on_change(progress)

    def _needs(self) -> None:
        """What each task needs of the machine. Raises UnknownTask and TaskError before anything is run."""
        needs = {}
        for progress in self.progress.values():
            name = progress.job.spec.task
            if name not in needs:
                needs[name] = find_task(name).spec.resources
            progress.gpus, progress.memory = needs[name].gpus, needs[name].memory_bytes or _MEMORY

    async def _new_worker(self) -> Worker:
        worker = await self.start_worker()
        self._workers.add(worker)
        return worker

    async def _end(self) -> None:
        for worker in list(self._workers):
            await worker.close()
        self._workers.clear()
        self._idle.clear()


class Worker:
    """What runs jobs, one after another."""

    async def do(self, order: Order, on_begin: Callable[[Report], None]) -> Report | None:
        """Have a job run. None when the worker dies of it."""
        raise NotImplementedError

    def signal(self, number: int) -> None:
        """SIGTERM: end the running session as interrupted. SIGKILL: end at once."""

    async def close(self) -> None:
        """No more jobs."""


class LocalWorker(Worker):
    """A process on this machine."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, pacing: Path) -> LocalWorker:
        """`pacing`: where sessions tell each other of rate limits. Raises WorkbenchError when it cannot be started."""
        try:
            command = [sys.executable, "-m", "workbench.sweep.worker"]
            pipe = asyncio.subprocess.PIPE
            shared = {**os.environ, VARIABLE: str(pacing)}
            process = await asyncio.create_subprocess_exec(
                *command, env=shared, stdin=pipe, stdout=pipe, start_new_session=True, limit=1 << 20
            )
        except OSError as error:
            raise WorkbenchError(f"no worker process can be started: {error.strerror or error}") from error
        return cls(process)

    async def do(self, order: Order, on_begin: Callable[[Report], None]) -> Report | None:
        reader, writer = self._process.stdout, self._process.stdin
        assert reader is not None and writer is not None
        with contextlib.suppress(ConnectionError):
            writer.write(msgspec.json.encode(order) + b"\n")
            await writer.drain()
        while line := await reader.readline():
            with contextlib.suppress(msgspec.DecodeError):  # something else that was printed
                report = msgspec.json.decode(line, type=Report)
                if report.status:
                    return report
                on_begin(report)
        return None

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 30)
            return
        self.signal(signal.SIGKILL)
        await self._process.wait()
