"""MLGym's trajectories as our events.

A `.traj` holds what the agent proposed and was shown, and little else: no times but how long each command took, no exit
codes, no file contents, and scores without the step they belong to. The rest is rebuilt: the file window from the
numbered lines that observations show, the step of a score by counting successful validates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from workbench.formats import mlgym_text as text
from workbench.formats.building import TrajectoryBuilder
from workbench.formats.mlgym_file import (
    EXITS,
    RunName,
    Trajectory,
    TrajInfo,
    TrajStep,
    decode_trajectory,
    read_results,
    read_run_name,
    shell_state,
)
from workbench.formats.mlgym_glance import broken_off, metric_of, seen
from workbench.formats.reading import integer, numbers, read_bytes, record, seconds
from workbench.session import events as ev
from workbench.session.detail import with_details
from workbench.session.recording import Recording
from workbench.session.run import Run, run_of
from workbench.session.state import fold

SOURCE = "mlgym"
FRAMEWORK = "policy:mlgym"
"""Author of the exits that MLGym itself puts in the place of an action."""

_STATE_FOOTER = re.compile(r"\(Current Step: \d+, Remaining Steps: (\d+)\)")
_VIEWER_LINES = re.compile(r"(\d{1,6}) lines")
_DEFAULT_WINDOW = 1000
_MESSAGE_CAP = 4000
"""Characters of an evaluator's complaint that a score keeps; the observation has all of it."""


def read_mlgym(path: Path, _sample: str = "") -> Recording:
    """The events of a `.traj` of MLGym, with what its folder's name and `results.json` add.

    Raises RecordingError when there is nothing to show (unreadable, another program's file, cut in its first step).
    """
    return _read(path).recording()


def read_bare(path: Path, _sample: str = "") -> Recording:
    """The same without file windows and prompts. Raises RecordingError."""
    return _read(path, windows=False).recording()


def glance_mlgym(path: Path, whole: bool = False) -> Run | None:
    """The row of a run, from what it says of itself (or `whole`); None for what needs a closer look."""
    if not whole:
        return seen(path)
    builder = _read(path, windows=False)
    state = builder.state or fold(builder.events)
    return with_details(run_of(state, path, problem="; ".join(builder.problems[:2])), state)


def _read(path: Path, *, windows: bool = True) -> _Builder:
    trajectory = decode_trajectory(read_bytes(path), path)
    results, problems = read_results(path.with_name("results.json"))
    builder = _Builder(path, trajectory, results, read_run_name(path.absolute().parent.name))
    builder.windows = windows
    builder.problems += [*trajectory.problems, *problems]
    builder.build()
    return builder


