"""The whole workbench in a real terminal: 80 by 24, in tmux, with a real shell under it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.terminal import Tmux, workbench_command
from tests.library.runs import own
from tests.tasks.quick_task import make_quick_task
from workbench.session.events import SessionEnded
from workbench.session.log import read_log
from workbench.session.state import SessionState, fold

pytestmark = pytest.mark.tmux

BASH = "bash --norc --noprofile -i"

Start = Callable[..., Tmux]


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    return tmp_path / "sessions"


@pytest.fixture
def start(tmp_path: Path, sessions: Path) -> Iterator[Start]:
    """Starts the workbench on a list of actions."""
    running: list[Tmux] = []

    def started(
        *actions: str, how: str = "--step", columns: int = 80, rows: int = 24, shell: str = "", **env: str
    ) -> Tmux:
        task = make_quick_task(tmp_path / "quick-task").folder
        listed = tmp_path / "actions.json"
        listed.write_text("[" + ", ".join(f'"{action}"' for action in actions) + "]")
        command = workbench_command("run", str(task), "--model", f"replay:{listed}", "--unsafe-local", how)
        environment = {
            "TERM": "screen-256color",
            "MLGYM_SESSIONS": str(sessions),
            "TEXTUAL_ANIMATIONS": "none",
            **env,
        }
        running.append(Tmux(command, columns=columns, rows=rows, env=environment, cwd=Path.cwd(), shell=shell))
        return running[-1]

    yield started
    for terminal in running:
        terminal.close()


def saved(sessions: Path) -> SessionState:
    """The one session there, as it is on disk."""
    (folder,) = sessions.glob("[!.]*")
    events, problems = read_log(folder)
    assert problems == []
    return fold(events)


def workbenches(folder: Path) -> list[int]:
    """Processes with something below `folder` in their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(folder).encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def quit_workbench(terminal: Tmux) -> None:
    terminal.press("q")
    terminal.wait_for("Stop the session and quit?")
    terminal.press("y")
    terminal.wait_for("EXIT=")


def test_step_edit_pause_quit(start: Start, sessions: Path) -> None:
    terminal = start("echo first", "echo second", "echo third")
    terminal.wait_for("3 Action 1")
    screen = terminal.wait_for("enter run")
    for title in ("1 Steps", "3 Action 1", "4 Observation", "2 File", "5 Shell", "enter run"):
        assert title in screen
    terminal.press("s")
    screen = terminal.wait_for("3 Action 2")
    assert "Observation 1" in screen and "first" in screen
    terminal.press("e")
    terminal.wait_for("Edit action 2")
    terminal.type(" edited")
    terminal.wait_for("echo second edited")
    terminal.press("C-s")
    terminal.wait_for("+ echo second edited")
    terminal.press("Enter")
    terminal.wait_for("3 Action 3")
    terminal.press("p")
    terminal.wait_for("PAUSED")
    quit_workbench(terminal)
    assert terminal.ask("#{alternate_on} #{cursor_flag}") == "0 1", "the terminal must be as it was"
    state = saved(sessions)
    assert [step.observation for step in state.steps[1:3]] == ["first\n", "second edited\n"]
    assert state.steps[2].proposed == "echo second" and state.steps[2].edited_by.startswith("human:")
    assert state.ended is not None and state.ended.exit_status == "interrupted"


def test_the_editor_of_the_person(start: Start, sessions: Path, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\necho 'echo by the editor' > \"$1\"\n")
    editor.chmod(0o755)
    terminal = start("echo first", "echo second", EDITOR=str(editor), VISUAL=str(editor))
    terminal.wait_for("your decision")
    terminal.press("E")
    terminal.wait_for("+ echo by the editor")
    terminal.press("Enter")
    terminal.wait_for("3 Action 2")
    quit_workbench(terminal)
    assert saved(sessions).steps[1].observation == "by the editor\n"


