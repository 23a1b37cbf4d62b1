"""A second process sees and drives a whole session over a Unix socket, and needs nothing but `workbench.session`."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runner.rig import Driven, ListAgent, driven
from workbench.session import commands as do
from workbench.session import events as ev
from workbench.session.log import read_log
from workbench.session.socket import RemoteSession, SessionServer, SocketError


@pytest.fixture
def place() -> Iterator[Path]:
    """Of a socket: its path must be short."""
    with tempfile.TemporaryDirectory(prefix="mlgym-") as folder:
        yield Path(folder) / "of-the-user" / "s.sock"


async def offered(session: Driven, path: Path) -> SessionServer:
    runner = session.runner
    server = SessionServer(session.folder, runner.live.bus, runner.state, lambda: runner.status, runner.wheel)
    await server.start(path)
    return server


async def test_a_second_process_drives_a_whole_session(tmp_path: Path, place: Path) -> None:
    agent = ListAgent(["echo proposed", "rm -rf .", "echo three", "echo four"])
    async with driven(tmp_path, agent, mode="step", interactive=True) as session:
        server = await offered(session, place)
        command = [sys.executable, "-m", "tests.runner.second_view", str(place)]
        view = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        await session.ended()
        await server.stop()
        printed, _ = await view.communicate()
    assert view.returncode == 0
    seen = json.loads(printed)
    assert set(seen["imported"]) <= {"workbench.errors", "workbench.session", "workbench.text"}, (
        "it needs no runner, no sandbox and no screen"
    )
    assert seen["steps"] == [[step.status, step.author, step.action] for step in session.state.steps[1:]]
    run = ["echo edited", "rm -rf .", "echo three", "echo from-afar", "echo three", "echo four"]
    assert [step[2] for step in seen["steps"]] == run
    assert [step[0] for step in seen["steps"]] == ["ran", "rejected", "rejected", "ran", "ran", "ran"]
    assert {"review", "executing", "human"} <= set(seen["phases"]) and seen["printed"]
    assert json.loads(seen["ended"]) == json.loads(ev.encode(read_log(session.folder)[0][-1]))
    assert agent.messages == ["mind the gap"]


async def test_who_comes_late_sees_the_same(tmp_path: Path, place: Path) -> None:
    async with driven(tmp_path, ListAgent(["echo 1", "echo 2"]), mode="step", interactive=True) as session:
        server = await offered(session, place)
        await session.review(1)
        views = [await RemoteSession.connect(place, drives=True) for _ in range(2)]
        assert (await views[0].do(do.RunProposal())).done
        await session.review(2)
        for view in views:
            await session.until(lambda view=view: view.status == session.runner.status, "the same status")  # type: ignore[misc]
            assert view.state == session.state
        await views[0].close()
        assert (await views[1].do(do.Drive())).done
        assert (await views[1].do(do.Stop())).done
        await session.ended()
        await server.stop()
        await views[1].over()
        with pytest.raises(SocketError, match="has gone"):
            await views[1].do(do.Pause())


async def test_only_the_user_comes_in(tmp_path: Path, place: Path) -> None:
    async with driven(tmp_path, ListAgent(["true"]), mode="step", interactive=True) as session:
        server = await offered(session, place)
        assert [stat.S_IMODE(os.stat(path).st_mode) for path in (place, place.parent)] == [0o600, 0o700]
        os.chmod(place.parent, 0o755)
        with pytest.raises(SocketError, match="of this user alone"):
            await offered(session, place.with_name("other.sock"))
        await server.stop()
        with pytest.raises(FileNotFoundError):
            os.stat(place)
    with pytest.raises(SocketError, match="no session is offered"):
        await RemoteSession.connect(place)


@pytest.mark.parametrize(
    "sent", [b"", b"x" * 40, b"C\xff\xff\xff\xff", b"C\0\0\0\2{}", b'C\0\0\0\x22{"number":1,"command":{"command":"x"}}']
)
async def test_what_is_no_command_ends_the_connection_alone(tmp_path: Path, place: Path, sent: bytes) -> None:
    async with driven(tmp_path, ListAgent(["true"]), mode="step", interactive=True) as session:
        server = await offered(session, place)
        await session.review(1)
        reader, writer = await asyncio.open_unix_connection(place)
        writer.write(sent)
        writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
        assert await reader.read() is not None  # to its end
        assert session.runner.status.phase == "review"
        await server.stop()
