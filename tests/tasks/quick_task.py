"""A task for tests: the battle of the sexes with few games and short limits, in a folder of its own."""

from __future__ import annotations

import re
import shutil
import textwrap
from pathlib import Path

from workbench.resources import data_folder
from workbench.tasks.catalogue import Task, load_task

GAMES = 40


def make_quick_task(folder: Path, *, games: int = GAMES, name: str = "strategy.py", seconds: float = 5.0) -> Task:
    """A task folder that is complete, and quick."""
    for part in ("starter", "evaluate"):
        (folder / part).mkdir(parents=True)
    (folder / "starter" / name).write_text("def row_strategy(history):\n    return 1\n")
    (folder / "task.yaml").write_text(
        textwrap.dedent(
            f"""\
            id: quick
            name: Quick
            domain: tests
            level: beginner
            description: Write $artifact.
            metrics:
              - {{key: Score, direction: maximize, primary: true}}
            artifact: {{kind: code, path: {name}, function: row_strategy, max_bytes: 20000}}
            limits: {{answer_seconds: 1, loading_seconds: 2, evaluation_seconds: {seconds}, memory_bytes: 300000000}}
            evaluate: {{file: evaluate/game.py}}
            """
        )
    )
    (folder / "evaluate" / "game.py").write_text(quick_evaluator(games))
    return load_task(folder)


def quick_evaluator(games: int = GAMES) -> str:
    """The evaluator of the shipped task, with fewer games."""
    shipped = (data_folder("tasks") / "battleOfSexes" / "evaluate" / "game.py").read_text()
    return (
        shipped.replace("play(matrix_game(PAYOFFS, column), job)", f"play(replace(GAME, games={games}), job)").replace(
            "import random\n", "import random\nfrom dataclasses import replace\n"
        )
        + "\n\nGAME = matrix_game(PAYOFFS, column)\n"
    )


def with_fewer_games(task: str, folder: Path, games: int = 1_000) -> Path:
    """A copy of a shipped task, of whose games fewer are played."""
    shutil.copytree(data_folder("tasks") / task, folder)
    evaluator = folder / "evaluate" / "game.py"
    few = f", games={games}), job)"
    played = re.sub(r"return play\((.*), job\)", rf"return play(replace(\1{few}", evaluator.read_text())
    assert few in played
    evaluator.write_text(
        played.replace("import annotations\n", "import annotations\n\nfrom dataclasses import replace\n")
        if "import annotations\n" in played
        else played
    )
    return folder
