"""What Harbor's validator asks of a trajectory in ATIF, as far as it was seen to answer: a checker for the tests."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

VERSIONS = tuple(f"ATIF-v1.{minor}" for minor in range(9))
_PICTURES = ("image/jpeg", "image/png", "image/gif", "image/webp")


class _Strict(msgspec.Struct, forbid_unknown_fields=True):
    pass


class Source(_Strict):
    media_type: str
    path: str
    duration_sec: float | None = None


class Part(_Strict):
    type: Literal["text", "image", "audio"]
    text: str | None = None
    source: Source | None = None


class Call(_Strict):
    tool_call_id: str
    function_name: str
    arguments: dict[str, Any]
    extra: dict[str, Any] | None = None


class Ref(_Strict):
    trajectory_id: str | None = None
    trajectory_path: str | None = None
    session_id: str | None = None
    extra: dict[str, Any] | None = None


class Result(_Strict):
    source_call_id: str | None = None
    content: str | list[Part] | None = None
    subagent_trajectory_ref: list[Ref] | None = None
    extra: dict[str, Any] | None = None


class Observation(_Strict):
    results: list[Result]


class Metrics(_Strict):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    cost_usd: float | None = None
    prompt_token_ids: list[int] | None = None
    completion_token_ids: list[int] | None = None
    logprobs: list[float] | None = None
    extra: dict[str, Any] | None = None


class Step(_Strict):
    step_id: int | float | str | bool
    source: Literal["system", "user", "agent"]
    message: str | list[Part]
    timestamp: str | None = None
    model_name: str | None = None
    reasoning_effort: str | float | None = None
    reasoning_content: str | None = None
    tool_calls: list[Call] | None = None
    observation: Observation | None = None
    metrics: Metrics | None = None
    llm_call_count: int | None = None
    is_copied_context: bool | None = None
    extra: dict[str, Any] | None = None


class Agent(_Strict):
    name: str
    version: str
    model_name: str | None = None
    tool_definitions: list[dict[str, Any]] | None = None
    extra: dict[str, Any] | None = None


class Final(_Strict):
    total_prompt_tokens: int | None = None
    total_completion_tokens: int | None = None
    total_cached_tokens: int | None = None
    total_cost_usd: float | None = None
    total_steps: int | None = None
    extra: dict[str, Any] | None = None


class Trajectory(_Strict):
    agent: Agent
    steps: list[Step]
    schema_version: Literal[VERSIONS] = "ATIF-v1.8"  # type: ignore[valid-type]
    session_id: str | None = None
    trajectory_id: str | None = None
    notes: str | None = None
    final_metrics: Final | None = None
    continued_trajectory_ref: str | None = None
    subagent_trajectories: list[Trajectory] | None = None
    extra: dict[str, Any] | None = None


def problems(document: Any) -> list[str]:
    """What is wrong with a trajectory; nothing with one that Harbor takes."""
    try:
        trajectory = msgspec.convert(document, Trajectory)
    except msgspec.ValidationError as error:
        return [str(error)]
    return list(_of(trajectory))


def _of(trajectory: Trajectory) -> list[str]:
    found = [] if trajectory.steps else ["no steps"]
    found += (
        ["negative total_steps"] if trajectory.final_metrics and (trajectory.final_metrics.total_steps or 0) < 0 else []
    )
    for number, step in enumerate(trajectory.steps, 1):
        found += [f"step {number}: {said}" for said in _step(step, number)]
    names = [inner.trajectory_id for inner in trajectory.subagent_trajectories or []]
    found += ["subagents without a name of their own"] if None in names or len(set(names)) < len(names) else []
    for inner in trajectory.subagent_trajectories or []:
        found += _of(inner)
    return found


def _step(step: Step, number: int) -> list[str]:
    found = [] if int(step.step_id) == number else ["step_id is not in sequence"]
    if step.timestamp is not None:
        try:
            datetime.fromisoformat(step.timestamp)
        except ValueError:
            found.append("timestamp")
    of_agent = (step.tool_calls, step.metrics, step.reasoning_content, step.model_name)
    if step.source != "agent" and any(each is not None for each in of_agent):
        found.append("a field of the agent")
    if step.llm_call_count is not None and step.llm_call_count < 0:
        found.append("llm_call_count")
    if step.source == "agent" and step.llm_call_count == 0 and (step.metrics or step.reasoning_content) is not None:
        found.append("metrics without a call")
    calls = {call.tool_call_id for call in step.tool_calls or []}
    results = step.observation.results if step.observation else []
    for result in results:
        if result.source_call_id is not None and result.source_call_id not in calls:
            found.append("a result of no call")
        if any(not (ref.trajectory_id or ref.trajectory_path) for ref in result.subagent_trajectory_ref or []):
            found.append("a reference to nothing")
    for part in step.message if isinstance(step.message, list) else []:
        kind = part.source.media_type if part.source else ""
        if part.type == "image" and kind not in _PICTURES:
            found.append("a picture of another kind")
    return found
