"""GPUs: what is asked for, what a sandbox is given, and leases that other processes respect."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from workbench.isolation.bwrap import bwrap_command
from workbench.isolation.gpus import (
    GpuError,
    GpuLease,
    GpuRequest,
    device_nodes,
    lease,
    list_gpus,
    read_request,
    visible_devices,
)
from workbench.sandbox.base import SandboxSpec
from workbench.sandbox.local import LocalSandbox

HERE = [0, 1, 2]


def of(text: str) -> GpuRequest:
    return read_request(text)


@contextmanager
def elsewhere(folder: Path, text: str, holder: str, *, share: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a lease, until it is killed."""
    program = (
        "import sys, time; from pathlib import Path; from workbench.isolation.gpus import lease, read_request\n"
        f"held = lease(read_request({text!r}), {HERE}, Path({str(folder)!r}), {holder!r}, share={share})\n"
        "print(*held.gpus, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def test_what_may_be_asked_for() -> None:
    assert of("2") == GpuRequest(2) and of("none") == of("0") == GpuRequest() and of("0").number == 0
    assert of("0,3") == GpuRequest(indices=(0, 3)) and of("3,") == GpuRequest(indices=(3,)) and of("1,1").number == 1
    for wrong in ("", "all", "-1", "0,,1", ",1", "1 2", "9999"):
        with pytest.raises(GpuError, match="neither a number of GPUs nor a list"):
            of(wrong)


def test_what_is_here(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm", "nvidia-caps", "null"):
        (tmp_path / name).touch()
    assert list_gpus(tmp_path) == [0, 2, 10]
    assert list_gpus(tmp_path / "nothing") == []


def test_devices_and_variables(tmp_path: Path) -> None:
    assert device_nodes([]) == [] and visible_devices([], confined=True, driver=tmp_path) == {}
    nodes = device_nodes([2])
    assert "/dev/nvidia2" in nodes and {"/dev/nvidiactl", "/dev/nvidia-uvm"} < set(nodes)
    assert not {"/dev/nvidia0", "/dev/nvidia1"} & set(nodes)
    # Without the driver's word: CUDA counts from 0 what it can open, and that is only these.
    assert visible_devices([1, 2], confined=True, driver=tmp_path) == {"CUDA_VISIBLE_DEVICES": "0,1"}
    assert visible_devices([1, 2], confined=False, driver=tmp_path) == {"CUDA_VISIBLE_DEVICES": "1,2"}
    for minor, digit in ((1, "a"), (2, "b")):
        (tmp_path / f"0000:0{minor}:00.0").mkdir()
        (tmp_path / f"0000:0{minor}:00.0" / "information").write_text(
            f"Model: \t\t NVIDIA\nGPU UUID: \t GPU-{digit * 8}-1111-2222-3333-444444444444\nDevice Minor: \t {minor}\n"
        )
    known = visible_devices([2, 1], confined=True, driver=tmp_path)["CUDA_VISIBLE_DEVICES"]
    assert known == "GPU-bbbbbbbb-1111-2222-3333-444444444444,GPU-aaaaaaaa-1111-2222-3333-444444444444"
    assert visible_devices([1, 3], confined=False, driver=tmp_path) == {"CUDA_VISIBLE_DEVICES": "1,3"}


@pytest.mark.bwrap
def test_the_local_sandbox_binds_only_its_own(tmp_path: Path) -> None:
    def command(gpus: list[int]) -> list[str]:
        (tmp_path / f"run{len(gpus)}").mkdir()
        confinement = LocalSandbox(SandboxSpec(session="s", gpus=gpus), tmp_path).confinement({}, {})
        return bwrap_command(["true"], confinement, tmp_path / f"run{len(gpus)}")

    with_one, without = command([1]), command([])
    bound = [with_one[at + 1] for at, word in enumerate(with_one) if word == "--dev-bind-try"]
    assert bound == device_nodes([1]) and "/dev/nvidia0" not in with_one
    assert with_one[with_one.index("CUDA_VISIBLE_DEVICES") - 1] == "--setenv"
    assert not any("nvidia" in word or "CUDA" in word for word in without)


def test_nobody_gets_what_another_has(tmp_path: Path) -> None:
    first = lease(of("2"), HERE, tmp_path, "session one")
    assert first.gpus == (0, 1)
    second = lease(of("1"), HERE, tmp_path, "session two")
    assert second.gpus == (2,)
    with pytest.raises(GpuError) as raised:
        lease(of("1"), HERE, tmp_path, "session three")
    assert "GPU 0 is held by session one (process " in str(raised.value) and "GPU 2 is held by session two" in str(
        raised.value
    )
    assert "--share-gpus" in raised.value.hint
    first.release()
    first.release()
    with pytest.raises(GpuError, match=r"^2 GPUs wanted, but GPU 2 is held by session two \(process \d+\)$"):
        lease(of("2,1"), HERE, tmp_path, "session three")
    third = lease(of("1,0"), HERE, tmp_path, "session three")  # a lease that failed took nothing
    assert third.gpus == (1, 0)
    for held in (second, third):
        held.release()


def test_no_gpus_leave_no_trace(tmp_path: Path) -> None:
    assert lease(of("none"), [], tmp_path / "locks", "me").gpus == () == GpuLease().gpus
    assert not (tmp_path / "locks").exists()


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(GpuError, match=r"^there is no GPU 5: this machine has GPU 0, 1, 2$"):
        lease(of("1,5"), HERE, tmp_path, "me")
    with pytest.raises(GpuError, match=r"^2 GPUs wanted: this machine has no GPU that can be seen$"):
        lease(of("2"), [], tmp_path, "me")


def test_a_lease_of_another_process_ends_with_it(tmp_path: Path) -> None:
    with elsewhere(tmp_path, "0,1", "session far away") as process:
        assert lease(of("1"), HERE, tmp_path, "me").gpus == (2,)
        with pytest.raises(GpuError, match=rf"GPU 1 is held by session far away \(process {process.pid}\)"):
            lease(of("1,"), HERE, tmp_path, "me")
        process.kill()
        process.wait()
        assert lease(of("0,1"), HERE, tmp_path, "me").gpus == (0, 1)


def test_sharing_is_asked_for_by_who_shares(tmp_path: Path) -> None:
    with elsewhere(tmp_path, "0,1", "session far away"):
        free_first = lease(of("1"), HERE, tmp_path, "me", share=True)
        assert free_first.gpus == (2,)
        both = lease(of("1,"), HERE, tmp_path, "me", share=True)
        assert both.gpus == (1,)
        with pytest.raises(GpuError, match="GPU 2 is held by me"):  # shared is not free
            lease(of("2,"), HERE, tmp_path, "another")
        joined = lease(of("2,"), HERE, tmp_path, "a friend", share=True)
    # The one who did not ask to share is gone; those who share keep others away.
    with pytest.raises(GpuError, match="GPU 1 is held by me"):
        lease(of("1,"), HERE, tmp_path, "another")
    for held in (both, free_first):
        held.release()
    assert lease(of("1,"), HERE, tmp_path, "another").gpus == (1,)
    with pytest.raises(GpuError, match="GPU 2 is held by a friend"):
        lease(of("2,"), HERE, tmp_path, "another")
    joined.release()


def test_a_hostile_note_in_a_lock_is_no_more_than_that(tmp_path: Path) -> None:
    with elsewhere(tmp_path, "0,", "x"):
        for content in ("", "not json", '{"holder": 1}', "[]"):
            (tmp_path / "gpu-0").write_text(content)
            with pytest.raises(GpuError, match="GPU 0 is held by another process"):
                lease(of("0,"), HERE, tmp_path, "me")
