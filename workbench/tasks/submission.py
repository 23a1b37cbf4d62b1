"""The submission as an evaluator sees it: questions over a socket, and verdicts if it fails. An evaluator
(`tasks/<id>/evaluate/`) is a function that takes a `Job` and returns `Scores`.
"""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

MAX_LINE = 4096
"""Bytes of one answer."""
START_SECONDS = 20.0
"""How long the submission server may take to say that the room is up."""

T = TypeVar("T")
BadVerdict = Literal["invalid", "timeout", "crashed"]


class Failure(Exception):
    """The submission failed: its verdict, and a message that its author can act on."""

    def __init__(self, verdict: BadVerdict, message: str) -> None:
        super().__init__(message)
        self.verdict: BadVerdict = verdict
        self.message = message


class NoPlainValue(ValueError):
    """A function returned something that is not made of plain values. `str()` describes it."""


class ProcessEnded(Failure):
    """The submission's process ended without an answer. Only the process that started it knows how it ended."""


class RoomNotReady(Exception):
    """The submission server did not come up: the room's fault, not the submission's."""


@dataclass(frozen=True)
class Scores:
    """What an evaluator returns."""

    metrics: dict[str, float]
    standard_error: float | None = None
    """Of the primary metric."""


@dataclass(frozen=True)
class Job:
    """What an evaluator is given."""

    submissions: Sequence[Submission]
    """The running submission, once for each room; none where it is not run."""
    random: random.Random
    """Seeded, for the evaluator alone."""
    split: str
    folder: Path
    """The task's folder."""
    progress: Callable[[float, str], None]
    artifact: bytes = b""
    """The submission itself, where it is no code. Not to be trusted."""
    artifact_name: str = ""
    """For messages."""
    data: Mapping[str, DataFolders] = field(default_factory=dict)
    """The task's datasets, by id."""
    protocol: str = ""
    """Whose rules the score follows: the workbench's (empty) or MLGym's (`mlgym`)."""

    @property
    def submission(self) -> Submission:
        """The running submission, where that is code, a checkpoint or a model."""
        if not self.submissions:
            raise TypeError("the submission is no code: nothing can be asked; it is in job.artifact")
        return self.submissions[0]

    @property
    def secret(self) -> Path:
        """The secret part of the task's only dataset."""
        (only,) = self.data.values()
        return only.secret


@dataclass(frozen=True)
class DataFolders:
    """Where a prepared dataset is."""

    public: Path
    secret: Path


@dataclass(frozen=True)
class Terms:
    """The limits under which a submission is asked."""

    function: str
    """Its function, for messages."""
    answer_seconds: float
    """For each answer."""
    loading_seconds: float
    total_seconds: float
    """By the clock, for all of it, from the loading of the submission on."""
    withhold: bool = False
    """Withhold the text of its failures once it has been asked: it could reveal the questions, which are secret."""


