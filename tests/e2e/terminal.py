"""A real terminal for tests: the workbench in tmux, on a socket of its own."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
import uuid
from pathlib import Path

LONGEST = 30.0


class Tmux:
    """One tmux server with one window, in which one command runs. What it prints is read with `screen`."""

    def __init__(
        self, command: str, *, columns: int, rows: int, env: dict[str, str], cwd: Path, shell: str = ""
    ) -> None:
        """`shell`: an interactive one, which the command is typed into once its prompt `>` is there."""
        self._socket = f"mlgym-test-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.cwd = cwd
        # A clean environment: pytest sets COLUMNS and LINES, which would hide every resize.
        clean = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "LANG": "C.UTF-8", **env}
        settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in clean.items())
        script = f"env -i {settings} {command}; echo EXIT=$?; exec sleep 600"
        if shell:
            script = f"env -i {settings} PS1='> ' {shell}"
        self._tmux("new-session", "-d", "-x", str(columns), "-y", str(rows), "-s", "t", script)
        self._tmux("set-option", "-g", "window-size", "manual")
        if shell:
            self.wait_for(">")
            self.type(command)

    def _tmux(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            ["tmux", "-L", self._socket, "-f", "/dev/null", *arguments],
            capture_output=True,
            text=True,
            check=check,
            cwd=self.cwd,
            timeout=30,
        )
        return done.stdout

    def screen(self, *, colours: bool = False) -> str:
        """What the terminal shows."""
        return self._tmux("capture-pane", "-p", *(["-e"] if colours else []), "-t", "t")

    def press(self, *keys: str) -> None:
        """Keys by tmux's names (`Enter`, `C-]`, `a`)."""
        self._tmux("send-keys", "-t", "t", *keys)

    def type(self, text: str) -> None:
        """Text as it is."""
        self._tmux("send-keys", "-t", "t", "-l", text)

    def resize(self, columns: int, rows: int) -> None:
        self._tmux("resize-window", "-t", "t", "-x", str(columns), "-y", str(rows))

    def ask(self, what: str) -> str:
        """A format of tmux, such as `#{alternate_on}`."""
        return self._tmux("display-message", "-p", "-t", "t", what).strip()

    def wait_for(self, text: str | re.Pattern[str], *, seconds: float = LONGEST) -> str:
        """The screen, once `text` (a str, or a pattern for `re`) is on it."""
        pattern = re.compile(re.escape(text)) if isinstance(text, str) else text
        end = time.monotonic() + seconds
        while not pattern.search(screen := self.screen()):
            assert time.monotonic() < end, f"not on the screen after {seconds:g} s: {text!r}\n{screen}"
            time.sleep(0.05)
        return screen

    def wait_without(self, text: str, *, seconds: float = LONGEST) -> str:
        """The screen, once `text` is gone from it."""
        end = time.monotonic() + seconds
        while text in (screen := self.screen()):
            assert time.monotonic() < end, f"still on the screen after {seconds:g} s: {text!r}\n{screen}"
            time.sleep(0.05)
        return screen

    def close(self) -> None:
        self._tmux("kill-server", check=False)


def workbench_command(*arguments: str) -> str:
    """The command line of mlgym-tui with the interpreter that runs the tests."""
    return " ".join(shlex.quote(part) for part in (sys.executable, "-m", "workbench", *arguments))
