"""A chat model that says what it is told to, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from workbench.agents.messages import ChatModel, Message, OnDelta, OnRetry, Response, Sampling, Tool
from workbench.session.events import Usage

_DEFAULT = Sampling()


class ScriptedChat(ChatModel):
    """Gives its answers one after the other: a text, a response, or an error to raise.

    With `hang`, it says the text of its answer and then waits for ever. Each call may cost `price` dollars, and has
    cost that when it is cut short. With `tries_again` an error after some text is followed by the next answer.
    """

    def __init__(
        self,
        answers: Sequence[str | Response | Exception],
        *,
        name: str = "test:model",
        hang: bool = False,
        price: float | None = None,
        tries_again: bool = False,
    ) -> None:
        self.name = name
        self.received = ""
        self.hang = hang
        self.price = price
        self.tries_again = tries_again
        self.asked: list[list[Message]] = []
        self.tools: Sequence[Tool] = ()
        self.sampling: Sampling | None = None
        self.streaming = asyncio.Event()
        """Set once the answer was said."""
        self.closed = False
        self._answers = list(answers)

    async def respond(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Tool] = (),
        sampling: Sampling = _DEFAULT,
        on_delta: OnDelta | None = None,
        on_reasoning: OnDelta | None = None,
        on_retry: OnRetry | None = None,
    ) -> Response:
        self.asked.append(list(messages))
        self.tools, self.sampling, self.received = tools, sampling, ""
        answer = self._answers.pop(0)
        if isinstance(answer, str):
            answer = Response(answer)
        if isinstance(answer, Exception) and not answer.args[1:]:
            raise answer
        if on_reasoning is not None and isinstance(answer, Response) and answer.reasoning:
            on_reasoning(answer.reasoning)
        text = answer.text if isinstance(answer, Response) else str(answer.args[1])
        for piece in text.splitlines(keepends=True):
            self.received += piece
            if on_delta is not None:
                on_delta(piece)
        self.streaming.set()
        if self.hang:
            await asyncio.Event().wait()
        if isinstance(answer, Exception) and self.tries_again and on_retry is not None:
            on_retry(str(answer), 0.0)
            return await self.respond(
                messages, tools=tools, sampling=sampling, on_delta=on_delta, on_reasoning=on_reasoning
            )
        if isinstance(answer, Exception):
            raise answer
        return answer

    def worst_case(
        self, messages: Sequence[Message], tools: Sequence[Tool] = (), sampling: Sampling | None = None
    ) -> float | None:
        return self.price

    def partial(self) -> Response:
        return Response(self.received, usage=Usage(output_tokens=5, cost=self.price), stop_reason="cancelled")

    def settings(self, sampling: Sampling) -> dict[str, Any]:
        return {"temperature": sampling.temperature}

    async def close(self) -> None:
        self.closed = True
