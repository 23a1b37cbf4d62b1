"""`resume` and `score` of a session that somebody else made, as processes."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.command import COMMAND, Outcome, action_list, environment, mlgym
from tests.tasks.quick_task import make_quick_task
from workbench.session.log import EVENTS_FILE, read_log
from workbench.session.state import SessionState, fold


@pytest.fixture
async def session(tmp_path: Path) -> Path:
    """A session with a task, actions and rules of its own, interrupted before its end; scored once."""
    task = make_quick_task(tmp_path / "quick").folder
    model = action_list(tmp_path / "a.json", ["validate"])
    (tmp_path / "rules.yaml").write_text("rules: [{command: rm}]")
    approve = ["--approve", str(tmp_path / "rules.yaml")]
    await mlgym("run", str(task), "--model", model, *approve, "--unsafe-local", "--headless", sessions=tmp_path / "s")
    action_list(tmp_path / "a.json", ["validate", "submit"])
    [folder] = (path.parent for path in (tmp_path / "s").glob("*/events.jsonl"))
    return folder


def somebody_else(folder: Path) -> dict[str, str]:
    """The variables of another user, who was given the session."""
    return {"XDG_STATE_HOME": str(folder.parent.parent / "other")}


def state_of(folder: Path) -> SessionState:
    return fold(read_log(folder)[0])


async def test_nothing_that_it_names_is_used_without_a_word(session: Path) -> None:
    other = somebody_else(session)
    before = (session / EVENTS_FILE).read_bytes()
    for words, missing in (("", {"code", "task"}), ("task", {"code"}), ("code,server", {"task"})):
        given = ["--trust", words] if words else []
        refused = await mlgym("resume", str(session), "--headless", *given, env=other)
        assert refused.code == 1 and "is not marked as yours" in refused.err and "--trust code,task" in refused.err
        assert {word for word in ("code", "task") if f"({word})" in refused.err} == missing
    assert "the actions in" in refused.err or "a.json" not in refused.err
    wrong = await mlgym("resume", str(session), "--trust", "everything", env=other)
    assert wrong.code == 2 and "none of code, task and server" in wrong.err
    assert (session / EVENTS_FILE).read_bytes() == before
    unsafe = await mlgym("resume", str(session), "--headless", "--trust", "code,task", "--unsafe-local", env=other)
    assert unsafe.code == 1 and "never run without a sandbox" in unsafe.err
    scored = await mlgym("score", str(session), env=other)
    assert scored.code == 3 and "the task in" in scored.err and "--trust task" in scored.err
    assert (session / EVENTS_FILE).read_bytes() == before


@pytest.mark.bwrap
async def test_with_the_word_it_goes_on_and_its_owner_needs_none(session: Path) -> None:
    other = somebody_else(session)
    assert (await mlgym("score", str(session), "--trust", "task", env=other)).code == 0
    assert (await mlgym("score", str(session))).code == 0
    assert (await mlgym("resume", str(session), "--headless", "--trust", "code,task", env=other)).code == 0
    assert fold(read_log(session)[0]).sandbox["protected"]
    trusted = [event for event in read_log(session)[0] if event.name == "session.resumed"]
    assert [getattr(event, "trusted", None) for event in trusted] == [["code", "task"]]


def at_a_terminal(answer: str, *arguments: str, env: dict[str, str]) -> Outcome:
    """The command with a terminal to ask at, but none for its output."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, env=environment(None, **env)
    )
    os.close(theirs)
    os.write(ours, answer.encode())
    assert process.stdout is not None
    out = process.stdout.read().decode()
    code = process.wait()
    said = b""
    try:
        while chunk := os.read(ours, 4096):
            said += chunk
    except OSError:  # the terminal is gone
        pass
    os.close(ours)
    return Outcome(code, out, said.decode())


@pytest.mark.bwrap
def test_at_a_terminal_it_is_asked_once(session: Path) -> None:
    other = somebody_else(session)
    refused = at_a_terminal("n\n", "resume", str(session), "--headless", env=other)
    assert refused.code == 1 and "Do you trust that?" in refused.err and "nothing of" in refused.err
    for line in (
        f"code    the actions in {session.parent.parent}/a.json",
        "code    the rules of approval",
        "task    the",
    ):
        assert line in refused.err
    assert not state_of(session).named[1:]
    action_list(session.parent.parent / "a.json", ["validate", "true"])
    agreed = at_a_terminal("y\n", "resume", str(session), "--headless", "--json", env=other)
    assert "Do you trust that?" in agreed.err and agreed.events[-1]["exit_status"] == "actions_exhausted"
    again: Sequence[str] = ["resume", str(session), "--headless", "--json"]
    asked_no_more = at_a_terminal("", *again, env=other)
    assert "trust" not in asked_no_more.err and asked_no_more.events[-1]["exit_status"] == "actions_exhausted"
