"""What is contained where: one set of attempts against every way to run commands.

`python -m tests.sandbox.test_contained` makes the table in docs/architecture.md from the results.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from tests.sandbox.conftest import CHECKOUT, make_sandbox
from workbench.isolation.spec import ResourceLimits
from workbench.sandbox.base import SandboxSpec
from workbench.sandbox.guest_sandbox import GuestSandbox

WAYS = {"local": "bubblewrap", "landlock": "Landlock", "docker": "Docker, Podman"}

ATTEMPTS = {
    "read a file of the user's": "open(secret)",
    "list the user's folders": "os.listdir(os.path.dirname(secret))",
    "know whether a file of the user's is there": "os.stat(secret)",
    "write outside of the workspace": "open('/usr/local/written', 'w')",
    "change a file of the user's": "open(secret, 'a')",
    "read the variables of a process of the user's": "open(f'/proc/{pid}/environ', 'rb').read(1)",
    "read the memory of a process of the user's": "open(f'/proc/{pid}/mem', 'rb')",
    "see the command line of a process of the user's": "open(f'/proc/{pid}/cmdline').read().index('sleep')",
    "send a signal to a process of the user's": "os.kill(pid, 0)",
    "trace a process of the user's": "assert libc.ptrace(16, pid, 0, 0) == 0",
    "connect to a server of this machine (TCP)": "socket.create_connection(('127.0.0.1', port), 2)",
    "send a datagram (UDP)": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('10.1.2.3', 53))",
    "connect to an abstract Unix socket": "socket.socket(socket.AF_UNIX).connect(chr(0) + name)",
    "connect to a Unix socket of the user's": "socket.socket(socket.AF_UNIX).connect(secret + '.socket')",
    "have the keys in the environment": "os.environ['SOME_API_KEY']",
    "become root": "os.setuid(0)",
    "gain privileges by a program": "assert 'NoNewPrivs:\\t0' in open('/proc/self/status').read()",
    "have a capability": "assert int(re.search('CapEff:\\t(.*)', open('/proc/self/status').read())[1], 16)",
    "mount a file system": "assert libc.mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0",
    "make namespaces": "assert libc.unshare(0x10000000) == 0",
    "load a program into the kernel (bpf)": "assert libc.syscall(321, 0, 0, 0) == 0 or ctypes.get_errno() == 22",
    "read the kernel's messages": "open('/dev/kmsg').read(1)",
    "make a device": "os.mknod('device', 0o20600, os.makedev(1, 1))",
    "type into the terminal": "import fcntl; fcntl.ioctl(os.open('/dev/ptmx', os.O_RDWR), 0x5412, b'x')",
    "see a System V segment of the user's": "assert libc.shmget(key, 1, 0) >= 0",
    "write more than the limit into a file": "f = open('large', 'wb'); f.truncate(64 << 20)",
    "start more processes than the limit": "[os.fork() or time.sleep(5) or os._exit(0) for _ in range(80)]",
}
"""What is tried → Python that fails where it is refused."""
STAYS_OPEN = {
    ("landlock", "know whether a file of the user's is there"),
    ("landlock", "see the command line of a process of the user's"),
}
"""What a way cannot give; a session under it says so."""
LIMITS = ResourceLimits(processes=60, file_bytes=32 << 20)
_PRELUDE = "import ctypes, os, re, signal, socket, sys, time\nlibc = ctypes.CDLL(None, use_errno=True)\n"


@contextlib.contextmanager
def things_outside() -> Iterator[dict[str, object]]:
    """What is in reach of a process of the user's, outside of the sandbox."""
    key = 0x4D4C0000 | os.getpid() & 0xFFFF
    with (
        tempfile.TemporaryDirectory(prefix="outside-") as folder,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.socket(socket.AF_UNIX) as named,
        subprocess.Popen(["sleep", "600"]) as process,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("SOME_API_KEY", "of the user")
        secret = Path(folder, "secret")
        secret.write_text("secret\n")
        Path(folder).chmod(0o755)  # so that it is not another user's alone
        name = f"mlgym-outside-{os.getpid()}"
        for each, address in ((abstract, f"\0{name}"), (named, f"{secret}.socket")):
            each.bind(address)
            each.listen()
        Path(f"{secret}.socket").chmod(0o666)
        segment = subprocess.check_output([sys.executable, "-c", _SEGMENT, str(key)], text=True).strip()
        yield {"secret": str(secret), "pid": process.pid, "port": server.getsockname()[1], "name": name, "key": key}
        subprocess.run(["ipcrm", "-m", segment], check=False)
        process.kill()


_SEGMENT = "import ctypes, sys; print(ctypes.CDLL(None).shmget(int(sys.argv[1]), 4096, 0o1600))"


@pytest.fixture(scope="module")
def outside() -> Iterator[dict[str, object]]:
    with things_outside() as things:
        yield things


def attempt(what: str, outside: Mapping[str, object]) -> str:
    """A program that prints `done` where the attempt works."""
    given = "".join(f"{name} = {value!r}\n" for name, value in outside.items())
    return f"{_PRELUDE}{given}{ATTEMPTS[what]}\nprint('done')"


def test_each_attempt_works_where_nothing_contains_it(outside: Mapping[str, object], tmp_path: Path) -> None:
    """Else it would tell nothing. Left out is what this user, or this kernel, refuses everybody."""
    for what in ATTEMPTS:
        if "limit" in what or what in {"read the kernel's messages", "type into the terminal", "send a datagram (UDP)"}:
            continue
        if os.geteuid() and re.search("root|capability|mount|device|bpf|write outside|namespaces", what):
            continue
        program = [sys.executable, "-c", attempt(what, outside).replace("/usr/local", str(tmp_path))]
        if what == "mount a file system":
            program = ["unshare", "--mount", *program]
        done = subprocess.run(program, capture_output=True, text=True, cwd=tmp_path)
        assert done.stdout == "done\n", (what, done.stderr)


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[
        pytest.param("local", marks=pytest.mark.bwrap),
        pytest.param("landlock", marks=pytest.mark.landlock),
        pytest.param("docker", marks=pytest.mark.docker),
    ],
)
async def contained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[str, GuestSandbox]]:
    """A sandbox of each way."""
    spec = SandboxSpec(session=f"contained-{os.getpid()}", limits=LIMITS)
    sandbox = make_sandbox(request.param, tmp_path_factory.mktemp("workspace"), spec)
    await sandbox.start()
    yield request.param, sandbox
    await sandbox.stop()


