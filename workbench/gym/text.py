"""Text as it fits into a space of texts: of so many characters at most, and of no others than those of an alphabet."""

from __future__ import annotations

import re

from workbench.sandbox.scrollback import cap

_RANGES = (
    "\t\n -~",  # ASCII
    "\xa0-\u024f",  # Latin letters of Europe
    "\u0370-\u0377\u037a-\u037f\u0384-\u038a\u038c\u038e-\u03a1\u03a3-\u03ff",  # Greek
    "\u0400-\u045f",  # Cyrillic
    "\u2010-\u2027\u2030-\u205e",  # punctuation
    "\u2070-\u2071\u2074-\u208e\u20a0-\u20bf\u2100-\u218b",  # raised and lowered digits, currencies, letter-like signs
    "\u2190-\u22ff",  # arrows, mathematics
    "\u2500-\u25ff",  # lines, blocks and shapes: frames of tables, progress bars
    "\u2713\u2714\u2717\u2718\ufffd",  # check marks; what stands for bytes that are no text
)
_OTHERS = re.compile(f"[^{''.join(_RANGES)}]")


def _characters() -> str:
    allowed = re.compile(f"[{''.join(_RANGES)}]")
    return "".join(filter(allowed.match, map(chr, range(0x10000))))


ALPHABET = _characters()
"""Characters of texts of the environment, in the order of their code points. A part of the interface: it never changes
under one version of the environments (`-v0`)."""


def fitted(text: str, length: int) -> str:
    """`text` within ALPHABET and `length` characters.

    Any other character is written as its code point, `<U+1F600>`. Of what is too long, the head and the tail are kept,
    with a line between them that says how much is missing.
    """
    text = _OTHERS.sub(lambda found: f"<U+{ord(found[0]):04X}>", text)
    if len(text) <= length:
        return text
    shown, _ = cap(text, max(0, length - _JOINT))
    return shown if len(shown) <= length else text[:length]


_JOINT = 80
"""Characters that the line between head and tail may take."""
