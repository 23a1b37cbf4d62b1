"""How Gymnasium comes to know the tasks, and the examples of docs/gymnasium.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from gymnasium.envs.registration import registry

from tests.tasks.quick_task import make_quick_task
from workbench.environment.registration import register_tasks
from workbench.tasks.catalogue import list_tasks

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "gymnasium.md").read_text(), re.DOTALL | re.MULTILINE)


def run(program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )


@pytest.mark.parametrize(
    "program",
    [
        "import gymnasium, workbench.environment",
        "import workbench.environment, gymnasium",
        "import workbench.environment.episode, importlib.util; importlib.util.find_spec('gymnasium'); import gymnasium",
        "import gymnasium, importlib.metadata\n"
        "for point in importlib.metadata.entry_points(group='gymnasium.envs', name='mlgym'): point.load()()",
    ],
)
def test_every_task_is_registered_whichever_is_imported_first(program: str, tmp_path: Path) -> None:
    make_quick_task(tmp_path / "quick-task")
    done = run(f"{program}\nprint(*gymnasium.registry)", MLGYM_TASKS=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    found = {name for name in done.stdout.split() if name.startswith("mlgym/")}
    assert found == {"mlgym/quick-v0", *(f"mlgym/{task.id}-v0" for task in list_tasks())}


def test_registering_again_changes_nothing() -> None:
    register_tasks()
    before = dict(registry)
    register_tasks()
    assert registry == before


def test_the_entry_point_is_that_of_the_plugins() -> None:
    [point] = [point for point in entry_points(group="gymnasium.envs") if point.name == "mlgym"]
    assert point.load() is register_tasks


def test_the_module_form_imports_it() -> None:
    done = run("import gymnasium\nprint(gymnasium.make('workbench.environment:mlgym/blotto-v0').unwrapped.task.id)")
    assert (done.returncode, done.stdout) == (0, "blotto\n"), done.stderr


def test_without_gymnasium_one_sentence_says_what_to_do() -> None:
    program = (
        "import sys; sys.modules['gymnasium'] = None\nimport workbench.environment.episode, workbench.runner.start\n"
    )
    assert run(program).returncode == 0
    done = run(f"{program}import workbench.gym.env")
    assert done.stderr.splitlines()[-1] == "ImportError: Gymnasium is not installed: pip install 'mlgym-tui[gym]'"


def test_the_workbench_does_not_pay_for_gymnasium() -> None:
    done = run("import sys, workbench.runner.start\nassert not {'gymnasium', 'numpy'} & set(sys.modules)")
    assert done.returncode == 0, done.stderr


@pytest.mark.bwrap
@pytest.mark.parametrize("number", range(3))
def test_the_examples_of_the_documentation_run(number: int, tmp_path: Path) -> None:
    assert len(EXAMPLES) == 3
    make_quick_task(tmp_path / "tasks" / "quick")
    example = EXAMPLES[number].replace("battleOfSexes", "quick")  # with fewer games
    done = run(example, MLGYM_SESSIONS=str(tmp_path / "sessions"), MLGYM_TASKS=str(tmp_path / "tasks"))
    assert (done.returncode, done.stderr) == (0, "")
    if number == 0:
        assert "$ submit  (exit code 0, reward " in done.stdout and f"submitted {tmp_path}/sessions/" in done.stdout
