"""The guest: the one program of ours that runs inside a sandbox and does what the host asks.

It starts shells on pseudo-terminals, runs side commands, and carries requests of the agent commands (validate, submit,
...) from a unix socket to the host. It runs as the same unprivileged user as the agent, so the host believes nothing
that it says about anything but the agent's own output.

Self-contained: standard library only, Python >= 3.8, no import of ours. The host imports this file for the frame
format alone.

The host talks to it over one duplex byte stream of frames: 4 bytes big-endian length of the payload, 1 byte kind,
payload. Kinds:

    J  control    JSON: {"id", "op", ...} from the host, {"id", "ok", ...} or {"event", ...} from the guest
    S  shell      4 bytes shell id, bytes typed or printed (where the terminal is relayed, not passed)
    C  credit     4 bytes shell id, 4 bytes: how much more output of that shell the host takes
    B  blob       4 bytes request id, 1 byte stream (0 in, 1 out, 2 err), bytes of a side command
    R  request    4 bytes client id, one line of JSON from an agent command; or the host's answer to it
"""

from __future__ import annotations

import collections
import contextlib
import errno
import fcntl
import functools
import json
import os
import selectors
import signal
import socket
import stat
import struct
import sys
import termios
import time
from collections.abc import Callable
from typing import Any

HEADER = struct.Struct(">IB")
SHELL_HEADER = struct.Struct(">I")
CREDIT = struct.Struct(">II")
BLOB_HEADER = struct.Struct(">IB")
CONTROL_KIND, SHELL_KIND, CREDIT_KIND, BLOB_KIND, REQUEST_KIND = b"JSCBR"

PYTHON_NAMES = ("python", "python3")
SCORING = ("validate", "submit")
MCP = "mlgym-mcp"
"""The program that offers these as tools over the Model Context Protocol."""

MAX_FRAME = 2 << 20
MAX_REQUEST = 1 << 20
MAX_CLIENTS = 32
MAX_LISTED = 100
"""Processes in a list."""
CHUNK = 64 << 10
BLOB_CHUNK = 256 << 10
CONGESTED = 1 << 20
"""Bytes waiting for the host above which side commands are read no further."""
RELAY_AHEAD = 256 << 10
"""Bytes that one side of a relayed connection may be ahead of the other."""
MAX_RELAYED = 256
"""Relayed connections at once."""
EXIT_GRACE = 0.05
"""Seconds without output after which the terminal of a dead shell counts as drained (jobs may hold it open)."""

LONGEST_FORK = 0.5
"""Seconds in which bash has started a program, however busy the machine is."""
TICKS_OF_FORK = 3
"""Hundredths of a second of a processor that bash may use for that."""


def frame(kind: int, *parts: bytes | memoryview) -> bytes:
    """One frame of the stream."""
    return HEADER.pack(sum(map(len, parts)), kind) + b"".join(parts)


class BrokenProtocol(Exception):
    """The other side sent what none of ours sends."""


def take_frames(received: bytearray, largest: int = 1 << 32) -> list[tuple[int, bytes]]:
    """Kind and payload of each frame that has come whole; the rest stays. Raises BrokenProtocol for one too large."""
    frames, at = [], 0
    while len(received) - at >= HEADER.size:
        size, kind = HEADER.unpack_from(received, at)
        if size > largest:
            raise BrokenProtocol(f"a frame of {size} bytes")
        start = at + HEADER.size
        if len(received) - start < size:
            break
        at = start + size
        frames.append((kind, bytes(received[start:at])))
    del received[:at]
    return frames


def sane_modes(attributes: list[Any]) -> list[Any]:
    """Terminal settings as `stty sane iutf8 -ixon` makes them, from the present ones (for the speeds)."""
    control = list(attributes[6])
    for name, value in (
        ("VINTR", 3), ("VQUIT", 28), ("VERASE", 127), ("VKILL", 21), ("VEOF", 4), ("VSTART", 17), ("VSTOP", 19),
        ("VSUSP", 26), ("VREPRINT", 18), ("VWERASE", 23), ("VLNEXT", 22), ("VEOL", 0), ("VEOL2", 0), ("VMIN", 1),
        ("VTIME", 0),
    ):  # fmt: skip
        if hasattr(termios, name) and not (name in ("VMIN", "VTIME") and termios.VMIN == termios.VEOF):
            control[getattr(termios, name)] = bytes([value])
    iutf8 = 0x4000  # not in the termios module; the same on Linux and macOS
    return [
        termios.ICRNL | termios.BRKINT | iutf8,
        termios.OPOST | termios.ONLCR,
        (attributes[2] & ~(termios.CSIZE | termios.PARENB | termios.CSTOPB)) | termios.CS8 | termios.CREAD,
        termios.ISIG | termios.ICANON | termios.IEXTEN | termios.ECHO | termios.ECHOE | termios.ECHOK
        | getattr(termios, "ECHOCTL", 0) | getattr(termios, "ECHOKE", 0),
        attributes[4],
        attributes[5],
        control,
    ]  # fmt: skip


