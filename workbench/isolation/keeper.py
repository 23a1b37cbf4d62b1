"""The keeper of a process that Landlock confines: puts its walls up, starts it, and ends whatever came of it.

A program of its own, with the standard library alone: `start_keeper` is run by the workbench's Python with the path of
an order (JSON, see `landlock.py`) as its argument. It stays outside of the walls, as the same user, because some calls
are bound neither by Landlock nor by a filter that sees numbers alone: to change the mode or the times of a file by its
path, to connect to a Unix socket, to open a terminal's other end, to signal or slow down a process. The kernel asks the
keeper about each, and waits. It does them itself, on what it has opened and looked at, so nothing that the caller
changes meanwhile counts. And it has what programs share in /dev/shm be in a folder of their own.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import re
import resource
import select
import shutil
import signal
import socket
import stat
import struct
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from workbench.isolation import seccomp

_LIBC = ctypes.CDLL(None, use_errno=True)
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_OPENAT2, _RESOLVE_NO_MAGICLINKS = 437, 0x02
_ON_FILES = 0x1 | 0x2 | 0x4 | 0x4000 | 0x8000
"""Rights that there are on what is no folder: execute, write, read, truncate, device commands."""
_RECEIVE, _ANSWER, _STILL_THERE, _GIVE_DESCRIPTOR = 0xC0502100, 0xC0182101, 0x40082102, 0x40182103
_REPLACE = 1
_AT_FDCWD, _NOFOLLOW, _EMPTY_PATH = -100, 0x100, 0x1000
_SHARED = re.compile(rb"/dev/shm/+(?!\.\.?\Z)([^/]{1,255})")
_OWN_DESCRIPTOR = re.compile(rb"/(?:proc/(?:thread-)?self|dev)/fd/(\d{1,7})")


def _call(number: int, *arguments: Any) -> int:
    """A system call. Raises OSError."""
    result = int(_LIBC.syscall(number, *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def landlock_version() -> int:
    """The version of the kernel's Landlock; 0 where it has none, or it is switched off."""
    try:
        return _call(_CREATE_RULESET, None, 0, 1)
    except OSError:
        return 0


def _ruleset(handled: list[int], rules: list[list[Any]]) -> int:
    """A descriptor of a set of rules: (path, rights) each. What is not there is left out. Raises OSError."""
    attributes = struct.pack("=QQQ", *handled)
    made = _call(_CREATE_RULESET, attributes, len(attributes), 0)
    for path, rights in rules:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            allowed = rights if stat.S_ISDIR(os.fstat(place).st_mode) else rights & _ON_FILES
            _call(_ADD_RULE, made, 1, struct.pack("=Qi", allowed, place), 0)
        finally:
            os.close(place)
    return made


def _start(order: dict[str, Any], to_keeper: socket.socket) -> NoReturn:
    """In the child: everything that cannot be taken back, then the program. Our end of the socket gets the listener."""
    try:
        _LIBC.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
        for name, value in order["limits"].items():
            resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), (value, value))
        os.chdir(order["cwd"])
        _LIBC.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
        argv = order["argv"]
        outer = _ruleset(order["handled"], order["rules"])
        if order["inner"]:
            inner = _ruleset(order["handled"], order["inner"])
            os.set_inheritable(inner, True)
            argv = [*argv, f"domain={inner}"]
        _call(_RESTRICT_SELF, outer, 0)
        why, listener = seccomp.confine_beside(order["filter"])
        if why:
            raise OSError(errno.ENOSYS, why)
        socket.send_fds(to_keeper, [b"x"], [listener])
        os.close(listener)
        to_keeper.close()
        os.execve(argv[0], argv, order["env"])
    except OSError as error:
        print(f"Landlock: {error.strerror} ({error.filename or 'its walls'})", file=sys.stderr, flush=True)
    finally:
        os._exit(126)