def test_taking_over_vim_and_giving_back(start: Start, sessions: Path) -> None:
    terminal = start("echo first", "echo second", "echo third")
    terminal.wait_for("your decision")
    terminal.press("t")
    terminal.wait_for("5 TAKEN OVER — ctrl+] gives the shell back")
    terminal.wait_for("● YOU DRIVE  TAKEN OVER")
    terminal.wait_for("workspace")
    terminal.type("vim -u NONE -N hello.txt")
    terminal.press("Enter")
    terminal.wait_for('"hello.txt" [New')
    terminal.type("ihello from vim")
    terminal.wait_for("hello from vim")
    terminal.resize(120, 40)
    terminal.type(" again")
    terminal.wait_for("hello from vim again")
    terminal.press("C-]")
    terminal.wait_for("still runs in the shell")
    terminal.press("n")
    terminal.wait_without("still runs in the shell")
    terminal.press("Escape")
    terminal.wait_without("-- INSERT --")
    terminal.type(":wq")
    terminal.press("Enter")
    terminal.wait_without("hello from vim")
    terminal.press("C-]")
    terminal.wait_for("your decision")
    screen = terminal.wait_without("TAKEN OVER")
    assert "1 Steps" in screen and "5 Shell" in screen
    quit_workbench(terminal)
    state = saved(sessions)
    mine = [step for step in state.steps if step.action.startswith("vim")]
    assert [step.author.partition(":")[0] for step in mine] == ["human"] and mine[0].exit_code == 0
    assert [change.path for change in mine[0].changes] == ["hello.txt"]
    recorded = next(sessions.glob("*/shell.cast")).read_text().splitlines()[1:]
    sizes = [data for _, kind, data in map(json.loads, recorded) if kind == "r"]
    assert "77x21" in sizes and "20x5" not in sizes, "no size of a pane that is not laid out, which is the least"


def test_a_flood_in_the_shell_leaves_the_keys_alive(start: Start) -> None:
    terminal = start("echo first", "echo second")
    terminal.wait_for("your decision")
    terminal.press("t")
    terminal.wait_for("TAKEN OVER")
    terminal.wait_for("workspace")
    terminal.type("yes flood")
    terminal.press("Enter")
    terminal.wait_for("█flood   ")
    time.sleep(2.0)  # what is tested is two seconds of it
    terminal.press("C-c")
    terminal.type("echo still $((40+2))")
    terminal.press("Enter")
    terminal.wait_for("still 42")
    terminal.press("C-]")
    terminal.wait_for("your decision")


def test_resizing_to_nothing_and_back(start: Start) -> None:
    terminal = start("echo first")
    terminal.wait_for("your decision")
    terminal.resize(50, 12)
    terminal.wait_for("terminal too small")
    terminal.resize(200, 60)
    screen = terminal.wait_for("5 Shell")
    assert "2 File" in screen and "4 Observation" in screen and "your decision" in screen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_saves_the_session_and_restores_the_terminal(
    start: Start, sessions: Path, number: signal.Signals
) -> None:
    terminal = start("sleep 600", how="--delay=0")
    terminal.wait_for("running")
    terminal.press("5")
    terminal.wait_for(re.compile(r"workspace[$#] sleep 600"))
    shell = int(terminal.ask("#{pane_pid}"))
    children = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
    os.kill(int(children[0]), number)
    terminal.wait_for("EXIT=")
    assert terminal.ask("#{alternate_on} #{cursor_flag}") == "0 1"
    state = saved(sessions)
    assert isinstance(state.ended, SessionEnded) and state.ended.exit_status == "interrupted"


def test_a_lost_terminal_saves_the_session(start: Start, sessions: Path) -> None:
    terminal = start("sleep 600", how="--delay=0")
    terminal.wait_for("running")
    terminal.press("5")
    terminal.wait_for(re.compile(r"workspace[$#] sleep 600"))
    terminal.close()
    end = time.monotonic() + 20
    while saved(sessions).ended is None or workbenches(sessions.parent):
        assert time.monotonic() < end, "the session was not ended, or its process not, when the terminal went away"
        time.sleep(0.1)
    assert saved(sessions).ended.exit_status == "interrupted"  # type: ignore[union-attr]