async def tried(sandbox: GuestSandbox, what: str, outside: Mapping[str, object]) -> bool:
    """Whether the attempt works inside."""
    done = await sandbox.exec(["python3", "-c", attempt(what, outside)], time_limit=30)
    return b"done" in done.stdout


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("what", ATTEMPTS)
async def test_it_is_refused(contained: tuple[str, GuestSandbox], what: str, outside: Mapping[str, object]) -> None:
    way, sandbox = contained
    assert await tried(sandbox, what, outside) == ((way, what) in STAYS_OPEN)


# -- the table ---------------------------------------------------------------------------------------------------------

_PLACE = CHECKOUT / "docs" / "architecture.md"
_BEGIN, _END = "<!-- made by tests/sandbox/test_contained.py -->\n", "<!-- to here -->\n"


def table(results: Mapping[tuple[str, str], bool | None]) -> str:
    """In Markdown; a result is whether it worked inside, or None where it was not tried."""
    words = {True: "**works**", False: "refused", None: "not tried"}
    rows = [f"| what a command tries | {' | '.join(WAYS.values())} |", f"|---|{'---|' * len(WAYS)}"]
    for what in ATTEMPTS:
        rows.append(f"| {what} | {' | '.join(words[results.get((way, what))] for way in WAYS)} |")
    return "\n".join(rows) + "\n"


def test_the_table_in_the_documentation_has_these_results() -> None:
    expected = table({(way, what): (way, what) in STAYS_OPEN for way in WAYS for what in ATTEMPTS})
    assert _PLACE.read_text().partition(_BEGIN)[2].partition(_END)[0] == expected, "make it: see the top of this file"


async def measure() -> dict[tuple[str, str], bool | None]:
    """Every attempt in every way that works here."""
    found: dict[tuple[str, str], bool | None] = {}
    with things_outside() as things:
        for way in WAYS:
            with tempfile.TemporaryDirectory() as folder:
                sandbox = make_sandbox(
                    way, Path(folder), SandboxSpec(session=f"contained-{os.getpid()}", limits=LIMITS)
                )
                await sandbox.start()
                try:
                    for what in ATTEMPTS:
                        found[way, what] = await tried(sandbox, what, things)
                finally:
                    await sandbox.stop()
    return found


if __name__ == "__main__":
    before, _, rest = _PLACE.read_text().partition(_BEGIN)
    _PLACE.write_text(before + _BEGIN + table(asyncio.run(measure())) + _END + rest.partition(_END)[2])
    print(json.dumps({"written": str(_PLACE)}))
