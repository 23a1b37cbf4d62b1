"""MLGym's trajectories as our events.

A `.traj` holds what the agent proposed and was shown, and little else: no times but how long each command took, no exit
codes, no file contents, and scores without the step they belong to. The rest is rebuilt: the file window from the
numbered lines that observations show, the step of a score by counting successful validates.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from workbench.formats import mlgym_text as text
from workbench.formats.building import TrajectoryBuilder, numbers
from workbench.formats.mlgym_file import (
    RunName,
    Trajectory,
    TrajInfo,
    TrajStep,
    decode_trajectory,
    read_results,
    read_run_name,
    seconds,
)
from workbench.formats.mlgym_text import SeenWindow
from workbench.session import events as ev
from workbench.session.events import Direction, Event, Metric
from workbench.session.files import read_file
from workbench.session.plain import read_json
from workbench.session.recording import Recording, RecordingError

SOURCE = "mlgym"
FRAMEWORK = "policy:mlgym"
"""Author of the exits that MLGym itself puts in the place of an action."""

PRIMARY_METRICS: dict[str, tuple[str, Direction]] = {
    "regressionKaggleHousePrice": ("r2", "maximize"),
    "regressionKaggleHousePriceL1": ("r2", "maximize"),
    "3SATTime": ("Time", "minimize"),
    "imageClassificationCifar10": ("accuracy", "maximize"),
    "imageClassificationCifar10L1": ("accuracy", "maximize"),
    "imageClassificationFMnist": ("accuracy", "maximize"),
    "imageCaptioningCOCO": ("BLEU Score", "maximize"),
    "languageModelingFineWeb": ("val_loss", "minimize"),
    "naturalLanguageInferenceMNLI": ("validation_accuracy", "maximize"),
    "battleOfSexes": ("Score", "maximize"),
    "prisonersDilemma": ("Score", "maximize"),
    "blotto": ("Score", "maximize"),
    "rlBreakoutMinAtar": ("Reward Mean", "maximize"),
    "rlMetaMazeMisc": ("Reward Mean", "maximize"),
    "rlMountainCarContinuous": ("Reward Mean", "maximize"),
    "rlMountainCarContinuousReinforce": ("Reward Mean", "maximize"),
    "titanicSurvival": ("accuracy", "maximize"),
}
"""Task → its primary metric and which way is better (no file of a run says so)."""

_LOWER_IS_BETTER = re.compile(r"loss|error|time|rmse|mse|mae|perplexity", re.IGNORECASE)
_PSEUDO_ACTIONS = frozenset(
    ("skip", "exit_forfeit", "exit_context", "exit_cost", "exit_error", "exit_format", "exit_api")
)
_STATE_FOOTER = re.compile(r"\(Current Step: \d+, Remaining Steps: (\d+)\)")
_VIEWER_LINES = re.compile(r"(\d{1,6}) lines")
_DEFAULT_WINDOW = 1000
_LARGEST = 64 << 20
"""Bytes of a trajectory; published ones have up to 4 MB."""
_MESSAGE_CAP = 4000
"""Characters of an evaluator's complaint that a score keeps; the observation has all of it."""


def read_mlgym(path: Path, *, follow: bool = False) -> Recording:
    """The events of a `.traj` of MLGym, with what its folder's name and `results.json` add.

    `follow`: it may be a link, for the user named it. Raises RecordingError when there is nothing to show (unreadable,
    another program's file, cut in its first step).
    """
    try:
        data = read_file(path, _LARGEST, follow=follow)
    except OSError as error:
        raise RecordingError(
            f"{path} cannot be read: {error.strerror or error}", "check its name and its permissions"
        ) from error
    trajectory = decode_trajectory(data, path)
    results, problems = read_results(path.with_name("results.json"))
    run = read_run_name(path.absolute().parent.name)
    builder = _Builder(path, trajectory, results, run)
    events = builder.build()
    return Recording(events, SOURCE, path, None, [*trajectory.problems, *problems, *builder.problems])