def test_home_opens_a_session_and_gives_the_terminal_back(tmp_path: Path) -> None:
    own(tmp_path / "runs", "20260101-101500-blotto-3fa9c1")
    own(tmp_path / "runs", "20260102-101500-chess-3fa9c2")
    environment = {"TERM": "screen-256color", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = workbench_command("replay", str(tmp_path / "runs"))
    terminal = Tmux(command, columns=80, rows=24, env=environment, cwd=Path.cwd())
    try:
        terminal.wait_for("2 runs")
        terminal.press("/", "chess", "Enter", "Enter")
        terminal.wait_for("REPLAY")
        terminal.press("q")
        terminal.wait_for("1 of 2 runs")
        shell = int(terminal.ask("#{pane_pid}"))
        children = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGTERM)
        terminal.wait_for("EXIT=143")
        assert terminal.ask("#{alternate_on} #{cursor_flag}") == "0 1"
    finally:
        terminal.close()


def test_into_the_background_and_back(start: Start, sessions: Path) -> None:
    """A session that runs is paused first; the shell has the terminal meanwhile, as it was."""
    terminal = start("sleep 1; echo first", "echo second", "echo third", how="--delay=1.5", shell=BASH)
    terminal.type("; echo EXIT=$?\n")
    terminal.wait_for("3 Action 1")
    terminal.press("C-z")
    terminal.wait_for("Stopped")
    assert terminal.ask("#{alternate_on} #{cursor_flag}") == "0 1"
    terminal.type("echo is $((40 + 2))\n")
    terminal.wait_for("is 42")
    terminal.type("fg\n")
    terminal.wait_for("the session stood still meanwhile")
    assert "PAUSED" in terminal.screen()
    terminal.press("c")
    terminal.wait_for("over and saved")
    terminal.press("q")
    terminal.wait_for("EXIT=")
    assert saved(sessions).mode == "auto" and saved(sessions).ended is not None


def test_without_colour(start: Start) -> None:
    terminal = start("echo first", NO_COLOR="1")
    terminal.wait_for("your decision")
    screen = terminal.screen(colours=True)
    for code in ("\x1b[31m", "\x1b[32m", "\x1b[34m", ";2;", "38;5;"):
        assert code not in screen, f"a colour is on the screen: {code!r}"


def test_replay_of_what_was_saved(start: Start, sessions: Path) -> None:
    terminal = start("echo first", "echo second", how="--delay=0")
    terminal.wait_for("over and saved")
    terminal.press("q")
    terminal.wait_for("EXIT=")
    again = Tmux(
        workbench_command("replay", "last", "--sessions", str(sessions)),
        columns=100,
        rows=30,
        env={"TERM": "screen-256color"},
        cwd=Path.cwd(),
    )
    try:
        again.wait_for("REPLAY")
        again.wait_for("step 2 of 2")
        again.press("h")
        screen = again.wait_for("step 1 of 2")
        assert "first" in screen
        again.press("s")
        again.wait_for("this is a replay")
        again.press("q")
        again.wait_for("EXIT=0")
    finally:
        again.close()


@pytest.mark.bwrap
def test_a_sweep_is_a_table_that_lives(tmp_path: Path) -> None:
    task = make_quick_task(tmp_path / "quick-task").folder
    listed = tmp_path / "actions.json"
    listed.write_text(json.dumps(["echo 1", "echo 2", "sleep 600"]))
    plan = tmp_path / "plan.yaml"
    plan.write_text(f"tasks: ['{task}']\nmodels: ['replay:{listed}']\nseeds: 2\nparallel: 1\n")
    command = workbench_command("sweep", str(plan))
    terminal = Tmux(command, columns=80, rows=24, env={"TERM": "screen-256color"}, cwd=Path.cwd())
    try:
        screen = terminal.wait_for(re.compile(r"running +3 .*waiting +– .*1 running, 1 waiting", re.DOTALL))
        assert screen.count("running") == 2
        terminal.press("C-c")
        screen = terminal.wait_for("2 sessions: 1 interrupted, 1 waiting")
        assert re.search(r"interrupted +3 ", screen) and "running" not in screen
    finally:
        terminal.close()
