"""`scripted` and `scripted:FILE`: answers from a list, for trying an agent program out without a model.

Each conversation gets them from the first on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from workbench.agents.remote import Host
from workbench.gateway.answering import Reply, UpstreamError
from workbench.gateway.composing import Local, composed
from workbench.gateway.protocols.base import Asked, by_model
from workbench.yamlfile import Part, Problem, in_lines, read_yaml

_LAST = "I am done."


class Said(Part, frozen=True, kw_only=True):
    """One answer."""

    run: str = ""
    """A command for a shell; empty for an answer that runs none."""
    say: str = ""


DEMO = (
    Said(say="First I look at what is there.", run="ls -la"),
    Said(say="I score it as it is.", run="validate"),
    Said(say="I hand it in.", run="submit"),
)
"""For any task, where no file is named."""


class Script(Part, frozen=True, kw_only=True):
    """The file."""

    answers: Annotated[list[Said], Meta(max_length=10_000)]


class Scripted(Local):
    """See the module."""

    name = "scripted"

    def __init__(self, answers: Sequence[Said] = DEMO) -> None:
        self._answers = answers

    @classmethod
    def read(cls, path: Path) -> Scripted:
        """The list of a file. Raises UpstreamError."""

        def fault(problems: list[Problem]) -> UpstreamError:
            return UpstreamError(in_lines(problems), "it holds `answers:`, a list of {run: COMMAND, say: TEXT}")

        return cls(read_yaml(path, Script, like="docs/gateway.md", fault=fault).answers)

    async def answer(self, asked: Asked, host: Host) -> Reply:
        said = [*self._answers, Said(say=_LAST)][min(_turns(asked.messages), len(self._answers))]
        return composed(asked, said.say, said.run)


def _turns(messages: Sequence[str]) -> int:
    """How many answers of the model are among messages."""
    count, before = 0, False
    for message in messages:
        this = by_model(json.loads(message))
        count += this and not before
        before = this
    return count
