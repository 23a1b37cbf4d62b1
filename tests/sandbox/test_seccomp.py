"""The filter of system calls: what it decides, on each machine; and that sandboxes have it."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any
from unittest.mock import ANY

import pytest

from tests.sandbox.conftest import open_terminal
from workbench.isolation import seccomp
from workbench.sandbox.guest_sandbox import GuestSandbox

ALLOW, EPERM, ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
X86_64, AARCH64 = 0xC000003E, 0xC00000B7


def judged(
    machine: str, room: bool, convention: int, number: int, *arguments: int, beside: Collection[str] | None = None
) -> int:
    """What the kernel would do, running the filter as it does."""
    data = {0: number, 4: convention, **{16 + 8 * n: value & 0xFFFFFFFF for n, value in enumerate(arguments)}}
    loaded, at = 0, 0
    program = seccomp._program(machine, room, beside)
    while True:
        code, yes, no, value = program[at]
        at += 1
        if code == 0x06:
            return value
        if code == 0x20:
            loaded = data.get(value, 0)
        elif code == 0x54:
            loaded &= value
        else:
            holds = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[code]
            at += yes if holds else no


@pytest.mark.parametrize(
    ("machine", "convention", "calls"),
    [
        ("x86_64", X86_64, {"read": 0, "ioctl": 16, "clone": 56, "socket": 41, "kill": 62, "keyctl": 250, "bpf": 321}),
        ("aarch64", AARCH64, {"read": 63, "ioctl": 29, "clone": 220, "socket": 198, "kill": 129, "keyctl": 219,
                              "bpf": 280}),
    ],
)  # fmt: skip
def test_what_is_refused(machine: str, convention: int, calls: dict[str, int]) -> None:
    def of(name: str, *arguments: int, room: bool = False) -> int:
        return judged(machine, room, convention, calls[name], *arguments)

    assert of("read") == of("read", room=True) == ALLOW
    assert of("keyctl") == of("bpf") == of("keyctl", room=True) == EPERM
    assert of("kill") == ALLOW and of("kill", room=True) == EPERM
    assert of("ioctl", 0, 0x5401) == ALLOW and of("ioctl", 0, 0x5412) == of("ioctl", 0, 1 << 32 | 0x541C) == EPERM
    assert of("socket", 2) == of("socket", 1) == ALLOW and of("socket", 40) == of("socket", 2, room=True) == EPERM
    assert of("clone", 0x3D0F00) == ALLOW, "a thread"
    assert of("clone", 0x10000011) == EPERM, "a user namespace"
    assert judged(machine, False, convention, 435) == ENOSYS, "clone3, so that libraries go on with clone"
    assert judged(machine, False, convention, 425) == EPERM, "io_uring_setup"
    assert judged(machine, False, convention, 600) == ENOSYS
    assert judged(machine, False, convention, 0x40000000) == ENOSYS, "x32"
    assert judged(machine, False, 0x40000003, 3) == EPERM, "another calling convention"


TRY = """
import ctypes, errno, fcntl, json, os, socket, struct
library = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    result = getattr(library, name)(*arguments) if isinstance(name, str) else library.syscall(name, *arguments)
    return "ok" if result >= 0 else errno.errorcode[ctypes.get_errno()]
numbers = {"x86_64": (248, 249, 250, 425, 321, 298, 323), "aarch64": (217, 218, 219, 425, 280, 241, 282)}
found = {"refused": sorted({call(number, 0, 0, 0, 0, 0) for number in numbers[os.uname().machine]})}
try:
    socket.socket(40, socket.SOCK_STREAM)
except OSError as error:
    found["vsock"] = errno.errorcode[error.errno]
found["unshare"] = call("unshare", 0x10000000)
found["inotify"] = call("inotify_init")
with open("lock", "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    found["flock"] = "ok"
child = os.fork()
if not child:
    library.ptrace(0, 0, 0, 0)
    os.kill(os.getpid(), 19)
    os._exit(0)
found["traced"] = os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1])
os.kill(child, 9)
try:
    found["keys"] = open("/proc/keys").read()
except OSError:
    found["keys"] = ""
print(json.dumps(found))
"""


async def test_a_sandbox_refuses_what_no_agent_needs(protected: GuestSandbox) -> None:
    """In its shell, and beside it; what ordinary programs do goes on."""
    (protected.workspace_folder / "try.py").write_text(TRY)
    expected: dict[str, Any] = {"refused": ["EPERM"], "vsock": "EPERM", "unshare": "EPERM", "inotify": "ok"}
    expected |= {"flock": "ok", "traced": True, "keys": ""}
    if protected.describe()["isolation"] == "landlock":
        expected |= {
            "vsock": "EAFNOSUPPORT",
            "inotify": "ENOSYS",
            "keys": ANY,
        }  # the user's folders, and keyrings' names
    terminal = await open_terminal(protected)
    assert json.loads((await terminal.run("python3 try.py")).split("\n")[0]) == expected
    beside = await protected.exec(["python3", "try.py"])
    assert json.loads(beside.stdout) == expected
    assert protected.guest_facts["unfiltered"] == ""


async def test_an_unknown_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "_MACHINES", {})
    assert "no filter of system calls is known for linux" in seccomp.confine(room=False)
