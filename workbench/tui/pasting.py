"""What of a paste a field takes: nothing is cut without a word, and nothing reaches the terminal as it came."""

from __future__ import annotations

from textual.widget import Widget
from textual.widgets import Input, TextArea

from workbench.text import many
from workbench.tui.actions import keyed
from workbench.tui.text import printable

_LINE_MOST = 10_000
"""Characters of a field of one line, and of a line of a text: longer ones are drawn too slowly to type on."""
_TEXT_MOST = 200_000


def fit_paste(text: str, focused: Widget | None, *, at_home: bool) -> tuple[str, str]:
    """What is given to the widget with the focus, and what the person is told; each may be empty."""
    if isinstance(focused, Input):
        return _in_a_line(text)
    if isinstance(focused, TextArea):
        longest = max(map(len, text.splitlines()), default=0)
        if len(text) > _TEXT_MOST or longest > _LINE_MOST:
            allowed = f"{_TEXT_MOST:,} in all, {_LINE_MOST:,} in a line"
            return "", f"nothing was pasted: {many(len(text), 'character')} are too many here ({allowed})"
        return text, ""
    takes = "{home.filter} filters" if at_home else "{session.message} is for the agent, {session.edit} for its action"
    return text, keyed(f"nothing here takes a paste: {takes}")


def _in_a_line(text: str) -> tuple[str, str]:
    lines = [line for line in text.replace("\t", " ").splitlines() if line.strip()]
    joined = " ".join(lines)
    if len(joined) > _LINE_MOST:
        return "", f"nothing was pasted: {many(len(joined), 'character')} are too many for a line ({_LINE_MOST:,})"
    plain = "".join(character for character in joined if printable(character) == character)
    said = [
        f"{many(len(lines), 'line')} as one" if len(lines) > 1 else "",
        f"without {many(len(joined) - len(plain), 'control character')}" if plain != joined else "",
    ]
    return plain, f"pasted {', '.join(filter(None, said))}" if any(said) else ""
