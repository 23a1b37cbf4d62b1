"""`run`, `resume` and their endings, as processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import COMMAND, Outcome, action_list, environment, finish, mlgym, start
from tests.cli.forks import Forked
from tests.runner.rig import wait_for
from tests.tasks.quick_task import make_quick_task, with_fewer_games
from workbench.session.log import read_log
from workbench.session.state import fold

GOOD = "printf 'def row_strategy(history):\\n    return 0\\n' > strategy.py"


@pytest.fixture
def quick(tmp_path: Path) -> str:
    """A task that is scored in no time."""
    return str(make_quick_task(tmp_path / "quick").folder)


LEAST = {"battleOfSexes": 1.38, "prisonersDilemma": 2.5, "blotto": 0.0}


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Outcome]]:
    """The scripted agent on each of the tasks, of which fewer games are played: tests/tasks has all of them."""

    async def run(task: str) -> tuple[Path, Outcome]:
        root = tmp_path_factory.mktemp(task)
        named = with_fewer_games(task, root / "tasks" / task, games=200)
        return root, await mlgym("run", str(named), "--headless", "--json", "--seed", "7", sessions=root)

    async def run_all() -> list[tuple[Path, Outcome]]:
        return await asyncio.gather(*map(run, LEAST))

    return dict(zip(LEAST, asyncio.run(run_all()), strict=True))


@pytest.mark.parametrize(("task", "least"), list(LEAST.items()))
def test_the_demo_solves_the_task(demos: dict[str, tuple[Path, Outcome]], task: str, least: float) -> None:
    root, outcome = demos[task]
    assert outcome.code == 0
    ended = outcome.events[-1]
    assert ended["event"] == "session.ended" and ended["exit_status"] == "submitted" and ended["steps"] == 5
    scores = ended["scores"]
    assert {"metric", "baseline", "best", "last"} <= set(scores)
    assert scores["best"] == scores["last"] > least
    if task == "battleOfSexes":
        assert scores["best"] == pytest.approx(1.44, abs=0.05) and scores["baseline"] == pytest.approx(1.0227, abs=1e-4)
    folder = Path(ended["session"])
    assert folder.is_absolute() and folder.parent == root
    # Each line is an event as in the log, from the first to the last, as it was written.
    assert outcome.out.encode() == (folder / "events.jsonl").read_bytes()
    assert [event["seq"] for event in outcome.events] == list(range(len(outcome.events)))
    protected = next(event for event in outcome.events if event["event"] == "sandbox.ready")["sandbox"]["protected"]
    assert outcome.err == ""
    if not protected:
        assert any(event["event"] == "note.added" and "unprotected" in event["text"] for event in outcome.events)


async def test_plain_output_says_each_step_and_where_it_is_saved(tmp_path: Path, quick: str) -> None:
    model = action_list(
        tmp_path / "a.json", ["seq 100", "echo $'\\e[31mred'; printf '\\u202e'", GOOD, "validate", "submit"]
    )
    outcome = await mlgym("run", quick, "--model", model, "--unsafe-local", sessions=tmp_path / "s")
    assert outcome.code == 0
    assert "step 1  policy:replay" in outcome.out and "$ seq 100" in outcome.out
    assert "… 89 lines …" in outcome.out
    assert "\x1b" not in outcome.out and "\u202e" not in outcome.out
    assert "validate: 1." in outcome.out and "submitted after 5 steps" in outcome.out
    assert f"saved in {tmp_path / 's'}" in outcome.out
    assert "--unsafe-local: nothing keeps the commands" in outcome.err


async def test_a_list_that_ends_without_submit(tmp_path: Path, quick: str) -> None:
    model = action_list(tmp_path / "a.json", [GOOD, "validate"])
    outcome = await mlgym("run", quick, "--model", model, "--unsafe-local", "--json", sessions=tmp_path / "s")
    ended = outcome.events[-1]
    assert outcome.code == 1 and ended["exit_status"] == "actions_exhausted"
    assert ended["scores"]["last"] > 1.3
    assert "actions_exhausted: all 2 actions were replayed" in outcome.err


async def test_what_is_not_approved_is_said(tmp_path: Path, quick: str) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: [{command: rm, reason: it deletes}]")
    model = action_list(tmp_path / "a.json", ["rm strategy.py", "submit"])
    command = ["run", quick, "--model", model, "--unsafe-local", "--headless", "--approve"]
    outcome = await mlgym(*command, str(rules), sessions=tmp_path / "s")
    assert outcome.code == 0
    said = "$ rm strategy.py\n  not run: it needs approval, and nobody is there to give it: it deletes\n"
    assert said in outcome.out
    outcome = await mlgym(*command, "always", sessions=tmp_path / "s")
    assert outcome.code != 0 and "nobody is there to approve" in outcome.err


async def test_the_step_limit(tmp_path: Path, quick: str) -> None:
    model = action_list(tmp_path / "a.json", ["true"] * 5)
    outcome = await mlgym(
        "run", quick, "--model", model, "--unsafe-local", "--json", "--max-steps", "2", sessions=tmp_path / "s"
    )
    ended = outcome.events[-1]
    assert (outcome.code, ended["exit_status"], ended["steps"]) == (1, "autosubmission (max_steps)", 2)
    scored = [event for event in outcome.events if event["event"] == "score.recorded"]
    assert [(score["kind"], score["step"]) for score in scored] == [("autosubmit", 2)]


async def test_a_mode_that_needs_a_person_is_refused_without_a_terminal(tmp_path: Path, quick: str) -> None:
    model = action_list(tmp_path / "a.json", ["true"])
    run = ["run", quick, "--model", model, "--unsafe-local"]
    for how in ([], ["--headless"], ["--json"]):
        refused = await mlgym(*run, "--step", *how, sessions=tmp_path / "s")
        assert refused.code == 2 and "a person decides about each action" in refused.err and refused.out == ""
    assert not (tmp_path / "s").exists()
    ended = await mlgym(*run, sessions=tmp_path / "s")
    assert f"go on with: mlgym-tui resume {_only(tmp_path / 's').name}\n" in ended.out
    assert (await mlgym("resume", "last", "--step", sessions=tmp_path / "s")).code == 2


async def test_commands_that_are_printed_work_as_printed(tmp_path: Path, quick: str) -> None:
    root = tmp_path / "my sessions"
    model = action_list(tmp_path / "a.json", ["true"])
    run = ["run", quick, "--model", model, "--unsafe-local", "--sessions", str(root)]
    ended = await mlgym(*run, sessions=tmp_path / "s")
    [go_on] = [line for line in ended.out.splitlines() if line.startswith("go on with: ")]
    assert go_on == f"go on with: mlgym-tui resume {_only(root).name} --sessions '{root}'"
    action_list(tmp_path / "a.json", ["true", "submit"])
    words = shlex.split(go_on.removeprefix("go on with: "))
    assert (await mlgym(*words[1:], "--unsafe-local", sessions=tmp_path / "s")).code == 0


async def test_the_command_to_go_on_passes_the_limit_on_steps_that_was_reached(tmp_path: Path, quick: str) -> None:
    model = action_list(tmp_path / "a.json", ["true", "submit"])
    run = ["run", quick, "--model", model, "--unsafe-local", "--max-steps", "1"]
    ended = await mlgym(*run, sessions=tmp_path / "s")
    [go_on] = [line for line in ended.out.splitlines() if line.startswith("go on with: ")]
    words = shlex.split(go_on.removeprefix("go on with: "))
    assert (await mlgym(*words[1:], "--unsafe-local", sessions=tmp_path / "s")).code == 0


async def test_a_running_session_is_not_removed(running: Running) -> None:
    for how in ([], ["--yes"]):
        removed = await mlgym("sessions", "rm", "last", *how, sessions=running.root / "s")
        assert removed.code == 1 and f"{running.folder.name} is running" in removed.err
    assert (await mlgym("sessions", sessions=running.root / "s")).out.splitlines()[1].split().count("live") == 1


async def test_the_same_seed_gives_the_same_scores(tmp_path: Path, quick: str) -> None:
    found = []
    for seed in ("3", "3", "4"):
        model = action_list(tmp_path / "a.json", ["validate"])
        outcome = await mlgym(
            "run", quick, "--model", model, "--unsafe-local", "--json", "--seed", seed, sessions=tmp_path / "s"
        )
        found.append(outcome.events[-1]["scores"]["last"])
    assert found[0] == found[1] != found[2]


async def test_a_saved_session_and_a_trajectory_are_run_again(tmp_path: Path, quick: str) -> None:
    model = action_list(tmp_path / "a.json", ["echo 1 > a", "cat a; submit"])
    options = ("--unsafe-local", "--json", "--seed", "5")
    first = await mlgym("run", quick, "--model", model, *options, sessions=tmp_path / "s")
    saved = f"replay:{first.events[-1]['session']}"
    again = await mlgym("run", quick, "--model", saved, *options, sessions=tmp_path / "s")
    assert again.code == 0
    assert _steps(again) == _steps(first)
    assert _steps(first)[0] == "" and _steps(first)[1].startswith("1\nScore: ")
    trajectory = tmp_path / "quick.traj"
    steps = [_trajectory_step("echo from a trajectory"), _trajectory_step("submit")]
    trajectory.write_text(json.dumps({"environment": "test", "trajectory": steps, "history": [], "info": {}}))
    foreign = await mlgym(
        "run", quick, "--model", f"replay:{trajectory}", "--unsafe-local", "--json", sessions=tmp_path
    )
    assert foreign.code == 0 and _steps(foreign)[0] == "from a trajectory\n"


def _steps(outcome: Outcome) -> list[str]:
    return [event["observation"] for event in outcome.events if event["event"] == "action.finished"]


def _trajectory_step(action: str) -> dict[str, Any]:
    return {
        "action": action + "\n",
        "observation": "",
        "response": "",
        "thought": "",
        "state": "{}",
        "execution_time": 0,
    }


# -- endings ------------------------------------------------------------------------------------------------------


class Running:
    """A session whose second command waits, so that something can happen to it."""

    def __init__(self, process: Forked, root: Path) -> None:
        self.process = process
        self.root = root

    @property
    def folder(self) -> Path:
        return _only(self.root / "s")

    @property
    def workspace(self) -> Path | None:
        """Its workspace on this machine (it runs unprotected)."""
        started: Any = read_log(self.folder)[0][0]
        return Path(started.workspace)

    async def resumed(self) -> Outcome:
        """Take away what it waited for, and go on."""
        (self.root / "go").touch()
        return await mlgym(
            "resume", self.folder.name, "--headless", "--json", "--unsafe-local", sessions=self.root / "s"
        )


@contextlib.asynccontextmanager
async def waiting_session(tmp_path: Path, quick: str, ignoring: Sequence[int] = ()) -> AsyncIterator[Running]:
    """A session that waits in its second command; its process ignores some signals from the beginning."""
    wait = f"while ! [ -e {tmp_path}/go ]; do touch {tmp_path}/waiting; sleep 0.05; done"
    model = action_list(tmp_path / "a.json", [GOOD, wait, "echo on", "submit"])
    process = await start(
        "run", quick, "--model", model, "--unsafe-local", "--json", sessions=tmp_path / "s", ignoring=ignoring
    )
    try:
        await wait_for((tmp_path / "waiting").exists, "the second command runs")
        yield Running(process, tmp_path)
    finally:
        (tmp_path / "go").touch()
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
async def running(tmp_path: Path, quick: str) -> AsyncIterator[Running]:
    async with waiting_session(tmp_path, quick) as session:
        yield session


async def test_under_nohup_a_lost_terminal_is_no_matter(tmp_path: Path, quick: str) -> None:
    async with waiting_session(tmp_path, quick, [signal.SIGHUP]) as session:
        session.process.send_signal(signal.SIGHUP)
        (tmp_path / "go").touch()
        outcome = await finish(session.process)
    assert (outcome.code, outcome.events[-1]["exit_status"]) == (0, "submitted")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
async def test_a_signal_ends_it_cleanly_and_it_can_be_resumed(running: Running, number: int, code: int) -> None:
    running.process.send_signal(number)
    outcome = await finish(running.process)
    ended = outcome.events[-1]
    assert outcome.code == code
    assert (ended["exit_status"], ended["reason"]) == ("interrupted", signal.Signals(number).name)
    assert "Traceback" not in outcome.err
    listed = (await mlgym("sessions", "--json", sessions=running.root / "s")).json
    assert [row["status"] for row in listed] == ["interrupted"]
    assert running.workspace is not None and not running.workspace.exists()
    again = await running.resumed()
    assert (again.code, again.events[-1]["exit_status"]) == (0, "submitted")
    assert again.events[0]["event"] == "session.resumed"
    assert again.events[-1]["scores"]["last"] > 1.3


async def test_two_signals_end_it_at_once(running: Running) -> None:
    running.process.send_signal(signal.SIGTERM)
    running.process.send_signal(signal.SIGINT)
    outcome = await finish(running.process)
    assert outcome.code in (130, 143)
    assert read_log(running.folder)[0][-1].name == "session.ended"
    assert (await running.resumed()).code == 0


async def test_a_reader_that_goes_away_interrupts_it(running: Running) -> None:
    running.process.stop_reading()
    (running.root / "go").touch()
    await asyncio.wait_for(running.process.wait(), 20)
    assert running.process.returncode == 1
    ended: Any = read_log(running.folder)[0][-1]
    assert (ended.exit_status, ended.reason) == ("interrupted", "the reader of the output has gone")
    error = await running.process.stderr.read() if running.process.stderr else b""
    assert b"Traceback" not in error and b"Exception ignored" not in error
    assert (await running.resumed()).code == 0


@pytest.mark.parametrize("form", [["--json"], []])
async def test_output_to_a_full_disk_interrupts_it(tmp_path: Path, quick: str, form: list[str]) -> None:
    model = action_list(tmp_path / "a.json", ["true", "submit"])
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        process = await start(
            "run", quick, "--model", model, "--unsafe-local", "--headless", *form, sessions=tmp_path / "s", stdout=full
        )
    finally:
        os.close(full)
    outcome = await finish(process)
    assert outcome.code == 1 and "Traceback" not in outcome.err and "Exception ignored" not in outcome.err
    folder = _only(tmp_path / "s")
    ended: Any = read_log(folder)[0][-1]
    assert ended.exit_status == "interrupted"


async def test_a_log_that_cannot_grow_is_said_and_what_was_saved_is_safe(tmp_path: Path, quick: str) -> None:
    """As on a full disk: files of the process may not exceed 40 kB."""
    model = action_list(tmp_path / "a.json", ["seq 2000"] * 20)
    process = await start(
        "run", quick, "--model", model, "--unsafe-local", "--headless", sessions=tmp_path / "s",
        ignoring=[signal.SIGXFSZ], largest_file=40_000,
    )  # fmt: skip
    outcome = await finish(process)
    assert outcome.code == 1
    assert "Traceback" not in outcome.err and "internal error" not in outcome.err, outcome.err
    assert "events.jsonl" in outcome.err
    folder = _only(tmp_path / "s")
    events, problems = read_log(folder)
    assert problems == [] and len(events) > 5
    listed = (await mlgym("sessions", "--json", sessions=tmp_path / "s")).json
    assert listed[0]["status"] == "crashed" and listed[0]["steps"] >= 1


@pytest.mark.timeout(180)  # on a busy machine
async def test_killed_at_ten_moments_it_reopens_and_goes_on(tmp_path: Path, quick: str) -> None:
    """kill -9 loses at most the event that was being written, and no file of a step that was over."""
    commands = [f"echo {number} > file{number}" for number in range(40)]
    model = action_list(tmp_path / "a.json", [*commands, GOOD, "ls | wc -l", "submit"])
    three_at_once = asyncio.Semaphore(3)

    async def one(moment: int) -> None:
        async with three_at_once:
            await _kill_and_go_on(tmp_path / f"s{moment}", quick, model, after_events=2 + moment * 17)

    async with asyncio.TaskGroup() as moments:
        for moment in range(10):
            moments.create_task(one(moment))


async def _kill_and_go_on(root: Path, task: str, model: str, *, after_events: int) -> None:
    process = await start("run", task, "--model", model, "--unsafe-local", "--json", sessions=root)
    assert process.stdout is not None
    for _ in range(after_events):
        line = await asyncio.wait_for(process.stdout.readline(), 20)
        assert line.endswith(b"\n")
    process.kill()
    rest = await process.stdout.read()
    await process.wait()
    folder = _only(root)
    events, _problems = read_log(folder)
    assert len(events) >= after_events + rest.count(b"\n")  # nothing that was told is lost
    shown = await mlgym("sessions", "show", folder.name, "--json", sessions=root)
    assert shown.code == 0 and shown.json["exit_status"] is None
    again = await mlgym("resume", folder.name, "--headless", "--json", "--unsafe-local", sessions=root)
    assert (again.code, again.events[-1]["exit_status"]) == (0, "submitted"), again
    after = fold(read_log(folder)[0])
    # The kill may have hit this very command: then it was run again.
    counted = [step for step in after.steps if step.action == "ls | wc -l"][-1]
    assert counted.observation.strip() == "41"
    assert (after.final_scores().last or 0) > 1.3


KILLED = """
import os, signal, sys
from importlib import import_module
module = import_module("workbench.{module}")
real = module.{function}
def last(*arguments, **named):
    real(*arguments, **named)
    os.kill(os.getpid(), signal.SIGKILL)
