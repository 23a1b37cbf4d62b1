"""The themes of the workbench. Every state has a glyph and a word as well as a colour.

`mlgym-dark` and `mlgym-light` have Okabe and Ito's colours, brightened or darkened for their background: blue against
orange. In `mlgym-safe` and `mlgym-safe-light` any two colours that say something stay apart for every kind of colour
blindness, by hue or by lightness.
"""

from __future__ import annotations

from typing import Any

from textual.theme import Theme

_NAMES = ("mlgym-dark", "mlgym-light", "mlgym-safe", "mlgym-safe-light")
_COLOURS = {
    "primary": ("#6cb6f0", "#00629b", "#8daddd", "#05206f"),
    "secondary": ("#8f9fb3", "#57636f", "#9aa4b2", "#565d66"),
    "accent": ("#c9a0dc", "#8a4a86", "#d334fc", "#b208fb"),
    "success": ("#58bfc4", "#006d77", "#15f9c9", "#14828b"),
    "warning": ("#e8a33d", "#a45f00", "#eabf32", "#7f7701"),
    "error": ("#f0793e", "#b84500", "#ef6261", "#5e140f"),
    "foreground": ("#d3d9e3", "#1e252d", "#e6eaf0", "#14181d"),
    "background": ("#12161d", "#fbfaf7", "#0c0f14", "#ffffff"),
    "surface": ("#171c25", "#f3f1ec", "#12161d", "#f6f6f6"),
    "panel": ("#212834", "#e6e3db", "#1e2530", "#e8e8e8"),
    "blurred": ("#323c4c", "#c9c4b8", "#3a4557", "#bcbcbc"),
    "hover": ("#46546a", "#b5afa2", "#536178", "#9c9c9c"),
    "selection": ("30%", "25%", "35%", "25%"),
}
"""Those of each theme, in the order of the names. `blurred` is for borders without the focus and for scrollbars;
`selection` is how much of the primary colour lies over what is selected.
"""


def _theme(place: int) -> Theme:
    colours: dict[str, Any] = {use: of_themes[place] for use, of_themes in _COLOURS.items()}
    primary, background = colours["primary"], colours["background"]
    blurred, hover, selection = (colours.pop(use) for use in ("blurred", "hover", "selection"))
    variables = {
        "border": primary,
        "border-blurred": blurred,
        "input-selection-background": f"{primary} {selection}",
        "scrollbar": blurred,
        "scrollbar-hover": hover,
        "scrollbar-active": primary,
        "scrollbar-background": background,
        "scrollbar-background-hover": background,
        "scrollbar-background-active": background,
        "scrollbar-corner-color": background,
    }
    return Theme(_NAMES[place], **colours, dark="light" not in _NAMES[place], variables=variables)


DARK, LIGHT, SAFE, SAFE_LIGHT = THEMES = tuple(map(_theme, range(len(_NAMES))))