class Keeper:
    """Answers the kernel's questions about one confined process and all that came of it."""

    def __init__(self, order: dict[str, Any], child: int, listener: int) -> None:
        self.child = child
        self.listener = listener
        self.writable = [os.fsencode(path) for path in order["writable"]]
        self.sockets = [os.fsencode(path) for path in order["sockets"]]
        self.shared = os.fsencode(order["shared"])
        self.calls = {number: name for name, number in seccomp.numbers_asked().items()}

    def answer_one(self) -> None:
        """Take one question and answer it."""
        question = bytearray(80)
        try:
            fcntl.ioctl(self.listener, _RECEIVE, question)
        except OSError:  # who asked is gone
            return
        ident, thread, _, number, _, _, *arguments = struct.unpack("=QIIiIQ6Q", question)
        caller = Caller(self, ident, thread)
        try:
            name = self.calls.get(number, "")
            value = getattr(caller, f"do_{name}", caller.refuse)(*arguments)
            error, flags = 0, int(value is None)  # 1: go on with the call as it is
        except OSError as problem:
            value, error, flags = 0, -(problem.errno or errno.EPERM), 0
        except (ValueError, OverflowError, struct.error):
            value, error, flags = 0, -errno.EINVAL, 0
        with contextlib.suppress(OSError):  # it was killed meanwhile
            fcntl.ioctl(self.listener, _ANSWER, struct.pack("=QqiI", ident, value or 0, error, flags))

    def holds(self, pid: int) -> bool:
        """Whether a process (or thread) came of the confined one, or is that."""
        for _ in range(10_000):
            if pid == self.child:
                return True
            pid = _parent(pid)
            if pid <= 1 or pid == os.getpid():
                return False
        return False

    def members(self) -> list[int]:
        """All processes below this one but the confined program itself."""
        return [
            pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if pid != self.child and self.holds(pid)
        ]


