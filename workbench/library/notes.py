"""What people note on sessions and steps: tags, stars, ratings, comments, and kinds of failure.

They stand in `notes.jsonl` beside a session of ours, one a line, appended and never changed (what is taken back is a
line as well). For a session that cannot be written to, and for other programs' files, they stand in the user's state
folder, by the size and the hash of what they are about. They are never in `events.jsonl`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from workbench.errors import WorkbenchError
from workbench.session.files import make_folder, open_file, read_file
from workbench.session.log import EVENTS_FILE
from workbench.session.secrets import config_folder, state_folder
from workbench.text import did_you_mean

if TYPE_CHECKING:
    from workbench.session.run import Run

NOTES_FILE = "notes.jsonl"
_LARGEST = 8 << 20
_MOST = 20_000
_LONGEST = 4000

Kind = Literal["tag", "star", "rating", "comment", "failure"]


class NoteError(WorkbenchError):
    """Something cannot be noted. One sentence."""


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A remark of a person."""

    author: str
    """`human:<user>`."""
    time: str
    """RFC 3339, UTC."""
    kind: Kind
    value: str | int
    """A word, a text, or a number from 1 to 5; of a star 1."""
    step: int | None = None
    """None: it is about the session."""
    removed: bool = False
    """It takes back what was noted before with the same kind, value and step."""


class Notes(list[Note]):
    """The notes that stand, in the order in which they were made."""

    def values(self, kind: Kind) -> tuple[str, ...]:
        """What was noted of a kind, each once."""
        return tuple(dict.fromkeys(str(note.value) for note in self if note.kind == kind))

    @property
    def starred(self) -> bool:
        return any(note.kind == "star" for note in self)

    @property
    def rating(self) -> float | None:
        """The mean of the ratings of the session (else of its steps), one of each author."""
        of_session = [note for note in self if note.kind == "rating" and note.step is None]
        rated = of_session or [note for note in self if note.kind == "rating"]
        newest = {(note.author, note.step): float(note.value) for note in rated}
        return sum(newest.values()) / len(newest) if newest else None


NONE = Notes()
_decoder = msgspec.json.Decoder(Note)