class _Builder(TrajectoryBuilder):
    """Turns one trajectory into events, in the order in which things happened."""

    def __init__(self, path: Path, trajectory: Trajectory, results: dict[str, Any], run: RunName) -> None:
        super().__init__(path, SOURCE)
        self.trajectory = trajectory
        self.steps = trajectory.steps
        self.info = trajectory.info
        self.run = run
        self.task = run.task or path.stem
        self.step_limit = self._step_limit()
        self.ledger = self.info.score if self.info else []
        self.metric, assumed = metric_of(self.task, results, self.ledger)
        self.problems += assumed
        self.scored = 0
        """Successful validates so far: the next takes this entry of the ledger."""
        if not run.model:
            self.problems.append(
                "the model is not known: it stands only in the name of the run folder, which is not MLGym's"
            )

    def build(self) -> None:
        states = [shell_state(step.state or "{}") for step in self.steps]
        cwd, open_file = states[0] if states else ("", "")
        self._start(cwd)
        if open_file:
            self.window(0, "", open_file)
        told = iter(self.trajectory.messages if self.trajectory.answers in self._sound else ())
        for index, step in enumerate(self.steps):
            self._ask(told)
            after = states[index + 1] if index + 1 < len(states) else None
            self._add_step(index + 1, step, after, states[index][0])
        if self.info is not None:
            self._finish(self.info)

    @property
    def _sound(self) -> tuple[int, int]:
        """How many answers its history has, where steps can be told by them."""
        return len(self.steps), len(self.steps) + 1

    def _ask(self, told: Iterator[tuple[str, msgspec.Raw]]) -> None:
        """The prompt of the next step: the history up to its answer."""
        for role, content in told:
            if role == "assistant":
                self.ask()
                self.said(role, content)
                return
            self.said(role, content)

    # -- the beginning -------------------------------------------------------------------------------------------------

    def _start(self, cwd: str) -> None:
        footer = _STATE_FOOTER.search(self.trajectory.task_text)
        viewer = _VIEWER_LINES.search(self.trajectory.system)
        self.start(
            self.task,
            session=self.path.absolute().parent.name if self.run.model else "",
            model=self.run.model,
            cwd=cwd,
            description=self.trajectory.task_text[: footer.start()].rstrip() if footer else self.trajectory.task_text,
            agent=self.run.agent,
            limits=ev.Limits(steps=self.step_limit, cost=self.run.cost_limit),
            window=int(viewer[1]) if viewer else _DEFAULT_WINDOW,
        )

    def _step_limit(self) -> int | None:
        footer = _STATE_FOOTER.search(self.trajectory.task_text)
        if footer is not None:
            return int(footer[1][:9])
        if self.info is not None and "(max_steps)" in self.info.exit_status:
            return len(self.steps) - 1
        return None

    # -- a step --------------------------------------------------------------------------------------------------------

    def _add_step(self, number: int, step: TrajStep, after: tuple[str, str | None] | None, cwd_before: str) -> None:
        action, thought = step.action, step.thought
        pseudo = action.strip() in EXITS
        author = FRAMEWORK if pseudo and thought.startswith("Exit due to") else ""
        if author == FRAMEWORK:
            # What the model answered last stands in the response, in some files only in the history.
            last = self.trajectory.last_answer if number == len(self.steps) else ""
            said = next((text for text in (step.response, last) if text.strip() not in ("", thought.strip())), "")
            if said:
                self.answer(self.model, said)
            if action.strip() == "exit_format":
                why = "MLGym could read no action from it" if said else "it was empty"
                self.emit(ev.ModelFailed(cause="bad_format", message=why))
        observation = step.observation
        cwd = after[0] if after else cwd_before
        over, ours = self._never_ran(number), record(step.mlgym_tui)
        if over and not pseudo:
            self.note("MLGym asked for this action, but did not run it: step limit")
        self.act(
            action, observation, author=author or said_by(ours), exit_code=integer(ours.get("exit_code")),
            thought=thought, duration=seconds(step.execution_time), cwd=cwd,
            timed_out=text.timed_out(observation),
            refused=over or author == FRAMEWORK or ours.get("executed") is False,
        )  # fmt: skip
        self.window(number, observation, after[1] or "" if after else None)
        if changed := text.protected_edit(action, observation):
            if not self.tampered:
                self.note(f"{changed} was changed, a file of the task that nobody should change")
            self.tampered = self.tampered or changed
        for _ in range(min(integer(ours.get("scored")) or 0, len(self.ledger) - self.scored)):
            self.score(number, "validate", "ok", numbers(self.ledger[self.scored]))
            self.scored += 1
        if not ours:
            self._score_validate(number, action, observation)

    # -- scores --------------------------------------------------------------------------------------------------------

    def _score_validate(self, number: int, action: str, observation: str) -> None:
        if text.was_scored(observation):
            shown = text.shown_score(observation)
            entry = self.ledger[self.scored] if self.scored < len(self.ledger) else shown
            if self.info is not None and self.scored >= len(self.ledger):
                self.problems.append(f"step {number}: the score is not in `info.score`; taken from what was printed")
            elif shown is not None and entry is not None and numbers(shown) != numbers(entry):
                self.problems.append(f"step {number}: `info.score` says {_said(entry)}, printed was {_said(shown)}")
            self.scored += 1
            self.score(number, "validate", "ok", numbers(entry))
        elif action.strip() == "validate" and not self._never_ran(number):
            verdict = text.failed_verdict(observation)
            message = observation.strip() or "the run ended while the submission was evaluated"
            self.score(number, "validate", verdict, {}, message[:_MESSAGE_CAP])

    def _never_ran(self, number: int) -> bool:
        return self.step_limit is not None and number > self.step_limit

    # -- the end -------------------------------------------------------------------------------------------------------

    def _finish(self, info: TrajInfo) -> None:
        last = len(self.steps)
        status = info.exit_status
        outcome, _, cause = status.rstrip(")").partition(" (")
        kind: Literal["submit", "autosubmit"] = "submit" if status == "submitted" or cause == "submit" else "autosubmit"
        artifact = info.submission
        rest = self.ledger[self.scored :]
        for entry in rest[:-1]:
            self.problems.append(f"a score without a step: {_said(entry)}; shown at the last step")
            self.score(last, "validate", "ok", numbers(entry))
        if rest:
            self.score(last, kind, "ok", numbers(rest[-1]), artifact=artifact)
        elif outcome in ("submitted", "autosubmission"):
            self.problems.append(f"exit status {status!r}, but no score of a final submission")
        if outcome == "submission_not_found":
            self.score(last, kind, "missing", {}, "no submission was found at the end of the run", artifact=artifact)
        elif outcome == "evaluation_format_error":
            self.score(last, kind, "invalid", {}, "the final submission could not be evaluated", artifact=artifact)
        self._usage(info)
        reason = ""
        if not status:
            status = broken_off(self.trajectory.last_action or (self.steps[-1].action if self.steps else ""))
            reason = "the run broke off: MLGym recorded no exit status"
        self.end(status, reason)

    def _usage(self, info: TrajInfo) -> None:
        """The cost of the run, which the file has only as a total; with it the answer that led to no step, if any."""
        stats = numbers(info.model_stats)
        answer = ""
        answers = self.trajectory.answers
        if answers is not None and answers == len(self.steps) + 1:
            answer = self.trajectory.last_answer
            self.emit(ev.NoteAdded(text="The model's last answer was never run: the run broke off before."))
            self.problems.append("the model answered once more than there are steps: its last answer was never run")
        elif answers is not None and answers != len(self.steps):
            self.problems.append(f"the history has {answers} answers of the model for {len(self.steps)} steps")
        if stats or answer:
            cost = stats.get("task_cost", stats.get("total_cost"))
            self.answer(self.model, answer, stats.get("tokens_sent", 0), stats.get("tokens_received", 0), cost)


def said_by(ours: dict[str, Any]) -> str:
    """The author of a step, where our export tells."""
    author = ours.get("author")
    return author if isinstance(author, str) else ""


def _said(entry: Any) -> str:
    return str(numbers(entry))[:200]
