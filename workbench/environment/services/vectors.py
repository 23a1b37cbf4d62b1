"""Vectors of notes, kept on the disk: a note is sent away to be embedded once, not at each search."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from workbench.environment.services.cache import DiskCache

_AGE = 365 * 86400.0
Embed = Callable[[Sequence[str]], Awaitable[list[list[float]]]]
"""A vector for each text. Raises EmbeddingError."""


class EmbeddingError(Exception):
    """There are no vectors now. `str()` says why."""


class KeptVectors:
    """The vectors of `embed`, of the model `name`, with those in `cache` not asked for again."""

    def __init__(self, name: str, embed: Embed, cache: DiskCache) -> None:
        self._name = name
        self._embed = embed
        self._cache = cache

    async def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector for each text. Raises EmbeddingError."""
        known: dict[str, list[float]] = {}
        for text in dict.fromkeys(texts):
            kept = await self._cache.get(self._key(text), list[float], _AGE)
            if kept:
                known[text] = kept
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        if missing:
            for text, vector in zip(missing, await self._embed(missing), strict=True):
                known[text] = vector
                await self._cache.put(self._key(text), vector)
        return [known[text] for text in texts]

    def _key(self, text: str) -> str:
        return f"vector {self._name} {text}"
