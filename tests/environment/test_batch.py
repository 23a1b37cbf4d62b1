"""A session in a job of a batch system has what the job was granted, and is saved before it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from tests.cli.command import action_list, finish, mlgym, start
from tests.cli.processes import commands, descendants
from tests.runner.rig import ListAgent, driven, wait_for
from tests.tasks.quick_task import make_quick_task
from workbench.environment.resources import sandbox_limits
from workbench.isolation.batch import gpus_granted, granted, memory, processors
from workbench.session import events as ev
from workbench.session.log import read_log
from workbench.session.state import fold

JOB = {"SLURM_JOB_ID": "4711"}


def test_outside_of_a_job_nothing_is_granted() -> None:
    assert granted({"SLURM_CPUS_ON_NODE": "4"}) is None


@pytest.mark.parametrize(
    ("env", "cpus", "megabytes"),
    [
        ({"SLURM_CPUS_ON_NODE": "8", "SLURM_MEM_PER_NODE": "16384"}, 8, 15360),
        ({"SLURM_CPUS_PER_TASK": "2", "SLURM_MEM_PER_CPU": "1000"}, 2, 1500),
        ({"SLURM_MEM_PER_NODE": "0", "SLURM_CPUS_ON_NODE": "many"}, None, None),
    ],
)
def test_what_a_job_grants(env: dict[str, str], cpus: int | None, megabytes: int | None) -> None:
    grant = granted({**JOB, **env})
    assert grant is not None and grant.cpus == cpus and grant.ends is None
    assert grant.memory_bytes == (None if megabytes is None else megabytes << 20)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, [2, 3, 5]),
        ({"SLURM_JOB_GPUS": "3,5"}, [3, 5]),
        ({"SLURM_JOB_GPUS": "2-3", "SLURM_STEP_GPUS": "3", "CUDA_VISIBLE_DEVICES": "0"}, [3]),
        ({"SLURM_JOB_GPUS": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": "2,0"}, [2, 5]),
        ({"CUDA_VISIBLE_DEVICES": "1,9,0"}, [3]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-bb"}, [3]),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, []),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
    ],
)
def test_gpus_of_a_job(env: dict[str, str], expected: list[int]) -> None:
    assert gpus_granted([2, 3, 5], {2: "GPU-aa01", 3: "GPU-bb02", 5: "GPU-cc03"}, env) == expected


def test_the_sandbox_takes_no_more_than_the_job_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_quick_task(tmp_path)
    for name, value in {**JOB, "SLURM_CPUS_ON_NODE": "1", "SLURM_MEM_PER_NODE": "2048"}.items():
        monkeypatch.setenv(name, value)
    limits = sandbox_limits(task)
    assert (limits.cpus, limits.memory_bytes) == (1, 1536 << 20)
    assert (processors(), memory()) == (1, 1536 << 20)


async def test_it_is_saved_before_the_job_ends_and_goes_on_in_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 61))
    async with driven(tmp_path, ListAgent([], then="sleep 0.05")) as session:
        ended = await session.ended()
        assert ended.exit_status == "interrupted" and ended.reason == "SLURM job 4711 is about to end"
    assert "SLURM job 4711 grants what the machine has; it ends at " in session.events(ev.NoteAdded)[0].text
    monkeypatch.setenv("SLURM_JOB_ID", "4712")
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 3600))
    async with driven(tmp_path, ListAgent(["submit"]), resume=session.folder) as session:
        assert (await session.ended()).exit_status == "submitted"


@pytest.mark.parametrize(
    "hidden",
    [pytest.param("", marks=pytest.mark.bwrap), pytest.param("bwrap", marks=pytest.mark.landlock)],
    ids=["bubblewrap", "landlock"],
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
async def test_a_signal_to_every_process_of_the_job_is_an_orderly_end(
    hidden: str, number: signal.Signals, tmp_path: Path
) -> None:
    """SLURM sends it to all of them at once: the sandbox, too."""
    task = make_quick_task(tmp_path / "quick-task").folder
    busy = f"sleep 7{os.getpid():07d}"
    # Twice: where the command hears of it before the workbench does, the next has begun.
    model = action_list(tmp_path / "a.json", ["echo kept > kept.txt", busy, busy])
    path = os.environ["PATH"] if not hidden else path_without(hidden, tmp_path / "bin")
    sessions = tmp_path / "sessions"
    process = await start("run", str(task), "--model", model, "--headless", sessions=sessions, env={"PATH": path})
    await wait_for(lambda: busy in commands(descendants(process.pid)), "the command runs")
    for pid in [*descendants(process.pid), process.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    outcome = await finish(process)
    (folder,) = (path for path in sessions.iterdir() if (path / "events.jsonl").exists())
    events, problems = read_log(folder)
    last = events[-1]
    assert isinstance(last, ev.SessionEnded) and last.exit_status == "interrupted" and not problems, outcome
    assert number.name in last.reason and "kept.txt" in [file.path for file in fold(events).files_at()]
    action_list(tmp_path / "a.json", ["echo kept > kept.txt", busy, *["test -e kept.txt && submit"] * 2])
    again = await mlgym("resume", str(folder), "--headless", sessions=sessions)
    assert again.code == 0, again


def path_without(program: str, folder: Path) -> str:
    """A PATH with everything of this one but a program."""
    folder.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        for path in Path(place).iterdir() if Path(place).is_dir() else ():
            if path.name != program and not (folder / path.name).is_symlink():
                (folder / path.name).symlink_to(path)
    return str(folder)
