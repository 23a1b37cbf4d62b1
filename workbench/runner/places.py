"""Where sessions are looked for, and the commands that find them again, as a person can type them."""

from __future__ import annotations

import shlex
from pathlib import Path

from workbench.resources import checkout


def sessions_of(option: Path | None = None) -> Path:
    """The folder of sessions that `--sessions`, or its absence, means."""
    from workbench.session.store import sessions_root

    return sessions_root(option, checkout())


def command_for(session: Path, *words: str) -> str:
    """`mlgym-tui WORDS SESSION`, with `--sessions` where the session is in another folder than is looked in."""
    session = session.absolute()
    if not session.is_dir():  # a recording of another program, or a lone log
        return shlex.join(["mlgym-tui", *words, str(session)])
    elsewhere = [] if session.parent == sessions_of() else ["--sessions", str(session.parent)]
    return shlex.join(["mlgym-tui", *words, session.name, *elsewhere])
