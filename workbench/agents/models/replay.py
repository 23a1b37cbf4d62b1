"""`replay:PATH`: actions from a list, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.agents.agent import ActionsExhausted, Agent, Proposal
from workbench.session.state import SessionState, Step

if TYPE_CHECKING:  # reading recordings is not needed to replay one
    from workbench.formats.actions import Plan

LEAVES = "the replay leaves the recording"


class ReplayAgent(Agent):
    """Proposes the given actions in order. How far it is follows from its own steps in the session."""

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
            said = f"all {len(actions)} actions were replayed"
            raise ActionsExhausted(
                f"the recorded session ended so: {said}" if self.plan.cause else said, self.plan.cause
            )
        thought, action = actions[done]
        return Proposal(action=action, thought=thought)

    def comment(self, state: SessionState) -> str:
        """A remark after the first step whose outcome differs from the recording; if none differs, one after the last
        step.
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
