"""Real recordings of other programs, against what truly happened in them.

Runs only where `MLGYM_CORPUS` names a folder with `peers-2026/`: files with `FILE.expected.json` beside them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.formats.atif_rules import problems
from workbench.formats.open import open_recording, ref_of, runs_in
from workbench.session.state import SessionState, Step, fold

PEERS = Path(os.environ.get("MLGYM_CORPUS", "")).expanduser() / "peers-2026"
pytestmark = pytest.mark.skipif(
    not os.environ.get("MLGYM_CORPUS") or not PEERS.is_dir(), reason="MLGYM_CORPUS names no folder with peers-2026/"
)


def found(name: str, kind: str = "") -> tuple[SessionState, dict[str, Any]]:
    file = ref_of(PEERS / name)
    expected = json.loads((PEERS / f"{name.partition('#')[0]}.expected.json").read_text(encoding="utf-8"))
    return fold(open_recording(file.path, file.sample).events), expected


def exit_status(state: SessionState) -> str | None:
    return state.ended.exit_status if state.ended is not None else None


def check(step: Step, expected: dict[str, Any]) -> None:
    assert step.proposed == expected["proposed"]
    assert step.executed == (expected["executed"] is not None)
    if step.executed:
        assert step.action == expected["executed"]
    assert step.exit_code in (expected["exit_code"], None)
    assert step.author.startswith({"model": "model:", "person": "human:"}[expected["author"]])
    if "output" in expected:
        assert expected["output"] in step.observation
    if "timeout_s" in expected:
        assert step.timed_out


@pytest.mark.parametrize("name", ["confirm", "format-error", "multi-submit", "responses", "text"])
def test_mini_swe_agent(name: str) -> None:
    state, expected = found(f"mini-swe-agent/{name}.traj.json")
    assert state.last_step == len(expected["actions"])
    for step, action in zip(state.steps[1:], expected["actions"], strict=True):
        check(step, action)
        if "note" not in action:  # where the file itself is silent or wrong
            assert step.exit_code == action["exit_code"]
    assert exit_status(state) == expected["exit_status"]
    assert len(state.failures) == expected.get("format_errors", 0)


def test_swe_agent() -> None:
    state, expected = found("swe-agent/function-calling.traj")
    assert [step.action for step in state.steps[1:]] == expected["actions"]
    assert sum(step.executed for step in state.steps[1:]) == expected["executed"]
    assert [step.number - 1 for step in state.steps[1:] if not step.executed] == [
        each["index"] for each in expected["not_executed"]
    ]
    assert [step.number - 1 for step in state.steps[1:] if step.timed_out] == expected["timeout_steps"]
    assert exit_status(state) == expected["exit_status"]
    window = state.steps[2].window
    assert window is not None and window.path.endswith(expected["open_file_after_step_1"])
    assert all(step.exit_code is None for step in state.steps)


@pytest.mark.parametrize("name", ["approvals.eval", "approvals-pooled.json", "approvals-converted.json"])
def test_inspect_approvals(name: str) -> None:
    state, expected = found(f"inspect/{name}")
    one = expected["sample"]
    for step, action in zip(state.steps[1:], one["actions"], strict=True):
        check(step, action)
        assert step.exit_code == action["exit_code"]
        assert bool(step.edited) == (action["decision"] == "modify")
        if "approver" in action:
            assert action["approver"] in step.edited_by + step.rejected_by
    assert len(state.steps[5].observation.splitlines()) == one["actions"][4]["output_lines"]
    assert [(s.step, s.score, s.kind == "validate") for s in state.scores_until()] == [(1, 0.0, True), (5, 1.0, False)]
    assert (state.input_tokens, state.output_tokens) == (one["tokens_in"], one["tokens_out"])
    assert any(one["final_answer"] in note.text for note in state.notes)


def test_inspect_epochs_limits_and_crashes() -> None:
    expected = json.loads((PEERS / "inspect/epochs-errors.eval.expected.json").read_text(encoding="utf-8"))
    refs = runs_in(PEERS / "inspect/epochs-errors.eval")
    assert {ref.sample for ref in refs} == {f"{each}/{n}" for each in expected["sample_ids"] for n in (1, 2)}
    for each in expected["per_sample"]:
        for epoch in each["epochs"]:
            state, _ = found(f"inspect/epochs-errors.eval#{each['id']}/{epoch}")
            assert state.last_step == expected["actions_per_sample"]
            assert state.final_scores().last == {"C": 1.0, "I": 0.0, None: None}[each["score"]]
            assert (exit_status(state) == "error") == bool(each["error"])
            assert each.get("tool_output", each.get("tool_error", "")) in state.steps[1].observation
    state, expected = found("inspect/message-limit.eval")
    assert state.last_step == expected["actions"] and "message" in (exit_status(state) or "")
    refs = runs_in(PEERS / "inspect/crashed.eval")
    assert [ref.sample for ref in refs] == ["first/1", "second/1"]
    state, expected = found("inspect/crashed.eval#first/1")
    assert [step.exit_code for step in state.steps[1:]] == expected["samples"][0]["exit_codes"]
    state, _ = found("inspect/crashed.json")
    assert state.last_step == 0 and exit_status(state) == "started"


@pytest.mark.parametrize("name", ["session.json", "mini-confirm.harbor.json", "mini-responses.harbor.json"])
def test_atif(name: str) -> None:
    state, expected = found(f"atif/{name}")
    persons = [step for step in state.steps[1:] if step.author.startswith("human:")]
    assert state.last_step == expected["tool_calls"] + len(persons)
    assert [step.exit_code for step in persons] == [expected.get("person_exit_code")] * len(persons)
    assert [score.score for score in state.scores_until()] == expected.get("scores", [])


def test_the_checker_of_atif_agrees_with_harbor() -> None:
    variants = json.loads((PEERS / "atif/naive-variants.json").read_text(encoding="utf-8"))["variants"]
    assert [(each["variant"], not problems(each["document"])) for each in variants] == [
        (each["variant"], each["valid"]) for each in variants
    ]


@pytest.mark.parametrize("name", ["v2-markers-resize", "v2-recorded-by-2.4.0", "v3-comment-exit"])
def test_asciicast(name: str) -> None:
    state, expected = found(f"cast/{name}.cast")
    assert len(state.notes) == len(expected.get("markers", []))
    assert state.elapsed == expected.get("duration", state.elapsed)
    assert exit_status(state) == (str(expected["exit_status"]) if expected.get("exit_status") == 3 else None)
