"""SWE-agent's trajectories (both generations): what was proposed, what came back, how long it took, and no exit codes.

The newer generation also lists what never ran: an answer without a call, a blocked command, one that bash cannot parse,
and at the end a step for the exit itself. Such a step has no state and took no time; why it was refused stands only in
the next step's `query`.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec

from workbench.formats.building import TrajectoryBuilder
from workbench.formats.mlgym_file import EXITS, read_run_name, shell_state
from workbench.formats.reading import decode, decode_cut, items, map_file, number, record, refuse_crowded, seconds, text
from workbench.session.recording import Recording, RecordingError

SOURCE = "swe-agent"
FRAMEWORK = "policy:swe-agent"
_TIMED_OUT = ("was cancelled because it took more than", "EXECUTION TIMED OUT")


class _Step(msgspec.Struct):
    action: Any = ""
    observation: Any = ""
    response: Any = ""
    thought: Any = ""
    state: Any = None
    execution_time: Any = None
    query: msgspec.Raw = msgspec.Raw(b"[]")
    """What the model was sent: read only where the step before was refused."""


class _File(msgspec.Struct):
    trajectory: list[_Step] = []
    history: Any = None
    info: Any = None
    replay_config: Any = None
    attempts: list[msgspec.Raw] = []
    """Of the agent that tries several times; the file itself repeats the best."""


def _load(path: Path, problems: list[str]) -> _File:
    data = map_file(path)  # every query repeats the whole conversation: files are large, and little of them is read
    refuse_crowded(data, str(path), times=8)
    return decode_cut(data, _File, str(path), "trajectory", problems)


def runs_in_swe_agent(path: Path) -> list[str]:
    """`1`, `2`, … where the agent tried several times."""
    return [str(attempt) for attempt in range(1, len(_load(path, []).attempts) + 1)]


def read_swe_agent(path: Path, sample: str = "") -> Recording:
    """The events of a trajectory of SWE-agent. `sample`: which attempt. Raises RecordingError."""
    builder = TrajectoryBuilder(path, SOURCE)
    file = _load(path, builder.problems)
    if sample or (not file.trajectory and file.attempts):
        which = int(sample or len(file.attempts)) if (sample or "1").isdecimal() else 0
        if not 1 <= which <= len(file.attempts):
            raise RecordingError(f"{path} has no attempt {sample}", f"it has {len(file.attempts)}")
        file = decode(file.attempts[which - 1], _File, str(path))
    config = file.replay_config
    if isinstance(config, str) and config:
        config = decode(config.encode("utf-8", "replace"), Any, f"{path}: replay_config")
    agent = record(record(config).get("agent"))
    history = items(file.history)
    cwd = shell_state(file.trajectory[0].state)[0] if file.trajectory else ""
    tasks = (text(m.get("content")) for m in history if m.get("role") == "user" and not m.get("is_demo"))
    named = read_run_name(path.absolute().parent.name)
    builder.start(
        path.stem, model=text(record(agent.get("model")).get("name")) or named.model,
        agent=text(agent.get("type")) or named.agent, cwd=cwd, description=next(tasks, ""),
    )  # fmt: skip
    if not config:
        builder.problems.append("model, environment and window size are not in the file (it has no replay_config)")
    for message in itertools.takewhile(lambda message: message.get("role") != "assistant", history):
        builder.said(text(message.get("role")), text(message.get("content")))
    _add_steps(builder, file.trajectory)
    _finish(builder, record(file.info))
    return builder.recording()


def _add_steps(builder: TrajectoryBuilder, steps: list[_Step]) -> None:
    author = "human:user" if builder.model.startswith("human") else ""  # its models of a person at the keyboard
    for place, step in enumerate(steps):
        action, observation = text(step.action), text(step.observation).replace("\r\n", "\n")
        following = steps[place + 1] if place + 1 < len(steps) else None
        new = not isinstance(step.state, str)
        pseudo = action.strip() in EXITS and text(step.thought).startswith("Exit due to")
        never_ran = pseudo or not action.strip() or (new and not step.state and not seconds(step.execution_time))
        if never_ran and not observation:
            observation = _reason(following)
        # The newer generation writes the state after the action, the older one that before it.
        shown = step if new else following
        cwd, open_file = shell_state(shown.state if shown is not None else None)
        if not pseudo:
            builder.ask()
        builder.said("assistant", text(step.response))
        builder.said("user", observation)
        builder.act(
            action, observation.removeprefix("\n").removesuffix("\n\n"),
            author=FRAMEWORK if pseudo or observation.startswith("Exited (") else author,
            thought=text(step.thought) or text(step.response), refused=never_ran, cwd=cwd,
            duration=seconds(step.execution_time), timed_out=any(said in observation for said in _TIMED_OUT),
        )  # fmt: skip
        if not never_ran:
            builder.window(builder.number, observation, open_file)


def _reason(following: _Step | None) -> str:
    """What the model was told of a step that never ran."""
    if following is None:
        return ""
    try:
        last = items(msgspec.json.decode(following.query))[-1:]
    except (ValueError, RecursionError):
        return ""
    return text(last[0].get("content")) if last else ""


def _finish(builder: TrajectoryBuilder, info: dict[str, Any]) -> None:
    stats = record(info.get("model_stats"))
    if stats:
        sent, received = stats.get("tokens_sent"), stats.get("tokens_received")
        builder.answer(builder.model, "", sent, received, number(stats.get("instance_cost")))
    builder.end(text(info.get("exit_status")))
