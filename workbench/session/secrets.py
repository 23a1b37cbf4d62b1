"""The user's secrets: values of variables in the environment and in the `.env` files. They never reach a file.

Which variables hold secrets is said here alone. What is written or shown goes through a `Redactor`.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

_LARGEST = 1 << 20
_LINE = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*?)\s*$")
_QUOTED = re.compile(r"""(?P<mark>["'])(?P<inside>(?:\\.|(?!(?P=mark)).)*)(?P=mark)\s*(?:#.*)?$""")
_ESCAPE = re.compile(r"\\(.)")
_PLAIN_COMMENT = re.compile(r"(^|\s)#.*$")
_SECRET_NAME = re.compile(r"API_?KEY|PRIVATE_KEY|_KEY$|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
"""Variables whose values must not be shown or written."""
_SHORTEST = 8
"""Characters. A shorter value is more likely a word than a key, and replacing it would garble the text."""

REPLACEMENT = "[redacted]"


class UnreadableDotenv(Exception):
    """A `.env` is there but cannot be used. One sentence with what to do."""


def user_folder(variable: str, usual: str) -> Path:
    """Our folder in one of the user's that a variable of the XDG names, by default `usual` in their home."""
    return Path(os.path.expanduser(os.environ.get(variable) or f"~/{usual}")) / "mlgym-tui"


def config_folder() -> Path:
    """`$XDG_CONFIG_HOME/mlgym-tui`, by default `~/.config/mlgym-tui`."""
    return user_folder("XDG_CONFIG_HOME", ".config")


def state_folder() -> Path:
    """`$XDG_STATE_HOME/mlgym-tui`, by default `~/.local/state/mlgym-tui`."""
    return user_folder("XDG_STATE_HOME", ".local/state")


def data_folder(variable: str, name: str) -> Path:
    """The folder that `variable` names, by default `name` in `$XDG_DATA_HOME/mlgym-tui`."""
    named = os.environ.get(variable)
    return Path(named).expanduser() if named else user_folder("XDG_DATA_HOME", ".local/share") / name


def cache_folder() -> Path:
    """`$MLGYM_CACHE`, else `$XDG_CACHE_HOME/mlgym-tui`: what can be had again, at the price of time."""
    named = os.environ.get("MLGYM_CACHE")
    return (Path(named).expanduser() if named else user_folder("XDG_CACHE_HOME", ".cache")).absolute()


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


def is_secret_name(name: str) -> bool:
    """Whether a variable or a field is named like what holds a secret."""
    return _SECRET_NAME.search(name) is not None


def secrets_in(variables: Mapping[str, str]) -> set[str]:
    """The values of those variables that are named like secrets."""
    return {value.strip() for name, value in variables.items() if is_secret_name(name)}


def secret_settings(settings: Iterable[str]) -> set[str]:
    """The values of those of NAME=VALUE that are named like secrets."""
    return secrets_in({name: value for name, _, value in (text.partition("=") for text in settings)})


def logged_settings(settings: Iterable[str]) -> list[str]:
    """NAME=VALUE as a log may have it: without the values of secrets."""
    parts = (text.partition("=") for text in settings)
    return [f"{name}={REPLACEMENT if secrets_in({name: value}) else value}" for name, _, value in parts]


def secret_values(env: Mapping[str, str] | None = None) -> set[str]:
    """The secrets in the environment and in the files."""
    found = secrets_in(os.environ if env is None else env)
    for path in dotenv_files():
        try:
            found |= secrets_in(read_dotenv(path))
        except UnreadableDotenv:
            continue  # what cannot be read is not used as a key either
    return {value for value in found if len(value) >= _SHORTEST}


class Redactor:
    """Replaces secrets in what is about to be written or shown, in their usual spellings."""

    def __init__(self, secrets: Iterable[str] | None = None) -> None:
        """`secrets`: those of the user, unless others are given."""
        self._bytes: list[bytes] = []
        self.hide(secret_values() if secrets is None else secrets)

    def hide(self, secrets: Iterable[str]) -> None:
        """Replace these, too, from now on."""
        spellings = (_spellings(value) for value in secrets if len(value) >= _SHORTEST)
        self._bytes = sorted(set(self._bytes).union(*spellings), key=len, reverse=True)
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

    def beyond(self, data: bytes, place: int) -> int:
        """The first place from `place` on at which no secret is cut in two that stands in `data` as a whole."""
        for value in self._bytes:
            found = data.find(value, max(0, place - len(value) + 1), place + len(value) - 1)
            if found >= 0:
                place = found + len(value)
        return place

    @property
    def longest(self) -> int:
        """Bytes of the longest secret."""
        return max(map(len, self._bytes), default=0)

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
