"""Runs published MLGym runs again and prints how much comes out as it was recorded.

    .venv/bin/python scripts/reexecute.py CORPUS [--tasks blotto,3SATTime] [--runs 8] [--sessions DIR]

CORPUS holds run folders as MLGym names them. Of each task, the first by folder name are taken that have an edit and at
least five steps. Each is a `run --headless --model replay:… --protocol mlgym --window 1000`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from workbench.formats.comparing import STATELESS, ScorePair, compare_step, moved, score_pairs, steps_run
from workbench.formats.mlgym_text import action_category, lint_rejected, shown_windows
from workbench.formats.open import open_recording
from workbench.session.events import Event, SessionEnded
from workbench.session.log import read_log
from workbench.session.recording import Recording, RecordingError
from workbench.session.state import Step, fold

TASKS = ("battleOfSexes", "prisonersDilemma", "blotto", "3SATTime", "regressionKaggleHousePrice")
FEWEST_STEPS = 5
REPLAYED = "policy:replay"
"""Author of the steps that come from a recording."""
BY_DECISION = ("refusal", "create", "opponent", "network")
"""Causes that are how this workbench is meant to be: its own words of a refusal and of `create`, an opponent that
cannot be seen or rewritten, no network.
"""


class Verdict(NamedTuple):
    """How one step came out beside the recorded one."""

    number: int
    """Of the step in the replay; 0 where it was not replayed."""
    recorded: int
    """Of the step in the recording."""
    action: str
    sameness: Literal["identical", "equal", "different"]
    cause: str = ""
    detail: str = ""
    """Where the two part: what stands there now, and what did."""
    scores: tuple[ScorePair, ...] = ()


def verdict_of(recorded: Step, replayed: Step, *, rewritten: bool, cascade: bool) -> Verdict:
    """`rewritten`: the run had edited its opponent before; `cascade`: another step was different before, so that this
    one may be for that reason.
    """
    found = compare_step(recorded, replayed)
    verdict = Verdict(replayed.number, recorded.number, recorded.action, "equal")
    verdict = verdict._replace(scores=score_pairs(recorded, replayed))
    if found is None:
        same = recorded.observation == replayed.observation and not verdict.scores
        return verdict._replace(sameness="identical" if same else "equal")
    cause = found.cause
    if rewritten and recorded.scores and cause not in ("python", "packages"):
        cause = "opponent"
    if cascade and cause == "text":
        cause = "cascade"
    detail = f"{found.got!r}, recorded was {found.expected!r}"
    return verdict._replace(sameness="different", cause=cause, detail=detail)


def compare(recorded: Iterable[Event], replayed: Iterable[Event]) -> list[Verdict]:
    """A verdict for each recorded step that ran, in order."""
    then, now = fold(recorded), fold(replayed)
    mine = [
        moved(step, now.workspace, then.workspace)
        for step in now.steps[1:]
        if step.author == REPLAYED and step.had_its_turn
    ]
    verdicts: list[Verdict] = []
    cascade = rewritten = False
    for index, step in enumerate(steps_run(then)):
        rewritten = rewritten or _rewrites_opponent(step)
        if index >= len(mine):
            verdict = Verdict(0, step.number, step.action, "different", "not reached", "the replay ended before", ())
        else:
            verdict = verdict_of(step, mine[index], rewritten=rewritten, cascade=cascade)
        cascade = cascade or (verdict.sameness == "different" and verdict.cause not in STATELESS)
        verdicts.append(verdict)
    return verdicts


def final_score(recorded: Iterable[Event], replayed: Iterable[Event]) -> ScorePair | None:
    """The last score of both, where the recorded session was scored when it was over."""
    last = [[entry for step in fold(events).steps for entry in step.scores][-1:] for events in (recorded, replayed)]
    if not last[0] or last[0][0].kind == "validate":
        return None
    now = last[1][0] if last[1] and last[1][0].kind != "validate" else None
    return ScorePair(last[0][0], now)


def _rewrites_opponent(step: Step) -> bool:
    """Whether it edits target.py, which the games of MLGym play against."""
    windows = shown_windows(step.observation)
    edits = action_category(step.action) == "Edit" and not lint_rejected(step.observation)
    return edits and any(window.path.endswith("/target.py") for window in windows)


@dataclass
class Rerun:
    """A published run and what came of it here."""

    task: str
    name: str
    verdicts: list[Verdict]
    final: ScorePair | None
    exit_statuses: tuple[str, str]
    """As it was recorded, and now."""

    @property
    def different(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.sameness == "different"]

    @property
    def scores(self) -> list[ScorePair]:
        """Those that were recorded, of the evaluations that gave one."""
        pairs = [pair for verdict in self.verdicts for pair in verdict.scores]
        if self.final is not None and self.final.recorded.kind == "autosubmit":
            pairs.append(self.final)
        return [pair for pair in pairs if pair.recorded.verdict == "ok"]

    @property
    def before_decision(self) -> list[Verdict]:
        """The steps before the first whose difference is meant to be."""
        found: list[Verdict] = []
        for verdict in self.verdicts:
            if verdict.sameness == "different" and verdict.cause in BY_DECISION:
                break
            found.append(verdict)
        return found


def runs_of(corpus: Path, task: str, most: int) -> Iterator[Recording]:
    """The runs of a task that are taken, in the order of their folders' names."""
    count = 0
    for folder in sorted(corpus.glob(f"*__{task}__*")):
        if count == most:
            return
        try:
            recording = open_recording(folder)
        except RecordingError:
            continue
        steps = fold(recording.events).steps[1:]
        if len(steps) >= FEWEST_STEPS and any(action_category(step.action) == "Edit" for step in steps):
            count += 1
            yield recording


