"""Which system calls a sandbox refuses: one list, for the agent's sandbox and, with a few more, for the clean room.

What Docker's default profile refuses to a process without capabilities is refused here, and typing into a terminal.
Shipped beside the guest and beside the submission server, so self-contained: standard library only, Python >= 3.8.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # not there at run time on the oldest versions
    from collections.abc import Callable, Collection

    _Line = tuple[int, int, int | str, int | str]

_REFUSED = """
    acct 163 89, add_key 248 217, bpf 321 280, chroot 161 51, clock_settime 227 112, create_module 174 -,
    delete_module 176 106, fanotify_init 300 262, finit_module 313 273, fsconfig 431 431, fsmount 432 432,
    fsopen 430 430, fspick 433 433, get_kernel_syms 177 -, get_mempolicy 239 236, init_module 175 105,
    io_uring_enter 426 426, io_uring_register 427 427, io_uring_setup 425 425, ioperm 173 -, iopl 172 -, kcmp 312 272,
    kexec_file_load 320 294, kexec_load 246 104, keyctl 250 219, lookup_dcookie 212 18, lsm_get_self_attr 459 459,
    lsm_list_modules 461 461, lsm_set_self_attr 460 460, mbind 237 235, migrate_pages 256 238, mount 165 40,
    mount_setattr 442 442, move_mount 429 429, move_pages 279 239, nfsservctl 180 42, open_by_handle_at 304 265,
    open_tree 428 428, perf_event_open 298 241, pidfd_getfd 438 438, pivot_root 155 41, process_madvise 440 440,
    query_module 178 -, quotactl 179 60, quotactl_fd 443 443, reboot 169 142, request_key 249 218,
    set_mempolicy 238 237, set_mempolicy_home_node 450 450, setdomainname 171 162, sethostname 170 161, setns 308 268,
    settimeofday 164 170, swapoff 168 225, swapon 167 224, sysfs 139 -, syslog 103 116, umount2 166 39, unshare 272 97,
    uselib 134 -, userfaultfd 323 282, ustat 136 -, vhangup 153 58
"""
"""Each with its number on x86-64 and on aarch64."""

_REFUSED_IN_ROOM = """
    kill 62 129, tkill 200 130, tgkill 234 131, rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240, pidfd_open 434 434,
    pidfd_send_signal 424 424, ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, socket 41 198,
    setsid 112 157, setpgid 109 154,
    fadvise64 221 223, mincore 27 232, preadv2 327 286, cachestat 451 451
"""
"""What reaches other processes; and what tells or changes which parts of a file are in memory: a message to whoever
comes to read the same file."""

_REFUSED_AMONG_OTHERS = """
    chown 92 -, lchown 94 -, fchownat 260 54, fchown 93 55
"""
"""Refused, too, where a sandbox has no file system and no processes of its own, and its user's are beside it."""
_NO_ATTRIBUTES = """
    setxattr 188 5, lsetxattr 189 6, fsetxattr 190 7, removexattr 197 14, lremovexattr 198 15, fremovexattr 199 16,
    setxattrat 463 463, removexattrat 466 466
"""
_NOT_THERE = """
    inotify_init 253 -, inotify_init1 294 26, inotify_add_watch 254 27,
    shmget 29 194, shmat 30 196, shmctl 31 195, semget 64 190, semctl 66 191, semop 65 193, semtimedop 220 192,
    msgget 68 186, msgctl 71 187, msgsnd 69 189, msgrcv 70 188, mq_open 240 180, mq_unlink 241 181
"""
"""There it is as if the kernel did not have them: its user's folders could be watched, and shared objects taken."""
_ASKED = """
    chmod 90 -, fchmod 91 52, fchmodat 268 53, fchmodat2 452 452, utime 132 -, utimes 235 -, futimesat 261 -,
    utimensat 280 88, connect 42 203, setpriority 141 140, ioprio_set 251 30, link 86 -, linkat 265 37, unlink 87 -,
    unlinkat 263 35
"""
"""There the keeper is asked (see keeper.py): Landlock does not bind these, or it stands for a private /dev/shm."""
_ASKED_FOR_OTHERS = (
    "sched_setparam 142 118, sched_setscheduler 144 119, sched_setaffinity 203 122, sched_setattr 314 274"
)
"""There the keeper is asked where it is not for the caller itself."""
_SIGNALS = """
    kill 62 129, tkill 200 130, tgkill 234 131, rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240,
    pidfd_send_signal 424 424
"""
_OPENING = "open 2 -, openat 257 56, openat2 437 437, truncate 76 45"
_O_RDWR, _O_CREAT, _O_EXCL, _O_TRUNC, _O_NOFOLLOW = 0x2, 0x40, 0x80, 0x200, {"x86_64": 0x20000, "aarch64": 0x8000}