def reset_terminal(master: int, echo: bool = True) -> None:
    """Settings of the terminal back to sane, from its master side."""
    attributes = sane_modes(termios.tcgetattr(master))
    if not echo:
        attributes[3] &= ~termios.ECHO
    termios.tcsetattr(master, termios.TCSANOW, attributes)


def set_size(master: int, columns: int, rows: int) -> None:
    """Size of the terminal, from its master side."""
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def process_table() -> list[tuple[int, int, int, int]]:
    """(pid, parent, process group, session) of every living process to be seen; empty where there is no /proc."""
    table = []
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    fields = stat_fields(int(name))
                    if fields[0] not in b"ZX":
                        table.append((int(name), int(fields[1]), int(fields[2]), int(fields[3])))
    return table


def stat_fields(pid: int) -> list[bytes]:
    """What /proc/PID/stat says behind the program's name: state, parent, group, ... Raises OSError."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()


def program_name(pid: int) -> str:
    """What the kernel calls a process; empty when it is gone."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", "rb") as file:
        return file.read().decode("utf-8", "replace").strip()
    return ""


def command_line(pid: int) -> str:
    """The beginning of a process's command line, else its name."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read(400).replace(b"\0", b" ").decode("utf-8", "replace").strip() or program_name(pid)
    return ""


def read_now(descriptor: int, size: int) -> bytes | None:
    """What can be read without waiting: None where nothing is there yet, no bytes at the end or after an error."""
    try:
        return os.read(descriptor, size)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def kill_quietly(pid: int, number: int) -> None:
    """Signal a process, which may be gone."""
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def enter_domain(rules: int) -> None:
    """Under Landlock: put this process behind the wall that keeps it from the guest and the guest's other children."""
    import ctypes

    if ctypes.CDLL(None, use_errno=True).syscall(446, rules, 0) != 0:  # landlock_restrict_self
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


domain = -1
"""The rules of that wall, as a descriptor; none where the sandbox has processes of its own."""


def spawn(argv: list[str], env: dict[str, str], folders: list[str], stdio: tuple[int, int, int], tty: bool) -> int:
    """Start a program in a session of its own, in the first of `folders` that is there. Raises OSError."""
    report, report_child = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            if tty:
                fcntl.ioctl(stdio[0], termios.TIOCSCTTY, 0)
            for number, folder in enumerate(folders):
                try:
                    os.chdir(folder)
                    break
                except OSError:
                    if number == len(folders) - 1:
                        raise
            for target, source in enumerate(stdio):
                os.dup2(source, target)
            for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGCHLD, getattr(signal, "SIGXFSZ", signal.SIGPIPE)):
                signal.signal(number, signal.SIG_DFL)
            if domain >= 0:
                enter_domain(domain)
            os.execvpe(argv[0], argv, env)
        except OSError as error:
            os.write(report_child, str(error.errno or errno.EIO).encode())
        finally:
            os._exit(127)
    os.close(report_child)
    with os.fdopen(report, "rb") as file:
        failure = file.read()
    if failure:
        os.waitpid(pid, 0)
        raise OSError(int(failure), os.strerror(int(failure)), argv[0])
    return pid


