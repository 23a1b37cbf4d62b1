#!/bin/sh
# Textual 8.2.8: a screen that is pushed just before the app ends is mounted without what its containers hold, though
# `on_mount` otherwise finds all that `compose` made. `query_one` in `on_mount` then raises NoMatches, and the app ends
# with exit code 1, as if the screen were at fault. `app.is_running` is already false, by which it can be told apart.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check textual==8.2.8
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
from importlib.metadata import version

from textual.app import App
from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import Static

seen = []


class Page(Screen):
    def compose(self):
        with Vertical(id="outer"):
            yield Static("text", id="inner")

    def on_mount(self):
        found = [widget.id for widget in self.query("#outer, #inner")]
        seen.append(f"app running: {self.app.is_running}, found: {found}")


async def main() -> None:
    for pause in (True, False):
        async with App().run_test() as pilot:
            pilot.app.push_screen(Page())
            if pause:
                await pilot.pause()
    print("Textual", version("textual"), *seen, sep="\n")
    assert seen == [
        "app running: True, found: ['outer', 'inner']",
        "app running: False, found: ['outer']",
    ], "changed: both screens are mounted alike"


asyncio.run(main())
PYTHON
