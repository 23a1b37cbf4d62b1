#!/bin/sh
# Textual 8.2.8: `set_timer` may never call back. A timer leaves out the ticks that are late when it begins; where the
# process is held up for longer than the delay between its first two looks at the clock (a loaded machine, a delay of a
# millisecond), that is the only tick that it has. Nothing says so. `loop.call_later(delay, self.call_next, callback)` is
# always called.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check textual==8.2.8
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
from importlib.metadata import version
from time import monotonic
from types import SimpleNamespace

from textual import timer
from textual.app import App

asked = []


def held_up() -> float:
    """The clock, of a process that loses ten milliseconds after its first look."""
    asked.append(monotonic())
    return asked[-1] + (0.010 if len(asked) > 1 else 0.0)


async def main() -> None:
    called = []
    app = App()
    async with app.run_test() as pilot:
        timer._time = SimpleNamespace(get_time=held_up)
        app.set_timer(0.001, lambda: called.append("set_timer"))
        asyncio.get_running_loop().call_later(0.001, app.call_next, lambda: called.append("call_later"))
        await pilot.pause(0.5)
    print("Textual", version("textual"), "called:", called)
    assert called == ["call_later"], "changed: the late timer is called"


asyncio.run(main())
PYTHON
