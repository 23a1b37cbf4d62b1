"""docs/tasks.md, followed to the letter: its files are written, its commands are run by bash, and the task holds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "tasks.md"
FILE = re.compile(
    r"^`(?P<name>[\w./]+\.(?:py|yaml))`[^\n]*\n(?:[^`\n][^\n]*\n)*\n```\w+\n(?P<text>.*?)^```$", re.M | re.S
)
COMMANDS = re.compile(r"^```bash\n(.*?)^```$", re.M | re.S)


def worked_example() -> str:
    text = DOCUMENT.read_text(encoding="utf-8")
    return text[text.index("## A task of one's own, step by step") : text.index("## task.yaml\n")]


def bash(script: str, cwd: Path, home: Path) -> str:
    """What the commands print; each must succeed."""
    variables = {
        **os.environ,
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "MLGYM_TASKS": str(home / "my-tasks"),
        "MLGYM_CACHE": str(home / "cache"),
        "MLGYM_SESSIONS": str(home / "sessions"),
    }
    done = subprocess.run(["bash", "-euc", script], cwd=cwd, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.bwrap
def test_the_worked_example_of_the_document(tmp_path: Path) -> None:
    example = worked_example()
    first, last = COMMANDS.findall(example)
    assert "all holds" in bash(first, tmp_path, tmp_path)

    folder = tmp_path / "my-tasks" / "bicycles"
    files = {found["name"]: found["text"] for found in FILE.finditer(example)}
    assert len(files) == 6 and not list((folder / "evaluate").iterdir())
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == set(files)

    told = bash("mlgym-tui tasks check bicycles || true", tmp_path, tmp_path)
    failed = re.findall(r"^failed   baseline: rmse ([\d.]+) \(published 0\)", told, re.M)
    assert len(failed) == 1 and "1 of 16 checks failed" in told
    tiny = json.loads(bash("mlgym-tui baseline bicycles --dataset tiny --json || true", tmp_path, tmp_path))
    task = (folder / "task.yaml").read_text()
    task = task.replace(" scores: {rmse: 0}", f" scores: {{rmse: {failed[0]}}}")
    (folder / "task.yaml").write_text(
        task.replace("stand_in: {rmse: 0}", f"stand_in: {{rmse: {tiny['metrics'][0]['got']}}}")
    )

    commands = [line for line in last.splitlines() if "docker" not in line]  # tests/cli has it in a container
    told = bash("\n".join(commands), tmp_path, tmp_path)
    assert told.count("bicycles: all holds") == 2 and "skipped" not in told and "no better than" not in told
    assert re.search(r"rmse: last [\d.]+ \(test\), best [\d.]+ \(validation\) beats the baseline of [1-9]", told)
