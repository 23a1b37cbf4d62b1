"""Themes: told apart by everybody, chosen by the palette, and selection seen without colours."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from textual.color import Color
from textual.theme import Theme
from textual.widgets import OptionList

from tests.tui.sessions import battle
from tests.tui.support import screen_text, wait_for
from workbench.tui.app import WorkbenchApp
from workbench.tui.source import RecordedSource
from workbench.tui.theme import SAFE, SAFE_LIGHT, THEMES

_SEEN_AS = {
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red": ((0.1523, 1.0526, -0.2049), (0.1145, 0.7863, 0.0992), (-0.0039, -0.0481, 1.0520)),
    "no green": ((0.3673, 0.8606, -0.2280), (0.2801, 0.6725, 0.0474), (-0.0118, 0.0429, 0.9689)),
    "no blue": ((1.2555, -0.0767, -0.1788), (-0.0784, 0.9308, 0.1476), (0.0047, 0.6914, 0.3039)),
}
"""Linear RGB as it is seen, after Machado, Oliveira and Fernandes (2009)."""
_APART = 30
"""Distance in CIELAB. 2 are just seen to differ side by side; over 20, colours have other names."""


def linear(colour: str | None) -> list[float]:
    assert colour is not None
    shares = (channel / 255 for channel in Color.parse(colour).rgb)
    return [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]


def lab(colour: str | None, seen_as: str) -> tuple[float, float, float]:
    seen = linear(colour)
    red, green, blue = (
        min(1.0, max(0.0, sum(a * b for a, b in zip(row, seen, strict=True)))) for row in _SEEN_AS[seen_as]
    )
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883
    fx, fy, fz = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


@pytest.mark.parametrize("seen_as", _SEEN_AS)
@pytest.mark.parametrize("theme", [SAFE, SAFE_LIGHT], ids=lambda theme: theme.name)
def test_colours_that_say_something_stay_apart_for_everybody(theme: Theme, seen_as: str) -> None:
    said = (theme.primary, theme.success, theme.warning, theme.error, theme.accent)
    for one, other in combinations(said, 2):
        apart = sum((a - b) ** 2 for a, b in zip(lab(one, seen_as), lab(other, seen_as), strict=True)) ** 0.5
        assert apart > _APART, (one, other)


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_text_stands_out_from_its_background(theme: Theme) -> None:
    def light(colour: str | None) -> float:
        red, green, blue = linear(colour)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05

    for colour in (theme.primary, theme.secondary, theme.success, theme.warning, theme.error, theme.foreground):
        brighter, darker = sorted((light(colour), light(theme.background)), reverse=True)
        assert brighter / darker >= 4.5, colour


def highlighted(app: WorkbenchApp) -> str:
    """The first and only line of the palette."""
    found = app.screen.query(OptionList)
    options = found.first().options if found else []
    return str(options[0].prompt) if len(options) == 1 and found.first().highlighted == 0 else ""


async def test_a_theme_is_chosen_in_the_palette(tmp_path: Path) -> None:
    app = WorkbenchApp(RecordedSource(battle(tmp_path / "s").recording()))
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(pilot, lambda: "1 Steps" in screen_text(app), "the workbench")
        await pilot.press("ctrl+p", *"choose a theme")
        await wait_for(pilot, lambda: highlighted(app) == "Choose a theme", "the action")
        await pilot.press("enter")
        await wait_for(pilot, lambda: "Search for themes" in screen_text(app), "the themes")
        await pilot.press(*"safe-light")
        await wait_for(pilot, lambda: highlighted(app) == "mlgym-safe-light", "the theme in the list")
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.theme == "mlgym-safe-light", "the theme")
        await wait_for(pilot, lambda: "`theme: mlgym-safe-light` in config.yaml keeps it" in screen_text(app), "how")


async def test_what_is_chosen_is_seen_without_colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = WorkbenchApp(RecordedSource(battle(tmp_path / "s").recording()))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: "┏━ 1 Steps" in screen_text(app), "the pane with the focus")
        assert screen_text(app).count("▌") == 1, "the row under the cursor"
        await pilot.press("ctrl+p")
        await wait_for(pilot, lambda: "Previous step" in screen_text(app), "the palette")

        def underlined() -> list[str]:
            strips = app.screen._compositor.render_strips()
            return [part.text for strip in strips for part in strip if part.style and part.style.underline]

        await wait_for(pilot, lambda: any("alternatives" in text for text in underlined()), "the first action")
        await pilot.press("down")
        await wait_for(pilot, lambda: not any("alternatives" in text for text in underlined()), "another")
        assert any(text.strip() for text in underlined())
