"""`score`, as its users see it: tables, JSON, exit codes, and ctrl+c."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.checks.test_rescore import ROW, changed_ledger, entry, save
from tests.cli.command import finish, mlgym, start
from tests.cli.processes import commands, descendants
from tests.formats.trajectories import healthy, write_run
from tests.runner.rig import wait_for
from tests.tasks.quick_task import make_quick_task

SLOW = b"import time\n\ndef row_strategy(history):\n    time.sleep(0.5)\n    return 0\n"


@pytest.fixture(autouse=True)
def quick_secrets() -> None:
    """The ledger is made here and checked by the command: both take the secret as it is, not the tests' quick one."""


async def test_what_agrees_what_differs_and_what_is_lost(tmp_path: Path) -> None:
    task = make_quick_task(tmp_path / "quick")
    ledger = [(entry(1), ROW), (entry(2), b"def other(): 0\n"), (entry(3, "submit"), ROW + b"# done\n")]
    folder = await save(tmp_path / "sessions" / "20260101-000000-quick-abc123", task, ledger)
    fine = await mlgym("score", "last", "--all", sessions=folder.parent)
    assert fine.code == 0 and fine.err == ""
    table = [line.split() for line in fine.out.splitlines()]
    assert table[0][0] == f"{folder.name}:" and "agrees" in table[2] and table[3].count("invalid") == 2
    assert "step 3: the same score" in fine.out and "step 2: the same verdict, invalid" in fine.out
    default = (await mlgym("score", str(folder), "--json")).json
    assert default["agrees"] and [item["step"] for item in default["scores"]] == [3]
    assert default["scores"][0]["now"]["score"] == default["scores"][0]["ledger"]["score"]
    changed_ledger(folder, metrics={"Score": 1.4321}, score=1.4321)
    differs = await mlgym("score", "abc123", sessions=folder.parent)
    assert differs.code == 1 and "DIFFERS" in differs.out and "Score was 1.4321 and is" in differs.out
    for name in (folder / "artifacts").rglob("*"):
        if name.is_file():
            name.unlink()
    lost = await mlgym("score", "last", "--all", "--json", sessions=folder.parent)
    assert lost.code == 3 and {item["outcome"] for item in lost.json["scores"]} == {"not scored"}
    assert not lost.json["agrees"]


async def test_foreign_sessions_and_wrong_words_get_a_sentence(tmp_path: Path) -> None:
    recording = str(write_run(tmp_path, healthy()))
    foreign = await mlgym("score", recording, sessions=tmp_path)
    assert foreign.code == 3 and "it has scores, but no submissions that could be scored" in foreign.err
    nobody = await mlgym("score", "nobody", sessions=tmp_path)
    assert nobody.code == 3 and "no session 'nobody'" in nobody.err and len(nobody.err.splitlines()) == 1
    both = await mlgym("score", recording, "--best", "--step", "2", sessions=tmp_path)
    assert both.code == 2 and "--step and --best exclude each other" in both.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_it_can_be_stopped(tmp_path: Path, number: signal.Signals, code: int) -> None:
    task = make_quick_task(tmp_path / "quick", seconds=60)
    folder = await save(tmp_path / "s", task, [(entry(1, metrics={"Score": 1.0}, score=1.0), SLOW)])
    process = await start("score", str(folder), sessions=tmp_path)
    await wait_for(
        lambda: any("submission_server.py" in line for line in commands(descendants(process.pid))),
        "the submission is asked",
    )
    started = descendants(process.pid)
    process.send_signal(number)
    outcome = await finish(process)
    assert outcome.code == code and "stopped" in outcome.err and "Traceback" not in outcome.err
    await wait_for(lambda: commands(started) == [], f"gone: {commands(started)}")
