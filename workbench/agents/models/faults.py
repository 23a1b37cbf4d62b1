"""What went wrong in a model call: the cause, one sentence for people, and whether a retry may help."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from workbench.agents.models.keys import scrub
from workbench.agents.models.wire import WireError

_LONGEST_QUOTE = 240

_CONTEXT = re.compile(
    r"context.?length|context.?window|maximum context|prompt is too long|too many (?:input )?tokens|"
    r"exceeds? (?:the )?(?:maximum|available context)|input token count|reduce the length|"
    r"longer than the (?:model|maximum)",
    re.IGNORECASE,
)
_QUOTA = re.compile(
    r"insufficient_quota|insufficient (?:balance|funds|credit)|exceeded your current quota|credit balance|billing|"
    r"spend.?limit|per.?day|payment required|out of credits",
    re.IGNORECASE,
)
_FILTER = re.compile(
    r"content_filter|content.?policy|content management policy|safety (?:system|filter)|usage polic|"
    r"moderation|prohibited_content|content_policy_violation|invalid_prompt",
    re.IGNORECASE,
)
_KEY = re.compile(r"api.?key|authenticat|unauthorized|credentials", re.IGNORECASE)
_BAD = re.compile(r"invalid|not valid|expired|incorrect|missing", re.IGNORECASE)
_NO_MODEL = re.compile(r"model.{0,80}(?:not found|not exist|unknown)|model_not_found|no such model", re.IGNORECASE)
_REFUSES = re.compile(
    r"unsupported|not supported?|does not support|unrecognized|unknown|unexpected|extra|not permitted|not allowed|"
    r"deprecated|cannot both|no longer",
    re.IGNORECASE,
)
_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})


class Fault(msgspec.Struct, frozen=True):
    """A failed call, for a person and for the loop that may retry it."""

    cause: str
    """One of the causes of the event `model.failed`."""
    message: str
    again: bool = False
    """A retry may help."""
    wait: float | None = None
    """Seconds that the server asks to wait before a retry."""
    refused: str = ""
    """A setting that this model or server does not take; the same call may succeed without it."""
    once_begun: bool = False
    """A retry may help even if part of an answer has come."""


class Server(msgspec.Struct, frozen=True):
    """The server of a call, as messages name it."""

    provider: str
    """`openai`, `anthropic` or `gemini`."""
    model: str
    """Name of the model, without the provider."""
    address: str = ""
    """Base URL, for a server that is not the provider's own."""
    key_variable: str = ""
    """The variable that holds the key, or should."""
    secret: str = ""
    """The key, so that it can be removed from the server's words."""
    nearest: Sequence[str] = ()
    """Known models with a similar name."""
    optional: Sequence[str] = ()
    """Settings of the call that the server may refuse."""

    def __repr__(self) -> str:
        return f"Server({self.title}, {self.model})"

    @property
    def title(self) -> str:
        """Its name within a sentence."""
        if self.address:
            return f"the server at {self.address}"
        return {"openai": "OpenAI", "anthropic": "Anthropic", "gemini": "Google"}.get(self.provider, self.provider)

    @property
    def who(self) -> str:
        """Its name at the beginning of a sentence."""
        return self.title[:1].upper() + self.title[1:]

    def quote(self, text: str) -> str:
        """The server's words on one line, without keys and control characters, and shortened."""
        flat = " ".join("".join(char if char.isprintable() else " " for char in text).split())
        flat = scrub(flat, self.secret)
        return flat if len(flat) <= _LONGEST_QUOTE else flat[: _LONGEST_QUOTE - 1] + "…"


def from_status(
    server: Server,
    status: int,
    body: Any,
    *,
    headers: Mapping[str, str] | None = None,
    quota: bool | None = None,
) -> Fault:
    """The fault that a server reports. If `status` is no HTTP status of failure, the body decides.

    `quota` says whether a limit is one of the account; None: the text decides.
    """
    text, code, setting = _error_text(body)
    signs, who = f"{code} {text}", server.who
    if not 400 <= status < 600:
        status = _status_of(code, signs)
    said = f" ({server.quote(text)})" if text.strip() else f" (HTTP {status})"
    wait = retry_after(headers or {})
    if status in (401, 403) or (status == 400 and _KEY.search(signs) and _BAD.search(signs)):
        key = f"the key in {server.key_variable}"
        if status == 403:
            return Fault("auth", f"{who} does not let {key} use {server.model}{said}; use another")
        return Fault("auth", f"{who} does not accept {key}{said}; check it, or make a new one")
    if quota is None:
        quota = status == 402 or (status in (400, 429) and _QUOTA.search(signs) is not None)
    if quota:
        says = f"{who} says that the account's quota is used up{said}"
        return Fault("quota", f"{says}; add credit or raise the limit, then try again")
    if status == 429:
        says = f"{who} limits how fast calls may come{said}"
        return Fault("rate_limit", f"{says}; wait a minute, then try again", True, wait)
    if status == 413 or (status in (400, 422) and _CONTEXT.search(signs)):
        says = f"The prompt is longer than {server.model} can read{said}"
        return Fault("context_length", f"{says}; shorten the history, or choose a model with a larger context")
    if status == 400 and _FILTER.search(signs):
        return filtered(server, text)
    sent = [setting] if setting in server.optional else server.optional
    if status in (400, 422) and (refused := _refused(text, sent)):
        return Fault("error", f"{who} does not take the setting {refused}{said}", refused=refused)
    if status in (404, 400) and (status == 404 or _NO_MODEL.search(signs)):
        return _unknown_model(server, said)
    if status in _RETRIED or status >= 500:
        busy = "is overloaded" if status in (503, 529) else "has a failure of its own"
        return Fault("network", f"{who} {busy}{said}; try again in a moment", True, wait)
    return Fault("error", f"{who} refused the call{said}; change what it names, then try again")


