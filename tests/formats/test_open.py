"""Whatever path is given: the right reader, or an error that says what to do."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.formats.trajectories import healthy, write_run
from workbench.formats.open import open_recording
from workbench.session import events as ev
from workbench.session.events import Event
from workbench.session.recording import RecordingError

EVENTS: list[Event] = [
    ev.SessionStarted(seq=0, format=ev.FORMAT, task="blotto"),
    ev.ActionProposed(seq=1, step=1, author="model:m", action="ls", thought="look"),
    ev.ActionStarted(seq=2, step=1, author="model:m", action="ls"),
    ev.ActionFinished(seq=3, step=1, exit_code=0, observation="x"),
]


def write_session(folder: Path, events: list[Event] = EVENTS, tail: bytes = b"") -> Path:
    folder.mkdir(parents=True)
    (folder / "events.jsonl").write_bytes(b"".join(ev.encode(event) + b"\n" for event in events) + tail)
    return folder


def error(path: Path) -> RecordingError:
    with pytest.raises(RecordingError) as caught:
        open_recording(path)
    assert caught.value.hint
    return caught.value


def test_our_session_by_folder_and_by_file(tmp_path: Path) -> None:
    folder = write_session(tmp_path / "one")
    for path in (folder, folder / "events.jsonl"):
        recording = open_recording(path)
        assert recording.events == EVENTS
        assert (recording.source, recording.folder, recording.problems) == ("mlgym-tui", folder, [])
        assert recording.path == folder / "events.jsonl"


def test_our_log_under_another_name_has_no_folder(tmp_path: Path) -> None:
    copy = tmp_path / "sent-by-mail.txt"
    copy.write_bytes((write_session(tmp_path / "one") / "events.jsonl").read_bytes())
    recording = open_recording(copy)
    assert recording.events == EVENTS and recording.folder is None


def test_our_log_cut_off_and_of_a_later_version(tmp_path: Path) -> None:
    cut = open_recording(write_session(tmp_path / "cut", tail=b'{"event":"action.pro'))
    assert cut.events == EVENTS and len(cut.problems) == 1
    later: list[Event] = [ev.SessionStarted(seq=0, format=ev.FORMAT + 1, task="blotto"), *EVENTS[1:]]
    future = open_recording(write_session(tmp_path / "later", later, b'{"event":"mind.read","seq":4}\n'))
    assert future.events == later
    assert len(future.problems) == 2


def test_a_log_without_a_single_event(tmp_path: Path) -> None:
    assert "no event" in str(error(write_session(tmp_path / "torn", [], b'{"event":"session.st')))
    assert "empty" in str(error(write_session(tmp_path / "empty", []) / "events.jsonl"))


def test_mlgym_by_file_and_by_run_folder(tmp_path: Path) -> None:
    path = write_run(tmp_path, healthy())
    assert open_recording(path.parent).path == path
    assert open_recording(path).source == "mlgym"
    renamed = path.with_name("copy.json")
    path.rename(renamed)
    assert open_recording(renamed).source == "mlgym"


def test_folders_that_are_no_session(tmp_path: Path) -> None:
    assert "no session" in str(error(tmp_path))
    write_session(tmp_path / "sessions" / "first")
    write_run(tmp_path / "sessions", healthy())
    holder = error(tmp_path / "sessions")
    assert "2 sessions" in str(holder) and "first" in holder.hint
    many = write_run(tmp_path, healthy())
    many.with_name("other.traj").write_bytes(many.read_bytes())
    assert "other.traj" in error(many.parent).hint
    scores_only = tmp_path / "scores"
    scores_only.mkdir()
    (scores_only / "results.json").write_text("{}", encoding="utf-8")
    assert "only the scores" in str(error(scores_only))


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    write_session(tmp_path / "20260101-blotto")
    assert str(tmp_path / "20260101-blotto") in error(tmp_path / "20260101-bloto").hint
    assert str(tmp_path / "20260101-blotto") in error(tmp_path / "20260101-bloto" / "events.jsonl").hint
    assert "can be opened" in error(tmp_path / "quite different").hint
    error(Path("a\0b"))
    error(Path("/dev/null"))
    error(tmp_path / ("x" * 5000))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.traj", b"", "empty"),
        ("x.traj", b"not json at all", "not JSON"),
        ("x.traj", b"\x7fELF\x00\x00", "not JSON"),
        ("x.traj", b'{"a": 1}', "no trajectory"),
        ("x.traj", b"[1, 2]", "no trajectory"),
        ("x.traj", b"[" * 100_000, "not JSON"),
        ("x.traj", b'{"environment": "swe_main", "trajectory": [{"action', "cannot be read"),
        ("x.cast", b'{"version": 1, "width": 80}\n', "version 1"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    found = error(path)
    assert says in str(found) and str(path) in str(found)


def test_archives_and_the_cast_of_a_session(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "log.eval", "w") as archive:
        archive.writestr("other.json", "{}")
    assert "Inspect" in str(error(tmp_path / "log.eval"))
    folder = write_session(tmp_path / "one")
    (folder / "shell.cast").write_text('{"version": 2, "width": 80}\n', encoding="utf-8")
    assert str(folder) in error(folder / "shell.cast").hint
