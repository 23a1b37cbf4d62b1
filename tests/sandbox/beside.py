"""A program that attacks its own user from within Landlock: `beside.py WORKSPACE VERSION` prints what it could do.

Run as the user whose files, sockets, terminals and processes are beside the sandbox.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ATTACKS = """
import ctypes, errno, fcntl, json, os, resource, signal, socket
secret, folder, victim, terminal, port, workbench = json.loads(GIVEN)
library = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    if library.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
def connect(address):
    socket.socket(socket.AF_UNIX).connect(address)
os.symlink(secret, "link"); os.symlink(folder, "folder"); os.symlink(folder + "/socket", "socket")
within, itself = os.open(folder, os.O_PATH), os.open(secret, os.O_PATH)
programs = {b"start_keeper": 0, b"guest.py": 0}
for name in {*filter(str.isdigit, os.listdir("/proc"))} - {str(os.getpid())}:
    try:
        line = open(f"/proc/{name}/cmdline", "rb").read()
    except OSError:
        continue
    programs.update({part: int(name) for part in programs if part in line})
keeper, guest = programs.values()
assert keeper and guest
attacks = {
    "read": lambda: open(secret), "write": lambda: open(secret, "a"), "list": lambda: os.listdir(folder),
    "make": lambda: open(folder + "/new", "w"), "delete": lambda: os.unlink(secret),
    "rename": lambda: os.rename(secret, secret + "2"), "take": lambda: os.link(secret, "taken"),
    "cut": lambda: os.truncate(secret, 0), "cut while reading": lambda: os.open(secret, os.O_TRUNC),
    "mode": lambda: os.chmod(secret, 0o777), "mode of the folder": lambda: os.chmod(folder, 0o777),
    "mode by a link": lambda: os.chmod("link", 0o777), "mode through a link": lambda: os.chmod("folder/secret", 0o777),
    "mode below": lambda: os.chmod("secret", 0o777, dir_fd=within),
    "mode by a descriptor": lambda: os.chmod(f"/proc/self/fd/{itself}", 0o777),
    "mode of nothing": lambda: call(452, itself, b"", 0o777, 0x1000),
    "owner": lambda: os.chown(secret, os.getuid(), os.getgid()), "times": lambda: os.utime(secret, (1, 1)),
    "times through a link": lambda: os.utime("folder/secret", (1, 1)),
    "attribute": lambda: os.setxattr(secret, "user.x", b"1"), "reopen": lambda: open(f"/proc/self/fd/{itself}"),
    "below": lambda: os.open("secret", os.O_RDONLY, dir_fd=within),
    "mode of what it is given": lambda: os.chmod(os.environ["MLGYM_SOCKET"].replace("socket", "run/guest.py"), 0o777),
    "socket": lambda: connect(folder + "/socket"), "socket by a link": lambda: connect("socket"),
    "abstract socket": lambda: connect("\\0" + folder),
    "datagrams": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
    "tcp": lambda: socket.create_connection(("127.0.0.1", port)),
    "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "netlink": lambda: socket.socket(socket.AF_NETLINK),
    "signal": lambda: os.kill(victim, 0), "kill": lambda: os.kill(victim, 9),
    "the workbench": lambda: os.kill(workbench, 9),
    "the keeper": lambda: os.kill(keeper, 9), "the guest": lambda: os.kill(guest, 9),
    "signal by a descriptor": lambda: signal.pidfd_send_signal(os.pidfd_open(victim), 9),
    "signal to a thread": lambda: call(234, victim, victim, 9),
    "signal by a file": lambda: fcntl.fcntl(0, fcntl.F_SETOWN, victim), "trace": lambda: call(101, 16, victim, 0, 0),
    "environment": lambda: open(f"/proc/{victim}/environ").read(), "memory": lambda: open(f"/proc/{victim}/mem"),
    "descriptors": lambda: [os.readlink(f"/proc/{workbench}/fd/{n}") for n in os.listdir(f"/proc/{workbench}/fd")],
    "its folder": lambda: os.listdir(f"/proc/{victim}/cwd"), "its root": lambda: os.listdir(f"/proc/{victim}/root"),
    "take a descriptor": lambda: call(438, os.pidfd_open(victim), 0, 0),
    "terminal": lambda: os.open(terminal, os.O_RDWR),
    "limits": lambda: resource.prlimit(victim, resource.RLIMIT_CPU, (0, 0)),
    "processors": lambda: os.sched_setaffinity(victim, {0}), "priority": lambda: os.setpriority(0, victim, 5),
    "priority of all": lambda: os.setpriority(os.PRIO_USER, 0, 5), "shared memory": lambda: call(29, 12, 4096, 0o1666),
    "watch": lambda: call(294, 0), "/tmp": lambda: open("/tmp/x", "w"), "/dev/shm": lambda: open("/dev/shm/x", "w"),
    "namespace": lambda: call(272, 0x10000000), "device": lambda: os.mknod("device", 0o60600, 0x800),
}
done = []
for name, attack in attacks.items():
    try:
        attack()
        done.append(name)
    except OSError:
        pass
print(json.dumps([len(attacks), done]))
"""
"""Numbers of calls are those of x86-64."""

USES = """
import multiprocessing, os, shutil, signal, socket, subprocess, sys, tempfile
signal.signal(10, lambda *_: print("handled")); os.kill(os.getpid(), 10)
one = subprocess.Popen(["sleep", "60"], start_new_session=True); os.killpg(one.pid, 15); print(one.wait())
shutil.copy2(sys.executable, "copy"); os.chmod("copy", 0o751); os.utime("copy", (3, 4), follow_symlinks=False)
print(oct(os.stat("copy").st_mode), os.stat("copy").st_mtime)
with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
    server.bind(tempfile.mkdtemp() + "/socket"); server.listen()
    client.connect(server.getsockname()); print("connected")
os.openpty(); print("terminal")
with multiprocessing.Pool(1) as pool: print(pool.map(abs, [-1]))
os.sched_setaffinity(os.getpid(), os.sched_getaffinity(0))
"""
"""What ordinary programs do, and goes on."""


async def main(workspace: Path, version: int, home: Path) -> None:
    from workbench.isolation import landlock
    from workbench.sandbox.base import SandboxSpec
    from workbench.sandbox.local import LocalSandbox

    landlock.landlock_version = lambda: version  # type: ignore[attr-defined]
    (home / "secret").write_text("mine")
    with (
        socket.socket(socket.AF_UNIX) as server,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.create_server(("127.0.0.1", 0)) as tcp,
        subprocess.Popen(["sleep", "600"]) as victim,  # noqa: ASYNC220
    ):
        server.bind(str(home / "socket"))
        abstract.bind(f"\0{home}")
        server.listen()
        abstract.listen()
        terminal = os.ttyname(os.openpty()[1])
        given = [f"{home}/secret", str(home), victim.pid, terminal, tcp.getsockname()[1], os.getpid()]
        sandbox = LocalSandbox(SandboxSpec(session="beside"), workspace, "landlock")
        await sandbox.start()
        try:
            for code in (f"GIVEN = {json.dumps(given)!r}\n{ATTACKS}", USES):
                done = await sandbox.exec(["python3", "-c", code])
                sys.stderr.write(done.stderr.decode())
                print(done.stdout.decode().strip())
            await sandbox.exec(["sh", "-c", "kill -9 -1; kill -9 0"])
            print((await sandbox.exec(["echo", "served"])).stdout.decode().strip())
            print("alive" if victim.poll() is None else "killed")
        finally:
            victim.kill()
            await sandbox.stop()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), Path(folder)))
