"""Programs that wait at the terminal: variables that keep them from it, and what becomes of those that do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.sandbox.test_shell import Watched, sandbox
from workbench.sandbox import shell as shell_module
from workbench.sandbox import supervisor
from workbench.sandbox.guest_sandbox import GuestSandbox

__all__ = ["sandbox"]

POLLS = """
import select, sys, termios, time, tty
terminal = open("/dev/tty", "rb", buffering=0)
if sys.argv[1] == "raw":
    tty.setcbreak(terminal)
select.select([terminal], [], [], 3 if sys.argv[1] == "raw" else 0.5)
print("went on")
"""
LISTENS_BESIDE_WORK = """
import threading, time
threading.Thread(target=open("/dev/tty").read, daemon=True).start()
time.sleep(0.5)
print("worked")
"""


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def watched(sandbox: GuestSandbox, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    """A started shell in each backend, which has little patience with programs that wait."""
    monkeypatch.setattr(shell_module, "_GRACE", 0.05)
    monkeypatch.setattr(supervisor, "_SAMPLE", 0.05)
    monkeypatch.setattr(supervisor, "_PATIENCE", {"read": 0.2, "poll": 0.2})
    watched = Watched(sandbox)
    await watched.shell.start()
    yield watched
    await watched.shell.close()


@pytest.mark.parametrize(
    ("action", "program"),
    [
        ("python3 -c 'import getpass; getpass.getpass()'", "python3"),
        ("read -p 'Name: ' name </dev/tty; echo not reached", "bash"),
        ("x=$(cat /dev/tty)", "cat"),
        ("echo input | sh -c 'sleep 100 & cat /dev/tty; wait'", "cat"),
    ],
)
async def test_a_program_that_waits_for_nobody_is_ended_and_the_agent_is_told(
    watched: Watched, action: str, program: str
) -> None:
    result = await watched.shell.run(action)
    assert f"[{program}" in result.observation and "waited for input at the terminal" in result.observation
    assert "builtin" not in result.observation and "not reached" not in result.observation
    assert result.exit_code and not result.timed_out and not result.interrupted
    assert (await watched.shell.run("echo on")).observation == "on\n"


async def test_only_what_took_the_terminal_over_is_ended_for_waiting_for_events(
    watched: Watched, sandbox: GuestSandbox
) -> None:
    (sandbox.workspace_folder / "polls.py").write_text(POLLS)
    result = await watched.shell.run("python3 polls.py raw")
    assert "waited for input" in result.observation and "went on" not in result.observation
    assert (await watched.shell.run("python3 polls.py cooked")).observation == "went on\n"


async def test_a_program_that_works_is_left_alone(
    watched: Watched, sandbox: GuestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_PATIENCE", {"read": 0.4, "poll": 0.2})
    (sandbox.workspace_folder / "listens.py").write_text(LISTENS_BESIDE_WORK)
    assert (await watched.shell.run("python3 listens.py")).observation == "worked\n"
    assert (await watched.shell.run("sleep 0.45; read -t 0.05 x </dev/tty; echo slept")).observation == "slept\n"


async def test_a_person_who_takes_over_answers_it(watched: Watched) -> None:
    told: list[str] = []
    watched.shell.onlooker.on_waiting = told.append
    running = asyncio.ensure_future(watched.shell.run('read a </dev/tty; read b </dev/tty; echo "$b $a"'))
    await watched.until(lambda: bool(told))
    assert told == ["bash"] and watched.shell.onlooker.presence == "watching"
    watched.shell.onlooker.attend(True)
    watched.shell.send_keys(b"world\rhello\recho for the prompt\r")
    result = await running
    assert result.observation == "hello world\n" and result.exit_code == 0
    assert told[-1] == ""
    await watched.take_over()
    await watched.until(lambda: bool(watched.finished))
    assert watched.finished[0][0] == "echo for the prompt"
    assert watched.finished[0][1].observation == "for the prompt\n"


async def test_programs_ask_nobody_but_a_person(watched: Watched) -> None:
    shown = 'echo "$PAGER/$GIT_EDITOR/$GIT_TERMINAL_PROMPT/${DEBIAN_FRONTEND-}"'
    run = watched.shell.run
    assert (await run(shown)).observation == "cat/true/0/noninteractive\n"
    await run("export GIT_EDITOR=mine; unset LESS")
    await watched.take_over()
    assert (await watched.enter(f"{shown}\r")).observation == "/mine//\n"
    await watched.enter("export PAGER=more\r")
    await watched.shell.hand_back()
    assert (await run(shown)).observation == "more/mine/0/noninteractive\n"
    assert (await run('echo "${LESS-none}/$VISUAL"')).observation == "none/true\n"