class Caller:
    """Who asks, for one call. A method `do_…` for each: what it returns, or None for the call as it is made.

    Raises OSError with what the call shall say.
    """

    def __init__(self, keeper: Keeper, ident: int, thread: int) -> None:
        self.keeper, self.ident, self.thread = keeper, ident, thread

    def refuse(self, *_: int) -> int:
        """What nobody knows."""
        raise PermissionError(errno.EPERM, "")

    # -- what it names ---------------------------------------------------------------------------------------------

    def memory(self, address: int, size: int, *, whole: bool = True) -> bytes:
        """Bytes of its memory; with `whole` not, as many as there are."""
        try:
            memory = os.open(f"/proc/{self.thread}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            raise PermissionError(errno.EPERM, "") from None
        try:
            fcntl.ioctl(self.keeper.listener, _STILL_THERE, struct.pack("=Q", self.ident))
            try:
                data = os.pread(memory, size, address)
                if len(data) < size and whole:
                    raise OSError(errno.EFAULT, "")
                return data
            except (OSError, OverflowError):
                raise OSError(errno.EFAULT, "") from None
        finally:
            os.close(memory)

    def text(self, address: int) -> bytes:
        """A path."""
        read = b""
        while b"\0" not in read:
            at = address + len(read)
            read += self.memory(at, 4096 - at % 4096, whole=False)
            if len(read) > 8192:
                break
        path, end, _ = read.partition(b"\0")
        if not end or len(path) >= 4096:
            raise OSError(errno.ENAMETOOLONG, "")
        return path

    def opened(self, folder: int, path: bytes, *, follow: bool, empty: bool = False) -> int:
        """A descriptor (O_PATH) of what a path names to it; only below what it may write."""
        number = _signed(folder)
        own = _OWN_DESCRIPTOR.fullmatch(path)
        if own is not None or (not path and empty and number != _AT_FDCWD):
            return self.descriptor(int(own[1]) if own is not None else number)
        if not path and not empty:
            raise FileNotFoundError(errno.ENOENT, "")
        base = -1
        try:
            if not path.startswith(b"/"):
                base = os.open(
                    f"/proc/{self.thread}/cwd" if number == _AT_FDCWD else f"/proc/{self.thread}/fd/{number}",
                    os.O_PATH | os.O_CLOEXEC,
                )
            flags = os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
            how = struct.pack("=QQQ", flags, 0, _RESOLVE_NO_MAGICLINKS)
            found = _call(_OPENAT2, base if base >= 0 else _AT_FDCWD, path or b".", how, len(how))
        except PermissionError:
            raise PermissionError(errno.EACCES, "") from None
        finally:
            if base >= 0:
                os.close(base)
        return self._within(found)

    def descriptor(self, number: int) -> int:
        """A descriptor (O_PATH) of what one of its own is open on; only below what it may write."""
        try:
            return self._within(os.open(f"/proc/{self.thread}/fd/{number}", os.O_PATH | os.O_CLOEXEC))
        except FileNotFoundError:
            raise OSError(errno.EBADF, "") from None

    def _within(self, found: int) -> int:
        place = os.readlink(f"/proc/self/fd/{found}".encode())
        inside = any(place == folder or place.startswith(folder + b"/") for folder in self.keeper.writable)
        if inside or place.startswith(b"/memfd:") or place in self.keeper.sockets:
            return found
        os.close(found)
        raise PermissionError(errno.EPERM, "")

    # -- modes and times of files ----------------------------------------------------------------------------------

    def _with(self, found: int, act: Callable[[str], None]) -> int:
        try:
            act(f"/proc/self/fd/{found}")
        finally:
            os.close(found)
        return 0

    def _change_mode(self, found: int, mode: int) -> int:
        if stat.S_ISLNK(os.fstat(found).st_mode):
            os.close(found)
            raise OSError(errno.EOPNOTSUPP, "")
        return self._with(found, lambda path: os.chmod(path, mode & 0o7777))

    def do_chmod(self, path: int, mode: int, *_: int) -> int:
        return self._change_mode(self.opened(_AT_FDCWD, self.text(path), follow=True), mode)

    def do_fchmod(self, descriptor: int, mode: int, *_: int) -> int:
        return self._change_mode(self.descriptor(_signed(descriptor)), mode)

    def do_fchmodat(self, folder: int, path: int, mode: int, *_: int) -> int:
        return self._change_mode(self.opened(folder, self.text(path), follow=True), mode)

    def do_fchmodat2(self, folder: int, path: int, mode: int, flags: int, *_: int) -> int:
        found = self.opened(folder, self.text(path), follow=not flags & _NOFOLLOW, empty=bool(flags & _EMPTY_PATH))
        return self._change_mode(found, mode)

    def _change_times(self, found: int, times: tuple[tuple[int, int], ...] | None) -> int:
        """`times`: seconds and nanoseconds of the last access and the last change; None is now."""

        def act(path: str) -> None:
            if times is None:
                os.utime(path)
                return
            record = struct.pack("=4q", *times[0], *times[1])
            if _LIBC.utimensat(_AT_FDCWD, path.encode(), record, 0) != 0:
                raise OSError(ctypes.get_errno(), "")

        return self._with(found, act)

    def do_utimensat(self, folder: int, path: int, times: int, flags: int, *_: int) -> int:
        record = struct.unpack("=4q", self.memory(times, 32)) if times else None
        changed = None if record is None else (record[:2], record[2:])
        if not path:
            return self._change_times(self.descriptor(_signed(folder)), changed)
        found = self.opened(folder, self.text(path), follow=not flags & _NOFOLLOW, empty=bool(flags & _EMPTY_PATH))
        return self._change_times(found, changed)

    def do_utimes(self, path: int, times: int, *_: int) -> int:
        return self.do_futimesat(_AT_FDCWD, path, times)

    def do_futimesat(self, folder: int, path: int, times: int, *_: int) -> int:
        record = struct.unpack("=4q", self.memory(times, 32)) if times else None
        changed = None if record is None else ((record[0], record[1] * 1000), (record[2], record[3] * 1000))
        found = self.opened(folder, self.text(path), follow=True) if path else self.descriptor(_signed(folder))
        return self._change_times(found, changed)

    def do_utime(self, path: int, times: int, *_: int) -> int:
        record = struct.unpack("=2q", self.memory(times, 16)) if times else None
        changed = None if record is None else ((record[0], 0), (record[1], 0))
        return self._change_times(self.opened(_AT_FDCWD, self.text(path), follow=True), changed)

    # -- /dev/shm: named memory and semaphores ---------------------------------------------------------------------

    def shared(self, path: int) -> bytes | None:
        """Where what it names in /dev/shm is for it; None for everything else."""
        found = _SHARED.fullmatch(self.text(path))
        return None if found is None else self.keeper.shared + b"/" + found[1]

    def do_openat(self, _folder: int, path: int, flags: int, mode: int, *_: int) -> int | None:
        place = self.shared(path)
        if place is None:
            return None
        opened = os.open(place, (flags & ~os.O_TMPFILE) | os.O_NOFOLLOW | os.O_CLOEXEC, mode & 0o700)
        try:
            return self._give(opened, None, flags)
        finally:
            os.close(opened)

    def do_open(self, path: int, flags: int, mode: int, *_: int) -> int | None:
        return self.do_openat(0, path, flags, mode)

    def do_unlinkat(self, _folder: int, path: int, flags: int, *_: int) -> int | None:
        place = self.shared(path)
        if place is None or flags:
            return None
        os.unlink(place)
        return 0

    def do_unlink(self, path: int, *_: int) -> int | None:
        return self.do_unlinkat(0, path, 0)

    def do_linkat(self, _folder: int, path: int, _other: int, new: int, flags: int, *_: int) -> int | None:
        place, made = self.shared(path), self.shared(new)
        if place is None or made is None or flags:
            return None
        os.link(place, made, follow_symlinks=False)
        return 0

    def do_link(self, path: int, new: int, *_: int) -> int | None:
        return self.do_linkat(0, path, 0, new, 0)

    # -- sockets and terminals -------------------------------------------------------------------------------------

    def do_connect(self, descriptor: int, address: int, size: int, *_: int) -> int:
        """To a Unix socket below what it may write: the keeper connects one of its own, and gives it that."""
        number = _signed(descriptor)
        kind = self._kind_of_unix_socket(number)
        if not 2 < size <= 110:
            raise OSError(errno.EINVAL, "")
        given = self.memory(address, size)
        path = given[2:].partition(b"\0")[0]
        if struct.unpack_from("=H", given)[0] != socket.AF_UNIX or not path:
            raise PermissionError(errno.EPERM, "")  # one without a path is seen by the whole machine
        found = self.opened(_AT_FDCWD, path, follow=True)
        flags = int(_field(f"/proc/{self.thread}/fdinfo/{number}", "flags:"), 8)
        with socket.socket(socket.AF_UNIX, kind) as made:
            try:
                made.setblocking(False)
                made.connect(f"/proc/self/fd/{found}")
                made.setblocking(not flags & os.O_NONBLOCK)
            finally:
                os.close(found)
            self._give(made.fileno(), number, flags)
        return 0

    def _kind_of_unix_socket(self, number: int) -> int:
        """SOCK_STREAM or SOCK_SEQPACKET. The filter lets it have no other sockets."""
        try:
            link = os.readlink(f"/proc/{self.thread}/fd/{number}")
        except FileNotFoundError:
            raise OSError(errno.EBADF, "") from None
        if not link.startswith("socket:["):
            raise OSError(errno.ENOTSOCK, "")
        with open("/proc/net/unix", "rb") as table:
            for line in table:
                fields = line.split(None, 7)
                if fields[6:7] == [link[8:-1].encode()]:
                    return int(fields[4], 16)
        return self.refuse()

    def _give(self, descriptor: int, number: int | None, flags: int) -> int:
        """One of ours, for it, in place of its own `number` or at the first that is free; which that is."""
        how = 0 if number is None else _REPLACE
        given = struct.pack("=QIIII", self.ident, how, descriptor, number or 0, flags & os.O_CLOEXEC)
        said = int(_LIBC.ioctl(self.keeper.listener, ctypes.c_ulong(_GIVE_DESCRIPTOR), given))  # a descriptor there
        if said < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return said

    def do_ioctl(self, descriptor: int, _command: int, flags: int, *_: int) -> int:
        """TIOCGPTPEER: the other end of a terminal that it has opened; its path is not open to it."""
        index = _field(f"/proc/{self.thread}/fdinfo/{_signed(descriptor)}", "tty-index:")
        if not index:
            raise OSError(errno.ENOTTY, "")
        opened = os.open(f"/dev/pts/{int(index)}", flags & os.O_ACCMODE | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            return self._give(opened, None, flags)
        finally:
            os.close(opened)

    # -- other processes -------------------------------------------------------------------------------------------

    def _own(self, pid: int) -> None:
        if pid and not self.keeper.holds(pid):
            raise PermissionError(errno.EPERM, "")

    def do_setpriority(self, which: int, who: int, *_: int) -> None:
        """Of one process: a group or a user may have others in it."""
        if which:
            self.refuse()
        self._own(who)

    def do_ioprio_set(self, which: int, who: int, *_: int) -> None:
        if which != 1:
            self.refuse()
        self._own(who)

    def do_sched_setaffinity(self, pid: int, *_: int) -> None:
        self._own(pid)

    do_sched_setparam = do_sched_setscheduler = do_sched_setattr = do_sched_setaffinity

    def do_tgkill(self, group: int, thread: int, number: int, *_: int) -> int | None:
        """A program that signals itself does it as it asked: the handler must run before the call returns."""
        if thread == self.thread or self._group_of(thread) == self._group_of(self.thread):
            return None
        return self.do_kill(group, number)

    def do_tkill(self, thread: int, number: int, *_: int) -> int | None:
        return self.do_tgkill(thread, thread, number)

    def do_rt_sigqueueinfo(self, pid: int, number: int, *_: int) -> int | None:
        return self.do_kill(pid, number)

    def do_rt_tgsigqueueinfo(self, group: int, thread: int, number: int, *_: int) -> int | None:
        return self.do_tgkill(group, thread, number)

    def do_pidfd_send_signal(self, descriptor: int, number: int, *_: int) -> int | None:
        pid = int(_field(f"/proc/{self.thread}/fdinfo/{_signed(descriptor)}", "Pid:") or 0)
        return self.do_kill(pid, number) if pid > 0 else self.refuse()

    def do_kill(self, pid: int, number: int, *_: int) -> int | None:
        """A process of its own, a group's members among those, or all but the program that serves it."""
        target, number = _signed(pid), _signed(number)
        caller = self._group_of(self.thread)
        if caller == target or target in (0, -_process_group(caller)):
            return None  # to itself, among others: a signal that comes before the answer would have it ask again
        ours = self.keeper.members()
        if target > 0:
            chosen = [target] if target in ours else []
        else:
            chosen = [other for other in ours if other != caller and target in (-1, -_process_group(other))]
        if not chosen:
            raise OSError(errno.EPERM if target > 0 and os.path.exists(f"/proc/{target}") else errno.ESRCH, "")
        for other in chosen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(other, number)
        return 0

    def _group_of(self, thread: int) -> int:
        with contextlib.suppress(OSError):
            return int(_field(f"/proc/{thread}/status", "Tgid:") or 0)
        return 0


def _field(path: str, name: str) -> str:
    """What a file of /proc says under a name; empty where it says nothing. Raises OSError."""
    with open(path) as file:
        return next((line.split()[1] for line in file if line.startswith(name)), "")


def _parent(pid: int) -> int:
    """The parent of a process (or thread); 0 where it is gone."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[1])
    return 0


def _process_group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return 0


def _signed(value: int) -> int:
    """An argument that is an int to the kernel."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value & 0x80000000 else value


class _Over(Exception):
    """The workbench is gone, or wants the end."""


def _end(number: int, _frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # once is enough
    raise _Over


def _kill_rest() -> None:
    """Kill what came of the confined process, wherever it went: its orphans are ours."""
    while True:
        children: dict[int, list[int]] = {}
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            children.setdefault(_parent(pid), []).append(pid)
        doomed = list(children.get(os.getpid(), []))
        for pid in doomed:
            doomed += children.get(pid, [])
        for pid in doomed:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return


def _show_as_they_are(paths: list[str]) -> None:
    """As root: a private view of this machine, in which another user can reach these folders and files, and nothing
    beside them. Each is where it was, below an empty folder in place of the one that only root may enter.
    """
    if not paths:
        return
    _mount(None, "/", 1 << 14 | 1 << 18, unshare=True)  # MS_REC, MS_PRIVATE
    shown = [(path, os.open(path, os.O_PATH)) for path in sorted(paths)]
    for closed in {first_closed(path) for path, _ in shown}:
        _mount("tmpfs", closed, 0, b"mode=755,size=1m")
    for path, place in shown:
        folder = stat.S_ISDIR(os.fstat(place).st_mode)
        os.makedirs(path if folder else os.path.dirname(path), 0o755, exist_ok=True)
        if not os.path.exists(path):
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
        _mount(f"/proc/self/fd/{place}", path, 1 << 12)  # MS_BIND
        os.close(place)


def _mount(source: str | None, target: str, flags: int, data: bytes | None = None, *, unshare: bool = False) -> None:
    if (unshare and _LIBC.unshare(0x20000)) or _LIBC.mount(  # CLONE_NEWNS
        None if source is None else source.encode(), target.encode(), b"tmpfs" if data else None, flags, data
    ):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), target)


def first_closed(path: str) -> str:
    """The first folder on the way to a path that not everybody may enter; empty where there is none."""
    parts = path.strip("/").split("/")
    for number in range(1, len(parts)):
        above = "/" + "/".join(parts[:number])
        if not os.stat(above).st_mode & 0o1:
            return above
    return ""


def _keep(order: dict[str, Any], child: int, from_child: socket.socket) -> int:
    """Serve the child until it ends; its exit status."""
    _, listeners, _, _ = socket.recv_fds(from_child, 1, 1)
    ended = os.pidfd_open(child)
    waiting = select.poll()
    waiting.register(ended, select.POLLIN)
    keeper = Keeper(order, child, listeners[0] if listeners else -1)
    if listeners:
        waiting.register(keeper.listener, select.POLLIN)
    while True:
        for descriptor, event in waiting.poll():
            if descriptor == ended:
                _, status = os.waitpid(child, 0)
                return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            if event & select.POLLIN:
                keeper.answer_one()
            else:  # nobody with the filter is left
                waiting.unregister(descriptor)


def start_keeper() -> NoReturn:
    """The program: the first argument is the order. Ends with the exit status of what it kept."""
    parent = os.getppid()
    with open(sys.argv[1], "rb") as file:
        order = json.load(file)
    os.unlink(sys.argv[1])
    if order["user"] is not None:
        try:
            _show_as_they_are(order["closed"])
        except OSError as error:
            print(f"Landlock: {error.strerror} ({error.filename})", file=sys.stderr, flush=True)
            os._exit(126)
        os.setgroups([])
        os.setresgid(*[order["user"]] * 3)
        os.setresuid(*[order["user"]] * 3)
    _LIBC.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: what its processes leave alone stays below this one
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    status = 126
    try:
        try:
            signal.signal(signal.SIGTERM, _end)
            _LIBC.prctl(1, signal.SIGTERM, 0, 0, 0)
            if os.getppid() != parent:
                raise _Over
            child = os.fork()
            if not child:
                ours.close()
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                _start(order, theirs)
            theirs.close()
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1):  # the channel is the child's alone
                os.dup2(nothing, stream)
            for descriptor in order["descriptors"]:
                os.close(descriptor)
            status = _keep(order, child, ours)
        finally:  # the child ends by itself when the workbench has died, and the signal of that may come only now
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
    except _Over:
        status = 128 + signal.SIGTERM
    finally:
        _kill_rest()
        if order["remove"]:
            shutil.rmtree(order["remove"], ignore_errors=True)
        os._exit(status)