@dataclass
class Submission:
    """The submission's process as the evaluator sees it: a socket to ask over.

    With several rooms, the first question to one of them starts it, and ends the one before for good.
    """

    channel: socket.socket
    terms: Terms
    before_start: Callable[[], None] = lambda: None
    """Called before the first question starts it."""
    questions: int = 0
    _started: bool = field(init=False, default=False)
    _deadline: float = field(init=False, default=float("inf"))
    _seconds: float = field(init=False, default=0.0)
    """How long the submission may take now; `_late` is the message when it takes longer."""
    _late: str = field(init=False, default="")
    _ids: Iterator[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._ids = _random_ids()

    def start(self) -> None:
        """Wait until the submission is loaded. Raises RoomNotReady, or Failure."""
        terms = self.terms
        try:
            self._allow(START_SECONDS, "the room said nothing")
            hello = self._line()
        except (Failure, OSError) as error:
            raise RoomNotReady(str(error)) from error
        if hello != ("hello", b""):
            raise RoomNotReady(hello[0][:200])
        self._started = True
        self._deadline = time.monotonic() + terms.total_seconds
        self._allow(terms.loading_seconds, "it did not load")
        self._carry_out(self.channel.sendall, b"load\n")
        answer, rest = self._line()
        if answer != "ready" or rest:
            raise self._fault(answer)
        self._allow(terms.answer_seconds, f"{terms.function} gave no answer")

    def leave(self) -> None:
        """Close the connection: nothing more is asked."""
        self._started = False
        self.channel.close()

    def ask(self, question: str) -> str:
        """One question, one answer (without its id). Raises Failure."""
        answer, rest = self._exchange(question.encode() + b"\n")
        if rest:
            raise self._fault()
        return answer

    def call(self, *arguments: Any) -> Any:
        """Call the submission's function (with plain values, lists, dicts of plain values); what it returned.

        Raises NoPlainValue for a value that is not of plain ones, and Failure.
        """
        encoded = [{"pairs": [*item.items()]} if isinstance(item, dict) else item for item in arguments]
        answer = self.ask("call " + json.dumps(encoded, separators=(",", ":")))
        if answer.startswith("? "):
            raise NoPlainValue(answer[2:])
        try:
            return json.loads(answer)
        except (ValueError, RecursionError):
            raise NoPlainValue(answer[:100]) from None

    def send(self, question: bytes, most: int) -> bytes:
        """Send bytes to the program that has loaded a model; its answer, at most `most` bytes. Raises Failure."""
        deadline = time.monotonic() + self.terms.answer_seconds
        answer, received = self._exchange(f"send {len(question)} {most}\n".encode(), question)
        mark, _, told = answer.partition(" ")
        if mark != "=":
            raise self._fault()
        size = int(told) if told.isascii() and told.isdigit() and len(told) < 20 else -1
        if not 0 <= size <= most:
            raise Failure("invalid", f"an answer of {told[:20]!r} bytes; {most:,} are the most")
        content = bytearray(received)
        while len(content) < size:
            self._in_time(deadline)
            content += self._received(min(size - len(content), 1 << 20))
        if len(content) != size:
            raise self._fault()
        return bytes(content)

    def _exchange(self, *question: bytes) -> tuple[str, bytes]:
        """Ask, after starting it if need be: the answer's first line without its id, and the bytes behind it."""
        if not self._started:
            self.before_start()
            self.start()
        ident = next(self._ids)
        self.questions += 1
        self._carry_out(self.channel.sendall, ident.encode() + b" " + question[0])
        for piece in question[1:]:
            self._carry_out(self.channel.sendall, piece)
        line, rest = self._line()
        got, _, answer = line.partition(" ")
        if got != ident:
            raise self._fault(line)
        if answer.startswith("! "):
            raise self._fault(answer)
        if time.monotonic() > self._deadline:
            terms = self.terms
            limit = f"more than {terms.total_seconds:g} s by the clock"
            raise Failure("timeout", f"{terms.function} is too slow: all of it took {limit}")
        return answer, rest

    def _allow(self, seconds: float, late: str) -> None:
        """How long the submission may be silent. The kernel keeps the time, which saves a system call a question."""
        self._seconds, self._late = seconds, f"{late} within {seconds:g} s"
        self.channel.settimeout(None)
        whole = int(seconds)
        span = struct.pack("ll", whole, int((seconds - whole) * 1e6) or (not whole))
        self.channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, span)
        self.channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, span)

    def _in_time(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise Failure("timeout", self._late)

    def _carry_out(self, work: Callable[[Any], T], argument: Any) -> T:
        """Send or receive. A time-out or a closed socket is a failure of the submission."""
        try:
            return work(argument)
        except (TimeoutError, BlockingIOError):
            raise Failure("timeout", self._late) from None
        except OSError:
            raise self._ended() from None

    def _received(self, size: int) -> bytes:
        """Up to `size` bytes, at least one."""
        piece = self._carry_out(self.channel.recv, size)
        if not piece:
            raise self._ended()
        return piece

    def _line(self) -> tuple[str, bytes]:
        """The next line, and the bytes that arrived behind it."""
        data = self._received(MAX_LINE)
        deadline = 0.0  # the kernel's time is for each piece; a line in many pieces takes no longer than one
        while (end := data.find(b"\n")) < 0:
            deadline = deadline or time.monotonic() + self._seconds
            self._in_time(deadline)
            if len(data) >= MAX_LINE:
                raise Failure("invalid", f"an answer of more than {MAX_LINE} bytes was written to the evaluator")
            data += self._received(MAX_LINE)
        return data[:end].decode("utf-8", "replace"), data[end + 1 :]

    def _ended(self) -> ProcessEnded:
        return ProcessEnded("crashed", f"the process of {self.terms.function} ended without an answer")

    def _fault(self, answer: str = "") -> Failure:
        """The failure that the server reports (`! <verdict> <text>`); anything else is misuse of the channel."""
        mark, _, rest = answer.partition(" ")
        verdict, _, text = rest.partition(" ")
        if mark == "!" and verdict in ("invalid", "crashed"):
            if self.terms.withhold and self.questions:
                failed = f"{self.terms.function} failed while it was scored"
                text = f"{failed}; on these data it cannot tell more (`validate` can)"
            return Failure(cast(BadVerdict, verdict), text)
        return Failure("invalid", "something other than the returned value was written to the evaluator")


def _random_ids() -> Iterator[str]:
    while True:
        block = os.urandom(8 * 1024).hex()
        for start in range(0, len(block), 16):
            yield block[start : start + 16]
