"""A view of a session in a process of its own: knows the socket and `workbench.session`, and nothing else.

Drives the session over that socket: edits the first proposal, runs it, rejects the second, tells the agent something,
takes the shell over, types a command, hands it back, and lets the agent go on. Prints what it saw as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path

from workbench.session import commands as do
from workbench.session.bus import Message, ShellOutput
from workbench.session.commands import Command
from workbench.session.events import encode
from workbench.session.socket import RemoteSession


async def drive(path: Path) -> None:
    session = await RemoteSession.connect(path, drives=True)
    news = asyncio.Event()
    printed = bytearray()
    phases: list[str] = []

    def hear(message: Message) -> None:
        if isinstance(message, ShellOutput):
            printed.extend(message.data)
        if not phases or phases[-1] != session.status.phase:
            phases.append(session.status.phase)
        news.set()

    session.bus.subscribe(hear)

    async def until(seen: Callable[[], object]) -> None:
        while not seen():
            news.clear()
            await news.wait()

    async def ask(command: Command) -> None:
        outcome = await session.do(command)
        assert outcome.done, (command, outcome)

    state = session.state
    async with asyncio.timeout(50):
        await until(lambda: session.status.phase == "review" and state.last_step == 1)
        await ask(do.Edit("echo edited"))
        await ask(do.RunProposal())
        await until(lambda: session.status.phase == "review" and state.last_step == 2)
        await ask(do.Tell("mind the gap"))
        await ask(do.Reject("not that"))
        await until(lambda: session.status.phase == "review" and state.last_step == 3)
        refused = await session.do(do.Resample(count=99))
        assert not refused.done and "from 1 to 20" in refused.problem
        await ask(do.TakeOver(columns=90, rows=30))
        await until(lambda: session.status.phase == "human")
        await ask(do.SendKeys(b"echo from-afar\r"))
        await until(lambda: "from-afar" in state.current.observation)
        await ask(do.HandBack())
        await until(lambda: session.status.phase == "review")
        await ask(do.Continue())
        await until(lambda: state.ended is not None)
        await session.over()
    seen = {
        "imported": sorted(name for name in sys.modules if name.startswith("workbench.") and name.count(".") == 1),
        "phases": phases,
        "printed": "from-afar" in printed.decode(),
        "ended": encode(state.ended).decode() if state.ended is not None else "",
        "steps": [[step.status, step.author, step.action] for step in state.steps[1:]],
    }
    print(json.dumps(seen))


asyncio.run(drive(Path(sys.argv[1])))
