"""The space of texts that Gymnasium's vector environments pass between processes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from gymnasium.spaces import Text
from gymnasium.vector.utils.shared_memory import read_from_shared_memory
from numpy.typing import NDArray

from workbench.sandbox.scrollback import cap

_RANGES = (
    "\t\n -~",  # ASCII
    "\xa0-\u024f",  # Latin letters of Europe
    "\u0370-\u0377\u037a-\u037f\u0384-\u038a\u038c\u038e-\u03a1\u03a3-\u03ff",  # Greek
    "\u0400-\u045f",  # Cyrillic
    "\u2010-\u2027\u2030-\u205e",  # punctuation
    "\u2070-\u2071\u2074-\u208e\u20a0-\u20bf\u2100-\u218b",  # raised and lowered digits, currencies, letter-like signs
    "\u2190-\u22ff",  # arrows, mathematics
    "\u2500-\u25ff",  # lines, blocks and shapes: frames of tables, progress bars
    "\u2713\u2714\u2717\u2718\ufffd",  # check marks; what stands for bytes that are no text
)
_OTHERS = re.compile(f"[^{''.join(_RANGES)}]")


def _characters() -> str:
    allowed = re.compile(f"[{''.join(_RANGES)}]")
    return "".join(filter(allowed.match, map(chr, range(0x10000))))


ALPHABET = _characters()
"""Characters of texts of the environment, in the order of their code points. A part of the interface: it never changes
under one version of the environments (`-v0`)."""


def fitted(text: str, length: int) -> str:
    """`text` within ALPHABET and `length` characters.

    Any other character is written as its code point, `<U+1F600>`. Of what is too long, the head and the tail are kept,
    with a line between them that says how much is missing.
    """
    text = _OTHERS.sub(lambda found: f"<U+{ord(found[0]):04X}>", text)
    if len(text) <= length:
        return text
    shown, _ = cap(text, max(0, length - _JOINT))
    return shown if len(shown) <= length else text[:length]


_JOINT = 80
"""Characters that the line between head and tail may take."""


class TextSpace(Text):
    """Texts in ALPHABET.

    A `Text` of Gymnasium but for one thing: AsyncVectorEnv reads the memory that it shares with its processes once, at
    the beginning. That serves arrays, which are views of it; plain texts would be those of the beginning for ever.
    Batches of this space are views, too.
    """

    def __init__(self, length: int, *, least: int = 0) -> None:
        """`least` to `length` characters."""
        super().__init__(length, min_length=least, charset=ALPHABET)


class _SharedTexts(Sequence[str]):
    """The texts that are in shared memory at present. A copy is a tuple of the texts at that moment."""

    def __init__(self, codes: NDArray[np.int32]) -> None:
        self._codes = codes
        """A row for each text: positions in ALPHABET, padded with a number beyond it."""

    def __len__(self) -> int:
        return len(self._codes)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return tuple(self)[index]
        codes = self._codes[index]
        return "".join(_CHARACTERS[codes[codes < len(_CHARACTERS)]].tolist())

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))

    def __deepcopy__(self, memo: dict[int, Any]) -> tuple[str, ...]:
        return tuple(self)

    def __repr__(self) -> str:
        return repr(tuple(self))


_CHARACTERS = np.array(list(ALPHABET))


@read_from_shared_memory.register(TextSpace)
def _read(space: TextSpace, shared_memory: Any, n: int = 1) -> _SharedTexts:
    return _SharedTexts(np.frombuffer(shared_memory.get_obj(), dtype=np.int32).reshape(n, space.max_length))