module.{function} = last
from workbench.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("place", "begun"),
    [
        ("environment.assembly.OwnedFolder", False),
        ("environment.assembly.fill_with", False),
        ("environment.assembly.make_sandbox", False),
        ("environment.assembly.offer_data", False),
        ("runner.start.Episode", True),
    ],
)
async def test_a_kill_before_the_first_event_leaves_nothing(
    tmp_path: Path, quick: str, place: str, begun: bool
) -> None:
    model = action_list(tmp_path / "a.json", ["submit"])
    module, _, function = place.rpartition(".")
    code = KILLED.format(module=module, function=function)
    root = tmp_path / "s"
    run = [sys.executable, "-c", code, "run", quick, "--model", model, "--unsafe-local", "--headless"]
    process = await asyncio.create_subprocess_exec(*run, env=environment(root), stdin=subprocess.DEVNULL)
    assert await process.wait() == -signal.SIGKILL
    assert len(_sessions(root)) == begun
    if begun:
        again = await mlgym("resume", "last", "--headless", "--unsafe-local", sessions=root)
        assert again.code == 0 and "submitted after 1 step" in again.out


def _only(root: Path) -> Path:
    """The one session in a folder."""
    [folder] = _sessions(root)
    return folder


def _sessions(root: Path) -> list[Path]:
    return [entry for entry in root.iterdir() if not entry.name.startswith(".")]


