"""Landlock: what each of its versions lacks and what stands in for that, and what stays out of its reach."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sandbox.conftest import CHECKOUT
from tests.sandbox.test_seccomp import ALLOW, ENOSYS, EPERM, X86_64, judged
from workbench.isolation import landlock
from workbench.isolation.keeper import landlock_version
from workbench.isolation.landlock import READ, READ_DIR, around, differences, filter_for, rights, try_landlock
from workbench.isolation.spec import Confinement, SandboxError
from workbench.isolation.users import HOST_UID, fresh_user
from workbench.sandbox.base import SandboxSpec
from workbench.sandbox.local import LocalSandbox

ASK, NO_FAMILY = 0x7FC00000, 0x00050061


def test_what_each_version_binds() -> None:
    assert rights(1) == [0x1FFF, 0, 0] and rights(3) == [0x7FFF, 0, 0] and rights(4) == [0x7FFF, 3, 0]
    assert rights(5) == [0xFFFF, 3, 0] and rights(6) == rights(7) == rights(99) == [0xFFFF, 3, 3]
    assert [filter_for(version) for version in (1, 3, 6)] == [["truncation", "signals"], ["signals"], []]


def test_what_older_kernels_lack_is_said() -> None:
    assert differences(6) == differences(7) == []
    assert [sentence.split(" knows no ")[1].split(" (")[0] for sentence in differences(1)] == [
        "files moved between folders",
        "files cut short",
        "signals and abstract sockets",
    ]
    assert "Linux 6.12 does" in differences(5)[0]


def test_what_is_hidden_is_left_out(tmp_path: Path) -> None:
    for name in ("lib/ours/tasks", "lib/other", "bin"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "lib" / "link").symlink_to(tmp_path / "lib" / "ours")
    found = dict(around(tmp_path, [tmp_path / "lib" / "ours"]))
    assert found == {tmp_path: READ_DIR, tmp_path / "bin": READ, tmp_path / "lib": READ_DIR,
                     tmp_path / "lib" / "other": READ}  # fmt: skip
    assert dict(around(tmp_path, [])) == {tmp_path: READ} and dict(around(tmp_path, [tmp_path])) == {}


def test_what_the_filter_sees_to() -> None:
    def of(number: int, *arguments: int, given: tuple[str, ...] = ()) -> int:
        return judged("x86_64", False, X86_64, number, *arguments, beside=given)

    unix, internet, stream, datagrams = 1, 2, 1 | os.O_CLOEXEC, 2
    assert of(41, unix, stream) == of(53, unix, stream) == ALLOW
    assert of(41, unix, datagrams) == of(53, unix, datagrams) == EPERM, "which have addresses that nobody sees"
    assert of(41, internet, stream) == of(41, 16, 3) == NO_FAMILY
    assert of(90) == of(280) == of(42) == of(16, 0, 0x5441) == ASK, "chmod, utimensat, connect, a terminal's other end"
    assert of(92) == EPERM and of(188) == 0x0005005F and of(29) == of(294) == ENOSYS
    assert of(302, 0) == of(203, 0) == ALLOW and of(302, 12) == EPERM and of(203, 12) == ASK
    assert of(62, 12, 9) == ALLOW and of(62, 12, 9, given=("signals",)) == ASK
    shared, created = os.O_RDWR | os.O_NOFOLLOW, os.O_RDWR | os.O_CREAT | os.O_EXCL
    assert of(257, 0, 0, shared) == of(2, 0, created) == ASK and of(257, 0, 0, os.O_RDWR | os.O_CREAT) == ALLOW
    cut = os.O_RDONLY | os.O_TRUNC
    assert of(257, 0, 0, cut) == ALLOW and of(257, 0, 0, cut, given=("truncation",)) == EPERM
    assert of(76, given=("truncation",)) == EPERM and of(437, given=("truncation",)) == ENOSYS
    assert of(257, 0, 0, os.O_WRONLY | os.O_TRUNC, given=("truncation",)) == ALLOW


def test_a_kernel_without_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "landlock_version", lambda: 0)
    assert "Linux 5.13 or later" in (try_landlock() or "")


@pytest.mark.landlock
def test_it_gives_no_network(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="no network"):
        landlock.landlock_command(landlock.Domain(["true"], Confinement(network=True), tmp_path, os.geteuid()))


@pytest.mark.landlock
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of the attacks' calls are those of x86-64")
@pytest.mark.parametrize("version", [7, 5, 1])
def test_nothing_of_its_own_user_is_in_reach(ordinary: tuple[list[str], Path], version: int) -> None:
    """Files, sockets, terminals and processes, in each version; and what ordinary programs do goes on."""
    command, folder = ordinary
    script = folder / "code" / "beside.py"
    script.write_text(Path(__file__).with_name("beside.py").read_text())
    command = [*command, str(script), str(folder / "workspace"), str(min(version, landlock_version()))]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    lines = done.stdout.splitlines()
    assert lines[:1] == ["[56, []]"], (done.stdout, done.stderr)
    uses = ["handled", "-15", "0o100751 4.0", "connected", "terminal", "[1]"]
    assert lines[1:] == [*uses, "served", "alive"], (done.stdout, done.stderr)


@pytest.mark.landlock
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_as_root_each_sandbox_has_a_user_of_its_own(tmp_path: Path) -> None:
    """And reaches its workspace below a folder that is root's alone (here that of the tests)."""
    assert fresh_user() != HOST_UID
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append(LocalSandbox(SandboxSpec(session=name), tmp_path / name, "landlock"))
        await made[-1].start()
    try:
        ids = [(await each.exec(["sh", "-c", "id -u; touch made; cat ../*/*"])).stdout for each in made]
        assert len({*ids}) == 2 and all(int(said) not in (0, HOST_UID) for said in ids)
        assert [(tmp_path / name / "made").stat().st_uid for name in ("one", "two")] == [int(said) for said in ids]
    finally:
        for each in made:
            await each.stop()


ENDING_TWICE = """
import os, signal, sys
from workbench.isolation import keeper

plainly, told = signal.signal, []

def signal_at_the_end(number, action):
    if action is signal.SIG_IGN and not told:
        told.append(number)
        os.kill(os.getpid(), number)
    return plainly(number, action)

def keep(order, child, from_child):
    print(child, file=sys.stderr, flush=True)
    return 0

keeper.signal.signal = signal_at_the_end
keeper._start = lambda order, to_keeper: os.execv("/bin/sleep", ["sleep", "987"])
keeper._keep = keep
keeper.start_keeper()
"""


def test_the_end_of_the_workbench_is_heard_while_the_keeper_ends(tmp_path: Path) -> None:
    """The program that it keeps sees that end, too, and may be gone before the signal of it comes."""
    order, remove = tmp_path / "order", tmp_path / "remove"
    remove.mkdir()
    order.write_text(json.dumps({"user": None, "descriptors": [], "remove": str(remove)}))
    done = subprocess.run(
        [sys.executable, "-c", ENDING_TWICE, str(order)], capture_output=True, text=True, cwd=CHECKOUT, timeout=30
    )
    assert done.stderr.strip().isdigit(), done.stderr
    assert not Path(f"/proc/{done.stderr.strip()}").exists() and not remove.exists()