class Outbox:
    """Bytes for a descriptor that takes them when it likes: kept in order, never waited for."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.pieces: collections.deque[tuple[memoryview, int]] = collections.deque()
        """Each with the descriptor that travels with its first byte over a socket, or -1."""
        self.waiting = 0
        """Bytes that are here."""
        self.broken = ""
        """Why the descriptor takes nothing any more."""

    def __bool__(self) -> bool:
        return bool(self.pieces)

    def add(self, data: bytes, passed: int = -1) -> None:
        """More, behind what is there. A descriptor that is `passed` is closed here afterwards."""
        self.pieces.append((memoryview(data), passed))
        self.waiting += len(data)

    def send(self, data: bytes, passed: int = -1) -> None:
        """Add it, and write it at once where nothing is before it."""
        self.add(data, passed)
        if len(self.pieces) == 1:
            self.flush()

    def write(self, piece: memoryview, passed: int) -> int:
        """As `os.write`."""
        if passed < 0:
            return os.write(self.descriptor, piece)
        with socket.socket(fileno=os.dup(self.descriptor)) as stream:
            sent = stream.sendmsg([piece], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", passed))])
        os.close(passed)
        return sent

    def flush(self) -> None:
        """Write what is taken now. Nothing is left here once it is `broken`."""
        while self.pieces:
            piece, passed = self.pieces[0]
            try:
                sent = self.write(piece, passed)
            except BlockingIOError:
                break
            except OSError as error:
                self.broken = error.strerror or str(error)
                self.pieces.clear()
                return
            self.waiting -= sent
            if sent == len(piece):
                self.pieces.popleft()
            else:
                self.pieces[0] = (piece[sent:], -1)


class Wire:
    """The stream to the host."""

    def __init__(self, guest: Guest, reader: int, writer: int) -> None:
        self.guest = guest
        self.reader, self.writer = reader, writer
        self.queue = Outbox(writer)
        self.lost = False
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        self.watch()

    def send(self, data: bytes, passed: int = -1) -> None:
        """Queue a frame, and a descriptor that travels with it: as `Outbox.send`."""
        self.queue.send(data, passed)
        self.watch()

    def watch(self) -> None:
        """Listen for the host, and for room while something waits for it; where it takes nothing more, it is lost."""
        self.lost = self.lost or bool(self.queue.broken)
        room = selectors.EVENT_WRITE if self.queue else 0
        if self.reader == self.writer:
            self.guest.watch(self.reader, selectors.EVENT_READ | room, self.guest.on_host)
        else:
            self.guest.watch(self.reader, selectors.EVENT_READ, self.guest.on_host)
            self.guest.watch(self.writer, room, self.guest.on_host)

    def control(self, message: dict[str, Any], passed: int = -1) -> None:
        """Send a control message."""
        self.send(frame(CONTROL_KIND, json.dumps(message).encode("ascii")), passed)


class Shell:
    """A bash on a pseudo-terminal. Its output goes to the host in frames, unless the host was given the master."""

    def __init__(self, guest: Guest, number: int, message: dict[str, Any]) -> None:
        self.guest, self.number = guest, number
        self.relay = bool(message.get("relay"))
        self.credit = int(message.get("credit", 0))
        self.status: int | None = None
        self.drained_at = 0.0
        # The slave stays open here while the shell lives, so that a shell which closes all its own ends of the
        # terminal does not hang it up.
        self.master, self.slave = os.openpty()
        self.typed = Outbox(self.master)
        try:
            set_size(self.master, int(message["columns"]), int(message["rows"]))
            reset_terminal(self.master)
            env = {**os.environ, **message.get("env", {})}
            folders = [str(message["cwd"]), guest.workspace, "/"]
            self.pid = spawn(list(message["argv"]), env, folders, (self.slave,) * 3, tty=True)
        except BaseException:
            os.close(self.master)
            os.close(self.slave)
            raise
        if self.relay:
            os.set_blocking(self.master, False)
            self.watch()

    def watch(self) -> None:
        """Listen to the terminal for what can be done now."""
        if self.master >= 0:
            wanted = selectors.EVENT_READ if self.relay and self.credit > 0 else 0
            self.guest.watch(self.master, wanted | (selectors.EVENT_WRITE if self.typed else 0), self.on_ready)

    def on_ready(self, events: int) -> None:
        """The terminal has output, or takes input again."""
        if events & selectors.EVENT_WRITE:
            self.typed.flush()
            self.watch()
        if events & selectors.EVENT_READ:
            self.read_output()

    def read_output(self) -> None:
        parts: list[bytes] = []
        size, data = 0, None
        while size < CHUNK and size < self.credit:
            data = read_now(self.master, min(CHUNK, self.credit - size))
            if not data:
                break
            parts.append(data)
            size += len(data)
        else:
            data = None
        if parts:
            self.credit -= size
            self.guest.wire.send(frame(SHELL_KIND, SHELL_HEADER.pack(self.number), *parts))
            self.drained_at = time.monotonic() + EXIT_GRACE
        if data is None:
            self.watch()
        else:
            self.guest.drop_master(self)

    def write(self, data: bytes) -> None:
        """Type."""
        if self.master >= 0:
            self.typed.send(data)
            self.watch()

    def signal(self, name: str) -> None:
        """Signal what runs in the foreground.

        When that is bash itself (a builtin, a loop, a command substitution), TERM spares it and reaches the rest of
        its group only.
        """
        number = {"INT": signal.SIGINT, "TERM": signal.SIGTERM, "KILL": signal.SIGKILL}[name]
        group = self.settled() if name == "INT" else self.foreground()
        if group == self.pid and name == "TERM":
            for pid, _, its_group, _ in process_table():
                if its_group == group and pid != self.pid:
                    kill_quietly(pid, number)
            return
        with contextlib.suppress(OSError):
            os.killpg(group, number)
            if name == "TERM":
                os.killpg(group, signal.SIGCONT)

    def foreground(self) -> int:
        """The process group that has the terminal."""
        with contextlib.suppress(OSError):
            return max(os.tcgetpgrp(self.master), 0) or self.pid
        return self.pid

    def settled(self) -> int:
        """The same, once a program runs there, or bash itself works or waits: an INT in between is lost, or worse.

        Bash interrupted as it forks goes back to its prompt while the child takes the terminal; bash may then not read
        it, and ends as if it had been closed.
        """
        began, until, group = None, time.monotonic() + LONGEST_FORK, self.pid
        with contextlib.suppress(OSError):
            while time.monotonic() < until:
                group, fields = self.foreground(), stat_fields(self.pid)
                ticks = int(fields[11]) + int(fields[12])
                began = ticks if began is None else began
                if group != self.pid:
                    if any(its_group == group for _, _, its_group, _ in process_table()):
                        break
                elif fields[0] not in b"RD" or ticks > began + TICKS_OF_FORK:
                    break
                time.sleep(0.001)
        return group

    def waiting(self) -> dict[str, Any]:
        """Which program in the foreground waits for somebody to type, if one does and nothing there is at work.

        `how` is "read" for a read of the terminal, which can be for nothing else, and "poll" where a program that took
        the terminal out of its usual mode waits for events, which may be others. `ticks` is the time on a processor of
        all in the foreground: a program that waits uses none.
        """
        group = os.tcgetpgrp(self.master)
        reads, polls = WAITING_CALLS.get(os.uname().machine, ((), ()))
        terminals = {os.fstat(self.slave).st_rdev, os.makedev(5, 0)}
        polls = () if termios.tcgetattr(self.master)[3] & termios.ICANON else polls
        found: dict[str, Any] = {}
        ticks = 0
        for pid, _, its_group, _ in process_table():
            if its_group != group:
                continue
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = stat_fields(pid)
                ticks += int(fields[11]) + int(fields[12])
                if fields[0] != b"S":
                    return {}
                with open(f"/proc/{pid}/syscall") as file:
                    call, first = file.read().split()[:2]
                how = "poll" if int(call) in polls else ""
                if int(call) in reads and os.stat(f"/proc/{pid}/fd/{int(first, 16)}").st_rdev in terminals:
                    how = "read"
                if how and not found and (pid != self.pid or (how == "read" and self.in_action(terminals))):
                    found = {"pid": pid, "program": program_name(pid), "how": how}
        return {**found, "ticks": ticks} if found else {}

    def in_action(self, terminals: set[int]) -> bool:
        """Whether bash is within an action, not at its prompt: the input that it has there, it has put aside."""
        for name in os.listdir(f"/proc/{self.pid}/fd"):
            if 10 <= int(name) < 255:
                with contextlib.suppress(OSError):
                    if os.stat(f"/proc/{self.pid}/fd/{name}").st_rdev in terminals:
                        return True
        return False

    def do_resize(self, request: int, message: dict[str, Any]) -> None:
        set_size(self.master, int(message["columns"]), int(message["rows"]))

    def do_reset_modes(self, request: int, message: dict[str, Any]) -> None:
        reset_terminal(self.master, bool(message.get("echo", True)))

    def do_signal(self, request: int, message: dict[str, Any]) -> dict[str, Any]:
        if self.status is None:
            self.signal(message["name"])
        return {}

    def do_waiting(self, request: int, message: dict[str, Any]) -> dict[str, Any]:
        return {"waiting": self.waiting()} if self.master >= 0 and self.slave >= 0 else {}

    def do_unblock(self, request: int, message: dict[str, Any]) -> dict[str, Any]:
        """Let the terminal print again after a `tcflow`, and be opened again after a TIOCEXCL."""
        with contextlib.suppress(OSError, ValueError, termios.error):
            fcntl.ioctl(self.slave, termios.TIOCNXCL)
            termios.tcflow(self.slave, termios.TCOON)
        return {}

    def do_processes(self, request: int, message: dict[str, Any]) -> dict[str, Any]:
        """What descends from it, itself first: process, parent, command line."""
        table = {pid: parent for pid, parent, _, _ in process_table()}
        found = [self.pid] if self.pid in table else []
        for pid in found:  # grows meanwhile
            found += [child for child, parent in table.items() if parent == pid][: MAX_LISTED - len(found)]
        return {"processes": [[pid, table[pid], command_line(pid)] for pid in found]}

    def do_close_shell(self, request: int, message: dict[str, Any]) -> dict[str, Any]:
        self.kill_session()
        self.guest.drop_master(self)
        return {}

    def close_slave(self) -> None:
        if self.slave >= 0:
            os.close(self.slave)
            self.slave = -1

    def kill_session(self) -> None:
        """Kill the shell and everything that did not leave its session."""
        for _ in range(50):
            members = [pid for pid, _, _, session in process_table() if session == self.pid]
            for pid in members:
                kill_quietly(pid, signal.SIGKILL)
            if not members:
                break
            time.sleep(0.001)  # the dying may have forked meanwhile
        if self.status is None:
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)


WAITING_CALLS = {
    "x86_64": ((0, 19), (7, 23, 232, 270, 271, 281, 441)),
    "aarch64": ((63, 65), (22, 72, 73, 441)),
}
"""Machine → numbers of read and readv, and of poll, select, epoll_wait and the like."""


class SideCommand:
    """A program beside the shell, with pipes and a time limit."""

    def __init__(self, guest: Guest, request: int, message: dict[str, Any]) -> None:
        self.guest, self.request = guest, request
        self.left = int(message["max_output"])
        self.truncated = self.timed_out = False
        self.status: int | None = None
        self.deadline = time.monotonic() + float(message["time_limit_s"])
        self.expected = int(message.get("stdin_size", 0))
        stdin, self.stdin = os.pipe()
        self.typed = Outbox(self.stdin)
        self.out, out = os.pipe()
        self.err, err = os.pipe()
        try:
            folders = [str(message.get("cwd") or guest.workspace)]
            self.pid = spawn(list(message["argv"]), {**os.environ}, folders, (stdin, out, err), tty=False)
        except BaseException:
            for descriptor in (self.stdin, self.out, self.err):
                os.close(descriptor)
            raise
        finally:
            for descriptor in (stdin, out, err):
                os.close(descriptor)
        self.open = {self.out: 1, self.err: 2}
        for descriptor in (self.stdin, self.out, self.err):
            os.set_blocking(descriptor, False)
        self.pause(False)
        if not self.expected:
            self.close_stdin()

    def pause(self, paused: bool) -> None:
        """Hold the output back while the host is behind, or let it flow."""
        self.paused = paused
        for descriptor in self.open:
            reader = functools.partial(self.read_output, descriptor)
            self.guest.watch(descriptor, 0 if paused else selectors.EVENT_READ, reader)

    def read_output(self, descriptor: int, events: int) -> None:
        data = read_now(descriptor, CHUNK)
        if data == b"":
            self.close_output(descriptor)
        elif data is not None:
            self.truncated = self.truncated or len(data) > self.left
            data = data[: self.left]
            self.left -= len(data)
            if data:
                self.guest.wire.send(frame(BLOB_KIND, BLOB_HEADER.pack(self.request, self.open[descriptor]), data))

    def close_output(self, descriptor: int) -> None:
        del self.open[descriptor]
        self.guest.close(descriptor)

    def write(self, data: bytes) -> None:
        """More of the standard input."""
        self.expected -= len(data)
        if self.stdin >= 0:
            self.typed.send(data)
            self.write_typed(0)

    def write_typed(self, events: int) -> None:
        if events:
            self.typed.flush()
        if self.typed.broken or (not self.typed and self.expected <= 0):
            self.close_stdin()
        elif self.stdin >= 0:
            self.guest.watch(self.stdin, selectors.EVENT_WRITE if self.typed else 0, self.write_typed)

    def close_stdin(self) -> None:
        if self.stdin >= 0:
            self.guest.close(self.stdin)
            self.stdin = -1

    def exited(self, status: int) -> None:
        """The program ended: what it left running in its group is killed, its output read to the end."""
        self.status = status
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        # Something that left the group may hold the pipes: it is not waited for.
        self.deadline = time.monotonic() + EXIT_GRACE

    def tick(self, now: float) -> bool:
        """Look at the clock; True when the command is finished and reported."""
        if self.status is None:
            if now >= self.deadline:
                self.timed_out = True
                self.deadline = now + 3600
                with contextlib.suppress(OSError):
                    os.killpg(self.pid, signal.SIGKILL)
            return False
        if self.open and (now < self.deadline or self.paused):
            return False
        self.close_stdin()
        for descriptor in list(self.open):
            self.read_output(descriptor, 0)
            if descriptor in self.open:
                self.close_output(descriptor)
        said = {"exit_code": self.status, "timed_out": self.timed_out, "truncated": self.truncated}
        self.guest.wire.control({"id": self.request, "ok": True, **said})
        return True


class Client:
    """An agent command connected to the request socket: a line in, the host's line back."""

    def __init__(self, guest: Guest, number: int, connection: int) -> None:
        self.guest, self.number, self.connection = guest, number, connection
        self.received = bytearray()
        self.answer = Outbox(connection)
        os.set_blocking(connection, False)
        guest.watch(connection, selectors.EVENT_READ, self.on_ready)

    def on_ready(self, events: int) -> None:
        """More of the request has come, or more of the answer is taken."""
        if events & selectors.EVENT_WRITE:
            self.answer.flush()
            if not self.answer:
                self.close()
        elif (data := read_now(self.connection, CHUNK)) is not None:
            self.received += data
            end = self.received.find(b"\n")
            if max(end, 0 if end >= 0 else len(self.received)) > MAX_REQUEST:
                self.reply(b'{"ok": false, "message": "the request is larger than 1 MB"}')
            elif end >= 0:
                self.guest.watch(self.connection, 0)
                line = bytes(self.received[:end])
                self.guest.wire.send(frame(REQUEST_KIND, SHELL_HEADER.pack(self.number), line))
            elif not data:
                self.close()

    def reply(self, line: bytes) -> None:
        """The answer. It is written when the loop comes round: the client may have gone."""
        self.answer.add(line + b"\n")
        self.guest.watch(self.connection, selectors.EVENT_WRITE, self.on_ready)

    def close(self) -> None:
        self.guest.close(self.connection)
        del self.guest.clients[self.number]
        self.guest.listen()