async def test_what_a_killed_session_leaves_is_found_by_gc(running: Running) -> None:
    workspace = running.workspace
    assert workspace is not None and workspace.is_dir()
    running.process.kill()
    await running.process.wait()
    await wait_for(lambda: not _processes_in(workspace), "no process is left")
    dry = (await mlgym("gc", "--dry-run", "--json")).json
    assert str(workspace.parent) in dry["folders"] and dry["removed"] is False
    assert workspace.is_dir()
    assert str(workspace.parent) in (await mlgym("gc", "--json")).json["folders"]
    assert not workspace.parent.exists()


def _processes_in(folder: Path) -> list[int]:
    """Processes whose working directory is in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.readlink(entry / "cwd").startswith(str(folder)):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@pytest.mark.bwrap
async def test_the_processes_of_a_protected_session_go_with_it(tmp_path: Path, quick: str) -> None:
    model = action_list(tmp_path / "a.json", ["touch here; exec -a mlgym-test-sleeper sleep 4242 & sleep 4343"])
    process = await start("run", quick, "--model", model, "--json", sessions=tmp_path / "s")
    try:
        await wait_for(lambda: _running(b"mlgym-test-sleeper"), "the command runs")
    finally:
        process.kill()
        await process.wait()
    await wait_for(lambda: not _running(b"mlgym-test-sleeper"), "no process is left")


def _running(name: bytes) -> bool:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cmdline").read_bytes().startswith(name):
                    return True
            except OSError:
                continue
    return False


async def test_a_resume_asks_another_model_only_when_it_can(tmp_path: Path, quick: str) -> None:
    model = action_list(tmp_path / "a.json", ["true", "true"])
    sessions = tmp_path / "s"
    outcome = await mlgym("run", quick, "--model", model, "--unsafe-local", "--headless", sessions=sessions)
    log = next(sessions.glob("*/events.jsonl"))
    before = log.read_bytes()
    for options, says in (
        (["--model", "opnai:gpt-4o"], "there is no provider 'opnai'"),
        (["--temperature", "0.5"], "asks no model that could be changed"),
        (["--temperature", "7"], "0<=x<=2"),
    ):
        outcome = await mlgym("resume", "last", *options, "--unsafe-local", "--headless", sessions=sessions)
        assert outcome.code != 0 and says in outcome.err, outcome.err
    assert log.read_bytes() == before, "nothing was changed"


@pytest.mark.bwrap
@pytest.mark.parametrize("streams", ["", ">&- 2>&- <&-", "| true"])
async def test_a_session_of_its_own_runs_on_whatever_becomes_of_its_terminal(
    quick: str, tmp_path: Path, streams: str
) -> None:
    model = action_list(tmp_path / "a.json", [GOOD, "submit"])
    command = shlex.join([*COMMAND, "run", quick, "--detach", "--model", model])
    process = await asyncio.create_subprocess_shell(f"{command} {streams}", env=environment(tmp_path / "sessions"))
    assert await process.wait() == 0
    [session] = (tmp_path / "sessions").glob("*/events.jsonl")
    await wait_for(lambda: b"session.ended" in session.read_bytes(), "its end")
    ended = fold(read_log(session)[0]).ended
    assert ended is not None and ended.exit_status == "submitted"


@pytest.mark.bwrap
async def test_who_follows_a_session_is_told_that_its_process_was_killed(quick: str, tmp_path: Path) -> None:
    model = action_list(tmp_path / "a.json", ["echo begun", "sleep 60", "submit"])
    sessions = tmp_path / "sessions"
    session = await start("run", quick, "--headless", "--model", model, sessions=sessions)
    await wait_for(lambda: any(b"sleep 60" in log.read_bytes() for log in sessions.glob("*/events.jsonl")), "its step")
    follower = await start("attach", "last", "--json", sessions=sessions)
    assert follower.stdout is not None
    first = await follower.stdout.readline()
    session.kill()
    await finish(session)
    outcome = await finish(follower)
    assert b"session.started" in first and outcome.code == 1, outcome
    assert "broke off" in outcome.err and "resume" in outcome.err, outcome
