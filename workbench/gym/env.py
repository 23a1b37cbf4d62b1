"""The Gymnasium face of a session: `gymnasium.make("mlgym/<task id>-v0")`. docs/gymnasium.md says how it is used."""

from __future__ import annotations

import contextlib
import weakref
from pathlib import Path
from typing import Any, ClassVar

try:
    import gymnasium
except ImportError:
    raise ImportError("Gymnasium is not installed: pip install 'mlgym-tui[gym]'") from None

import msgspec
from gymnasium.error import ResetNeeded

from workbench.gym.background import BackgroundLoop
from workbench.gym.reward import Outcome, Reward, improvement
from workbench.gym.session import PolicySession
from workbench.gym.text_space import TextSpace, fitted
from workbench.session.events import Limits, WindowChanged
from workbench.session.spec import STEPS, WINDOW, SandboxName, SessionSpec
from workbench.session.state import Step
from workbench.session.store import sessions_root
from workbench.tasks.catalogue import find_task

OBSERVATION_LENGTH = 32_768
"""Characters. What the shell keeps of a command's output fits in."""
ACTION_LENGTH = 16_384
"""Characters."""
NO_EXIT_CODE = -1
"""The exit code in `info` of a command without one; an integer, so that vector environments can batch it."""
_OPTIONS = ("steps", "seconds")
_SCORE_FIELDS = ("kind", "split", "verdict", "score", "metrics", "standard_error", "message", "caveats")


