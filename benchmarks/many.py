"""Many runs at once: their analysis, and sweeps."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.library import _best, _command, _folder, _trajectories
from benchmarks.rows import Row, absolute, compare

_SESSIONS = 40
"""Of one command each."""


def analysis() -> list[Row]:
    """All runs read whole; the command, warm; and how the cost grows with the number of rows."""
    from workbench.library.index import runs

    rows = []
    with _folder() as scratch:
        os.environ["MLGYM_CACHE"] = str(scratch / "cache")
        folder = Path(os.environ.get("MLGYM_RUNS") or _trajectories(scratch / "runs"))
        files = sorted(folder.rglob("*.traj"))
        loads = _best(lambda: [json.loads(path.read_bytes()) for path in files])
        cold = _best(
            lambda: list(runs([folder], whole=True)),
            before=lambda: shutil.rmtree(scratch / "cache", ignore_errors=True),
        )
        rows.append(compare(f"{len(files)} trajectories read whole, cold; json.loads", cold, loads, 1.5))
        for options in ([], ["--compat", "mlgym", "--json"]):
            warm = _best(lambda: _command("analyze", str(folder), *options))  # noqa: B023 - called at once
            rows.append(absolute(" ".join(["analyze", *options[:2]]) + ", warm", warm, 500))
    few, many = (_rows_of(count) for count in (1_000, 100_000))
    rows.append(compare("analysis of 100,000 rows; 100 × that of 1,000", many, 100 * few, 1.0))
    return rows


def _rows_of(count: int) -> float:
    from workbench.analysis.summary import Question, analyze, tables
    from workbench.session.run import Run

    made = [
        Run(
            path=f"/r/{n}", ident=str(n), task=f"t{n % 13}", model=f"m{n % 12}", metric="Score", status="submitted",
            category="Success", baseline=0.1, best=n % 97 / 97, last=n % 89 / 97, attempts=(n % 97 / 97, n % 89 / 97),
            kinds="VEPAVEPAS", scored_at=(4, 8), seconds=(1.0,) * 9, whole=True,
        )
        for n in range(count)
    ]  # fmt: skip
    return _best(lambda: tables(analyze(made, Question(samples=100))))


def sweeps() -> list[Row]:
    """Sessions of one `echo`, two at a time: by a sweep, and each by a command of its own. And a plan of 10,000."""
    with _folder() as scratch:
        actions = scratch / "actions.json"
        actions.write_text('["echo hi"]')
        plan = scratch / "plan.yaml"
        plan.write_text(f"tasks: [battleOfSexes]\nmodels: ['replay:{actions}']\nseeds: {_SESSIONS}\nparallel: 2\n")
        _command("sweep", str(plan), "--sessions", str(scratch / "warm"), "--only", "0")
        begun = time.perf_counter()
        _command("sweep", str(plan), "--sessions", str(scratch / "swept"))
        swept = time.perf_counter() - begun
        begun = time.perf_counter()
        with ThreadPoolExecutor(2) as two:
            list(two.map(lambda _: _alone(actions, scratch / "alone"), range(_SESSIONS)))
        alone = time.perf_counter() - begun
        large = scratch / "large.yaml"
        large.write_text("tasks: [blotto, prisonersDilemma]\nmodels: ['openai:a', 'openai:b']\nseeds: 2500\n")
        planned = _best(lambda: _command("sweep", str(large), "--dry-run"))
        return [
            compare(f"{_SESSIONS} sessions by a sweep; each by `run --headless`", 1000 * swept, 1000 * alone, 0.5),
            absolute("10,000 sessions planned and listed", planned, 2000),
        ]


def _alone(actions: Path, sessions: Path) -> None:
    command = [sys.executable, "-m", "workbench", "run", "battleOfSexes", "--headless"]
    subprocess.run(
        [*command, "--model", f"replay:{actions}", "--sessions", str(sessions)], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, check=False,
    )  # fmt: skip
