"""What was found out about this machine, kept for later starts: asking its programs takes longer than a start may."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from workbench.session.files import read_file, write_whole
from workbench.session.secrets import cache_folder

_FILE = "machine.json"
_MOST = 1 << 16
NAMESPACE_SWITCHES = (
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "1"),
    ("/proc/sys/user/max_user_namespaces", "0", "10000"),
)
"""Settings of the kernel about namespaces: a value that forbids them, and one that does not."""
_Known = dict[str, tuple[list[str], str]]
"""Question → what its answer hangs on, and the answer."""


def known(question: str, hangs_on: Sequence[str], ask: Callable[[], str]) -> str:
    """The answer of an earlier start, where all that it hangs on is as it was; else that of `ask`, which is kept."""
    before = _read().get(question)
    if before is not None and before[0] == list(hangs_on):
        return before[1]
    answer = ask()
    if answer:  # an empty one is none
        _write({**_read(), question: (list(hangs_on), answer)})
    return answer


def problem_with(what: str, hangs_on: Sequence[str], attempt: Callable[[], str | None]) -> str | None:
    """Why `what` does not hold here, as an attempt says; None where it does, or did at an earlier start."""
    problems: list[str | None] = []

    def holds() -> str:
        problems.append(attempt())
        return "" if problems[0] else "yes"

    known(what, hangs_on, holds)
    return problems[0] if problems else None


def forget(question: str) -> None:
    """It turned out otherwise: ask again."""
    answers = _read()
    if answers.pop(question, None) is not None:
        _write(answers)


def programs(*names: str) -> Iterator[str]:
    """What tells these programs from others of their names."""
    for name in names:
        path = os.path.realpath(shutil.which(name) or name)
        with contextlib.suppress(OSError):
            found = os.stat(path)
            yield f"{path} {found.st_size} {found.st_mtime_ns} {found.st_ino}"


def boundaries() -> Iterator[str]:
    """What tells whether this process may make namespaces: who it is, in which container, what the kernel allows."""
    yield f"{os.uname().release} {os.geteuid()} {os.getegid()}"
    for name in ("user", "mnt", "pid"):
        with contextlib.suppress(OSError):
            yield os.readlink(f"/proc/self/ns/{name}")
    switches = [path for path, _, _ in NAMESPACE_SWITCHES]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/attr/current", *switches):
        with contextlib.suppress(OSError):
            yield Path(path).read_text()
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        yield " ".join(line for line in lines if line.startswith(("Cap", "NoNewPrivs", "Seccomp:")))


def _read() -> _Known:
    try:
        return msgspec.json.decode(read_file(cache_folder() / _FILE, _MOST), type=_Known)
    except (OSError, msgspec.DecodeError):  # none yet, or it is no such file: then nothing is known
        return {}


def _write(answers: _Known) -> None:
    """As a whole or not at all; where it cannot be kept, it is asked again."""
    with contextlib.suppress(OSError, UnicodeError):
        write_whole(cache_folder() / _FILE, msgspec.json.encode(answers))
