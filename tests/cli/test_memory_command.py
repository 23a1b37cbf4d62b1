"""`mlgym-tui memory`: looking at notes, and removing them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from workbench.cli import main
from workbench.environment.services.notes import NoteFile


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NoteFile:
    monkeypatch.setenv("MLGYM_MEMORY", str(tmp_path))
    return NoteFile("blotto")


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["memory", *arguments])


def test_notes_are_listed_and_removed(notes: NoteFile) -> None:
    assert "no notes in" in invoke("blotto").output
    first = notes.write("Spread evenly.\nScore 0.4.", session="s-1", step=3, author="model:gpt")
    second = notes.write("Or not.", session="s-1", step=4, author="model:gpt")
    shown = invoke("blotto").output
    assert f"{first.id}  {first.time}  step 3 of s-1  model:gpt\n  Spread evenly.\n  Score 0.4.\n" in shown
    assert f"2 in {notes.file}" in shown
    assert [note["text"] for note in json.loads(invoke("blotto", "--json").output)] == [first.text, second.text]
    assert "1 removed, 1 left" in invoke("blotto", "--remove", first.id).output
    assert [note.id for note in notes.read()[0]] == [second.id]


def test_what_is_wrong_is_said(notes: NoteFile) -> None:
    result = invoke("blotto", "--remove", "m-none")
    assert result.exit_code == 1 and "no note m-none" in result.output
    assert "did you mean 'blotto'" in invoke("blottto").output
    notes.file.write_text('nonsense \x1b[2J\n{"text": "by hand \\u001b[2J"}\n')
    result = invoke("blotto")
    assert "line 1: not a note" in result.output and "by hand ^[[2J" in result.output and "\x1b" not in result.output
