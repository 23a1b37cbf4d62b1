"""Keys and other secrets of the environment never reach a file."""

from __future__ import annotations

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
        self._bytes = [value.encode("utf-8", "surrogateescape") for value in self._text]

    def text(self, text: str) -> str:
        """`text` without secrets."""
        for value in self._text:
            if value in text:
                text = text.replace(value, REPLACEMENT)
        return text

    def data(self, data: bytes) -> bytes:
        """`data` without secrets."""
        for value in self._bytes:
            if value in data:
                data = data.replace(value, REPLACEMENT.encode())
        return data
