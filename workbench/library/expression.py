"""Regular expressions of the user's, looked for in texts of anybody."""

from __future__ import annotations

import re
from typing import Any

_MOST = 0.05
"""Seconds of processor for one text."""
_MOST_LOST = 1.0
"""Seconds that an expression may lose in texts that it is given up for: after that, each costs next to nothing."""
_LEAST = 0.001


class TooSlow(Exception):
    """Whether it is found cannot be said in the time that there is."""


class Expression:
    """What `re` takes. There are texts for which some expressions take for ever: it is given up for those."""

    def __init__(self, pattern: str, flags: int = 0, *, patience: float = 1.0) -> None:
        """`patience`: the part that it has of the usual times. Raises ValueError."""
        import regex  # here: it takes a while, and few filters have one

        try:
            re.compile(pattern, flags)  # what users know, and how it says what is wrong
            self._compiled: Any = regex.compile(pattern, flags)
        except (re.error, OverflowError, RecursionError, regex.error) as error:
            raise ValueError(str(error)) from error
        self.pattern = pattern
        self.given_up = 0
        """Texts for which it was."""
        self._most, self._left = patience * _MOST, patience * _MOST_LOST

    def search(self, text: str, place: int = 0) -> re.Match[str] | None:
        """Raises TooSlow."""
        return self._within_time(self._compiled.search, text, place)

    def fullmatch(self, text: str) -> re.Match[str] | None:
        """Raises TooSlow."""
        return self._within_time(self._compiled.fullmatch, text, 0)

    def _within_time(self, look: Any, text: str, place: int) -> re.Match[str] | None:
        allowed = max(_LEAST, min(self._most, self._left))
        try:
            found: re.Match[str] | None = look(text, place, timeout=allowed)
        except (TimeoutError, MemoryError) as error:
            self._left -= allowed
            self.given_up += 1
            raise TooSlow from error
        return found