class RelayEnd:
    """One end of a relayed connection: what comes from it goes to `other`, as fast as that takes it."""

    other: RelayEnd

    def __init__(self, guest: Guest, stream: socket.socket) -> None:
        self.guest, self.stream = guest, stream
        self.outbox = Outbox(stream.fileno())
        self.ended = False
        self.heard = 0.0
        """When something came from it last; 0 before anything did."""
        stream.setblocking(False)

    def watch(self) -> None:
        """Listen for what can be done now."""
        wanted = 0 if self.ended or self.other.outbox.waiting >= RELAY_AHEAD else selectors.EVENT_READ
        self.guest.watch(self.stream.fileno(), wanted | (selectors.EVENT_WRITE if self.outbox else 0), self.on_ready)

    def on_ready(self, events: int) -> None:
        """It has bytes, takes some again, or both."""
        if events & selectors.EVENT_WRITE:
            self.outbox.flush()
        if events & selectors.EVENT_READ and not self.ended:
            data = read_now(self.stream.fileno(), CHUNK)
            if data:
                self.heard = time.monotonic()
                self.other.outbox.send(data)
            self.ended = data == b""
        ends = (self, self.other)
        if any(end.outbox.broken for end in ends) or all(end.ended and not end.outbox for end in ends):
            self.hang_up()
            return
        for end in ends:
            if end.ended and not end.other.outbox:
                with contextlib.suppress(OSError):
                    end.other.stream.shutdown(socket.SHUT_WR)
            end.watch()

    def hang_up(self) -> None:
        """Close both ends."""
        for end in (self, self.other):
            self.guest.close(end.stream.detach())
            self.guest.callers.pop(end, None)

    def use(self) -> tuple[bool, bool, float]:
        """How much is lost with a caller: less where it has said nothing, or got no answer, or is long silent."""
        return bool(self.heard), bool(self.other.heard), max(self.heard, self.other.heard)


