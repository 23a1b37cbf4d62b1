"""Secrets of this machine: variables of the environment, and of a `.env` of the current folder or of the configuration
folder. What is written goes through `redactor()`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from workbench.session.redact import Redactor

_LARGEST = 1 << 20
_SHORTEST_SECRET = 8
_LINE = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*?)\s*$")
_QUOTED = re.compile(r"""(?P<mark>["'])(?P<inside>(?:\\.|(?!(?P=mark)).)*)(?P=mark)\s*(?:#.*)?$""")
_ESCAPE = re.compile(r"\\(.)")
_PLAIN_COMMENT = re.compile(r"(^|\s)#.*$")
_SECRET_NAME = re.compile(r"(API_?KEY|_KEY$|TOKEN$|SECRET|PASSW|CREDENTIAL)", re.IGNORECASE)


class UnreadableDotenv(Exception):
    """A `.env` is there but cannot be used. One sentence with what to do."""


def config_folder() -> Path:
    """`$XDG_CONFIG_HOME/mlgym-tui`, by default `~/.config/mlgym-tui`."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return Path(base) / "mlgym-tui"


def state_folder() -> Path:
    """`$XDG_STATE_HOME/mlgym-tui`, by default `~/.local/state/mlgym-tui`."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
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


def read_dotenv(path: Path) -> dict[str, str]:
    """Variables of a file; none when there is no such file.

    Raises UnreadableDotenv for a file that cannot be read as text.
    """
    try:
        if not path.is_file():
            return {}
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise UnreadableDotenv(f"{path} cannot be read ({error.strerror}); correct its permissions") from None
    if len(data) > _LARGEST:
        raise UnreadableDotenv(f"{path} is larger than 1 MB; a .env holds lines like NAME=value")
    try:
        return parse_dotenv(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise UnreadableDotenv(f"{path} is not UTF-8 text; save it again as UTF-8") from None


def secret_values(env: Mapping[str, str] | None = None) -> frozenset[str]:
    """Values that must not be shown or written: of variables named like secrets, in the environment and the files."""
    found: set[str] = set()
    sources = [os.environ if env is None else env]
    for path in dotenv_files():
        try:
            sources.append(read_dotenv(path))
        except UnreadableDotenv:
            continue  # what cannot be read is not used as a key either
    for values in sources:
        found.update(value.strip() for name, value in values.items() if _SECRET_NAME.search(name))
    return frozenset(value for value in found if len(value) >= _SHORTEST_SECRET)


def redactor() -> Redactor:
    """A redactor that knows the secrets of the `.env` files as well as those of the environment."""
    values = {f"DOTENV_SECRET_{number}": value for number, value in enumerate(sorted(secret_values()))}
    return Redactor({**os.environ, **values})
