"""The agent of a session that is a program in its sandbox: starts it with the session, and ends the session with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from workbench.gateway.agent import GatewayAgent
from workbench.gateway.answering import Upstream
from workbench.gateway.finding import NotFound, first_word
from workbench.gateway.program import AgentProgram
from workbench.gateway.replay import Replay
from workbench.gateway.server import Gateway
from workbench.gateway.upstream import make_upstream
from workbench.isolation.spec import DEFAULT_IMAGE
from workbench.sandbox.base import RequestHandler, Sandbox
from workbench.session.spec import SessionSpec
from workbench.session.state import SessionState

_LOOK = 1.0
"""Seconds between two looks at what runs."""
ENDED = "agent_exited"
"""Why what is there is submitted, where the program has ended."""


class ProgramAgent(GatewayAgent):
    """See the module."""

    def __init__(self, upstream: Upstream, program: AgentProgram) -> None:
        super().__init__(upstream, program.name)
        self.program = program
        self.gateway = Gateway(self)
        self._answer: RequestHandler | None = None
        """Of the sandbox's."""
        self._watching: asyncio.Task[None] | None = None
        self.mounts = {} if program.on_host else program.mounts

    async def enter(self, sandbox: Sandbox, state: SessionState, show: Callable[[bytes], None]) -> None:
        """Begin to listen, and start the program. Raises SandboxError."""
        await self.gateway.serve(self.program.socket)
        self.program.on_end = self._ended
        self._answer, sandbox.on_request = sandbox.on_request, self._requested
        task = state.started.description if state.started is not None else ""
        await self.program.start(sandbox, task, self.gateway.environment, show)
        self._watching = asyncio.ensure_future(self._watch())

    def _ended(self, how: str) -> None:
        """The program has ended. Nothing is submitted for one that could not be run: nobody has worked."""
        if self.program.not_run and not self.asked:
            self.host.stop("error", f"the agent program did not start: it asked no model, and {how}")
        self.finish(how, ENDED)

    async def _requested(self, request: dict[str, Any]) -> dict[str, Any]:
        """What the program asks for (`validate`) belongs to the step of the answer that it has, once it is one."""
        await self.bound()
        assert self._answer is not None
        return await self._answer(request)

    async def _watch(self) -> None:
        """Tell what runs, until the program has ended."""
        while self.program.status is None:
            self.host.runs(await self.program.running())
            await asyncio.sleep(_LOOK)
        self.host.runs("")

    def as_recorded(self, spec: SessionSpec) -> SessionSpec:
        """What a session is started with, with the evaluations of the one that it is answered from."""
        if isinstance(self.upstream, Replay) and spec.seed is None:
            return msgspec.structs.replace(spec, seed=self.upstream.seed)
        return spec

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        await self.gateway.close()
        await self.program.stop()
        await super().close()


def program_agent(spec: SessionSpec, sessions: Path | None = None, edited: str | None = None) -> ProgramAgent:
    """The agent that `spec.agent_command` asks for; `sessions` is where one is looked for that is replayed, and
    `edited` the action that takes the place of the last one that is.

    Raises NotFound, UpstreamError, SessionNotFound, SandboxError or OSError.
    """
    upstream = make_upstream(spec.upstream, base_url=spec.base_url, model=spec.upstream_model, sessions=sessions)
    if edited is not None and isinstance(upstream, Replay):
        upstream.edit(edited)
    contained = spec.sandbox == "docker" and not spec.agent_on_host
    program = AgentProgram(spec, installed_inside=contained or spec.unsafe_local)
    try:
        if contained:
            _check_image(program, spec.image or DEFAULT_IMAGE)
    except BaseException:
        program.discard()
        raise
    return ProgramAgent(upstream, program)


def _check_image(program: AgentProgram, image: str) -> None:
    """Raises NotFound where neither the image nor what is mounted has the program; SandboxError without an engine."""
    from workbench.isolation.image_with import program_in

    word = first_word(program.command)
    mounted = any(Path(word).is_relative_to(folder) for folder in program.given)
    if not mounted and not program_in(image, word):
        raise NotFound(
            f"the image {image} has no program {word!r}",
            "`mlgym-tui image build --with PACKAGE --tag NAME` makes one that has it, and --image NAME takes it",
        )
