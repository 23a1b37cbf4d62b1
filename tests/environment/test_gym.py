"""Tasks as Gymnasium environments: episodes, logs, limits, vector environments, and that nothing is left behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env, data_equivalence

import workbench.environment  # noqa: F401 (registers the tasks)
from tests.in_memory import IN_MEMORY
from tests.runner.rig import GOOD
from tests.tasks.quick_task import make_quick_task
from workbench.environment.assembly import OURS
from workbench.formats.open import open_recording
from workbench.gym.background import ForeignProcess
from workbench.gym.env import NO_EXIT_CODE, TaskEnv
from workbench.gym.reward import Outcome
from workbench.runner.agents import StartError
from workbench.runner.start import start
from workbench.sandbox.guest.guest import process_table
from workbench.session import events as ev
from workbench.session.log import is_locked, read_log
from workbench.session.spec import SessionSpec
from workbench.session.state import SessionState, fold

BETTER = "printf 'def row_strategy(history):\\n    return len(history) %% 2\\n' > strategy.py"


@pytest.fixture
def quick(tmp_path: Path) -> str:
    """A task with a cheap evaluation."""
    return str(make_quick_task(tmp_path / "quick-task").folder)


@pytest.fixture
def made(tmp_path: Path, quick: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes environments of the quick task, and closes them; unprotected ones in memory, but for `real`."""
    envs: list[TaskEnv] = []

    def make(*, real: bool = False, **options: Any) -> TaskEnv:
        grounds = OURS if real else IN_MEMORY
        monkeypatch.setattr("workbench.gym.session.start", partial(start, grounds=grounds))
        options = {"unsafe_local": True, "sessions": tmp_path / "sessions", **options}
        envs.append(TaskEnv(quick, **options))
        return envs[-1]

    yield make
    for env in envs:
        env.close()


def log_of(folder: Path | None) -> tuple[list[ev.Event], SessionState]:
    assert folder is not None
    events, problems = read_log(folder)
    assert problems == []
    return events, fold(events)


def children() -> set[int]:
    """Living descendants of this process."""
    parents = {pid: parent for pid, parent, _group, _session in process_table()}
    found: set[int] = set()
    for pid in parents:
        above = parents.get(pid)
        while above is not None and above > 1:
            if above == os.getpid():
                found.add(pid)
                break
            above = parents.get(above)
    return found


# -- episodes ----------------------------------------------------------------------------------------------------------


def test_an_episode_from_reset_to_submission(made: Any) -> None:
    env = made()
    description, info = env.reset(seed=1)
    assert description.startswith("Write strategy.py") and info["exit_code"] == 0 and info["scores"] == []
    home = info["directory"]
    text, reward, terminated, truncated, info = env.step("mkdir sub; cd sub; open ../strategy.py; false")
    assert "def row_strategy" in text and (reward, terminated, truncated) == (0.0, False, False)
    assert (info["exit_code"], info["directory"]) == (1, f"{home}/sub")
    window = info["window"]
    assert window["path"].endswith("/strategy.py") and (window["first_line"], window["total_lines"]) == (1, 2)
    *_, info = env.step("if")
    assert (info["refused"], info["exit_code"]) == (True, 2) and info["window"] == window
    env.step(f"cd ..; {GOOD}")
    _, validated, *_, info = env.step("validate")
    [score] = info["scores"]
    assert (score["kind"], score["verdict"]) == ("validate", "ok") and score["score"] == pytest.approx(validated)
    text, reward, terminated, truncated, info = env.step("submit")
    assert (terminated, truncated, info["exit_status"]) == (True, False, "submitted") and "Submitted" in text
    assert info["session"] == str(env.session)
    assert validated + reward == pytest.approx(info["scores"][0]["score"]), "the task has no baseline: 0"
    with pytest.raises(ResetNeeded):
        env.step("ls")


def test_the_log_is_that_of_any_session(made: Any) -> None:
    env = made(policy="tiny", steps=7)
    env.reset(seed=3)
    env.step("echo hello > note.txt")
    env.step("submit")
    events, state = log_of(env.session)
    assert [event.name for event in events[:4]] == [
        "session.started",
        "note.added",
        "control.changed",
        "sandbox.ready",
    ]
    assert isinstance(events[-1], ev.SessionEnded) and events[-1].exit_status == "submitted"
    assert state.started is not None and state.started.model == "policy:tiny" and state.limits.steps == 7
    assert [step.author for step in state.steps[1:]] == ["policy:tiny", "policy:tiny"]
    assert state.file_at("note.txt", 1) is not None and state.file_at("note.txt", 0) is None
    assert state.steps[1].cast is not None
    recording = open_recording(env.session)
    assert (recording.source, recording.problems, len(recording.events)) == ("mlgym-tui", [], len(events))
    assert not is_locked(env.session)
    env.reset()
    env.close()
    with pytest.raises(StartError, match="policy:tiny acted from outside"):
        start(SessionSpec(), resume=env.session)


