"""The memory commands: notes of a task, kept across sessions, found by their words or, if configured, by meaning."""

from __future__ import annotations

import asyncio

from workbench.environment.services.desk import Refused, Reply, Request, Service
from workbench.environment.services.notes import MOST_CHARACTERS, MOST_NOTES, MemoryFull, Note, NoteFile
from workbench.environment.services.ranking import by_meaning, by_words, fused
from workbench.environment.services.vectors import Embed, EmbeddingError

NOTES = 5
"""How many are shown where nobody says."""
MOST_SHOWN = 50
NEWEST = "*"
"""The query that asks for the newest."""


class Memory:
    """The memory of one task. With `embed`, notes are found by their meaning, too."""

    def __init__(self, notes: NoteFile, embed: Embed | None = None) -> None:
        self.notes = notes
        self._embed = embed

    def services(self) -> dict[str, Service]:
        """The agent commands that it serves."""
        return {"memory_write": self.write, "memory_read": self.read}

    async def write(self, request: Request) -> Reply:
        """Keep a note."""
        text = request.query
        if not text.strip():
            raise Refused("nothing was kept: the note is empty")
        if len(text) > MOST_CHARACTERS:
            raise Refused(
                f"nothing was kept: the note has {len(text):,} characters, and may have {MOST_CHARACTERS:,}; shorten it"
            )
        asker = request.asker
        try:
            note = await asyncio.to_thread(
                self.notes.write, text, session=asker.session, step=asker.step, author=asker.author
            )
        except MemoryFull:
            raise Refused(f"nothing was kept: the memory of this task holds {MOST_NOTES:,} notes and is full") from None
        except OSError as error:
            raise Refused(f"nothing was kept: the memory cannot be written ({error.strerror})") from None
        if (note.session, note.step) != (asker.session, asker.step):
            return Reply(f"There is such a note already ({note.id}).", 1, "memory", message=note.id)
        return Reply(f"Kept as {note.id}.", 1, "memory", message=note.id)

    async def read(self, request: Request) -> Reply:
        """Show the notes that match best, or the newest."""
        try:
            notes, _ = await asyncio.to_thread(self.notes.read)
        except OSError as error:
            raise Refused(f"the memory cannot be read ({error.strerror}); go on without it") from None
        if not notes:
            return Reply("The memory of this task is empty.", source="memory", ok=False)
        most = min(request.number or NOTES, MOST_SHOWN)
        query = request.query.strip()
        remark = ""
        if query in ("", NEWEST):
            found = notes[::-1]
        else:
            ranking, remark = await self._rank(query, [note.text for note in notes])
            found = [notes[index] for index in ranking]
        if not found:
            there = f"{len(notes)} notes" if len(notes) > 1 else "1 note"
            text = f"No note matches {query[:200]!r}; there are {there} (`memory_read` shows the newest)."
            return Reply(text, source="memory", ok=False, message=remark)
        shown = found[:most]
        head = f"{len(shown)} of {len(notes)} notes on this task" + ("" if query in ("", NEWEST) else ", best first")
        text = "\n\n".join([f"{head}:", *(_shown(note) for note in shown)])
        return Reply(text, len(shown), "memory", message=remark)

    async def _rank(self, query: str, texts: list[str]) -> tuple[list[int], str]:
        ranking = await asyncio.to_thread(by_words, query, texts)
        if self._embed is None:
            return ranking, ""
        try:
            wanted, *vectors = await self._embed([query, *texts])
        except EmbeddingError as error:
            return ranking, f"by words only: {error}"
        return fused(ranking, by_meaning(wanted, vectors)), ""


def _shown(note: Note) -> str:
    origin = [note.id, note.time.replace("T", " ").removesuffix("Z")]
    if note.session:
        origin.append(f"step {note.step} of {note.session}")
    origin.append(note.author)
    return f"[{' · '.join(part for part in origin if part)}]\n{note.text}"