class TaskEnv(gymnasium.Env[str, str]):
    """A task on which a policy works in a sandboxed shell. Each `reset` begins a new session, with a log like any
    other. Made by `gymnasium.make`, or by hand with the path of a task's folder.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"], "render_fps": 1}  # type: ignore[misc]

    def __init__(
        self,
        task: str,
        *,
        sandbox: SandboxName = "local",
        unsafe_local: bool = False,
        image: str | None = None,
        dataset: str = "",
        protocol: str = "",
        steps: int | None = STEPS,
        seconds: float | None = None,
        command_seconds: float | None = None,
        window: int = WINDOW,
        sessions: str | Path | None = None,
        policy: str = "gymnasium",
        reward: Reward = improvement,
        observation_length: int = OBSERVATION_LENGTH,
        action_length: int = ACTION_LENGTH,
        render_mode: str | None = None,
    ) -> None:
        """`steps` and `seconds` (on the session's clock) truncate an episode; None is no limit. `sessions`: where the
        sessions are saved. The others mean what the options of `mlgym-tui run` mean.

        Raises UnknownTask or TaskError, and ValueError for an option that cannot be.
        """
        if sandbox not in ("local", "docker"):
            raise ValueError(f"unknown sandbox {sandbox!r}; there are local and docker")
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(f"unknown render mode {render_mode!r}; there is ansi")
        found = find_task(task).under(protocol, dataset)
        self._asked = SessionSpec(
            task=task,
            sandbox=sandbox,
            unsafe_local=unsafe_local,
            image=image,
            window=window,
            command_seconds=command_seconds,
            limits=_limits(Limits(), {"steps": steps, "seconds": seconds}),
            dataset=dataset,
            protocol=protocol,
        )
        self.task = found
        self._policy = policy
        self._root = sessions_root(None if sessions is None else Path(sessions))
        self.observation_space = TextSpace(observation_length)
        self.action_space = TextSpace(action_length, least=1)
        self.render_mode = render_mode
        self._reward = reward
        self._length = observation_length
        self._running = _Running()
        # Also when it is forgotten, and when Python ends: the session's log says then how it ended.
        self._end = weakref.finalize(self, self._running.close)
        self._shown = ""

    @property
    def session(self) -> Path | None:
        """The folder of the session that runs, or was the last; None before the first `reset`."""
        return self._running.folder

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin a new session; one that runs is ended as `stopped`. The observation is the task's description.

        `seed` decides the dice of the evaluations of this session and of those after it. `options`: `steps` and
        `seconds` take the place of the environment's, for this session.

        Raises SandboxError, TaskError, LogError or OSError when no session can be had, with nothing left behind.
        """
        super().reset(seed=seed)
        limits = _limits(self._asked.limits, options or {})
        spec = msgspec.structs.replace(self._asked, limits=limits, seed=int(self.np_random.integers(1 << 48)))
        session = self._running.begin(spec, self._policy, self._root)
        step = session.state.current
        started = session.state.started
        self._shown = fitted(started.description if started is not None else "", self._length)
        return self._shown, _info(step)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Run an action in the shell.

        Terminated: something was submitted. Truncated: a limit was reached (what is there was scored then, as an
        automatic submission), or the sandbox was lost.

        Raises ResetNeeded where no session runs, and LogError or OSError when the session can no longer be written.
        """
        if not isinstance(action, str):
            raise TypeError(f"an action is a text for the shell, and not of type {type(action).__name__}")
        session = self._running.session
        if session is None or session.ended is not None:
            raise ResetNeeded("there is no running session: call reset() first")
        last = session.state.last_score()
        step = self._running.loop.run(session.step(action))
        ended = session.ended
        terminated = ended is not None and ended.exit_status == "submitted"
        truncated = ended is not None and not terminated
        info = _info(step)
        observation = step.observation
        if ended is not None:
            info["exit_status"], info["session"] = ended.exit_status, ended.session
            if ended.exit_status == "error":
                observation = f"{observation}\n(the session ended: {ended.reason})".lstrip("\n")
        reward = self._reward(
            Outcome(
                metric=self.task.primary_metric,
                before=last.score if last is not None else None,
                scores=tuple(step.scores),
                exit_code=step.exit_code,
                refused=step.status == "refused",
                terminated=terminated,
                truncated=truncated,
                steps=step.number,
            )
        )
        observation = fitted(observation, self._length)
        self._shown = f"$ {action}\n{observation}"
        return observation, float(reward), terminated, truncated, info

    def render(self) -> str | None:
        """With `render_mode="ansi"`: the last action and what came of it, or the description."""
        return self._shown if self.render_mode == "ansi" else None

    def close(self) -> None:
        """End the session that runs, as `stopped`, and all that was started. Can be called twice."""
        self._running.close()
        super().close()


class _Running:
    """The session and the loop of an environment. They are kept apart from it, so that they can be ended when it is
    gone.
    """

    def __init__(self) -> None:
        self.session: PolicySession | None = None
        self.folder: Path | None = None
        self._loop: BackgroundLoop | None = None

    @property
    def loop(self) -> BackgroundLoop:
        """The loop, made when it is first needed: until `reset` an environment has no thread, and its process can be
        forked.
        """
        if self._loop is None:
            self._loop = BackgroundLoop()
        return self._loop

    def begin(self, spec: SessionSpec, policy: str, root: Path) -> PolicySession:
        """Begin a new session in place of the running one."""
        self._stop("the environment was reset")
        self.session = self.loop.run(PolicySession.begin(spec, policy, root))
        self.folder = self.session.runner.live.folder
        return self.session

    def _stop(self, reason: str) -> None:
        session, self.session = self.session, None
        if session is not None:
            self.loop.run(session.end("stopped", reason))

    def close(self) -> None:
        """End the session and the loop. Nothing happens in a forked process, which has neither."""
        loop = self._loop
        if loop is None or not loop.is_here:
            return
        try:
            with contextlib.suppress(OSError):
                self._stop("the environment was closed")
        finally:
            self._loop = None
            loop.close()


def _limits(limits: Limits, given: dict[str, Any]) -> Limits:
    """`limits` with those given. Raises ValueError."""
    for name, value in given.items():
        if name not in _OPTIONS:
            raise ValueError(f"unknown option {name!r}; there are {' and '.join(_OPTIONS)}")
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and not ((whole or (name == "seconds" and isinstance(value, float))) and 0 < value < 1e12):
            kind = "a whole number" if name == "steps" else "a number"
            raise ValueError(f"{name} must be {kind} over 0, or None for no limit, and not {value!r}")
    return msgspec.structs.replace(limits, **given)


def _info(step: Step) -> dict[str, Any]:
    """The `info` of a step. Nothing in it depends on the time or on the session's name."""
    window = step.window or WindowChanged(step=0, path="")
    return {
        "exit_code": NO_EXIT_CODE if step.exit_code is None and step.number else step.exit_code or 0,
        "directory": step.cwd,
        "window": {name: getattr(window, name) for name in ("path", "first_line", "last_line", "total_lines")},
        "scores": [{name: getattr(entry, name) for name in _SCORE_FIELDS} for entry in step.scores],
        "refused": step.status == "refused",
        "timed_out": step.timed_out,
    }
