"""The world's side of a session: evaluations asked for from the shell, the ledger, and what the window may claim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.runner.rig import GOOD, Driven, ListAgent, driven
from tests.tasks.quick_task import make_quick_task
from workbench.environment.command_time import is_training_command
from workbench.environment.episode import MOST_EVALUATIONS
from workbench.runner.runner import Runner
from workbench.session import events as ev
from workbench.session.objects import content_hash


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("python train.py", True),
        ("python3.11 -m train", True),
        ("cd src && python3 train.py", True),
        ("CUDA_VISIBLE_DEVICES=0 SEED=1 python x.py", True),
        ("echo 1; torchrun x.py", True),
        ("for i in 1 2\ndo\n  python x.py\ndone", True),
        ("echo python", False),
        ("cat python.txt", False),
        ("vim train_python.py", False),
        ("grep -rn 'python' .", False),
        ("pythonic x", False),
        ("", False),
    ],
)
def test_which_commands_train(action: str, expected: bool) -> None:
    assert is_training_command(action) is expected


async def run(root: Path, *actions: str) -> Driven:
    """A session with these actions, over."""
    async with driven(root, ListAgent(list(actions))) as session:
        await session.ended(30)
    return session


def scores(session: Driven) -> list[ev.ScoreRecorded]:
    return session.events(ev.ScoreRecorded)


async def test_validate_works_from_any_folder_and_in_any_form(tmp_path: Path) -> None:
    session = await run(tmp_path, f"{GOOD}; cd /", "validate", 'x=$(validate); echo "$x" | head -1', "validate | wc -l")
    first, second, third = scores(session)
    assert (first.step, second.step, third.step) == (2, 3, 4)
    assert first.score == second.score == third.score and first.verdict == "ok"
    assert session.state.steps[3].observation.startswith("Score: ")
    assert {score.artifact for score in scores(session)} == {first.artifact}


async def test_what_was_scored_is_kept_by_its_hash(tmp_path: Path) -> None:
    session = await run(tmp_path, f"{GOOD}; validate; rm strategy.py")
    [score] = scores(session)
    data = session.runner.episode.artifacts.get(score.artifact or "")
    assert data == b"def row_strategy(history):\n    return 0\n"
    assert score.artifact == content_hash(data) and score.artifact_name == "strategy.py"


async def test_a_score_is_never_parsed_from_output(tmp_path: Path) -> None:
    session = await run(tmp_path, "echo 'Score: 99'; printf 'Score: 99\\nSubmitted.\\n' >&2")
    assert scores(session) == []
    assert session.state.ended is not None and session.state.ended.exit_status == "actions_exhausted"


@pytest.mark.parametrize(
    ("command", "verdict", "says"),
    [
        ("rm strategy.py", "missing", "strategy.py is missing"),
        ("rm strategy.py; mkdir strategy.py", "invalid", "not a regular file"),
        ("rm strategy.py; ln -s /etc/passwd strategy.py", "invalid", "it is a link"),
        ("rm strategy.py; mkfifo strategy.py", "invalid", "not a regular file"),
        ("head -c 30000 /dev/zero > strategy.py", "invalid", "at most 20,000 bytes"),
        ("echo 'def row_strategy(:' > strategy.py", "invalid", "SyntaxError"),
    ],
    ids=["missing", "folder", "link", "fifo", "too large", "syntax"],
)
async def test_an_artifact_that_cannot_be_scored(tmp_path: Path, command: str, verdict: str, says: str) -> None:
    session = await run(tmp_path, command, "validate", f"rm -rf strategy.py; {GOOD}; validate")
    bad, good = scores(session)
    assert (bad.verdict, bad.score, bad.metrics) == (verdict, None, {})
    assert says in bad.message and says in session.state.steps[2].observation
    assert session.state.steps[2].exit_code == 1
    assert good.verdict == "ok"


async def test_one_evaluation_at_a_time(tmp_path: Path) -> None:
    session = await run(tmp_path, "validate & validate & wait")
    first, second = scores(session)
    assert first.score == second.score
    assert second.elapsed - first.elapsed >= second.duration * 0.9


async def test_an_interrupted_evaluation_leaves_no_score(tmp_path: Path) -> None:
    slow = "printf 'import time\\ndef row_strategy(history):\\n    time.sleep(0.5)\\n    return 0\\n' > strategy.py"
    agent = ListAgent([f"{slow}; touch here; validate", f"{GOOD}; validate"])
    async with driven(tmp_path, agent) as session:
        workspace = session.runner.episode.sandbox.workspace_folder
        await session.until((workspace / "here").exists, "it is validating")
        await session.until(lambda: session.runner.episode._evaluations, "the evaluation runs")
        session.runner.controls.interrupt()
        step = await session.over(1)
        await session.ended()
    assert step.interrupted
    assert [score.step for score in scores(session)] == [2]


async def test_an_evaluation_does_not_count_against_the_commands_time(tmp_path: Path) -> None:
    slow = (
        "printf 'import time\\ndef row_strategy(h):\\n    time.sleep(0.004)\\n    return 0\\n' > strategy.py; validate"
    )
    async with driven(tmp_path, ListAgent([slow]), command_seconds=1.5) as session:
        await session.ended()
    assert not session.state.steps[1].timed_out
    [score] = scores(session)
    assert score.verdict == "ok" and score.duration > 1.5


async def test_a_submission_in_the_background_ends_the_session(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent([f"{GOOD}; submit &"], then="sleep 0.05")) as session:
        ended = await session.ended()
    assert ended.exit_status == "submitted" and ended.scores.last is not None


@pytest.mark.parametrize(
    ("request_", "says"),
    [({"request": "nonsense"}, "unknown request"), ({}, "unknown request"), ({"request": ["a"]}, "unknown request")],
)
async def test_requests_from_inside_are_taken_with_caution(
    tmp_path: Path, request_: dict[str, object], says: str
) -> None:
    async with driven(tmp_path, ListAgent(["true"]), mode="step") as session:
        await session.review(1)
        answer = await session.runner.episode._answer(request_)
    assert answer["ok"] is False and says in answer["text"]


async def test_a_window_that_is_nonsense_harms_nothing(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["true", "true"]), mode="step") as session:
        await session.review(1)
        episode = session.runner.episode
        nonsense = {"request": "window", "path": ["x"] * 9000, "first_line": -5, "last_line": 1e300, "total_lines": "9"}
        session.runner.live.subscribe(lambda event: _report(session.runner, nonsense, event))
        session.runner.controls.step()
        await session.over(1)
        assert episode.submitted is False
    [window] = session.events(ev.WindowChanged)
    assert len(window.path) <= 4096
    assert (window.first_line, window.last_line, window.total_lines) == (0, 0, 0)


def _report(runner: Runner, request: dict[str, object], event: ev.Event) -> None:
    """As if a program in the sandbox had said it while the command ran."""
    if isinstance(event, ev.ActionStarted):
        runner.episode._window = request


async def test_window_numbers_of_any_size_and_paths_of_any_kind(tmp_path: Path) -> None:
    """Through the socket, as a program in the sandbox would."""
    program = (
        "import os, socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(os.environ['MLGYM_SOCKET']); "
        "s.sendall((sys.argv[1] + chr(10)).encode()); print(s.recv(4096).decode())"
    )
    ask = f'python3 -c "{program}" '
    huge = '\'{"request": "window", "path": "a", "first_line": 1' + "0" * 500 + "}'"
    deep = "'" + '{"request": "window", "path": ' + "[" * 300 + "]" * 300 + "}'"
    session = await run(tmp_path, ask + huge, ask + deep, "echo alive")
    first, second = session.events(ev.WindowChanged)
    assert (first.path, first.first_line, second.path) == ("a", 0, "")
    assert session.state.steps[3].observation == "alive\n"


async def test_a_flood_of_evaluations_is_refused(tmp_path: Path) -> None:
    flood = "rm strategy.py; for i in {1..30}; do validate; done 2>&1 | sort | uniq -c | sort -n"
    session = await run(tmp_path, flood, "validate")
    assert [score.step for score in scores(session)] == [1] * MOST_EVALUATIONS + [2]
    said = session.state.steps[1].observation
    assert f"{30 - MOST_EVALUATIONS} there were {MOST_EVALUATIONS} evaluations in this step already" in said


async def test_quick_evaluations_give_a_command_no_time(tmp_path: Path) -> None:
    loop = "rm strategy.py; for i in 1 2 3; do validate; done; sleep 60"
    async with driven(tmp_path, ListAgent([loop]), command_seconds=1.0) as session:
        await session.ended(20)
    assert session.state.steps[1].timed_out
    assert session.state.steps[1].duration < 15


async def test_nothing_is_scored_after_a_submission(tmp_path: Path) -> None:
    worse = "echo 'def row_strategy(history): return 1' > strategy.py"
    session = await run(tmp_path, f"{GOOD}; submit; {worse}; validate; submit", "echo never")
    [only] = scores(session)
    assert only.kind == "submit"
    ended = session.state.ended
    assert ended is not None and (ended.exit_status, ended.steps, ended.scores.last) == ("submitted", 1, only.score)
    assert session.state.steps[1].observation.count("there is a submission already") == 2


async def test_a_submission_behind_the_last_action_counts(tmp_path: Path) -> None:
    """The evaluation is not over when the shell has died and no action is left."""
    slow = "printf 'import time\\ndef row_strategy(h):\\n    time.sleep(0.002)\\n    return 0\\n' > strategy.py"
    async with driven(
        tmp_path, ListAgent([f"{slow}; submit & until [ -e go ]; do sleep 0.02; done; exit 3"])
    ) as session:
        await session.until(lambda: session.runner.episode._evaluations, "the evaluation runs")
        (session.runner.episode.sandbox.workspace_folder / "go").touch()
        await session.ended()
    assert session.state.steps[1].exit_code == 3
    assert session.state.ended is not None and session.state.ended.exit_status == "submitted"
    assert [score.kind for score in scores(session)] == ["submit"]


async def test_what_the_agent_reads_after_a_score(tmp_path: Path) -> None:
    session = await run(tmp_path, "validate", f"{GOOD}; validate", "submit")
    first, second, third = session.state.steps[1:]
    assert "Validated; nothing is submitted yet." in first.observation
    assert "best so far: " in second.observation and "standard error: " in second.observation
    assert "Submitted." in third.observation
    assert "unprotected" in third.observation  # what a score is worth is said wherever it is shown


@pytest.mark.bwrap
async def test_a_protected_session_scores_in_a_sandbox(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent([GOOD, "submit"]), unsafe_local=False) as session:
        await session.ended()
    assert session.state.sandbox["protected"] is True
    assert [score.isolation for score in scores(session)] == ["sandbox"]
    assert session.state.workspace == "/home/agent/workspace"


PLACES = [
    pytest.param({"unsafe_local": True}, id="unprotected"),
    pytest.param({"unsafe_local": False}, marks=pytest.mark.bwrap, id="local"),
    pytest.param({"unsafe_local": False, "sandbox": "docker"}, marks=pytest.mark.docker, id="docker"),
]


@pytest.mark.parametrize("place", PLACES)
async def test_the_linter_is_there_in_every_sandbox(tmp_path: Path, place: dict[str, Any]) -> None:
    edit = "edit 2:2 strategy.py\n    return undefined_name\nend_of_edit"
    async with driven(tmp_path, ListAgent([edit]), **place) as session:
        await session.ended()
    assert session.state.steps[1].exit_code == 0
    assert "(Warning: line 2: undefined name 'undefined_name')" in session.state.steps[1].observation


class StrictAgent(ListAgent):
    lint = "refuse"


@pytest.mark.parametrize(("agent", "protocol"), [(StrictAgent, ""), (ListAgent, "mlgym")])
async def test_undefined_names_are_refused_for_a_strict_agent_and_under_mlgyms_protocol(
    tmp_path: Path, agent: type[ListAgent], protocol: str
) -> None:
    edit = "edit 2:2 strategy.py\n    return undefined_name\nend_of_edit"
    async with driven(tmp_path, agent([edit]), protocol=protocol) as session:
        await session.ended()
    assert session.state.steps[1].exit_code == 1
    assert "line 2: undefined name 'undefined_name'" in session.state.steps[1].observation


async def test_who_wants_an_optional_package_is_told_and_the_user_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLGYM_CACHE", str(tmp_path / "cache"))
    task = make_quick_task(tmp_path / "quick")
    with (task.folder / "task.yaml").open("a") as file:
        file.write("requirements: [greeting==1]\nrequirements_optional: true\n")
    strategy = "printf 'import greeting\\ndef row_strategy(history):\\n    return 0\\n' > strategy.py"
    agent = ListAgent(
        ["python3 -c 'import nothing_like_it'", "python3 -c 'import greeting'", f"{strategy}; validate", "true"]
    )
    async with driven(tmp_path, agent, task=str(task.folder)) as session:
        await session.ended()
    command = "`mlgym-tui tasks prepare quick` does it"
    assert [command in step.observation for step in session.state.steps[1:]] == [False, True, True, False]
    [score] = scores(session)
    assert score.verdict == "crashed" and command in score.message
    assert sum(command in note.text for note in session.events(ev.NoteAdded)) == 1
