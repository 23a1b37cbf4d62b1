"""Where the workbench's picture comes from: a session that runs, or one that was recorded. One interface for both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from workbench.session.bus import Subscriber
from workbench.session.cast import CAST_FILE, Cast
from workbench.session.commands import Command, Outcome
from workbench.session.events import SessionEnded
from workbench.session.objects import ObjectStore
from workbench.session.state import SessionState, fold
from workbench.session.status import LiveStatus
from workbench.tui.text import printable, split_lines

if TYPE_CHECKING:
    from workbench.runner.runner import Runner
    from workbench.session.recording import Recording

Unsubscribe = Callable[[], None]

_WRITTEN_LINES = 200
"""Lines of a shell that is written out from observations, where no recording of it exists."""


class ShellRecord(NamedTuple):
    """What a terminal was sent, and its sizes: from which byte on, columns, rows."""

    data: bytes
    sizes: tuple[tuple[int, int, int], ...] = ()


class SessionSource(Protocol):
    """What the workbench asks of a session."""

    @property
    def state(self) -> SessionState:
        """The fold over all events so far."""

    @property
    def name(self) -> str:
        """What to call the session."""

    @property
    def problems(self) -> list[str]:
        """What is damaged or missing, for the reader to see."""

    @property
    def status(self) -> LiveStatus | None:
        """What is true of it now; None in replay. It stays when the session has ended (its phase is then `ended`)."""

    async def do(self, command: Command) -> Outcome:
        """Have a command carried out. What cannot be done is said in the outcome."""

    def send(self, command: Command) -> None:
        """Have a command carried out, whatever becomes of it, before those that are sent later."""

    def file_bytes(self, path: str, step: int) -> bytes | None:
        """A file of the workspace (a path inside the sandbox) as of a step; None when it is not in the recording."""

    def object(self, digest: str) -> bytes | None:
        """The content of an object by its hash; None when it is not in the recording, or damaged."""

    def shell_text(self, step: int) -> ShellRecord:
        """What the shell's terminal had been sent by the end of a step (at least its last 256 KB)."""

    def subscribe(self, subscriber: Subscriber) -> Unsubscribe:
        """Be told of each new event after it is in the state, of each new status, and of what the shell prints."""

    async def run(self) -> SessionEnded | None:
        """Drive the session to its end; at once over in replay. Raises LogError when it can no longer be written."""


class _Saved:
    """What both kinds have in common: files from objects, the shell from its cast."""

    def __init__(self, state: SessionState, folder: Path | None) -> None:
        self.state = state
        self._objects = ObjectStore(folder / "objects") if folder is not None else None
        self._cast_path = folder / CAST_FILE if folder is not None else None
        self._cast: Cast | None = None
        self._cast_bytes = -1
        self._cast_until = -1.0

    def file_bytes(self, path: str, step: int) -> bytes | None:
        relative = self.state.relative_path(path)
        file = self.state.file_at(relative, step) if relative is not None else None
        return None if file is None or file.object is None else self.object(file.object)

    def object(self, digest: str) -> bytes | None:
        try:
            return None if self._objects is None else self._objects.get(digest)
        except (OSError, ValueError):
            return None

    def shell_text(self, step: int) -> ShellRecord:
        until = _shell_time(self.state, step)
        cast = self._recorded(until) if until is not None else None
        if cast is None or until is None:
            return ShellRecord(_written_shell(self.state, step))
        shell, sizes = bytearray(), []
        for piece in cast.pieces_until(until):
            if isinstance(piece, str):
                shell += piece.encode("utf-8", "replace")
            else:
                sizes.append((len(shell), *piece))
        return ShellRecord(bytes(shell), tuple(sizes))

    def _recorded(self, until: float) -> Cast | None:
        """The cast, read again when it has grown and the moment asked for is later than what was read."""
        if self._cast_path is None:
            return None
        try:
            size = self._cast_path.stat().st_size
            if self._cast is None or (size != self._cast_bytes and until > self._cast_until):
                self._cast, self._cast_bytes, self._cast_until = Cast(self._cast_path), size, until
        except OSError:
            return None
        return self._cast


class RecordedSource(_Saved):
    """A recording: nothing runs, the cursor is free."""

    status: LiveStatus | None = None

    def __init__(self, recording: Recording) -> None:
        super().__init__(fold(recording.events), recording.folder)
        self.problems = list(recording.problems)
        self.name = recording.folder.name if recording.folder is not None else recording.path.name

    async def do(self, command: Command) -> Outcome:
        return Outcome(done=False, problem="this is a recording: nothing runs")

    def send(self, command: Command) -> None:
        """Nothing runs."""

    def subscribe(self, subscriber: Subscriber) -> Unsubscribe:
        return _nothing

    async def run(self) -> SessionEnded | None:
        return self.state.ended


class LiveSource(_Saved):
    """A session that a runner of this process drives."""

    def __init__(self, runner: Runner) -> None:
        super().__init__(runner.state, runner.live.folder)
        self.runner = runner
        self.problems: list[str] = []
        self.name = runner.live.folder.name

    @property
    def status(self) -> LiveStatus | None:
        return self.runner.status

    async def do(self, command: Command) -> Outcome:
        return await self.runner.controls.do(command)

    def send(self, command: Command) -> None:
        self.runner.controls.do_now(command)

    def subscribe(self, subscriber: Subscriber) -> Unsubscribe:
        return self.runner.live.bus.subscribe(subscriber)

    def shell_text(self, step: int) -> ShellRecord:
        self.runner.live.cast.flush()
        return super().shell_text(step)

    async def run(self) -> SessionEnded | None:
        return await self.runner.run()


def _nothing() -> None:
    """Ends a subscription to something that never changes."""


def _shell_time(state: SessionState, step: int) -> float | None:
    """When the shell was last printed to by the end of a step; None when that was not recorded."""
    for item in reversed(state.steps[: step + 1]):
        if item.cast is not None:
            return item.cast[1]
    later = next((item.cast for item in state.steps[step + 1 :] if item.cast is not None), None)
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
