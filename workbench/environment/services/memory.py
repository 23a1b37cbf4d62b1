"""The memory commands: notes of a task, kept across sessions, found by their words or, if configured, by meaning."""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from workbench.agents.agent import ModelError
from workbench.environment.services.cache import DiskCache
from workbench.environment.services.desk import Refused, Reply, Request, Service
from workbench.environment.services.notes import MOST_CHARACTERS, MOST_NOTES, MemoryFull, Note, NoteFile

NOTES = 5
"""The number of notes that are shown by default."""
MOST_SHOWN = 50
NEWEST = "*"
"""The query that asks for the newest."""
_AGE = 365 * 86400.0
"""Seconds for which a vector is kept."""
Embed = Callable[[Sequence[str]], Awaitable[list[list[float]]]]
"""A vector for each text. Raises ModelError."""


class Memory(msgspec.Struct, frozen=True):
    """The memory of one task. With `embed`, notes are found by their meaning, too."""

    notes: NoteFile
    embed: Embed | None = None

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
        try:
            note = await asyncio.to_thread(
                self.notes.write, text, session=request.session, step=request.step, author=request.author
            )
        except MemoryFull:
            raise Refused(f"nothing was kept: the memory of this task holds {MOST_NOTES:,} notes and is full") from None
        except OSError as error:
            raise Refused(f"nothing was kept: the memory cannot be written ({error.strerror})") from None
        if (note.session, note.step) != (request.session, request.step):
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
        if self.embed is None:
            return ranking, ""
        try:
            wanted, *vectors = await self.embed([query, *texts])
        except ModelError as error:
            return ranking, f"by words only: {error}"
        return fused(ranking, by_meaning(wanted, vectors)), ""


class KeptVectors(msgspec.Struct, frozen=True):
    """The vectors of `embed`, of the model `name`. Those in `cache` are not asked for again: each note is sent once."""

    name: str
    embed: Embed
    cache: DiskCache

    async def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector for each text. Raises ModelError."""
        known: dict[str, list[float]] = {}
        for text in dict.fromkeys(texts):
            kept = await self.cache.get(self._key(text), list[float], _AGE)
            if kept:
                known[text] = kept
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        if missing:
            for text, vector in zip(missing, await self.embed(missing), strict=True):
                known[text] = vector
                await self.cache.put(self._key(text), vector)
        return [known[text] for text in texts]

    def _key(self, text: str) -> str:
        return f"vector {self.name} {text}"


def _shown(note: Note) -> str:
    origin = [note.id, note.time.replace("T", " ").removesuffix("Z")]
    if note.session:
        origin.append(f"step {note.step} of {note.session}")
    origin.append(note.author)
    return f"[{' · '.join(part for part in origin if part)}]\n{note.text}"


# -- which notes match -------------------------------------------------------------------------------------------------

_WORD = re.compile(r"[^\W_]+")
_SATURATION, _LENGTH_WEIGHT = 1.5, 0.75
"""The usual constants of BM25."""
_FUSION = 60
"""The usual constant of reciprocal rank fusion."""


def words(text: str) -> list[str]:
    """The words of a text, as they are compared: lower case, `learning_rate` as two, plurals as singulars."""
    return [_singular(word) for word in _WORD.findall(text.casefold())]


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def by_words(query: str, texts: Sequence[str]) -> list[int]:
    """Indices of the texts that share a word with the query, the best match first; of equals, the later one."""
    documents = [Counter(words(text)) for text in texts]
    lengths = [sum(document.values()) for document in documents]
    average = sum(lengths) / len(lengths) if lengths else 0.0
    wanted = set(words(query))
    found = {word: sum(word in document for document in documents) for word in wanted}
    scores = []
    for index, document in enumerate(documents):
        score = 0.0
        for word in wanted & document.keys():
            rarity = math.log(1 + (len(documents) - found[word] + 0.5) / (found[word] + 0.5))
            length = 1 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * lengths[index] / average
            score += rarity * document[word] * (_SATURATION + 1) / (document[word] + _SATURATION * length)
        if score > 0:
            scores.append((score, index))
    return [index for _, index in sorted(scores, reverse=True)]


def by_meaning(query: Sequence[float], vectors: Sequence[Sequence[float]]) -> list[int]:
    """Indices of the vectors, the one with the least angle to the query first. Those of another size are left out."""
    scores = [
        (_cosine(query, vector), index) for index, vector in enumerate(vectors) if len(vector) == len(query) and vector
    ]
    return [index for _, index in sorted(scores, reverse=True)]


def _cosine(a: Sequence[float], b: Sequence[float]) -> float:
    length = math.hypot(*a) * math.hypot(*b)
    return sum(x * y for x, y in zip(a, b, strict=True)) / length if length else 0.0


def fused(*rankings: Sequence[int]) -> list[int]:
    """One ranking of several: what is high in many of them comes first."""
    scores: Counter[int] = Counter()
    for ranking in rankings:
        for rank, index in enumerate(ranking):
            scores[index] += 1 / (_FUSION + rank)  # type: ignore[assignment]  # a Counter adds any numbers
    return sorted(scores, key=lambda index: (-scores[index], -index))
