"""Without a screen: what is waited for is said, and commands are named as they can be called here."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from tests.tui.sessions import SessionBuilder
from workbench.cli.headless import _PlainSteps, say_end
from workbench.cli.output import ProgressLine
from workbench.session import events as ev
from workbench.session.status import LiveStatus

RETRY = "trying again in 2 s: the server is busy"


def heard(*statuses: LiveStatus) -> None:
    steps = _PlainSteps(None, ProgressLine())  # type: ignore[arg-type]
    for status in statuses:
        steps.hear(status)


def test_a_call_that_is_tried_again_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    waits = LiveStatus(phase="proposing", problem=RETRY)
    heard(LiveStatus(phase="proposing"), waits, waits, LiveStatus(phase="executing", problem="another"))
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"{RETRY}\n"), "no line that is written over where there is no terminal"


@pytest.mark.parametrize(("kind", "lines"), [("xterm", ["the agent thinks", "playing 10,000 games 40%"]), ("dumb", [])])
def test_a_terminal_has_a_line_that_says_what_is_waited_for(
    kind: str, lines: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", kind)
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    heard(LiveStatus(phase="proposing"), LiveStatus(phase="executing", progress="playing 10,000 games 40%"))
    shown = [line for line in capsys.readouterr().err.split("\r\x1b[K") if line]
    assert shown == lines


def test_a_line_that_is_written_over_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    ProgressLine()(0.5, "評価中\nの関数を実行しています")
    assert capsys.readouterr().err == "\r\x1b[K評価中 の関数… 50%"


def test_a_reader_of_errors_that_has_gone_ends_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of the output does: what writes there breaks nothing else."""
    runner, stopped = MagicMock(), list[tuple[str, str]]()
    runner.controls.stop = lambda *how: stopped.append(how)
    monkeypatch.setattr("workbench.cli.headless.silence_output", lambda: None)
    reader, writer = os.pipe()
    os.close(reader)
    with contextlib.suppress(BrokenPipeError), open(writer, "w") as errors:
        monkeypatch.setattr(sys, "stderr", errors)
        steps = _PlainSteps(runner, ProgressLine())
        for problem in (RETRY, "another"):
            steps.hear(LiveStatus(phase="proposing", problem=problem))
    assert stopped == [("interrupted", "the reader of the output has gone")]


@pytest.mark.parametrize("there", [False, True])
def test_the_command_is_named_as_it_can_be_called(
    there: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = SessionBuilder(tmp_path / "s")
    made.ran("submit")
    made.end("submitted")
    (program := tmp_path / "mlgym-tui").write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) if there else "/nowhere")
    monkeypatch.setattr(sys, "argv", [".venv/bin/mlgym-tui", "run"])
    ended: Any = next(event for event in made.recording().events if isinstance(event, ev.SessionEnded))
    say_end(ended)
    assert ("(here the command is .venv/bin/mlgym-tui)" in capsys.readouterr().out) is not there


@pytest.mark.parametrize("command", [["tasks"], ["run", "battleOfSexes", "--headless"]], ids=lambda value: value[0])
def test_output_that_cannot_be_written_is_said_once(command: list[str], tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "workbench", *command], stdin=subprocess.DEVNULL, stdout=full,
            stderr=subprocess.PIPE, text=True, env={**os.environ, "MLGYM_SESSIONS": str(tmp_path)}, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("mlgym-tui: ")]
    assert len(said) == 1 and ("disk is full" in said[0] or "No space left" in said[0])
    assert "Exception ignored" not in done.stderr
