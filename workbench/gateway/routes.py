"""Which endpoints there are, and of which protocol."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

import msgspec

from workbench.agents.models.wire import Value
from workbench.gateway.protocols.base import Asked, Protocol, dumped
from workbench.gateway.protocols.chat import Chat
from workbench.gateway.protocols.gemini import Gemini
from workbench.gateway.protocols.messages import Messages
from workbench.gateway.protocols.responses import Responses
from workbench.session.plain import read_json

_CHAT, _RESPONSES, _MESSAGES, _GEMINI = Chat(), Responses(), Messages(), Gemini()
PROTOCOLS: dict[str, Protocol] = {each.name: each for each in (_CHAT, _RESPONSES, _MESSAGES, _GEMINI)}
"""By name."""
_NAME = r"(?!\.{1,2}(?:[/:]|\Z))[\w.@~-]+"
_MODEL = rf"/v1\w*/models/{_NAME}(?:/{_NAME})*"

_ENDPOINTS: tuple[tuple[str, re.Pattern[str], Protocol, bool], ...] = (
    ("POST", re.compile(r"(?:/v1)?/chat/completions"), _CHAT, True),
    ("POST", re.compile(r"(?:/v1)?/responses"), _RESPONSES, True),
    ("POST", re.compile(r"/v1/messages"), _MESSAGES, True),
    ("POST", re.compile(r"/v1/messages/count_tokens"), _MESSAGES, False),
    ("POST", re.compile(rf"{_MODEL}:(?:stream)?[gG]enerateContent"), _GEMINI, True),
    ("POST", re.compile(rf"{_MODEL}:countTokens"), _GEMINI, False),
    ("GET", re.compile(rf"(?:/v1)?/models(?:/{_NAME}(?:[:/]:?{_NAME})*)?"), _CHAT, False),
    ("GET", re.compile(rf"/v1/models(?:/{_NAME})?"), _MESSAGES, False),
    ("GET", re.compile(rf"/v1\w*/models(?:/{_NAME})?"), _GEMINI, False),
)
"""Method, path, protocol, and whether it asks for an answer that is a step."""


class Malformed(Exception):
    """A request is none of its protocol. `str()` says why."""


class Route(msgspec.Struct, frozen=True):
    """Where a request goes."""

    protocol: Protocol
    method: str = "POST"
    path: str = ""
    asks: bool = False
    """For an answer that is a step."""
    problem: str = ""
    """Why it goes nowhere; then `status` is what its client is told."""
    status: int = 404

    def read(self, query: str, headers: list[tuple[str, str]], body: bytes, model: str) -> Asked:
        """The request. `model` takes the place of the one that it names. Raises Malformed.

        The log cannot hold half of a surrogate pair, nor a number that is none: it has U+FFFD instead, or a text as
        "NaN", and the body stays as it came.
        """
        path, data = self.path, _object(body)
        protocol, named = self.protocol, self.protocol.model(data, path)
        try:
            messages, tools, settings = protocol.read(data)
        except KeyError as error:
            raise Malformed(f"it has no field {error}") from None
        except TypeError:
            messages = [None]
        if not all(isinstance(message, dict) for message in messages):
            raise Malformed("its messages are no list of JSON objects")
        if model and model != named:
            path, body = protocol.for_model(model, data, path, body)
        return Asked(
            protocol=protocol,
            path=path,
            query=query,
            headers=tuple(headers),
            body=body,
            data=data,
            model=model or named,
            stream=protocol.streams(data, path, query),
            messages=tuple(map(dumped, messages)),
            tools=dumped(tools) if tools else "",
            settings=settings,
        )


def _object(body: bytes) -> Value:
    """The JSON object of a body. Raises Malformed."""
    try:
        data = read_json(body, constant=str)
    except UnicodeDecodeError:
        raise Malformed("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"it is no JSON: {error}") from None
    except ValueError as error:  # Python's limit of digits names the function that lifts it
        raise Malformed(str(error).partition(";")[0]) from None
    if not isinstance(data, dict):
        raise Malformed("it is no JSON object")
    return data


def find_route(method: str, path: str, headers: Collection[str], query: Collection[str]) -> Route:
    """The route of a request; one with a problem where there is none."""
    path = path.replace("/v1/v1/", "/v1/", 1)  # of clients of Anthropic's whose base address has a version
    problem, status = f"there is no {path[:200]} here", 404
    protocol = _likely(path, headers, query)
    for allowed, pattern, of, asks in _ENDPOINTS:
        if pattern.fullmatch(path) and (asks or of.provider == protocol.provider):
            if method == allowed:
                return Route(of, method, path, asks)
            protocol, problem, status = of, f"{path[:200]} takes {allowed} and not {method}", 405
    return Route(protocol, method, path, problem=problem, status=status)


def _likely(path: str, headers: Collection[str], query: Collection[str]) -> Protocol:
    """The protocol of a request whose path is nobody's, or more than one's: by whose headers it has."""
    if "x-goog-api-key" in headers or "key" in query or re.match(r"/v1\w+/|.*:(?:\w+Content|countTokens)\Z", path):
        return _GEMINI
    if "anthropic-version" in headers or "x-api-key" in headers or path.startswith("/v1/messages"):
        return _MESSAGES
    return _RESPONSES if "/responses" in path else _CHAT
