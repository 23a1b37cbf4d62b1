"""Long commands that are stopped: the exit code of the signal, a word on what is kept, and no process left."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.cli.command import action_list, finish, start
from tests.cli.processes import commands, descendants
from tests.runner.rig import wait_for
from tests.tasks.quick_task import make_quick_task
from tests.tasks.small_data import make_data_task
from workbench.cli import main
from workbench.cli.headless import _further
from workbench.session import events as ev
from workbench.session.state import fold

GENERATOR = "{kind: generator}"


def endless_baseline(folder: Path) -> Path:
    """A task whose baseline takes for ever."""
    task = make_quick_task(folder)
    (folder / "baseline.py").write_text("import time\nprint('at work', flush=True)\ntime.sleep(1000)\n")
    file = folder / "task.yaml"
    file.write_text(file.read_text() + "baseline: {script: baseline.py}\n")
    return task.folder


@pytest.mark.parametrize(
    ("arguments", "busy"),
    [
        (("tasks", "prepare", "{data}"), "workbench.tasks.preparing"),
        (("tasks", "check", "{data}"), "workbench.tasks.preparing"),
        (("run", "{data}", "--headless", "--model", "{model}"), "workbench.tasks.preparing"),
        pytest.param(("baseline", "{endless}"), "python3 baseline.py", marks=pytest.mark.bwrap),
        pytest.param(("tasks", "check", "{endless}"), "python3 baseline.py", marks=pytest.mark.bwrap),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_it_ends_at_once_and_leaves_nothing(
    tmp_path: Path, arguments: tuple[str, ...], busy: str, number: signal.Signals, code: int
) -> None:
    data = make_data_task(tmp_path / "data", prepare="endless", source=GENERATOR).folder
    endless = endless_baseline(tmp_path / "endless")
    model = action_list(tmp_path / "a.json", ["submit"])
    words = [word.format(data=data, endless=endless, model=model) for word in arguments]
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    env = {"MLGYM_CACHE": str(tmp_path / "cache"), "TMPDIR": str(temporary)}
    process = await start(*words, sessions=tmp_path / "sessions", env=env)
    await wait_for(lambda: any(busy in line for line in commands(descendants(process.pid))), f"{busy} at work")
    started = descendants(process.pid)
    process.send_signal(number)
    outcome = await finish(process)
    assert outcome.code == code and "stopped" in outcome.err and "Traceback" not in outcome.err, outcome
    if "preparing" in busy:
        assert "nothing of what was being prepared is left, and the same command begins it anew" in outcome.err
        assert not list((tmp_path / "cache" / "datasets" / "numbers").glob(".making-*"))
    assert not list((tmp_path / "sessions").glob("*"))
    await wait_for(lambda: commands(started) == [], "all that was started is gone")
    assert [path.name for path in temporary.iterdir()] == []


@pytest.mark.parametrize("command", ["analyze", "sessions", "grep x", "import", "home"])
def test_whatever_is_stopped_ends_as_shells_expect(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("workbench.library.index.runs", stopped)
    monkeypatch.setattr("workbench.cli.home.is_terminal", stopped)
    result = CliRunner().invoke(main, [*command.split(), str(tmp_path)])
    assert result.exit_code == 130 and "stopped" in result.stderr, result


@pytest.mark.parametrize(
    ("status", "limits", "option"),
    [
        ("autosubmission (max_steps)", ev.Limits(steps=3), " --max-steps 6"),
        ("autosubmission (max_time)", ev.Limits(seconds=1.5), " --max-time 3"),
        ("submission_not_found (exit_cost)", ev.Limits(tokens=100), " --max-tokens 200"),
        ("interrupted", ev.Limits(steps=3), ""),
    ],
)
def test_the_command_to_go_on_has_a_further_limit(status: str, limits: ev.Limits, option: str) -> None:
    state = fold([ev.SessionStarted(format=ev.FORMAT, task="t", limits=limits)])
    assert _further(ev.SessionEnded(exit_status=status, steps=3), state) == option