class Relay:
    """A port of this machine's own addresses that leads to one unix socket, and nowhere else."""

    def __init__(self, guest: Guest, path: str) -> None:
        self.guest, self.path = guest, path
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=MAX_RELAYED)
        self.listener.setblocking(False)
        self.port = int(self.listener.getsockname()[1])
        guest.watch(self.listener.fileno(), selectors.EVENT_READ, self.on_connection)

    def on_connection(self, events: int) -> None:
        """Somebody calls: they are connected through. Where there are too many, the one of least use is hung up on."""
        with contextlib.suppress(OSError):
            caller, _ = self.listener.accept()
            with caller, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as called:
                if len(self.guest.callers) >= MAX_RELAYED:
                    min(self.guest.callers, key=RelayEnd.use).hang_up()
                caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a streamed answer comes in small pieces
                called.settimeout(1.0)
                called.connect(self.path)
                near, far = (RelayEnd(self.guest, socket.socket(fileno=end.detach())) for end in (caller, called))
                near.other, far.other = far, near
                self.guest.callers[near] = None
                near.watch()
                far.watch()


def failure(request: int, error: Exception) -> dict[str, Any]:
    """An answer that says what went wrong."""
    answer: dict[str, Any] = {"id": request, "ok": False, "message": str(error)}
    if isinstance(error, OSError):
        answer["errno"] = error.errno
    return answer


