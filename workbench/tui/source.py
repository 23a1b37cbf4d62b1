"""Where the workbench's picture comes from: a session that runs, or one that was recorded. One interface for both."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from workbench.session.bus import Bus, Message, Subscriber
from workbench.session.cast import CAST_FILE, Cast
from workbench.session.commands import Command, Outcome
from workbench.session.events import Event, SessionEnded
from workbench.session.log import LogTail, is_locked, read_log
from workbench.session.objects import ObjectStore
from workbench.session.recording import Recording
from workbench.session.socket import RemoteSession, SocketError, ViewKind, socket_of
from workbench.session.state import SessionState, fold
from workbench.session.status import LiveStatus
from workbench.tui.text import printable, split_lines

if TYPE_CHECKING:
    from workbench.runner.runner import Runner

Unsubscribe = Callable[[], None]

_LOOK_SECONDS = 0.3
"""Between two looks at the log of a session that another process drives."""

_LARGEST_SHOWN = 32 << 20
"""Bytes of a file that is shown: it is read as a whole, on the event loop."""
_WRITTEN_LINES = 200
"""Lines of a shell that is written out from observations, where no recording of it exists."""


class ShellRecord(NamedTuple):
    """What a terminal was sent, and its sizes: from which byte on, columns, rows."""

    data: bytes
    sizes: tuple[tuple[int, int, int], ...] = ()


class SessionSource(ABC):
    """What the workbench asks of a session; files from objects, and the shell from its cast, are common to all."""

    name: str
    """What to call the session."""
    reference: str
    """By which notes on it are found: its folder, or the file (and which run in it)."""
    problems: list[str]
    """What is damaged or missing, for the reader to see."""
    status: LiveStatus | None = None
    """What is true of it now; None in replay. It stays when the session has ended (its phase is then `ended`)."""
    followed = False
    """Another process drives it, and its events come as they are written."""
    attached = False
    """Another process runs it, and goes on when this view is left."""
    drives = False
    """This view has the wheel: what is asked for here is done."""

    def __init__(self, state: SessionState, folder: Path | None) -> None:
        """`state`: the fold over all events so far. `folder`: of a session of ours."""
        self.state, self.folder = state, folder
        self._objects = ObjectStore(folder / "objects") if folder is not None else None
        self._cast_path = folder / CAST_FILE if folder is not None else None

    @abstractmethod
    async def do(self, command: Command) -> Outcome:
        """Have a command carried out. What cannot be done is said in the outcome."""

    @abstractmethod
    def send(self, command: Command) -> None:
        """Have a command carried out, whatever becomes of it, before those that are sent later."""

    @abstractmethod
    def subscribe(self, subscriber: Subscriber) -> Unsubscribe:
        """Be told of each new event after it is in the state, of each new status, and of what the shell prints."""

    @abstractmethod
    async def run(self) -> SessionEnded | None:
        """Drive the session to its end; at once over in replay. Raises LogError when it can no longer be written."""

    def file_bytes(self, path: str, step: int) -> bytes | None:
        """A file of the workspace (a path inside the sandbox) as of a step; None when it is not in the recording,
        or too large to be shown.
        """
        file = self.state.file_seen(path, step)
        if file is None or file.object is None or file.size > _LARGEST_SHOWN:
            return None
        return self.object(file.object)

    def object(self, digest: str) -> bytes | None:
        """The content of an object by its hash; None when it is not in the recording, or damaged."""
        try:
            return None if self._objects is None else self._objects.get(digest)
        except (OSError, ValueError):
            return None

    def shell_text(self, step: int) -> ShellRecord:
        """What the shell's terminal had been sent by the end of a step (at least its last 256 KB)."""
        until = _shell_time(self.state, step)
        if until is None or self._cast_path is None:
            return ShellRecord(_written_shell(self.state, step))
        try:
            pieces = Cast(self._cast_path).pieces_until(until)
        except OSError:
            return ShellRecord(_written_shell(self.state, step))
        shell, sizes = bytearray(), []
        for piece in pieces:
            if isinstance(piece, str):
                shell += piece.encode("utf-8", "replace")
            else:
                sizes.append((len(shell), *piece))
        return ShellRecord(bytes(shell), tuple(sizes))


