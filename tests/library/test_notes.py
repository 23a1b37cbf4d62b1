"""Notes: beside our sessions, elsewhere for what is not ours, and never in a log."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.library.runs import mlgym, own
from workbench.library import notes
from workbench.library.columns import FIELDS, fields_of
from workbench.library.filter import parse
from workbench.library.index import runs
from workbench.library.notes import NoteError, add, read
from workbench.session.log import EVENTS_FILE


def test_a_note_stands_beside_the_session_and_not_in_its_log(tmp_path: Path) -> None:
    folder = own(tmp_path)
    log = (folder / EVENTS_FILE).read_bytes()
    add(str(folder), "human:me", "tag", "ablation")
    add(str(folder), "human:me", "comment", "not r2", step=1)
    assert [(note.kind, note.value, note.step, note.author) for note in read(str(folder))] == [
        ("tag", "ablation", None, "human:me"),
        ("comment", "not r2", 1, "human:me"),
    ]
    assert (folder / "notes.jsonl").stat().st_mode & 0o777 == 0o600
    assert (folder / EVENTS_FILE).read_bytes() == log


def test_notes_on_a_file_of_others_go_with_its_content(tmp_path: Path) -> None:
    file = mlgym(tmp_path / "a")
    add(str(file), "human:me", "star")
    assert sorted(path.name for path in file.parent.iterdir()) == [file.name]
    moved = tmp_path / "elsewhere.traj"
    moved.write_bytes(file.read_bytes())
    assert read(str(moved)).starred
    moved.write_bytes(file.read_bytes() + b" ")
    assert not read(str(moved))


def test_notes_on_a_read_only_session_are_kept_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = own(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder)  # whoever tests may be root
    add(str(folder), "human:me", "rating", 4)
    assert read(str(folder)).rating == 4 and not (folder / "notes.jsonl").exists()


def test_what_is_taken_back_is_gone_and_a_rating_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    path = str(own(tmp_path))
    add(path, "human:me", "tag", "a")
    add(path, "human:me", "tag", "b")
    add(path, "human:you", "tag", "a", removed=True)
    add(path, "human:me", "rating", 1)
    add(path, "human:me", "rating", 5)
    add(path, "human:you", "rating", 4)
    add(path, "human:me", "rating", 1, step=1)
    found = read(path)
    assert (found.values("tag"), found.rating) == (("b",), 4.5)


@pytest.mark.parametrize("text", ["#good", "!syntax", "so close", "#not a tag", "7", "!"])
def test_a_note_in_one_line_comes_back_as_it_was_written(text: str) -> None:
    kind, value = notes.parse(text)
    note = notes.Note(author="human:me", time="", kind=kind, value=value)
    assert notes.in_words(note).strip("“”") == text
    assert notes.parse("4") == ("rating", 4)


def test_what_cannot_be_noted_is_said(tmp_path: Path) -> None:
    path = str(own(tmp_path))
    with pytest.raises(NoteError, match="did you mean 'syntax'"):
        add(path, "human:me", "failure", "sintax")
    with pytest.raises(NoteError, match="from 1 to 5"):
        add(path, "human:me", "rating", 7)
    with pytest.raises(NoteError, match="characters"):
        add(path, "human:me", "comment", " ")
    assert not read(path)


def test_a_person_has_kinds_of_failure_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert "misread-task" in notes.kinds_of_failure()
    (tmp_path / "mlgym-tui").mkdir()
    (tmp_path / "mlgym-tui" / "failures.yaml").write_text("lazy: It did nothing.\n")
    assert notes.kinds_of_failure() == {"lazy": "It did nothing."}
    (tmp_path / "mlgym-tui" / "failures.yaml").write_text("- lazy\n")
    with pytest.raises(NoteError, match="must have lines like"):
        notes.kinds_of_failure()


@pytest.mark.parametrize("line", [b"\xff\xfe", b'{"kind":"tag"}', b"[" * 3000, b'{"author":"x","time":"","kind":"tag"'])
def test_a_damaged_line_is_left_out(tmp_path: Path, line: bytes) -> None:
    folder = own(tmp_path)
    (folder / "notes.jsonl").write_bytes(line + b"\n")
    add(str(folder), "human:me", "tag", "good")
    assert read(str(folder)).values("tag") == ("good",)


def test_a_filter_asks_for_notes(tmp_path: Path) -> None:
    path = str(own(tmp_path))
    add(path, "human:me", "tag", "ablation")
    add(path, "human:me", "failure", "syntax", step=1)
    add(path, "human:me", "rating", 4)
    [run] = runs([tmp_path])
    fields = fields_of(run, read(path))
    for text in ("tag:abl", "failure:syntax", "rating>=4", "star:no task:blotto gain>0", "not comment:*"):
        assert parse(text, FIELDS).matches(fields), text
