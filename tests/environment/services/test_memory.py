"""Notes on the disk, and finding them."""

from __future__ import annotations

import json
import multiprocessing
import os
import string
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.agents.agent import ModelError
from workbench.environment.services.cache import DiskCache
from workbench.environment.services.desk import Refused, Reply, Request
from workbench.environment.services.memory import MOST_SHOWN, KeptVectors, Memory, by_meaning, by_words, fused
from workbench.environment.services.notes import MOST_NOTES, MemoryFull, Note, NoteFile, clean, memory_folder

NOTES = [
    "A learning rate of 0.1 diverges after two epochs.",
    "A learning rate of 0.01 with cosine decay gives 0.93 accuracy.",
    "validate takes four minutes; the data are in data/train.csv",
    "row_strategy must return 0 or 1.",
    "Dropout of 0.5 did not help.",
]


def write(notes: NoteFile, text: str, **more: str) -> Note:
    return notes.write(text, session=more.get("session", "s"), step=1, author="model:x")


def request(query: str, number: int | None = None) -> Request:
    return Request(query, number, "s", 3, "model:x")


# -- ranking -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("which learning rates diverge", 0),
        ("Cosine", 1),
        ("how long does validation take: validate minutes", 2),
        ("what must row strategy return", 3),
        ("DROPOUT!", 4),
        ("0.93", 1),
    ],
)
def test_the_best_match_comes_first(query: str, best: int) -> None:
    assert by_words(query, NOTES)[0] == best


def test_what_shares_no_word_is_no_match() -> None:
    assert by_words("transformers", NOTES) == [] and by_words("", NOTES) == [] and by_words("x", []) == []
    assert by_words("?!", ["", "?!"]) == []


def test_rare_words_count_more_than_frequent_ones_and_short_notes_more_than_long_ones() -> None:
    texts = ["model model model rate", "model loss", "model rate", "model " * 30 + "loss"]
    assert by_words("model loss", texts)[0] == 1
    assert by_words("same", ["same", "same"]) == [1, 0], "the newer of equals"


@given(query=st.text(max_size=40), texts=st.lists(st.text(string.printable, max_size=60), max_size=8))
def test_any_query_ranks_any_notes(query: str, texts: list[str]) -> None:
    found = by_words(query, texts)
    assert len(set(found)) == len(found) and set(found) <= set(range(len(texts)))


def test_ranking_by_meaning_and_both() -> None:
    assert by_meaning([1.0, 0.0], [[0.0, 1.0], [2.0, 0.1], [1.0], []]) == [1, 0]
    assert fused([0, 1], [1, 2]) == [1, 0, 2] and fused([], []) == []


# -- the file ----------------------------------------------------------------------------------------------------------


def test_a_note_is_a_line_that_people_can_read_and_edit(tmp_path: Path) -> None:
    notes = NoteFile("blotto", tmp_path)
    note = write(notes, "größer ist besser\nzweite Zeile")
    [line] = (tmp_path / "blotto.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "id": note.id, "time": note.time, "session": "s", "step": 1, "author": "model:x",
        "text": "größer ist besser\nzweite Zeile",
    }  # fmt: skip
    assert "größer" in line
    with (tmp_path / "blotto.jsonl").open("a") as file:
        file.write('{"text": "by hand"}\n\nnot JSON\n{"id": 3, "text": "x"}\n[]\n{"text": "no newline at the end"}')
    found, problems = notes.read()
    assert [item.text for item in found[1:]] == ["by hand", "no newline at the end"] and found[1].id == "line-2"
    assert [problem.split(": ")[0].rpartition(" ")[2] for problem in problems] == ["4", "5", "6"]
    write(notes, "after a torn line")
    assert [item.text for item in notes.read()[0]][-2:] == ["no newline at the end", "after a torn line"]
    assert notes.remove([note.id, "line-2", "m-none"]) == [note.id, "line-2"]
    assert [item.text for item in notes.read()[0]] == ["no newline at the end", "after a torn line"]
    assert "not JSON" in (tmp_path / "blotto.jsonl").read_text(), "what is no note stays as it is"


def test_the_same_note_is_kept_once_and_a_full_memory_says_so(tmp_path: Path) -> None:
    notes = NoteFile("x", tmp_path)
    assert write(notes, "a").id == write(notes, "a \n").id and len(notes.read()[0]) == 1
    notes.file.write_text("".join(f'{{"text": "{number}"}}\n' for number in range(MOST_NOTES)))
    with pytest.raises(MemoryFull):
        write(notes, "one too many")