def test_each_reset_is_a_session_of_its_own(made: Any) -> None:
    env = made()
    folders = []
    for _ in range(3):
        env.reset()
        assert env.step("ls; touch left-over")[0] == "strategy.py\n"
        folders.append(env.session)
    env.close()
    env.close()
    assert len(set(folders)) == 3
    reasons = [(log_of(folder)[1].ended or ev.SessionEnded(exit_status="")) for folder in folders]
    assert [ended.exit_status for ended in reasons] == ["stopped"] * 3
    assert [ended.reason for ended in reasons] == ["the environment was reset"] * 2 + ["the environment was closed"]
    assert env.reset()[0], "it can be used again"


def test_the_seed_decides_the_dice(made: Any) -> None:
    env = made()

    def scores() -> list[float]:
        return [env.step(action)[-1]["scores"][0]["score"] for action in (f"{BETTER}; validate", "submit")]

    env.reset(seed=5)
    first, seed = scores(), log_of(env.session)[1].started.seed  # type: ignore[union-attr]
    env.reset()
    assert log_of(env.session)[1].started.seed != seed  # type: ignore[union-attr]
    env.reset(seed=5)
    assert scores() == first and log_of(env.session)[1].started.seed == seed  # type: ignore[union-attr]


def test_a_limit_truncates_and_what_is_there_is_scored(made: Any) -> None:
    env = made(steps=2)
    env.reset()
    assert env.step(GOOD)[2:4] == (False, False)
    _, reward, terminated, truncated, info = env.step("echo last")
    assert (terminated, truncated, info["exit_status"]) == (False, True, "autosubmission (max_steps)")
    [score] = info["scores"]
    assert (score["kind"], score["score"]) == ("autosubmit", pytest.approx(reward))
    env.reset(options={"steps": 1})
    assert env.step("rm strategy.py")[3]
    assert log_of(env.session)[1].ended.exit_status == "submission_not_found (max_steps)"  # type: ignore[union-attr]
    env.reset(options={"seconds": 1})
    *_, truncated, info = env.step("sleep 30")
    assert truncated and info["timed_out"] and "max_time" in info["exit_status"]
    env.reset()
    assert not env.step("ls")[3], "options are for one session"


def test_a_lost_sandbox_truncates_and_the_next_reset_has_a_new_one(made: Any) -> None:
    env = made(real=True)
    env.reset()
    guest = env._running.session.runner.episode.sandbox._child
    threading.Timer(0.3, os.kill, (guest, signal.SIGKILL)).start()
    assert env.step("sleep 30")[-1]["exit_code"] == 137
    text, reward, terminated, truncated, info = env.step("ls")
    assert (terminated, truncated, reward, info["exit_code"]) == (False, True, 0.0, NO_EXIT_CODE)
    assert info["exit_status"] == "error" and "the session ended: " in text
    env.reset()
    assert env.step("echo again")[0] == "again\n"


