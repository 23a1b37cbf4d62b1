"""What the app asks of the terminal, and of the shell that it was started from: to copy, call the person, stop.

Nothing here is set off by what an agent prints: copying takes a key, and what is said is the app's own words.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.app import App

from workbench.session.files import write_whole
from workbench.session.secrets import state_folder
from workbench.session.state import SessionState
from workbench.session.status import LiveStatus
from workbench.tui.actions import keyed
from workbench.tui.text import one_line

_OSC_LIMIT = 74_000
"""Characters that terminals take by OSC 52."""
_TMUX_SECONDS = 2.0
AWAY_SECONDS = 10.0
"""Without a key for so long, a person may have gone to do something else."""
_LOOK_SECONDS = 0.05


def awaits(status: LiveStatus, state: SessionState) -> str:
    """What a session waits for a person to do, in a few words; empty while it works by itself or the person does."""
    if status.phase == "ended":
        return f"is over: {state.ended.exit_status}" if state.ended is not None else "is over"
    if status.question:
        return "asks you something"
    if status.phase == "waiting":
        return "stopped, and waits for you"
    if status.phase == "review" and (state.mode != "auto" or status.asking):
        return f"waits for your decision on step {state.last_step}"
    return ""


class Outside:
    """What lies around the app."""

    def __init__(
        self,
        app: App[Any],
        notify: str,
        *,
        say: Callable[[str, float], None],
        pause: Callable[[], Callable[[], bool] | None],
        forget: Callable[[], None],
    ) -> None:
        """`notify`: `never`, `bell` or `desktop`. `say` tells the person something for some seconds. `pause` asks the
        session that runs in this process, if one does, to stand still, and gives a function that tells whether it does.
        `forget` drops keys that wait.
        """
        self._app, self._notify = app, notify
        self._say, self._pause, self._forget = say, pause, forget
        self._awaited = ""
        self.last_key = time.monotonic()
        self._suspending = False

    # -- calling the person ------------------------------------------------------------------------------------------

    def heed(self, status: LiveStatus | None, state: SessionState) -> None:
        """Call a person who seems to be away when the session begins to wait for them."""
        before, self._awaited = self._awaited, awaits(status, state) if status is not None else ""
        if self._awaited and self._awaited != before:
            self._call(f"{state.started.task if state.started is not None else 'the session'} {self._awaited}")

    def _call(self, text: str) -> None:
        if self._notify == "never" or time.monotonic() - self.last_key < AWAY_SECONDS:
            return
        self._app.bell()
        if self._notify == "desktop":
            said = one_line(text, 120)
            iterm = os.environ.get("TERM_PROGRAM") == "iTerm.app"
            self._write(f"\x1b]9;mlgym-tui: {said}\x07" if iterm else f"\x1b]777;notify;mlgym-tui;{said}\x07")

    def _write(self, sequence: str) -> None:
        """To the terminal, through tmux (which lets it pass where `allow-passthrough` is on)."""
        if os.environ.get("TMUX"):
            sequence = "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
        if self._app._driver is not None:
            self._app._driver.write(sequence)

    # -- copying -----------------------------------------------------------------------------------------------------

    async def copy(self, text: str) -> None:
        """Put a text where it can be pasted from. Nobody knows if the terminal took it: a file has it, too."""
        self._app.copy_to_clipboard(text[:_OSC_LIMIT])
        cut = f"the first {_OSC_LIMIT:,} of " if len(text) > _OSC_LIMIT else ""
        try:
            where = await asyncio.to_thread(_keep, text)
        except OSError as error:
            where = f"no file: {error.strerror}"
        self._say(f"copied {cut}{len(text):,} characters to the terminal (OSC 52); all in {where}", 6.0)

    # -- stopping ----------------------------------------------------------------------------------------------------

    def suspend(self) -> None:
        """Give the terminal back to the shell, until `fg`. A session that runs here stands still: it pauses first."""
        driver = self._app._driver
        if driver is None or not driver.can_suspend or not _has_job_control():
            self._say("there is no shell to go back to: this terminal has only the workbench", 6.0)
            return
        stands = None if self._suspending else self._pause()
        if stands is None:
            self._stop()
        else:
            self._suspending = True
            self._say(keyed("pauses first; {app.suspend} again does not wait for what runs"), 3600)
            self._when(stands)

    def _when(self, stands: Callable[[], bool]) -> None:
        """Stop when the session stands still, unless that was done meanwhile."""
        if not self._suspending or not self._app.is_running:
            return
        if stands():
            self._stop()
        else:
            asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._app.call_next, self._when, stands)

    def _stop(self) -> None:
        if self._suspending:
            self._say(keyed("the session stood still meanwhile; {session.continue} goes on"), 6.0)
        self._suspending = False
        with self._app.suspend():
            _stop_the_job()
        self.last_key = time.monotonic()
        self._forget()


def _stop_the_job() -> None:
    """Stop all that the shell knows as this job (make, or a shell that started us, too), until it continues.

    Any thread may take SIGCONT, so its handler can run late. Textual's would then start the terminal a second time, and
    of two threads that read keys one waits for ever: so nobody hears of it but this function.
    """
    continued: list[int] = []
    before = signal.signal(signal.SIGCONT, lambda number, _: continued.append(number))
    try:
        os.killpg(0, signal.SIGSTOP)
        end = time.monotonic() + 1.0
        while not continued and time.monotonic() < end:
            time.sleep(0.001)
    finally:
        signal.signal(signal.SIGCONT, before)


def _keep(text: str) -> str:
    """Write a text to the user's own file, and to tmux's buffer where we are in tmux. Returns where it is."""
    file, data = state_folder() / "copied.txt", text.encode("utf-8", "replace")
    write_whole(file, data)
    if os.environ.get("TMUX"):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = ["tmux", "load-buffer", "-w", "-"]
            subprocess.run(command, input=data, check=True, timeout=_TMUX_SECONDS, capture_output=True)
            return f"tmux's buffer and {file}"
    return str(file)


def _has_job_control() -> bool:
    """Whether a shell started this job, and would have the terminal when it stops."""
    try:
        fields = Path(f"/proc/{os.getpgrp()}/stat").read_text().rpartition(")")[2].split()
        parent = int(fields[1])
        return os.getsid(parent) == os.getsid(0) and os.getpgid(parent) != os.getpgrp()
    except (OSError, ValueError, IndexError):
        return os.getsid(os.getppid()) == os.getsid(0) and os.getpgid(os.getppid()) != os.getpgrp()
