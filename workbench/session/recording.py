"""A recording: the events of a session that somebody opens to look at, from whatever file they were read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.session.events import Event, SessionStarted


class RecordingError(WorkbenchError):
    """Nothing can be opened. `str()` says what is wrong and where; `hint` what to do next."""


@dataclass
class Recording:
    """A session as it was read from disk, ready to be folded."""

    events: list[Event]
    source: str
    """Format it was read from: "mlgym-tui" for our own sessions, "mlgym" for MLGym's trajectories."""
    path: Path
    """The file that was read."""
    folder: Path | None = None
    """Our session folder (`objects/`, `artifacts/`, `shell.cast`); None for a foreign file or a lone log."""
    problems: list[str] = field(default_factory=list)
    """What is damaged, cut off, unknown or assumed, for the reader to see."""

    @property
    def started(self) -> SessionStarted | None:
        """The first event, where the beginning of the log is there."""
        first = self.events[0] if self.events else None
        return first if isinstance(first, SessionStarted) else None
