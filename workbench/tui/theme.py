"""The two themes of the workbench: blue against orange, so that no meaning hangs on telling red from green.

Colours are from Okabe and Ito's palette, brightened or darkened for their background. Every state has a glyph and a
word as well.
"""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="mlgym-dark",
    primary="#6cb6f0",
    secondary="#8f9fb3",
    accent="#c9a0dc",
    success="#58bfc4",
    warning="#e8a33d",
    error="#f0793e",
    foreground="#d3d9e3",
    background="#12161d",
    surface="#171c25",
    panel="#212834",
    dark=True,
    variables={
        "border": "#6cb6f0",
        "border-blurred": "#323c4c",
        "input-selection-background": "#6cb6f0 30%",
        "scrollbar": "#323c4c",
        "scrollbar-hover": "#46546a",
        "scrollbar-active": "#6cb6f0",
        "scrollbar-background": "#12161d",
        "scrollbar-background-hover": "#12161d",
        "scrollbar-background-active": "#12161d",
        "scrollbar-corner-color": "#12161d",
    },
)

LIGHT = Theme(
    name="mlgym-light",
    primary="#00629b",
    secondary="#57636f",
    accent="#8a4a86",
    success="#006d77",
    warning="#a45f00",
    error="#b84500",
    foreground="#1e252d",
    background="#fbfaf7",
    surface="#f3f1ec",
    panel="#e6e3db",
    dark=False,
    variables={
        "border": "#00629b",
        "border-blurred": "#c9c4b8",
        "input-selection-background": "#00629b 25%",
        "scrollbar": "#cfcabf",
        "scrollbar-hover": "#b5afa2",
        "scrollbar-active": "#00629b",
        "scrollbar-background": "#fbfaf7",
        "scrollbar-background-hover": "#fbfaf7",
        "scrollbar-background-active": "#fbfaf7",
        "scrollbar-corner-color": "#fbfaf7",
    },
)

THEMES = (DARK, LIGHT)
