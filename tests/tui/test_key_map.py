"""Keys of a person's own: they do what they are given for, and are shown wherever a key is shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tui.test_workbench import opened
from workbench.errors import WorkbenchError
from workbench.tui.actions import use_keys
from workbench.tui.app import WorkbenchApp
from workbench.tui.screens.dialogs import Write
from workbench.tui.screens.help import HelpScreen

KEYS = """
theme: textual-light
keys:
  session.run: x
  go.failure: ctrl+n
  session.message: f5
  session.reject: none
  dialog.send: f2
  session.release: f12
  app.help: K
"""


@pytest.fixture(autouse=True)
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    file = tmp_path / "config" / "mlgym-tui" / "config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(KEYS)
    yield file
    use_keys({})


async def test_an_action_has_its_new_key_and_not_the_old_one(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one", "echo two"]) as on:
        await on.review(1)
        await on.shows("x run")
        await on.press("enter", "r", "m", "question_mark", "x")
        await on.review(2)  # of these only the last does anything
        assert on.app.screen is on.screen and on.state.steps[1].status == "ran"
        await on.press("f5", *"xK", "enter")
        await on.until(lambda: isinstance(on.app.screen, Write), "the message")
        await on.shows("f2 send")
        await on.press("f2")
        await on.until(lambda: bool(on.state.steps[2].messages), "it is sent")
        assert on.state.steps[2].messages[0].text == "xK"


async def test_the_help_and_the_palette_show_it(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one"]) as on:
        await on.review(1)
        await on.press("K")
        await on.until(lambda: isinstance(on.app.screen, HelpScreen), "the help")
        await on.shows("  x                   Run the proposed action")
        await on.press("escape", "ctrl+p", *"Run the proposed")
        await on.shows("Run the proposed action  (x)")


async def test_the_shell_is_given_back_by_it(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one"]) as on:
        await on.review(1)
        await on.press("t")
        await on.shows("f12 gives the shell back")
        await on.press("f12")
        await on.until(lambda: not on.screen.taken_over, "the workbench")


def test_a_clash_or_a_theme_that_is_not_there_is_said_before_anything_is_drawn(
    configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured.write_text("keys: {session.run: e}")
    with pytest.raises(WorkbenchError, match=r"line 1: keys.session.run: e is the key of session.edit already"):
        WorkbenchApp()
    configured.write_text("")
    monkeypatch.setenv("TEXTUAL_THEME", "mauve")
    with pytest.raises(WorkbenchError, match=r"\$TEXTUAL_THEME is 'mauve': there is no theme"):
        WorkbenchApp()


def test_the_theme_is_the_one_of_the_file_unless_a_variable_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert WorkbenchApp().theme == "textual-light"
    monkeypatch.setenv("TEXTUAL_THEME", "nord")
    assert WorkbenchApp().theme == "nord"
