"""Saved sessions scored again: what agrees with the ledger, what does not, and what cannot be scored."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.formats.trajectories import healthy, write_run
from tests.runner.rig import GOOD, ListAgent, driven
from tests.scoring.model_task import make_model_task
from tests.tasks.quick_task import make_quick_task
from workbench.checks.rescore import NotScorable, Rescored, SavedSession, choose, open_session, rescore
from workbench.environment.assembly import session_secret
from workbench.scoring.evaluation import evaluate
from workbench.scoring.fingerprint import changed, fingerprint
from workbench.session import events as ev
from workbench.session.clock import Clock
from workbench.session.log import EVENTS_FILE, EventLog
from workbench.session.marks import marked
from workbench.session.objects import ObjectStore
from workbench.tasks.catalogue import Task, find_task

SEED = 11
ROW = b"def row_strategy(history):\n    return 0\n"


async def save(
    folder: Path,
    task: Task,
    entries: Sequence[tuple[ev.ScoreRecorded, bytes | None]],
    seed: int | None = SEED,
    own: bool = True,
) -> Path:
    """A session's folder with this ledger; metrics that are not given are those of a real evaluation."""
    await asyncio.to_thread(folder.mkdir, parents=True)
    log = EventLog(folder, Clock(), mark=(lambda event: marked(event, [])) if own else None)
    log.append(
        ev.SessionStarted(
            format=ev.FORMAT,
            session=folder.name,
            task=task.id,
            task_folder="" if task.folder.parent.name == "tasks" else str(task.folder),
            seed=seed,
            metric=task.primary_metric,
            dataset=task.variant,
            protocol=task.protocol,
        )
    )
    for entry, artifact in entries:
        if artifact is not None and not entry.metrics:
            found = await evaluate(task, artifact, seed=seed or 0, secret=session_secret(seed or 0), split=entry.split)
            entry = msgspec.structs.replace(
                entry,
                verdict=found.verdict,
                metrics=found.metrics,
                score=found.score,
                standard_error=found.standard_error,
                dataset=found.dataset,
                scored_with=fingerprint(task),
            )
        if artifact is not None:
            entry = msgspec.structs.replace(entry, artifact=ObjectStore(folder / "artifacts").put(artifact))
        log.append(ev.ActionProposed(step=entry.step, author="model:x", action="validate"))
        log.append(entry)
    log.close()
    return folder


def changed_ledger(folder: Path, **fields: Any) -> None:
    """Change the last entry of the ledger, as somebody might who wants another score."""
    lines = (folder / EVENTS_FILE).read_text().splitlines()
    entry = json.loads(lines[-1])
    for name, value in fields.items():
        if isinstance(value, dict) and name in entry:
            entry[name].update(value)
        else:
            entry[name] = value
    (folder / EVENTS_FILE).write_text("\n".join([*lines[:-1], json.dumps(entry)]) + "\n")


async def again(path: Path, *, which: Any = "all", number: int | None = None, task: str = "") -> list[Rescored]:
    saved = open_session(path, task)
    told: list[str] = []
    chosen = choose(saved, which, number)
    found = [result async for result in rescore(saved, chosen, progress=lambda _fraction, text: told.append(text))]
    assert all(text.startswith("step ") for text in told)
    return found


def entry(number: int, kind: Any = "validate", split: str = "test", **fields: Any) -> ev.ScoreRecorded:
    return ev.ScoreRecorded(step=number, kind=kind, split=split, **fields)


@pytest.fixture
def quick(tmp_path: Path) -> Task:
    return make_quick_task(tmp_path / "quick-task")


async def test_a_session_that_was_run_agrees_with_itself(tmp_path: Path, quick: Task) -> None:
    actions = ["validate", GOOD, "echo broken > other; validate", "rm strategy.py; validate", GOOD, "submit"]
    async with driven(tmp_path, ListAgent(actions), mode="auto", task=str(quick.folder)) as session:
        await session.ended()
    found = await again(session.folder)
    assert [(result.entry.step, result.outcome, result.exact) for result in found] == [
        (1, "agrees", True),
        (3, "agrees", True),
        (6, "agrees", True),
    ]
    assert all(result.now is not None and result.now.metrics == result.entry.metrics for result in found)
    saved = open_session(session.folder)
    assert [item.step for item in choose(saved)] == [6] and [item.step for item in choose(saved, "best")] == [3]
    assert [item.step for item in choose(saved, step=1)] == [1]
    with pytest.raises(NotScorable, match="no submission of step 4"):
        choose(saved, step=4)
    before = (session.folder / EVENTS_FILE).read_bytes()
    await again(session.folder, which="last")
    assert (session.folder / EVENTS_FILE).read_bytes() == before  # the ledger is never written


