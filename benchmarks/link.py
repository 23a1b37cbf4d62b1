"""Bytes that the workbench sends to a terminal: over a slow link, each is waited for."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import shutil
import struct
import subprocess
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.rows import Row, absolute

if TYPE_CHECKING:
    from benchmarks.builds import Build

_PATIENCE = 60.0
_QUIET = 0.8
"""Seconds without a byte after which nothing more comes of a key."""
_RESTS = 10.0
_STEPS = 20
LIMITS = {
    "replay: first frame": 7500,
    "replay: a step back": 3100,
    "replay: another pane": 6600,
    "live: a step": 8400,
    "live: a letter typed in the shell": 150,
    "live: ten seconds in the shell": 740,
}
"""At most half of what 7c1a0ae sent, which painted whole widgets."""


class Terminal:
    """A terminal of 80x24 without colours and mouse, at which a build runs, and which counts what it is sent."""

    def __init__(self, build: Build, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        ends: dict[str, object] = {"stdin": slave, "stdout": slave, "stderr": slave}
        self.process = build.start(*arguments, variables={"NO_COLOR": "1"}, start_new_session=True, **ends)
        os.close(slave)

    def read(self, seconds: float) -> bytes:
        """What comes within that time; nothing at its end."""
        ready, _, _ = select.select([self._master], [], [], seconds)
        with contextlib.suppress(OSError):
            return os.read(self._master, 65536) if ready else b""
        return b""

    def until(self, text: bytes) -> int:
        """Bytes up to where a text has come, and what follows at once."""
        seen = b""
        while text not in seen:
            piece = self.read(_PATIENCE)
            assert piece, f"never shown: {text!r}; {seen[-500:]!r}"
            seen += piece
        return len(seen) + self.settled()

    def settled(self, quiet: float = _QUIET) -> int:
        """Bytes until it is quiet, or ticks only."""
        count, end = 0, time.monotonic() + 5
        while time.monotonic() < end and (piece := self.read(quiet)):
            count += len(piece)
        return count

    def rest(self) -> int:
        """Bytes while nobody does anything."""
        count, end = 0, time.monotonic() + _RESTS
        while (left := end - time.monotonic()) > 0:
            count += len(self.read(left))
        return count

    def press(self, key: str, quiet: float = _QUIET) -> int:
        """Bytes for a key."""
        os.write(self._master, key.encode())
        return self.settled(quiet)

    def close(self) -> None:
        """End the build, and whatever it runs."""
        self.process.terminate()
        end = time.monotonic() + _PATIENCE
        while self.process.poll() is None and time.monotonic() < end:
            self.read(0.1)
        self.process.kill()
        self.process.wait()
        os.close(self._master)


@contextlib.contextmanager
def at_terminal(build: Build, *arguments: str) -> Iterator[Terminal]:
    terminal = Terminal(build, *arguments)
    try:
        yield terminal
    finally:
        terminal.close()


def bytes_sent(build: Build) -> dict[str, int]:
    """What was done → bytes."""
    plan = build.home / "lines.json"
    plan.write_text(json.dumps([f"echo painted {number}; ls /usr | head -{number}" for number in range(_STEPS)]))
    options = ["--model", f"replay:{plan}", "--headless", "--max-steps", str(_STEPS)]
    build.start("run", "battleOfSexes", *options, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).wait()
    found = {}
    with at_terminal(build, "replay", "last") as terminal:
        found["replay: first frame"] = terminal.until(b"painted")
        terminal.press("h")
        found["replay: a step back"] = terminal.press("h")
        found["replay: another pane"] = terminal.press("\t")
    with at_terminal(build, "run", "battleOfSexes", "--step") as terminal:
        terminal.until(b"open strategy.py")
        found["live: a step"] = terminal.press("\r")
        terminal.press("t")
        terminal.settled()
        found["live: a letter typed in the shell"] = sum(terminal.press(key, 0.3) for key in "echo hello") // 10
        terminal.press("\r")
        found["live: ten seconds in the shell"] = terminal.rest()
    return found


def link() -> list[Row]:
    """The rows for this build."""
    from benchmarks.builds import ROOT, Build

    home = Path(tempfile.mkdtemp(prefix="mlgym-link-"))
    try:
        found = bytes_sent(Build("this", ROOT, home))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return [absolute(what, count, LIMITS[what], "bytes") for what, count in found.items()]