class Guest:
    """Everything this program serves, in one loop."""

    def __init__(self, workspace: str, listener: socket.socket, reader: int, writer: int) -> None:
        self.workspace = workspace
        self.listener = listener
        self.selector = selectors.DefaultSelector()
        self.wire = Wire(self, reader, writer)
        self.received = bytearray()
        self.shells: dict[int, Shell] = {}
        self.commands: dict[int, SideCommand] = {}
        self.clients: dict[int, Client] = {}
        self.last_client = 0
        self.callers: dict[RelayEnd, None] = {}
        """The ends that called, of relayed connections that are open; the oldest first."""
        self.child_ended, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(self.child_ended, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, stack: None)
        self.watch(self.child_ended, selectors.EVENT_READ, self.on_child)
        listener.setblocking(False)
        self.listen()

    def watch(self, descriptor: int, wanted: int, ready: Callable[[int], None] | None = None) -> None:
        """Listen to a descriptor for these events, and for no others; `ready` is called with those that came."""
        known = self.selector.get_map().get(descriptor)
        if known is None:
            if wanted:
                self.selector.register(descriptor, wanted, ready)
        elif not wanted:
            self.selector.unregister(descriptor)
        elif known.events != wanted:
            self.selector.modify(descriptor, wanted, ready)

    def close(self, descriptor: int) -> None:
        """Close a descriptor, and listen to it no more."""
        self.watch(descriptor, 0)
        os.close(descriptor)

    def run(self) -> None:
        """Serve until the host is gone."""
        while not self.wire.lost:
            for key, events in self.selector.select(self.patience()):
                known = self.selector.get_map().get(key.fd)
                if known is not None and known.data == key.data:  # else it was closed for something before it
                    key.data(events)
            if self.commands or self.shells:
                self.look_at_clock()

    def patience(self) -> float | None:
        """Seconds until something is due; None when nothing is."""
        due = [command.deadline for command in self.commands.values()]
        due += [shell.drained_at for shell in self.shells.values() if shell.status is not None]
        return max(0.0, min(due) - time.monotonic()) + 0.001 if due else None

    def look_at_clock(self) -> None:
        now = time.monotonic()
        congested = self.wire.queue.waiting > CONGESTED
        for number, command in list(self.commands.items()):
            command.pause(congested)
            if command.tick(now):
                del self.commands[number]
        for shell in list(self.shells.values()):
            if shell.status is not None and now >= shell.drained_at:
                if shell.credit > 0 or shell.master < 0:
                    self.drop_master(shell)
                else:
                    shell.drained_at = now + EXIT_GRACE

    def on_host(self, events: int) -> None:
        """Bytes from the host, or room for bytes to it."""
        if events & selectors.EVENT_WRITE:
            self.wire.queue.flush()
            self.wire.watch()
        if not events & selectors.EVENT_READ:
            return
        data = read_now(self.wire.reader, 4 * CHUNK)
        if not data:
            self.wire.lost = data is not None or self.wire.lost
            return
        self.received += data
        for kind, payload in take_frames(self.received):
            self.dispatch(kind, payload)

    def dispatch(self, kind: int, payload: bytes) -> None:
        """One frame from the host."""
        number = 0 if kind == CONTROL_KIND else SHELL_HEADER.unpack_from(payload)[0]
        if kind == CONTROL_KIND:
            self.on_control(json.loads(payload))
        elif kind == SHELL_KIND and number in self.shells:
            self.shells[number].write(payload[SHELL_HEADER.size :])
        elif kind == CREDIT_KIND and number in self.shells:
            self.shells[number].credit += CREDIT.unpack(payload)[1]
            self.shells[number].watch()
        elif kind == BLOB_KIND:
            if number in self.commands:
                self.commands[number].write(payload[BLOB_HEADER.size :])
        elif kind == REQUEST_KIND and number in self.clients:
            self.clients[number].reply(payload[SHELL_HEADER.size :])

    def on_control(self, message: dict[str, Any]) -> None:
        """Do what the host asks, and answer where it wants one: with what is returned, unless that is None."""
        request = int(message.get("id", 0))
        try:
            asked = self.shells.get(message["shell"]) if "shell" in message else self
            said = {} if asked is None else getattr(asked, "do_" + message["op"])(request, message)
            answer = None if said is None else {"id": request, "ok": True, **said}
        except Exception as error:  # a fault of ours must reach the host as an answer, not end the sandbox
            answer = failure(request, error)
        if answer is not None and request:
            self.wire.control(answer)

    def do_open_shell(self, request: int, message: dict[str, Any]) -> dict[str, Any] | None:
        shell = self.shells[request] = Shell(self, request, message)
        if shell.relay:
            return {"pid": shell.pid}
        self.wire.control({"id": request, "ok": True, "pid": shell.pid}, os.dup(shell.master))
        return None

    def do_make_room(self, request: int, message: dict[str, Any]) -> dict[str, Any]:
        """Kill every process but the shells. All are stopped first, at once, so that none can start others.

        Not where threads are what there is too much of: a program that has many does its work, and ends.
        """
        threads, processes = 0, descendants()
        for pid in processes:
            with contextlib.suppress(OSError, ValueError, IndexError):
                threads += int(stat_fields(pid)[17]) - 1
        if (os.getpid() != 1 and domain < 0) or threads > len(processes):
            raise RuntimeError("it is full of something else than processes")
        os.kill(-1, signal.SIGSTOP)  # which reaches what is in the sandbox, and nothing else
        killed: collections.Counter[str] = collections.Counter()
        shells = {shell.pid for shell in self.shells.values()}
        for pid in descendants():
            if pid not in shells:
                killed[program_name(pid)] += 1
                kill_quietly(pid, signal.SIGKILL)
        for pid in shells:
            kill_quietly(pid, signal.SIGCONT)
        return {"killed": dict(killed.most_common(5)), "count": sum(killed.values())}

    def do_relay(self, request: int, message: dict[str, Any]) -> dict[str, Any]:
        return {"port": Relay(self, str(message["path"])).port}

    def do_exec(self, request: int, message: dict[str, Any]) -> None:
        self.commands[request] = SideCommand(self, request, message)

    def drop_master(self, shell: Shell) -> None:
        """Close the terminal of a shell; once it is dead too, tell the host."""
        if shell.master >= 0:
            self.close(shell.master)
            shell.master = -1
            shell.close_slave()
        if shell.status is not None and self.shells.pop(shell.number, None) is not None:
            self.wire.control({"event": "exit", "shell": shell.number, "status": shell.status})

    def on_child(self, events: int) -> None:
        """Some child ended: ours, or an orphan that was left to us."""
        with contextlib.suppress(OSError):
            os.read(self.child_ended, CHUNK)
        while True:
            try:
                pid, raw = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            status = 128 + os.WTERMSIG(raw) if os.WIFSIGNALED(raw) else os.WEXITSTATUS(raw)
            self.ended(pid, status)

    def ended(self, pid: int, status: int) -> None:
        for command in self.commands.values():
            if command.pid == pid and command.status is None:
                command.exited(status)
                return
        for shell in list(self.shells.values()):
            if shell.pid == pid and shell.status is None:
                shell.status = status
                shell.close_slave()
                shell.drained_at = time.monotonic() + EXIT_GRACE
                if shell.master < 0 or not shell.relay:
                    self.drop_master(shell)
                return

    def listen(self) -> None:
        """Take connections while there is room for them."""
        wanted = selectors.EVENT_READ if len(self.clients) < MAX_CLIENTS else 0
        self.watch(self.listener.fileno(), wanted, self.on_connection)

    def on_connection(self, events: int) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self.listener.accept()
            self.last_client = (self.last_client + 1) & 0xFFFFFFFF
            self.clients[self.last_client] = Client(self, self.last_client, connection.detach())
            self.listen()


