"""API keys from the environment, or from a `.env` in the current folder or the configuration folder.

The environment comes first, then the current folder. A key leaves this module as a `Key`, which prints as [redacted].
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from workbench.agents.agent import ModelError
from workbench.session.secrets import REPLACEMENT, Redactor, UnreadableDotenv, dotenv_files, read_dotenv, secret_values

VARIABLES: Mapping[str, tuple[str, ...]] = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
}
"""The variables of each provider's key, in order."""

SERVER_VARIABLE = "MLGYM_MODEL_API_KEY"
"""The variable of the key for another server: a provider's key is never sent to anybody else."""

_LOOKS_LIKE_KEY = re.compile(r"\b(?:(?:sk|pk|gsk|xai)-|hf_|AIza)[-_A-Za-z0-9*]{6,}")


_SHORTEST_BEGINNING = 6
"""A shorter beginning of a key only shows its kind."""


@dataclass(frozen=True)
class Key:
    """A key and its source. Only `reveal()` gives its value."""

    variable: str
    source: str
    """`the environment`, or the path of the file."""
    _value: str = field(repr=False)

    def reveal(self) -> str:
        """The key itself."""
        return self._value

    def __str__(self) -> str:
        return REPLACEMENT

    def __format__(self, spec: str) -> str:
        return REPLACEMENT


def find_key(provider: str, env: Mapping[str, str] | None = None) -> Key:
    """The key for a provider. Raises ModelError (auth), one sentence that names the variable."""
    key = _find(VARIABLES[provider], env)
    if key is None:
        either = " or ".join(VARIABLES[provider])
        raise ModelError(
            "auth", f"there is no key for {provider}: set {either} in the environment, or in {dotenv_files()[0]}"
        )
    return key


def find_server_key(variable: str = SERVER_VARIABLE, env: Mapping[str, str] | None = None) -> Key | None:
    """The key for a server that is named by its address; most servers need none."""
    return _find((variable,), env)


def key_for(provider: str, base_url: str | None, env: Mapping[str, str] | None = None) -> Key | None:
    """The key for a provider, or for another server at `base_url`. Raises ModelError as `find_key` and `check_address`
    do.
    """
    if base_url is None:
        return find_key(provider, env)
    check_address(base_url)
    return find_server_key(env=env)


def check_address(base_url: str) -> None:
    """Raises ModelError (error) if this cannot be the address of a server."""
    try:
        parts = urlsplit(base_url)
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        good = None
    if good and "@" in parts.netloc:  # it is kept in the log, for resume
        raise ModelError(
            "error", f"the address of {parts.hostname} holds a password; leave it out and set {SERVER_VARIABLE} instead"
        )
    if not good:
        raise ModelError(
            "error", f"{base_url!r} is not the address of a server; it looks like http://localhost:8000/v1"
        )


def _find(variables: tuple[str, ...], env: Mapping[str, str] | None) -> Key | None:
    for path in (None, *dotenv_files()):
        source = "the environment" if path is None else str(path)
        try:
            values = (os.environ if env is None else env) if path is None else read_dotenv(path)
        except UnreadableDotenv as error:
            raise ModelError("auth", str(error)) from None
        for variable in variables:
            value = values.get(variable, "").strip()
            if not value:
                continue
            if not value.isascii() or not value.isprintable() or " " in value:
                raise ModelError("auth", f"{variable} in {source} holds characters that no key has; set it again")
            return Key(variable, source, value)
    return None


def scrub(text: str, *secrets: str) -> str:
    """`text` without `secrets` in their usual spellings, without the user's other secrets, and without anything that
    looks like a key. It does not end in the beginning of a secret either.
    """
    redactor = Redactor({*secrets, *secret_values()})
    text = redactor.text(text)
    if (begun := redactor.unfinished(text)) >= _SHORTEST_BEGINNING:
        text = text[:-begun] + REPLACEMENT
    for short in filter(None, secrets):
        text = text.replace(short, REPLACEMENT)
    return _LOOKS_LIKE_KEY.sub(REPLACEMENT, text)
