"""Marks in the shell's output that tell where a command begins and ends (OSC 133, 633;E), and how to find them.

A mark counts only with `aid=` a nonce that the host made: six letters that are new for each shell, and twelve (72 bits)
that are new for each step. Looking for the first part alone keeps the search one `bytes.find`, however much is printed.
"""

from __future__ import annotations

import binascii
import re
import secrets
from collections.abc import Iterator

import msgspec

_LONGEST_MARK = 256 << 10
"""Bytes held back at most while waiting for the end of a mark: a person's command may be pasted text."""

_MARK = re.compile(
    rb"\x1b\](?:133;(?P<kind>[ABCD])(?:;(?P<status>-?\d{1,10}))?|633;(?P<line>E);(?P<text>[^\x07\x1b]*))"
    rb";aid=(?P<aid>[A-Za-z0-9]{18})"
    rb"(?:;cwd=(?P<cwd>[^\x07\x1b]*?))?(?:;pid=(?P<pid>\d{1,10}))?\x07"
)
_OPENERS = (b"\x1b]133;", b"\x1b]633;E;")


class Mark(msgspec.Struct, frozen=True):
    """One mark. `kind`: A and B around a prompt, C a command starts, D it is over, E the text of a person's command."""

    kind: str
    nonce: str
    status: int | None = None
    cwd: str | None = None
    text: str = ""
    pid: int | None = None


_NO_SIGNS = bytes.maketrans(b"+/=", b"xyz")


class NonceSource:
    """Nonces of one shell."""

    def __init__(self) -> None:
        self.prefix = _letters(4)[:6]

    def new(self) -> str:
        """18 letters and digits, never given before."""
        return self.prefix + _letters(9)


def _letters(size: int) -> str:
    """So many random bytes, as letters and digits (the two other characters of base64 are given to letters)."""
    return binascii.b2a_base64(secrets.token_bytes(size), newline=False).translate(_NO_SIGNS).decode("ascii")


class MarkScanner:
    """Splits the shell's output into plain bytes and marks, whatever way it is cut into pieces.

    `trace` is the nonce of the running step: where it turns up outside a mark, the shell is showing our own wrapper
    (`set -x`, `set -v`, a DEBUG trap), and that line and what follows it up to the next mark is left out.
    """

    def __init__(self, prefix: str) -> None:
        self._needle = prefix.encode("ascii")
        self._held = b""
        self._muted = False
        self.trace = ""

    def feed(self, data: bytes) -> Iterator[bytes | Mark]:
        """The parts of `data` (and of what was held back) in order; an unfinished mark at its end waits for more."""
        if self._held:
            data, self._held = self._held + data, b""
        start = 0
        found = data.find(self._needle)
        while found >= 0:
            opener = max(data.rfind(opener, start, found) for opener in _OPENERS)
            match = _MARK.match(data, opener) if opener >= 0 else None
            if match is not None and match.start("aid") == found:
                if opener > start and not self._muted:
                    yield data[start:opener]
                start = match.end()
                self._muted = False
                yield _mark(match)
            elif opener >= 0 and b"\x07" not in data[opener:] and len(data) - opener < _LONGEST_MARK:
                break  # cut inside the mark
            elif self.trace and data.startswith(self.trace.encode("ascii"), found) and not self._muted:
                line = data.rfind(b"\n", start, found) + 1
                if line > start:
                    yield data[start:line]
                start = found
                self._muted = True
            found = data.find(self._needle, max(start, found + 1))
        end = self._unfinished(data, start)
        if end > start and not self._muted:
            yield data[start:end] if start or end < len(data) else data
        self._held = data[end:]

    def flush(self) -> bytes:
        """What was held back; to be called when nothing more comes."""
        held, self._held = self._held, b""
        self._muted = False
        return held

    @staticmethod
    def _unfinished(data: bytes, start: int) -> int:
        """Where a mark that `data` does not hold to its end begins; else the end of `data`."""
        escape = data.rfind(b"\x1b", max(start, len(data) - _LONGEST_MARK))
        if escape < 0 or data.find(b"\x07", escape) >= 0:
            return len(data)
        tail = data[escape : escape + 8]
        if any(tail.startswith(opener) or opener.startswith(tail) for opener in _OPENERS):
            return escape
        return len(data)


def _mark(match: re.Match[bytes]) -> Mark:
    status, cwd, pid = match["status"], match["cwd"], match["pid"]
    return Mark(
        kind=(match["kind"] or match["line"]).decode("ascii"),
        nonce=match["aid"].decode("ascii"),
        status=int(status) if status else None,
        cwd=bash_unquote(cwd) if cwd else None,
        text=unescape_command(match["text"]) if match["text"] else "",
        pid=int(pid) if pid else None,
    )


_ESCAPED = re.compile(rb"\\(x[0-9a-fA-F]{2}|\\)")


def unescape_command(text: bytes) -> str:
    """The command line in a 633;E mark: `\\\\` and `\\xNN` stand for what could not be written plainly."""
    plain = _ESCAPED.sub(lambda found: b"\\" if found[1] == b"\\" else bytes([int(found[1][1:], 16)]), text)
    return plain.decode("utf-8", "replace")


_ANSI_C = re.compile(rb"\\(?:([0-7]{3})|(.))", re.DOTALL)
_ANSI_C_LETTERS = dict(zip(b"abeEfnrtv", b"\a\b\x1b\x1b\f\n\r\t\v", strict=True))


def bash_unquote(word: bytes) -> str:
    """A word as `printf %q` writes it. Bytes that are no UTF-8 become surrogate escapes, as in `os.fsdecode`."""
    if word.startswith(b"$'") and word.endswith(b"'"):
        plain = _ANSI_C.sub(_ansi_c_character, word[2:-1])
    elif word in (b"''", b'""'):
        plain = b""
    else:
        plain = re.sub(rb"\\(.)", rb"\1", word, flags=re.DOTALL)
    return plain.decode("utf-8", "surrogateescape")


def _ansi_c_character(found: re.Match[bytes]) -> bytes:
    octal, letter = found.groups()
    return bytes([int(octal, 8) & 0xFF if octal else _ANSI_C_LETTERS.get(letter[0], letter[0])])
