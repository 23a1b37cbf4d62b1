"""Harbor's ATIF (Agent Trajectory Interchange Format), 1.0 up to 1.8 and later minor versions.

A step of the agent may call several tools; a result belongs to the call that it names, or to the only one there is.
What its own schema has no place for (exit codes, authors, scores) stands in `extra`, where our export puts it, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workbench.formats.building import ScoreKind, TrajectoryBuilder
from workbench.formats.reading import (
    as_action,
    decode_cut,
    integer,
    items,
    moment,
    number,
    numbers,
    read_bytes,
    record,
    refuse_crowded,
    seconds,
    text,
)
from workbench.session import events as ev
from workbench.session.recording import Recording, RecordingError

SOURCE = "atif"
_ROLES = {"agent": "assistant", "system": "system"}


def read_atif(path: Path, _sample: str = "") -> Recording:
    """The events of a trajectory in ATIF. Raises RecordingError."""
    data = read_bytes(path)
    refuse_crowded(data, str(path))
    builder = TrajectoryBuilder(path, SOURCE)
    file = record(decode_cut(data, Any, str(path), "steps", builder.problems))
    if not items(file.get("steps")):
        raise RecordingError(
            f"{path} is no trajectory in ATIF: it has no steps", "open one that Harbor's validator takes"
        )
    return _Reader(builder, file).read()


class _Reader:
    def __init__(self, builder: TrajectoryBuilder, file: dict[str, Any]) -> None:
        self.file = file
        self.steps = items(file.get("steps"))
        self.builder = builder
        stamps = [moment(step.get("timestamp")) for step in self.steps]
        known = [stamp for stamp in stamps if stamp is not None]
        ours = "source" in record(file.get("extra"))
        self.timed = ours or len(known) < 2 or max(known) - min(known) >= 1
        """Whether its times are those of the run: a converter writes its own."""

    def read(self) -> Recording:
        build, file = self.builder, self.file
        agent, final, extra = record(file.get("agent")), record(file.get("final_metrics")), record(file.get("extra"))
        scored = [numbers(record(result.get("extra")).get("score")) for step in self.steps for result in _results(step)]
        metric = record(extra.get("metric"))
        name = text(metric.get("name")) or next((name for each in scored for name in each), "")
        if name:
            way: ev.Direction = "minimize" if metric.get("direction") == "minimize" else "maximize"
            build.metric = ev.Metric(name=name, direction=way, baseline=number(metric.get("baseline")))
        begin = next((place for place, step in enumerate(self.steps) if step.get("source") == "user"), -1)
        self._stamp(self.steps[0] if self.steps else {})
        build.start(
            text(extra.get("task")) or text(file.get("session_id")) or build.path.stem,
            session=text(file.get("session_id")), model=text(agent.get("model_name")), agent=text(agent.get("name")),
            description=text(self.steps[begin].get("message")) if begin >= 0 else "",
            limits=ev.Limits(steps=integer(extra.get("step_limit"))),
        )  # fmt: skip
        if not self.timed:
            build.problems.append("all its times lie within a second: they are of its conversion, and left out")
        for place, step in enumerate(self.steps):
            by_model = step.get("source") == "agent" and step.get("llm_call_count") != 0
            if by_model:
                build.ask()
            if place > begin:
                self._take(step)
            build.said(_ROLES.get(text(step.get("source")), "user"), text(step.get("message")))
            for result in _results(step):
                build.said("tool", text(result.get("content")))
        if not any(record(step.get("metrics")) for step in self.steps) and final:
            sent, received = final.get("total_prompt_tokens"), final.get("total_completion_tokens")
            build.answer(build.model, "", sent, received, final.get("total_cost_usd"))
        if text(file.get("continued_trajectory_ref")):
            build.problems.append(f"it goes on in {text(file['continued_trajectory_ref'])[:200]}")
        if copied := sum(step.get("is_copied_context") is True for step in self.steps):
            build.problems.append(f"{copied} steps were copied from an earlier trajectory, and are left out")
        if file.get("subagent_trajectories"):
            build.problems.append(f"{len(items(file['subagent_trajectories']))} trajectories of subagents are left out")
        build.end(text(extra.get("exit_status")) or text(record(final.get("extra")).get("exit_status")))
        return build.recording()

    def _stamp(self, step: dict[str, Any]) -> None:
        if self.timed:
            self.builder.at(step.get("timestamp"))

    def _take(self, step: dict[str, Any]) -> None:
        if step.get("is_copied_context") is True:
            return  # it happened in the trajectory that this one continues
        self._stamp(step)
        build, extra, message = self.builder, record(step.get("extra")), text(step.get("message"))
        calls, results = items(step.get("tool_calls")), _results(step)
        source = step.get("source")
        if source == "user" and (results or extra.get("command")):
            author = text(extra.get("author"))
            author = author if ":" in author else f"human:{author or 'user'}"
            self._act(text(extra.get("command")) or message, results, {**extra, "author": author}, "")
            return
        if source != "agent":
            build.told(message, "human:user" if source == "user" else "policy:system")
            return
        metrics = record(step.get("metrics"))
        if metrics:
            sent, received = metrics.get("prompt_tokens"), metrics.get("completion_tokens")
            build.answer(text(step.get("model_name")) or build.model, message, sent, received, metrics.get("cost_usd"))
        author = text(extra.get("author"))
        if not author:
            author = "policy:agent" if step.get("llm_call_count") == 0 else f"model:{step.get('model_name') or ''}"
            author = author if author != "model:" else f"model:{build.model}"
        for place, call in enumerate(calls):
            mine = [each for each in results if each.get("source_call_id") == call.get("tool_call_id")]
            loose = [each for each in results if not each.get("source_call_id")]
            action = as_action(text(call.get("function_name")), call.get("arguments"))
            told = {"author": author, **record(call.get("extra"))}
            self._act(action, mine or (loose if len(calls) == 1 else []), told, "" if place else message)
        if len(calls) != 1:
            for each in results:
                if not each.get("source_call_id"):
                    build.note(text(each.get("content")))
        if not calls:
            build.note(message)

    def _act(self, action: str, results: list[dict[str, Any]], told: dict[str, Any], thought: str) -> None:
        """A step. `told`: the `extra` of its call."""
        extra: dict[str, Any] = {}
        for result in results:
            extra |= record(result.get("extra"))
        proposed = told.get("proposed")
        changed = isinstance(proposed, str) and proposed != action
        never = told.get("executed") is False
        rejected = text(told.get("rejected_by")) if never and not told.get("refused") else None
        step = self.builder.act(
            action, "\n".join(text(each.get("content")) for each in results), author=text(told.get("author")),
            thought=thought, proposed=str(proposed) if changed else None, rejected_by=rejected,
            comment=text(told.get("comment")), refused=never and rejected is None,
            edited_by=(text(told.get("edited_by")) or "unknown") if changed else "",
            exit_code=integer(extra.get("exit_code")), duration=seconds(extra.get("duration")),
            cwd=text(extra.get("cwd")), timed_out=extra.get("timed_out") is True,
        )  # fmt: skip
        for entry in [extra.get("score"), *items(extra.get("scores"))]:
            given = record(entry)
            metrics, verdict = numbers(given.get("metrics", entry)), given.get("verdict")
            kind: ScoreKind = "submit" if given.get("kind") == "submit" else "validate"
            kind = "autosubmit" if given.get("kind") == "autosubmit" else kind
            if metrics:
                self.builder.score(step, kind, "ok", metrics)
            elif verdict in ("invalid", "timeout", "crashed", "missing"):
                self.builder.score(step, kind, verdict, {})


def _results(step: dict[str, Any]) -> list[dict[str, Any]]:
    return items(record(step.get("observation")).get("results"))
