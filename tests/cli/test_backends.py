"""The same script gives the same events in both sandboxes: equal but for times, durations, sandbox and cast spans."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import Outcome, action_list, mlgym
from tests.tasks.quick_task import make_quick_task

SCRIPT = [
    "pwd; whoami; id -u; echo $HOME $SHELL $TERM $COLUMNS $LINES; umask",
    "open strategy.py",
    "edit 2:2\n    return 0\nend_of_edit",
    "edit 1:1\n    broken(\nend_of_edit",
    "echo 'unbalanced",
    "x=kept; cd /; false",
    'echo "$x in $PWD"; cd - >/dev/null',
    "for i in 1 2 3; do\n  echo line $i\ndone",
    "cat > notes.md <<'END'\n# Notes\n\nsome `text`\nEND",
    "printf 'no newline'",
    "printf '\\000\\377binary\\n'",
    "seq 100000 | head -c 200000",
    'read line; echo "read: <$line> $?"',
    "search_dir Notes",
    "mkdir -p a/b; touch a/b/c; ln -s a/b/c link; chmod 600 notes.md",
    "python3 -c 'print(6 * 7)'; python3 -c 'raise SystemExit(3)'",
    "nosuchcommand",
    "(exit 3)",
    "exit 4",
    "echo after $x",
    "kill -9 $$",
    "rm link; find . -type f | sort",
    "validate",
    "create other.py",
    "submit",
]
_DIFFERS = {"seq", "time", "elapsed", "duration", "sandbox", "cast"}
_DIFFERS_AT_START = {"session", "versions", "mark"}


async def events_of(tmp_path: Path, sandbox: str, model: str) -> Outcome:
    task = str(make_quick_task(tmp_path / sandbox / "quick").folder)
    return await mlgym(
        "run", task, "--model", model, "--sandbox", sandbox, "--seed", "11", "--json", sessions=tmp_path / sandbox / "s"
    )


def comparable(event: dict[str, Any]) -> dict[str, Any]:
    """An event without what may differ."""
    differs = set(_DIFFERS)
    if event["event"] == "session.started":
        differs |= _DIFFERS_AT_START | {"task_folder"}
    if event["event"] == "session.ended":
        differs |= _DIFFERS_AT_START
        del event["totals"]["working"]
    return {key: value for key, value in event.items() if key not in differs}


def about_the_engine(event: dict[str, Any]) -> bool:
    """Whether an event says what an engine cannot do."""
    return event["event"] == "note.added" and str(event["text"]).startswith("a rootless")


@pytest.mark.docker
@pytest.mark.bwrap
async def test_docker_and_local_give_the_same_events(tmp_path: Path) -> None:
    model = action_list(tmp_path / "script.json", SCRIPT)
    local, docker = await asyncio.gather(*(events_of(tmp_path, sandbox, model) for sandbox in ("local", "docker")))
    assert local.code == docker.code == 0, (local.err, docker.err)
    ours, theirs = local.events, [event for event in docker.events if not about_the_engine(event)]
    for one, other in zip(ours, theirs, strict=False):
        assert comparable(one) == comparable(other)
    assert len(ours) == len(theirs)
    assert [event["exit_code"] for event in ours if event["event"] == "action.finished"][17:19] == [3, 4]