async def test_models_are_scored_again_from_their_archives(tmp_path: Path) -> None:
    task = make_model_task(tmp_path / "model-task")
    write = "mkdir -p model && echo '{\"weight\": 1.5}' > model/weights.json"
    actions = [write, "validate", write.replace("1.5", "2.0"), "submit"]
    async with driven(tmp_path, ListAgent(actions), mode="auto", task=str(task.folder)) as session:
        await session.ended()
    found = await again(session.folder)
    assert [(result.entry.score, result.outcome, result.exact) for result in found] == [
        (3.0, "agrees", True),
        (0.0, "agrees", True),
    ]
    (archive,) = (session.folder / "artifacts").rglob(str(found[0].entry.artifact)[2:])
    archive.write_bytes(archive.read_bytes()[:-1] + b"x")
    assert [result.outcome for result in await again(session.folder)] == ["not scored", "agrees"]


async def test_a_ledger_that_was_changed_does_not_agree(tmp_path: Path, quick: Task) -> None:
    folder = await save(tmp_path / "s", quick, [(entry(1), ROW)])
    assert [result.outcome for result in await again(folder)] == ["agrees"]
    changed_ledger(folder, metrics={"Score": 1.4999}, score=1.4999)
    (result,) = await again(folder)
    assert result.outcome == "differs" and result.exact
    assert result.why.startswith("Score was 1.4999 and is 1.") and "same task, data and seed" in result.why
    changed_ledger(folder, verdict="crashed", metrics={}, score=None)
    (result,) = await again(folder)
    assert result.outcome == "differs" and result.why == "the verdict was crashed, and is ok"


async def test_a_submission_without_a_score_has_the_same_verdict_again(tmp_path: Path, quick: Task) -> None:
    folder = await save(tmp_path / "s", quick, [(entry(1), b"def other():\n    pass\n"), (entry(2, "submit"), None)])
    (result,) = await again(folder)
    assert (result.outcome, result.why) == ("agrees", "the same verdict, invalid")
    with pytest.raises(NotScorable, match="none of its submissions was valid"):
        choose(open_session(folder), "best")


async def test_other_dice_agree_within_the_noise(tmp_path: Path, quick: Task) -> None:
    """A seed that is not known, or a task that was changed, throws other dice: then the standard errors decide."""
    coin = b"import random\n\ndef row_strategy(history):\n    return int(random.random() < 0.5)\n"
    folder = await save(tmp_path / "s", quick, [(entry(1), coin)])
    unknown = await save(tmp_path / "unknown", quick, [(entry(1), coin)], seed=None)
    (result,) = await again(unknown)
    assert result.outcome == "agrees" and not result.exact
    assert "within 4 standard errors (± 0." in result.why and "the session's seed, which is not known" in result.why
    game = quick.folder / "evaluate" / "game.py"
    game.write_text(game.read_text().replace("games=40", "games=44"))
    (result,) = await again(folder)
    assert result.outcome == "agrees" and result.changes == ("the task's files",)
    assert "within 4 standard errors" in result.why and "changed since: the task's files" in result.why
    changed_ledger(folder, metrics={"Score": 9.0}, score=9.0)
    (result,) = await again(folder)
    assert result.outcome == "differs" and "more than 4 standard errors" in result.why
    changed_ledger(folder, scored_with={})  # as in logs of older versions: nothing is known, so nothing is excused
    changed_ledger(folder, standard_error=0.0, metrics={"Score": 9.0}, score=9.0)
    assert (await again(folder))[0].outcome == "differs"


