"""The one table of formats: what each is called, how it is told, and what reads and writes it."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from workbench.session.log import EVENTS_FILE
from workbench.session.recording import Recording
from workbench.session.run import Run

SOURCE = "mlgym-tui"


class Format(NamedTuple):
    """A kind of file that we know."""

    name: str
    sniff: Callable[[Path, bytes, bytes], bool]
    """Whether a file is of this format: given its path, its first bytes and its last."""
    read: Callable[[Path, str], Recording] | None = None
    """Given the path, and which of several runs; empty for the only one. None: it is only written."""
    runs: Callable[[Path], list[str]] | None = None
    """What the runs in it are called; None: it holds one."""
    glance: Callable[[Path, bool], Run | None] | None = None
    """The row of a run without reading all of it; None where that cannot be done."""
    read_bare: Callable[[Path, str], Recording] | None = None
    """`read` without file windows and prompts, where these are most of the work."""
    write: Callable[[Recording, Path], bytes] | None = None
    """The session as a file of this format, given where it goes; None: it is not written."""


def _of(name: str) -> Callable[..., Any]:
    """`module.function` of this room, which is imported where it is called."""
    module, _, function = name.partition(".")

    def call(*arguments: object) -> Any:
        return getattr(import_module(f"workbench.formats.{module}"), function)(*arguments)

    return call


def _is_own_log(head: bytes) -> bool:
    """Whether the first line is one of our events (or its beginning, where the line is longer than what was read)."""
    line, newline, _ = head.partition(b"\n")
    if line.startswith(b'{"event":'):
        return True
    if newline:
        try:
            value = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        return isinstance(value, dict) and isinstance(value.get("event"), str)
    return False


def _is_asciicast(head: bytes) -> bool:
    """Whether the first line is the header of a terminal recording."""
    line = head.partition(b"\n")[0]
    return line.startswith(b"{") and b'"version"' in line and (b'"width"' in line or b'"term"' in line)


_MLGYM = re.compile(rb'"environment"\s*:\s*"mlgym')
_SWE_AGENT = re.compile(
    rb'"environment"\s*:\s*"(?:swe_)?main"|"swe_agent_version"|"instance_cost"|"replay_config"|"best_attempt_idx"'
)
_STATE_OBJECT = re.compile(rb'"state"\s*:\s*\{')
_MINI = re.compile(rb'"trajectory_format"|"mini_version"')
_MESSAGES = re.compile(rb'\s*(?:\{\s*"messages"\s*:|\[\s*\{\s*"(?:role|content)"\s*:)')
_ATIF = re.compile(rb'"schema_version"\s*:\s*"ATIF-v|"step_id"\s*:\s*1\b')


def is_mlgym(head: bytes) -> bool:
    """Whether the beginning of a file says that MLGym wrote it."""
    return _MLGYM.search(head) is not None


def _never(path: Path, head: bytes, tail: bytes) -> bool:
    return False


def _is_swe_agent(head: bytes, tail: bytes) -> bool:
    if b'"trajectory"' not in head + tail and b'"attempts"' not in head:
        return False
    return bool(_SWE_AGENT.search(head) or _SWE_AGENT.search(tail) or _STATE_OBJECT.search(head))


FORMATS = (
    Format(
        SOURCE,
        lambda path, head, tail: path.name == EVENTS_FILE or _is_own_log(head), _of("open.open_log"),
    ),
    Format(
        "share",
        lambda path, head, tail: head.startswith(b"PK\3\4") and head[30:].startswith(b"mlgym-tui.json"),
        _of("open.open_shared"),
    ),
    Format(
        "inspect",
        lambda path, head, tail: head.startswith(b"PK\3\4")
        or (b'"eval"' in head and b'"status"' in head and b'"trajectory"' not in head),
        _of("inspect_log.read_inspect"), _of("inspect_log.runs_in_inspect"), write=_of("inspect_export.write_inspect"),
    ),
    Format(
        "atif",
        lambda path, head, tail: bool(_ATIF.search(head)), _of("atif.read_atif"),
        write=_of("atif_export.write_atif"),
    ),
    Format(
        "cast",
        lambda path, head, tail: _is_asciicast(head), _of("open.open_terminal"), write=_of("cast_export.write_cast"),
    ),
    Format("html", _never, write=_of("html_export.write_html")),
    Format("md", _never, write=_of("md_export.write_md")),
    Format(
        "mini-swe-agent",
        lambda path, head, tail: bool(_MINI.search(head) or _MINI.search(tail) or _MESSAGES.match(head)),
        _of("mini_swe_agent.read_mini_swe_agent"),
    ),
    Format(
        "swe-agent",
        lambda path, head, tail: not _MLGYM.search(head) and _is_swe_agent(head, tail),
        _of("swe_agent.read_swe_agent"), _of("swe_agent.runs_in_swe_agent"),
    ),
    Format(
        "mlgym", lambda path, head, tail: True,
        _of("mlgym.read_mlgym"), glance=_of("mlgym.glance_mlgym"), read_bare=_of("mlgym.read_bare"),
        write=_of("mlgym_export.write_mlgym"),
    ),
)  # fmt: skip
"""All that are known, in the order in which they are tried: the last one says itself what is wrong with a file."""