def add(
    path: str, author: str, kind: Kind, value: str | int = 1, *, step: int | None = None, removed: bool = False
) -> Note:
    """Note something on a run (a path as in `Run.path`). Raises NoteError."""
    if kind == "rating" and not (isinstance(value, int) and 1 <= value <= 5):
        raise NoteError("a rating is a whole number from 1 to 5")
    if isinstance(value, str) and (not value.strip() or len(value) > _LONGEST):
        raise NoteError(f"a {kind} is a text of 1 to {_LONGEST:,} characters")
    if kind == "failure" and value not in (known := kinds_of_failure()) and not removed:
        raise NoteError(f"there is no kind of failure {value!r}: {did_you_mean(str(value), known)}")
    note = Note(
        author=author, time=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        kind=kind, value=value, step=step, removed=removed,
    )  # fmt: skip
    line = msgspec.json.encode(note) + b"\n"
    beside = _beside(path)
    try:
        if beside is not None and os.access(beside.parent, os.W_OK):
            file = beside
        else:
            file = _elsewhere(path)
            make_folder(file.parent)
        with os.fdopen(open_file(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as stream:
            stream.write(line)
    except OSError as error:
        raise NoteError(f"the note on {path} cannot be written: {error.strerror or error}") from error
    return note


def parse(text: str) -> tuple[Kind, str | int]:
    """A note in one line: `#tag`, `!kind` of failure, a rating from 1 to 5, else a comment."""
    if len(text) > 1 and text[0] in "#!" and " " not in text:
        return ("tag" if text[0] == "#" else "failure"), text[1:]
    return ("rating", int(text)) if text in ("1", "2", "3", "4", "5") else ("comment", text)


def in_words(note: Note) -> str:
    """A note as `parse` takes it."""
    return {"tag": f"#{note.value}", "failure": f"!{note.value}", "rating": f"{note.value}/5", "star": "★"}.get(
        note.kind, f"“{note.value}”"
    )


def read(path: str) -> Notes:
    """The notes on a run that stand."""
    return _read(path, _sizes_noted())


def _read(path: str, sizes: set[int]) -> Notes:
    if os.path.lexists(f"{path}/{NOTES_FILE}"):
        return _standing(_lines(Path(path) / NOTES_FILE))
    if sizes:
        with contextlib.suppress(OSError):
            if os.stat(_content(path)).st_size in sizes:
                return _standing(_lines(_elsewhere(path)))
    return NONE


def read_all(runs: Iterable[Run]) -> dict[str, Notes]:
    """The notes on many runs, by their paths; those without any are left out."""
    sizes = _sizes_noted()
    return {run.path: found for run in runs if (found := _read(run.path, sizes))}


def kinds_of_failure() -> dict[str, str]:
    """The kinds that a failure may be of, and what they mean: the user's own list, else ours. Raises NoteError."""
    from importlib import resources

    from workbench.yamlfile import plain_yaml

    own = config_folder() / "failures.yaml"
    try:
        data = read_file(own, 1 << 20, follow=True)
    except FileNotFoundError:
        data = resources.files(__package__).joinpath("failures.yaml").read_bytes()
    except OSError as error:
        raise NoteError(f"{own} cannot be read: {error.strerror or error}") from error
    try:
        loaded = plain_yaml(data)
    except ValueError as error:
        raise NoteError(f"{own} is no YAML: {error}") from error
    if not isinstance(loaded, dict) or not all(isinstance(item, str) for pair in loaded.items() for item in pair):
        raise NoteError(f"{own} must have lines like `no-progress: It repeated itself.`")
    return loaded


def _standing(notes: list[Note]) -> Notes:
    found: dict[tuple[object, ...], Note] = {}
    for note in notes:
        # Of one author, a star and a rating take the place of the one before.
        single = note.kind in ("star", "rating")
        key = (note.kind, note.step, note.author if single else note.value)
        if note.removed:
            found.pop(key, None)
        else:
            found[key] = note
    return Notes(found.values())


def _lines(file: Path) -> list[Note]:
    found = []
    with contextlib.suppress(OSError):
        for line in read_file(file, _LARGEST).split(b"\n")[:_MOST]:
            with contextlib.suppress(ValueError, RecursionError):  # a torn line, or another program's
                found.append(_decoder.decode(line))
    return found


def _beside(path: str) -> Path | None:
    """The notes in the folder of a session of ours; None for other programs' files."""
    return Path(path) / NOTES_FILE if os.path.lexists(f"{path}/{EVENTS_FILE}") else None


def _content(path: str) -> Path:
    """The file that says what a run is: of one of several in a file, that file."""
    if os.path.isdir(path):
        return Path(path) / EVENTS_FILE
    if os.path.exists(path):
        return Path(path)
    from workbench.formats.open import ref_of

    return ref_of(path).path


def _elsewhere(path: str) -> Path:
    """Where notes are kept on what cannot be written to. Raises OSError."""
    import hashlib

    content = _content(path)
    with os.fdopen(open_file(content, follow=True), "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        digest = hashlib.file_digest(stream, "sha256")
    if not os.path.isdir(path):
        digest.update(path.removeprefix(str(content)).encode("utf-8", "surrogateescape"))  # one of several in the file
    return state_folder() / "notes" / f"{size}-{digest.hexdigest()}.jsonl"


def _sizes_noted() -> set[int]:
    """Sizes of the files that there are notes on in the user's state folder: only files of such a size are hashed."""
    try:
        names = os.listdir(state_folder() / "notes")
    except OSError:
        return set()
    return {int(head) for name in names if (head := name.partition("-")[0]).isdigit()}
