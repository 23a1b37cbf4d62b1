"""metrics and plot, over files and sessions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from workbench.cli import main
from workbench.session import events as ev
from workbench.session.cast import CastWriter
from workbench.session.clock import Clock
from workbench.session.log import EventLog


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """Two steps that train: the first with a bar, of which the observation keeps the last repaint only."""
    folder = tmp_path / "20260101-101500-blotto-3fa9c1"
    log = EventLog(folder, Clock())
    log.append(ev.SessionStarted(format=1, task="blotto", model="human", agent="human"))
    now = 0.0
    cast = CastWriter(folder, lambda: now, columns=120, rows=40, timestamp=0)
    for number, text in [
        (1, "\r1/2 ━━━━━━━━ 0s 7ms/step - loss: 0.5\r2/2 ━━━━━━━━ 0s 7ms/step - loss: 0.25\n"),
        (2, "step 5 loss 0.125\n"),
    ]:
        now = 10.0 * number
        cast.feed(text.encode())
        cast.flush(end_of_command=True)
        log.append(ev.ActionProposed(step=number, author="human", action="python train.py"))
        log.append(ev.ActionStarted(step=number, author="human", action="python train.py"))
        log.append(
            ev.ActionFinished(step=number, exit_code=0, observation=text[-10:], cast=(10.0 * number, 10.0 * number + 1))
        )
    cast.close()
    log.close()
    return folder


def test_the_metrics_of_a_session_come_from_what_its_shell_printed(session: Path) -> None:
    rows = json.loads(invoke("metrics", str(session), "--json").output)
    assert [(row["at"], row["name"], row["step"], row["value"]) for row in rows] == [
        (1, "loss", 1, 0.5), (1, "loss", 2, 0.25), (2, "loss", 5, 0.125),
    ]  # fmt: skip
    (row,) = json.loads(invoke("metrics", str(session), "--step", "2", "--json").output)
    assert row["at"] == 2
    assert "0.125" in invoke("metrics", str(session)).output


def test_curves_are_drawn_in_the_terminal_and_to_files(session: Path, tmp_path: Path) -> None:
    shown = invoke("plot", str(session), "--metric", "loss").output
    assert "a 20260101-101500-blotto-3fa9c1 step 1" in shown and "b 20260101-101500-blotto-3fa9c1 step 2" in shown
    for name in ("curve.svg", "curve.png", "curve.pdf"):
        result = invoke("plot", str(session), "--metric", "loss", "--out", str(tmp_path / name), "--json")
        assert list(json.loads(result.output)["curves"].values()) == [[[1, 0.5], [2, 0.25]], [[5, 0.125]]]
        assert (tmp_path / name).stat().st_size > 1000


def test_what_is_no_number_is_null(tmp_path: Path) -> None:
    raw = tmp_path / "train.raw"
    raw.write_text("epoch 1 loss: nan\nepoch 2 loss: inf\n")
    assert [row["value"] for row in json.loads(invoke("metrics", str(raw), "--json").output)] == [None, None]
    curves = json.loads(invoke("plot", str(raw), "--metric", "loss", "--json").output)["curves"]
    assert curves == {"train.raw": [[1, None], [2, None]]}
    assert "not known" in invoke("plot", str(raw), "--metric", "loss").output


def test_what_is_wrong_is_said(session: Path, tmp_path: Path) -> None:
    raw = tmp_path / "train.raw"
    raw.write_text("nothing\n")
    for arguments, said in [
        (("metrics", str(session), "--step", "9"), "has no step 9"),
        (("metrics", str(raw)), "no metrics in train.raw"),
        (("metrics", str(raw), "--step", "1"), "is no session"),
        (("plot", str(session), "--metric", "los"), "there are loss"),
        (("plot", str(session), "--metric", "loss", "--out", "a.jpg"), "must end with .png, .svg or .pdf"),
    ]:
        assert said in invoke(*arguments).output


def test_patterns_find_what_nothing_else_knows(tmp_path: Path) -> None:
    file = tmp_path / "train.raw"
    file.write_bytes(b"fold 3 DSC .75\r\n")
    found = invoke("metrics", str(file), "--pattern", r"fold (?P<step>\d) DSC (?P<dice>\S+)", "--json")
    assert [(each["name"], each["step"], each["value"]) for each in json.loads(found.output)] == [("dice", 3, 0.75)]
    assert "names no metric" in invoke("metrics", str(file), "--pattern", "DSC").output