def run_again(task: str, recording: Recording, sessions: Path) -> Rerun:
    """Run it in a session of its own below `sessions`."""
    name = recording.path.parent.name
    root = sessions / name
    for log in root.glob("*/events.jsonl"):  # of another time
        if (kept := read_log(log)[0]) and isinstance(kept[-1], SessionEnded):
            return rerun(task, recording, kept)
    command = [sys.executable, "-m", "workbench", "run", task, "--headless", "--protocol", "mlgym", "--window", "1000"]
    command += ["--model", f"replay:{recording.path}", "--sessions", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    folders = sorted(root.glob("*/events.jsonl"))
    if not folders:
        sys.exit(f"{name} could not be run:\n{done.stderr or done.stdout}")
    return rerun(task, recording, read_log(folders[-1])[0])


def rerun(task: str, recording: Recording, events: list[Event]) -> Rerun:
    """What came of it, by the events of the session."""
    then, now = fold(recording.events), fold(events)
    statuses = tuple(state.ended.exit_status if state.ended else "broke off" for state in (then, now))
    verdicts = compare(recording.events, events)
    assert len(verdicts) == len(steps_run(then)) and len(statuses) == 2
    return Rerun(Path(task).name, recording.path.parent.name, verdicts, final_score(recording.events, events), statuses)


def print_run(run: Rerun) -> None:
    """What is different in one run."""
    kept = sum(pair.same for pair in run.scores)
    then, now = run.exit_statuses
    print(f"\n{run.name}\n  {len(run.verdicts)} steps, {len(run.different)} different; ", end="")
    print(f"{kept} of {len(run.scores)} scores; {now!r} for {then!r}")
    for verdict in run.different:
        action = verdict.action.strip().partition("\n")[0][:60]
        print(f"  step {verdict.recorded:2} {verdict.cause:10} {action}: {verdict.detail}")
    for pair in run.scores[-1:]:
        if pair.recorded.kind == "autosubmit" and not pair.same:
            print(f"  last score: {pair.replayed.score if pair.replayed else None} for {pair.recorded.score}")
    sys.stdout.flush()


def print_table(runs: list[Rerun]) -> None:
    """The figures over all runs."""
    verdicts = [verdict for run in runs for verdict in run.verdicts]
    print("\n| task | runs | steps | identical | equal | different | scores back | of |")
    print("|---|---|---|---|---|---|---|---|")
    for task in (*dict.fromkeys(run.task for run in runs), "all"):
        mine = [run for run in runs if task in (run.task, "all")]
        counts = Counter(verdict.sameness for run in mine for verdict in run.verdicts)
        scores = [pair.same for run in mine for pair in run.scores]
        print(
            f"| {task} | {len(mine)} | {counts.total()} | {counts['identical']} | {counts['equal']} "
            f"| {counts['different']} | {sum(scores)} | {len(scores)} |"
        )
    first = Counter(run.different[0].cause if run.different else "none" for run in runs)
    causes = Counter(verdict.cause for verdict in verdicts if verdict.sameness == "different")
    print("\nfirst difference of a run:", ", ".join(f"{cause} {count}" for cause, count in first.most_common()))
    print("different steps by cause:", ", ".join(f"{cause} {count}" for cause, count in causes.most_common()))
    before = [verdict for run in runs for verdict in run.before_decision]
    equal = sum(verdict.sameness != "different" for verdict in before)
    share = f"{equal} of {len(before)} steps ({equal / max(1, len(before)):.1%})"
    print(f"equal before the first difference that is meant to be: {share}")
    ends = sum(run.exit_statuses[0] == run.exit_statuses[1] for run in runs)
    print(f"exit statuses: {ends} of {len(runs)} as recorded")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--tasks", default=",".join(TASKS), help="ids or folders, separated by commas")
    parser.add_argument("--runs", type=int, default=8, help="of each task (8)")
    parser.add_argument("--sessions", type=Path, help="keep the sessions here; those that are there are not run again")
    parser.add_argument("--match", default="", help="only runs with this in their folder's name")
    options = parser.parse_args()
    runs: list[Rerun] = []
    with tempfile.TemporaryDirectory(prefix="reexecute-") as scratch:
        for task in options.tasks.split(","):
            for recording in runs_of(options.corpus, Path(task).name, options.runs):
                if options.match not in recording.path.parent.name:
                    continue
                runs.append(run_again(task, recording, options.sessions or Path(scratch)))
                print_run(runs[-1])
    if not runs:
        sys.exit(f"{options.corpus} holds no such runs")
    print_table(runs)


if __name__ == "__main__":
    main()
