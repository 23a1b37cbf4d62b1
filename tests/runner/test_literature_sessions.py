"""Whole sessions of the shipped agent `literature`: papers through the host, in a sandbox without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.agents.models.dialects import OPENAI
from tests.agents.models.server import Server, serving
from tests.environment.services.library import Library, open_library
from tests.runner.chat import asked, said, talking
from workbench.environment.services import literature as module
from workbench.runner.agents import StartError
from workbench.session import events as ev

KEY = "0123456789-scholar-key"


@pytest.fixture
async def library() -> AsyncIterator[Library]:
    async with open_library() as made:
        yield made


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, library: Library) -> None:
    """The library's address, a cache and keys of the test's own, and no waiting for turns."""
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_BASE_URL", "MLGYM_MODEL_API_KEY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("MLGYM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLGYM_SEMANTIC_SCHOLAR_URL", library.url)
    monkeypatch.setenv("MLGYM_ARXIV_URL", library.url)
    monkeypatch.setenv("SEMANTIC_SCHOLAR_API_KEY", KEY)
    monkeypatch.setattr(module, "INTERVALS", {"arxiv.org": 0.0, "semanticscholar.org": 0.0})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as local:
        yield local


ACTIONS = [
    "literature_search 'transformer' 2",
    "literature_read arXiv:1706.03762",
    "literature_read arXiv:1706.03762 2 | grep -c warmup",
    "literature_search transformer 2 | head -1; curl -s -m 2 $MLGYM_SEMANTIC_SCHOLAR_URL; env | grep -ci scholar",
    "submit",
]


async def check_session(root: Path, server: Server, library: Library, **options: object) -> None:
    server.answers(*(said(OPENAI, action) for action in ACTIONS))
    async with talking(root, OPENAI, server, "literature", **options) as session:
        ended = await session.ended(50)
    assert ended.exit_status == "submitted"
    seen = [step.observation for step in session.state.steps]
    assert "id: arXiv:1706.03762" in seen[1] and "recurrent" in seen[2] and int(seen[3]) > 50
    assert seen[4].split("\n")[0].startswith("1. Attention is All you Need") and seen[4].split()[-1] == "0"
    uses = session.events(ev.ToolUsed)
    assert [(use.step, use.tool, use.cached, use.results, use.ok) for use in uses] == [
        (1, "literature_search", False, 2, True),
        (2, "literature_read", False, 1, True),
        (3, "literature_read", True, 1, True),
        (4, "literature_search", True, 2, True),
    ]
    assert (uses[0].query, uses[0].source) == ("transformer", "Semantic Scholar") and uses[0].duration > 0
    assert [path.split("?")[0] for path in library.asked] == ["/graph/v1/paper/search", "/pdf/1706.03762"]
    assert "dominant models are recurrent" in asked(server), "the model has read it"
    for folder in (session.folder, root / "cache"):
        for file in folder.rglob("*"):
            assert not file.is_file() or KEY.encode() not in file.read_bytes(), f"a key is in {file}"
    assert library.headers[0]["x-api-key"] == KEY


async def test_a_session_reads_a_paper(tmp_path: Path, server: Server, library: Library) -> None:
    await check_session(tmp_path, server, library)


@pytest.mark.bwrap
async def test_in_a_sandbox_without_a_network(tmp_path: Path, server: Server, library: Library) -> None:
    await check_session(tmp_path, server, library, unsafe_local=False)


@pytest.mark.docker
async def test_the_same_in_docker(tmp_path: Path, server: Server, library: Library) -> None:
    await check_session(tmp_path, server, library, unsafe_local=False, sandbox="docker")


async def test_without_a_network_the_agent_goes_on(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLGYM_SEMANTIC_SCHOLAR_URL", "MLGYM_ARXIV_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.answers(said(OPENAI, "literature_search transformer || echo so be it"), said(OPENAI, "submit"))
    async with talking(tmp_path, OPENAI, server, "literature") as session:
        ended = await session.ended(30)
    assert ended.exit_status == "submitted"
    observation = session.state.steps[1].observation
    assert "go on without it" in observation and "so be it" in observation
    [use] = session.state.steps[1].tools
    assert not use.ok and "cannot be reached" in use.message


async def test_other_agents_have_no_literature(tmp_path: Path, server: Server, library: Library) -> None:
    server.answers(
        said(OPENAI, "literature_search x"), said(OPENAI, "literature_read 1706.03762"), said(OPENAI, "submit")
    )
    async with talking(tmp_path, OPENAI, server) as session:
        await session.ended()
    for step in session.state.steps[1:3]:
        assert step.exit_code == 2 and "is not switched on in this session" in step.observation
    assert library.asked == []


async def test_a_service_that_cannot_be_asked_is_named_before_anything_runs(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLGYM_ARXIV_URL", "arxiv.org")
    with pytest.raises(StartError, match="MLGYM_ARXIV_URL is not an address"):
        async with talking(tmp_path, OPENAI, server, "literature"):
            pass


async def test_an_interrupt_ends_the_waiting(tmp_path: Path, server: Server, library: Library) -> None:
    from tests.environment.services.library import Answer

    library.script["/graph"] = [Answer(b"{", length=100, hold=True)]
    server.answers(said(OPENAI, "literature_search transformer"), said(OPENAI, "submit"))
    async with talking(tmp_path, OPENAI, server, "literature", interactive=True) as session:
        await library.held.wait()
        session.runner.controls.interrupt()
        step = await session.over(1)
        assert step.interrupted
        await session.until(lambda: session.state.steps[1].tools, "the use is logged")
        await session.ended()
    assert session.state.steps[1].tools[0].message == "the request was stopped"
