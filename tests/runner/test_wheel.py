"""One view drives a session at a time, and hands it over."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.runner.rig import Driven, ListAgent, driven
from tests.runner.test_socket import offered, place
from workbench.session import commands as do
from workbench.session import events as ev
from workbench.session.commands import Outcome
from workbench.session.socket import RemoteSession
from workbench.session.status import LiveStatus

__all__ = ["place"]  # a fixture


def asked(session: Driven, view: str) -> asyncio.Task[Outcome]:
    return asyncio.ensure_future(session.runner.wheel.do(view, do.Drive()))


async def test_only_the_driver_is_obeyed_and_the_others_are_told_who_that_is(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["echo 1", "echo 2"]), mode="step", interactive=True) as session:
        wheel = session.runner.wheel
        first, second = wheel.join("terminal", drives=True), wheel.join("terminal", drives=True)
        assert (first, second, session.runner.status.driver) == ("terminal 1", "terminal 2", "terminal 1")
        await session.review(1)
        refused = wheel.do_now(second, do.RunProposal())
        assert refused == Outcome(done=False, problem="terminal 1 drives this session")
        assert wheel.do_now(first, do.RunProposal()).done
        await session.review(2)
        wheel.leave(first)
        assert session.runner.status.driver == ""
        assert "nobody drives" in wheel.do_now(second, do.RunProposal()).problem
        assert (await wheel.do(second, do.Drive())).done
        assert wheel.do_now(second, do.RunProposal()).done


async def test_the_wheel_changes_hands_when_its_driver_says_so_or_says_nothing(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["echo 1"]), mode="step", interactive=True) as session:
        wheel = session.runner.wheel
        first, second, third = (wheel.join(kind, drives=True) for kind in ("terminal", "browser", "browser"))
        asking = asked(session, second)
        await session.until(lambda: session.runner.status.asks == second, "the driver is told")
        assert "has asked before" in (await wheel.do(third, do.Drive())).problem
        wheel.do_now(first, do.LetDrive(yes=True))
        assert (await asking).done and (session.runner.status.driver, session.runner.status.asks) == (second, "")
        wheel.patience = 0.01
        assert (await wheel.do(first, do.Drive())).done  # nothing was heard of the other one
        assert session.runner.status.driver == first


async def test_a_driver_who_says_no_or_is_typing_keeps_the_wheel(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["echo 1"]), mode="human", interactive=True) as session:
        wheel = session.runner.wheel
        first, second = wheel.join("terminal", drives=True), wheel.join("terminal", drives=True)
        await session.phase("human")
        asking = asked(session, second)
        await session.until(lambda: session.runner.status.asks, "the driver is told")
        wheel.do_now(first, do.LetDrive(yes=False))
        assert (await asking).problem == "terminal 1 keeps the wheel"
        wheel.patience = 0.05
        asking = asked(session, second)
        await asyncio.sleep(0)  # the time to answer begins, and cannot be over before something else is awaited
        assert session.runner.status.asks == second
        wheel.do_now(first, do.SendKeys(b"l"))
        assert "is at work" in (await asking).problem
        assert session.runner.status.driver == first


async def test_a_driver_that_is_gone_loses_the_wheel_at_once_and_a_dead_asker_gets_nothing(
    tmp_path: Path, place: Path
) -> None:
    async with driven(tmp_path, ListAgent(["echo 1"]), mode="step", interactive=True) as session:
        server = await offered(session, place)
        await session.review(1)
        session.runner.wheel.patience = 60.0

        def status() -> LiveStatus:
            return session.runner.status

        first = await RemoteSession.connect(place, "terminal", drives=True)
        await session.until(lambda: status().driver == "terminal 1", "it drives")
        second, third = [await RemoteSession.connect(place, "browser", drives=True) for _ in range(2)]
        await session.until(lambda: status().views == 3 and second.name, "three views")
        dying = asyncio.ensure_future(second.do(do.Drive()))
        await session.until(lambda: status().asks, "one asks")
        await second.close()
        await session.until(lambda: not status().asks and status().views == 2, "it has gone")
        assert status().driver == "terminal 1" and dying.exception() is not None
        asking = asyncio.ensure_future(third.do(do.Drive()))
        await session.until(lambda: status().asks, "another asks")
        await first.close()
        assert (await asking).done and status().driver == third.name
        await third.close()
        await session.until(lambda: status().driver == "" and status().views == 0, "nobody is there")
        assert status().phase == "review"  # the session does not mind
        await server.stop()


async def test_the_clock_stands_still_while_nobody_has_the_shell_that_was_taken_over(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["echo 1"]), mode="human", interactive=True) as session:
        wheel, clock = session.runner.wheel, session.runner.live.clock
        first = wheel.join("terminal", drives=True)
        await session.phase("human")
        wheel.leave(first)
        assert clock.paused and session.events(ev.ClockPaused)[-1].reason == "nobody drives"
        assert session.state.mode == "human"
        wheel.join("terminal", drives=True)
        assert not clock.paused and session.events(ev.ClockResumed)


async def test_the_view_in_the_sessions_own_process_may_stop_it_whoever_drives(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["echo 1"]), mode="step", interactive=True) as session:
        wheel = session.runner.wheel
        own, other = wheel.join("terminal", drives=True, owner=True), wheel.join("terminal")
        await session.review(1)
        asking = asked(session, other)
        await session.until(lambda: session.runner.status.asks, "one asks")
        wheel.do_now(own, do.LetDrive(yes=True))
        await asking
        assert not wheel.do_now(own, do.RunProposal()).done
        assert wheel.do_now(own, do.Stop("stopped", "its window was closed")).done
        assert (await session.ended()).reason == "its window was closed"
