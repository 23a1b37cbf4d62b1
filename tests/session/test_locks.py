"""File systems that give no locks, as some networks have them: what goes on without, and what does not."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from pathlib import Path

import pytest

from tests.runner.rig import ListAgent, driven
from workbench.isolation.gpus import GpuError, lease, read_request
from workbench.isolation.temporary import OwnedFolder, find_stale_folders
from workbench.session import events as ev
from workbench.session.files import NoLocks
from workbench.session.log import EVENTS_FILE, is_locked
from workbench.session.pruning import prune
from workbench.session.socket import socket_of
from workbench.session.spec import SessionSpec
from workbench.session.store import remove_session
from workbench.sweep.worker import Order, work


@pytest.fixture(autouse=True, params=[errno.ENOLCK, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: object, operation: int) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)


async def test_a_session_runs_and_goes_on_and_says_so(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent([], then="true")) as session:
        await session.over(1)
        assert not is_locked(session.folder)
        assert prune(session.folder.parent, dry_run=True).sessions == [], "what may run is not looked through"
        session.runner.controls.stop("interrupted", "enough")
        await session.ended()
    async with driven(tmp_path, ListAgent(["submit"]), resume=session.folder) as again:
        assert (await again.ended()).exit_status == "submitted"
        assert "gives no locks" in again.events(ev.NoteAdded)[-1].text


async def test_a_session_that_may_run_is_removed_by_force_alone(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent([], then="true")) as session:
        await session.over(1)
        with pytest.raises(ValueError, match=r"may be running: its log has no end.*--force removes it"):
            remove_session(session.folder)
        server = socket.socket(socket.AF_UNIX)  # as a session in a sandbox offers itself
        path = socket_of(session.folder)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        server.bind(str(path))
        server.listen()
        with pytest.raises(ValueError, match="is running: end it first"):
            remove_session(session.folder, force=True)
        server.close()
        session.runner.controls.stop("interrupted", "enough")
        await session.ended()
    whole = (session.folder / EVENTS_FILE).read_bytes()
    (session.folder / EVENTS_FILE).write_bytes(whole[: whole.rstrip(b"\n").rfind(b"\n") + 1])  # as after kill -9
    with pytest.raises(ValueError, match="may be running"):
        remove_session(session.folder)
    (session.folder / EVENTS_FILE).write_bytes(whole)
    remove_session(session.folder)
    assert not session.folder.exists()


def test_a_folder_that_may_be_somebodys_is_not_removed() -> None:
    with OwnedFolder("run") as folder:
        assert folder not in find_stale_folders()


async def test_gpus_and_sweeps_need_locks(tmp_path: Path) -> None:
    with pytest.raises(GpuError, match="gives no locks") as caught:
        lease(read_request("1"), [0], tmp_path, "me")
    assert "MLGYM_CACHE" in caught.value.hint
    with pytest.raises(NoLocks):
        await work(Order("job", SessionSpec(), str(tmp_path)))
