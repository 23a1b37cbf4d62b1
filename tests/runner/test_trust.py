"""What a session that is not one's own may use here: nothing that it names, unless its reader says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.checks.test_rescore import ROW, entry, save
from tests.runner.rig import ListAgent, driven
from tests.tasks.quick_task import make_quick_task
from workbench.agents.catalogue import find_agent, whole_reference
from workbench.agents.config import AgentConfig
from workbench.checks import rescore
from workbench.checks.rescore import NotScorable, open_session
from workbench.environment.assembly import Actor, find_packages, make_sandbox
from workbench.isolation.spec import SandboxError
from workbench.runner.agents import StartError
from workbench.runner.start import start
from workbench.runner.trust import Consent, Named, NotTrusted, Trust, named_by, trust
from workbench.session import events as ev
from workbench.session.log import EVENTS_FILE
from workbench.session.spec import SessionSpec
from workbench.session.state import SessionState, fold
from workbench.tasks.catalogue import find_task
from workbench.tasks.errors import UnknownTask


def session(*later: ev.Event, **first: object) -> SessionState:
    return fold([ev.SessionStarted(**{"format": 1, "task": "blotto", "model": "scripted:demo", **first}), *later])  # type: ignore[arg-type]


def words(state: SessionState, **chosen: str) -> list[str]:
    return [f"{item.word}: {item.what}" for item in named_by(state, **chosen)]


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ({}, []),
        ({"model": "human"}, []),
        ({"task_folder": "/x/t"}, []),  # its task is one of the catalogue
        ({"task": "mine", "task_folder": "/x/t"}, ["task: the task in /x/t, whose evaluator"]),
        ({"agent_reference": "default"}, []),
        ({"agent_reference": "/x/a.yaml"}, ["code: the agent /x/a.yaml"]),
        ({"agent_reference": "/x/a.py:A"}, ["code: the agent /x/a.py:A, Python code that runs unprotected"]),
        ({"model": "replay:/x/a.yaml"}, ["code: the actions in /x/a.yaml"]),
        ({"approve": "/x/rules.yaml"}, ["code: the rules of approval in /x/rules.yaml"]),
        ({"approve": "always"}, []),
        ({"model": "openai:m"}, ["server: the model openai:m, with your key in OPENAI_API_KEY, for any"]),
        (
            {"model": "openai:m", "base_url": "http://x/v1", "limits": ev.Limits(steps=7, cost=2)},
            ["server: the model openai:m of the server http://x/v1, with your key in MLGYM_MODEL_API_KEY, for 7 steps"],
        ),
        ({"model": "", "agent_reference": "default"}, ["server: the model that the agent names, for any"]),
        ({"agent_reference": "a\nb"}, [r"code: the agent 'a\nb'"]),
    ],
)
def test_what_a_session_names_is_said(first: dict[str, object], said: list[str]) -> None:
    found = words(session(**first))
    assert len(found) == len(said) and all(a.startswith(b) for a, b in zip(found, said, strict=True)), found


def test_what_the_user_chooses_is_not_named_by_the_session() -> None:
    state = session(model="openai:m", base_url="http://x/v1", approve="/x/rules.yaml")
    assert words(state, approve="never", model="anthropic:n") == []
    assert words(state, approve="never", base_url="http://mine/v1") == []
    assert len(words(state, approve="never", model="openai:n")) == 1  # it would still ask that server
    assert words(session(ev.AgentChanged(model="openai:m", base_url="http://x/v1"))) != []
    assert words(session(ev.SessionResumed(approve="/x/rules.yaml"))) != []
    assert words(session(model="replay:/x/a.yaml"), model="scripted:demo") == []


NAMED = [Named("code", "the agent X"), Named("server", "the server Y")]


def test_each_word_is_needed_and_an_answer_stands_for_what_is_missing() -> None:
    state = session()
    given: tuple[str, ...]
    for given in ((), ("code",), ("server", "task")):
        with pytest.raises(NotTrusted, match="is not marked as yours") as raised:
            trust(Path("s"), state, NAMED, Consent(given))
        assert ("the agent X (code)" in str(raised.value)) == ("code" not in given)
        assert ("the server Y (server)" in str(raised.value)) == ("server" not in given)
        assert "--trust code,server" in raised.value.hint
    assert trust(Path("s"), state, NAMED, Consent(("code", "server"))) == Trust(False, frozenset({"code", "server"}))
    assert trust(Path("s"), state, [], Consent()) == Trust(False)
    asked: list[Sequence[Named]] = []

    def answer(what: bool) -> Callable[[str, Sequence[Named]], bool]:
        def ask(_name: str, named: Sequence[Named]) -> bool:
            asked.append(named)
            return what

        return ask

    assert not trust(Path("s"), state, NAMED, Consent(("code",), answer(True))).own and asked == [NAMED[1:]]
    with pytest.raises(NotTrusted, match="nothing of s was used"):
        trust(Path("s"), state, NAMED, Consent((), answer(False)))


def change(folder: Path, **fields: str) -> None:
    """Write other fields into the first line."""
    log = folder / EVENTS_FILE
    first, *rest = log.read_text().splitlines(keepends=True)
    log.write_text("".join([json.dumps({**json.loads(first), **fields}) + "\n", *rest]))


def foreign(folder: Path) -> Path:
    """The session as it was written before there were marks."""
    change(folder, mark="")
    return folder


async def test_a_foreign_session_goes_on_with_a_word_and_in_a_sandbox_only(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["echo 1 > a"]), gpus="none") as first:
        await first.ended()
    own = shutil.copytree(first.folder, tmp_path / "own")
    folder = foreign(first.folder)
    before = (folder / EVENTS_FILE).read_bytes() + b'{"torn'
    (folder / EVENTS_FILE).write_bytes(before)
    with pytest.raises(NotTrusted, match=r"the task in .*quick-task"):
        start(SessionSpec(), resume=folder)
    with pytest.raises(StartError, match="never run without a sandbox"):
        start(SessionSpec(unsafe_local=True), resume=folder, consent=Consent(("task",)))
    assert (folder / EVENTS_FILE).read_bytes() == before and not (folder / "events.damaged").exists()
    async with driven(tmp_path, ListAgent(["submit"]), resume=own) as again:
        assert (await again.ended()).exit_status == "submitted"
    assert again.events(ev.SessionResumed)[0].trusted == []


async def test_code_in_its_folder_does_not_run_without_the_word(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["true"])) as first:
        await first.ended()
    folder, ran = first.folder, tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w')\n")
    change(folder, agent_reference=f"{folder}/evil.py:Agent", base_url="http://127.0.0.1:9/v1", model="openai:m")
    for words in ((), ("task",), ("task", "code"), ("task", "server"), ("code", "server")):
        with pytest.raises(NotTrusted):
            start(SessionSpec(), resume=folder, consent=Consent(words))
    assert not ran.exists()
    with pytest.raises(StartError, match="no class 'Agent'"):
        start(SessionSpec(), resume=folder, consent=Consent(("task", "code", "server")))
    assert ran.exists()


@pytest.mark.bwrap
async def test_what_was_allowed_is_logged_and_asked_once(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["echo 1 > a"])) as first:
        await first.ended()
    folder = foreign(first.folder)
    asked: list[str] = []

    def ask(name: str, named: Sequence[Named]) -> bool:
        asked.append(f"{name} {[item.word for item in named]}")
        return True

    consent = Consent((), ask)
    for _ in range(2):
        async with driven(tmp_path, ListAgent(["ls"]), resume=folder, unsafe_local=False, consent=consent) as again:
            await again.ended()
        assert again.events(ev.SessionResumed)[0].trusted == ["task"]
        assert any("in a sandbox only" in note.text for note in again.state.notes)
        assert again.state.sandbox["protected"]
    assert asked == [f"{folder.name} ['task']"]


def test_without_a_sandbox_nothing_of_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_quick_task(tmp_path / "quick")
    monkeypatch.setattr("workbench.isolation.local.best_way", lambda: ("none", "there is none"))
    for agent in ("", "openai:m"):
        with pytest.raises(SandboxError, match="no protected sandbox") as raised:
            make_sandbox(task, SessionSpec(), "s", tmp_path, [], {}, None, [], Actor(foreign=True, untrusted=agent))
        assert "--unsafe-local" not in raised.value.hint
    assert find_packages(task, SessionSpec(), []) is None


def test_a_task_is_this_machines_own_or_trusted_or_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(make_quick_task(tmp_path / "tasks" / "quick").folder)
    monkeypatch.chdir(tmp_path / "tasks")  # a folder of the task's name, where the user happens to be
    named = ev.SessionStarted(format=1, task="quick", task_folder=folder)
    assert Trust(True).task(named).folder == Path(folder) == Trust(False, frozenset({"task"})).task(named).folder
    for made in (named, ev.SessionStarted(format=1, task="quick"), ev.SessionStarted(format=1, task=folder)):
        with pytest.raises(UnknownTask):
            Trust(False).task(made)
    monkeypatch.setenv("MLGYM_TASKS", str(tmp_path / "tasks"))
    moved = ev.SessionStarted(format=1, task="quick", task_folder="/somewhere/else")
    assert named_by(fold([moved])) == [] and Trust(False).task(moved).folder == Path(folder)


async def test_scoring_follows_the_same_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_quick_task(tmp_path / "quick")
    folder = await save(tmp_path / "s", task, [(entry(1), ROW)], own=False)
    with pytest.raises(NotTrusted, match=r"the task in .*quick"):
        open_session(folder)
    for given, consent in (("", Consent(("task",))), (str(task.folder), Consent())):
        saved = open_session(folder, given, consent)
        assert saved.task == find_task(str(task.folder)) and not saved.own
    monkeypatch.setattr(rescore, "choose_room", _reduced)
    with pytest.raises(NotScorable, match="in a sandbox only"):
        _ = [result async for result in rescore.rescore(saved, [], progress=lambda *_: None)]


async def _reduced(_choice: object) -> str:
    return "reduced"


def test_files_that_an_own_session_names_are_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mine.yaml", "mine.py", "default"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    given = ["mine.yaml", "mine.py:A", "default", "package:A", ""]
    assert [whole_reference(reference) for reference in given] == [
        f"{tmp_path}/mine.yaml",
        f"{tmp_path}/mine.py:A",
        "default",
        "package:A",
        "",
    ]
    assert isinstance(find_agent("default"), AgentConfig)  # and not the file here
