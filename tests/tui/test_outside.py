"""Copying, calling the person, going into the background: what reaches the terminal and the shell around it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.tui.test_workbench import Opened, opened
from workbench.session.secrets import state_folder
from workbench.session.state import SessionState
from workbench.session.status import LiveStatus, Phase
from workbench.tui import outside
from workbench.tui.outside import awaits


@pytest.mark.parametrize(
    ("phase", "mode", "more", "said"),
    [
        ("proposing", "step", {}, ""),
        ("executing", "auto", {}, ""),
        ("human", "human", {}, ""),
        ("review", "auto", {}, ""),
        ("review", "auto", {"asking": "a rule"}, "waits for your decision on step 0"),
        ("review", "step", {}, "waits for your decision on step 0"),
        ("waiting", "paused", {}, "stopped, and waits for you"),
        ("human", "human", {"question": "Still there?"}, "asks you something"),
        ("ended", "auto", {}, "is over"),
    ],
)
def test_when_a_session_waits_for_a_person(phase: Phase, mode: Any, more: dict[str, Any], said: str) -> None:
    state = SessionState()
    state.mode = mode
    assert awaits(LiveStatus(phase=phase, **more), state) == said


def terminal_of(on: Opened, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the terminal is sent from here on by `outside`."""
    sent: list[str] = []
    monkeypatch.setattr(on.app, "bell", lambda: sent.append("bell"))
    assert on.app._driver is not None
    monkeypatch.setattr(on.app._driver, "write", sent.append)
    return sent


@pytest.mark.parametrize(
    ("notify", "away", "expected"),
    [
        ("never", True, []),
        ("bell", False, []),
        ("bell", True, ["bell"]),
        ("desktop", True, ["bell", "\x1b]777;notify;mlgym-tui;quickTask waits for your decision on step 2\x07"]),
    ],
)
async def test_a_person_who_is_away_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notify: str, away: bool, expected: list[str]
) -> None:
    async with opened(tmp_path, ["echo one", "echo two"]) as on:
        await on.review(1)
        sent = terminal_of(on, monkeypatch)
        monkeypatch.setattr(on.app.outside, "_notify", notify)
        monkeypatch.setattr(outside, "AWAY_SECONDS", 0.0 if away else 3600.0)
        await on.press("s")
        await on.review(2)
        await on.until(lambda: "step 2" in on.app.outside._awaited, "it is known that the session waits")
        task = on.state.started.task if on.state.started else ""
        assert [each for each in sent if each in expected or "777" in each or each == "bell"] == [
            text.replace("quickTask", task) for text in expected
        ]


async def test_in_tmux_it_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, ["echo one"]) as on:
        await on.review(1)
        sent = terminal_of(on, monkeypatch)
        monkeypatch.setenv("TMUX", "/tmp/x,1,0")
        on.app.outside._write("\x1b]9;text\x07")
        assert sent == ["\x1bPtmux;\x1b\x1b]9;text\x07\x1b\\"]


async def test_what_is_copied_is_in_a_file_as_well_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file = state_folder() / "copied.txt"
    file.parent.mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    file.symlink_to(elsewhere)
    async with opened(tmp_path, ["echo one"]) as on:
        await on.review(1)
        text = "é" * 80_000
        await on.app.outside.copy(text)
        await on.shows("copied the first 74,000 of 80,000 characters to the terminal (OSC 52)")
        assert on.app.clipboard == text[:74_000]
    assert file.read_text("utf-8") == text and not file.is_symlink() and not elsewhere.exists()
    assert file.stat().st_mode & 0o777 == 0o600
    assert [name for name in os.listdir(file.parent) if "copied" in name] == ["copied.txt"]


async def test_without_a_shell_to_go_back_to_nothing_stops(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one"]) as on:
        await on.review(1)
        await on.press("ctrl+z")
        await on.shows("there is no shell to go back to")
        assert on.runner.status.phase == "review"
