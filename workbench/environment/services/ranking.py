"""Which texts match a query: by their words (BM25), and by meaning where vectors are given."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

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
