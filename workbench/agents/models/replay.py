"""`replay:PATH`: actions from a list, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from workbench.agents.agent import ActionsExhausted, Agent, Proposal
from workbench.session.state import SessionState, Step

LEAVES = "the replay leaves the recording"


class Plan(Protocol):
    """What is to be run again, as `workbench.formats.actions` reads it."""

    @property
    def actions(self) -> Sequence[tuple[str, str]]:
        """Pairs of thought and action."""

    @property
    def cause(self) -> str:
        """Why the recorded session was scored when it was over, where its agent had not submitted."""

    @property
    def files(self) -> Mapping[str, tuple[bytes, int]]:
        """Content and mode of the files that the recorded session began with, as far as it shows them."""

    @property
    def window(self) -> int | None:
        """Lines of the recorded session's file window, where that is known."""

    @property
    def of_mlgym(self) -> bool:
        """Whether it was recorded in MLGym, whose commands are a little different."""

    @property
    def compared(self) -> bool:
        """Whether it is known how the actions went."""

    def difference(self, index: int, replayed: Step, workspace: str) -> str:
        """How the outcome of an action, with the workspace there, differs from the recorded one; empty where it does
        not.
        """


class ReplayAgent(Agent):
    """Proposes the given actions in order. How far it is follows from the session: its own steps so far."""

    name = "replay"
    author = "policy:replay"

    def __init__(self, plan: Plan, source: str) -> None:
        """`source` names where the plan is from."""
        self.plan = plan
        self.model = f"replay:{source}"
        self.window = plan.window
        self.as_mlgym = plan.of_mlgym

    async def propose(self, state: SessionState) -> Proposal:
        """The next action of the list. Raises ActionsExhausted after the last."""
        actions = self.plan.actions
        done = len(self._done(state))
        if done >= len(actions):
            raise ActionsExhausted(f"all {len(actions)} actions were replayed", self.plan.cause)
        thought, action = actions[done]
        return Proposal(action=action, thought=thought)

    def comment(self, state: SessionState) -> str:
        """Where the replay leaves the recording, said once, after the first step that came out differently; or, after
        the last, that none did.
        """
        done = self._done(state)
        said = any(note.text.startswith(LEAVES) for note in state.notes)
        if said or not self.plan.compared or not done or done[-1] is not state.current:
            return ""
        difference = self.plan.difference(len(done) - 1, done[-1], state.workspace)
        if difference:
            return f"{LEAVES} at step {state.last_step}: {difference}"
        same = len(done) == len(self.plan.actions)
        return f"all {len(done)} steps came out as they were recorded" if same else ""

    def _done(self, state: SessionState) -> list[Step]:
        return [step for step in state.steps if step.author == self.author and step.had_its_turn]
