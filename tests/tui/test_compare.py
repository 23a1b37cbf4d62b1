"""The compare screen: runs side by side, by keyboard alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.tui.sessions import SessionBuilder
from tests.tui.support import screen_text, wait_for
from workbench.session import events as ev
from workbench.session.state import fold
from workbench.tui.diffs import shown, step_changes
from workbench.tui.screens.compare import CompareApp, CompareScreen
from workbench.tui.screens.help import HelpScreen
from workbench.tui.widgets.line_view import LineView
from workbench.tui.widgets.row_list import width_of


def session(folder: Path, last: str, text: str, score: float) -> Path:
    made = SessionBuilder(folder)
    made.ran("ls", "strategy.py")
    made.ran(last, f"all is well\n{text}", thought="I look around.")
    made.snapshot("strategy.py", f"# {text}\n")
    made.ran("validate", "scored")
    made.score(score)
    made.end()
    made.recording()
    return folder


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=str)
async def test_two_runs_side_by_side(tmp_path: Path, size: tuple[int, int]) -> None:
    app = CompareApp([session(tmp_path / "a", "cat a", "one", 0.5), session(tmp_path / "b", "cat b", "two", 0.7)])
    async with app.run_test(size=size) as pilot:
        await wait_for(pilot, lambda: "first difference, in steps 2 and –" in screen_text(app), "the runs")
        screen = app.screen
        assert isinstance(screen, CompareScreen)
        assert screen.rows.cursor == 1 and "$ cat a" in screen_text(app)
        await pilot.press("j")
        await wait_for(pilot, lambda: "$ cat b" in screen_text(app), "the row of the other run")
        await pilot.press("2")
        await wait_for(pilot, lambda: "all is well" in screen_text(app), "its observation")
        await pilot.press("j", "3")
        await wait_for(pilot, lambda: "      1 + # two" in screen_text(app), "the files that differ")
        assert "    1       - # one" in screen_text(app)
        await pilot.press("4")
        await wait_for(pilot, lambda: "minutes" in screen_text(app), "the plot")
        await pilot.press("X")
        assert screen.rows.cursor == 2
        await pilot.press("question_mark")
        await wait_for(pilot, lambda: "j k scroll · esc leaves" in screen_text(app), "the help")
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is screen, "the runs again")
        await pilot.press("escape")
    assert app.return_code == 0


def _shown(app: CompareApp, texts: tuple[str, ...]) -> bool:
    return all(text in screen_text(app) for text in texts)


async def test_of_three_runs_two_are_picked(tmp_path: Path) -> None:
    texts = ("one", "two", "three")
    app = CompareApp([session(tmp_path / text, "cat", text, 0.5) for text in texts])
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(pilot, lambda: isinstance(app.screen, CompareScreen) and app.screen.compared, "the runs")
        await pilot.press("G", "3")
        for said in (
            ("files of A and B", "- # one", "+ # two"),
            ("files of A and C", "- # one", "+ # three"),
            ("files of B and C", "- # two", "+ # three"),
        ):
            await wait_for(pilot, partial(_shown, app, said), said[0])
            await pilot.press("p")


async def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    app = CompareApp([tmp_path / "no", session(tmp_path / "b", "ls", "two", 0.7)])
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: str(tmp_path)[:20] in screen_text(app), "why not")


async def test_of_what_holds_no_session_it_is_said_what_can_be_opened(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    app = CompareApp([tmp_path / "empty", session(tmp_path / "b", "ls", "two", 0.7)])
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: "and asciinema" in " ".join(screen_text(app).split()), "what can be opened")


async def test_its_help_names_no_key_that_steers_a_session(tmp_path: Path) -> None:
    app = CompareApp([session(tmp_path / "a", "ls", "one", 0.5)] * 2)
    async with app.run_test(size=(100, 40)) as pilot:
        await wait_for(pilot, lambda: isinstance(app.screen, CompareScreen) and app.screen.compared, "the runs")
        await pilot.press("question_mark")
        await wait_for(pilot, lambda: isinstance(app.screen, HelpScreen), "the help")
        said = app.screen.query_one("#text", LineView).text
        assert "The next two runs" in said and "Down a line" in said and "Let the agent go on" not in said


async def test_wide_characters_keep_the_columns(tmp_path: Path) -> None:
    paths = [
        session(tmp_path / name, action, "one", 0.5) for name, action in (("a", "echo " + "漢字" * 30), ("b", "ls"))
    ]
    app = CompareApp(paths)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: "漢" in screen_text(app), "the runs")
        assert isinstance(app.screen, CompareScreen)
        for row in range(app.screen.rows.row_count):
            assert width_of(app.screen.rows.row_pieces(row, 80)) == 80


async def test_a_screen_that_opens_at_the_very_end_is_no_failure(tmp_path: Path) -> None:
    app = CompareApp([session(tmp_path / "a", "ls", "one", 0.5)] * 2)
    async with app.run_test() as pilot:
        await wait_for(pilot, lambda: isinstance(app.screen, CompareScreen), "the runs")
        app.push_screen(HelpScreen())
    assert app.return_code != 1


async def test_it_looks_as_its_user_wants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "mlgym-tui").mkdir(parents=True)
    (tmp_path / "config" / "mlgym-tui" / "config.yaml").write_text("theme: mlgym-safe\n")
    assert CompareApp([]).theme == "mlgym-safe"


def test_of_many_files_all_are_named() -> None:
    changes = [ev.FileChange(path=f"f{number:03}", kind="added") for number in range(70)]
    snapshot = ev.WorkspaceSnapshot(step=1, tree="t", changes=changes)
    state = fold(
        [ev.SessionStarted(format=1, task="t"), ev.ActionProposed(step=1, author="model:m", action="x"), snapshot]
    )
    lines = [str(line) for line in shown(step_changes(state, lambda path, step: b"x", 1))]
    assert "20 more: their lines are not shown" in lines
    assert [line.strip("()") for line in lines[-20:]] == [f"f{number:03}" for number in range(50, 70)]
