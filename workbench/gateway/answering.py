"""What a gateway asks for answers: the interface of its upstreams."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator

import msgspec

from workbench.agents.remote import Host
from workbench.errors import WorkbenchError
from workbench.gateway.protocols.base import Asked


class UpstreamError(WorkbenchError):
    """An upstream that cannot be had as it was named. `hint` says what to do."""


class Unanswered(Exception):
    """No answer came. `status` is what the client is told as an HTTP status, `cause` one of `model.failed`."""

    def __init__(self, status: int, cause: str, message: str) -> None:
        super().__init__(message)
        self.status, self.cause = status, cause


class Reply(msgspec.Struct):
    """What an upstream says to a request."""

    status: int
    headers: list[tuple[str, str]]
    """Without those that are for one connection alone."""
    body: AsyncIterator[bytes]
    recorded: bool = False
    """Nobody is paid for it."""

    @property
    def media(self) -> str:
        """The type of its content, in lower case."""
        return next((value for name, value in self.headers if name.lower() == "content-type"), "").lower()


class Upstream(ABC):
    """One for each gateway."""

    provider: str = ""
    """Whose protocols it speaks; empty: everybody's."""
    name: str = ""
    """As the log calls it: `provider:name`."""
    base_url: str = ""
    """Of a server that is not the provider's own."""
    model: str = ""
    """Takes the place of the model that a request names; empty: none does."""

    @property
    def complete(self) -> bool | None:
        """Of a recording that nothing goes on after: whether all of it was asked again, and nothing else."""
        return None

    @abstractmethod
    async def answer(self, asked: Asked, host: Host) -> Reply:
        """The answer to a request, in the session of `host`. Raises Unanswered."""

    @abstractmethod
    async def pass_on(self, method: str, path: str, query: str, headers: list[tuple[str, str]], body: bytes) -> Reply:
        """The answer to anything else that a client may ask (models, a count of tokens). Raises Unanswered."""

    async def close(self) -> None:  # noqa: B027  # most have nothing to close
        """Close the connections, if there are any."""


DROPPED = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
        "upgrade", "proxy-connection", "host", "content-length", "content-encoding", "set-cookie", "cookie", "date",
        "server", "authorization", "x-api-key", "x-goog-api-key", "api-key", "accept-encoding", "expect", "forwarded",
        "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "alt-svc",
    }
)  # fmt: skip
"""Headers, of either direction, that are for one connection or one party alone."""