def harden(subreaper: bool) -> bool:
    """Keep the agent, which is the same user, from looking into this process; True when that worked.

    A stranger that could take our descriptors could also change how the host's end of a terminal behaves. Also: let
    the kernel take a process of the sandbox, not of its host, when memory runs out.
    """
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")
    try:
        import ctypes

        prctl = ctypes.CDLL(None, use_errno=True).prctl
        if subreaper:
            prctl(36, 1, 0, 0, 0)
        return bool(prctl(4, 0, 0, 0, 0) == 0)
    except (ImportError, OSError, AttributeError):
        return False


def refuse_calls() -> str:
    """Refuse what no agent needs of the kernel (see seccomp.py, beside this file): its host's keyring, typing into a
    terminal, which is the host's and in a take-over a person's, and more. Why that failed; empty when it did not.
    """
    sys.dont_write_bytecode = True
    sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))
    try:
        import seccomp  # type: ignore[import-not-found]
    except ImportError as error:
        return f"no filter of system calls: {error}"
    finally:
        del sys.path[0]
    return str(seccomp.confine(room=False))


def limit_cpus(count: int) -> None:
    """Keep to so many processors, picked by chance so that sandboxes do not meet on the same ones."""
    with contextlib.suppress(OSError, AttributeError):
        available = sorted(os.sched_getaffinity(0))
        if 0 < count < len(available):
            start = int.from_bytes(os.urandom(2), "big")
            os.sched_setaffinity(0, {available[(start + i) % len(available)] for i in range(count)})


