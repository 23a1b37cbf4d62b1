"""Running `mlgym-tui` as its users do: a process of its own, with its own folder of sessions."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cli.forks import Forked, run_forked, start_forked

COMMAND = [sys.executable, "-m", "workbench"]
LONGEST = 45.0
"""Seconds that a command may take."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """Each line of the output, as JSON."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def json(self) -> Any:
        """The output as one JSON value."""
        return json.loads(self.out)


def environment(sessions: Path | None = None, **extra: str) -> dict[str, str]:
    """The variables of such a process."""
    env = {**os.environ, "COLUMNS": "200", **extra}
    if sessions is not None:
        env["MLGYM_SESSIONS"] = str(sessions)
    return env


async def start(
    *arguments: str, sessions: Path | None = None, env: Mapping[str, str] | None = None, **options: Any
) -> Forked:
    """Start the command, in a session of its own, without a terminal."""
    return await start_forked(arguments, environment(sessions, **(env or {})), **options)


async def finish(process: Forked, time_limit: float = LONGEST) -> Outcome:
    """Wait for its end; it is killed when that takes too long."""
    try:
        async with asyncio.timeout(time_limit):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        raise AssertionError(f"still running after {time_limit:g} s; so far:\n{out.decode()}\n{err.decode()}") from None
    assert process.returncode is not None
    return Outcome(process.returncode, (out or b"").decode(), (err or b"").decode())


async def mlgym(*arguments: str, sessions: Path | None = None, env: Mapping[str, str] | None = None) -> Outcome:
    """Run the command to its end. No command may ever print a traceback."""
    code, out, err = await run_forked(arguments, environment(sessions, **(env or {})), LONGEST)
    outcome = Outcome(code, out.decode(), err.decode())
    assert "Traceback" not in outcome.err and "Traceback" not in outcome.out, outcome
    assert code != -signal.SIGKILL, f"still running after {LONGEST:g} s; so far: {outcome}"
    return outcome


def action_list(path: Path, actions: Sequence[str]) -> str:
    """A list of actions for `--model`, written to `path`."""
    path.write_text(json.dumps(list(actions)))
    return f"replay:{path}"
