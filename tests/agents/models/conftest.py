"""A scripted server, and each provider's protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.agents.models.dialects import PROVIDERS, Dialect
from tests.agents.models.server import Server, serving


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, no proxy and no `.env` of the machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "MLGYM_MODEL_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A local server, to be told what to answer."""
    async with serving() as local:
        yield local


@pytest.fixture(params=PROVIDERS, ids=str)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """Each provider in turn."""
    chosen: Dialect = request.param
    return chosen
