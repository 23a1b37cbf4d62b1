"""How long a command may run: as its task says, with what was added since, and no longer than the session has left."""

from __future__ import annotations

import re

from workbench.sandbox.shell import Shell
from workbench.session.clock import Clock
from workbench.session.state import SessionState
from workbench.tasks.schema import TaskLimits

_TRAINING = re.compile(r"(?:^|[\n;&|(])\s*(?:\w+=\S*\s+)*(?:python[\d.]*|torchrun|accelerate|deepspeed)(?=\s|$)")


def is_training_command(action: str) -> bool:
    """Whether the action runs Python or a training launcher as a command (not merely in its text)."""
    return _TRAINING.search(action) is not None


class CommandTime:
    """One for each episode, about the command that runs."""

    def __init__(
        self, limits: TaskLimits, command_seconds: float | None, shell: Shell, state: SessionState, clock: Clock
    ) -> None:
        """`command_seconds`: of the session, where they are not the task's."""
        self._limits = limits
        self.command_seconds = command_seconds or limits.command_seconds
        self._shell, self._state, self._clock = shell, state, clock
        self._own = self._worked = 0.0
        self.limit = 0.0
        """Seconds that the command may take that runs, or ran last."""

    def begin(self, action: str) -> float:
        """The limit of an action that begins now, in seconds."""
        self._own = self._limits.training_seconds if is_training_command(action) else self.command_seconds
        self._worked = self._clock.working
        self.limit = self._bounded()
        return self.limit

    def extend(self, seconds: float) -> float | None:
        """Let the running command take so much longer than it may by now. Returns the limit on the session's time that
        this needs, where that is higher than the one there is.
        """
        self._own = self.limit + seconds
        needed = self._worked + self._own
        limit = self._state.limits.seconds
        if limit is not None and needed > limit:
            return needed
        self.renew()
        return None

    def renew(self) -> None:
        """The session may have got more time: the running command has its share of it."""
        more = self._bounded() - self.limit
        if more > 0 and self._shell.extend_time_limit(more):
            self.limit += more

    def _bounded(self) -> float:
        left = self._state.limits.seconds
        return self._own if left is None else min(self._own, max(left - self._worked, 1.0))
