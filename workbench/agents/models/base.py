"""What the adapters of all providers share: retries, explanations of failures, cost, and the answer so far. The SDKs
can retry by themselves, but report nothing and do not say how long they will wait. So their retries are switched off,
and the loop here does it: it is visible (`on_retry`), can be cancelled and honours Retry-After. It retries only if
nothing of an answer has arrived, or if the server itself says that the answer failed.
"""

from __future__ import annotations

import asyncio
import math
import random
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from workbench.agents.agent import ModelError
from workbench.agents.messages import ChatModel, Message, OnDelta, OnRetry, Response, Sampling, Tool
from workbench.agents.models import faults, pacing, wire
from workbench.agents.models.answer import Answer, ListenerFailed
from workbench.agents.models.faults import Fault, Server
from workbench.agents.models.keys import VARIABLES, Key
from workbench.agents.models.tokens import estimate_prompt
from workbench.agents.models.wire import CONNECT_SECONDS, Body, ServerSaid, Value, WireError
from workbench.session import prices
from workbench.session.events import Usage

_END_SECONDS = 0.5
"""In which the connection must end after the server has said that this is all."""
LONGEST_OUTPUT = 128_000
"""Tokens of the longest answer that any model gives, assumed for calls without a limit."""


class Retries(msgspec.Struct, frozen=True):
    """How often a failed call is retried, and after how many seconds."""

    most: int = 5
    first: float = 1.0
    """Seconds before the first retry; each further one waits twice as long."""
    longest: float = 60.0
    once_begun: int = 2
    """The most retries after part of an answer has come, which has to be paid."""
    patience: float = 300.0
    """The longest wait that a server may ask for; a longer one fails the call."""

    def wait(self, failures: int) -> float:
        """Seconds to wait after so many failures, varied so that many sessions do not come back at once."""
        return min(self.longest, self.first * 2.0 ** (failures - 1)) * random.uniform(0.75, 1.25)


class Request(msgspec.Struct, frozen=True):
    """One call, as an adapter receives it."""

    messages: Sequence[Message]
    tools: Sequence[Tool]
    sampling: Sampling


