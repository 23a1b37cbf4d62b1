"""API keys: from the environment, or from a `.env` of the current folder or of the configuration folder.

The environment goes before the files, the current folder before the configuration folder. A key leaves this module as
a `Key`, which shows itself as [redacted] wherever it is printed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from workbench.agents.agent import ModelError
from workbench.session.redact import REPLACEMENT, Redactor

VARIABLES: Mapping[str, tuple[str, ...]] = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
}
"""Where the key of a provider is looked for, in this order."""

SERVER_VARIABLE = "MLGYM_MODEL_API_KEY"
"""The key for a server that is not the provider's own: a provider's key is never sent to anybody else."""

_LARGEST = 1 << 20
_SHORTEST_SECRET = 8
_LINE = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*?)\s*$")
_QUOTED = re.compile(r"""(?P<mark>["'])(?P<inside>(?:\\.|(?!(?P=mark)).)*)(?P=mark)\s*(?:#.*)?$""")
_ESCAPE = re.compile(r"\\(.)")
_PLAIN_COMMENT = re.compile(r"(^|\s)#.*$")
_LOOKS_LIKE_KEY = re.compile(r"\b(?:(?:sk|pk|gsk|xai)-|hf_|AIza)[-_A-Za-z0-9*]{6,}")
_SECRET_NAME = re.compile(r"(API_?KEY|_KEY$|TOKEN$|SECRET|PASSW|CREDENTIAL)", re.IGNORECASE)


@dataclass(frozen=True)
class Key:
    """A key and where it is from. Its value is had by `reveal()` alone."""

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


def config_folder() -> Path:
    """`$XDG_CONFIG_HOME/mlgym-tui`, by default `~/.config/mlgym-tui`."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return Path(base) / "mlgym-tui"


def dotenv_files() -> tuple[Path, ...]:
    """The files that are looked into, the first that has a variable wins."""
    try:
        here = Path.cwd()
    except OSError:  # the folder is gone
        here = Path(".")
    return (here / ".env", config_folder() / ".env")


def parse_dotenv(text: str) -> dict[str, str]:
    """Variables of a `.env`: `NAME=value` lines, with `export`, quotes and comments. Other lines mean nothing."""
    found: dict[str, str] = {}
    for line in text.removeprefix("\ufeff").splitlines():
        if match := _LINE.match(line):
            found[match["name"]] = _unquote(match["value"])
    return found


def _unquote(value: str) -> str:
    quoted = _QUOTED.match(value)
    if quoted is None:
        return _PLAIN_COMMENT.sub("", value).strip()
    inside = quoted["inside"]
    if quoted["mark"] == "'":
        return inside
    return _ESCAPE.sub(lambda match: {"n": "\n", "t": "\t"}.get(match[1], match[1]), inside)


def _read(path: Path) -> dict[str, str]:
    """Variables of a file; none when there is no such file.

    Raises ModelError (auth) for a file that cannot be read as text.
    """
    try:
        if not path.is_file():
            return {}
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise ModelError("auth", f"{path} cannot be read ({error.strerror}); correct its permissions") from None
    if len(data) > _LARGEST:
        raise ModelError("auth", f"{path} is larger than 1 MB; a .env holds lines like NAME=value")
    try:
        return parse_dotenv(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise ModelError("auth", f"{path} is not UTF-8 text; save it again as UTF-8") from None


def _sources(env: Mapping[str, str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    yield "the environment", env
    for path in dotenv_files():
        yield str(path), _read(path)


def find_key(provider: str, *, variable: str = "", env: Mapping[str, str] | None = None) -> Key:
    """The key for a provider, or the one in `variable`.

    Raises ModelError (auth): one sentence that names the variable.
    """
    variables = (variable,) if variable else VARIABLES[provider]
    key = _find(variables, os.environ if env is None else env)
    if key is None:
        either = " or ".join(variables)
        raise ModelError(
            "auth", f"there is no key for {provider}: set {either} in the environment, or in {dotenv_files()[0]}"
        )
    return key


def find_server_key(variable: str = "", env: Mapping[str, str] | None = None) -> Key | None:
    """The key for a server that is named by its address, from `variable` or SERVER_VARIABLE; most need none."""
    return _find((variable or SERVER_VARIABLE,), os.environ if env is None else env)


def _find(variables: tuple[str, ...], env: Mapping[str, str]) -> Key | None:
    for source, values in _sources(env):
        for variable in variables:
            value = values.get(variable, "").strip()
            if not value:
                continue
            if not value.isascii() or not value.isprintable() or " " in value:
                raise ModelError("auth", f"{variable} in {source} holds characters that no key has; set it again")
            return Key(variable, source, value)
    return None


def secret_values(env: Mapping[str, str] | None = None) -> frozenset[str]:
    """Values that must not be shown or written: of variables named like secrets, in the environment and the files."""
    found: set[str] = set()
    sources = [os.environ if env is None else env]
    for path in dotenv_files():
        try:
            sources.append(_read(path))
        except ModelError:
            continue  # what cannot be read is not used as a key either
    for values in sources:
        found.update(value.strip() for name, value in values.items() if _SECRET_NAME.search(name))
    return frozenset(value for value in found if len(value) >= _SHORTEST_SECRET)


def redactor() -> Redactor:
    """A redactor that knows the secrets of the `.env` files as well as those of the environment."""
    values = {f"DOTENV_SECRET_{number}": value for number, value in enumerate(sorted(secret_values()))}
    return Redactor({**os.environ, **values})


def scrub(text: str, *secrets: str) -> str:
    """`text` without `secrets`, without the secrets of this machine, and without what looks like a key."""
    for value in sorted({*secrets, *secret_values()} - {""}, key=len, reverse=True):
        text = text.replace(value, REPLACEMENT)
    return _LOOKS_LIKE_KEY.sub(REPLACEMENT, text)
