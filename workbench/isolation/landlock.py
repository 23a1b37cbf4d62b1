"""Processes that Landlock confines, where no namespaces are to be had: what they may reach, and what they lack.

Landlock (Linux 5.13 and later) binds what a process may open, for good and without privileges. What it does not bind is
refused by a filter of system calls, or asked of a keeper outside (`keeper.py`). There is no file system of its own:
everything is where it is on the host, and most of that cannot be opened.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from workbench.isolation import seccomp
from workbench.isolation.bwrap import hidden_in, process_limits, python_inside
from workbench.isolation.gpus import device_nodes, visible_devices
from workbench.isolation.keeper import first_closed, landlock_version
from workbench.isolation.known import boundaries, problem_with, programs
from workbench.isolation.processes import said_beside
from workbench.isolation.spec import Confinement, SandboxError
from workbench.isolation.temporary import OwnedFolder, enterable
from workbench.isolation.users import fresh_user, own, processes_of, running_as_root

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
_MAKE_AND_REMOVE = 0x1FF0 & ~(0x40 | 0x800)
"""All but devices."""
REFER, TRUNCATE, DEVICE_COMMANDS = 0x2000, 0x4000, 0x8000
READ = EXECUTE | READ_FILE | READ_DIR
WRITE = READ | WRITE_FILE | _MAKE_AND_REMOVE | REFER | TRUNCATE
_DEVICE = READ_FILE | WRITE_FILE | TRUNCATE | DEVICE_COMMANDS

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/proc")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts/ptmx")

LACKS = (
    "a command sees the names of this machine's processes and users, and whether a file is there whose name it guesses"
)
"""What a sandbox under Landlock cannot give, whatever the kernel."""


class Version(msgspec.Struct, frozen=True):
    """What came with a version of Landlock's interface, and what stands in for it before."""

    number: int
    kernel: str
    what: str
    without: str
    """What holds in older kernels."""


VERSIONS = (
    Version(1, "5.13", "rights on files and folders", "commands are refused: nothing else would confine them"),
    Version(2, "5.19", "files moved between folders", "moving a file between folders fails (`mv` copies it)"),
    Version(3, "6.2", "files cut short", "the filter refuses to cut a file that was not opened for writing"),
    Version(4, "6.7", "TCP", "nothing changes: the filter refuses every socket but Unix ones"),
    Version(5, "6.10", "commands to devices", "nothing changes: only harmless devices and one's GPUs can be opened"),
    Version(6, "6.12", "signals and abstract sockets", "the keeper is asked about each signal, which takes longer"),
)


def rights(version: int) -> list[int]:
    """What a rule set of that version binds: rights on files, on the network, and what stays inside."""
    files = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    return [files, 3 if version >= 4 else 0, 3 if version >= 6 else 0]


def filter_for(version: int) -> list[str]:
    """What else the filter of system calls has to see to."""
    return [name for name, since in (("truncation", 3), ("signals", 6)) if version < since]


def differences(version: int) -> list[str]:
    """In sentences: what is otherwise than with the newest version that this program knows."""
    return [
        f"Landlock {version} knows no {each.what} (Linux {each.kernel} does): {each.without}"
        for each in VERSIONS
        if version < each.number and not each.without.startswith("nothing")
    ]


def around(root: Path, hidden: Sequence[Path]) -> Iterator[tuple[Path, int]]:
    """Rules to read everything below a folder but what is hidden. Of what is around that, names can be listed."""
    inside = [path for path in hidden if path.is_relative_to(root)]
    if not inside:
        yield root, READ
    elif root not in inside:
        yield root, READ_DIR
        for entry in sorted(root.iterdir()):
            if not entry.is_symlink():  # what it names has a rule, or none
                yield from around(entry, inside)


def rules_for(confinement: Confinement, version: int, *, terminals: bool) -> list[tuple[str, int]]:
    """(path, rights) of all that may be reached. `terminals`: every one of the user's, too."""
    prefix = python_inside()[1]
    roots = [Path(path) for path in _SYSTEM if not os.path.islink(path)] + ([] if prefix is None else [prefix])
    hidden = [path for root in roots for path in hidden_in({root: root}, confinement.hidden)]
    rules = [(str(path), given) for root in roots if root.exists() for path, given in around(root, hidden)]
    rules += [(f"/dev/{name}", _DEVICE) for name in _DEVICES]
    rules += [(device, _DEVICE) for device in device_nodes(confinement.gpus)]
    rules += [("/dev/pts", _DEVICE)] if terminals else []
    rules += [(os.path.realpath(path), READ) for path in confinement.readonly]
    rules += [(os.path.realpath(path), WRITE) for path in confinement.writable]
    bound = rights(version)[0]
    return [(path, given & bound) for path, given in rules]


