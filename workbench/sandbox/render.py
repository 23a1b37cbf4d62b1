"""Observation text: what a terminal of the agent's size shows, with its scrollback, for the bytes that were printed.

The bytes are interpreted as they come, so neither the time for the end of a command nor the memory grows with what it
prints. Lines that the terminal wraps are one line of the text. Colours, titles and other control strings are dropped; a
string that is not closed ends with its line. What a program clears stays, with a note.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from workbench.sandbox.screen import PADDING, Screen, odd_ones
from workbench.sandbox.scrollback import Scrollback

_PLAIN = bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100)) + b"\t\n\r"
_PADDED = PADDING.encode()
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_STRING = r"\x1b[\]PX^_][^\x07\x1b\n\x18\x1a]*"
_TOKEN = re.compile(
    r"""
    ([^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+)
    | \x1b\[([0-?]*)([ -/]*)([@-~])
    | \x1b\[[0-?]*[ -/]*
    | (\x08+)
    | """
    + _STRING
    + r"""(?:\x07|\x1b\\|[\x18\x1a])?
    | \x1b([ -/]*)([0-~])?
    | ([\x00-\x1f\x7f])
    """,
    re.VERBOSE,
)
_TEXT, _SEQUENCE, _BACKSPACES, _ESCAPE, _CONTROL = 1, 4, 5, 7, 8
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*)?[ -/]*")
_UNFINISHED_STRING = re.compile(_STRING)
_STRING_END = re.compile(r"[\x07\x1b\n\x18\x1a]")
_LONGEST_SEQUENCE = 256
_ON_AT_FIRST = ("?2", "?7", "?8", "?25", "12")
"""Modes that a terminal begins with: ANSI sequences, wrapping, repeated keys, the cursor shown, no echo of its own."""
_USUAL = "\x1b[!p\x1b[?7h\x1b[?5W\x1b[ q\x1b[>4m\x1b[<9u"
"""Margins, character sets, keypad (by a soft reset), wrapping, tab stops, the cursor's shape, ways of telling keys."""
_MOST_MODES = 64


def _at_left(move: Callable[[Screen, int], None]) -> Callable[[Screen, int], None]:
    """The same move, to the first column."""

    def moved(screen: Screen, count: int) -> None:
        move(screen, count)
        screen.column = 0

    return moved


_DONE: dict[str, Callable[[Screen, int], None]] = {
    "[A": Screen.up,
    "[B": Screen.down,
    "[e": Screen.down,
    "[C": lambda screen, count: screen.go(None, screen.column + count),
    "[a": lambda screen, count: screen.go(None, screen.column + count),
    "[D": lambda screen, count: screen.go(None, screen.column - count),
    "[E": _at_left(Screen.down),
    "[F": _at_left(Screen.up),
    "[G": lambda screen, count: screen.go(None, count - 1),
    "[`": lambda screen, count: screen.go(None, count - 1),
    "[d": lambda screen, count: screen.go(count - 1, None),
    "[I": lambda screen, count: screen.go(None, (screen.column // 8 + count) * 8),
    "[Z": lambda screen, count: screen.go(None, (-(-screen.column // 8) - count) * 8),
    "[@": Screen.insert_cells,
    "[P": Screen.delete_cells,
    "[X": Screen.erase_cells,
    "[L": Screen.insert_rows,
    "[M": Screen.delete_rows,
    "[S": Screen.scroll_up,
    "[T": Screen.scroll_down,
    "7": lambda screen, count: screen.save_cursor(),
    "8": lambda screen, count: screen.restore_cursor(),
    "D": lambda screen, count: screen.line_feed(),
    "E": _at_left(lambda screen, count: screen.line_feed()),
    "M": lambda screen, count: screen.reverse_line_feed(),
    "[s": lambda screen, count: screen.save_cursor(),
    "[u": lambda screen, count: screen.restore_cursor(),
}
"""What escape and these letters do. With a bracket there may be a number: how often, how far, or where to (from 1)."""


def plain(data: bytes) -> str | None:
    """The text of `data` where a terminal shows just that; else None."""
    data = data.replace(b"\r\n", b"\n")
    if b"\r" in data or _PADDED in data or data.translate(None, _PLAIN) or not data.isascii():
        return None
    return data.decode("ascii")


class Renderer:
    """Interprets what is printed, piece by piece, however it is cut."""

    def __init__(self) -> None:
        self.screen = screen = Screen()
        self._usual: dict[str, tuple[Callable[[int], None], int]] = {
            "\x1b[A": (screen.up, 1),
            "\x1b[1A": (screen.up, 1),
            "\x1b[K": (screen.erase_line, 0),
            "\x1b[0K": (screen.erase_line, 0),
            "\x1b[2K": (screen.erase_line, 2),
        }
        """Sequences that bars consist of."""
        self._held = ""
        """The beginning of a sequence whose end has not come."""
        self._in_string = False
        self._open = False
        """The last string ended only with its line: a terminal still waits for its end."""
        self._last = ""
        """The character printed just before."""
        self._coloured = False
        self._alternate = ""
        self._modes: dict[str, bool] = {}
        """Those that are not as at first; private ones with their question mark."""
        self._unusual = False
        """Something else was set that has to be undone."""

    def feed(self, text: str) -> None:
        """Interpret what was printed next."""
        text, self._held = self._held + text, ""
        if self._in_string:
            end = _STRING_END.search(text)
            if end is None:
                return
            self._in_string, self._open = False, end[0] == "\n"
            text = text[end.start() if end[0] in "\n\x1b" else end.end() :]
        text = self._hold_back(text)
        if "\x1b[" in text:
            plainer = _COLOUR.sub("", text)
            self._coloured = self._coloured or len(plainer) < len(text)
            text = plainer
        if not self.screen.on_alternate and "\x1b[?" not in text:
            text = text.replace("\r\n", "\n")
        odd = odd_ones(text)
        if not text.encode("utf-8", "replace").translate(None, _PLAIN):
            if text:
                self._print(text, odd)
            return
        for token in _TOKEN.finditer(text):
            kind = token.lastindex
            if kind == _TEXT:
                self._print(token[0], odd)
                continue
            self.screen.settle()
            if kind is None:
                self._open = not token[0].endswith(("\x07", "\x1b\\", "\x18", "\x1a"))
                continue
            if kind == _SEQUENCE:
                if usual := self._usual.get(token[0]):
                    usual[0](usual[1])
                else:
                    self._sequence(token[2], token[3], token[4])
            elif kind == _BACKSPACES:
                self.screen.back(len(token[0]))
            elif kind == _ESCAPE:
                self._escape(token[6], token[7])
            elif kind == _CONTROL:
                self._control(token[0])
            self._last = ""

    def text(self) -> Scrollback:
        """All that was printed, up to now."""
        return self.screen.text()

    def _hold_back(self, text: str) -> str:
        """`text` without the beginning of a sequence, or the half of a line's end, at its end."""
        at = text.rfind("\x1b")
        if at >= 0 and _UNFINISHED.fullmatch(text, at):
            self._held = text[at : at + _LONGEST_SEQUENCE]
        elif at >= 0 and _UNFINISHED_STRING.fullmatch(text, at):
            self._in_string = True
        elif text.endswith("\r"):
            self._held, at = "\r", len(text) - 1
        else:
            return text
        return text[:at]

    def _print(self, text: str, odd: str) -> None:
        self.screen.lines(text, odd)
        self._last = text[-1]

    def _control(self, character: str) -> None:
        if character in "\v\f":
            self.screen.line_feed()
        elif character in "\x0e\x0f":
            self.screen.shifted = int(character == "\x0e")
            self._unusual = self._unusual or character == "\x0e"
        elif character not in "\x00\x07\x7f\x1b":
            self.screen.mark(character)

    def _escape(self, between: str, letter: str) -> None:
        screen = self.screen
        self._unusual = self._unusual or (between + letter != "(B" and letter not in "78MDE>c\\")
        if between in ("(", ")"):
            screen.drawing[between == ")"] = letter == "0"
        elif between:
            return
        elif letter in _DONE:
            _DONE[letter](screen, 1)
        elif letter == "c":
            screen.leave_alternate(cursor=False)
            screen.soft_reset()
            screen.erase_screen(2)
            screen.go(0, 0)
            self._modes.clear()
            self._unusual = False

    def _sequence(self, parameters: str, between: str, final: str) -> None:
        private = parameters[:1] if parameters[:1] in ("?", ">", "<", "=") else ""
        if final in "hl" and not between and private in ("", "?"):
            for mode in parameters.removeprefix("?").split(";")[:_MOST_MODES]:
                self._mode(private + mode, final == "h")
            return
        if private or between or final in "rgW":
            self._unusual = True
        if private or between:
            if (between, final) == ("!", "p"):
                self.screen.soft_reset()
            return
        numbers = [int(number[:5] or 0) for number in parameters.replace(":", ";").split(";")]
        first, second = numbers[0], numbers[1] if len(numbers) > 1 else 0
        if final == "J":
            self.screen.erase_screen(first)
        elif final == "K":
            self.screen.erase_line(first)
        elif f"[{final}" in _DONE:
            _DONE[f"[{final}"](self.screen, max(1, first))
        elif final in "Hf":
            self.screen.go(max(1, first) - 1, max(1, second) - 1)
        elif final == "r":
            self.screen.region(max(1, first) - 1, (second or 9999) - 1)
        elif final == "b" and self._last.isprintable():
            self.screen.print(self._last * min(max(1, first), self.screen.room), self._last)

    def _mode(self, mode: str, on: bool) -> None:
        screen = self.screen
        if mode in ("?47", "?1047", "?1049"):
            if on:
                screen.enter_alternate()
                self._alternate = mode
            else:
                screen.leave_alternate(cursor=mode == "?1049")
            return
        if mode == "?1048":
            screen.save_cursor() if on else screen.restore_cursor()
            return
        if mode == "?6":
            screen.origin = on
            screen.go(0, 0)
            self._unusual = True
            return
        if mode == "?7":
            screen.wraps = on
        elif mode == "4":
            screen.inserts = on
        if on == (mode in _ON_AT_FIRST):
            self._modes.pop(mode, None)
        elif len(self._modes) < _MOST_MODES and mode.removeprefix("?").isdecimal():
            self._modes[mode] = on

    def undo(self) -> bytes:
        """What puts a terminal that was sent all this into its usual state, for whoever comes next."""
        parts = ["\x18"] if self._open or self._in_string or self._held.startswith("\x1b") else []
        if self._modes.pop("?2", True) is False:
            parts.append("\x1b<")  # first: a VT52 does not know the others
        if self.screen.on_alternate:
            parts.append(f"\x1b[{self._alternate}l")
        parts += [f"\x1b[{mode}{'l' if on else 'h'}" for mode, on in self._modes.items()]
        if self._unusual:
            parts.append(_USUAL)
        if self._coloured:
            parts.append("\x1b[m")
        return "".join(parts).encode()