_JUDGED = """
    clone 56 220, clone3 435 435, fcntl 72 25, ioctl 16 29, personality 135 92, prlimit64 302 261, socket 41 198,
    socketpair 53 199
"""
"""Calls that are refused for some of their arguments."""

_NEWEST = 466
"""The last call that this list knows of. Later ones do not exist, nor do those of x32, which are numbered far above."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _MASK, _GIVE = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_NUMBER, _ARCHITECTURE = 0, 4
_ARGUMENTS = (16, 24, 32)
"""Where the low halves of a call's first arguments are."""
_ANSWERS = {
    "allow": 0x7FFF0000,  # what no line is about
    "ask": 0x7FC00000,
    "refuse": 0x00050000 | errno.EPERM,
    "missing": 0x00050000 | errno.ENOSYS,
    "unsupported": 0x00050000 | errno.ENOTSUP,
    "no family": 0x00050000 | errno.EAFNOSUPPORT,
}
"""What the filter may say, by the names that it is written with."""
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Machine → its column in the lists, and the kernel's name of its calling convention."""

_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
_NAMESPACES = 0x7E020000
"""Flags of clone that make namespaces."""
_VSOCK, _CRYPTO = 40, 38
_UNIX, _STREAMS = 1, (1, 5)
"""A family of sockets, and its types that have no addresses but their peer's."""
_TIOCSTI, _TIOCLINUX, TIOCGPTPEER = 0x5412, 0x541C, 0x5441
_SIGNAL_OWNERS = (8, 10, 15)
"""fcntl with F_SETOWN, F_SETSIG, F_SETOWN_EX sends a signal, in a roundabout way."""


def unsupported() -> str:
    """Why there is no filter for this machine; empty where there is one."""
    machine = os.uname().machine
    if sys.platform != "linux" or sys.maxsize < 2**32 or machine not in _MACHINES:
        return f"no filter of system calls is known for {sys.platform} on {machine}"
    return ""


def confine(*, room: bool) -> str:
    """Refuse the calls to this process and all that it starts, for good. Why that failed; empty when it did not.

    `room`: as strictly as a submission in a clean room is kept. A new session keyring takes the place of the user's.
    """
    return _set_filter(lambda machine: _program(machine, room), 0)[0]


def confine_beside(given: Collection[str]) -> tuple[str, int]:
    """As `confine`, for what has no namespaces, so that its user's processes and files are beside it; and the
    descriptor on which its keeper is asked (-1 after a failure).

    `given`: what this kernel's Landlock does not know of "signals" (the keeper is asked about each) and "truncation"
    (refused but by who may write).
    """
    return _set_filter(lambda machine: _program(machine, room=False, beside=given), 8)  # ..._FLAG_NEW_LISTENER


def _set_filter(make: Callable[[str], list[tuple[int, int, int, int]]], flags: int) -> tuple[str, int]:
    why = unsupported()
    if why:
        return why, -1
    try:
        import ctypes

        library = ctypes.CDLL(None, use_errno=True)
        machine = os.uname().machine
        library.syscall(_numbers(_REFUSED, machine)["keyctl"], 1, None)  # KEYCTL_JOIN_SESSION_KEYRING
        program = make(machine)
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
        header = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code)))
        library.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS: without it only root may
        listener = library.syscall({"x86_64": 317, "aarch64": 277}[machine], 1, flags, header)  # seccomp, a filter
        if listener < 0:
            return f"the kernel takes no filter of system calls: {os.strerror(ctypes.get_errno())}", -1
    except (ImportError, OSError, AttributeError) as error:
        return f"no filter of system calls can be set: {error}", -1
    return "", listener


def _numbers(calls: str, machine: str) -> dict[str, int]:
    columns = [(call.split()[0], call.split()[1 + _MACHINES[machine][0]]) for call in calls.split(",")]
    return {name: int(number) for name, number in columns if number != "-"}


def numbers_asked() -> dict[str, int]:
    """The calls that a keeper may be asked about, and their numbers on this machine."""
    return _numbers(", ".join((_ASKED, _ASKED_FOR_OTHERS, _SIGNALS, _OPENING, _JUDGED)), os.uname().machine)


