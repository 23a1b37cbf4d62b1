"""Which system calls a sandbox refuses: one list, for the agent's sandbox and, with a few more, for the clean room.

What Docker's default profile refuses to a process without capabilities is refused here, and typing into a terminal.
Shipped beside the guest and beside the clean room's player, so self-contained: standard library only, Python >= 3.8.
"""

from __future__ import annotations

import errno
import os
import struct
import sys

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

_JUDGED = "clone 56 220, clone3 435 435, fcntl 72 25, ioctl 16 29, personality 135 92, prlimit64 302 261, socket 41 198"
"""Calls that are refused for some of their arguments."""

_NEWEST = 466
"""The last call that this list knows of. Later ones do not exist, nor do those of x32, which are numbered far above."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _GIVE = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE = 0, 4
_ARGUMENTS = (16, 24)
"""Where the low halves of a call's first arguments are."""
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Machine → its column in the lists, and the kernel's name of its calling convention."""

_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
_NAMESPACES = 0x7E020000
"""Flags of clone that make namespaces."""
_VSOCK, _CRYPTO = 40, 38
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
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
    why = unsupported()
    if why:
        return why
    try:
        import ctypes

        library = ctypes.CDLL(None, use_errno=True)
        machine = os.uname().machine
        library.syscall(_numbers(_REFUSED, machine)["keyctl"], 1, None)  # KEYCTL_JOIN_SESSION_KEYRING
        program = _program(machine, room)
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
        header = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code)))
        library.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS: without it only root may
        if library.prctl(22, 2, header) != 0:  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
            return f"the kernel takes no filter of system calls: {os.strerror(ctypes.get_errno())}"
    except (ImportError, OSError, AttributeError) as error:
        return f"no filter of system calls can be set: {error}"
    return ""


def _numbers(calls: str, machine: str) -> dict[str, int]:
    columns = [(call.split()[0], call.split()[1 + _MACHINES[machine][0]]) for call in calls.split(",")]
    return {name: int(number) for name, number in columns if number != "-"}


def _program(machine: str, room: bool) -> list[tuple[int, int, int, int]]:
    """The filter: lines of code, jump where it holds, jump where not, value."""
    convention = _MACHINES[machine][1]
    call = _numbers(_JUDGED, machine)
    refused = [*_numbers(_REFUSED, machine).values(), *(_numbers(_REFUSED_IN_ROOM, machine).values() if room else ())]
    lines: list[tuple[int, int, int | str, int | str]] = [
        (_LOAD, _ARCHITECTURE, 0, 0),
        (_EQUAL, convention, 0, "refuse"),
        (_LOAD, _NUMBER, 0, 0),
    ]

    def judge(name: str, argument: int, test: int, values: tuple[int, ...], found: str, other: str) -> None:
        tests = [(test, value, found, 0) for value in values]
        lines.append((_EQUAL, call[name], 0, len(tests) + 2))
        lines.extend([(_LOAD, _ARGUMENTS[argument], 0, 0), *tests, (_AT_LEAST, 0, other, other)])

    judge("ioctl", 1, _EQUAL, (_TIOCSTI, _TIOCLINUX), "refuse", "allow")
    if room:
        judge("fcntl", 1, _EQUAL, _SIGNAL_OWNERS, "refuse", "allow")
        judge("prlimit64", 0, _EQUAL, (0,), "allow", "refuse")  # 0 is this process
    else:
        judge("socket", 0, _EQUAL, (_VSOCK, _CRYPTO), "refuse", "allow")
    judge("clone", 0, _ANY_BIT, (_NAMESPACES,), "refuse", "allow")
    judge("personality", 0, _EQUAL, _PERSONALITIES, "allow", "refuse")
    lines.append((_EQUAL, call["clone3"], "missing", 0))  # its flags cannot be read; libraries go on with clone
    lines.append((_AT_LEAST, _NEWEST + 1, "missing", 0))
    lines += [(_EQUAL, number, "refuse", 0) for number in refused]
    lines.append((_GIVE, 0x7FFF0000, 0, 0))
    lines.append((_GIVE, 0x00050000 | errno.EPERM, 0, 0))
    lines.append((_GIVE, 0x00050000 | errno.ENOSYS, 0, 0))
    last = {"allow": len(lines) - 3, "refuse": len(lines) - 2, "missing": len(lines) - 1}

    def jump(place: int, to: int | str) -> int:
        return to if isinstance(to, int) else last[to] - place - 1

    return [(code, jump(at, yes), jump(at, no), value) for at, (code, value, yes, no) in enumerate(lines)]
