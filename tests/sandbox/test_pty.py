"""The ends of a pseudo-terminal and of its shell."""

from __future__ import annotations

import asyncio
import os
from typing import Any, cast

import pytest

from workbench.sandbox.pty import DirectPty


async def test_the_exit_is_told_at_once_when_the_terminal_has_ended_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.sandbox.pty.EXIT_GRACE", 3600.0)
    master, slave = os.openpty()
    pty = DirectPty(cast(Any, None), 1, master)
    ended, told = asyncio.Event(), list[int | bytes]()
    pty.listen(told.append, told.append)
    release = pty._release

    def released() -> None:
        release()
        ended.set()

    monkeypatch.setattr(pty, "_release", released)
    os.write(slave, b"last")
    os.close(slave)
    async with asyncio.timeout(30):
        await ended.wait()
    assert told == [b"last"]
    pty.shell_exited(3)
    assert told == [b"last", 3]
