"""Finding, listing and removing sessions."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from workbench.library.index import own_run, runs
from workbench.session import events as ev
from workbench.session import store
from workbench.session.clock import Clock
from workbench.session.log import EVENTS_FILE, EventLog
from workbench.session.store import (
    SessionNotFound,
    find_session,
    find_unbegun,
    new_session_folder,
    remove_session,
    sessions_root,
)


def make(root: Path, task: str = "blotto", *, end: str | None = "submitted") -> Path:
    folder = new_session_folder(root, task)
    log = EventLog(folder, Clock())
    log.append(ev.SessionStarted(format=1, task=task, model="scripted:demo", metric=ev.Metric(name="Score")))
    log.append(ev.ActionProposed(step=1, author="policy:demo", action="ls"))
    log.append(ev.ScoreRecorded(step=1, score=0.5))
    if end:
        log.append(ev.SessionEnded(exit_status=end, steps=1, scores=ev.FinalScores(metric="Score", best=0.5, last=0.5)))
    log.close()
    return folder


def test_where_sessions_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLGYM_SESSIONS", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert sessions_root(tmp_path / "x") == tmp_path / "x"
    monkeypatch.setattr(store, "checkout", lambda: tmp_path)
    assert sessions_root() == tmp_path / "sessions"
    monkeypatch.setattr(store, "checkout", lambda: None)
    assert sessions_root() == tmp_path / "state" / "mlgym-tui" / "sessions"
    monkeypatch.setenv("MLGYM_SESSIONS", str(tmp_path / "env"))
    assert sessions_root() == tmp_path / "env"


def test_a_finished_and_a_crashed_session_are_listed_alike(tmp_path: Path) -> None:
    make(tmp_path)
    make(tmp_path, "prisonersDilemma", end=None)
    (tmp_path / "not-a-session").mkdir()
    rows = {row.task: row for row in runs([tmp_path])}
    assert {task: (row.status, row.steps, row.scores.best) for task, row in rows.items()} == {
        "blotto": ("submitted", 1, 0.5),
        "prisonersDilemma": ("crashed", 1, 0.5),
    }


def test_a_driven_session_is_running(tmp_path: Path) -> None:
    folder = make(tmp_path, end=None)
    log = EventLog(folder, Clock(), next_seq=3)
    assert own_run(folder).status == "running"
    with pytest.raises(ValueError, match="running"):
        remove_session(folder)
    log.close()


def test_damage_is_a_row_not_an_error(tmp_path: Path) -> None:
    folder = make(tmp_path)
    (folder / EVENTS_FILE).write_bytes(b"\x00\x01")
    row = own_run(folder)
    assert row.status == "damaged"
    assert row.problem


def test_finding(tmp_path: Path) -> None:
    folder = make(tmp_path)
    assert find_session(tmp_path, folder.name) == folder
    assert find_session(tmp_path, folder.name[-6:]) == folder
    assert find_session(tmp_path, "last") == folder
    assert find_session(tmp_path, str(folder)) == folder
    with pytest.raises(SessionNotFound, match="did you mean"):
        find_session(tmp_path, folder.name[:-2] + "zz")


def test_removing(tmp_path: Path) -> None:
    folder = make(tmp_path)
    remove_session(folder)
    assert not folder.exists()
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match="not a session folder"):
        remove_session(tmp_path / "other")


def test_where_a_session_cannot_be_removed_is_said_with_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: str, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    folder = make(tmp_path)
    monkeypatch.setattr(os, "unlink", refused)  # root may remove everything
    with pytest.raises(PermissionError) as told:
        remove_session(folder)
    assert told.value.filename == str(folder)


def test_what_was_killed_before_its_first_event_is_found_and_is_no_session(tmp_path: Path) -> None:
    kept = make(tmp_path)
    bare, empty, young, driven, used = (new_session_folder(tmp_path, "blotto") for _ in range(5))
    for folder in (bare, empty, young, driven, used, tmp_path / "other"):
        folder.mkdir()
    for folder in (empty, young, used):
        (folder / EVENTS_FILE).touch()
    (empty / "objects").mkdir()
    (used / "artifacts").mkdir()
    log = EventLog(driven, Clock())
    for folder in (bare, empty, driven, used, tmp_path / "other"):
        os.utime(folder, (0, 0))
    assert set(find_unbegun(tmp_path)) == {bare, empty}
    assert [row.path for row in runs([tmp_path])] == [str(kept)] and find_session(tmp_path, "last") == kept
    assert find_unbegun(tmp_path / "nowhere") == []
    log.close()
