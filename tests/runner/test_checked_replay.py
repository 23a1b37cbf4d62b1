"""Re-execution with a check: a faithful run verifies, whatever chance does; a changed one is caught at its step."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.formats.trajectories import step, trajectory, window, write_run
from tests.in_memory import IN_MEMORY
from tests.runner.rig import GOOD, ListAgent, driven
from tests.tasks.quick_task import make_quick_task
from workbench.formats.checking import check_step
from workbench.formats.comparing import Divergence
from workbench.formats.open import open_recording
from workbench.runner.agents import StartError
from workbench.runner.forking import Heir
from workbench.runner.reexecution import Answer, Checked, begin, check, fork_verified
from workbench.session import events as ev
from workbench.session.events import Event, encode
from workbench.session.log import EVENTS_FILE, read_log
from workbench.session.objects import ObjectStore
from workbench.session.spec import SessionSpec
from workbench.session.state import fold

ACTIONS = [
    "mkdir -p src empty; echo one > src/a.txt; chmod 640 src/a.txt; ln -s a.txt src/link; ls -la src",
    'date; date +%s; mktemp; python3 -c \'import time, os; print(object()); print("took", time.perf_counter(), "s")\'',
    "python3 -c 'import time; print(f\"epoch 1: loss 0.5 ({time.time() % 1:.3f} s)\")' > train.log; cat train.log",
    "sleep 30 & echo started",
    "echo x | gzip > x.gz; cat src/none",
    "open src/a.txt",
    "cat <<'EOF' > src/b.py\nprint('took 5 s at 12:30')\nEOF\npython3 src/b.py",
    "false",
    "find . -type f | wc -l; grep -rn one src",
    GOOD,
    "validate",
    "if then",
]

Mutation = Callable[[list[Event], Path], None]


async def recorded(root: Path, actions: Sequence[str] = ACTIONS) -> Path:
    async with driven(root, ListAgent(list(actions))) as session:
        await session.ended()
    return session.folder


async def run_again(path: Path, root: Path, **options: Any) -> Checked:
    spec = SessionSpec(unsafe_local=True, task=options.pop("task", ""), starter=options.pop("starter", ""))
    runner, checker = begin(open_recording(path), root, spec, grounds=IN_MEMORY, **options)
    return await check(runner, checker)


async def test_a_faithful_run_verifies(tmp_path: Path) -> None:
    folder = await recorded(tmp_path / "sessions")
    for _ in range(2):
        done = await run_again(folder, tmp_path / "again")
        assert done.divergence is None
        assert done.verified and done.verified_to == done.steps == len(ACTIONS)
    part = await run_again(folder, tmp_path / "again", until=4)
    assert part.verified and part.steps == 4


async def test_who_stops_it_is_not_asked_about_the_step_that_was_stopped(tmp_path: Path) -> None:
    """It is no difference to what was recorded."""
    folder = await recorded(tmp_path / "sessions", ["echo one", "sleep 0.3"])
    asked: list[Divergence] = []

    async def decide(found: Divergence) -> Answer:
        asked.append(found)
        return "stop"

    def stop(event: Event) -> None:
        if isinstance(event, ev.ActionStarted) and event.step == 2:
            runner.controls.stop("interrupted", "SIGINT")

    spec = SessionSpec(unsafe_local=True)
    runner, checker = begin(open_recording(folder), tmp_path, spec, grounds=IN_MEMORY, decide=decide)
    runner.live.subscribe(stop)
    assert (await check(runner, checker)).verified_to == 1
    assert not asked


def rewrite(folder: Path, change: Callable[[list[Event]], None]) -> None:
    events = read_log(folder)[0]
    change(events)
    (folder / EVENTS_FILE).write_bytes(
        b"".join(encode(msgspec.structs.replace(event, seq=seq)) + b"\n" for seq, event in enumerate(events))
    )


def changed_action(step: int, before: str, after: str) -> Mutation:
    """The recorded action is another: what comes of it is not what was recorded."""

    def mutate(events: list[Event], _folder: Path) -> None:
        done = 0
        for place, event in enumerate(events):
            if (
                isinstance(event, ev.ActionProposed | ev.ActionStarted)
                and event.step == step
                and before in event.action
            ):
                events[place] = msgspec.structs.replace(event, action=event.action.replace(before, after))
                done += 1
        assert done == 2

    return mutate


def changed_outcome(step: int, **fields: Any) -> Mutation:
    def mutate(events: list[Event], _folder: Path) -> None:
        for place, event in enumerate(events):
            if isinstance(event, ev.ActionFinished) and event.step == step:
                new = {name: value(event) if callable(value) else value for name, value in fields.items()}
                events[place] = msgspec.structs.replace(event, **new)

    return mutate


def changed_file(step: int, name: str, **fields: Any) -> Mutation:
    def mutate(events: list[Event], folder: Path) -> None:
        fields_now = dict(fields)
        if "data" in fields_now:
            data = fields_now.pop("data")
            fields_now |= {"object": ObjectStore(folder / "objects").put(data), "size": len(data)}
        for event in events:
            if isinstance(event, ev.WorkspaceSnapshot) and event.step == step:
                for changes in (event.changes, event.folders):
                    for place, change in enumerate(changes):
                        if change.path == name:
                            changes[place] = msgspec.structs.replace(change, **fields_now)
                            return
        raise AssertionError(f"step {step} does not change {name}")

    return mutate


def replaced(before: str, after: str) -> Callable[[ev.ActionFinished], str]:
    def value(event: ev.ActionFinished) -> str:
        assert before in event.observation
        return event.observation.replace(before, after)

    return value


def without_first_line(event: ev.ActionFinished) -> str:
    return event.observation.partition("\n")[2]


CHANGED: list[tuple[str, int, str, Mutation]] = [
    ("another text in a file", 1, "files", changed_action(1, "echo one", "echo two")),
    ("other permissions", 1, "output", changed_action(1, "640", "600")),
    ("another link", 1, "output", changed_action(1, "ln -s a.txt", "ln -s b.txt")),
    ("no empty folder", 1, "files", changed_action(1, "mkdir -p src empty", "mkdir -p src")),
    ("another folder", 1, "files", changed_action(1, "src empty", "src full")),
    ("one more line", 2, "output", changed_action(2, "date; date", "date; echo; date")),
    ("another name in a file", 3, "output", changed_action(3, "loss 0.5", "loss 0.6")),
    ("it is not printed", 3, "output", changed_action(3, "cat train.log", "true")),
    ("another word", 4, "output", changed_action(4, "started", "begun")),
    ("another file is missing", 5, "output", changed_action(5, "src/none", "src/nothing")),
    ("it is there", 5, "exit code", changed_action(5, "cat src/none", "true")),
    ("another content in an archive", 5, "files", changed_action(5, "echo x", "echo y")),
    ("another file is opened", 6, "output", changed_action(6, "a.txt", "link")),
    ("an action's own duration", 7, "output", changed_action(7, "5 s", "6 s")),
    ("an action's own time of day", 7, "output", changed_action(7, "12:30", "12:31")),
    ("it fails otherwise", 8, "exit code", changed_action(8, "false", "exit_code() { return 3; }; exit_code")),
    ("it does not fail", 8, "exit code", changed_action(8, "false", "true")),
    ("another number", 9, "output", changed_action(9, "wc -l", "wc -c")),
    ("another line", 9, "output", changed_action(9, "-rn one", "-rn took")),
    ("another strategy", 10, "files", changed_action(10, "return 0", "return 1")),
    ("no score", 11, "score", changed_action(11, "validate", "true")),
    ("another error of syntax", 12, "output", changed_action(12, "if then", "if fi")),
]

RECORDED: list[tuple[str, int, str, Mutation]] = [
    *(("a recorded exit code", n, "exit code", changed_outcome(n, exit_code=7)) for n in range(1, 13)),
    ("a recorded text", 1, "output", changed_outcome(1, observation=replaced("a.txt", "a.tx"))),
    ("a recorded number", 3, "output", changed_outcome(3, observation=replaced("0.5", "0.4"))),
    (
        "a recorded line is missing",
        2,
        "output",
        changed_outcome(2, observation=lambda e: e.observation.split("\n", 1)[1]),
    ),
    ("a recorded score", 11, "output", changed_outcome(11, observation=replaced("Score", "score"))),
    ("a recorded blank", 4, "output", changed_outcome(4, observation=replaced("started", "started "))),
    ("a recorded number of a line", 6, "output", changed_outcome(6, observation=replaced("1:one", "2:one"))),
    ("a recorded file", 1, "files", changed_file(1, "src/a.txt", data=b"0ne\n")),
    (
        "a recorded file that is longer",
        3,
        "files",
        changed_file(3, "train.log", data=b"epoch 1: loss 0.5 (1.0 s)\nmore\n"),
    ),
    ("a recorded binary", 5, "files", changed_file(5, "x.gz", data=b"\x1f\x8b\x08\0\0\0\0\0\0\3no")),
    ("recorded permissions", 1, "files", changed_file(1, "src/a.txt", mode=0o755)),
    ("recorded permissions of a folder", 1, "files", changed_file(1, "src", mode=0o700)),
    ("a recorded link", 1, "files", changed_file(1, "src/link", target="b.txt")),
    ("a recorded name", 7, "files", changed_file(7, "src/b.py", path="src/c.py")),
    ("a recorded deletion", 7, "files", changed_file(7, "src/b.py", kind="deleted", object=None)),
    ("a file that was not kept", 1, "files", changed_file(1, "src/a.txt", object=None)),
]

HARMLESS: list[tuple[str, Mutation]] = [
    ("an action that does the same", changed_action(1, "echo one > src/a.txt", "printf 'one\\n' > src/a.txt")),
    ("a comment", changed_action(8, "false", "false  # as before")),
    ("another time", changed_outcome(2, duration=99.0)),
    ("another folder for the same", changed_action(9, "find . -type f", "find ./ -type f")),
]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import asyncio

    return asyncio.run(recorded(tmp_path_factory.mktemp("original")))


@pytest.mark.parametrize(("step", "what", "mutate"), [row[1:] for row in CHANGED], ids=[row[0] for row in CHANGED])
async def test_what_was_changed_is_caught_at_its_step(
    original: Path, tmp_path: Path, step: int, what: str, mutate: Mutation
) -> None:
    folder = tmp_path / original.name
    shutil.copytree(original, folder)
    rewrite(folder, lambda events: mutate(events, folder))
    done = await run_again(folder, tmp_path / "again", until=step)
    assert done.divergence is not None, "it was not noticed"
    assert (done.divergence.step, done.divergence.what, done.verified_to) == (step, what, step - 1)
    assert done.divergence.expected != done.divergence.got and done.divergence.cause


@pytest.mark.parametrize(("step", "what", "mutate"), [row[1:] for row in RECORDED], ids=[row[0] for row in RECORDED])
def test_what_was_changed_in_the_record_is_caught(
    original: Path, tmp_path: Path, step: int, what: str, mutate: Mutation
) -> None:
    """Nothing has to run for that: a faithful run gives what the original has."""
    folder = tmp_path / original.name
    shutil.copytree(original, folder)
    rewrite(folder, lambda events: mutate(events, folder))
    states = fold(read_log(folder)[0]), fold(read_log(original)[0])
    contents = ObjectStore(folder / "objects").get, ObjectStore(original / "objects").get
    said = "\n".join(ACTIONS)
    found = [
        check_step(then, now, states, contents, said, since=(then.number - 1, now.number - 1))
        for then, now in zip(*(state.steps[1:] for state in states), strict=True)
    ]
    first = next(divergence for divergence in found if divergence is not None)
    assert (first.step, first.what) == (step, what)


@pytest.mark.parametrize("mutate", [row[1] for row in HARMLESS], ids=[row[0] for row in HARMLESS])
async def test_a_change_without_any_effect_verifies(original: Path, tmp_path: Path, mutate: Mutation) -> None:
    folder = tmp_path / original.name
    shutil.copytree(original, folder)
    rewrite(folder, lambda events: mutate(events, folder))
    assert (await run_again(folder, tmp_path / "again")).divergence is None


async def test_what_is_accepted_is_gone_past(tmp_path: Path) -> None:
    folder = await recorded(tmp_path / "sessions", ["echo one > a; cat a", "cat a", "echo three"])
    rewrite(folder, lambda events: changed_action(1, "one", "two")(events, folder))
    asked: list[tuple[int, str]] = []

    async def accept(found: Any) -> Any:
        asked.append((found.step, found.cause))
        return "accept"

    done = await run_again(folder, tmp_path / "again", decide=accept)
    assert asked == [(1, "edited"), (2, "cascade")]
    assert not done.verified and done.verified_to == 0 and done.divergence is not None and done.divergence.step == 1
    assert done.ended is not None and done.ended.steps == 3


async def test_of_a_foreign_session_nothing_runs_unprotected(original: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(original.parent / "another-user"))
    with pytest.raises(StartError, match="never run without a sandbox"):
        await run_again(original, original.parent / "again")


async def test_a_recording_of_another_program_is_checked_and_brought_to_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_quick_task(tmp_path / "tasks" / "quick")
    monkeypatch.setenv("MLGYM_TASKS", str(tmp_path / "tasks"))
    lines = ["def row_strategy(history):", "    return 1"]
    workspace = "/home/agent/workspace"
    run = trajectory(
        [
            step("open strategy.py", window(f"{workspace}/strategy.py", lines)),
            step("mkdir empty; echo 5 > five; cat five", "5"),
            step("cat five", "6"),
        ],
        exit_status="submitted",
    )
    path = write_run(tmp_path / "runs", run)
    recording = open_recording(path)
    events = [msgspec.structs.replace(recording.events[0], task=task.id), *recording.events[1:]]
    recording.events = events
    spec = SessionSpec(unsafe_local=True)
    runner, checker = begin(recording, tmp_path / "again", spec, until=2, grounds=IN_MEMORY)
    assert (await check(runner, checker)).verified
    made = fork_verified(recording, runner.live.folder, 2, tmp_path / "sessions", Heir())
    state = fold(read_log(made.session)[0])
    assert state.last_step == 2 and state.steps[2].author == fold(events).steps[2].author
    assert {file.path for file in state.files_at()} == {"strategy.py", "five"}
    assert [folder.path for folder in state.folders_at()] == ["empty"]
    async with driven(tmp_path, ListAgent(["cat five; ls -d empty"]), resume=made.session) as again:
        await again.ended()
    assert again.state.steps[3].observation.split() == ["5", "empty"]
    runner, checker = begin(recording, tmp_path / "again", spec, grounds=IN_MEMORY)
    done = await check(runner, checker)
    assert done.divergence is not None and (done.verified_to, done.divergence.step) == (2, 3)
