"""The submission as the judge sees it: a socket on which questions are asked, and the verdicts of a failed one.

An evaluator (`tasks/<id>/evaluate/`) is a function that takes a `Job` and returns `Scores`.
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
from typing import Any, Literal, cast

MAX_LINE = 4096
"""Bytes of one answer."""
START_SECONDS = 20.0
"""Until the player must have said that the room is up."""

BadVerdict = Literal["invalid", "timeout", "crashed"]


class Failure(Exception):
    """The submission failed: its verdict, and a message that its author can act on."""

    def __init__(self, verdict: BadVerdict, message: str) -> None:
        super().__init__(message)
        self.verdict: BadVerdict = verdict
        self.message = message


class NoPlainValue(ValueError):
    """What a function returned cannot be sent, or is not JSON. `str()` describes it."""


class ProcessEnded(Failure):
    """The submission's process ended without an answer. How it ended, only who started it knows."""


class RoomNotReady(Exception):
    """The player did not come up: the room's fault, not the submission's."""


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
    """By whose rules is scored: empty for our own, `mlgym` for MLGym's."""

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


@dataclass
class Submission:
    """The submission's process as the judge sees it: a socket to ask over.

    With several rooms, the first question to one of them starts it, and ends the one before for good.
    """

    channel: socket.socket
    function: str
    """Its function, for messages."""
    answer_seconds: float
    """For each answer."""
    loading_seconds: float
    total_seconds: float
    """By the clock, for all of it, from the loading of the submission on."""
    questions: int = 0
    hushed: bool = False
    """Whether what it says of a failure is withheld, once it was asked: its questions are secret, and it might tell."""
    before_start: Callable[[], None] = lambda: None
    """Called before it is started at its first question."""
    _started: bool = field(init=False, default=False)
    _deadline: float = field(init=False, default=float("inf"))
    _ids: Iterator[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._ids = _random_ids()

    def start(self) -> None:
        """Wait until the submission is loaded. Raises RoomNotReady, or Failure."""
        self._allow(START_SECONDS)
        try:
            first, _, rest = self._line(START_SECONDS).partition("\n")
        except (Failure, OSError) as error:
            raise RoomNotReady(str(error)) from error
        if first != "hello":
            raise RoomNotReady(first[:200])
        self._started = True
        self._deadline = time.monotonic() + self.total_seconds
        self._allow(self.loading_seconds)
        try:
            self.channel.sendall(b"load\n")
            answer = (rest or self._line(self.loading_seconds)).removesuffix("\n")
        except (TimeoutError, BlockingIOError):
            raise Failure("timeout", f"it did not load within {self.loading_seconds:g} s") from None
        except OSError:
            raise ProcessEnded("crashed", "the process ended while it was loaded") from None
        if answer != "ready":
            raise self._fault(answer)
        self._allow(self.answer_seconds)

    def leave(self) -> None:
        """Hang up: nothing more is asked."""
        self._started = False
        self.channel.close()

    def _start_late(self) -> None:
        self.before_start()
        self.start()

    def ask(self, question: str) -> str:
        """One question, one answer (without its id). Raises Failure."""
        if not self._started:
            self._start_late()
        ident = next(self._ids)
        self.questions += 1
        try:
            self.channel.sendall(f"{ident} {question}\n".encode())
            line = self._line(self.answer_seconds)
        except (TimeoutError, BlockingIOError):
            raise Failure("timeout", f"{self.function} gave no answer within {self.answer_seconds:g} s") from None
        except OSError:
            raise ProcessEnded("crashed", f"the process of {self.function} ended without an answer") from None
        if line.count("\n") != 1:
            raise Failure("invalid", "something other than the returned value was written to the judge")
        got, _, answer = line[:-1].partition(" ")
        if got != ident:
            raise self._fault(line[:-1])
        if answer.startswith("! "):
            raise self._fault(answer)
        if time.monotonic() > self._deadline:
            raise self._too_long()
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
        """Ask the program that has loaded a model: bytes for bytes, at most `most` of them. Raises Failure."""
        if not self._started:
            self._start_late()
        ident = next(self._ids)
        self.questions += 1
        deadline = time.monotonic() + self.answer_seconds
        try:
            self.channel.sendall(f"{ident} send {len(question)} {most}\n".encode())
            self.channel.sendall(question)
            head, received = self._head(deadline)
            got, _, answer = head.decode("utf-8", "replace").partition(" ")
            if got != ident or not answer.startswith("= "):
                raise self._fault(head.decode("utf-8", "replace") if got != ident else answer)
            told = answer[2:]
            size = int(told) if told.isascii() and told.isdigit() and len(told) < 20 else -1
            if not 0 <= size <= most:
                raise Failure("invalid", f"an answer of {told[:20]!r} bytes; {most:,} are the most")
            while len(received) < size:
                self._in_time(deadline)
                piece = self.channel.recv(min(size - len(received), 1 << 20))
                if not piece:
                    raise ProcessEnded("crashed", f"the process of {self.function} ended within an answer")
                received += piece
        except (TimeoutError, BlockingIOError):
            raise Failure("timeout", f"{self.function} gave no answer within {self.answer_seconds:g} s") from None
        except OSError:
            raise ProcessEnded("crashed", f"the process of {self.function} ended without an answer") from None
        if len(received) != size:
            raise Failure("invalid", "something other than the returned value was written to the judge")
        if time.monotonic() > self._deadline:
            raise self._too_long()
        return bytes(received)

    def _head(self, deadline: float) -> tuple[bytes, bytearray]:
        """The first line that came, and what came behind it."""
        data = bytearray()
        while b"\n" not in data:
            if len(data) >= MAX_LINE:
                raise Failure("invalid", f"an answer of more than {MAX_LINE} bytes was written to the judge")
            self._in_time(deadline)
            piece = self.channel.recv(MAX_LINE)
            if not piece:
                raise ProcessEnded("crashed", f"the process of {self.function} ended without an answer")
            data += piece
        end = data.index(b"\n")
        return bytes(data[:end]), data[end + 1 :]

    def _in_time(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise TimeoutError

    def _allow(self, seconds: float) -> None:
        """How long the other end may be silent. The kernel keeps the time, which spares a system call a question."""
        self.channel.settimeout(None)
        whole = int(seconds)
        span = struct.pack("ll", whole, int((seconds - whole) * 1e6) or (not whole))
        self.channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, span)
        self.channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, span)

    def _line(self, seconds: float) -> str:
        """What came, up to a newline (and whatever came with it)."""
        piece = data = self.channel.recv(MAX_LINE)
        deadline = 0.0
        while piece and piece[-1:] != b"\n":
            now = time.monotonic()
            deadline = deadline or now + seconds
            if now > deadline:
                raise TimeoutError
            if len(data) >= MAX_LINE:
                raise Failure("invalid", f"an answer of more than {MAX_LINE} bytes was written to the judge")
            piece = self.channel.recv(MAX_LINE)
            data += piece
        if not piece:
            raise ProcessEnded("crashed", f"the process of {self.function} ended without an answer")
        return data.decode("utf-8", "replace")

    def _fault(self, answer: str) -> Failure:
        """A fault that the player reports (`! <verdict> <text>`), or nonsense on the channel."""
        mark, _, rest = answer.partition(" ")
        verdict, _, text = rest.partition(" ")
        if mark == "!" and verdict in ("invalid", "crashed"):
            if self.hushed and self.questions:
                text = f"{self.function} failed while it was scored; on these data it cannot tell more (`validate` can)"
            return Failure(cast(BadVerdict, verdict), text)
        return Failure("invalid", "something other than the returned value was written to the judge")

    def _too_long(self) -> Failure:
        return Failure(
            "timeout", f"{self.function} is too slow: all of it took more than {self.total_seconds:g} s by the clock"
        )


def _random_ids() -> Iterator[str]:
    while True:
        block = os.urandom(8 * 1024).hex()
        for start in range(0, len(block), 16):
            yield block[start : start + 16]