def _refused(text: str, sent: Sequence[str]) -> str:
    """The setting among `sent` that a message refuses, or none."""
    if not _REFUSES.search(text):
        return ""
    named = [name for name in sent if re.search(rf"(?<![a-z_]){re.escape(name)}(?![a-z_])", text, re.IGNORECASE)]
    if not named:
        return ""
    if "top_p" in named and "temperature" in named:
        return "top_p"  # one of the two is taken, and temperature says more
    return min(named, key=text.lower().find)


def _unknown_model(server: Server, said: str) -> Fault:
    near = [name for name in server.nearest if name.partition(":")[2] != server.model]
    if server.address:
        hint = "name one that it serves, and see that the address ends where its API begins (often in /v1)"
    elif near:
        hint = f"did you mean {' or '.join(near)}?"
    else:
        hint = "look its name up in the provider's list of models"
    return Fault("error", f"{server.who} knows no model {server.model!r}{said}; {hint}")


def filtered(server: Server, text: str = "") -> Fault:
    """The content filter stopped the prompt or the answer."""
    said = f" ({server.quote(text)})" if text.strip() else ""
    says = f"The content filter of {server.title} stopped the answer{said}"
    return Fault("content_filter", f"{says}; change the prompt or tell the model something else, then try again")


def broke_off(server: Server, characters: int) -> Fault:
    """The stream ended before the answer did."""
    if not characters:
        return Fault("network", f"{server.who} closed the connection without an answer; try again", True)
    return Fault("network", f"The answer of {server.title} broke off after {characters} characters; try again")


def given_up(server: Server, why: str, characters: int) -> Fault:
    """The server reports that the answer failed."""
    says = f"{server.who} gave the answer up after {characters} characters ({server.quote(why)})"
    return Fault("network", f"{says}; try again", again=True, once_begun=True)


def silent(server: Server, seconds: float) -> Fault:
    """The server sent nothing for too long."""
    return Fault("network", f"{server.who} sent nothing for {seconds:g} s; try again, or later")


def unreachable(server: Server, detail: str) -> Fault:
    """No connection, or a lost one."""
    where = "the address" if server.address else "the network connection"
    said = f" ({server.quote(detail)})" if detail else ""
    return Fault("network", f"{server.who} cannot be reached{said}; check {where}, then try again", True)


def from_wire(server: Server, error: WireError) -> Fault:
    """The server answered with something other than the protocol."""
    begins = f", which begins {server.quote(error.head)!r}" if error.head else ""
    says = {
        "html": f"answered with a web page{begins}",
        "redirect": f"points to another address ({server.quote(error.head)})",
        "too_long": f"sent more than an answer can be{begins}",
        "encoding": "sent text that is not UTF-8",
        "compressed": "sent a compressed answer, which was not asked for",
        "not_protocol": f"answered with something else than a stream of events{begins}",
    }[error.problem]
    check = "check the address of the server" if server.address else "check for a proxy in between"
    return Fault("error", f"{server.who} {says}; {check}")


def unreadable(server: Server, error: BaseException) -> Fault:
    """An answer that the SDK could not read."""
    if isinstance(error, UnicodeDecodeError):
        return from_wire(server, WireError("encoding"))
    says = server.quote(f"{type(error).__name__}: {error}")
    return Fault("error", f"{server.who} sent an answer that cannot be read ({says}); try again, or another model")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a server asks to wait: Retry-After in seconds or as a date, or retry-after-ms."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return _seconds(float(milliseconds) / 1000)
        value = headers.get("retry-after")
        if not value:
            return None
        try:
            return _seconds(float(value))
        except ValueError:
            return _seconds(email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _seconds(value: float) -> float | None:
    return max(0.0, value) if value == value and value < 1e10 else None


def _error_text(body: Any) -> tuple[str, str, str]:
    """Message, code and named setting in the body of a failure, in any form that providers use."""
    if isinstance(body, list) and body:
        body = body[0]
    if isinstance(body, Mapping):
        body = body.get("error", body)
    if not isinstance(body, Mapping):
        return (body if isinstance(body, str) else ""), "", ""
    codes = [str(body[name]) for name in ("code", "type", "status") if body.get(name)]
    details = body.get("details")
    if isinstance(details, Mapping) and details.get("error_code"):
        codes.append(str(details["error_code"]))
    return str(body.get("message") or body.get("detail") or ""), " ".join(codes), str(body.get("param") or "")


_STATUS_WORDS: tuple[tuple[str, int], ...] = (
    ("overloaded", 529),
    ("rate_limit", 429),
    ("resource_exhausted", 429),
    ("authentication", 401),
    ("unauthenticated", 401),
    ("permission", 403),
    ("billing", 402),
    ("not_found", 404),
    ("timeout", 504),
    ("unavailable", 503),
    ("invalid", 400),
)


def _status_of(code: str, signs: str) -> int:
    """The HTTP status that an error in the middle of a stream would have had."""
    number = re.search(r"\b[45]\d\d\b", code)
    if number:
        return int(number[0])
    for word, status in _STATUS_WORDS:
        if word in code.lower():
            return status
    return 400 if any(sign.search(signs) for sign in (_CONTEXT, _FILTER, _QUOTA)) else 500
