"""Files of session folders: what is no file of a session is refused, without following, waiting or reading it all."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.session.hostile import files_of, make_session
from tests.session.printed import printed
from workbench.library.index import own_run, runs
from workbench.session import files, log
from workbench.session.cast import CAST_FILE, Cast, CastWriter
from workbench.session.clock import Clock
from workbench.session.files import UnfitFile, make_folder, open_file, read_file
from workbench.session.log import EVENTS_FILE, EventLog, LogError, is_locked, read_log, repair_log
from workbench.session.objects import ObjectStore
from workbench.session.store import remove_session


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "to-itself").symlink_to("to-itself")
    (tmp_path / "device").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for name in ("fifo", "folder", "to-itself", "device", "socket"):
            for flags in (os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_APPEND):
                with pytest.raises(OSError, match=r"link|regular"):
                    open_file(tmp_path / name, flags)
        with pytest.raises(UnfitFile, match="regular"):
            open_file(tmp_path / "device", follow=True)
    with pytest.raises(UnfitFile, match="name"):
        open_file(tmp_path / "a\0b")


def test_links_are_not_followed_on_the_way_down(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("secret")
    (tmp_path / "session").mkdir()
    (tmp_path / "session" / "objects").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnfitFile, match="folder"):
        read_file(tmp_path / "session" / "objects" / "file", 100, below=1)
    with pytest.raises(UnfitFile, match="folder"):
        ObjectStore(tmp_path / "session" / "objects").put(b"data")
    with pytest.raises(UnfitFile, match="folder"):
        make_folder(tmp_path / "session" / "objects")
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["file"]


def test_what_is_written_to_has_no_second_name(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("text")
    os.link(tmp_path / "mine", tmp_path / EVENTS_FILE)
    assert read_file(tmp_path / EVENTS_FILE, 100) == b"text"
    with pytest.raises(LogError, match="hard link"):
        EventLog(tmp_path, Clock())
    with pytest.raises(UnfitFile, match="hard link"):
        repair_log(tmp_path)
    assert (tmp_path / "mine").read_text() == "text"


@pytest.mark.parametrize("name", [EVENTS_FILE, CAST_FILE, "events.damaged"])
def test_nothing_is_written_through_a_link(tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine\n")
    folder = tmp_path / "session"
    make_session(folder)
    with (folder / EVENTS_FILE).open("ab") as stream:
        stream.write(b"damage")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(victim)
    for write in (
        lambda: CastWriter(folder, lambda: 0.0, columns=80, rows=24, timestamp=0).close(),
        lambda: EventLog(folder, Clock()).close(),
        lambda: repair_log(folder),
    ):
        try:
            write()
        except (LogError, OSError) as error:
            assert "link" in str(error)
    assert victim.read_bytes() == b"mine\n"


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o277])
def test_what_is_made_is_for_the_user_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        artifact = make_session(tmp_path / "session")
    finally:
        os.umask(before)
    for path in files_of(tmp_path / "session", artifact):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_a_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(UnfitFile, match="larger than 1 MB"):
        read_file(tmp_path / "huge", 1 << 20)
    folder = tmp_path / "session"
    artifact = make_session(folder)
    store = ObjectStore(folder / "artifacts")
    os.truncate(store.path(artifact), 1 << 40)
    with pytest.raises(UnfitFile, match="larger"):
        store.get(artifact)
    with pytest.raises(UnfitFile, match="larger"), store.open(artifact):
        pass


def test_a_log_is_read_up_to_a_limit_and_not_cut_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_session(tmp_path / "s")
    whole, _ = read_log(tmp_path / "s")
    size = (tmp_path / "s" / EVENTS_FILE).stat().st_size
    monkeypatch.setattr(log, "LARGEST_LOG", size - 10)
    events, problems = read_log(tmp_path / "s")
    assert events == whole[:-1]
    assert "left out" in problems[0]
    with pytest.raises(LogError, match="only be looked at"):
        repair_log(tmp_path / "s")
    assert (tmp_path / "s" / EVENTS_FILE).stat().st_size == size
    assert files.LARGEST_LOG < 1 << 30


@pytest.mark.parametrize(
    "line",
    [
        b'{"event":"of.another.program","seq":0}',
        b'{"event":"session.started","format":1,"task":' + b"[" * 3000 + b"}",
        b'{"event":"x","a":' + b"[" * 3000,
        b'{"event":"sandbox.ready","sandbox":{"a":' + b"[" * 200 + b"]" * 200 + b"}}",
        b"[]",
        b'{"event":"session.started","format":1,"task":"\\ud800"}',
        b"",
    ],
)
def test_one_bad_folder_is_a_row_of_the_list(tmp_path: Path, line: bytes) -> None:
    make_session(tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / EVENTS_FILE).write_bytes(line + b"\n")
    (tmp_path / "fifo").mkdir()
    os.mkfifo(tmp_path / "fifo" / EVENTS_FILE)
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / EVENTS_FILE).symlink_to(tmp_path / "good" / EVENTS_FILE)
    rows = {row.ident: (row.status, bool(row.problem)) for row in runs([tmp_path])}
    assert rows == dict.fromkeys(("bad", "fifo", "link"), ("damaged", True)) | {"good": ("submitted", False)}
    assert not is_locked(tmp_path / "fifo")
    remove_session(tmp_path / "fifo")
    assert not (tmp_path / "fifo").exists()


def test_what_a_first_line_says_cannot_fill_the_list(tmp_path: Path) -> None:
    (tmp_path / EVENTS_FILE).write_text(
        f'{{"event":"session.started","format":1,"seq":0,"task":"{"x" * 100_000}"}}\n', encoding="utf-8"
    )
    assert len(own_run(tmp_path).task) <= 200


def test_a_link_to_a_session_is_not_removed(tmp_path: Path) -> None:
    make_session(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ValueError, match="link"):
        remove_session(tmp_path / "link")
    assert (tmp_path / "real" / EVENTS_FILE).is_file()


def test_texts_of_a_recorded_shell_stay_in_its_file(tmp_path: Path) -> None:
    lines = ['{"version": 2, "width": 80, "height": 24}', *('[1.0, "o", ""]' for _ in range(30_000)), '[2, "o", "end"]']
    lines += ['["1e999", "o", "never"]', "[" * 3000, '[1, "r", "1000000x1000000"]', '[1, "o"']
    (tmp_path / CAST_FILE).write_text("\n".join(lines))
    cast = Cast(tmp_path / CAST_FILE)
    assert printed(cast, 5.0) == "end"
    assert len(cast.pieces_until(5.0)) < 30_000
    assert all(piece[0] <= 1000 for piece in cast.pieces_until(5.0) if isinstance(piece, tuple))
    (tmp_path / CAST_FILE).unlink()
    with pytest.raises(FileNotFoundError):
        printed(cast, 5.0)