class Domain(msgspec.Struct, frozen=True):
    """One confined program to start."""

    argv: Sequence[str]
    confinement: Confinement
    """Paths inside are those of the host: what its mappings name as places is not looked at."""
    folder: Path
    """The user's own, which must be there as long as the program; it gets private folders in it."""
    user: int
    """Who it runs as (see `fresh_user`)."""
    sockets: Sequence[Path] = ()
    """Unix sockets that it may connect to, besides its own."""
    serves: bool = False
    """It starts what is not trusted, each behind a wall of its own, and opens terminals for that."""
    descriptors: Sequence[int] = ()
    remove: bool = False
    """Delete the folder at the end, whatever becomes of us."""


def landlock_command(domain: Domain, version: int | None = None) -> list[str]:
    """The command line that runs a program confined. Killing its only child kills everything in the domain, and so does
    the end of the calling thread. Raises SandboxError or OSError.
    """
    version = landlock_version() if version is None else version
    given = domain.confinement
    if given.network:
        raise SandboxError("Landlock gives no network", "--sandbox docker does, or bubblewrap")
    folder = Path(os.path.realpath(domain.folder))
    user = domain.user if running_as_root() else None
    scratch = [folder / name for name in ("tmp", "home", "shared")]
    for made in scratch:
        made.mkdir(exist_ok=True)
        own(made, (domain.user, domain.user))
    given = replace(given, writable={**given.writable, **dict.fromkeys(scratch, "")})
    sources = [os.path.realpath(path) for path in (*given.readonly, *given.writable)]
    for source in sources:
        os.stat(source)
    for path in given.writable:
        enterable(path.parent)
    needed = [folder, *sources, *([] if python_inside()[1] is None else [str(python_inside()[1])])]
    environment = {"HOME": str(scratch[1]), "TMPDIR": str(scratch[0])}
    processes = given.limits.processes
    if processes is not None:  # they are counted together with all others of the user
        processes += processes_of(domain.user)
    order = {
        "argv": list(domain.argv),
        "env": {**given.environment, **environment, **given.env, **visible_devices(given.gpus, confined=True)},
        "cwd": given.cwd,
        "user": user,
        "closed": [] if user is None else sorted({str(path) for path in needed if first_closed(str(path))}),
        "limits": process_limits(processes, given.limits.file_bytes),
        "handled": rights(version),
        "rules": rules_for(given, version, terminals=domain.serves),
        "inner": rules_for(given, version, terminals=False) if domain.serves else [],
        "filter": filter_for(version),
        "writable": [os.path.realpath(path) for path in given.writable],
        "sockets": [os.path.realpath(path) for path in domain.sockets],
        "shared": str(scratch[2]),
        "descriptors": list(domain.descriptors),
        "remove": str(folder) if domain.remove else "",
    }
    file = folder / "order"
    file.write_text(json.dumps(order))
    run = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from workbench.isolation.keeper import start_keeper as s; s()"
    )
    return [sys.executable, "-I", "-S", "-c", run, str(Path(__file__).resolve().parents[2]), str(file)]


_TRY = """
import os, socket, tempfile
with tempfile.TemporaryDirectory() as folder:
    os.chmod(folder, 0o700)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(folder + "/socket")
        server.listen()
        client.connect(folder + "/socket")
try:
    os.listdir("/")
except PermissionError:
    print("inside")
"""


@functools.cache
def probe_landlock() -> str | None:
    """None when Landlock can confine a command here; else why not. Tried where no earlier start knows."""
    hangs_on = [*programs("/usr/bin/python3", sys.executable), *boundaries()]
    return problem_with(f"Landlock {landlock_version()} works", hangs_on, try_landlock)


def try_landlock() -> str | None:
    """As `probe_landlock`, but tried whatever is known."""
    if why := seccomp.unsupported():
        return f"Landlock needs a filter of system calls: {why}"
    if not landlock_version():
        return "this kernel has no Landlock (Linux 5.13 or later, with landlock in /sys/kernel/security/lsm)"
    try:
        with OwnedFolder("probe") as folder:
            user = fresh_user()
            own(folder, (user, user))
            program = [python_inside()[0], "-I", "-S", "-c", _TRY]
            command = landlock_command(Domain(program, Confinement(cwd="/"), folder, user))
            complaint = said_beside(command, "inside\n")
    except (OSError, subprocess.TimeoutExpired, SandboxError) as error:
        return f"Landlock could not be tried: {error}"
    return None if complaint is None else f"Landlock does not work here: {' '.join(complaint.split())[-300:]}"