@pytest.mark.parametrize("task", ["../../etc/passwd", "/x", "..", "", "a\0b", ".hidden", "x" * 20])
def test_no_name_of_a_task_leaves_the_folder(tmp_path: Path, task: str) -> None:
    notes = NoteFile(task, tmp_path / "memory")
    write(notes, "x")
    assert notes.file.parent == tmp_path / "memory" and not notes.file.name.startswith(".")


def _write_many(folder: Path, name: str) -> None:
    notes = NoteFile("t", folder)
    for number in range(20):
        write(notes, f"{name} {number}")
    notes.remove([note.id for note in notes.read()[0] if note.text == f"{name} 0"])


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_many, args=(tmp_path, name)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    notes, problems = NoteFile("t", tmp_path).read()
    assert {note.text for note in notes} == {f"{name} {number}" for name in "abcd" for number in range(1, 20)}
    assert problems == [] and len(notes) == 76


@given(text=st.text(max_size=200))
def test_nothing_kept_can_drive_a_terminal(text: str) -> None:
    kept = clean(text)
    assert not any(ord(character) < 32 and character not in "\n\t" for character in kept)
    assert not set(kept) & set("\x7f\x9b\u202e\u2066\u2028") and clean(kept) == kept
    kept.encode()


def test_the_folder_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLGYM_MEMORY", str(tmp_path))
    assert memory_folder() == tmp_path
    monkeypatch.delenv("MLGYM_MEMORY")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert memory_folder() == tmp_path / "data" / "mlgym-tui" / "memory"


# -- the commands ------------------------------------------------------------------------------------------------------


@pytest.fixture
def filled(tmp_path: Path) -> NoteFile:
    notes = NoteFile("t", tmp_path)
    for text in NOTES:
        write(notes, text)
    return notes


async def test_reading_shows_the_best_or_the_newest(filled: NoteFile) -> None:
    memory = Memory(filled)
    reply = await memory.read(request("learning rate", 1))
    assert reply.text.startswith("1 of 5 notes on this task, best first:") and reply.results == 1
    newest = await memory.read(request("", 2))
    assert newest.text.index(NOTES[4]) < newest.text.index(NOTES[3]) and NOTES[2] not in newest.text
    assert (await memory.read(request("*", 10**5))).results == len(NOTES) <= MOST_SHOWN
    nothing = await memory.read(request("transformers"))
    assert not nothing.ok and "there are 5 notes" in nothing.text


async def test_a_memory_that_cannot_be_used_is_said(filled: NoteFile, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    memory = Memory(NoteFile("t", tmp_path / "file"))
    for served in (memory.read, memory.write):
        with pytest.raises(Refused, match=r"cannot be (read|written)"):
            await served(request("x"))


class Meaning:
    """Vectors by hand: what is about time lies one way, everything else another."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fails = False

    async def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        if self.fails:
            raise ModelError("network", "no vectors: the server is away")
        self.asked += texts
        return [[1.0, 0.0] if "minutes" in text or "slow" in text else [0.0, 1.0] for text in texts]


async def find(memory: Memory, query: str) -> Reply:
    return await memory.read(request(query, 1))


async def test_notes_are_found_by_their_meaning_and_sent_once(filled: NoteFile, tmp_path: Path) -> None:
    meaning = Meaning()
    memory = Memory(filled, KeptVectors("m", meaning, DiskCache(tmp_path / "cache")))
    assert not (await find(Memory(filled), "what is slow")).ok, "no word is the same"
    assert NOTES[2] in (await find(memory, "what is slow")).text
    assert sorted(meaning.asked) == sorted(["what is slow", *NOTES])
    await find(memory, "slow")
    assert meaning.asked[-1] == "slow" and len(meaning.asked) == len(NOTES) + 2
    meaning.fails = True
    reply = await find(memory, "dropout unknown")
    assert NOTES[4] in reply.text and reply.message == "by words only: no vectors: the server is away"


async def test_the_cache_is_bounded_and_its_oldest_go_first(tmp_path: Path) -> None:
    now = [1000.0]
    cache = DiskCache(tmp_path, most_bytes=3000, now=lambda: now[0])
    for number in range(10):
        now[0] += 1
        await cache.put(f"key {number}", "x" * 500)
    assert await cache.get("key 9", str, 60) == "x" * 500 and await cache.get("key 0", str, 60) is None
    assert sum(file.stat().st_size for file in os.scandir(tmp_path)) <= 3000
    assert await cache.get("key 9", int, 60) is None, "of another kind"
    now[0] += 61
    assert await cache.get("key 9", str, 60) is None, "too old"
