"""Forks: a new session that begins as another was after a step, and what goes on from there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.runner.rig import GOOD, ListAgent, driven
from tests.session.hostile import everything
from workbench.agents.conversation import _new_shell
from workbench.runner.agents import StartError
from workbench.runner.forking import Fork, Heir, make_fork
from workbench.runner.trust import Consent, NotTrusted
from workbench.session import events as ev
from workbench.session.branch import events_until
from workbench.session.events import Limits
from workbench.session.log import read_log
from workbench.session.marks import origin
from workbench.session.objects import ObjectStore
from workbench.session.snapshot import restore
from workbench.session.state import SessionState, fold

ACTIONS = [
    "mkdir -p empty/inner sub; echo 1 > sub/a; chmod 750 sub/a; ln -s a sub/link; chmod 700 sub",
    "cd sub; seq 300 > long; open long 150",
    "rm a; cd ..; rmdir empty/inner",
    GOOD,
    "validate",
    "submit",
]


async def parent_of(root: Path, actions: list[str] = ACTIONS, **options: Any) -> Path:
    async with driven(root, ListAgent(actions, cost=0.25), **options) as session:
        await session.ended()
    return session.folder


def state_of(folder: Path) -> SessionState:
    events, problems = read_log(folder)
    assert problems == []
    return fold(events)


def files_of(folder: Path, step: int, target: Path) -> dict[str, object]:
    state = state_of(folder)
    target.mkdir()
    objects = ObjectStore(folder / "objects")
    assert restore(state.files_at(step), objects, target, state.folders_at(step)) == []
    found: dict[str, object] = {
        path.relative_to(target).as_posix(): (os.readlink(path) if path.is_symlink() else path.stat().st_mode & 0o777)
        for path in target.rglob("*")
    }
    return found | {name: content for name, content in everything(target).items() if isinstance(content, bytes)}


async def test_each_step_of_a_session_can_be_gone_on_from(tmp_path: Path) -> None:
    parent = await parent_of(tmp_path / "sessions")
    whole = state_of(parent)
    for step in range(len(ACTIONS) + 1):
        made = make_fork(parent, step, parent.parent)
        state = state_of(made.session)
        assert state.last_step == step and made.lost == []
        assert [(s.action, s.observation, s.cwd, s.window) for s in state.steps] == [
            (s.action, s.observation, s.cwd, s.window) for s in whole.steps[: step + 1]
        ]
        assert state.started is not None and state.started.parent == ev.Parent(session=parent.name, step=step)
        assert state.started.session == made.session.name
        assert origin(state.named).own
        assert (state.cost, made.left.steps) == (whole.steps[step].number * 0.25, None)
        assert files_of(made.session, step, tmp_path / f"fork-{step}") == files_of(
            parent, step, tmp_path / f"at-{step}"
        )
    assert not [path for path in parent.parent.iterdir() if path.name.startswith(".2")]


async def test_a_fork_goes_on_with_its_files_and_another_agent(tmp_path: Path) -> None:
    parent = await parent_of(tmp_path)
    made = make_fork(parent, 2, tmp_path)
    agent = ListAgent(["pwd; cat a; stat -c %a . link; ls -R ../empty", "scroll_down"])
    async with driven(tmp_path, agent, resume=made.session) as again:
        await again.ended()
    assert agent.seen[0].new_shell is not None and agent.seen[0].new_shell.resumed
    work = again.state.workspace
    assert again.state.steps[3].observation.split() == [
        f"{work}/sub",
        "1",
        "700",
        "777",
        "../empty:",
        "inner",
        "../empty/inner:",
    ]
    window = again.state.steps[4].window
    assert window is not None and window.first_line > 150
    assert again.events(ev.WorkspaceSnapshot) == [], "a fork changes nothing"


async def test_objects_are_shared_and_not_copied(tmp_path: Path) -> None:
    parent = await parent_of(tmp_path, ["head -c 500000 /dev/urandom > model.bin"])
    made = make_fork(parent, 1, tmp_path)
    digest = next(file.object for file in state_of(parent).files_at() if file.path == "model.bin")
    assert digest is not None
    first, second = (ObjectStore(folder / "objects").path(digest).stat() for folder in (parent, made.session))
    assert first.st_ino == second.st_ino
    shutil.rmtree(parent)
    assert len(ObjectStore(made.session / "objects").get(digest)) == 500_000


async def test_the_budget_is_what_was_left(tmp_path: Path) -> None:
    parent = await parent_of(tmp_path, ["true"] * 4, limits=Limits(steps=6, cost=2.0))
    made = make_fork(parent, 3, tmp_path)
    assert (made.left.steps, made.left.cost) == (3, 1.25)
    async with driven(tmp_path, ListAgent([], then="true", cost=0.25), resume=made.session) as again:
        ended = await again.ended()
    assert "max_steps" in ended.exit_status and ended.steps == 6


def test_what_is_no_step_cannot_be_forked_from(tmp_path: Path) -> None:
    log = [ev.SessionStarted(format=1, task="blotto"), ev.ActionProposed(step=1, author="a", action="b")]
    for step, said in ((2, "has no step 2"), (1, "is not over")):
        with pytest.raises(StartError, match=said):
            make_fork(tmp_path / "s", step, tmp_path, events=log)
    for heir in (Heir("nobody:x"), Heir("human", agent="default"), Heir("openai:x", agent="no-such-agent")):
        with pytest.raises(StartError):
            make_fork(tmp_path / "s", 0, tmp_path, heir, events=log)
    assert list(tmp_path.iterdir()) == []


async def test_a_person_or_another_model_goes_on(tmp_path: Path) -> None:
    parent = await parent_of(tmp_path, ["true"])
    person = state_of(make_fork(parent, 1, tmp_path, Heir("human")).session)
    assert (person.model, person.mode) == ("human", "human")
    model = state_of(make_fork(parent, 1, tmp_path, Heir("openai:gpt-x")).session)
    assert (model.model, model.mode) == ("openai:gpt-x", "auto")
    agent = state_of(make_fork(parent, 1, tmp_path, Heir("openai:gpt-x", "default")).session)
    assert agent.started is not None and agent.started.agent_reference == "default"


async def test_an_edited_action_is_what_runs_next(tmp_path: Path) -> None:
    parent = await parent_of(tmp_path, ["echo one", "echo two"])
    made = make_fork(parent, 1, tmp_path, Heir(edited="echo three"))
    async with driven(tmp_path, ListAgent(["echo four"]), resume=made.session) as again:
        await again.ended()
    assert [step.observation.strip() for step in again.state.steps[1:]] == ["one", "three", "four"]
    assert (again.state.steps[2].proposed, again.state.steps[2].edited) == ("echo two", True)


async def test_of_a_foreign_session_nothing_is_used_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = await parent_of(tmp_path, ["head -c 9000 /dev/urandom > model.bin"])
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another-user"))
    with pytest.raises(NotTrusted, match="not marked as yours"):
        make_fork(parent, 1, tmp_path)
    made: Fork = make_fork(parent, 1, tmp_path, consent=Consent({"task", "code", "server"}))
    state = state_of(made.session)
    assert origin(state.named).own
    digest = state.files_at()[0].object
    assert digest is not None
    inodes = {ObjectStore(folder / "objects").path(digest).stat().st_ino for folder in (parent, made.session)}
    assert len(inodes) == 2, "somebody else may still change theirs"


def test_what_is_told_late_belongs_to_its_step() -> None:
    """The snapshot of a person's command comes when the next may have begun."""
    log = [
        ev.SessionStarted(format=1, task="t"),
        ev.ActionProposed(step=1, author="human:me", action="touch a"),
        ev.ActionFinished(step=1, exit_code=0, observation="", elapsed=1.0),
        ev.ControlChanged(mode="auto"),
        ev.ActionProposed(step=2, author="human:me", action="touch b"),
        ev.WorkspaceSnapshot(step=1, tree="1", elapsed=2.0),
        ev.ActionFinished(step=2, exit_code=0, observation=""),
        ev.WorkspaceSnapshot(step=2, tree="2"),
        ev.ScoreRecorded(step=2, kind="autosubmit", score=1.0),
        ev.SessionEnded(exit_status="stopped"),
        ev.SessionResumed(),
        ev.WorkspaceSnapshot(step=2, tree="3"),
    ]
    assert [event.name for event in events_until(log, 1)] == [
        *("session.started", "action.proposed", "action.finished", "workspace.snapshot")
    ]
    assert events_until(log, 2) == log[:8]
    assert events_until(log, 0) == log[:1]


