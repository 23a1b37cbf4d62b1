"""What a person's configuration says of the screen: the theme, the keys. Checked before anything is drawn."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from textual.keys import Keys, _character_to_key

from workbench import config
from workbench.errors import WorkbenchError
from workbench.text import did_you_mean
from workbench.tui.actions import ACTIONS, ANALYSIS, AT_HOME_TOO, BY_ID, COMPARE, DIALOG, HOME, KEY_NAMES, use_keys
from workbench.tui.theme import DARK, THEMES
from workbench.yamlfile import Place

_NONE = "none"
_MODIFIERS = {"ctrl", "alt", "shift"}
_NAMED = {key.value for key in Keys if "<" not in key.value and "+" not in key.value}
_CHARACTERS = {_character_to_key(chr(code)) for code in range(0x20, 0x7F)}
_SHOWN = {shown: key for key, shown in KEY_NAMES.items()}

_NEEDED = ("session.release", "app.leave", "dialog.leave", "dialog.accept", "dialog.send")
"""Without a key for them nobody would get out again."""
_WHILE_TYPING = (*_NEEDED, "dialog.line", "dialog.tell")
"""They have their keys while a text is typed, whose characters those must not be."""


def theme_names() -> list[str]:
    """Ours first, then those of Textual."""
    from textual.theme import BUILTIN_THEMES

    return [*(own.name for own in THEMES), *sorted(BUILTIN_THEMES)]


def default_theme() -> str:
    """Without colours, the terminal's own, which are then filtered out."""
    return DARK.name if os.environ.get("NO_COLOR") is None else "ansi-dark"


def use() -> config.Settings:
    """Have the keys be as the configuration says, and return all of it. Raises WorkbenchError."""
    said = config.settings(check)
    problem = "" if said.theme is None else _theme_fault(said.theme)
    if problem:
        raise WorkbenchError(f"$TEXTUAL_THEME is {said.theme!r}: {problem}", "`mlgym-tui config themes` lists them", 2)
    use_keys({ident: _keys(keys) for ident, keys in said.keys.items()})
    return said


def check(said: config.Settings) -> Iterator[tuple[Place, str]]:
    """What no single field can say: themes and actions that there are not, keys that mean two things."""
    if said.theme is not None and (problem := _theme_fault(said.theme)):
        yield ("theme",), problem
    mine: dict[str, tuple[str, ...]] = {}
    for ident, keys in said.keys.items():
        problem = _keys_fault(ident, keys)
        if problem:
            yield ("keys", ident), problem
        else:
            mine[ident] = _keys(keys)
    for ident, pressed in mine.items():
        for key in pressed:
            other = _clash(ident, key, mine)
            if other and (other not in mine or other > ident):  # of two, it is said once
                yield (
                    ("keys", ident),
                    f"{KEY_NAMES.get(key, key)} is the key of {other} already: give that one another, too",
                )


def _theme_fault(name: str) -> str:
    names = theme_names()
    return "" if name in names else f"there is no theme {name!r}; {did_you_mean(name, names)}"


def _keys(text: str) -> tuple[str, ...]:
    """Keys as people write them, by Textual's names; none for `none`. What is no key is left out."""
    return () if text.strip() == _NONE else tuple(filter(None, map(_key, text.split())))


def _key(written: str) -> str:
    """`?`, `ctrl+]` or `shift+←` as Textual names it; empty where it is no key."""
    *held, last = [written] if len(written) == 1 else re.split(r"\+(?=.)", written)
    last = _SHOWN.get(last, last)
    last = _character_to_key(last) if len(last) == 1 else last
    if held == ["shift"] and len(last) == 1:
        return last.upper()
    known = last in _NAMED or last in _CHARACTERS
    return "+".join([*sorted(held), last]) if known and set(held) <= _MODIFIERS else ""


def _keys_fault(ident: str, text: str) -> str:
    if ident not in BY_ID or ident == "alternatives.number":
        import difflib  # only where somebody erred

        near = difflib.get_close_matches(ident, BY_ID, 1)
        return f"is no action's id; {f'did you mean {near[0]!r}?' if near else '`mlgym-tui config keys` lists them'}"
    if not text.split():
        return f"names no key; write {_NONE} for none"
    if text.strip() == _NONE and ident in _NEEDED:
        return "needs a key: without one nobody gets out again"
    for written in text.split() if text.strip() != _NONE else ():
        key = _key(written)
        if not key:
            return f"there is no key {written!r}; write it as x, ?, enter, f5, ctrl+x or shift+left"
        if ident in _WHILE_TYPING and key in _CHARACTERS:
            return f"{written!r} is typed in texts; take one with ctrl, or a function key"
    return ""


def _places() -> list[set[str]]:
    """The actions whose keys are heard together."""

    def of(*groups: str, also: tuple[str, ...] = ()) -> set[str]:
        return {action.id for action in ACTIONS if action.group in groups or action.id in also}

    def named(*rooms: str) -> set[str]:
        return {action.id for action in ACTIONS if action.id.partition(".")[0] in rooms}

    lines = {action.id for action in ACTIONS if action.id.startswith("lines.")}
    leave = {"dialog.leave", "app.leave"}
    return [
        {action.id for action in ACTIONS if action.group not in (HOME, DIALOG, COMPARE, ANALYSIS)},
        of(HOME, also=AT_HOME_TOO) | lines,
        of(COMPARE, also=("app.help",)) | leave | lines,
        of(ANALYSIS, also=("app.help",)) | leave | lines,
        named("hits", "breakpoints") | leave | lines,
        named("alternatives") | leave | {each for each in lines if "page" in each},
        {"dialog.yes", "dialog.no", *leave},
        {*_WHILE_TYPING} - {"session.release", "dialog.accept"},
        {*_WHILE_TYPING} - {"session.release", "dialog.send", "dialog.line"},
    ]


def _clash(ident: str, key: str, mine: dict[str, tuple[str, ...]]) -> str:
    """Another action that has the key where this one is heard, and did not share it before."""
    for place in _places():
        for other in place if ident in place else ():
            before = set(BY_ID[ident].keys) & set(BY_ID[other].keys)
            if other != ident and key in mine.get(other, BY_ID[other].keys) and key not in before:
                return other
    return ""
