"""The space of texts that Gymnasium's vector environments hand over between processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from gymnasium.spaces import Text
from gymnasium.vector.utils.shared_memory import read_from_shared_memory
from numpy.typing import NDArray

from workbench.gym.text import ALPHABET


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
    """The texts that stand in shared memory now; a copy of it is a tuple of those at that moment."""

    def __init__(self, codes: NDArray[np.int32]) -> None:
        self._codes = codes
        """A row for each text: places in ALPHABET, filled up with a number beyond it."""

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
