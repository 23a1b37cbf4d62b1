"""Whole sessions of the shipped agent `memory`: what one session notes, the next one reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.agents.models.dialects import OPENAI
from tests.agents.models.server import Server, serving
from tests.runner.chat import asked, called, make_agent, said, talking
from tests.runner.rig import Driven, ListAgent, driven
from workbench.environment.services.desk import MOST_IN_A_STEP
from workbench.environment.services.notes import MOST_CHARACTERS, NoteFile, memory_folder
from workbench.session import events as ev


@pytest.fixture(autouse=True)
def own_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A memory and settings of the test's own."""
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_BASE_URL", "MLGYM_MODEL_API_KEY", "MLGYM_EMBEDDINGS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("MLGYM_MEMORY", str(tmp_path / "memory"))
    return tmp_path / "memory"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as local:
        yield local


NOTE = "Answering 0 always scores 1.35; answering 1 always scores 0.7."
OTHER = "The file strategy.py must define row_strategy(history)."


async def two_sessions(root: Path, server: Server, **options: object) -> tuple[Driven, Driven]:
    server.answers(
        said(OPENAI, "memory_read"),
        said(OPENAI, f"memory_write '{NOTE}'"),
        said(OPENAI, f"memory_write <<'E'\n{OTHER}\nE"),
        said(OPENAI, "submit"),
    )
    async with talking(root, OPENAI, server, "memory", **options) as first:
        await first.ended(40)
    server.answers(
        said(OPENAI, "memory_read 'which score did answering give' 1"),
        said(OPENAI, f"ls {memory_folder()}; env | grep MEMORY"),
        said(OPENAI, "submit"),
    )
    async with talking(root, OPENAI, server, "memory", **options) as second:
        await second.ended(40)
    return first, second


def check_two_sessions(first: Driven, second: Driven, server: Server) -> None:
    assert first.state.steps[1].observation.strip() == "The memory of this task is empty."
    assert first.state.steps[1].exit_code == 1
    assert [step.exit_code for step in first.state.steps[2:4]] == [0, 0]
    read = second.state.steps[1].observation
    assert NOTE in read and OTHER not in read, "the best match alone"
    assert f"step 2 of {first.folder.name}" in read and "model:gpt" in read, "where it is from"
    assert NOTE in asked(server), "the model was shown it"
    assert [(event.tool, event.step, event.results, event.ok) for event in first.events(ev.ToolUsed)] == [
        ("memory_read", 1, 0, False),
        ("memory_write", 2, 1, True),
        ("memory_write", 3, 1, True),
    ]
    [use] = second.state.steps[1].tools
    assert (use.query, use.results, use.source) == ("which score did answering give", 1, "memory")
    notes, problems = NoteFile("quick").read()
    assert [note.text for note in notes] == [NOTE, OTHER] and problems == []
    assert {note.session for note in notes} == {first.folder.name} and [note.step for note in notes] == [2, 3]
    assert {note.author for note in notes} == {f"model:{OPENAI.model}"}
    started = first.state.started
    assert started is not None and started.tools == ["memory_write", "memory_read"]


async def test_the_next_session_reads_what_one_has_noted(tmp_path: Path, server: Server) -> None:
    first, second = await two_sessions(tmp_path, server)
    check_two_sessions(first, second, server)
    assert "memory_write" in asked(server, 0), "the commands are in the prompt"


@pytest.mark.bwrap
async def test_in_the_sandbox_no_note_is_seen_but_by_asking(tmp_path: Path, server: Server) -> None:
    first, second = await two_sessions(tmp_path, server, unsafe_local=False)
    check_two_sessions(first, second, server)
    assert "No such file" in second.state.steps[2].observation and second.state.steps[2].exit_code == 1


@pytest.mark.docker
async def test_the_same_in_docker(tmp_path: Path, server: Server) -> None:
    first, second = await two_sessions(tmp_path, server, unsafe_local=False, sandbox="docker")
    check_two_sessions(first, second, server)


