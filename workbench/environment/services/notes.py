"""The notes that agents keep about a task: a file of JSON lines per task, which people can read and edit.

They lie on the host, in the folder of `$MLGYM_MEMORY` (else `~/.local/share/mlgym-tui/memory`), as `<task>.jsonl`. A
sandbox never sees that folder. Several sessions, in several processes, may write at once.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from workbench.session.files import lock, write_whole
from workbench.session.secrets import data_folder
from workbench.text import visible

MOST_CHARACTERS = 4000
"""Of one note."""
MOST_NOTES = 1000
"""Of one task."""
_MOST_BYTES = 32 << 20
"""Of a file that is read: people may have edited it."""
_LINE = re.compile(r"[^\S\n]+$", re.MULTILINE)


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """One note, and where it is from."""

    id: str = ""
    time: str = ""
    """RFC 3339, UTC."""
    session: str = ""
    step: int = 0
    author: str = ""
    """As steps are signed: `model:<name>`, `human:<user>`; empty for one that a person wrote into the file."""
    text: str


class MemoryFull(Exception):
    """The memory of the task is full."""


def memory_folder() -> Path:
    """The folder with the notes of all tasks."""
    return data_folder("MLGYM_MEMORY", "memory").absolute()


def clean(text: str) -> str:
    """The text of a note as it is stored: without characters that could drive a terminal or break a file of lines."""
    return _LINE.sub("", visible(text)).strip("\n")


class NoteFile:
    """The notes of one task."""

    def __init__(self, task: str, folder: Path | None = None) -> None:
        self.folder = folder or memory_folder()
        # Ids of tasks are plain names; one from a hostile file must not become a path.
        self.file = self.folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', task).lstrip('.') or '_'}.jsonl"

    def read(self) -> tuple[list[Note], list[str]]:
        """The notes, the oldest first, and what could not be read. Raises OSError."""
        try:
            with self.file.open("rb") as stream:
                data = stream.read(_MOST_BYTES + 1)
        except FileNotFoundError:
            return [], []
        problems = [f"{self.file} is read only as far as {_MOST_BYTES >> 20} MiB"] if len(data) > _MOST_BYTES else []
        notes = []
        for number, line in enumerate(data[:_MOST_BYTES].split(b"\n"), 1):
            if not line.strip():
                continue
            try:
                note = msgspec.json.decode(line, type=Note)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                problems.append(f"{self.file}, line {number}: not a note ({error})")
                continue
            # Whoever edits the file by hand may leave out all but the text.
            cleaned = {name: clean(getattr(note, name)) for name in ("id", "time", "session", "author", "text")}
            notes.append(msgspec.structs.replace(note, **{**cleaned, "id": cleaned["id"] or f"line-{number}"}))
        return notes, problems

    def write(self, text: str, *, session: str, step: int, author: str) -> Note:
        """Add a note. One with the same text is returned as it is. Raises MemoryFull, OSError."""
        text = clean(text)
        with self._locked():
            notes, problems = self.read()
            for note in notes:
                if note.text == text:
                    return note
            if len(notes) + len(problems) >= MOST_NOTES:
                raise MemoryFull
            note = Note(
                id=f"m-{secrets.token_hex(4)}",
                time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                session=session,
                step=step,
                author=author,
                text=text,
            )
            with self.file.open("ab+") as stream:
                if stream.tell():
                    stream.seek(-1, os.SEEK_END)
                    torn = stream.read(1) != b"\n"  # by an editor, or a writer that was killed
                else:
                    torn = False
                stream.write(b"\n" * torn + msgspec.json.encode(note) + b"\n")
            return note

    def remove(self, ids: Sequence[str]) -> list[str]:
        """Remove notes; returns the ids that were there. Other lines stay as they are. Raises OSError."""
        removed: list[str] = []
        with self._locked():
            if not self.file.exists():
                return removed
            kept = []
            for number, line in enumerate(self.file.read_bytes().splitlines(keepends=True), 1):
                try:
                    note = msgspec.json.decode(line, type=Note)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    kept.append(line)
                    continue
                name = note.id or f"line-{number}"
                if name in ids:
                    removed.append(name)
                else:
                    kept.append(line)
            write_whole(self.file, b"".join(kept))
        return removed

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(self.folder / f".{self.file.name}.lock", "ab") as file:
            lock(file, wait=True)
            yield
