"""A world of one file for the policies: answers their few commands as the real one does, without a sandbox."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from types import MappingProxyType

from workbench.agents.agent import Agent, Proposal
from workbench.session import events as ev
from workbench.session.events import Event
from workbench.session.state import SessionState

WORKSPACE = "/home/agent/workspace"


class World:
    """Runs one proposal after the other against one file; every outcome goes through the events of a session."""

    def __init__(self, agent: Agent, path: str, content: str | None) -> None:
        self.agent = agent
        self.path = path
        self.content = content
        self.cwd = WORKSPACE
        self.scores = True
        """False: every `validate` and `submit` fails."""
        self.window_works = True
        self.submitted: str | None = None
        """The content of the file when it was submitted."""
        self.actions: list[str] = []
        self.state = SessionState()
        metric = ev.Metric(name="Score", baseline=1.0)
        self.emit(ev.SessionStarted(format=1, task="t", workspace=WORKSPACE, metric=metric))
        self.emit(ev.SandboxReady(cwd=WORKSPACE))

    def emit(self, event: Event) -> None:
        self.state.apply(event)

    async def propose(self) -> Proposal:
        """What the agent proposes now; logged as a step under review."""
        proposal = await self.agent.propose(self.state)
        self.actions.append(proposal.action)
        number = self.state.last_step + 1
        self.emit(
            ev.ActionProposed(step=number, author=self.agent.author, action=proposal.action, thought=proposal.thought)
        )
        return proposal

    def run(self, action: str | None = None, outcome: Mapping[str, bool] = MappingProxyType({})) -> None:
        """Run what is proposed, or `action` instead, as edited by a person."""
        step = self.state.current
        if action is not None:
            self.emit(ev.ActionEdited(step=step.number, author="human:me", before=step.action, after=action))
        self._finish(step.number, step.action, outcome)

    def reject(self, comment: str = "", author: str = "human:me") -> None:
        self.emit(ev.ActionRejected(step=self.state.last_step, author=author, comment=comment))

    def take_over(self, action: str) -> None:
        """A command that a person types."""
        number = self.state.last_step + 1
        self.emit(ev.ActionProposed(step=number, author="human:me", action=action))
        self._finish(number, action)

    async def to_the_end(self, most: int = 20) -> None:
        """Let the agent go on until it submitted."""
        for _ in range(most):
            await self.propose()
            self.run()
            if self.submitted is not None:
                return
        raise AssertionError(f"not submitted after {most} steps: {self.actions[-most:]}")

    # -- the commands ------------------------------------------------------------------------------------------------

    def _finish(self, number: int, action: str, outcome: Mapping[str, bool] = MappingProxyType({})) -> None:
        self.emit(ev.ActionStarted(step=number, author=self.state.steps[number].author, action=action))
        code, observation = (130, "^C") if outcome.get("interrupted") else self._command(action)
        self.emit(
            ev.ActionFinished(step=number, exit_code=code, observation=observation, cwd=self.cwd, **outcome)  # type: ignore[arg-type]
        )
        if code == 0 and action in ("validate", "submit"):
            self.emit(ev.ScoreRecorded(step=number, score=1.0, artifact="a" * 64))

    def _names_it(self, name: str) -> bool:
        return (name if name.startswith("/") else f"{self.cwd}/{name}") == f"{WORKSPACE}/{self.path}"

    def _command(self, action: str) -> tuple[int, str]:
        head, _, rest = action.partition("\n")
        words = shlex.split(head.split("<<")[0].replace(";", " "))
        if words[0] in ("validate", "submit"):
            if not self.scores or self.content is None:
                return 1, "invalid: no score for this"
            if words[0] == "submit":
                self.submitted = self.content
            return 0, "Score: 1.0"
        if words[0] == "cd":
            self.cwd = words[1]
            return 0, ""
        if words[0] in ("open", "edit") and not self.window_works:
            return 1, "the window is broken"
        if words[0] == "open" and self._names_it(words[1]) and self.content is not None:
            return 0, f"[File: {WORKSPACE}/{self.path} ({len(self.content.splitlines())} lines total)]\n1:…"
        if words[0] == "wc" and self._names_it(words[2]) and self.content is not None:
            return 0, f"{self.content.count(chr(10))} {words[2]}\n{self.content}"
        if words[:2] == ["cat", ">"] and self._names_it(words[2]):
            self.content = rest.rpartition("\n")[0] + "\n"
            return 0, ""
        if words[0] == "edit" and self._names_it(words[2]) and self.content is not None:
            return self._edit(words[1], rest)
        if words[0] == "write":  # a person's editor, in one word
            self.content = rest
            return 0, ""
        if words[0] == "rm":
            self.content = None
            return 0, ""
        return 1, f"{words[0]}: no such file, or no such command"

    def _edit(self, span: str, text: str) -> tuple[int, str]:
        assert self.content is not None
        found = re.fullmatch(r"(\d+):(\d+)", span)
        assert found is not None, span
        first, last = int(found[1]), int(found[2])
        lines = self.content.splitlines()
        if not 1 <= first <= last <= len(lines):
            return 1, f"lines {first} to {last} of {len(lines)}"
        new = text.splitlines()
        assert new[-1] == "end_of_edit"
        lines[first - 1 : last] = new[:-1]
        self.content = "\n".join(lines) + "\n"
        return 0, "edited"
