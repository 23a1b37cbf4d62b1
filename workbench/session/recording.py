"""A recording: the events of a session that somebody opens to look at, from whatever file they were read."""

from __future__ import annotations

from pathlib import Path

import msgspec

from workbench.errors import WorkbenchError
from workbench.session.events import Event, SessionStarted
from workbench.session.objects import ObjectStore


class RecordingError(WorkbenchError):
    """Nothing can be opened. `str()` says what is wrong and where; `hint` what to do next."""


class Recording(msgspec.Struct):
    """A session as it was read from disk, ready to be folded."""

    events: list[Event]
    source: str
    """Format it was read from: "mlgym-tui" for our own sessions, else a name in `workbench.formats.table.FORMATS`; of
    what was imported, that of its file.
    """
    path: Path
    """The file that was read."""
    folder: Path | None = None
    """Our session folder (`objects/`, `artifacts/`, `shell.cast`); None for a foreign file or a lone log."""
    problems: list[str] = msgspec.field(default_factory=list)
    """What is damaged, cut off, unknown or assumed, for the reader to see."""
    sample: str = ""
    """Which of several runs in the file."""
    objects: dict[str, bytes] = msgspec.field(default_factory=dict)
    """What a foreign file holds of the prompts, by its hash: a session of ours has it in its folder."""

    @property
    def name(self) -> str:
        """How it is called: `FILE#SAMPLE` where its file holds several."""
        own = self.folder is not None and self.path.absolute().parent == self.folder.absolute()
        file = self.path.absolute().parent.name if own else self.path.name  # an archive lies elsewhere than its folder
        return f"{file}#{self.sample}" if self.sample else file

    def object(self, digest: str) -> bytes | None:
        """A content by its hash; None for what is lost or damaged."""
        if digest in self.objects or self.folder is None:
            return self.objects.get(digest)
        try:
            return ObjectStore(self.folder / "objects").get(digest)
        except (OSError, ValueError):
            return None

    @property
    def reference(self) -> str:
        """What opens it again: its absolute path, with `#SAMPLE` where its file holds several."""
        return f"{self.path.absolute()}#{self.sample}" if self.sample else str(self.path.absolute())

    @property
    def foreign(self) -> bool:
        """Whether another program recorded it, also where it was imported since."""
        return bool(self.started and self.started.source)

    @property
    def started(self) -> SessionStarted | None:
        """The first event, where the beginning of the log is there."""
        first = self.events[0] if self.events else None
        return first if isinstance(first, SessionStarted) else None
