"""An answer while it arrives: text, reasoning, tool calls and usage. Its size is bounded, and it is readable at every
moment.
"""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import msgspec

from workbench.agents.messages import OnDelta, Response, StopReason, ToolCall
from workbench.agents.models.tokens import estimate_tokens
from workbench.agents.models.usage import part
from workbench.agents.models.wire import WireError
from workbench.session.events import Usage
from workbench.session.plain import without_surrogates
from workbench.session.secrets import Redactor

LONGEST_ANSWER = 16 << 20
"""Characters of text, reasoning and tool calls in total."""


class ListenerFailed(Exception):
    """The listener failed, not the model. The cause of this exception says how."""


_STOP_REASONS: tuple[tuple[StopReason, re.Pattern[str]], ...] = (
    # The model's own mistakes: the agent tells it that its answer cannot be used.
    ("other", re.compile(r"^(?:malformed|unexpected|too_many|missing)")),
    ("content_filter", re.compile(r"filter|safety|block|prohibit|recitation|refus|moderat|spii|sensitive|toxic")),
    (
        "failed",
        re.compile(r"error|abort|cancel|fail|insufficient|time_?out|interrupt|overload|unavailable|language|^other$"),
    ),
    ("length", re.compile(r"length|max_.*tokens|context_window")),
    ("tool_calls", re.compile(r"tool|function_call$")),
    ("stop", re.compile(r"^(?:stop|end_turn)")),
)
"""What servers mean by their words for the end of an answer; the first match counts."""


def stop_reason(said: Any) -> StopReason | None:
    """The meaning of a server's word for the end of an answer; None for no word. An unknown word (`eos`, `COMPLETE`)
    ends a complete answer.
    """
    said = part(said, "type") or said
    if not said or not isinstance(said, str):
        return None
    word = said.lower().removeprefix("finish_reason_")
    if word == "unspecified":
        return None
    return next((kind for kind, sign in _STOP_REASONS if sign.search(word)), "other")


def words(value: Any) -> tuple[str, str]:
    """The text and the reasoning in a message's content: a string, a part, or a list of them."""
    if isinstance(value, str):
        return value, ""
    if isinstance(value, list):
        pairs = [words(item) for item in value]
        return "".join(pair[0] for pair in pairs), "".join(pair[1] for pair in pairs)
    kind = str(part(value, "type") or "")
    inner = next((found for name in _WORDS if (found := part(value, name))), None)
    text, reasoning = words(inner) if inner is not None else ("", "")
    return ("", text + reasoning) if "think" in kind or "reason" in kind else (text, reasoning)


_WORDS = ("text", "thinking", "reasoning", "summary", "content", "refusal")
"""Fields that hold the words of a part of a message."""


class _Call(msgspec.Struct):
    id: str = ""
    name: str = ""
    pieces: list[str] = msgspec.field(default_factory=list)
    whole: Any = None
    """The arguments, if the server sends them in one piece."""

    @property
    def raw(self) -> str:
        """The arguments as text."""
        if self.pieces or self.whole is None:
            return "".join(self.pieces)
        return self.whole if isinstance(self.whole, str) else json.dumps(self.whole, default=str)


class _Forwarder:
    """Forwards a text piece by piece, without keys. Reasoning at its beginning goes to another listener."""

    def __init__(self, redactor: Redactor, said: OnDelta | None, thought: OnDelta | None) -> None:
        self._redactor = redactor
        self._said = said
        self._thought = thought
        self._held = ""
        self._thinks: bool | None = None if thought else False
        """Whether the text is inside reasoning; None until that is known."""
        self._blank = False

    def forward(self, piece: str, *, last: bool = False) -> None:
        """Forward the next piece. After the `last` nothing is held back."""
        text = self._held + piece
        half = text[-1:] if not last and "\ud800" <= text[-1:] <= "\udbff" else ""  # of a surrogate pair
        text = self._redactor.text(without_surrogates(text.removesuffix(half)))
        held = self._redactor.unfinished(text)
        if self._thinks is None:
            text, held = self._begin(text, held)
        if self._thinks:
            thought, end, text_after = text.partition("</think>")
            if end:
                self._thinks, self._blank, text = False, True, text_after
                _tell(self._thought, thought)
            else:
                held = max(held, _beginning_of("</think>", text))
        if self._blank:  # what parts the reasoning from the answer is part of neither
            text = text.lstrip()
            self._blank = not text
        held = 0 if last else held
        self._held = text[max(0, len(text) - held) :] + half
        _tell(self._thought if self._thinks else self._said, text[: max(0, len(text) - held)])

    def _begin(self, text: str, held: int) -> tuple[str, int]:
        """The beginning of a text that can be forwarded, and how many characters at its end have to wait."""
        beginning = text.lstrip()
        if beginning.startswith("<think>"):
            self._thinks = True
            return beginning.removeprefix("<think>"), min(held, len(beginning) - len("<think>"))
        if "<think>".startswith(beginning) and len(text) < 1000:
            return text, len(text)
        self._thinks = False
        return text, held


def _beginning_of(word: str, text: str) -> int:
    """How many characters at the end of a text may be the beginning of `word`."""
    return next((size for size in range(len(word) - 1, 0, -1) if text.endswith(word[:size])), 0)


