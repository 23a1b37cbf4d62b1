"""The base of every exception whose text is meant for the user: what happened, and what to do next."""

from __future__ import annotations


class WorkbenchError(Exception):
    """Something cannot be done. `str()` says what happened and where; `hint` what to do next, where that is known."""

    def __init__(self, message: str, hint: str = "", exit_code: int = 1) -> None:
        super().__init__(message)
        self.hint = hint
        self.exit_code = exit_code
        """Of a command that ends with it."""

    @property
    def in_full(self) -> str:
        """What happened and what to do, on one line."""
        return f"{self}; {self.hint}" if self.hint else str(self)