class ProviderModel(ChatModel):
    """A chat model behind a provider's SDK. A subclass is the adapter to one SDK."""

    provider: ClassVar[str]
    longest_output: ClassVar[int] = LONGEST_OUTPUT
    """The most tokens of an answer to a call without a limit."""
    optional: ClassVar[tuple[str, ...]]
    """Settings that a server may refuse, by the provider's names: the call is repeated without."""

    def __init__(
        self,
        model: str,
        *,
        key: Key | None,
        base_url: str | None = None,
        retries: Retries | None = None,
        silence: float = 600.0,
        price_name: str | None = None,
    ) -> None:
        """`model` is the name without the provider. `silence` is the longest time in seconds without any piece of an
        answer. `price_name` is the `provider:name` whose price counts: by default its own at the provider's own
        address, and none at any other.
        """
        self.name = f"{self.provider}:{model}"
        self._model = model
        self._key = key
        self._base_url = base_url
        self._retries = retries or Retries()
        self._silence = silence
        self._price_name = price_name or (self.name if base_url is None else "")
        self._client: Any = None
        self._refused: set[str] = set()
        self._answer = Answer()
        self._prompt_tokens = 0
        self._attempts = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    @property
    def server(self) -> tuple[Key | None, str]:
        """The key, and the address where it is not the provider's own."""
        return self._key, self._base_url or ""

    @abstractmethod
    def _make_client(self) -> Any:
        """The SDK's client. Called in a thread: importing an SDK takes a second or two."""

    @abstractmethod
    def _open(self, client: Any, request: Request) -> Any:
        """Make one call: a context that is entered with the response, or with what has it as `http_response`. May raise
        anything.
        """

    @abstractmethod
    def _whole(self, body: Any) -> Sequence[Value] | None:
        """The events of the stream that a complete answer in one piece would have been; None if it is none."""

    @abstractmethod
    def _take(self, event: Value, answer: Answer) -> None:
        """Take in one event of the stream. Servers that only resemble the provider leave out almost anything."""

    @abstractmethod
    def _sampling(self, sampling: Sampling) -> dict[str, Any]:
        """The sampling settings by the provider's own names; None for those that are not sent."""

    def _told(self, said: ServerSaid, server: Server) -> Fault:
        """The failure that a server reports."""
        return faults.from_status(server, said.status, said.body, headers=said.headers)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await self._close(client)

    async def _close(self, client: Any) -> None:
        await client.close()

    @property
    def _secret(self) -> str:
        return self._key.reveal() if self._key else ""

    def _client_options(self, kind: Any) -> dict[str, Any]:
        """Options for the clients of OpenAI and Anthropic; `kind` is the class of their HTTP client."""
        http_client = wire.watched_client(kind, self._silence)
        return {
            "api_key": self._secret or "none",
            "base_url": self._base_url,
            "max_retries": 0,
            "timeout": http_client.timeout,
            "http_client": http_client,
            "default_headers": {"Accept-Encoding": "identity"},
        }

    async def respond(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Tool] = (),
        sampling: Sampling = Sampling(),  # noqa: B008  # frozen
        on_delta: OnDelta | None = None,
        on_reasoning: OnDelta | None = None,
        on_retry: OnRetry | None = None,
    ) -> Response:
        request = Request(messages, tools, sampling)
        self._prompt_tokens = estimate_prompt(messages, tools)
        self._answer = answer = Answer(on_delta, on_reasoning, secret=self._secret)
        self._attempts = failures = 0
        server = f"{self.provider} {self._base_url or ''}"
        while True:
            self._attempts += 1
            await pacing.wait(server)
            fault = await self._try(request, answer)
            if fault is None:
                return answer.response(self._usage(answer), self._attempts)
            if fault.refused and fault.refused not in self._refused and not answer.characters:
                self._refused.add(fault.refused)
                self._attempts -= 1  # the same call in a form that is understood
                continue
            failures += 1
            seconds = self._seconds_to_wait(fault, answer, failures)
            if fault.cause == "rate_limit":
                pacing.hold(server, seconds)
            if on_retry is not None:
                on_retry(fault.message, seconds)  # `partial()` is what came of the answer that failed
            self._answer = answer = Answer(on_delta, on_reasoning, secret=self._secret)
            await asyncio.sleep(seconds)

    def partial(self) -> Response:
        answer = self._answer
        return answer.response(self._usage(answer), max(1, self._attempts))

    def worst_case(
        self, messages: Sequence[Message], tools: Sequence[Tool] = (), sampling: Sampling | None = None
    ) -> float | None:
        if not self._price_name:
            return None
        longest = (sampling or Sampling()).max_output_tokens or self.longest_output
        return prices.worst_case(estimate_prompt(messages, tools), longest, self._price_name)

    def settings(self, sampling: Sampling) -> dict[str, Any]:
        return self._taken(self._sampling(sampling))

    def _taken(self, settings: dict[str, Any]) -> dict[str, Any]:
        """The settings without those that are None or that the server has refused."""
        return {name: value for name, value in settings.items() if value is not None and name not in self._refused}

    def cost(self, usage: Usage) -> float | None:
        """What that usage costs, in dollars; None when the price is unknown."""
        return prices.cost(usage, self._price_name) if self._price_name else None

    def _usage(self, answer: Answer) -> Usage:
        usage = answer.usage or Usage(input_tokens=self._prompt_tokens)
        if not usage.input_tokens:  # some servers say that of everything
            usage = msgspec.structs.replace(usage, input_tokens=self._prompt_tokens)
        if answer.stop is None or not usage.output_tokens:
            output = max(usage.output_tokens, answer.estimated_output())
            usage = msgspec.structs.replace(usage, output_tokens=output)
        return msgspec.structs.replace(usage, cost=self.cost(usage))

    async def _try(self, request: Request, answer: Answer) -> Fault | None:
        """One attempt. Returns None if it gave a complete answer."""
        listener_error: BaseException | None = None
        fault: Fault | None = None
        try:
            await self._receive(request, answer)
        except ListenerFailed as error:
            listener_error = error.__cause__
        except Exception as error:
            fault = self._fault(error, answer)
        # Raised here and not above: the SDKs' exceptions hold the request with its key, and must not be chained.
        if listener_error is not None:
            raise listener_error
        if answer.stop == "content_filter":
            return replace(faults.filtered(self._server()), again=True, once_begun=True)
        if answer.stop == "failed":
            return faults.given_up(self._server(), answer.why, answer.characters)
        if answer.stop is not None:
            return None  # whole, whatever became of the connection after it
        return fault or faults.broke_off(self._server(), answer.characters)

    async def _receive(self, request: Request, answer: Answer) -> None:
        """Make one call and put what arrives into `answer`. Raises TimeoutError if no event arrives for so long,
        whatever keeps the connection open, and anything else.
        """
        if self._client is None:
            self._client = await asyncio.to_thread(self._make_client)
        body, clock = Body(self._whole), asyncio.get_running_loop().time
        complete = False
        try:
            async with asyncio.timeout(self._silence) as silence, self._open(self._client, request) as opened:
                response = getattr(opened, "http_response", opened)
                async for data in response.aiter_raw():
                    for event in body.feed(data):
                        if event.get("type") != "ping":
                            silence.reschedule(clock() + self._silence)
                        self._take(event, answer)
                    complete = body.done
                    if complete:  # a connection that was read to its end serves the next call
                        silence.reschedule(min(clock() + _END_SECONDS, silence.when() or math.inf))
                for event in body.end():
                    self._take(event, answer)
        except Exception:
            if not complete:  # what becomes of the connection after it is nothing to the answer
                raise
        answer.finish()
        if body.done and answer.characters and answer.stop is None:  # many servers say no more than that
            answer.stops("stop")

    def _seconds_to_wait(self, fault: Fault, answer: Answer, failures: int) -> float:
        """Seconds until the next attempt. Raises ModelError if there is none."""
        most = self._retries.most
        if answer.characters:
            most = min(most, self._retries.once_begun) if fault.once_begun else 0
        if not fault.again or not most:
            raise ModelError(fault.cause, fault.message)
        if fault.wait is not None and fault.wait > self._retries.patience:
            says = fault.message.partition(";")[0]
            raise ModelError(fault.cause, f"{says}; it asks to wait {fault.wait:.0f} s, try again after that")
        if failures > most:
            times = f" (tried {failures} times)" if failures > 1 else ""
            raise ModelError(fault.cause, fault.message + times)
        return fault.wait if fault.wait is not None else self._retries.wait(failures)

    def _server(self) -> Server:
        variable = self._key.variable if self._key else VARIABLES[self.provider][0]
        return Server(
            provider=self.provider,
            model=self._model,
            address=_without_userinfo(self._base_url) if self._base_url else "",
            key_variable=variable,
            secret=self._secret,
            nearest=prices.nearest_models(self.name),
            optional=[name for name in self.optional if name not in self._refused],
        )

    def _fault(self, error: Exception, answer: Answer) -> Fault:
        server = self._server()
        own = next((cause for cause in wire.causes(error) if isinstance(cause, WireError | ServerSaid)), None)
        if isinstance(own, WireError):
            return faults.from_wire(server, own)
        if isinstance(own, ServerSaid):
            told = self._told(own, server)
            return replace(told, once_begun=True)  # its own word for it, where a lost connection says nothing
        names = {cls.__name__ for cause in wire.causes(error) for cls in type(cause).__mro__}
        if "ConnectTimeout" in names:
            return faults.unreachable(server, f"no connection within {CONNECT_SECONDS:g} s")
        if any(name.endswith(("ReadTimeout", "TimeoutError", "TimeoutException")) for name in names):
            return faults.silent(server, self._silence)
        if not names & _CONNECTION_ERRORS:
            return faults.unreadable(server, error)
        if answer.characters:
            return faults.broke_off(server, answer.characters)
        *_, deepest = wire.causes(error)
        return faults.unreachable(server, str(deepest) or type(deepest).__name__)


_CONNECTION_ERRORS = {"APIConnectionError", "OSError", "RequestError"}
"""The classes by which the SDKs, Python and httpx report a lost connection; subclasses count as well."""


def _without_userinfo(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
