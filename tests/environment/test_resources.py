"""What a task asks of the machine, and what its session is given."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.runner.rig import ListAgent, driven
from tests.tasks.quick_task import make_quick_task
from workbench.environment import assembly
from workbench.environment.resources import lease_gpus, sandbox_limits, shortage_notes
from workbench.isolation.gpus import GpuError
from workbench.isolation.spec import ResourceLimits
from workbench.sandbox.local import LocalSandbox
from workbench.tasks.catalogue import Task, load_task
from workbench.tasks.errors import TaskError
from workbench.tasks.needs import examine


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLGYM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def asking(folder: Path, resources: str) -> Task:
    make_quick_task(folder)
    file = folder / "task.yaml"
    file.write_text(file.read_text() + f"resources: {resources}\n")
    return load_task(folder)


def test_limits_of_the_sandbox(tmp_path: Path) -> None:
    usual = ResourceLimits()
    assert sandbox_limits(make_quick_task(tmp_path / "plain")) == usual
    limits = sandbox_limits(asking(tmp_path / "some", "{memory_bytes: 134217728, cpus: 1.5}"))
    assert (limits.memory_bytes, limits.cpus) == (128 << 20, 1.5)
    assert (limits.processes, limits.file_bytes) == (usual.processes, usual.file_bytes)
    for wrong in ("{memory_bytes: 1000}", "{cpus: 0}", "{cpus: .inf}", "{gpus: -1}", "{ram: 3}"):
        with pytest.raises(TaskError, match="resources"):
            asking(tmp_path / wrong.strip("{}").partition(":")[2].strip(" .") / wrong[1], wrong)


def test_a_machine_that_has_less_is_an_obstacle_and_a_note(tmp_path: Path) -> None:
    task = asking(tmp_path / "much", "{memory_bytes: 1099511627776000, cpus: 4000, gpus: 9}")
    needs = examine(task)
    assert needs.words == ("9 GPUs", "1.02e+06 GB of memory", "4000 CPUs") and needs.verdict == "no"
    assert [obstacle.partition(";")[0] for obstacle in needs.obstacles] == [
        "it needs 9 GPUs",
        "it asks for 1.02e+06 GB of memory",
        "it asks for 4000 CPUs",
    ]
    assert len(shortage_notes(task)) == 2 and shortage_notes(make_quick_task(tmp_path / "plain")) == []


def test_gpus_of_a_task(tmp_path: Path, cache: Path) -> None:
    task, notes = asking(tmp_path / "two", "{gpus: 2}"), list[str]()

    def take(asked: str = "", have: int = 4, of: Task = task, share: bool = False) -> Any:
        return lease_gpus(of, asked, share=share, holder="session x", notes=notes, devices=lambda: range(have))

    first = take()
    assert first.gpus == (0, 1) and notes == [] and take("3,").gpus == (3,) and take("none").gpus == ()
    assert {path.name for path in (cache / "gpus").iterdir()} >= {"gpu-0", "gpu-1", "gpu-3"}
    with pytest.raises(GpuError, match=r"2 GPUs wanted, but GPU 0 is held by session x \(process"):
        take(have=3)
    shared = take(have=3, share=True)
    assert shared.gpus == (0, 2)  # what is free first
    for held in (first, shared):
        held.release()
    assert take(have=1).gpus == (0,)
    assert notes == ["the task asks for 2 GPUs, and this machine has 1: that many are used"]
    assert take(have=0).gpus == () and "this machine has none: none is used" in notes[-1]
    with pytest.raises(GpuError, match="there is no GPU 7"):
        take("7,")


def test_nobody_looks_for_gpus_where_none_are_wanted(tmp_path: Path, cache: Path) -> None:
    def devices() -> list[int]:
        raise AssertionError("looked for GPUs")

    plain = make_quick_task(tmp_path / "plain")
    notes: list[str] = []
    assert lease_gpus(plain, holder="x", notes=notes, devices=devices).gpus == ()
    stand_in = Task(asking(tmp_path / "two", "{gpus: 2}").folder, load_task(tmp_path / "two").spec, variant="tiny")
    assert lease_gpus(stand_in, holder="x", notes=notes, devices=devices).gpus == ()
    assert notes == [] and not (cache / "gpus").exists()


async def test_a_session_has_what_its_task_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = asking(tmp_path / "some", "{memory_bytes: 268435456, cpus: 1, gpus: 1}")

    def fake(*arguments: Any, **options: Any) -> Any:
        return lease_gpus(*arguments, **options, devices=lambda: [0, 1])

    monkeypatch.setattr(assembly, "lease_gpus", fake)
    options: dict[str, Any] = {"mode": "step", "task": str(task.folder), "grounds": assembly.OURS}
    agent = ListAgent(["echo on $CUDA_VISIBLE_DEVICES; nproc"], then="true")
    async with driven(tmp_path, agent, **options) as session:
        await session.review(1)
        sandbox = session.runner.episode.sandbox
        assert isinstance(sandbox, LocalSandbox) and sandbox.spec.gpus == (0,)
        assert (sandbox.spec.limits.memory_bytes, sandbox.spec.limits.cpus) == (256 << 20, 1)
        assert session.state.sandbox["gpus"] == [0]
        async with driven(tmp_path, ListAgent([], then="true"), **options) as other:
            await other.review(1)
            assert other.state.sandbox["gpus"] == [1]
            with pytest.raises(GpuError, match=f"GPU 0 is held by session {session.folder.name}"):
                async with driven(tmp_path, ListAgent([]), **options):
                    raise AssertionError("there was no GPU left")
    # They are given back at the end of a session, not only of its process.
    again = fake(task, "2", holder="y", notes=[])
    assert again.gpus == (0, 1)
    await asyncio.to_thread(again.release)