async def test_split_protocol_and_stand_in_are_those_of_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLGYM_CACHE", str(tmp_path / "cache"))
    task = find_task("3SATTime").under("mlgym", "tiny")
    heuristic = task.baseline_submission()
    folder = await save(
        tmp_path / "s", task, [(entry(1, split="validation"), heuristic), (entry(2, "submit"), heuristic)]
    )
    shutil.rmtree(tmp_path / "cache")  # long after: the data are made anew
    changed_ledger(folder, metrics={"Time": 0.001}, score=0.001)
    validated, submitted = await again(folder)
    assert (validated.outcome, submitted.outcome) == ("agrees", "agrees")
    assert validated.now is not None and submitted.now is not None
    assert (validated.now.split, submitted.now.split) == ("validation", "test")
    assert validated.now.metrics["Decisions"] != submitted.now.metrics["Decisions"] == 2122
    assert submitted.now.dataset == "stand-in" and "Time is measured anew" in submitted.why
    changed_ledger(folder, metrics={"Decisions": 2121.0})
    assert (await again(folder, number=2))[0].why.startswith("Decisions was 2121 and is 2122, with the same task")
    changed_ledger(folder, dataset="")
    (result,) = await again(folder, number=2)
    assert "the data" in result.changes


async def test_what_is_lost_is_named(tmp_path: Path, quick: Task) -> None:
    folder = await save(tmp_path / "s", quick, [(entry(1), ROW), (entry(2), ROW + b"# 2\n"), (entry(3), ROW + b"#3")])
    first, second, _third = (ObjectStore(folder / "artifacts").path(result.entry.artifact or "")
                             for result in await again(folder))  # fmt: skip
    first.unlink()
    second.write_bytes(b"another")
    lost, damaged, fine = await again(folder)
    assert (lost.outcome, lost.now) == ("not scored", None) and "not in artifacts/" in lost.why
    assert damaged.outcome == "not scored" and "damaged" in damaged.why and fine.outcome == "agrees"
    log = (folder / EVENTS_FILE).read_text().splitlines(keepends=True)
    (folder / EVENTS_FILE).write_text("".join([*log[:-1], '{"event": "score.rec']))
    saved = open_session(folder)
    assert [item.step for item in choose(saved, "all")] == [1, 2] and "cut off" in saved.problems[0]


async def test_what_cannot_be_scored_says_why(tmp_path: Path, quick: Task) -> None:
    run = write_run(tmp_path / "runs", healthy())
    with pytest.raises(NotScorable, match="recorded by another program: it has scores, but no submissions"):
        open_session(run)
    empty = await save(tmp_path / "empty", quick, [])
    with pytest.raises(NotScorable, match="nothing was validated or submitted"):
        choose(open_session(empty))
    nothing = await save(tmp_path / "nothing", quick, [(entry(1, verdict="missing"), None)])
    with pytest.raises(NotScorable, match="its evaluations found no submission"):
        choose(open_session(nothing))
    lone = tmp_path / "lone.jsonl"
    lone.write_bytes((empty / EVENTS_FILE).read_bytes())
    with pytest.raises(NotScorable, match="without its session's folder"):
        open_session(lone)
    folder = await save(tmp_path / "s", quick, [(entry(1), ROW)])
    moved = quick.folder.rename(tmp_path / "moved")
    with pytest.raises(NotScorable, match=r"is not here any more: no task in .*quick-task") as raised:
        open_session(folder)
    assert "--task FOLDER" in raised.value.hint
    assert [result.outcome for result in await again(folder, task=str(moved))] == ["agrees"]
    with pytest.raises(NotScorable, match=r"is of task quick, and .* is task blotto"):
        open_session(folder, "blotto")


def test_a_fingerprint_tells_what_counts(tmp_path: Path, quick: Task) -> None:
    before = fingerprint(quick)
    assert set(before) == {"task", "package"} and changed(before, fingerprint(quick)) == []
    file = quick.folder / "task.yaml"
    file.write_text(file.read_text().replace("Write $artifact.", "Please write $artifact."))
    assert changed(before, fingerprint(find_task(str(quick.folder)))) == []  # the words for the agent score nothing
    file.write_text(file.read_text().replace("answer_seconds: 1", "answer_seconds: 2"))
    assert changed(before, fingerprint(find_task(str(quick.folder)))) == ["the task's files"]
    assert changed({}, before) == [] and changed({"package": "0"}, before) == ["mlgym-tui itself"]


def test_the_room_is_that_of_the_session(quick: Task, tmp_path: Path) -> None:
    from workbench.session.state import fold

    for sandbox, room in (("docker", "docker"), ("local", "auto")):
        state = fold([ev.SessionStarted(format=ev.FORMAT, task="quick", sandbox=sandbox)])
        assert SavedSession(tmp_path, state, quick).room == room
