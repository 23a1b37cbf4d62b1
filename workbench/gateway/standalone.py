"""A gateway without a task: a session of nothing but the calls of an agent that was started elsewhere.

There is no sandbox, no shell and no score; all the rest is as in any session.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from workbench.environment.assembly import versions
from workbench.environment.episode import Episode, ScoreKind
from workbench.environment.live import LiveSession
from workbench.gateway.agent import GatewayAgent
from workbench.gateway.answering import Upstream
from workbench.gateway.server import Gateway
from workbench.isolation.spec import SandboxError
from workbench.runner.conditions import conditions_of
from workbench.runner.runner import Runner
from workbench.runner.starting import folder_for
from workbench.session import events as ev
from workbench.session.marks import user_name
from workbench.session.spec import SessionSpec

TASK = "gateway"
"""What stands for the task."""
_NONE = "the agent runs elsewhere: this session has no sandbox, no shell and no score"


class StandaloneAgent(GatewayAgent):
    """An agent program that somebody else starts: the gateway listens as soon as the session has begun."""

    def __init__(self, upstream: Upstream, *, key: str = "") -> None:
        super().__init__(upstream)
        self.gateway = Gateway(self, key=key)
        self._address = ""

    def listen(self, port: int) -> str:
        """Listen on a port of this machine (0: a free one). Returns the address. Raises OSError."""
        (self._address,) = self.gateway.listen(host_port=port)
        return self._address

    async def enter(self, *_: Any) -> None:
        """Take requests up, and show where: the variables were printed before the screen covered them."""
        await self.gateway.serve()
        self.host.runs(f"listens at {self._address}")

    async def close(self) -> None:
        await self.gateway.close()
        await super().close()


class Nowhere(Episode):
    """No environment: what there is of an episode where nothing runs."""

    has_shell = False

    def __init__(self, live: LiveSession) -> None:
        self._live = live
        self.submitted = False
        self.on_progress = None
        self.on_question = None
        self.shell: Any = _NoShell()
        self.sandbox: Any = SimpleNamespace(workspace="")

    async def start(self, cwd: str | None = None, *, reason: str = "") -> None:
        """There is nothing to start."""
        self._live.emit(ev.SandboxReady(sandbox={"backend": "none", "isolation": "the agent runs elsewhere"}))

    async def stop(self) -> None:
        """Nothing was started."""

    def begin_step(self, step: int) -> None:
        """Nobody asks for a score."""

    async def snapshot(self, step: int | None = None) -> None:
        """No files are known."""

    async def settle(self) -> None:
        """Nothing is evaluated."""

    def used_up(self) -> str:
        """Why nothing can be validated."""
        return _NONE

    async def score(self, kind: ScoreKind, step: int, **_: Any) -> ev.ScoreRecorded:
        """Nothing is there to be scored. Raises SandboxError where somebody asks for it."""
        if kind != "autosubmit":
            raise SandboxError(_NONE)
        return ev.ScoreRecorded(step=step, kind=kind, verdict="missing")


class _NoShell:
    """Has nothing to show, and nobody types into it."""

    driven_by_person = False

    def __init__(self) -> None:
        self.on_display: object = None
        self.onlooker = SimpleNamespace(on_waiting=None, attend=lambda there: None)

    async def interrupt(self) -> None:
        """Nothing runs."""

    def hold_output(self, hold: bool) -> None:
        """There is none."""


def start_standalone(spec: SessionSpec, root: Path, agent: GatewayAgent) -> Runner:
    """A runner for a new session under `root`. Raises StartError, FilterError or LogError."""
    conditions = conditions_of(spec)
    folder = folder_for(root, TASK)
    live = LiveSession(folder)
    live.emit(
        ev.SessionStarted(
            format=ev.FORMAT,
            session=folder.name,
            task=TASK,
            task_name="An agent elsewhere",
            agent=agent.name,
            model=agent.model,
            base_url=spec.base_url,
            sandbox="none",
            limits=spec.limits,
            workspace="",
            user=user_name(),
            versions=versions(),
            approve="" if spec.approve == "never" else spec.approve,
        )
    )
    runner = Runner(live, Nowhere(live), agent, spec, conditions)
    runner.controls.set_mode(spec.mode or "auto", author="", reason="start")
    return runner
