"""The same screens in a browser: who comes in, what they may do, and that nothing that ends there ends the session.

Slow: each view is a process with the whole screen, and Chromium another.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.cli.browser import browser, needs_chromium
from tests.cli.command import finish, start
from tests.cli.processes import commands, descendants
from tests.library.runs import own
from tests.runner.rig import Driven, ListAgent, driven, wait_for
from tests.runner.test_socket import offered
from workbench.cli.browsers import Browsers, view_command
from workbench.session.socket import socket_of


@pytest.fixture(autouse=True)
def short_state(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Paths of sockets must be short."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("s")))


@contextlib.asynccontextmanager
async def served(tmp_path: Path, how: str) -> AsyncIterator[tuple[Driven, str, Browsers]]:
    """A session that waits at its first proposal, and the address of a server that shows it."""
    async with driven(tmp_path, ListAgent(["echo one", "echo two"]), mode="step", interactive=True) as session:
        await session.review(1)
        offer = await offered(session, socket_of(session.folder))
        browsers = Browsers(view_command(how, tmp_path, [session.folder]))
        port = await browsers.start(0)
        try:
            yield session, f"http://127.0.0.1:{port}/", browsers
        finally:
            await browsers.stop()
            await offer.stop()


@needs_chromium
async def test_a_browser_looks_on_and_its_end_is_no_end_of_the_session(tmp_path: Path) -> None:
    async with served(tmp_path, "watch") as (session, address, browsers), browser() as chromium:
        page = await chromium.open(f"{address}#{browsers.token}")
        await page.shows("$ echo one")
        await page.shows("a decision is awaited")
        assert await page.evaluate("location.href") == address, "the token is not in the address bar"
        await page.press("s", "A", "B")
        await page.shows("only be looked at")
        assert session.state.current.status == "proposed"
        session.runner.controls.step()
        await page.shows("$ echo two")
        assert page.complaints == []
        chromium.process.kill()
        await session.until(lambda: session.runner.status.views == 0, "the view has ended")
        assert session.runner.status.phase == "review"


@needs_chromium
async def test_two_browsers_hand_the_wheel_over(tmp_path: Path) -> None:
    async with served(tmp_path, "drive") as (session, address, browsers), browser() as chromium:
        session.runner.wheel.patience = 60.0  # until the driver answers, however slow the machine
        first = await chromium.open(f"{address}#{browsers.token}")
        await first.shows("your decision")
        second = await chromium.open(f"{address}#{browsers.token}")
        await second.shows("browser 1 drives")
        await second.press("s")
        await second.shows("D asks for the wheel")
        await second.press("D")
        await first.shows("browser 2 asks for the wheel")
        await first.press("D")
        await first.shows("Hand the wheel over?")
        await first.press("y")
        await second.shows("your decision")
        await second.press("s")
        await session.review(2)
        await first.shows("browser 2 drives")


@needs_chromium
async def test_a_wrong_token_and_the_end_of_the_server_are_said_in_the_page(tmp_path: Path) -> None:
    async with served(tmp_path, "watch") as (session, address, browsers), browser() as chromium:
        wrong = await chromium.open(f"{address}#wrong")
        await wrong.says("of another `mlgym-tui serve`")
        none = await chromium.open(address)
        await none.says("not complete")
        right = await chromium.open(f"{address}#{browsers.token}")
        await right.shows("$ echo one")
        await browsers.stop()
        await right.says("has ended. The session is not concerned")
        await session.until(lambda: session.runner.status.views == 0, "the view has ended")


async def test_nobody_comes_in_from_elsewhere(tmp_path: Path) -> None:
    async with served(tmp_path, "watch") as (session, address, browsers), aiohttp.ClientSession() as client:
        here, host = address.rstrip("/"), address.split("/")[2]

        async def status(path: str, **headers: str) -> int:
            asked = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", **headers}
            async with client.get(
                here + path, headers={**asked, "Sec-WebSocket-Key": "MTIzNDU2Nzg5MDEyMzQ1Ng=="}
            ) as got:
                return int(got.status)

        view = f"/view/{browsers.token}"
        assert await status(view) == 403, "no page asks"
        assert await status(view, Origin="http://evil.example") == 403
        assert await status(view, Origin="http://127.0.0.1:1") == 403, "another server of this machine"
        assert await status(view, Host="evil.example", Origin="http://evil.example") == 403, "DNS rebinding"
        assert await status(f"/view/{browsers.token[:-1]}", Origin=here) == 403
        assert await status("/view/%00%ff", Origin=here) == 403
        assert await status("/", Host="evil.example") == 403
        assert await status("/", Host="[") in (400, 403)
        assert await status("/", Host=host) == 200
        for outside in (
            "/page/../served.py",
            "/page/%2e%2e/served.py",
            "/static/%2e%2e/server.py",
            "/page//etc/passwd",
        ):
            assert await status(outside) in (403, 404)
        assert session.runner.status.views == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
async def test_the_end_of_the_server_is_the_end_of_its_views(tmp_path: Path, number: signal.Signals) -> None:
    stored = own(tmp_path / "sessions", "20260105-101500-go-0c77d5")
    server = await start("serve", str(stored), "--json", sessions=tmp_path / "sessions")
    assert server.stdout is not None
    said = json.loads(await server.stdout.readline())
    address, _, token = said["address"].partition("#")
    async with aiohttp.ClientSession() as client:
        origin = address.rstrip("/")
        async with client.ws_connect(f"{address}view/{token}?width=80&height=24", origin=origin) as view:
            await view.receive_bytes()
            views = [pid for pid in descendants(server.pid) if "served watch" in " ".join(commands([pid]))]
            assert len(views) == 1
            await view.send_str("no JSON")  # which ends this view, and nothing else
            await wait_for(lambda: not commands(views), "its end")
        async with client.ws_connect(f"{address}view/{token}?width=80&height=24", origin=origin) as view:
            await view.receive_bytes()
            views = [pid for pid in descendants(server.pid) if "served watch" in " ".join(commands([pid]))]
            os.kill(server.pid, number)
            ended = await finish(server)
            await wait_for(lambda: not commands(views), "the end of its view")
    if number == signal.SIGINT:
        assert ended.code == 130 and "Traceback" not in ended.err, ended
