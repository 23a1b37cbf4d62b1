"""Keys and other secrets of the environment never reach a file."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping
from urllib.parse import quote, quote_plus

_SECRET_NAME = re.compile(r"(API_?KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL|PRIVATE_KEY)", re.IGNORECASE)
_SHORTEST = 8
"""A shorter value is more likely a word than a key, and replacing it would garble the text."""

REPLACEMENT = "[redacted]"


def secret_variables(env: Mapping[str, str]) -> list[str]:
    """Names of the variables whose values look like secrets."""
    return sorted(name for name, value in env.items() if _SECRET_NAME.search(name) and len(value) >= _SHORTEST)


class Redactor:
    """Replaces the values of secret variables in what is about to be written or shown, in their usual spellings."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        env = os.environ if env is None else env
        values = {env[name] for name in secret_variables(env)}
        self._bytes = sorted(set().union(*map(_spellings, values)), key=len, reverse=True)
        self._text = [spelling.decode("utf-8", "surrogateescape") for spelling in self._bytes]

    def text(self, text: str) -> str:
        """`text` without secrets."""
        for value in self._text:
            if value in text:
                text = text.replace(value, REPLACEMENT)
        return text

    def unfinished(self, text: str) -> int:
        """How many characters at the end of `text` may be the beginning of a secret whose rest is still to come."""
        longest = 0
        for value in self._text:
            at = text.find(value[0], max(0, len(text) - len(value) + 1))
            while 0 <= at < len(text) - longest:
                if value.startswith(text[at:]):
                    longest = len(text) - at
                at = text.find(value[0], at + 1)
        return longest

    def data(self, data: bytes) -> bytes:
        """`data` without secrets."""
        for value in self._bytes:
            if value in data:
                data = data.replace(value, REPLACEMENT.encode())
        return data


def _spellings(value: str) -> set[bytes]:
    """A value as bytes: plain, in a JSON string, in an address, in hexadecimal, in base64; and one that is no word in
    other case and backwards.
    """
    plain = value.encode("utf-8", "surrogateescape")
    readable = plain.decode("utf-8", "replace")
    no_word = any(letter.isdigit() for letter in value)
    others = {value.lower(), value.upper(), value.swapcase(), value[::-1]} if no_word else ()
    return {
        plain,
        *(other.encode("utf-8", "surrogateescape") for other in others),
        *(json.dumps(readable, ensure_ascii=plainly)[1:-1].encode() for plainly in (True, False)),
        *(escape(plain, safe=safe).encode() for escape in (quote, quote_plus) for safe in ("", "/")),
        plain.hex().encode(),
        plain.hex().upper().encode(),
        *(core for place in range(3) for core in _base64(plain, place)),
    }


def _base64(value: bytes, place: int) -> tuple[bytes, bytes]:
    """What is the same in the base64 of every text that holds the value, at a place that is so much over three; in both
    alphabets.
    """
    encoded = base64.b64encode(bytes(place) + value)
    core = encoded[-(-place * 8 // 6) : (place + len(value)) * 8 // 6]
    return core, core.replace(b"+", b"-").replace(b"/", b"_")