async def test_as_tools_of_the_provider(tmp_path: Path, server: Server) -> None:
    server.answers(
        called(OPENAI, "memory_write", note="it's $HOME\nand `more`"),
        called(OPENAI, "memory_read"),
        called(OPENAI, "memory_read", query="more", number=2),
        called(OPENAI, "submit"),
    )
    agent = make_agent(OPENAI, server, "memory", parser="tool_calls")
    async with driven(tmp_path, agent) as session:
        await session.ended()
    assert [step.exit_code for step in session.state.steps[1:4]] == [0, 0, 0]
    assert "it's $HOME\nand `more`" in session.state.steps[3].observation.replace("\r", "")
    assert {tool["function"]["name"] for tool in server.calls[0].body["tools"]} >= {"memory_write", "memory_read"}


@pytest.mark.parametrize("name", ["default", "literature", "minimal"])
async def test_other_agents_have_no_memory(tmp_path: Path, server: Server, name: str) -> None:
    server.answers(said(OPENAI, "memory_write x"), said(OPENAI, "memory_read"), said(OPENAI, "submit"))
    async with talking(tmp_path, OPENAI, server, name) as session:
        await session.ended()
    for step in session.state.steps[1:3]:
        assert step.exit_code == 2 and "is not switched on in this session" in step.observation
    assert session.events(ev.ToolUsed) == [] and not (tmp_path / "memory").exists()
    assert "memory_" not in asked(server, 0)


class Remembering(ListAgent):
    """A list of actions, with memory."""

    commands = ("memory_write", "memory_read")


async def run(root: Path, *actions: str) -> Driven:
    async with driven(root, Remembering(list(actions))) as session:
        await session.ended()
    return session


async def test_what_cannot_be_noted_is_refused_and_said(tmp_path: Path) -> None:
    session = await run(
        tmp_path,
        "memory_write",
        "memory_write '  '",
        f"memory_write \"$(head -c {MOST_CHARACTERS + 1} /dev/zero | tr '\\0' x)\"",
        "memory_write a b",
        "memory_read a b c",
        "memory_read a 0",
        "head -c 1500000 /dev/zero | tr '\\0' x | memory_write",
    )
    codes = [step.exit_code for step in session.state.steps[1:]]
    assert codes == [1, 1, 1, 2, 2, 2, 1]
    said = [step.observation for step in session.state.steps[1:]]
    assert "empty" in said[0] and "4,001 characters" in said[2] and "quotes" in said[3] and "not a number" in said[5]
    assert "that is too long" in said[6]
    assert NoteFile("quick").read() == ([], [])


async def test_a_loop_cannot_flood_it(tmp_path: Path) -> None:
    session = await run(
        tmp_path, "for i in $(seq 30); do memory_write note$i; done 2>&1 | tail -1", "memory_write more"
    )
    assert f"there were {MOST_IN_A_STEP} such requests" in session.state.steps[1].observation
    assert len(NoteFile("quick").read()[0]) == MOST_IN_A_STEP + 1
    assert len(session.state.steps[1].tools) == MOST_IN_A_STEP


async def test_hostile_notes_are_harmless_and_keys_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_memory: Path
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "abcdefgh-secret-1234")
    session = await run(
        tmp_path,
        r"memory_write $'a\e]0;title\a\e[2J\u202ereversed\u2028 \ud83d'",
        "memory_write 'the key is abcdefgh'-secret-1234",
        "memory_write '{\"id\": 1}'",
        "memory_read",
    )
    shown = session.state.steps[4].observation
    assert "^[]0;title^G^[[2J<U+202E>reversed" in shown and '{"id": 1}' in shown
    kept = NoteFile("quick", own_memory).file.read_text()
    assert "abcdefgh-secret" not in kept and "the key is [redacted]" in kept
    assert all(json.loads(line)["text"] for line in kept.splitlines())


async def test_sessions_at_once_lose_no_note(tmp_path: Path) -> None:
    actions = [f'for i in 1 2 3 4 5; do memory_write "$(basename $PWD) {{}} {part} $i"; done' for part in "ab"]
    await run(tmp_path, "true")  # makes the task
    runs = [run(tmp_path, *(action.replace("{}", str(number)) for action in actions)) for number in range(3)]
    sessions = await asyncio.gather(*runs)
    assert all(step.exit_code == 0 for session in sessions for step in session.state.steps[1:])
    notes, problems = NoteFile("quick").read()
    assert len({note.text for note in notes}) == 30 and problems == []
