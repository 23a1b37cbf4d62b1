"""File systems that give no locks, as some networks have them: what goes on without, and what does not."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from tests.runner.rig import ListAgent, driven
from workbench.isolation.gpus import GpuError, lease, read_request
from workbench.isolation.temporary import OwnedFolder, find_stale_folders
from workbench.session import events as ev
from workbench.session.files import NoLocks
from workbench.session.log import is_locked
from workbench.session.pruning import prune
from workbench.session.spec import SessionSpec
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


def test_a_folder_that_may_be_somebodys_is_not_removed() -> None:
    with OwnedFolder("run") as folder:
        assert folder not in find_stale_folders()


async def test_gpus_and_sweeps_need_locks(tmp_path: Path) -> None:
    with pytest.raises(GpuError, match="gives no locks") as caught:
        lease(read_request("1"), [0], tmp_path, "me")
    assert "MLGYM_CACHE" in caught.value.hint
    with pytest.raises(NoLocks):
        await work(Order("job", SessionSpec(), str(tmp_path)))
