"""Keys and other secrets of the environment never reach a file."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping

_SECRET_NAME = re.compile(r"(API_?KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL|PRIVATE_KEY)", re.IGNORECASE)
_SHORTEST = 8
"""A shorter value is more likely a word than a key, and replacing it would garble the text."""

REPLACEMENT = "[redacted]"


def secret_variables(env: Mapping[str, str]) -> list[str]:
    """Names of the variables whose values look like secrets."""
    return sorted(name for name, value in env.items() if _SECRET_NAME.search(name) and len(value) >= _SHORTEST)


class Redactor:
    """Replaces the values of secret variables in what is about to be written."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        env = os.environ if env is None else env
        values = {env[name] for name in secret_variables(env)}
        self._text = sorted(values, key=len, reverse=True)
        written = {spelling for value in self._text for spelling in _spellings(value)}
        self._bytes = sorted(written, key=len, reverse=True)

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
            for size in range(min(len(value) - 1, len(text)), longest, -1):
                if text.endswith(value[:size]):
                    longest = size
                    break
        return longest

    def data(self, data: bytes) -> bytes:
        """`data` without secrets."""
        for value in self._bytes:
            if value in data:
                data = data.replace(value, REPLACEMENT.encode())
        return data


def _spellings(value: str) -> set[bytes]:
    """A value as bytes: plain, and as it stands in a JSON string."""
    plain = value.encode("utf-8", "surrogateescape")
    readable = plain.decode("utf-8", "replace")
    return {plain, *(json.dumps(readable, ensure_ascii=plainly)[1:-1].encode() for plainly in (True, False))}
