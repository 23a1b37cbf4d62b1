"""Recordings kept elsewhere: imported as a session of ours, or packed into an archive that opens on any machine."""

from __future__ import annotations

import os
import re
import shutil
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from workbench import __version__
from workbench.formats.archive import Archive
from workbench.formats.cast_export import write_cast
from workbench.formats.reading import passing_folder
from workbench.resources import checkout
from workbench.session import events as ev
from workbench.session.cast import CAST_FILE
from workbench.session.events import Event, encode
from workbench.session.files import LARGEST_LOG, LARGEST_OBJECT, is_file, make_folder, open_file, read_file
from workbench.session.log import EVENTS_FILE
from workbench.session.objects import DIGEST, STORES, ObjectStore, content_hash, digests_in
from workbench.session.recording import Recording, RecordingError
from workbench.session.secrets import Redactor
from workbench.session.state import fold
from workbench.session.store import new_session_folder, sessions_root

_TEXTS = (CAST_FILE, "notes.jsonl")
"""What lies beside a log, but for what is stored by its hash."""
_WORKSPACE = "/home/agent/workspace"
_MEMBER = re.compile(rf"(?:{EVENTS_FILE}|{CAST_FILE}|notes\.jsonl|(?:objects|artifacts)/[0-9a-f]{{2}}/[0-9a-f]{{62}})")
FIRST_MEMBER = "mlgym-tui.json"
"""By which an archive is told."""
_MOST_UNPACKED = 4 << 30

_Clean = Callable[[bytes], bytes]


def store(recording: Recording, root: Path) -> Path:
    """Keep a recording as a session under `root`: its folder. Nothing marks it as this user's own. Raises OSError."""
    started = recording.started
    folder = new_session_folder(root, started.task if started else recording.path.stem)
    unfinished = folder.with_name(f".{folder.name}")
    make_folder(unfinished)

    def write(name: str, data: bytes) -> None:
        below = name.count("/")
        make_folder((unfinished / name).parent, below=below)
        with os.fdopen(open_file(unfinished / name, os.O_WRONLY | os.O_CREAT, below=below), "wb") as stream:
            stream.write(data)

    try:
        events = [_own(event, folder.name, recording.reference) for event in recording.events]
        _each_file(recording, events, bytes, write)
        if recording.source == "cast" and recording.folder is None:
            write(CAST_FILE, write_cast(recording, folder / CAST_FILE))
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return folder


def pack(recording: Recording, out: Path) -> list[str]:
    """A recording as a zip archive without secrets and without paths of this machine; gives what was left out.

    Raises OSError.
    """
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(FIRST_MEMBER, msgspec.json.encode({"format": 1, "version": __version__}))
        events = [_anonymous(event, recording.name) for event in recording.events]
        return _each_file(recording, events, _cleaner(recording), lambda name, data: archive.writestr(name, data))


def _each_file(
    recording: Recording, events: list[Event], clean: _Clean, write: Callable[[str, bytes], None]
) -> list[str]:
    """Write the files of a session, the log last; what of them is damaged, or too large, is returned."""
    log = b"".join(clean(encode(event)) + b"\n" for event in events)
    lost: list[str] = []
    renamed: dict[bytes, bytes] = {}
    written: set[str] = set()
    for digest in sorted(digests_in(log)):
        for name in STORES:
            try:
                data = _stored(recording, name, digest)
            except (OSError, ValueError) as error:
                lost.append(f"{name}/{digest[:12]}: {getattr(error, 'strerror', None) or error}")
                continue
            if data is None:
                continue
            cleaned = clean(data)
            new = digest if cleaned == data else content_hash(cleaned)
            place = f"{name}/{new[:2]}/{new[2:]}"
            if place not in written:
                write(place, cleaned)
            written.add(place)
            renamed[digest.encode()] = new.encode()
    for name in _TEXTS if recording.folder is not None else ():
        assert recording.folder is not None
        if is_file(recording.folder / name):
            write(name, clean(read_file(recording.folder / name, LARGEST_LOG)))
    write(EVENTS_FILE, DIGEST.sub(lambda found: renamed.get(found[0], found[0]), log))
    return lost


def _stored(recording: Recording, name: str, digest: str) -> bytes | None:
    """A content of a session; None where it has none of that hash. Raises OSError, ValueError."""
    if name == "objects" and digest in recording.objects:
        return recording.objects[digest]
    store = ObjectStore(recording.folder / name) if recording.folder is not None else None
    return store.get(digest) if store is not None and digest in store else None


def _own(event: Event, name: str, source: str) -> Event:
    if isinstance(event, ev.SessionStarted):
        return msgspec.structs.replace(event, session=name, mark="", imported=event.imported or source)
    return msgspec.structs.replace(event, mark="") if isinstance(event, ev.Naming) else event


def _anonymous(event: Event, name: str) -> Event:
    """An event without what names a place on this machine."""
    if isinstance(event, ev.SessionStarted):
        gone = {"task_folder": "", "base_url": "", "starter": "", "imported": "", "mark": ""}
        reference = event.agent_reference if re.fullmatch(r"[\w.-]*", event.agent_reference) else ""
        return msgspec.structs.replace(event, **gone, agent_reference=reference)
    if isinstance(event, ev.SessionEnded):
        return msgspec.structs.replace(event, session=name)
    if isinstance(event, ev.AgentChanged):
        return msgspec.structs.replace(event, base_url="", mark="")
    return msgspec.structs.replace(event, mark="") if isinstance(event, ev.Naming) else event


def _cleaner(recording: Recording) -> _Clean:
    """Takes secrets, and paths of this machine, out of what is written."""
    redactor, state = Redactor(), fold(recording.events)
    home = os.path.expanduser("~")
    places = {
        str((recording.folder or recording.path).absolute()): "SESSION",
        str(sessions_root()): "SESSIONS",
        str(checkout() or ""): "CHECKOUT",
        os.getcwd(): "FOLDER",
        home if home.count("/") > 1 else "": "~",  # not /root, which is a path in containers, too
    }
    if recording.folder is not None:
        places[str(recording.folder.parent.absolute())] = "SESSIONS"
    places |= {path: _WORKSPACE for path in state.workspaces if path != _WORKSPACE}
    provider, _, actions = state.model.partition(":")
    if provider == "replay":
        places[actions] = Path(actions).name
    known = sorted((path for path in places if len(path) > 4), key=len, reverse=True)
    host = socket.gethostname()

    def clean(data: bytes) -> bytes:
        data = redactor.data(data)
        for path in known:
            data = data.replace(os.fsencode(path), places[path].encode())
        return data.replace(host.encode(), b"HOST") if len(host) > 5 and host != "localhost" else data

    return clean


def unpack(path: Path) -> Path:
    """An archive of `pack` as a folder that goes with this process. Raises RecordingError."""
    folder = passing_folder()
    left = _MOST_UNPACKED
    with Archive(path) as archive:
        if archive.problem:
            raise RecordingError(f"{path}: {archive.problem}", "if it is a copy, copy it again")
        for name, info in archive.members.items():
            if not _MEMBER.fullmatch(name):
                continue
            left -= info.file_size
            if info.file_size > max(LARGEST_OBJECT, LARGEST_LOG) or left < 0:
                raise RecordingError(f"{path} unpacks to more than can be kept", "have it packed again, smaller")
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(name))
    return folder
