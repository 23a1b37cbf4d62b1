"""Whose a log is: the marks of what it names, and the secret that they are made with."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from workbench.session import events as ev
from workbench.session import marks
from workbench.session.clock import Clock
from workbench.session.log import EVENTS_FILE, EventLog, read_log
from workbench.session.marks import SECRET_FILE, NoSecret, marked, origin, user_secret
from workbench.session.secrets import Redactor, state_folder
from workbench.session.state import fold

STARTED = ev.SessionStarted(format=1, session="a", task="blotto", model="openai:x", limits=ev.Limits(seconds=60))


@pytest.fixture(autouse=True)
def another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def write(folder: Path, *events: ev.Event, redactor: Redactor | None = None) -> Path:
    """A log as a session of this user writes it."""
    state = fold([])
    log = EventLog(folder, Clock(), redactor=redactor, mark=lambda event: marked(event, state.named))
    for event in events:
        state.apply(log.append(event))
    log.close()
    return folder / EVENTS_FILE


def whose(log: Path) -> marks.Origin:
    events, problems = read_log(log)
    assert problems == []
    return origin(fold(events).named)


def change(log: Path, number: int, **fields: Any) -> None:
    """Write other fields into a line; one that is None is taken out."""
    lines = log.read_text().splitlines()
    line = {name: value for name, value in {**json.loads(lines[number]), **fields}.items() if value is not None}
    log.write_text("\n".join([*lines[:number], json.dumps(line), *lines[number + 1 :]]) + "\n")


LATER = (
    ev.AgentChanged(model="openai:y", base_url="http://here/v1"),
    ev.LimitsChanged(limits=ev.Limits(steps=9)),
    ev.SessionResumed(approve="/home/me/rules.yaml"),
    ev.NoteAdded(text="hello"),
)


def test_what_this_user_wrote_is_their_own(tmp_path: Path) -> None:
    log = write(tmp_path / "s", STARTED, *LATER)
    assert whose(log).own
    change(log, 0, gpus=None, window=100)  # as a version wrote it that knew the one not
    change(log, 4, text="bye", added_later=1)
    assert whose(log).own
    kept = log.read_text().splitlines(keepends=True)
    log.write_text("".join(kept[:2]))  # a kill may cut it off
    assert whose(log).own


@pytest.mark.parametrize(
    ("number", "fields"),
    [
        (0, {"task_folder": "/tmp/evil"}),
        (0, {"agent_reference": "evil.py:Agent"}),
        (0, {"base_url": "http://evil/v1"}),
        (0, {"limits": {"steps": 10_000}}),
        (0, {"session": "b"}),
        (0, {"mark": ""}),
        (0, {"mark": None}),  # an older log
        (0, {"mark": "ä"}),
        (1, {"base_url": "http://evil/v1"}),
        (1, {"mark": ""}),
        (2, {"limits": {"cost": None}}),
        (3, {"approve": "/tmp/evil.yaml"}),
        (3, {"trusted": ["code"]}),
    ],
)
def test_what_was_changed_is_not(tmp_path: Path, number: int, fields: dict[str, Any]) -> None:
    log = write(tmp_path / "s", STARTED, *LATER)
    change(log, number, **fields)
    assert whose(log) == marks.Origin(False)


def test_a_line_that_was_added_left_out_or_brought_from_elsewhere(tmp_path: Path) -> None:
    log = write(tmp_path / "s", STARTED, *LATER)
    other = write(tmp_path / "t", STARTED, ev.AgentChanged(model="openai:z"))
    lines = log.read_text().splitlines()
    for forged in (
        [*lines, json.dumps({"event": "agent.changed", "seq": 5, "model": "openai:z"})],
        [lines[0], lines[2].replace('"seq":2', '"seq":1')],
        [lines[0], other.read_text().splitlines()[1], *lines[2:]],
    ):
        log.write_text("\n".join(forged) + "\n")
        assert not whose(log).own


def test_another_user_or_a_lost_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = write(tmp_path / "s", STARTED)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
    assert whose(log) == marks.Origin(False)
    secret = state_folder() / SECRET_FILE
    for mode, content in ((0o640, bytes(32)), (0o600, b"short")):
        secret.write_bytes(content)
        secret.chmod(mode)
        with pytest.raises(NoSecret, match="no secret that only you can read"):
            user_secret()
        assert "remove it" in whose(log).why
        assert marked(STARTED, []).mark == ""  # a session can be run all the same


def test_what_was_allowed_holds_until_somebody_else_writes(tmp_path: Path) -> None:
    log = write(tmp_path / "s", STARTED, ev.SessionResumed(trusted=["code"]), ev.SessionResumed(trusted=["server"]))
    change(log, 0, mark="")
    lines = log.read_text().splitlines(keepends=True)
    state = fold([])
    state.named += [event for event in read_log(log)[0][:1] if isinstance(event, ev.Naming)]
    resumed = marked(ev.SessionResumed(seq=1, trusted=["code", "task"]), state.named)
    log.write_text(lines[0] + ev.encode(resumed).decode() + "\n")
    assert whose(log) == marks.Origin(False, frozenset({"code", "task"}))
    later = {"event": "agent.changed", "seq": 2, "model": "openai:z"}
    log.write_text(log.read_text() + json.dumps(later) + "\n")
    assert whose(log) == marks.Origin(False)


def test_a_secret_that_was_left_out_changes_no_mark(tmp_path: Path) -> None:
    redactor = Redactor(["0123456789abcdef"])
    log = write(tmp_path / "s", ev.SessionStarted(format=1, task="0123456789abcdef"), redactor=redactor)
    assert "[redacted]" in log.read_text() and whose(log).own


def test_processes_that_make_the_secret_at_once_have_the_same(tmp_path: Path) -> None:
    code = "import sys; sys.stdin.read(); from workbench.session.marks import user_secret; print(user_secret().hex())"
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.close()
    found = {process.stdout.read() for process in started if process.stdout is not None}
    assert [process.wait() for process in started] == [0] * 4
    [secret] = found
    assert len(bytes.fromhex(secret)) == 32
    [file] = state_folder().iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_job_of_a_sweep_is_its_users_own_wherever_it_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other machine has the secret of that job alone."""
    job = msgspec.structs.replace(STARTED, sweep="0123456789abcdef")
    lent = marks.sweep_secret(job.sweep)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
        elsewhere.setenv(marks.LENT_SECRET, lent.hex())
        events, _ = read_log(write(tmp_path / "job", job))
        wrong, _ = read_log(write(tmp_path / "wrong", msgspec.structs.replace(job, sweep="another")))
        assert origin(fold(events).named).own  # goes on there
    assert origin(fold(events).named).own
    assert not origin(fold(wrong).named).own  # it was lent for the one job
    again, _ = read_log(write(tmp_path / "here", job))
    assert origin(fold(again).named).own
