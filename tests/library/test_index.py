"""The index of runs: whose they are, when a row is read again, and that nothing breaks it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.library.runs import mlgym, own
from workbench.library import index
from workbench.library.index import runs
from workbench.library.readers import Job
from workbench.session import events as ev
from workbench.session.clock import Clock
from workbench.session.log import EVENTS_FILE, EventLog
from workbench.session.run import Run
from workbench.session.secrets import cache_folder


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what is read, and not taken from the cache."""
    names: list[str] = []
    before = index.read

    def counted(job: Job) -> list[Run]:
        names.append(Path(job.path).name)
        return before(job)

    monkeypatch.setattr(index, "read", counted)
    return names


def cache_of(root: Path) -> Path:
    """The only file that knows of `root`."""
    before = set((cache_folder() / "runs").iterdir()) if (cache_folder() / "runs").is_dir() else set()
    list(runs([root]))
    [made] = set((cache_folder() / "runs").iterdir()) - before
    return made


def test_ours_and_others_are_rows_alike(tmp_path: Path) -> None:
    folder = own(tmp_path / "ours")
    file = mlgym(tmp_path / "theirs" / "deep")
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / "README.md").write_text("nothing")
    rows = {row.task: row for row in runs([tmp_path])}
    ours, theirs = rows["blotto"], rows["battleOfSexes"]
    assert len(rows) == 2 and (ours.path, theirs.path) == (str(folder), str(file))
    assert (ours.steps, ours.best, ours.cost, ours.tokens_in, ours.working) == (1, 0.5, 0.5, 10, 60.0)
    assert ours.category == theirs.category == "Success"
    assert (theirs.model, theirs.author) == ("some-model", "model")
    assert (theirs.format, theirs.best, theirs.last, theirs.steps, theirs.cost) == ("mlgym", 1.4, 1.4, 2, 0.25)


def test_the_end_of_a_log_tells_as_much_as_all_of_it(tmp_path: Path) -> None:
    """But for what the log of this test does not say in two ways."""
    ends = [own(tmp_path, f"20260101-101500-blotto-00000{n}", totals=bool(n)) for n in (0, 1)]
    whole, tail = (index.own_run(folder) for folder in ends)
    same = ("task", "model", "author", "steps", "status", "category", "best", "last", "baseline", "metric")
    assert [getattr(whole, name) for name in same] == [getattr(tail, name) for name in same]


def test_a_row_is_read_once_and_again_when_its_file_changes(tmp_path: Path, read: list[str]) -> None:
    first, second = own(tmp_path, "20260101-000000-a-000001"), own(tmp_path, "20260102-000000-b-000002")
    file = mlgym(tmp_path)
    assert [row.task for row in runs([tmp_path])] == ["b", "a", "battleOfSexes"]
    read.clear()
    assert len(list(runs([tmp_path]))) == 3 and read == []
    log = EventLog(first, Clock(), next_seq=6)
    log.append(ev.SessionResumed())
    rows = {row.task: row for row in runs([tmp_path])}
    assert read == [first.name] and (rows["a"].status, rows["a"].live) == ("running", True)
    log.close()
    assert {row.task: row.status for row in runs([tmp_path])} == {
        "a": "crashed", "b": "submitted", "battleOfSexes": "submitted"
    }  # fmt: skip
    read.clear()
    (file.parent / "results.json").write_text('{"baseline": {"Score": 1.0}}')
    assert {row.task: row.baseline for row in runs([tmp_path])}["battleOfSexes"] == 1.0
    assert read == [file.name]
    for path in second.iterdir():
        path.unlink()
    assert {row.task for row in runs([tmp_path])} == {"a", "battleOfSexes"}


def test_whoever_stops_half_way_leaves_what_was_known(tmp_path: Path, read: list[str]) -> None:
    for number in range(4):
        own(tmp_path, f"20260101-000000-t{number}-00000{number}")
    assert next(runs([tmp_path])).task == "t3"
    assert len(list(runs([tmp_path]))) == 4
    assert len(read) == 4


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"\x93\xa1x", b"\xdd\xff\xff\xff\xff", b"\x92\xa1x\x80"])
def test_a_damaged_cache_is_no_cache(tmp_path: Path, content: bytes) -> None:
    own(tmp_path)
    cache = cache_of(tmp_path)
    cache.write_bytes(content)
    assert [row.task for row in runs([tmp_path])] == ["blotto"]
    assert cache.read_bytes() != content


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own(tmp_path / "runs")
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLGYM_CACHE", str(tmp_path / "file"))
    assert [row.task for row in runs([tmp_path / "runs"])] == ["blotto"]


def test_the_rows_of_the_folders_asked_for_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLGYM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(index, "_MOST_CACHES", 2)
    caches = []
    for number in range(3):
        own(tmp_path / str(number))
        caches.append(cache_of(tmp_path / str(number)))
        os.utime(caches[-1], (number, number))
    assert [cache.exists() for cache in caches] == [False, True, True]


def test_what_is_damaged_is_a_row_with_its_problem(tmp_path: Path) -> None:
    own(tmp_path, "20260101-000000-good-000001")
    (tmp_path / "cut.traj").write_text('{"trajectory": [{"act')
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "again").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.traj")
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / EVENTS_FILE).symlink_to("/etc/hostname")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / EVENTS_FILE).write_bytes(b"\x00\n")
    rows = {row.ident: row for row in runs([tmp_path])}
    assert {name: row.status for name, row in rows.items()} == {
        "20260101-000000-good-000001": "submitted", "cut.traj": "damaged", "bad": "damaged", "link": "damaged"
    }  # fmt: skip
    assert all(row.problem and row.changed for row in rows.values() if row.status == "damaged")


def test_a_file_can_be_asked_for_and_what_is_not_there_is_no_row(tmp_path: Path) -> None:
    file = mlgym(tmp_path)
    assert [row.path for row in runs([file])] == [str(file)]
    assert list(runs([tmp_path / "nowhere"])) == []


def test_many_files_are_read_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[str]) -> None:
    """By other processes, with the same rows in the same order; what none of them could read is read here."""
    for number in range(5):
        mlgym(tmp_path / f"run{number}")
        own(tmp_path, f"20260101-10150{number}-blotto-00000{number}")
    mlgym(tmp_path / os.fsdecode(b"no \xff text"))
    expected = list(runs([tmp_path], whole=True))
    monkeypatch.setattr(index, "_SOON", 0)
    monkeypatch.setattr(index, "_MANY", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    shutil.rmtree(cache_folder() / "runs")
    read.clear()
    assert list(runs([tmp_path], whole=True)) == expected
    assert len(expected) == 11 and len(read) < 11
