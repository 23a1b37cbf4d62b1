"""scores, clock, baselines."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from tests.cli.command import mlgym
from tests.library import runs
from workbench.cli.options import Duration
from workbench.cli.output import as_table
from workbench.session import events as ev
from workbench.session.clock import Clock
from workbench.session.log import EventLog, read_log
from workbench.session.state import fold

SESSION = "20260101-101500-blotto-3fa9c1"


def paused(root: Path) -> Path:
    """A session of a person: 100 s of work, 900 s of lunch, 100 s of work, with a score after each."""
    folder = root / SESSION
    root.mkdir(exist_ok=True)
    clock = Clock()
    log = EventLog(folder, clock)

    def at(seconds: float, event: ev.Event) -> None:
        log.clock = Clock(elapsed=seconds)
        log.append(event)

    metric = ev.Metric(name="Score", baseline=0.25)
    at(0, ev.SessionStarted(format=1, task="blotto", model="human", agent="human", person="ann", metric=metric))
    at(0, ev.ActionProposed(step=1, author="human:ann", action="validate"))
    at(0, ev.ActionStarted(step=1, author="human:ann", action="validate"))
    at(90, ev.ScoreRecorded(step=1, score=0.5, standard_error=0.01, metrics={"Score": 0.5, "Wins": 7}, artifact="a"))
    at(95, ev.ActionFinished(step=1, exit_code=0, observation=""))
    at(100, ev.ClockPaused(reason="waiting"))
    at(101, ev.ClockPaused(reason="lunch"))
    at(1000, ev.ClockResumed())
    at(1000, ev.ActionProposed(step=2, author="human:ann", action="submit"))
    at(1090.5, ev.ScoreRecorded(step=2, kind="submit", score=0.4, metrics={"Score": 0.4}, artifact="b"))
    at(1100, ev.ActionFinished(step=2, exit_code=0, observation=""))
    state = fold(read_log(folder)[0])
    at(1100, ev.SessionEnded(exit_status="submitted", steps=2, scores=state.final_scores(), totals=state.totals()))
    log.close()
    return folder


async def test_the_ledger_has_who_when_and_what_changed(tmp_path: Path) -> None:
    paused(tmp_path)
    found = (await mlgym("scores", "last", "--json", sessions=tmp_path)).json
    first, second = found["entries"]
    assert [first[name] for name in ("step", "kind", "author", "best", "artifact", "change")] == [
        1, "validate", "human:ann", True, "a", "first",
    ]  # fmt: skip
    assert (first["metrics"], first["standard_error"]) == ({"Score": 0.5, "Wins": 7}, 0.01)
    assert (first["clock"], second["clock"]) == (pytest.approx(90, abs=1), pytest.approx(190, abs=1))
    assert (second["best"], second["change"]) == (False, "changed")
    table = await mlgym("scores", "last", sessions=tmp_path)
    assert "0.5000 ± 0.0100 *" in table.out and "Wins 7" in table.out and "3:10" in table.out


@pytest.mark.parametrize("columns", [40, 60, 80])
async def test_tables_fit_the_terminal(tmp_path: Path, columns: int) -> None:
    paused(tmp_path)
    asked = (["scores", "last"], ["baselines", "blotto"], ["sessions", "show", "last"], ["clock", "last"])
    for found in [await mlgym(*words, sessions=tmp_path, env={"COLUMNS": str(columns)}) for words in asked]:
        lines = [line for line in found.out.splitlines() if "  " in line]
        assert len(lines) > 2 and max(map(len, lines)) <= columns, found.out


async def test_nothing_is_left_out_where_there_is_no_terminal(tmp_path: Path) -> None:
    paused(tmp_path)
    head, *_ = (await mlgym("scores", "last", sessions=tmp_path, env={"COLUMNS": ""})).out.splitlines()
    assert head.split() == ["step", "what", "author", "worked", "split", "score", "metrics", "artifact", "change"]


def test_one_long_name_is_not_the_width_of_every_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = as_table(["author", "score"], [["m" * 100_000, "1"], ["m", "2"]], right=(1,), cut=(0,))
    assert max(map(len, lines)) <= 1000


async def test_the_ledger_of_another_programs_run(tmp_path: Path) -> None:
    file = runs.mlgym(tmp_path)
    found = (await mlgym("scores", str(file), "--json", sessions=tmp_path)).json
    assert [(row["kind"], row["score"]) for row in found["entries"]] == [("validate", 1.3), ("submit", 1.4)]


async def test_the_clock_names_pauses_and_takes_corrections_beside_them(tmp_path: Path) -> None:
    folder = paused(tmp_path)
    before = (folder / "events.jsonl").read_bytes()
    found = (await mlgym("clock", "last", "--json", sessions=tmp_path)).json
    assert [(each["kind"], round(each["seconds"]), each["reason"]) for each in found["periods"]] == [
        ("work", 100, None), ("pause", 900, "lunch"), ("work", 100, None),
    ]  # fmt: skip
    assert found["working"] == pytest.approx(200, abs=1)

    fixed = await mlgym("clock", "fix", "last", "--minutes", "-2", "--reason", "a call", sessions=tmp_path)
    assert fixed.code == 0 and "a call" in fixed.out and "worked 1:20" in fixed.out
    assert (folder / "events.jsonl").read_bytes().startswith(before)
    [row] = (await mlgym("sessions", "--json", sessions=tmp_path)).json
    assert (row["status"], row["working"]) == ("submitted", pytest.approx(80, abs=1))

    group = ("--sessions", str(tmp_path), "--json")  # what is said of the group holds for its commands
    again = await mlgym("clock", *group, "fix", "last", "--minutes", "1", "--reason", "and back")
    assert again.json["working"] == pytest.approx(140, abs=1)
    assert (await mlgym("clock", *group, "last")).json["working"] == pytest.approx(140, abs=1)
    assert (await mlgym("sessions", *group, "show", "last")).json["path"] == str(folder / "events.jsonl")
    await mlgym("clock", "fix", "last", "--minutes", "-1", "--reason", "no", sessions=tmp_path)

    too_much = await mlgym("clock", "fix", "last", "--minutes", "-2", "--reason", "a call", sessions=tmp_path)
    assert too_much.code == 2 and "only 1:20 were worked" in too_much.err


@pytest.mark.parametrize(
    ("said", "seconds"), [("90", 90), ("90s", 90), ("90m", 5400), ("4h", 14400), ("1h30m", 5400), ("1.5h", 5400)]
)
def test_a_time_limit_is_said_as_people_say_it(said: str, seconds: float) -> None:
    assert Duration().convert(said, None, None) == seconds


@pytest.mark.parametrize("said", ["", "0", "-1h", "4 hours", "inf", "nan", "h", "1h-"])
def test_what_is_no_time_is_refused(said: str) -> None:
    with pytest.raises(click.BadParameter):
        Duration().convert(said, None, None)


async def test_a_name_is_a_name(tmp_path: Path) -> None:
    refused = await mlgym("human", "blotto", "--as", "a\x1b[2J", sessions=tmp_path)
    assert refused.code == 2 and "a name has up to 60 letters" in refused.err


async def test_baselines_put_people_and_models_in_order(tmp_path: Path) -> None:
    paused(tmp_path)
    runs.own(tmp_path, "20260101-111500-blotto-000001", score=0.7)
    runs.own(tmp_path, "20260101-111500-other-000002", score=0.9)
    found = (await mlgym("baselines", "blotto", "--json", sessions=tmp_path)).json
    assert [(row["who"], row["author"], row["best"]) for row in found["runs"]] == [
        ("openai:gpt-5", "model", 0.7), ("ann", "human", 0.5),
    ]  # fmt: skip
    assert found["baseline"] == 0.25
    figure = tmp_path / "people.svg"
    drawn = await mlgym("baselines", "blotto", "--out", str(figure), sessions=tmp_path)
    assert "baseline" in drawn.out and figure.read_text().count("<svg") == 1
