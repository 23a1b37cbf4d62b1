"""Syntax colours for whole files, one list of spans per line, remembered by content.

A window of a file cannot be coloured on its own: it may begin inside a string. So the whole file is lexed once (in a
worker, 160 ms for 5,000 lines), and views take the lines they show.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, NamedTuple

from textual.cache import LRUCache

from workbench.tui.text import printable, split_lines

MAX_CHARACTERS = 1_000_000
"""Longer texts stay uncoloured."""
AT_ONCE = 8_000
"""Texts up to this many characters are coloured without a worker (about 5 ms)."""


class StyledSpan(NamedTuple):
    """Characters `start` to `end` of a line, and a style of Textual's markup such as `bold $text-accent`."""

    start: int
    end: int
    style: str


SpansByLine = list[list[StyledSpan]]

_LANGUAGES = {
    ".py": "python", ".sh": "bash", ".json": "json", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml",
    ".md": "markdown", ".c": "c", ".h": "c", ".cpp": "cpp", ".js": "javascript", ".ini": "ini", ".cfg": "ini",
}  # fmt: skip
"""Of the files that agents open most: to look for a lexer by its file name, all of several hundred are gone through."""
_loaded: set[str] = set()

_cache: LRUCache[tuple[str, str], SpansByLine] = LRUCache(16)


def remembered(text: str, path: str) -> SpansByLine | None:
    """The spans when this text was highlighted before."""
    return _cache.get((text, path))


def quick(path: str) -> bool:
    """Whether the lexer is loaded: its first text takes 100 ms more, and is for a worker however short it is."""
    return PurePosixPath(path).suffix in _loaded


def highlight_lines(text: str, path: str) -> SpansByLine:
    """Spans for each line, as `split_lines` cuts it. Offsets count characters of the line, a tab being one.

    A file of an unknown language has no spans. Can be called in a thread.
    """
    found = remembered(text, path)
    if found is None:
        found = _cache[text, path] = _lex([printable(line) for line in split_lines(text)], path)
    return found


def _lex(lines: list[str], path: str) -> SpansByLine:
    from pygments.lexers import get_lexer_by_name, get_lexer_for_filename
    from pygments.util import ClassNotFound
    from textual.highlight import HighlightTheme

    suffix = PurePosixPath(path).suffix
    _loaded.add(suffix)
    spans: SpansByLine = [[] for _ in lines]
    try:
        options: dict[str, Any] = {"stripnl": False, "ensurenl": False, "tabsize": 0}
        language = _LANGUAGES.get(suffix, "")
        lexer = get_lexer_by_name(language, **options) if language else get_lexer_for_filename(path, **options)
    except ClassNotFound:
        return spans
    styles = HighlightTheme.STYLES
    row = column = 0
    for token_type, token in lexer.get_tokens("\n".join(lines)):
        kind: Any = token_type
        while kind is not None and kind not in styles:
            kind = kind.parent
        style = styles[kind] if kind is not None else ""
        for index, part in enumerate(token.split("\n")):
            if index:
                row, column = row + 1, 0
            if part and style and row < len(spans):
                spans[row].append(StyledSpan(column, column + len(part), style))
            column += len(part)
    return spans
