"""A session that another process drives, seen and driven over its socket."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.runner.rig import ListAgent, driven
from tests.runner.test_socket import offered
from tests.tui.support import screen_text, wait_for
from tests.tui.test_workbench import opened
from workbench.session import commands as do
from workbench.session.socket import SessionServer, socket_of
from workbench.tui.app import WorkbenchApp
from workbench.tui.source import AttachedSource


@pytest.fixture(autouse=True)
def short_state(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Paths of sockets must be short."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("s")))


async def test_two_terminals_drive_one_session_and_leaving_changes_nothing(tmp_path: Path) -> None:
    async with driven(
        tmp_path, ListAgent(["echo one", "echo two", "submit"]), mode="step", interactive=True
    ) as session:
        await session.review(1)
        server = await offered(session, socket_of(session.folder))
        app = WorkbenchApp(AttachedSource(session.folder), theme="mlgym-dark")
        async with app.run_test(size=(100, 30)) as pilot:
            await wait_for(pilot, lambda: "your decision" in screen_text(app), "the proposal")
            await pilot.press("s")
            await session.review(2)
            await wait_for(pilot, lambda: "$ echo two" in screen_text(app), "the next proposal")
            session.runner.controls.step()  # the other terminal
            await session.review(3)
            await wait_for(pilot, lambda: "$ submit" in screen_text(app), "what the other did")
            await pilot.press("q")
        assert app.return_value is None and not session.running.done()
        session.runner.controls.continue_()
        assert (await session.ended()).exit_status == "submitted"
        await server.stop()


async def test_the_wheel_is_asked_for_and_handed_over_on_the_screens(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one", "echo two"], (100, 30)) as on:
        await on.review(1)
        runner = on.runner
        runner.wheel.patience = 60.0  # until the driver says something, however slow the machine
        server = SessionServer(runner.live.folder, runner.live.bus, on.state, lambda: runner.status, runner.wheel)
        await server.start(socket_of(runner.live.folder))
        other = WorkbenchApp(AttachedSource(runner.live.folder), theme="mlgym-dark")
        async with other.run_test(size=(100, 30)) as pilot:
            await wait_for(pilot, lambda: "terminal 1 drives" in screen_text(other), "who drives")
            assert "your decision" not in screen_text(other)
            await pilot.press("s")
            await wait_for(pilot, lambda: "D asks for the wheel" in screen_text(other), "why not")
            await on.shows("you drive, 1 looks on")
            await pilot.press("D")
            await on.shows("terminal 2 asks for the wheel")
            await on.press("D")
            await on.shows("Hand the wheel over?")
            await on.press("y")
            await wait_for(pilot, lambda: "your decision" in screen_text(other), "the wheel")
            await on.shows("terminal 2 drives")
            await pilot.press("s")
            await on.review(2)
            await pilot.press("q")
        await on.shows("nobody drives (D takes the wheel)")
        await on.press("D")
        await on.shows("your decision")
        await server.stop()


@pytest.mark.parametrize("passes", [True, False], ids=["the wheel passes", "the asker goes"])
async def test_the_dialog_about_the_wheel_ends_with_what_it_asks(tmp_path: Path, passes: bool) -> None:
    async with opened(tmp_path, ["echo one", "echo two"], (100, 30)) as on:
        await on.review(1)
        wheel = on.runner.wheel
        wheel.patience = 60.0  # until the test ends it, however slow the machine
        asking = asyncio.ensure_future(wheel.do(wheel.join("browser"), do.Drive()))
        await on.shows("browser 1 asks for the wheel")
        await on.press("D")
        await on.shows("Hand the wheel over?")
        if passes:
            wheel.do_now("terminal 1", do.LetDrive(True))  # as when its patience is at an end
        else:
            asking.cancel()
        await on.shows("browser 1 drives now" if passes else "browser 1 waits no longer: you drive")
        assert "Hand the wheel over?" not in on.text
        await on.press("s")
        if passes:
            await on.shows("browser 1 drives: ")
        else:
            await on.review(2)


async def test_who_only_looks_changes_nothing(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["echo one", "submit"]), mode="step", interactive=True) as session:
        await session.review(1)
        server = await offered(session, socket_of(session.folder))
        app = WorkbenchApp(AttachedSource(session.folder, look_only=True), theme="mlgym-dark")
        async with app.run_test(size=(100, 30)) as pilot:
            await wait_for(pilot, lambda: "$ echo one" in screen_text(app), "the proposal")
            await wait_for(pilot, lambda: "a decision is awaited" in screen_text(app), "what it does")
            assert "enter run" not in screen_text(app)
            await pilot.press("s")
            await wait_for(pilot, lambda: "another process drives" in screen_text(app), "why not")
            assert session.state.last_step == 1 and session.state.current.status == "proposed"
            session.runner.controls.continue_()
            await session.ended()
            await server.stop()
            await wait_for(pilot, lambda: "submitted" in screen_text(app), "the end")
