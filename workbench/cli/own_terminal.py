"""A person works in the sandbox's shell with no screen of ours around it: their own terminal, or their own tmux in it.

What they type goes to the shell, what it prints comes to the terminal. ctrl+] or `exit`, a question of the session, and
a pause interrupt that for a line of our own, which is answered by a word and enter.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import re
import signal
import termios
import tty
from collections.abc import Callable, Iterator
from typing import cast

from workbench.session import commands as do
from workbench.session import events as ev
from workbench.session.bus import Message, ShellOutput
from workbench.session.commands import Command
from workbench.session.log import LogError
from workbench.session.status import LiveStatus
from workbench.signals import on_signals
from workbench.text import visible
from workbench.tui.source import SessionSource

_LEAVE = re.compile(rb"\x1d|\x1b\[93;5u")
"""ctrl+], as terminals send it, and as they do where a program asked for the kitty keyboard protocol."""
_HIGH = 256 << 10
"""Bytes that wait for the terminal, from which on the shell is held back."""
_LONGEST_LINE, _MOST_AHEAD = 200, 1 << 20
_AS_BEFORE = b"\x1b[?1049l\x1b[?2004l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1l\x1b>\x1b[<u\x1b[?25h\x1b[0m"
"""Ends what programs in the shell may have left switched on: another screen, the mouse, pastes in brackets, …"""
_HOW = (
    ("validate", "scores your work as it is; nothing is handed in"),
    ("submit", "scores it, hands it in and ends the session"),
    ("ctrl+]", "pauses or leaves (exit does, too); the clock runs until then"),
)


class Harmless:
    """What a shell prints, without the sequences that hold a string: they set titles, clipboards and more than that."""

    _WHOLE = re.compile(rb"\xc2[\x80-\x9f]|\x1b[\]PX^_][^\x07\x18\x1a\x1b]*(?:\x07|\x18|\x1a|\x1b\\|(?=\x1b[^\\]))")
    _OPEN = re.compile(rb"(?:\xc2|\x1b(?:[\]PX^_][^\x07\x18\x1a\x1b]*\x1b?)?)\Z")

    def __init__(self) -> None:
        self._rest = b""

    def of(self, data: bytes) -> bytes:
        """The next piece; what may be the beginning of such a sequence waits for its end."""
        text = self._WHOLE.sub(b"", self._rest + data)
        begun = self._OPEN.search(text)
        self._rest = b"" if begun is None else begun[0]
        if len(self._rest) > _HIGH:
            self._rest = self._rest[:2]
        return text if begun is None else text[: begun.start()]


class OwnTerminal(asyncio.Protocol):
    """The terminal of this process over a session that runs here."""

    def __init__(self, source: SessionSource, terminal: str = "/dev/tty") -> None:
        self._source, self._path = source, terminal
        self._news = asyncio.Event()
        self._harmless = Harmless()
        self._keyboard = -1
        self._screen: asyncio.WriteTransport | None = None
        self._line: asyncio.Future[str] | None = None
        """What is typed in answer to us; else the shell has the keys."""
        self._typed = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._ahead = b""
        """What was typed, and nobody could take yet."""
        self._held = bytearray()
        """What the shell printed while we ask something."""
        self._wants_out = ""
        """What the person did to leave."""
        status = source.status
        self._told = ("", "", status.driver if status is not None else "")

    # -- the terminal ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _raw(self) -> Iterator[None]:
        """The terminal is ours, key by key. Opened anew: what is set for these does not stay with other programs."""
        self._keyboard = os.open(self._path, os.O_RDONLY | os.O_NOCTTY)
        before = termios.tcgetattr(self._keyboard)
        loop = asyncio.get_running_loop()
        tty.setraw(self._keyboard)
        loop.add_reader(self._keyboard, self._read)
        loop.add_signal_handler(signal.SIGWINCH, self._resized)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGWINCH)
            loop.remove_reader(self._keyboard)
            with contextlib.suppress(termios.error, OSError):  # it has gone
                termios.tcsetattr(self._keyboard, termios.TCSADRAIN, before)
            os.close(self._keyboard)

    def pause_writing(self) -> None:
        """The terminal does not keep up."""
        self._send(do.HoldOutput(True))

    def resume_writing(self) -> None:
        """It does again."""
        self._send(do.HoldOutput(False))

    def connection_lost(self, exc: Exception | None) -> None:
        """The terminal has gone; the session is saved."""
        if exc is not None:
            self._stop("its terminal has gone")

    def _write(self, data: bytes) -> None:
        if self._screen is not None and not self._screen.is_closing():
            self._screen.write(data)

    def _say(self, text: str) -> None:
        """A line of ours, among what the shell prints."""
        self._write(f"\r\n\x1b[7m[mlgym-tui]\x1b[0m {visible(text)}\r\n".encode("utf-8", "replace"))

    def _resized(self) -> None:
        with contextlib.suppress(OSError):
            columns, rows = os.get_terminal_size(self._keyboard)
            self._send(do.Resize(columns, rows))

    def _read(self) -> None:
        try:
            data = os.read(self._keyboard, 1 << 16)
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._keyboard)
            self._stop("its terminal has gone")
        elif self._line is not None:
            self._edit(data)
        else:
            keys, *after = _LEAVE.split(data, 1)
            self._ahead = (self._ahead + keys)[:_MOST_AHEAD]
            if after:
                self._wants_out = "ctrl+]"
            self._news.set()
            self._pass_on()

    def _pass_on(self) -> None:
        """What was typed goes to the shell, as soon as that is there for it."""
        status, keys = self._source.status, self._ahead
        if not keys or status is None:
            return
        if not self._source.drives:
            self._ahead = b""
            self._say("you do not drive: ctrl+] asks for the wheel")
        elif status.phase == "human" and self._line is None and not status.question:
            self._ahead = b""
            self._send(do.SendKeys(keys))

    # -- the session -------------------------------------------------------------------------------------------------

    def _send(self, command: Command) -> None:
        self._source.send(command)

    def _stop(self, reason: str) -> None:
        self._send(do.Stop("interrupted", reason))

    def _hear(self, message: Message) -> None:
        if isinstance(message, ShellOutput):
            if self._line is None:
                self._write(self._harmless.of(message.data))
            else:
                self._held += message.data
        elif isinstance(message, LiveStatus):
            self._status_changed(message)
        elif isinstance(message, ev.SandboxReady) and message.restarted and self._source.state.mode == "human":
            self._wants_out = "exit"
            self._news.set()

    def _status_changed(self, status: LiveStatus) -> None:
        told = (status.problem, status.asks, status.driver)
        problem, asks, driver = (new if new != old else "" for new, old in zip(told, self._told, strict=True))
        self._told = told
        if problem:
            self._say(problem)
        if asks and self._source.drives:
            self._say(f"{asks} asks for the wheel; it has it soon, unless you go on typing")
        if driver:
            self._say("you drive" if self._source.drives else f"{driver} drives")
        self._news.set()

    # -- asking ------------------------------------------------------------------------------------------------------

    async def _ask(self, text: str) -> str | None:
        """A line that the person types. None when the question is not asked any more."""
        about = self._source.status
        self._say(text)
        self._write(b"> ")
        self._typed, self._line = "", asyncio.get_running_loop().create_future()
        ahead, self._ahead = self._ahead, b""
        self._edit(ahead)
        try:
            while not self._line.done() and _same_question(about, self._source.status):
                self._news.clear()
                await self._news.wait()
            return self._line.result().strip().lower() if self._line.done() else None
        finally:
            self._line = None
            self._news.set()
            held, self._held = bytes(self._held), bytearray()
            self._write(b"\r\n" + self._harmless.of(held))

    def _edit(self, data: bytes) -> None:
        """Keys of a line that is ours."""
        assert self._line is not None
        keys = re.sub(r"\x1b\[[\d;?]*[A-Za-z~]|\x1b.", "", self._decoder.decode(data))
        for place, key in enumerate(keys):
            if self._line.done():
                self._ahead += keys[place:].encode()
                return
            if key in "\r\n":
                self._line.set_result(self._typed)
                self._news.set()
            elif key in "\x03\x15\x1b\x1d":
                self._typed = ""
                self._write(b"\r\x1b[K> ")
            elif key in "\x7f\x08":
                self._typed = self._typed[:-1]
                self._write(f"\r\x1b[K> {self._typed}".encode())
            elif key.isprintable() and len(self._typed) < _LONGEST_LINE:
                self._typed += key
                self._write(key.encode())

    async def _converse(self) -> None:
        """Whatever there is to ask, one thing after the other."""
        while True:
            await self._news.wait()
            self._news.clear()
            status = cast(LiveStatus, self._source.status)
            if not self._source.drives:
                if self._wants_out:
                    self._wants_out = ""
                    self._say((await self._source.do(do.Drive())).problem or "you drive")
            elif status.question:
                await self._answer(status.question)
            elif status.phase == "waiting":
                await self._paused()
            elif self._wants_out and status.phase == "human":
                await self._leave()
            else:
                self._pass_on()

    async def _answer(self, question: str) -> None:
        answer = await self._ask(f"{question} Type yes or no.")
        if answer in ("yes", "no"):
            self._send(do.Answer(answer == "yes"))
            await self._until(lambda status: status.question != question)
            self._redraw()

    async def _leave(self) -> None:
        how, self._wants_out = self._wants_out, ""
        left = "the shell ended, and a new one is there. " if how == "exit" else ""
        answer = await self._ask(
            f"{left}leave (saved; `resume` goes on), pause (the clock stops), or enter to go back?"
        )
        if answer == "leave":
            self._stop("its user left")
        elif answer == "pause":
            outcome = await self._source.do(do.HandBack())
            if outcome.problem:
                self._say(f"{outcome.problem}: end it first, or leave")
        elif answer:
            self._wants_out = how
            self._say("that was none of leave, pause and enter")
        self._redraw()

    async def _paused(self) -> None:
        """The shell was given back: the clock stands still until the person comes again."""
        answer = await self._ask(
            "the clock stands still. enter goes on, leave leaves; anything else is noted as the reason"
        )
        if answer == "leave":
            self._stop("its user left")
        elif answer:
            await self._source.do(do.Pause(answer))
        elif answer is not None:
            columns, rows = os.get_terminal_size(self._keyboard)
            self._wants_out = ""
            await self._source.do(do.TakeOver(columns, rows))
            await self._until(lambda status: status.phase != "waiting")

    async def _until(self, seen: Callable[[LiveStatus], bool]) -> None:
        while not seen(cast(LiveStatus, self._source.status)):
            self._news.clear()
            await self._news.wait()
        self._news.set()

    def _redraw(self) -> None:
        """Have the program in the shell draw itself again: our line stands in what it drew."""
        with contextlib.suppress(OSError):
            columns, rows = os.get_terminal_size(self._keyboard)
            self._send(do.Resize(columns, rows - 1))
            self._resized()

    # -- all of it ---------------------------------------------------------------------------------------------------

    async def run(self) -> ev.SessionEnded | None:
        """Drive the session to its end, in this terminal. Raises LogError when it can no longer be written."""
        loop = asyncio.get_running_loop()
        with self._raw(), open(self._path, "wb", buffering=0) as screen:  # noqa: ASYNC230  (it does not wait)
            transport, _ = await loop.connect_write_pipe(lambda: self, screen)
            self._screen = transport
            transport.set_write_buffer_limits(high=_HIGH)
            end_signals = on_signals(lambda number: self._stop(f"received {signal.Signals(number).name}"))
            end_hearing = self._source.subscribe(self._hear)
            self._resized()
            self._greet()
            conversation = asyncio.create_task(self._converse(), name="conversation")
            try:
                return await self._source.run()
            finally:
                conversation.cancel()
                await asyncio.wait({conversation})
                end_hearing()
                end_signals()
                self._write(_AS_BEFORE + b"\r\n")
                transport.close()
                await asyncio.sleep(0)

    def _greet(self) -> None:
        from workbench.tui.screens.status import greeting

        started = self._source.state.started
        if started is not None:
            columns, _ = os.get_terminal_size(self._keyboard)
            self._write(greeting(started, columns, _HOW))


def _same_question(then: LiveStatus | None, now: LiveStatus | None) -> bool:
    if then is None or now is None or now.phase in ("ending", "ended"):
        return False
    return (then.question, then.phase == "waiting") == (now.question, now.phase == "waiting")


def work_in(source: SessionSource) -> ev.SessionEnded | None:
    """Have a person work in their terminal, to the end of the session; None where that can no longer be written."""
    try:
        return asyncio.run(OwnTerminal(source).run())
    except LogError as error:
        from workbench.cli.errors import complain

        complain(f"the session broke off: {error}")
        return None