def _program(machine: str, room: bool, beside: Collection[str] | None = None) -> list[tuple[int, int, int, int]]:
    """The filter: lines of code, jump where it holds, jump where not, value."""
    convention = _MACHINES[machine][1]
    call = _numbers(_JUDGED, machine)
    lines: list[_Line] = [
        (_LOAD, _ARCHITECTURE, 0, 0),
        (_EQUAL, convention, 0, "refuse"),
        (_LOAD, _NUMBER, 0, 0),
    ]

    def judge(number: int, argument: int, tests: list[tuple[int, int, str]], other: str) -> None:
        """One call by one of its arguments: the first test that holds decides."""
        body: list[_Line] = [(test, value, found, 0) for test, value, found in tests]
        lines.append((_EQUAL, number, 0, len(body) + 2))
        lines.extend([(_LOAD, _ARGUMENTS[argument], 0, 0), *body, (_AT_LEAST, 0, other, other)])

    typing = [(_EQUAL, _TIOCSTI, "refuse"), (_EQUAL, _TIOCLINUX, "refuse")]
    judge(call["ioctl"], 1, [*typing, *([(_EQUAL, TIOCGPTPEER, "ask")] if beside is not None else [])], "allow")
    if room or beside is not None:
        judge(call["fcntl"], 1, [(_EQUAL, value, "refuse") for value in _SIGNAL_OWNERS], "allow")
        judge(call["prlimit64"], 0, [(_EQUAL, 0, "allow")], "refuse")  # 0 is this process
    if beside is not None:
        _judge_beside(lines, judge, machine, beside)
    elif not room:
        judge(call["socket"], 0, [(_EQUAL, family, "refuse") for family in (_VSOCK, _CRYPTO)], "allow")
    judge(call["clone"], 0, [(_ANY_BIT, _NAMESPACES, "refuse")], "allow")
    judge(call["personality"], 0, [(_EQUAL, value, "allow") for value in _PERSONALITIES], "refuse")
    lines.append((_EQUAL, call["clone3"], "missing", 0))  # its flags cannot be read; libraries go on with clone
    lines.append((_AT_LEAST, _NEWEST + 1, "missing", 0))
    answers = {_REFUSED: "refuse"}
    if room:
        answers[_REFUSED_IN_ROOM] = "refuse"
    if beside is not None:
        answers.update({_REFUSED_AMONG_OTHERS: "refuse", _NO_ATTRIBUTES: "unsupported", _NOT_THERE: "missing"})
        answers.update({_ASKED: "ask", **({_SIGNALS: "ask"} if "signals" in beside else {})})
    for calls, answer in answers.items():
        lines += [(_EQUAL, number, answer, 0) for number in _numbers(calls, machine).values()]
    return _joined(lines)


def _judge_beside(lines: list[_Line], judge: Callable[..., None], machine: str, given: Collection[str]) -> None:
    call = _numbers(_JUDGED, machine)
    for number in _numbers(_ASKED_FOR_OTHERS, machine).values():
        judge(number, 0, [(_EQUAL, 0, "allow")], "ask")
    for name in ("socket", "socketpair"):
        # Of Unix sockets those alone that must connect: what is sent to an address cannot be seen here.
        lines += [(_EQUAL, call[name], 0, 7), (_LOAD, _ARGUMENTS[0], 0, 0)]
        lines += [(_EQUAL, _UNIX, 0, "no family"), (_LOAD, _ARGUMENTS[1], 0, 0), (_MASK, 0xF, 0, 0)]
        lines += [(_EQUAL, kind, "allow", 0) for kind in _STREAMS]
        lines += [(_AT_LEAST, 0, "refuse", "refuse")]
    # As `shm_open` and `sem_open` do it: other programs open few files so.
    shared = [(3 | kind, _O_RDWR | kind, "ask") for kind in (_O_NOFOLLOW[machine], _O_CREAT | _O_EXCL)]
    opening = _numbers(_OPENING, machine)
    if "truncation" in given:
        shared.append((3 | _O_TRUNC, _O_TRUNC, "refuse"))
        lines += [(_EQUAL, opening["openat2"], "missing", 0), (_EQUAL, opening["truncate"], "refuse", 0)]
    for name, argument in (("open", 1), ("openat", 2)):
        if name in opening:
            lines.append((_EQUAL, opening[name], 0, 3 * len(shared) + 1))
            for mask, value, answer in shared:
                lines += [(_LOAD, _ARGUMENTS[argument], 0, 0), (_MASK, mask, 0, 0), (_EQUAL, value, answer, 0)]
            lines.append((_AT_LEAST, 0, "allow", "allow"))


def _joined(lines: list[_Line]) -> list[tuple[int, int, int, int]]:
    """With what the filter may say behind it, and each jump to one of those as a number of lines (255 at most)."""
    answers = {name: len(lines) + place for place, name in enumerate(_ANSWERS)}

    def jump(place: int, to: int | str) -> int:
        return to if isinstance(to, int) else answers[to] - place - 1

    made = [(code, jump(at, yes), jump(at, no), value) for at, (code, value, yes, no) in enumerate(lines)]
    return made + [(_GIVE, 0, 0, value) for value in _ANSWERS.values()]
