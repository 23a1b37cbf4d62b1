"""`replay:PATH`: actions from a list, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.agents.agent import ActionsExhausted, Proposal
from workbench.session.state import SessionState, Step


class ReplayAgent:
    """Proposes the given actions in order. How far it is follows from the session: its own steps so far."""

    name = "replay"
    trusted = False

    def __init__(self, actions: Sequence[tuple[str, str]], source: str) -> None:
        """`actions` are pairs of thought and action; `source` names where they are from."""
        self._actions = actions
        self.model = f"replay:{source}"
        self.author = "policy:replay"

    async def propose(self, state: SessionState) -> Proposal:
        """The next action of the list. Raises ActionsExhausted after the last."""
        done = sum(step.author == self.author and _had_its_turn(step) for step in state.steps)
        if done >= len(self._actions):
            raise ActionsExhausted(f"all {len(self._actions)} actions were replayed")
        thought, action = self._actions[done]
        return Proposal(action=action, thought=thought)


def _had_its_turn(step: Step) -> bool:
    """False for a proposal that nobody judged (dropped by a take-over or the session's end), and for an action that
    went down with the process that ran it: a resumed session begins with the files from before it.
    """
    dropped = step.status == "rejected" and not step.rejected_by
    return not dropped and not (step.status == "ran" and step.exit_code is None)
