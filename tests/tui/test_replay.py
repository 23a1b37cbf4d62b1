"""Replay: the cursor moves freely over a recording, every pane follows, and nothing runs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.sessions import BETTER, WORKSPACE, SessionBuilder, battle
from tests.tui.support import screen_text, wait_for
from workbench.session import events as ev
from workbench.session.events import SessionEnded
from workbench.session.recording import Recording
from workbench.tui.app import WorkbenchApp
from workbench.tui.screens.arranging import layout_for
from workbench.tui.source import RecordedSource
from workbench.tui.widgets.file_window import changed_lines

SIZES = [(80, 24), (120, 40), (200, 60)]
AppPilot = Pilot[SessionEnded | None]


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return battle(tmp_path / "20260102-030405-battleOfSexes-abc123").recording()


def replay(recording: Recording) -> WorkbenchApp:
    return WorkbenchApp(RecordedSource(recording), theme="mlgym-dark")


async def go(pilot: AppPilot, app: WorkbenchApp, *keys: str) -> None:
    """Press keys, and wait until every pane shows the step under the cursor."""
    await pilot.press(*keys)
    screen = app.workbench
    await wait_for(pilot, lambda: screen._load is None, "the panes to follow")
    await wait_for(pilot, lambda: screen.shell_then.idle and screen._shell_step == screen.shown, "the shell")
    await pilot.pause()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_every_pane_has_its_title_and_fits(recording: Recording, size: tuple[int, int]) -> None:
    app = replay(recording)
    async with app.run_test(size=size) as pilot:
        await go(pilot, app, "$")
        text = screen_text(app)
        for title in ("1 Steps", "3 Action 13", "4 Observation", "REPLAY", "step 13 of 13", "q quit"):
            assert title in text
        assert "2 " in text and "5 Shell" in text
        assert len(text.splitlines()) == size[1]
        assert max(len(line) for line in text.splitlines()) <= size[0]


async def test_scrubbing_moves_every_pane(recording: Recording) -> None:
    app = replay(recording)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = app.workbench
        assert screen.shown == 1
        await go(pilot, app, "l")
        assert screen.shown == 2 and "strategy.py" in screen.file.title
        assert "return 0" in screen.file.text and "Counter" not in screen.file.text
        assert "9 lines total" in screen.observation.text
        await go(pilot, app, "right", "right", "right")
        assert screen.shown == 5 and screen.file.text == BETTER.rstrip("\n")
        assert screen.file.marks[3].glyph == "+"
        assert "moves = Counter" in screen.shell_then.screen_text()
        await go(pilot, app, "h", "left", "left")
        assert screen.shown == 2 and "Counter" not in screen.file.text
        await go(pilot, app, "0")
        assert screen.shown == 0 and "Write a strategy" in screen_text(app)
        await go(pilot, app, "$")
        assert screen.shown == 13 and "Submitted." in screen_text(app)
        await go(pilot, app, "l")
        assert screen.shown == 13


async def test_scores_are_as_of_the_step(recording: Recording) -> None:
    app = replay(recording)
    async with app.run_test(size=(200, 60)) as pilot:
        bar = app.workbench.status_bar
        await go(pilot, app, "0")
        assert "no score yet" in bar.text
        await go(pilot, app, *["l"] * 3)
        assert "best 1.023 about the baseline" in bar.text and "1.441" not in bar.text
        await go(pilot, app, *["l"] * 9)
        assert "best 1.441 beats the baseline" in bar.text and "last 1.212" in bar.text


async def test_what_became_of_each_step_is_seen(recording: Recording) -> None:
    app = replay(recording)
    async with app.run_test(size=(200, 60)) as pilot:
        rows = screen_text(app)
        for sign in ("⊘", "!", "✎ sleep 1 ⏎ echo done", "◷", "✗1", "▲1.441", "▼1.212", "● python -m pytest"):
            assert sign in rows, sign
        await go(pilot, app, *["l"] * 3)
        assert "rejected by ann: keep the starter, edit it" in screen_text(app)
        assert "» ann: the other player repeats itself" in screen_text(app)
        await go(pilot, app, *["l"] * 4)
        text = screen_text(app)
        assert "- sleep 600" in text and "+ sleep 1" in text and "+ echo done" in text


async def test_in_replay_no_key_runs_anything(recording: Recording) -> None:
    app = replay(recording)
    async with app.run_test(size=(120, 40)) as pilot:
        for key in ("s", "c", "p", "space", "enter", "e", "r", "t", "i", "m", "v", "ctrl+right_square_bracket"):
            app.workbench.say("")
            await pilot.press(key)
            await wait_for(pilot, lambda: "this is a replay" in app.workbench.status_bar.text, f"the answer to {key}")
            assert app.screen is app.workbench


async def test_the_mouse_chooses_steps(recording: Recording) -> None:
    app = replay(recording)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        await pilot.click("#steps", offset=(10, 9))
        await wait_for(pilot, lambda: app.workbench.shown == 9, "step 9")
        bar = app.workbench.time_bar
        await pilot.click("#time-bar", offset=(1 + bar._column(5), 0))
        await wait_for(pilot, lambda: app.workbench.shown == 5, "step 5")
        await pilot.click("#observation-pane", offset=(5, 3))
        await wait_for(pilot, lambda: app.focused is app.workbench.observation, "the focus")


async def test_search_goes_through_steps_and_back(recording: Recording) -> None:
    app = replay(recording)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = app.workbench
        await pilot.press("slash")
        await pilot.press(*"assert 0")
        await pilot.press("enter")
        await wait_for(pilot, lambda: screen.shown == 10, "the step with the failed assertion")
        assert "1 of 1 · step 10, observation" in screen.status_bar.text
        await pilot.press("slash")
        await wait_for(pilot, lambda: app.screen is not screen, "the search line")
        await pilot.press("ctrl+u", *"baseline", "enter")
        await wait_for(pilot, lambda: screen.shown == 3, "the next step after the end")
        await pilot.press("slash")
        await wait_for(pilot, lambda: app.screen is not screen, "the search line")
        await pilot.press("ctrl+u", *"validate", "enter")
        await wait_for(pilot, lambda: screen.searching.query == "validate" and app.screen is screen, "the search")
        await pilot.press("n")
        await wait_for(pilot, lambda: "2 of " in screen.status_bar.text, "the next match here")
        await pilot.press("n")
        await wait_for(pilot, lambda: screen.shown == 9, "the next validate")
        await pilot.press("N")
        await wait_for(pilot, lambda: screen.shown == 3, "the one before")
        count = len(screen.searching.hits)
        await pilot.press("number_sign")
        await wait_for(pilot, lambda: f"/validate: {count} places" in screen_text(app), "the list of all")
        await pilot.press("G", "enter")
        await wait_for(pilot, lambda: f"{count} of {count} · step " in screen.status_bar.text, "the last")
        await pilot.press("slash")
        await wait_for(pilot, lambda: app.screen is not screen, "the search line")
        await pilot.press("ctrl+u", *"nowhere at all", "enter")
        await wait_for(pilot, lambda: "not found" in screen.status_bar.text, "the answer")


async def test_panes_by_number_tab_and_zoom(recording: Recording) -> None:
    app = replay(recording)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = app.workbench
        for key, pane in zip("12345", ("steps", "file", "proposal", "observation", "shell"), strict=True):
            await pilot.press(key)
            await wait_for(pilot, lambda pane=pane: screen.arranging.focused.id == f"{pane}-pane", pane)  # type: ignore
        await pilot.press("tab")
        await wait_for(pilot, lambda: screen.focused is screen.steps, "round to the first pane")
        await pilot.press("shift+tab")
        await wait_for(pilot, lambda: screen.focused is screen.shell_then, "back to the last pane")
        await pilot.press("2", "z")
        await wait_for(pilot, lambda: screen.file.size.width > 110, "the zoomed file")
        assert not screen.steps.is_on_screen
        await pilot.press("z")
        await wait_for(pilot, lambda: screen.file.size.width < 90, "all panes")


async def test_the_narrow_layout_has_tabs(recording: Recording) -> None:
    app = replay(recording)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = app.workbench
        await go(pilot, app, "l", "2")
        await wait_for(pilot, lambda: "return 0" in screen_text(app), "the file")
        assert "4 Observation" in screen_text(app)
        await go(pilot, app, "5")
        await wait_for(pilot, lambda: "Shell · as of step 2" in screen_text(app), "the shell")
        await pilot.resize_terminal(120, 40)
        await wait_for(pilot, lambda: screen.has_class("-normal") and screen.file.size.width > 50, "the wide layout")
        await pilot.resize_terminal(59, 20)
        await wait_for(pilot, lambda: "terminal too small" in screen_text(app), "the message")
        await pilot.resize_terminal(200, 60)
        await wait_for(pilot, lambda: screen.has_class("-wide") and "5 Shell" in screen_text(app), "the widest layout")


def test_layouts() -> None:
    assert [layout_for(*size) for size in ((59, 24), (80, 14), (60, 15), (80, 24), (99, 60))] == [
        "too-small",
        "too-small",
        "narrow",
        "narrow",
        "narrow",
    ]
    assert [layout_for(*size) for size in ((100, 30), (139, 50), (140, 40), (200, 60))] == [
        "normal",
        "normal",
        "wide",
        "wide",
    ]


async def test_a_huge_observation_is_there_at_once(tmp_path: Path) -> None:
    made = SessionBuilder(tmp_path / "s")
    made.ran("echo small", "small")
    made.ran(
        "cat huge", "\n".join(f"line {number} of a very long log, as trainings print it" for number in range(36_000))
    )
    app = replay(made.recording())
    async with app.run_test(size=(120, 40)) as pilot:
        await go(pilot, app, "0")
        began = time.process_time()
        app.workbench.go_to(2)
        app.workbench.show_step()
        spent = time.process_time() - began
        assert app.workbench.observation.line_count == 36_000
        assert spent < 1.0, "converting all of it would take many seconds"
        await pilot.press("4", "G")
        await wait_for(pilot, lambda: "line 35999" in screen_text(app), "its end")


async def test_hostile_text_is_shown_and_never_obeyed(tmp_path: Path) -> None:
    made = SessionBuilder(tmp_path / "s")
    hostile = "\x1b]52;c;ZXZpbA==\x07[bold red]not markup[/] \x9b31m \u202egnp.exe [@click=app.quit]x[/]"
    made.ran(f"echo {hostile}", hostile, thought=hostile, author="model:" + hostile)
    made.snapshot("strategy.py", hostile)
    made.window(1, 1, 1, path=f"{WORKSPACE}/strategy.py")
    made.score(None, message=hostile)
    app = replay(made.recording())
    async with app.run_test(size=(120, 40)) as pilot:
        await go(pilot, app, "$")
        for key in "2345":
            await pilot.press(key)
            text = screen_text(app)
            assert not [character for character in text if ord(character) < 32 and character != "\n"]
            assert not set(text) & {"\x9b", "\u202e"}
        assert "[bold red]not markup[/]" in screen_text(app)


async def test_foreign_sessions_show_what_was_seen(tmp_path: Path) -> None:
    events: list[ev.Event] = [
        ev.SessionStarted(seq=0, elapsed=0.0, format=1, task="titanic", source="mlgym"),
        ev.ActionProposed(seq=1, step=1, author="model:gpt", action="open a.py\n", thought="look"),
        ev.ActionFinished(seq=2, step=1, exit_code=None, observation="[File: /w/a.py (40 lines total)]\n11:x = 1"),
        ev.WindowChanged(
            seq=3, step=1, path="/w/a.py", first_line=11, last_line=12, total_lines=40, text="x = 1\ny = 2"
        ),
        ev.ActionProposed(seq=4, step=2, author="model:gpt", action="edit"),
        ev.ActionFinished(seq=5, step=2, exit_code=None, observation="edited"),
        ev.WindowChanged(
            seq=6, step=2, path="/w/a.py", first_line=11, last_line=12, total_lines=40, text="x = 1\ny = 3"
        ),
    ]
    app = replay(Recording(events, "mlgym", tmp_path / "titanic.traj"))
    async with app.run_test(size=(120, 40)) as pilot:
        screen = app.workbench
        await go(pilot, app, "$")
        assert screen.file.text == "x = 1\ny = 3" and screen.file.first == 11
        assert screen.file.marks[12].glyph == "~"
        shell = screen.shell_then.screen_text()
        assert shell.index("$ open a.py") < shell.index("11:x = 1") < shell.index("$ edit")


async def test_a_score_says_what_must_be_said_with_it_and_no_more(tmp_path: Path) -> None:
    events: list[ev.Event] = [
        ev.SessionStarted(seq=0, format=1, task="titanic", source="mlgym"),
        ev.ActionProposed(seq=1, step=1, author="model:gpt", action="validate"),
        ev.ScoreRecorded(seq=2, step=1, kind="validate", verdict="ok", score=0.5, isolation=""),
        ev.ScoreRecorded(seq=3, step=1, kind="submit", verdict="ok", score=0.7, dataset="stand-in"),
        ev.ActionFinished(seq=4, step=1, exit_code=0, observation=""),
    ]
    app = replay(Recording(events, "mlgym", tmp_path / "titanic.traj"))
    async with app.run_test(size=(120, 40)) as pilot:
        await go(pilot, app, "$")
        said = [line.strip("│ ") for line in screen_text(app).splitlines() if "▪ " in line and "score 0." in line]
        assert said[0].endswith("(test)") and said[1].endswith("(test) · data: stand-in")


async def test_a_recording_of_nothing_opens(tmp_path: Path) -> None:
    started = ev.SessionStarted(seq=0, format=1, task="battleOfSexes")
    recording = Recording([started], "mlgym-tui", tmp_path / "events.jsonl", None, ["line 2 was cut off"])
    app = replay(recording)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("l", "h", "$", "0", "2", "5", "n")
        assert app.workbench.shown == 0
        await pilot.press("y")
        assert app.return_value is None


async def test_problems_of_the_file_are_said(recording: Recording) -> None:
    recording.problems.append("line 90 was cut off while it was written")
    app = replay(recording)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(pilot, lambda: "line 90 was cut off" in app.workbench.status_bar.text, "the problem")


async def test_quitting_a_replay_asks_nothing(recording: Recording) -> None:
    app = replay(recording)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("q")
    assert app.return_value is None and app.return_code == 0


async def test_copying_takes_what_the_pane_shows(recording: Recording) -> None:
    app = replay(recording)
    async with app.run_test(size=(120, 40)) as pilot:
        await go(pilot, app, "$", "4", "y")
        assert app.clipboard == "Score: 1.441\nSubmitted."
        await pilot.press("1", "y")
        assert app.clipboard == "submit"
        await pilot.press("2", "y")
        assert app.clipboard == BETTER.rstrip("\n")


def test_changed_lines_are_found() -> None:
    old = ["a", "b", "c", "d"]
    glyphs = {line: mark.glyph for line, mark in changed_lines(old, ["a", "B", "c", "new", "d"]).items()}
    assert glyphs == {2: "~", 4: "+"}
    assert {line: mark.glyph for line, mark in changed_lines(old, ["a", "c", "d"]).items()} == {2: "▔"}
    assert changed_lines(old, old) == {}
    assert len(changed_lines([], ["x"] * 9000)) == 9000
    assert len(changed_lines([str(n) for n in range(9000)], ["x"] * 9000)) == 9000


async def test_of_a_run_without_steps_its_notes_are_shown(tmp_path: Path) -> None:
    """In logs of questions and answers the answer is one."""
    made = SessionBuilder(tmp_path / "s")
    made.add(ev.NoteAdded(author="model:m", text="The answer is no."))
    made.end("success")
    app = WorkbenchApp(RecordedSource(made.recording()))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: "• The answer is no." in screen_text(app), "the answer")
