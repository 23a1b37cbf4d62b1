"""`replay:PATH`: actions from a list, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from workbench.agents.agent import ActionsExhausted, Agent, Proposal
from workbench.session.state import SessionState, Step

LEAVES = "the replay leaves the recording"


class Plan(Protocol):
    """The actions to run again, as `workbench.formats.actions` reads them."""

    @property
    def actions(self) -> Sequence[tuple[str, str]]:
        """Pairs of thought and action."""

    @property
    def cause(self) -> str:
        """Why the recorded session was scored although its agent had not submitted."""

    @property
    def files(self) -> Mapping[str, tuple[bytes, int]]:
        """Content and mode of the files that the recorded session began with, as far as the recording shows them."""

    @property
    def window(self) -> int | None:
        """Lines of the recorded session's file window, if known."""

    @property
    def of_mlgym(self) -> bool:
        """Whether it was recorded in MLGym, whose commands differ a little."""

    @property
    def compared(self) -> bool:
        """Whether the recorded outcomes are known."""

    def difference(self, index: int, replayed: Step, workspace: str) -> str:
        """How the outcome of an action differs from the recorded one; empty if it does not. `workspace` is the
        replay's.
        """


class ReplayAgent(Agent):
    """Proposes the given actions in order. Its own steps in the session tell how far it is."""

    name = "replay"
    author = "policy:replay"

    def __init__(self, plan: Plan, source: str) -> None:
        """`source` is where the plan comes from."""
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
        """Says once where the replay leaves the recording, after the first step with another outcome; or, after the
        last step, that there was none.
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