def test_interrupting_the_program_ends_the_session(made: Any) -> None:
    env = made()
    env.reset()
    folder = env.session
    with pytest.raises(KeyboardInterrupt):
        threading.Timer(0.3, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()
        env.step("sleep 30")
    assert log_of(folder)[1].ended.exit_status == "interrupted"  # type: ignore[union-attr]
    with pytest.raises(ResetNeeded):
        env.step("ls")
    env.reset()
    assert env.step("echo again")[0] == "again\n"


def test_the_reward_is_exchangeable(made: Any) -> None:
    seen: list[Outcome] = []

    def reward(outcome: Outcome) -> float:
        seen.append(outcome)
        return -1.0 if outcome.refused else 0.5

    env = made(reward=reward, steps=3)
    env.reset()
    assert [env.step(action)[1] for action in ("if", "validate", "exit 3")] == [-1.0, 0.5, 0.5]
    assert [outcome.steps for outcome in seen] == [1, 2, 3] and [bool(outcome.scores) for outcome in seen[:2]] == [
        False,
        True,
    ]
    assert seen[1].before is None and seen[2].before == seen[1].scores[0].score
    assert (seen[2].exit_code, seen[2].truncated) == (3, True)
    assert seen[0].metric.name == "Score"


def test_text_mode_rendering(made: Any) -> None:
    env = made(render_mode="ansi")
    env.reset()
    assert env.render().startswith("Write strategy.py")
    env.step("echo hello")
    assert env.render() == "$ echo hello\nhello\n"
    assert made().render() is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sandbox": "moon"}, "unknown sandbox 'moon'"),
        ({"steps": 0}, "steps must be a whole number over 0"),
        ({"steps": 1.5}, "steps must be a whole number over 0"),
        ({"seconds": float("nan")}, "seconds must be a number over 0"),
        ({"render_mode": "human"}, "unknown render mode"),
        ({"protocol": "mine"}, "unknown protocol 'mine'"),
    ],
)
def test_wrong_options_are_named(made: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(Exception, match=said):
        made(**options)


def test_wrong_calls_are_named(made: Any) -> None:
    env = made()
    with pytest.raises(ResetNeeded):
        env.step("ls")
    with pytest.raises(ValueError, match="unknown option 'step'; there are steps and seconds"):
        env.reset(options={"step": 3})
    env.reset()
    with pytest.raises(TypeError, match="a text for the shell, and not of type int"):
        env.step(3)


def test_a_reset_that_fails_leaves_nothing_behind(made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.sandbox.local.python_inside", lambda: ("/nonexistent", ""))
    monkeypatch.setattr("workbench.sandbox.local.sys.executable", "/nonexistent/python")
    env = made(real=True)
    with pytest.raises(Exception, match="sandbox"):
        env.reset()
    assert list((tmp_path / "sessions").glob("[!.]*")) == []
    assert env.session is None


# -- gymnasium's own ---------------------------------------------------------------------------------------------------


@pytest.mark.bwrap
def test_gymnasium_finds_nothing_wrong(quick: str, tmp_path: Path) -> None:
    env = gymnasium.make("mlgym/battleOfSexes-v0", task=quick, sessions=tmp_path / "sessions")
    assert env.spec is not None and not env.spec.nondeterministic, "so that all is checked"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
        first, second = env.reset(seed=9), env.reset(seed=9)
    assert data_equivalence(first, second, exact=True) and first[1]["directory"] == "/home/agent/workspace"
    env.close()


@pytest.mark.bwrap
@pytest.mark.parametrize(
    ("mode", "options", "number"),
    [("sync", {}, 4), ("async", {}, 2), ("async", {"shared_memory": False}, 2), ("async", {"context": "spawn"}, 2)],
)
def test_vector_environments(quick: str, tmp_path: Path, mode: str, options: dict[str, Any], number: int) -> None:
    before = children()
    envs: Any = gymnasium.make_vec(
        "mlgym/battleOfSexes-v0",
        number,
        mode,
        options,
        task=quick,
        sessions=tmp_path / "sessions",
        steps=3,
    )
    try:
        texts, _ = envs.reset(seed=1)
        assert len(texts) == number and all(text.startswith("Write strategy.py") for text in texts)
        kept, *_ = envs.step(tuple(f"echo {n} é" for n in range(number)))
        texts, _, _, _, infos = envs.step(tuple(f"[ {n} = 1 ] && submit; cd /; (exit {n})" for n in range(number)))
        assert kept == tuple(f"{n} é\n" for n in range(number)), "an observation stays as it was"
        assert list(infos["exit_code"]) == list(range(number)) and set(infos["directory"]) == {"/"}
        assert infos["exit_status"][1] == "submitted" and "Submitted" in texts[1]
        _, rewards, terminated, truncated, infos = envs.step(("echo end",) * number)
        others = [n for n in range(number) if n != 1]
        assert not any(terminated) and list(truncated) == [n != 1 for n in range(number)], "the second was reset"
        assert rewards[1] == 0 and all(rewards[n] == infos["scores"][n][0]["score"] for n in others)
        assert len(set(envs.get_attr("session"))) == number
    finally:
        envs.close()
    assert len(list((tmp_path / "sessions").glob("[!.]*"))) == number + 1
    assert all(log_of(folder)[1].ended is not None for folder in (tmp_path / "sessions").glob("[!.]*"))
    del envs
    gc.collect()
    # multiprocessing's own helper (of spawn) stays as long as this process
    assert all("resource_tracker" in command_of(pid) for pid in children() - before)


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return "resource_tracker (is gone)"


@pytest.mark.bwrap
def test_closing_leaves_no_process_no_thread_and_no_folder(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = children()
    env = made(unsafe_local=False)
    env.reset()
    env.step("sleep 1000 & nohup setsid sleep 1001 >/dev/null 2>&1 & echo")
    workspace = env._running.session.runner.episode.sandbox.workspace_folder
    assert children() > before and workspace.exists()
    env.close()
    assert children() <= before and not workspace.exists()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mlgym-")]


def test_a_forgotten_environment_is_closed_when_python_ends(quick: str, tmp_path: Path) -> None:
    temporary = tmp_path / "t"
    temporary.mkdir()
    program = f"""
        import gymnasium, workbench.environment
        env = gymnasium.make("mlgym/blotto-v0", task={quick!r}, sessions={str(tmp_path / "s")!r}, unsafe_local=True)
        env.reset()
        env.step("echo hello")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stderr) == (0, "")
    [folder] = (tmp_path / "s").glob("[!.]*")
    assert log_of(folder)[1].ended is not None
    assert list(temporary.iterdir()) == []


def test_an_environment_stays_in_the_process_that_began_it(made: Any) -> None:
    env = made()
    env.reset()
    answers = get_context("fork").SimpleQueue()

    def use() -> None:
        try:
            env.step("touch from-the-child")
        except ForeignProcess as error:
            answers.put(str(error))
        env.close()

    child = get_context("fork").Process(target=use)
    child.start()
    child.join(20)
    assert (
        child.exitcode == 0
        and answers.get() == "this environment was made in another process: make one in this process"
    )
    assert env.step("ls")[0] == "strategy.py\n"
