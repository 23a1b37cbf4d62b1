#!/bin/sh
# Textual 8.2.8: when a screen is left, its parts go first, and only then is the work that it began (`run_worker`) broken
# off. Work that goes on in between finds no part any more: `query_one` raises NoMatches, and the whole app ends with
# exit code 1, though the app runs on and nobody sees that screen. `worker.node.is_running` is already false, by which
# it can be told apart.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check textual==8.2.8
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
from importlib.metadata import version

from textual.app import App
from textual.screen import Screen
from textual.widgets import Static

seen = []


class Other(Static):
    """Takes until the screen's work has ended to go: any part that has something to close does so for a moment."""

    async def on_unmount(self):
        while self.screen.query("#part"):
            await asyncio.sleep(0)
        self.screen.leaving.set()
        await asyncio.sleep(0.1)


class Page(Screen):
    def compose(self):
        yield Static(id="part")
        yield Other()

    def on_mount(self):
        self.leaving = asyncio.Event()
        self.worker = self.run_worker(self.work())

    async def work(self):
        await self.leaving.wait()
        seen.append(f"app running: {self.app.is_running}, screen running: {self.worker.node.is_running}")
        self.query_one("#part")


async def main() -> None:
    app = App()
    try:
        async with app.run_test() as pilot:
            await app.push_screen(Page())
            app.pop_screen()
            await pilot.pause(0.2)
    except Exception as error:
        seen.append(f"{type(error).__name__}: {type(error.error).__name__}")
    seen.append(f"exit code {app.return_code}")
    print("Textual", version("textual"), *seen, sep="\n")
    assert seen == ["app running: True, screen running: False", "WorkerFailed: NoMatches", "exit code 1"], "changed"


asyncio.run(main())
PYTHON
