"""Lists of actions from everything that holds some."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.formats.test_open import EVENTS, write_session
from tests.formats.trajectories import healthy, step, trajectory, write_run
from workbench.formats.actions import PlannedAction, read_plan
from workbench.session import events as ev
from workbench.session.recording import RecordingError


def test_yaml_of_strings_and_mappings(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text(
        "- ls -la\n- yes\n- 12\n"
        "- thought: edit it\n  action: |\n    edit 1:1\n    x\n    end_of_edit\n- action: submit\n",
        encoding="utf-8",
    )
    assert read_plan(path).actions == [
        PlannedAction("", "ls -la"),
        PlannedAction("", "yes"),
        PlannedAction("", "12"),
        PlannedAction("edit it", "edit 1:1\nx\nend_of_edit\n"),
        PlannedAction("", "submit"),
    ]


def test_json_plain_and_under_a_key(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    for content in (["ls", {"action": "submit"}], {"actions": ["ls", {"action": "submit", "thought": None}]}):
        path.write_text(json.dumps(content), encoding="utf-8")
        assert read_plan(path).actions == [PlannedAction("", "ls"), PlannedAction("", "submit")]


def test_a_session_gives_its_actions_as_they_were_run(tmp_path: Path) -> None:
    events = [
        *EVENTS,
        ev.ActionProposed(seq=4, step=2, author="model:m", action="rm x", thought="away"),
        ev.ActionRejected(seq=5, step=2, author="human:u", comment="no"),
        ev.ActionProposed(seq=6, step=3, author="model:m", action="cat x", thought="read"),
        ev.ActionEdited(seq=7, step=3, author="human:u", before="cat x", after="head x"),
        ev.ActionStarted(seq=8, step=3, author="human:u", action="head x"),
    ]
    folder = write_session(tmp_path / "one", events)
    expected = [PlannedAction("look", "ls"), PlannedAction("read", "head x")]
    assert read_plan(folder).actions == expected
    assert read_plan(folder / "events.jsonl").actions == expected


def test_a_trajectory_gives_what_was_really_run(tmp_path: Path) -> None:
    content = healthy()
    path = write_run(tmp_path / "a", content)
    # The prompt allows five steps: what is recorded beyond was never run.
    assert [action for _, action in read_plan(path).actions] == [item["action"] for item in content["trajectory"][:5]]
    steps = [step("ls\n", "x"), step("exit_cost", "", thought="Exit due to cost limit")]
    path = write_run(tmp_path / "b", trajectory(steps, exit_status="autosubmission (exit_cost)"))
    assert read_plan(path).actions == [PlannedAction("a thought", "ls\n")]


@pytest.mark.parametrize(
    ("exit_status", "cause"),
    [
        ("autosubmission (max_steps)", "max_steps"),
        ("evaluation_format_error (exit_context)", "exit_context"),
        ("submission_not_found (exit_format)", "exit_format"),
        ("submission_not_found (submit)", ""),
        ("submitted", ""),
        ("", ""),
    ],
)
def test_why_a_run_was_scored_when_it_was_over(tmp_path: Path, exit_status: str, cause: str) -> None:
    path = write_run(tmp_path, trajectory([step("ls\n", "x")], exit_status=exit_status))
    assert read_plan(path).cause == cause


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.yaml", "just text", "no list"),
        ("a.yaml", "- [1, 2]", "item 1"),
        ("a.yaml", "- ls\n- {thought: x}", "item 2"),
        ("a.yaml", "- !!python/object/apply:os.system [true]", "item 1"),
        ("a.yaml", "- {", "parsed"),
        ("a.yaml", "", "no list"),
        ("a.json", "[]", "no action"),
        ("a.json", "[1]", "item 1"),
        ("a.json", '["ls"', "parsed"),
        ("a.json", "[" * 100_000, "nested"),
        ("a.yaml", "- " * 60 + "a", "levels deep"),
        ("a.yaml", "&a [*a]", "hold itself"),
        ("a.yaml", "\n".join(["- &a0 [x, x]", *(f"- &a{n} [{f'*a{n - 1}, ' * 9}]" for n in range(1, 9))]), "aliases"),
    ],
)
def test_what_is_no_list_is_said_plainly(tmp_path: Path, name: str, content: str, says: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(RecordingError, match=says) as caught:
        read_plan(path)
    assert caught.value.hint


def test_a_missing_list_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "actions.yaml").write_text("- ls", encoding="utf-8")
    with pytest.raises(RecordingError) as caught:
        read_plan(tmp_path / "action.yaml")
    assert "actions.yaml" in caught.value.hint


def test_half_a_surrogate_pair_is_replaced_and_a_whole_one_is_its_character(tmp_path: Path) -> None:
    for name in ("a.yaml", "a.json"):
        (tmp_path / name).write_text('["echo \\ud800", "echo \\ud83d\\ude00"]', encoding="utf-8")
        plan = read_plan(tmp_path / name)
        assert [item.action for item in plan.actions] == ["echo \ufffd", "echo \U0001f600"]


@pytest.mark.parametrize("name", ["a.yaml", "a.json", "a.traj", "events.jsonl"])
def test_what_never_answers_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(RecordingError, match="regular"):
        read_plan(tmp_path / name)


def test_a_recording_gives_no_file_outside_of_the_workspace(tmp_path: Path) -> None:
    def opened(path: str) -> dict[str, object]:
        return step(f"open {path}", f"[File: {path} (1 lines total)]\n1:x\n")

    workspace = "/home/agent/workspace"
    paths = [f"{workspace}/{name}" for name in ("../../evil", "a/../../evil", "a//b", "c/", "./d", "good.py")]
    huge = step("open x", f"[File: {workspace}/huge (999999999 lines total)]\n1:x\n")
    run = write_run(tmp_path / "run", trajectory([*map(opened, paths), huge]))
    assert list(read_plan(run).files) == ["good.py"]