class _Builder(TrajectoryBuilder):
    """Turns one trajectory into events, in the order in which things happened."""

    def __init__(self, path: Path, trajectory: Trajectory, results: dict[str, Any], run: RunName) -> None:
        super().__init__()
        self.path = path
        self.trajectory = trajectory
        self.steps = trajectory.steps
        self.info = trajectory.info
        self.run = run
        self.task = run.task or path.stem
        self.model = run.model or "unknown"
        self.metric = self._metric(results)
        self.step_limit = self._step_limit()
        self.ledger = list(self.info.score or []) if self.info else []
        self.scored = 0
        """Successful validates so far: the next takes this entry of the ledger."""
        self.window: SeenWindow | None = None
        self.open_file = ""
        if not run.model:
            self.problems.append(
                "the model is not known: it stands only in the name of the run folder, which is not MLGym's"
            )

    def build(self) -> list[Event]:
        states = [_state(step) for step in self.steps]
        cwd, open_file = states[0] if states else ("", "")
        self._start(cwd)
        if open_file:
            self._follow_open_file(0, open_file)
        for index, step in enumerate(self.steps):
            after = states[index + 1] if index + 1 < len(states) else None
            self._add_step(index + 1, step, after, states[index][0])
        if self.info is not None:
            self._finish(self.info)
        if not self.steps:
            self.problems.append("there are no steps")
        return self.events

    # -- the beginning -------------------------------------------------------------------------------------------------

    def _start(self, cwd: str) -> None:
        footer = _STATE_FOOTER.search(self.trajectory.task_text)
        viewer = _VIEWER_LINES.search(self.trajectory.system)
        self.emit(
            ev.SessionStarted(
                format=ev.FORMAT,
                session=self.path.absolute().parent.name if self.run.model else self.path.stem,
                task=self.task,
                description=self.trajectory.task_text[: footer.start()].rstrip()
                if footer
                else self.trajectory.task_text,
                agent=self.run.agent,
                model=self.model,
                limits=ev.Limits(steps=self.step_limit, cost=self.run.cost_limit),
                metric=self.metric,
                window=int(viewer[1]) if viewer else _DEFAULT_WINDOW,
                source=SOURCE,
            )
        )
        self.emit(ev.SandboxReady(cwd=cwd))

    def _metric(self, results: dict[str, Any]) -> Metric | None:
        baseline = numbers(results.get("baseline"))
        known = PRIMARY_METRICS.get(self.task)
        if known is not None:
            return Metric(name=known[0], direction=known[1], baseline=baseline.get(known[0]))
        scored = [entry for entry in (self.info.score or [] if self.info else []) if entry]
        name = next(iter(baseline or numbers(scored[0] if scored else None)), None)
        if name is None:
            return None
        direction: Direction = "minimize" if _LOWER_IS_BETTER.search(name) else "maximize"
        self.problems.append(f"unknown task {self.task}: its metric is taken to be {name!r}, to {direction}")
        return Metric(name=name, direction=direction, baseline=baseline.get(name))

    def _step_limit(self) -> int | None:
        footer = _STATE_FOOTER.search(self.trajectory.task_text)
        if footer is not None:
            return int(footer[1][:9])
        if self.info is not None and "(max_steps)" in (self.info.exit_status or ""):
            return len(self.steps) - 1
        return None

    # -- a step --------------------------------------------------------------------------------------------------------

    def _add_step(self, number: int, step: TrajStep, after: tuple[str, str] | None, cwd_before: str) -> None:
        action, thought = step.action, step.thought or ""
        pseudo = action.strip() in _PSEUDO_ACTIONS
        author = FRAMEWORK if pseudo and thought.startswith("Exit due to") else f"model:{self.model}"
        if author == FRAMEWORK and step.response and step.response.strip() != thought.strip():
            # The answer that could not be parsed: it stands nowhere else.
            self.answer(self.model, step.response)
        observation = step.observation or ""
        cwd = after[0] if after else cwd_before
        timed_out = text.timed_out(observation)
        self.step(
            number, author, action, observation, thought=thought, duration=seconds(step.execution_time),
            cwd=cwd, timed_out=timed_out,
        )  # fmt: skip
        if self.step_limit is not None and number > self.step_limit and not pseudo:
            self.emit(ev.NoteAdded(step=number, text="MLGym asked for this action, but did not run it: step limit"))
        self._show_window(number, observation, after[1] if after else None)
        self._score_validate(number, action, observation)

    def _show_window(self, number: int, observation: str, open_file: str | None) -> None:
        """The file window after a step: from the lines it showed, else from the name of the open file."""
        windows = text.shown_windows(observation)
        seen = windows[-1] if windows else None
        if seen is not None and open_file is not None:
            seen = next((window for window in reversed(windows) if window.path == open_file), None)
        if seen is not None:
            self.open_file = seen.path
            # A rejected edit shows the lines around it again; the window itself stays as wide as it was.
            if seen != self.window and not (text.lint_rejected(observation) and _shows(self.window, seen)):
                self.window = seen
                self.emit(
                    ev.WindowChanged(
                        step=number,
                        path=seen.path,
                        first_line=seen.first_line,
                        last_line=seen.last_line,
                        total_lines=seen.total_lines,
                        text=seen.text,
                    )
                )
        elif open_file is not None:
            self._follow_open_file(number, open_file)

    def _follow_open_file(self, number: int, open_file: str) -> None:
        if open_file != self.open_file:
            self.open_file = open_file
            self.window = None
            self.emit(ev.WindowChanged(step=number, path=open_file))

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
        status = info.exit_status or ""
        outcome, _, cause = status.rstrip(")").partition(" (")
        kind: Literal["submit", "autosubmit"] = "submit" if status == "submitted" or cause == "submit" else "autosubmit"
        artifact = info.submission or ""
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
            action = self.trajectory.last_action or (self.steps[-1].action if self.steps else "")
            status = f"unknown_error ({action.strip()})"
            reason = "the run broke off: MLGym recorded no exit status"
        self.end(status, reason, str(self.path.absolute()), last)

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


def _state(step: TrajStep) -> tuple[str, str]:
    """Working directory and open file before the step; empty where not known or none."""
    try:
        state = read_json(step.state or "{}", strict=False)
    except ValueError:
        return "", ""
    if not isinstance(state, dict):
        return "", ""
    cwd, open_file = state.get("working_dir"), state.get("open_file")
    return (
        cwd if isinstance(cwd, str) else "",
        open_file if isinstance(open_file, str) and open_file != "n/a" else "",
    )


def _said(entry: Any) -> str:
    return str(numbers(entry))[:200]


def _shows(window: SeenWindow | None, part: SeenWindow) -> bool:
    """Whether `window` shows the lines of `part` as they are."""
    if window is None or (window.path, window.total_lines) != (part.path, part.total_lines):
        return False
    if part.first_line < window.first_line or part.last_line > window.last_line:
        return False
    start = part.first_line - window.first_line
    lines = window.text.split("\n")[start : start + part.last_line - part.first_line + 1]
    return "\n".join(lines) == part.text
