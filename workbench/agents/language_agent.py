"""The agent around a chat model: builds the conversation, asks, parses the answer, asks again if it is malformed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from workbench.agents.agent import Agent, Attempt, Listener, ModelError, Prompt, Proposal
from workbench.agents.config import AgentConfig
from workbench.agents.conversation import Conversation, message_json, response_text, tools_json
from workbench.agents.history import ContextTooLong
from workbench.agents.messages import ChatModel, Message, Response, Sampling
from workbench.agents.models.tokens import estimate_prompt
from workbench.agents.parsing import FormatError, make_parser
from workbench.agents.tools import make_tools
from workbench.session import prices
from workbench.session.state import SessionState

_ASSUMED_OUTPUT = 8192
"""Tokens of an answer if the configuration sets no limit."""


class LanguageAgent(Agent):
    """Proposes what a chat model answers. It keeps no memory: every call is built from the session.

    Between two proposals `use` changes the model, and `sampling` may be set.
    """

    asks_model = True

    def __init__(self, config: AgentConfig, chat: ChatModel, *, listener: Listener | None = None) -> None:
        self.name = config.name
        self.config = config
        self.sampling = config.sampling.as_sampling()
        self.limits = config.limits.as_limits()
        self.window = config.window
        self.commands = tuple(config.tools)
        self.tells_edits = config.tell_edits
        self.lint = config.lint
        self.loops = config.loops
        self.submit = config.submit
        self.listener = listener or Listener()
        self.chat = chat
        self.use(chat)
        self._parser = make_parser(config.parser, config.tools)
        self._conversation = Conversation(config, self._parser)
        self.tools = make_tools(config.tools) if config.parser == "tool_calls" else ()

    def use(self, chat: ChatModel) -> ChatModel:
        """Use another model from now on. Returns the previous one, which the caller closes."""
        before, self.chat = self.chat, chat
        self.model = chat.name
        self.author = f"model:{chat.name.partition(':')[2] or chat.name}"
        return before

    async def close(self) -> None:
        """Close the model's connections."""
        await self.chat.close()

    async def propose(self, state: SessionState) -> Proposal:
        """The next action. Answers that cannot be used go back to the model with the reason, a few times.

        Raises ModelError: bad_format if none of the answers could be used, cost_limit if the next call may cost more
        than is left, context_length if the conversation does not fit, or a cause of the model. If it is cancelled, the
        listener gets what was received by then.
        """
        retries: list[Message] = []
        spent = state.cost
        reason = ""
        for number in range(1, self.config.format_attempts + 1):
            messages = self.messages(state, retries)
            call = _Call(self, state, messages, number, spent)
            response = await call.answer()
            spent = call.spent + (response.usage.cost or 0.0)
            try:
                parsed = self._parser.parse(response)
            except FormatError as error:
                reason = str(error)
                call.failed("bad_format", reason, response)
                retries += self._conversation.retry(response, reason, number)
                continue
            return Proposal(
                action=parsed.action,
                thought=parsed.thought,
                response=response_text(response),
                prompt=self.prompt(messages),
                usage=response.usage,
                attempt=number,
                latency=call.seconds,
                remark=parsed.remark,
                reasoning=response.reasoning,
                continuation=response.continuation,
            )
        many = self.config.format_attempts
        answers = f"{many} answers" if many > 1 else "an answer"
        raise ModelError("bad_format", f"the model gave {answers} that could not be used; the last: {reason}")

    def messages(self, state: SessionState, retries: list[Message] | None = None) -> list[Message]:
        """The messages that are sent for a state. Raises ModelError (context_length)."""
        messages = [*self._conversation.messages(state), *(retries or ())]
        try:
            for step in self.config.history:
                messages = step.process(messages, self._room(), _tokens)
        except ContextTooLong as error:
            raise ModelError("context_length", str(error)) from None
        return messages

    def prompt(self, messages: Sequence[Message]) -> Prompt:
        """What the log keeps of a call with these messages."""
        return Prompt(
            messages=tuple(map(message_json, messages)),
            tokens=tuple(map(_tokens, messages)),
            budget=self.config.prompt_budget(self._room()),
            tools=tools_json(self.tools) if self.tools else "",
            tool_tokens=estimate_prompt((), self.tools),
            settings=self.chat.settings(self.sampling_sent()),
        )

    def _room(self) -> int | None:
        """How many tokens the messages may have so that the answer still fits into the context window; None if that is
        not known.
        """
        context = prices.context_window(self.model)
        return None if context is None else context - self._answer_tokens() - estimate_prompt((), self.tools)

    def _answer_tokens(self) -> int:
        """Tokens of the longest answer: at most half of the context window, so that something can be asked."""
        wanted = self.sampling.max_output_tokens or _ASSUMED_OUTPUT
        context = prices.context_window(self.model)
        return wanted if context is None else min(wanted, context // 2)

    def sampling_sent(self) -> Sampling:
        """The sampling settings that are sent: the limit of the answer leaves room for the prompt."""
        if self.sampling.max_output_tokens is None:
            return self.sampling
        return replace(self.sampling, max_output_tokens=self._answer_tokens())

    def check_cost(self, state: SessionState, spent: float, messages: list[Message]) -> None:
        """Raises ModelError (cost_limit) if the next call may exceed a limit; `spent` includes answers that are not
        logged yet.
        """
        limits = state.limits
        tokens = estimate_prompt(messages, self.tools)
        worst = self.chat.worst_case(messages, self.tools, self.sampling_sent())
        if worst is None:
            most = state.input_tokens + state.output_tokens + tokens + self._answer_tokens()
            if limits.tokens is not None and most > limits.tokens:
                raise ModelError(
                    "cost_limit",
                    f"the price of {self.model} is not known, and the next call may pass the limit of "
                    f"{limits.tokens:,} tokens ({most:,} with it); raise the limit to go on",
                )
        elif limits.cost is not None and spent + worst > limits.cost:
            left = max(0.0, limits.cost - spent)
            raise ModelError(
                "cost_limit",
                f"the next call may cost up to ${worst:.2f}, and ${left:.2f} of ${limits.cost:.2f} are left; raise the "
                "limit to go on",
            )


class _Call(msgspec.Struct):
    """One call of the model, and the report of it if it leads to no proposal."""

    agent: LanguageAgent
    state: SessionState
    messages: list[Message]
    number: int
    spent: float
    """Dollars spent before this call, and on its answers that failed and were asked for again."""
    seconds: float = 0.0
    _in_vain: bool = False
    """The server refused the call and has sent nothing since."""
    _began: float = msgspec.field(default_factory=time.monotonic)

    async def answer(self) -> Response:
        """The whole answer. Raises ModelError."""
        agent = self.agent
        self._check_cost()
        try:
            response = await agent.chat.respond(
                self.messages,
                tools=agent.tools,
                sampling=agent.sampling_sent(),
                on_delta=self._delta,
                on_reasoning=self._reasoning,
                on_retry=self._retrying,
            )
        except asyncio.CancelledError:
            self._cut_short("cancelled", "cancelled")
            raise
        except ModelError as error:
            if error.cause != "cost_limit":  # which is ours, and told all that came
                self._cut_short(error.cause, str(error))
            raise
        self.seconds = time.monotonic() - self._began
        if response.stop_reason == "cancelled":
            self.failed("cancelled", "cancelled", response)
            raise asyncio.CancelledError
        if response.stop_reason == "content_filter":
            reason = "the provider's content filter stopped the answer"
            self.failed("content_filter", reason, response)
            raise ModelError("content_filter", reason)
        return response

    def _check_cost(self) -> None:
        self.agent.check_cost(self.state, max(self.spent, self.state.cost), self.messages)

    def failed(self, cause: str, reason: str, response: Response | None, *, again: bool = False) -> None:
        """Report a call that led to no proposal. `response` is None if nothing was received or has to be paid."""
        self.agent.listener.attempted(
            Attempt(
                response=response_text(response) if response is not None else "",
                cause=cause,
                reason=reason,
                prompt=self.agent.prompt(self.messages),
                usage=response.usage if response is not None else None,
                number=self.number,
                latency=time.monotonic() - self._began,
                reasoning=response.reasoning if response is not None else "",
                again=again,
            )
        )

    def _delta(self, text: str) -> None:
        self._in_vain = False
        self.agent.listener.delta(text)

    def _reasoning(self, text: str) -> None:
        self._in_vain = False
        self.agent.listener.reasoning(text)

    def _retrying(self, reason: str, seconds: float) -> None:
        self._in_vain = True
        partial = self.agent.chat.partial()
        if _holds_something(partial):
            cause = "content_filter" if partial.stop_reason == "content_filter" else "network"
            self.failed(cause, reason, partial, again=True)
            self.spent += partial.usage.cost or 0.0
            self._check_cost()
        self.agent.listener.retrying(reason, seconds)

    def _cut_short(self, cause: str, reason: str) -> None:
        """Report what was received, since it has to be paid. A cancelled call may cost money even if nothing was
        received.
        """
        partial = self.agent.chat.partial()
        if _holds_something(partial) or (cause == "cancelled" and not self._in_vain):
            self.failed(cause, f"{reason} (tokens and cost may be estimates)", partial)
        else:
            self.failed(cause, reason, None)


def _holds_something(response: Response) -> bool:
    return bool(response.text or response.tool_calls or response.reasoning)


def _tokens(message: Message) -> int:
    return estimate_prompt((message,))
