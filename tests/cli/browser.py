"""A real browser, without a window: what a page of ours shows in its terminal, and what is typed there."""

from __future__ import annotations

import asyncio
import base64
import codecs
import contextlib
import json
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from tests.runner.rig import wait_for
from workbench.tui.terminal.bittty_engine import BitttyEngine

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")


class Page:
    """One page of a browser. Its terminal is known by what came and went over its WebSocket."""

    def __init__(self, devtools: aiohttp.ClientWebSocketResponse) -> None:
        self._devtools = devtools
        self._number = 0
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._screen: BitttyEngine | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.complaints: list[str] = []
        """What the page wrote to its console, and refused."""
        self._reading = asyncio.ensure_future(self._read())

    async def ask(self, method: str, **parameters: Any) -> Any:
        """A command of the DevTools protocol, and its result."""
        self._number += 1
        answer = self._answers[self._number] = asyncio.get_running_loop().create_future()
        await self._devtools.send_json({"id": self._number, "method": method, "params": parameters})
        async with asyncio.timeout(50):
            return await answer

    async def open(self, address: str) -> None:
        for domain in ("Network", "Page", "Runtime", "Log"):
            await self.ask(f"{domain}.enable")
        await self.ask("Page.navigate", url=address)

    async def evaluate(self, script: str) -> Any:
        return (await self.ask("Runtime.evaluate", expression=script, returnByValue=True))["result"].get("value")

    async def press(self, *keys: str) -> None:
        """Single characters, typed."""
        for key in keys:
            await self.ask("Input.dispatchKeyEvent", type="keyDown", text=key, key=key)
            await self.ask("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def shows(self, text: str) -> None:
        """Until the terminal in the page shows it."""
        try:
            await wait_for(lambda: text in self.text, f"in the browser: {text}", 50)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text}\n{self.complaints}") from None

    async def says(self, text: str) -> None:
        """Until the line below the terminal says it."""
        async with asyncio.timeout(50):
            while text not in (await self.evaluate("document.getElementById('said')?.textContent") or ""):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    @property
    def text(self) -> str:
        return self._screen.plain_text() if self._screen is not None else ""

    async def _read(self) -> None:
        async for message in self._devtools:
            got = message.json()
            if "id" in got:
                self._answers.pop(got["id"]).set_result(got.get("result"))
            else:
                self._heard(got["method"], got["params"])

    def _heard(self, method: str, given: dict[str, Any]) -> None:
        if method == "Network.webSocketCreated":
            size = parse_qs(urlsplit(given["url"]).query)
            self._screen = BitttyEngine(int(size["width"][0]), int(size["height"][0]))
        elif method == "Network.webSocketFrameReceived" and self._screen and given["response"]["opcode"] == 2:
            self._screen.feed(self._decoder.decode(base64.b64decode(given["response"]["payloadData"])))
        elif method == "Network.webSocketFrameSent" and self._screen:
            kind, size = [*json.loads(given["response"]["payloadData"]), None][:2]
            if kind == "resize":
                self._screen.resize(size["width"], size["height"])
        elif method == "Log.entryAdded" and given["entry"]["level"] == "error":
            self.complaints.append(given["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(given["exceptionDetails"]))

    async def close(self) -> None:
        self._reading.cancel()
        await self._devtools.close()


class Browser:
    """Chromium, as one process with what it starts."""

    def __init__(self, process: asyncio.subprocess.Process, client: aiohttp.ClientSession, port: int) -> None:
        self.process, self._client, self._port = process, client, port
        self._pages: list[Page] = []

    async def open(self, address: str) -> Page:
        """The address, in a page of its own."""
        async with self._client.put(f"http://127.0.0.1:{self._port}/json/new?about:blank") as answer:
            target = await answer.json()
        page = Page(await self._client.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0))
        self._pages.append(page)
        await page.open(address)
        return page

    async def close(self) -> None:
        for page in self._pages:
            await page.close()


@contextlib.asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """A browser, which is ended when the test is over."""
    with tempfile.TemporaryDirectory(prefix="mlgym-browser-", ignore_cleanup_errors=True) as folder:
        process = await asyncio.create_subprocess_exec(
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--window-size=1200,800", "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            found = Path(folder) / "DevToolsActivePort"
            await wait_for(lambda: found.exists() and found.read_text().strip(), "the browser", 50)
            async with aiohttp.ClientSession() as client:
                made = Browser(process, client, int(found.read_text().split()[0]))
                try:
                    yield made
                finally:
                    await made.close()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            await process.wait()