class RecordedSource(SessionSource):
    """A recording: nothing runs, the cursor is free."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(fold(recording.events), recording.folder)
        self._recording = recording
        if recording.source == "cast" and recording.folder is None:
            from workbench.formats.cast_export import shown_cast

            self._cast_path = shown_cast(recording)
        self.problems = list(recording.problems)
        self.reference = str((recording.folder or Path(recording.reference)).absolute())
        self.name = recording.name

    def object(self, digest: str) -> bytes | None:
        return self._recording.object(digest)

    async def do(self, command: Command) -> Outcome:
        return Outcome(done=False, problem="this is a recording: nothing runs")

    def send(self, command: Command) -> None:
        """Nothing runs."""

    def subscribe(self, subscriber: Subscriber) -> Unsubscribe:
        return _nothing

    async def run(self) -> SessionEnded | None:
        return self.state.ended


class FollowedSource(RecordedSource):
    """A session that another process drives and does not offer: its log is read as it grows."""

    def __init__(self, folder: Path) -> None:
        self._tail = LogTail(folder)
        super().__init__(Recording(self._tail.read(), "mlgym-tui", folder, folder))
        self._bus = Bus()
        self._folder = folder
        self._following: asyncio.Task[None] | None = None
        self.followed = True

    def subscribe(self, subscriber: Subscriber) -> Unsubscribe:
        end = self._bus.subscribe(subscriber)
        self._following = self._following or asyncio.create_task(self._follow(), name="follow")

        def leave() -> None:
            end()
            if self._following is not None:
                self._following.cancel()

        return leave

    async def _follow(self) -> None:
        while self.followed:
            await asyncio.sleep(_LOOK_SECONDS)
            driven = await asyncio.to_thread(is_locked, self._folder)  # asked first: what it wrote at its end is read
            try:
                events = await asyncio.to_thread(self._tail.read)
            except OSError as error:
                self.problems.append(f"the log can no longer be read: {error.strerror or error}")
                driven, events = False, []
            self.followed = driven
            for event in events:
                self.state.apply(event)
                self._bus.publish(event)


class AttachedSource(SessionSource):
    """A session that another process drives, reached over its socket: seen, and driven too unless it is only looked at.
    Leaving it changes nothing for it.
    """

    attached = True

    def __init__(
        self, folder: Path, kind: ViewKind = "terminal", *, look_only: bool = False, takes: bool = True
    ) -> None:
        """`takes`: the wheel, where nobody has it."""
        events, self.problems = read_log(folder)
        super().__init__(fold(events), folder)
        self.status = LiveStatus()
        self.name = folder.name
        self.reference = str(folder.absolute())
        self.followed = look_only
        self._bus = Bus()
        self._kind, self._takes = kind, takes and not look_only
        self._remote: RemoteSession | None = None
        self._sending: asyncio.Queue[Command] = asyncio.Queue()

    @property
    def drives(self) -> bool:  # type: ignore[override]
        assert self.status is not None
        return self._remote is not None and self._remote.name == self.status.driver != ""

    async def do(self, command: Command) -> Outcome:
        if self.followed:
            return Outcome(done=False, problem="this session can only be looked at from here")
        if self._remote is None:
            return Outcome(done=False, problem="not connected yet: try again")
        try:
            return await self._remote.do(command)
        except SocketError as error:
            return Outcome(done=False, problem=str(error))

    def send(self, command: Command) -> None:
        self._sending.put_nowait(command)

    def subscribe(self, subscriber: Subscriber) -> Unsubscribe:
        return self._bus.subscribe(subscriber)

    async def run(self) -> SessionEnded | None:
        """Be there until the session ends, or its process does. Raises SocketError when it cannot be reached."""
        assert self.folder is not None
        self._remote = await RemoteSession.connect(socket_of(self.folder), self._kind, drives=self._takes)
        self._remote.bus.subscribe(self._heard)
        sending = asyncio.create_task(self._send_in_order(), name="commands")
        try:
            await self._remote.over()
        finally:
            sending.cancel()
            await self._remote.close()
        if self.status is not None:
            self.status = msgspec.structs.replace(self.status, phase="ended")
            self._bus.publish(self.status)
        return self.state.ended

    async def _send_in_order(self) -> None:
        while True:
            await self.do(await self._sending.get())

    def _heard(self, message: Message) -> None:
        if isinstance(message, LiveStatus):
            self.status = message
        elif isinstance(message, Event):
            if message.seq <= self.state.last_seq:
                return  # it was in the log already
            self.state.apply(message)
        self._bus.publish(message)


class LiveSource(SessionSource):
    """A session that a runner of this process drives."""

    def __init__(self, runner: Runner) -> None:
        super().__init__(runner.state, runner.live.folder)
        self.runner = runner
        self.problems: list[str] = []
        self.name = runner.live.folder.name
        self.reference = str(runner.live.folder.absolute())
        self._view = runner.wheel.join("terminal", drives=True, owner=True)

    @property
    def status(self) -> LiveStatus:  # type: ignore[override]
        return self.runner.status

    @property
    def drives(self) -> bool:  # type: ignore[override]
        return self.runner.status.driver == self._view

    async def do(self, command: Command) -> Outcome:
        return await self.runner.wheel.do(self._view, command)

    def send(self, command: Command) -> None:
        self.runner.wheel.do_now(self._view, command)

    def subscribe(self, subscriber: Subscriber) -> Unsubscribe:
        return self.runner.live.bus.subscribe(subscriber)

    def shell_text(self, step: int) -> ShellRecord:
        self.runner.live.cast.flush()
        return super().shell_text(step)

    async def run(self) -> SessionEnded | None:
        return await self.runner.run()


def source_of(
    path: Path, *, live: bool, kind: ViewKind = "terminal", look_only: bool = False, takes: bool = False
) -> SessionSource:
    """What shows a run: one that another process drives is attached to, or followed where it is not offered. Raises
    RecordingError and OSError.
    """
    from workbench.formats.open import open_recording

    if live and socket_of(path).exists():
        return AttachedSource(path, kind, look_only=look_only, takes=takes)
    return FollowedSource(path) if live else RecordedSource(open_recording(path))


def _nothing() -> None:
    """Ends a subscription to something that never changes."""


def _shell_time(state: SessionState, step: int) -> float | None:
    """When the shell was last printed to by the end of a step; None when that was not recorded."""
    for item in reversed(state.steps[: step + 1]):
        if item.cast is not None:
            return item.cast[1]
    later = next((item.cast for item in state.steps[step + 1 :] if item.cast is not None), None)
    if later is None and state.started is not None and state.started.source == "cast":
        return state.elapsed  # there are no steps: all of it
    return later[0] if later is not None else None


def _written_shell(state: SessionState, step: int) -> bytes:
    """A shell as it would have looked: each action at a prompt, and what came back."""
    lines: list[str] = []
    for item in reversed(state.steps[1 : step + 1]):
        if item.status == "rejected":
            continue
        action = split_lines(item.action.rstrip("\n")) or [""]
        observation = split_lines(item.observation[-64 * 1024 :])[-_WRITTEN_LINES:]
        lines = [f"$ {action[0]}", *(f"> {line}" for line in action[1:]), *observation, *lines]
        if len(lines) >= _WRITTEN_LINES:
            break
    return "\r\n".join(printable(line) for line in lines[-_WRITTEN_LINES:]).encode("utf-8", "replace")