async def test_the_shell_holds_what_the_one_before_held(tmp_path: Path) -> None:
    actions = [
        "export FOO='a b'; X=1; greet() { echo \"$FOO $X\"; }; alias say=greet; arr=(1 2); unset LANG",
        "X=2; sleep 77 &",
        "unset FOO",
    ]
    parent = await parent_of(tmp_path, actions)
    made = make_fork(parent, 2, tmp_path)
    assert "the array arr" in made.shell_gone
    agent = ListAgent(["greet; export -p | grep FOO; echo ${LANG-none}; echo ${#arr[@]}", "say"])
    async with driven(tmp_path, agent, resume=made.session) as again:
        await again.ended()
    shell = agent.seen[0].new_shell
    assert shell is not None
    assert set(shell.given) >= {"FOO", "X", "greet()", "say"}
    assert any("sleep 77" in what for what in shell.gone) and "the array arr" in shell.gone
    assert again.state.steps[3].observation.split("\n")[:4] == ["a b 2", 'declare -x FOO="a b"', "none", "0"]
    assert again.state.steps[4].observation.strip() == "a b 2"
    assert "greet()" in _new_shell(shell) and "the array arr" in _new_shell(shell)


async def test_actions_that_leave_the_shell_as_it_is_cost_nothing(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["echo 1", "ls | wc -l 2>&1", "open strategy.py", "FOO=1 true"])) as session:
        await session.ended()
    assert not any(event.shell for event in session.events(ev.WorkspaceSnapshot))
    assert session.state.shell == ""