def descendants() -> list[int]:
    """Every living process that came of this one: the orphans among them are its children."""
    children: dict[int, list[int]] = {}
    for pid, parent, _, _ in process_table():
        children.setdefault(parent, []).append(pid)
    found = list(children.get(os.getpid(), []))
    for pid in found:
        found += children.get(pid, [])
    return found


def kill_descendants() -> None:
    """Kill every process that came of this one (where no namespace does it for us)."""
    for _ in range(100):
        doomed = descendants()
        if not doomed:
            return
        for pid in doomed:
            kill_quietly(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.005)


def name_python(folder: str) -> None:
    """Make the Python that runs this known by both its names, wherever the image has it."""
    with contextlib.suppress(OSError):
        os.makedirs(folder)
        for name in PYTHON_NAMES:
            os.symlink(sys.executable, os.path.join(folder, name))


def offer_commands(folder: str, address: str) -> None:
    """Make the agent commands that score known to programs that are no shell: as files of a folder in PATH."""
    here = os.path.dirname(os.path.abspath(sys.argv[0]))
    with contextlib.suppress(OSError):
        os.makedirs(folder, exist_ok=True)
        for name in (*SCORING, MCP):
            run = f"tools.py {name}" if name in SCORING else "mcp.py"
            path = os.path.join(folder, name)
            with open(path, "w") as file:
                file.write(
                    f"#!/bin/sh\nexport MLGYM_SOCKET='{address}'\nexec '{sys.executable}' -I -S '{here}'/{run} \"$@\"\n"
                )
            os.chmod(path, 0o755)


def request_listener(options: dict[str, str]) -> socket.socket:
    """The socket that agent commands connect to: inherited, or made at the path that is given."""
    if "listener" in options:
        descriptor = int(options["listener"])
        os.set_inheritable(descriptor, False)
        return socket.socket(fileno=descriptor)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with contextlib.suppress(OSError):
        os.unlink(options["socket"])
    listener.bind(options["socket"])
    listener.listen(MAX_CLIENTS)
    return listener


def main(arguments: list[str]) -> None:
    """Serve the host on standard input and output (a socket on standard input is used for both ways).

    Arguments, each `name=value`: workspace; listener (inherited descriptor) or socket (path to make); cpus;
    bin (a folder to make for PATH, with both names of Python); commands (another, with `validate` and `submit`);
    domain (under Landlock, see `enter_domain`); remove (a folder to delete at the end).
    """
    global domain
    options = dict(argument.split("=", 1) for argument in arguments)
    alone = os.getpid() != 1
    undumpable = harden(subreaper=alone)
    unfiltered = "" if alone else refuse_calls()
    if "domain" in options:
        domain = int(options["domain"])
        os.set_inheritable(domain, False)
    limit_cpus(int(options.get("cpus", "0")))
    os.umask(0o022)
    if "bin" in options:
        name_python(options["bin"])
    if "commands" in options:
        offer_commands(options["commands"], os.environ.get("MLGYM_SOCKET", ""))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Python's own handler would let `kill -INT 1` end the sandbox
    can_pass = stat.S_ISSOCK(os.fstat(0).st_mode)
    reader = os.dup(0)
    writer = reader if can_pass else os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    guest = Guest(options["workspace"], request_listener(options), reader, writer)
    with contextlib.suppress(OSError):
        os.chdir(options["workspace"])
    guest.wire.control(
        {
            "event": "ready",
            "python": sys.version.split()[0],
            "uid": os.getuid(),
            "pid": os.getpid(),
            "undumpable": undumpable,
            "unfiltered": unfiltered,
            "passes_descriptors": can_pass,
        }
    )
    try:
        guest.run()
    finally:
        if alone:
            kill_descendants()
        if "remove" in options:
            import shutil

            shutil.rmtree(options["remove"], ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
