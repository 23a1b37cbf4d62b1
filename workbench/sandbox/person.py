"""A person at the shell: which of their lines ran, how each ended, what it printed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from workbench.sandbox.markers import Mark
from workbench.sandbox.output import OutputRecord


@dataclass
class PersonCommand:
    """A line that a person entered and that is running."""

    text: str
    began: float = field(default_factory=time.monotonic)
    record: OutputRecord = field(default_factory=OutputRecord)


@dataclass
class TakeOver:
    """Follows the marks of the hooks. Whatever happens to the hooks, it only loses steps, never the shell."""

    nonce: str
    prompt_nonce: str
    on_started: Callable[[str], None]
    on_finished: Callable[[PersonCommand, int | None], None]
    ready: asyncio.Future[None]
    hidden: bool = True
    """The hooks are being typed: nothing of that is shown."""
    command: PersonCommand | None = None
    prompted: asyncio.Event = field(default_factory=asyncio.Event)
    _text: str = ""
    _in_prompt: bool = False

    def printed(self, data: bytes) -> None:
        """Output that is not a mark."""
        if self.command is not None and not self._in_prompt:
            self.command.record.add(data)

    def marked(self, mark: Mark) -> None:
        """A mark of this take-over, or of the prompt."""
        if mark.nonce == self.prompt_nonce:
            self._in_prompt = mark.kind == "A"
            if mark.kind == "B":
                self.prompted.set()
                self.finish(None)  # the hook that tells the status has been taken away
            return
        if mark.kind == "E":
            self._text = mark.text
        elif mark.kind == "C":
            self.finish(None)
            self.prompted.clear()
            if self._text.strip():
                self.command = PersonCommand(self._text)
                self.on_started(self._text)
            self._text = ""
        elif mark.kind == "D":
            if not self.ready.done():
                self.ready.set_result(None)
            self.finish(mark.status)

    def finish(self, status: int | None) -> None:
        """The running command, if any, is over."""
        command, self.command = self.command, None
        if command is not None:
            self.on_finished(command, status)
