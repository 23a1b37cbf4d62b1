"""Processes of a command under test: what it started, and whether that is gone."""

from __future__ import annotations

import os
from pathlib import Path

from workbench.sandbox.guest.guest import process_table


def descendants(ancestor: int) -> list[int]:
    """All that came of a process and is there now."""
    children: dict[int, list[int]] = {}
    for pid, parent, _group, _session in process_table():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    waiting = [ancestor]
    while waiting:
        waiting += children.get(waiting[0], [])
        found += children.get(waiting.pop(0), [])
    return found


def commands(pids: list[int]) -> list[str]:
    """Their command lines, of those that live."""
    found = []
    for pid in pids:
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
            state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
        except OSError:
            continue
        if state not in (b"Z", b"X"):
            found.append(os.fsdecode(line.replace(b"\0", b" ")).strip())
    return found
