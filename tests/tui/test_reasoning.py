"""What a model shows of its reasoning, in the pane with its action: while it is being written, and after."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.tui.test_workbench import opened
from workbench.agents.agent import Agent, Proposal
from workbench.session.events import Usage
from workbench.session.state import SessionState

HEADING = "Reasoning before the answer"


class Thinker(Agent):
    """Shows its reasoning, waits, and proposes."""

    name, model, author, trusted = "thinker", "test:thinker", "model:thinker", True

    def __init__(self, length: int = 3) -> None:
        self.length = length
        self.gate = asyncio.Event()

    async def propose(self, state: SessionState) -> Proposal:
        assert self.listener is not None
        self.listener.reasoning("[b]first[/b] ")
        self.listener.reasoning("things \x1b[31mfirst")
        await self.gate.wait()
        self.listener.delta("So I look.")
        usage = Usage(input_tokens=1, output_tokens=1, cost=0.0)
        reasoning = "[b]first[/b] things\n" * self.length
        return Proposal("ls -la", "So I look.", response="raw", usage=usage, reasoning=reasoning)


async def test_reasoning_is_shown_apart_from_thought_and_action(tmp_path: Path) -> None:
    agent = Thinker()
    async with opened(tmp_path, agent, (120, 40)) as on:
        await on.shows("[b]first[/b] things")
        assert HEADING in on.text and "being written" in on.text
        agent.gate.set()
        await on.review(1)
        await on.shows("$ ls -la")
        await on.shows("│ [b]first[/b] things")
        text = on.text
        assert text.index("So I look.") < text.index("$ ls -la") < text.index(HEADING), "the action comes first"
        on.runner.controls.edit("ls", told=True)
        await on.until(lambda: "edited" in on.text and HEADING in on.text, "it stays below an edited action")


async def test_long_reasoning_leaves_the_action_in_view(tmp_path: Path) -> None:
    agent = Thinker(10_000)
    agent.gate.set()
    async with opened(tmp_path, agent, (80, 24)) as on:
        await on.review(1)
        await on.shows("$ ls -la")
        assert on.state.steps[1].answer.reasoning.count("things") == 10_000
