"""A session to be driven by a test: a quick task, an agent with a list of actions, a sandbox in memory.

In memory, because these tests are about the runner; one that is about what lies below asks for `grounds=OURS`: that is
the unprotected local sandbox, so that it runs without bubblewrap too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.in_memory import IN_MEMORY
from tests.tasks.quick_task import make_quick_task
from workbench.agents.agent import ActionsExhausted, Agent, ModelError, Prompt, Proposal
from workbench.environment.assembly import Grounds
from workbench.runner.runner import Runner
from workbench.runner.start import start
from workbench.runner.trust import Consent
from workbench.session import events as ev
from workbench.session.events import Event
from workbench.session.log import read_log
from workbench.session.spec import SessionSpec
from workbench.session.state import SessionState, Step, fold
from workbench.session.status import Phase

PROMPT = Prompt(('{"role": "user", "content": "Go on."}',))

E = TypeVar("E", bound=Event)

LONGEST = 60.0
"""Seconds that anything may take before a test fails: an evaluation alone takes ten where the machine is busy."""

GOOD = "printf 'def row_strategy(history):\\n    return 0\\n' > strategy.py"
"""Writes a strategy with a better score than the starter's."""


async def wait_for(predicate: Callable[[], object], what: str, time_limit: float = LONGEST) -> None:
    """Until `predicate` is true; fails with `what` when that takes too long."""
    deadline = asyncio.get_running_loop().time() + time_limit
    while not predicate():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"after {time_limit:g} s still not: {what}")
        await asyncio.sleep(0.003)


class ListAgent(Agent):
    """Proposes from a list; an item may be a ModelError to raise. Can be made to wait, and remembers what it saw."""

    name = "list"
    model = "test:list"
    author = "model:test"
    trusted = True

    def __init__(self, actions: Sequence[str | ModelError], *, cost: float | None = None, then: str = "") -> None:
        """`cost`: US dollars of each answer; `then`: what is proposed for ever after the list."""
        self.actions = list(actions)
        self.cost = cost
        self.then = then
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.seen: list[Step] = []
        self.messages: list[str] = []

    async def propose(self, state: SessionState) -> Proposal:
        self.asked += 1
        self.seen.append(state.current)
        self.messages = [message.text for step in state.steps for message in step.messages]
        await self.gate.wait()
        if not self.actions and not self.then:
            raise ActionsExhausted("the list is at its end")
        item = self.actions.pop(0) if self.actions else self.then
        if isinstance(item, ModelError):
            raise item
        if self.cost is None:
            return Proposal(item, "a thought")
        usage = ev.Usage(input_tokens=10, output_tokens=2, cost=self.cost)
        return Proposal(item, "a thought", response=f"run {item}", prompt=PROMPT, usage=usage)


class Driven:
    """A running session, and what a test asks of it."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.state = runner.state
        self.folder = runner.live.folder
        self.seen: list[Event] = [event for event in read_log(self.folder)[0] if event.seq >= runner.live.first_seq]
        runner.live.subscribe(self.seen.append)
        self.running = asyncio.ensure_future(runner.run())

    async def phase(self, phase: Phase) -> None:
        """Until the runner is in this phase."""
        await self._until(lambda: self.runner.status.phase == phase, f"in phase {phase}")

    async def review(self, step: int) -> None:
        """Until the proposal of this step is under review."""
        await self._until(
            lambda: self.runner.status.phase == "review" and self.state.last_step == step, f"step {step} under review"
        )

    async def over(self, step: int) -> Step:
        """Until this step is over."""
        await self._until(lambda: self.state.last_step >= step and self.state.steps[step].over, f"step {step} over")
        return self.state.steps[step]

    async def until(self, predicate: Callable[[], object], what: str) -> None:
        await self._until(predicate, what)

    async def _until(self, predicate: Callable[[], object], what: str) -> None:
        def done() -> bool:
            if self.running.done() and not predicate():
                raise AssertionError(f"the session ended before: {what}; {self.running.result()}")
            return bool(predicate())

        try:
            await wait_for(done, what)
        except AssertionError as error:
            state = self.state
            raise AssertionError(
                f"{error} (phase {self.runner.status.phase}, step {state.last_step}, {state.current})"
            ) from None

    def enter(self, text: str) -> None:
        """What a person types, in a take-over."""
        self.runner.controls.send_keys(text.encode())

    async def ended(self, time_limit: float = LONGEST) -> ev.SessionEnded:
        """The last event, when the session is over."""
        async with asyncio.timeout(time_limit):
            return await asyncio.shield(self.running)

    def events(self, kind: type[E]) -> list[E]:
        """The events of a kind, so far."""
        return [event for event in self.seen if isinstance(event, kind)]


@contextlib.asynccontextmanager
async def driven(
    root: Path,
    agent: Agent | None,
    *,
    resume: Path | None = None,
    task: str | None = None,
    consent: Consent | None = None,
    grounds: Grounds = IN_MEMORY,
    spec: SessionSpec | None = None,
    **options: Any,
) -> AsyncIterator[Driven]:
    """Start a session (or go on with the one in `resume`) and end it on leaving, whatever the test did. With `spec`,
    just as that says.
    """
    if task is None:
        folder = root / "quick-task"
        task = str(folder if folder.exists() else make_quick_task(folder).folder)
    options.setdefault("limits", ev.Limits())
    options.setdefault("unsafe_local", True)
    spec = spec or SessionSpec(task=task, model="" if resume else "human" if agent is None else "test:list", **options)
    runner = start(spec, root / "sessions", agent=agent, resume=resume, consent=consent, grounds=grounds)
    session = Driven(runner)
    try:
        yield session
    finally:
        if not session.running.done():
            runner.controls.stop("stopped", "the test is over")
        async with asyncio.timeout(LONGEST):
            await asyncio.wait({session.running})
        assert_log_folds_to(session)


def assert_log_folds_to(session: Driven) -> None:
    """What is on the disk is what the panes showed, of every session of every test."""
    events, problems = read_log(session.folder)
    assert problems == []
    assert [event.seq for event in events] == list(range(len(events)))
    assert fold(events) == session.state