class Answer:
    """What one call has received so far."""

    def __init__(
        self, on_delta: OnDelta | None = None, on_reasoning: OnDelta | None = None, *, secret: str = ""
    ) -> None:
        """`secret` is removed from everything: the server was sent this key, and may repeat it."""
        self._redactor = Redactor([secret])
        self._text_listener = _Forwarder(self._redactor, on_delta, on_reasoning or _nobody)
        self._reasoning_listener = _Forwarder(self._redactor, on_reasoning, None)
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[_Call] = []
        self._open: dict[Any, _Call] = {}
        self.characters = 0
        """Characters of everything received so far."""
        self.usage: Usage | None = None
        """As the provider counts it; None until it says so."""
        self.stop: StopReason | None = None
        """Why the model stopped; None until the server says so."""
        self.why = ""
        """The server's word for that."""
        self.continuation = ""
        """What has to be sent back with the calls of this answer."""
        self.kept: dict[Any, dict[str, Any]] = {}
        """Blocks of which that consists, by index, as far as they have come."""

    @property
    def text(self) -> str:
        """The text so far."""
        return self._whole(self._text)

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return self._whole(self._reasoning)

    def _whole(self, pieces: list[str]) -> str:
        pieces[:] = ["".join(pieces)]
        return self._clean(pieces[0])

    def _clean(self, text: str) -> str:
        return self._redactor.text(without_surrogates(text))

    def add_text(self, piece: Any) -> None:
        """Add the next piece of text; anything else is ignored."""
        if isinstance(piece, str) and piece:
            self._count(piece)
            self._text.append(piece)
            self._text_listener.forward(piece)

    def add_reasoning(self, piece: Any) -> None:
        """Add the next piece of reasoning."""
        if isinstance(piece, str) and piece:
            self._count(piece)
            self._reasoning.append(piece)
            self._reasoning_listener.forward(piece)

    def add_content(self, content: Any) -> None:
        """Add the next piece of a message's content, in any form that servers use."""
        text, reasoning = words(content)
        self.add_reasoning(reasoning)
        self.add_text(text)

    def add_call(self, key: Any, *, id: Any = "", name: Any = "", arguments: Any = None) -> None:  # noqa: A002
        """Add the beginning of a tool call, or its next piece: the name, or the arguments (as JSON text, or as a
        value).

        A different id, or a different name after the arguments began, starts another call under the same `key`.
        """
        id = id if isinstance(id, str) else ""  # noqa: A001
        name = name if isinstance(name, str) else ""
        if not (id or name or arguments):
            return
        call = self._open.get(key)
        if call is None or (id and call.id and id != call.id) or (name and call.raw and name != call.name):
            call = _Call()
            self._calls.append(call)
            self._open[key] = call
        call.id = id or call.id
        if name != call.name:  # some send it in pieces, and some with every piece
            call.name += name
        if isinstance(arguments, str):
            call.pieces.append(arguments)
        elif arguments is not None:
            call.whole = arguments
        self._count(id + name + (arguments if isinstance(arguments, str) else call.raw))

    def keep(self, key: Any, field: str, piece: Any) -> None:
        """Add the next piece to a field of a block in `kept`."""
        if key in self.kept and isinstance(piece, str):
            whole = f"{self.kept[key].get(field) or ''}{piece}"
            if len(whole) > LONGEST_ANSWER:
                raise WireError("too_long", self.text[:200].encode("utf-8", "replace"))
            self.kept[key][field] = whole

    def stops(self, why: Any) -> None:
        """Note why the model stopped, in the server's word; anything else is ignored."""
        if (reason := stop_reason(why)) is not None:
            self.stop = "tool_calls" if reason == "stop" and self._calls else reason
            self.why = str(part(why, "message") or part(why, "type") or why)

    def finish(self) -> None:
        """Nothing more arrives: forward what was held back."""
        self._text_listener.forward("", last=True)
        self._reasoning_listener.forward("", last=True)

    def _count(self, piece: str) -> None:
        self.characters += len(piece)
        if self.characters > LONGEST_ANSWER:
            raise WireError("too_long", self.text[:200].encode("utf-8", "replace"))

    @property
    def called(self) -> int:
        """How many tool calls have begun."""
        return len(self._calls)

    def calls(self) -> tuple[ToolCall, ...]:
        """The tool calls so far."""
        return tuple(map(self._tool_call, self._calls))

    def _tool_call(self, call: _Call) -> ToolCall:
        call.id = call.id or _new_id()
        known, name, raw = map(self._clean, (call.id, call.name, call.raw))
        arguments = _arguments(raw)
        if arguments is None:
            return ToolCall(id=known, name=name, raw_arguments=raw)
        return ToolCall(id=known, name=name, arguments=arguments)

    def estimated_output(self) -> int:
        """An estimate of the tokens received so far, for providers that do not say."""
        calls = sum(estimate_tokens(call.raw) for call in self._calls)
        return estimate_tokens(self.text) + estimate_tokens(self.reasoning) + calls

    def response(self, usage: Usage, attempts: int) -> Response:
        """The answer as a value."""
        calls = self.calls()
        return Response(
            text=self.text,
            tool_calls=calls,
            reasoning=self.reasoning,
            continuation=self.continuation if calls else "",
            usage=usage,
            stop_reason=self.stop or "cancelled",
            attempts=attempts,
        )


def _nobody(_: str) -> None:
    """A listener that ignores everything."""


def _tell(listener: OnDelta | None, piece: str) -> None:
    if listener is not None and piece:
        try:
            listener(piece)
        except Exception as error:
            raise ListenerFailed from error


def _new_id() -> str:
    """An id for a call that came without one: unique in the session."""
    return f"call_{uuid.uuid4().hex[:16]}"


def _arguments(raw: str) -> dict[str, Any] | None:
    """The arguments of a call as servers write them: JSON, perhaps encoded twice, with raw newlines, or nothing. None
    if it is no JSON object.
    """
    value: Any = raw
    for _ in range(3):
        if not isinstance(value, str):
            break
        try:
            value = json.loads(value, strict=False) if value.strip() else None
        except (ValueError, RecursionError):
            return None
    if value is None:
        return {}
    return without_surrogates(value) if isinstance(value, dict) else None
