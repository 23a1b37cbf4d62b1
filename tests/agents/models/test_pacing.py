"""Rate limits that sessions tell each other of."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from workbench.agents.models import pacing


async def test_a_rate_limit_holds_back_all_who_share_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(pacing.VARIABLE, str(tmp_path))
    pacing.hold("openai", 30.0)
    pacing.hold("openai", 1.0)  # a shorter one takes nothing back
    waiting = [asyncio.create_task(pacing.wait("openai")) for _ in range(3)]
    await asyncio.wait_for(pacing.wait("anthropic"), 25)  # another server is not meant
    done, pending = await asyncio.wait(waiting, timeout=0.05)
    assert not done and len(pending) == 3
    for task in waiting:
        task.cancel()


async def test_what_is_over_or_unknown_holds_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pacing.hold("openai", 30.0)  # nothing is shared
    await asyncio.wait_for(pacing.wait("openai"), 25)
    monkeypatch.setenv(pacing.VARIABLE, str(tmp_path))
    await asyncio.wait_for(pacing.wait("openai"), 25)
    pacing.hold("openai", 0.01)
    before = time.monotonic()
    await asyncio.wait_for(pacing.wait("openai"), 25)
    assert time.monotonic() - before < 25
