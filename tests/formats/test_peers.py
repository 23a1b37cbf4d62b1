"""What other programs recorded: who did what, what ran of it, and what came of it; nothing more than the file holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.formats import peers
from tests.formats.peers import SUBMIT, approval, asked, called, output, sample, scored, swe_step
from workbench.formats.open import RunRef, open_recording, rows_in, runs_in
from workbench.session.prompt_view import message_text, prompt_of_step
from workbench.session.recording import RecordingError
from workbench.session.state import SessionState, Step, fold


def opened(tmp_path: Path, content: Any, name: str = "run.json", sample_name: str = "") -> SessionState:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return fold(open_recording(path, sample_name).events)


def told(state: SessionState) -> list[tuple[str, bool, int | None]]:
    """Action, whether it ran, exit code."""
    return [(step.action, step.executed, step.exit_code) for step in state.steps[1:]]


def last(state: SessionState) -> Step:
    return state.steps[-1]


# -- mini-swe-agent ----------------------------------------------------------------------------------------------------


def test_several_commands_of_one_message_are_several_steps(tmp_path: Path) -> None:
    late = output("so-2", "half", -1, exception_info="timed out after 3 seconds", exception_type="TimeoutExpired")
    state = opened(
        tmp_path, peers.mini(asked("ls", "exit 3", "sleep 9"), output("so-0", "a\n"), output("so-1", code=3), late)
    )
    assert told(state) == [("ls", True, 0), ("exit 3", True, 3), ("sleep 9", True, None)]
    assert last(state).timed_out and "half" in last(state).observation
    assert state.steps[1].thought == "so" and not state.steps[2].thought
    assert state.steps[1].observation == "a\n" and state.steps[1].time.startswith("2027")
    assert state.ended is not None and state.ended.exit_status == "Submitted"
    assert state.started is not None and state.started.limits.steps == 9 and state.started.limits.cost is None


def test_what_submits_ran_though_nothing_came_back_and_what_follows_it_never_did(tmp_path: Path) -> None:
    state = opened(tmp_path, peers.mini(asked("ls", SUBMIT, "rm all")))
    assert told(state) == [("ls", True, None), (SUBMIT, True, None), ("rm all", False, None)]


def test_not_executed_is_believed_of_what_was_rejected_only(tmp_path: Path) -> None:
    no = {"role": "user", "content": "rejected: no", "extra": {"interrupt_type": "UserRejection"}}
    stop = {"role": "user", "content": "stop", "extra": {"interrupt_type": "UserInterruption"}}
    more = {"role": "user", "content": "more", "extra": {"interrupt_type": "UserNewTask"}}
    human = {"role": "user", "content": "User command: pwd", "extra": {"actions": [{"command": "pwd"}]}}
    shown = {"role": "user", "content": "", "extra": {"raw_output": "/pond\n", "returncode": 0}}

    def skipped(call: str) -> dict[str, Any]:
        return output(call) | {"extra": peers.NOT_RUN}

    state = opened(
        tmp_path,
        peers.mini(
            asked("rm -r pond", said="a"), skipped("a-0"), no, human, shown,
            asked("sleep 99", "ls", said="b"), skipped("b-0"), skipped("b-1"), stop,
            asked(SUBMIT, said="c"), skipped("c-0"), more,
        ),
    )  # fmt: skip
    assert told(state) == [
        ("rm -r pond", False, None), ("pwd", True, 0), ("sleep 99", True, None), ("ls", False, None),
        (SUBMIT, True, None),
    ]  # fmt: skip
    assert state.steps[1].rejected_by == "human:user" and "no" in state.steps[1].comment
    assert state.steps[2].author == "human:user" and state.steps[2].observation == "/pond\n"
    assert state.steps[3].interrupted and state.steps[4].dropped
    assert [said.text for said in last(state).messages] == ["more"]


def test_answers_without_an_action_are_no_steps_but_notes(tmp_path: Path) -> None:
    bad = {"role": "user", "content": "one action!", "extra": {"interrupt_type": "FormatError", "model_response": "hm"}}
    state = opened(tmp_path, peers.mini(bad, asked("ls"), output("so-0"), bad, status="RepeatedFormatError"))
    assert told(state) == [("ls", True, 0)]
    assert [note.step for note in state.notes] == [1, None] and "hm" in state.notes[0].text
    assert [failure.cause for failure in state.failures] == ["bad_format"] * 2
    assert state.ended is not None and state.ended.exit_status == "RepeatedFormatError"


def test_the_responses_api_and_bare_lists(tmp_path: Path) -> None:
    call = {"type": "function_call", "call_id": "x", "name": "bash", "arguments": '{"command": "pwd"}'}
    said = {"type": "message", "content": [{"type": "output_text", "text": "look"}]}
    answer = {
        "object": "response",
        "output": [said, call],
        "extra": {"actions": [{"command": "pwd", "tool_call_id": "x"}]},
    }
    result = {
        "type": "function_call_output",
        "call_id": "x",
        "output": "",
        "extra": {"raw_output": "/", "returncode": 0},
    }
    state = opened(tmp_path, peers.mini(answer, result))
    assert told(state) == [("pwd", True, 0)] and state.steps[1].thought == "look"
    bare = [
        {"role": "system", "content": "Help."},
        {"role": "user", "content": "Count."},
        {"role": "assistant", "content": "Well.\n```bash\nwc -l\n```"},
        {"role": "user", "content": "<returncode>1</returncode>\n<output>\nnone\n</output>"},
    ]
    state = opened(tmp_path, bare)
    assert told(state) == [("wc -l", True, 1)] and state.steps[1].observation == "none\n"
    assert state.ended is None and state.model == "unknown"


# -- SWE-agent ---------------------------------------------------------------------------------------------------------


def test_steps_of_swe_agent_that_never_ran(tmp_path: Path) -> None:
    steps = [
        swe_step("ls", "\r\nduck.py\r\n\r\n"),
        swe_step("", ran=False),
        swe_step("vim duck.py", ran=False, query="use the tools"),
        swe_step("sleep 9", "The command was cancelled because it took more than 4 seconds.", query="vim is blocked"),
        swe_step("", "Exited (autosubmitted)", ran=False),
    ]
    state = opened(tmp_path, peers.swe(steps, exit_status="submitted (exit_cost)"))
    assert [(step.action, step.executed) for step in state.steps[1:]] == [
        ("ls", True), ("", False), ("vim duck.py", False), ("sleep 9", True), ("", False),
    ]  # fmt: skip
    assert all(step.exit_code is None for step in state.steps)
    assert [step.observation for step in state.steps[1:4]] == ["duck.py", "use the tools", "vim is blocked"]
    assert state.steps[4].timed_out and state.model == "some-model"
    assert state.steps[1].window is not None and state.steps[1].window.path == "/pond/duck.py"
    assert state.ended is not None and state.ended.exit_status == "submitted (exit_cost)"
    assert state.cost == 0.5 and state.input_tokens == 10


def test_the_older_generation_of_swe_agent_has_its_state_before_the_action(tmp_path: Path) -> None:
    before = json.dumps({"open_file": "n/a", "working_dir": "/pond"})
    after = json.dumps({"open_file": "/pond/duck.py", "working_dir": "/pond/x"})
    steps = [
        {"action": "open duck.py", "observation": "", "response": "", "thought": "", "state": before},
        {"action": "submit", "observation": "", "response": "", "thought": "", "state": after},
    ]
    state = opened(tmp_path, {"environment": "swe_main", "trajectory": steps, "history": [], "info": {}})
    assert state.steps[1].cwd == "/pond/x" and state.steps[1].executed
    assert state.steps[1].window is not None and state.steps[1].window.path == "/pond/duck.py"
    assert state.ended is None


def test_attempts_of_swe_agent_are_runs(tmp_path: Path) -> None:
    first, second = peers.swe([swe_step("one")]), peers.swe([swe_step("two")])
    (tmp_path / "run.traj").write_text(json.dumps(second | {"attempts": [first, second]}), encoding="utf-8")
    assert [ref.sample for ref in runs_in(tmp_path / "run.traj")] == ["1", "2"]
    assert fold(open_recording(tmp_path / "run.traj", "1").events).steps[1].action == "one"
    assert fold(open_recording(tmp_path / "run.traj").events).steps[1].action == "two"


# -- Inspect -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [93, 8, None], ids=["zstandard", "deflate", "json"])
def test_calls_of_inspect_with_their_approvals_exit_codes_and_scores(tmp_path: Path, method: int | None) -> None:
    changed = called("b", "sleep 30", ran="sleep 1")
    changed.insert(1, approval("b", "modify", explanation="shorter"))
    refused = called("c", "rm all", code=None, error={"type": "approval", "message": "no"}, result="")
    refused.insert(1, approval("c", "reject", explanation="no"))
    probe = {"event": "sandbox", "span_id": "init", "action": "exec", "cmd": "true", "result": 0}
    found = sample(
        "a/b", probe, *called("a", "ls"), scored("I", intermediate=True), *changed, *refused,
        *called("d", "exit 7", code=7), scored("C"),
    )  # fmt: skip
    content = peers.inspect_json(found) if method is None else peers.inspect_eval(found, method=method)
    state = opened(tmp_path, content, "log.bin")
    assert told(state) == [("ls", True, 0), ("sleep 1", True, 0), ("rm all", False, None), ("exit 7", True, 7)]
    assert state.steps[2].proposed == "sleep 30" and state.steps[2].edited_by == "policy:gate"
    assert state.steps[3].rejected_by == "policy:gate" and state.steps[3].comment == "no"
    assert [(score.step, score.kind, score.score) for score in state.scores_until()] == [
        (1, "validate", 0.0), (4, "submit", 1.0),
    ]  # fmt: skip
    assert state.steps[1].thought == "thought of a" and state.steps[1].duration == 0.5
    assert (state.input_tokens, state.output_tokens) == (40, 8)
    assert state.started is not None and state.started.task == "ducks" and state.model == "some/model"


def test_the_exit_code_of_a_tool_that_ran_several_commands(tmp_path: Path) -> None:
    probe = {"event": "sandbox", "span_id": "span-a", "action": "exec", "cmd": "test -x tools", "result": 0}
    call = called("a", "echo 'x'; exit 3", code=None)
    own = probe | {"cmd": """bash --login -c 'echo '"'"'x'"'"'; exit 3'""", "result": 3}
    editor = called("a", "view", code=None)
    state = opened(tmp_path, peers.inspect_json(sample("s", *call, probe, own)))
    assert told(state) == [("echo 'x'; exit 3", True, 3)]
    assert told(opened(tmp_path, peers.inspect_json(sample("s", *editor, probe, probe)))) == [("view", True, None)]


def test_samples_of_a_log_are_runs(tmp_path: Path) -> None:
    path = tmp_path / "log.eval"
    path.write_bytes(
        peers.inspect_eval(
            sample(7, *called("a", "ls"), limit={"type": "message", "limit": 6}),
            sample("gam/ma x", *called("b", "pwd"), epoch=2, error={"message": "disk on fire"}),
        )
    )
    refs = runs_in(path)
    assert [str(ref) for ref in refs] == [f"{path}#7/1", f"{path}#gam/ma x/2"]
    assert runs_in(f"{path}#7/1") == [RunRef(path, "7/1")]
    state = fold(open_recording(Path(f"{path}#gam/ma x/2")).events)
    assert state.steps[1].action == "pwd" and state.ended is not None
    assert (state.ended.exit_status, state.ended.reason) == ("error", "disk on fire")
    limited = fold(open_recording(Path(f"{path}#7")).events)
    assert limited.ended is not None and limited.ended.exit_status == "limit (message)"
    assert [(row.steps, row.status) for row in rows_in(path)] == [(1, "limit (message)"), (1, "error")]
    with pytest.raises(RecordingError) as caught:
        open_recording(path)
    assert "2 runs" in str(caught.value) and "#gam/ma x/2" in caught.value.hint
    with pytest.raises(RecordingError, match="no sample 8"):
        open_recording(path, "8/1")


def test_a_log_that_broke_off_holds_what_was_finished(tmp_path: Path) -> None:
    state = opened(tmp_path, peers.inspect_eval(sample("one", *called("a", "ls")), header=False))
    assert told(state) == [("ls", True, 0)]
    path = tmp_path / "log.json"
    path.write_text(json.dumps({"version": 2, "status": "started", "eval": {"task": "ducks"}}), encoding="utf-8")
    recording = open_recording(path)
    assert any("no sample" in problem for problem in recording.problems)
    assert [row.status for row in rows_in(path)] == ["started"]


def test_a_call_that_nothing_is_heard_of_never_ran(tmp_path: Path) -> None:
    answer, *_ = called("a", "ls")
    state = opened(tmp_path, peers.inspect_json(sample("one", answer, limit={"type": "token", "limit": 5})))
    assert told(state) == [("ls", False, None)]


# -- ATIF --------------------------------------------------------------------------------------------------------------


def test_results_of_atif_belong_to_the_call_that_they_name(tmp_path: Path) -> None:
    def call(ident: str, command: str) -> dict[str, Any]:
        return {"tool_call_id": ident, "function_name": "bash", "arguments": {"command": command}}

    results = [{"source_call_id": "y", "content": "second", "extra": {"exit_code": 4}}, {"content": "whose?"}]
    state = opened(
        tmp_path,
        peers.atif(
            {"source": "user", "message": "Count."},
            {"source": "agent", "message": "hm", "timestamp": "2026-01-02T03:04:05Z"},
            {"source": "agent", "tool_calls": [call("x", "ls"), call("y", "pwd")], "observation": {"results": results}},
            {"source": "user", "message": "typed", "timestamp": "2026-01-02T03:05:05Z",
             "observation": {"results": [{"content": "made", "extra": {"exit_code": 2}}]},
             "extra": {"author": "person", "command": "make"}},
            version="ATIF-v1.31",
        ),
    )  # fmt: skip
    assert told(state) == [("ls", True, None), ("pwd", True, 4), ("make", True, 2)]
    assert [step.observation for step in state.steps[1:]] == ["", "second", "made"]
    assert last(state).author == "human:person" and last(state).time == "2026-01-02T03:05:05.000Z"
    assert [(note.step, note.text) for note in state.notes] == [(1, "hm"), (3, "whose?")]
    assert state.ended is None


def test_times_of_a_conversion_are_left_out(tmp_path: Path) -> None:
    stamps = [f"2026-01-02T03:04:05.{place}00Z" for place in range(3)]
    calls = [{"tool_call_id": "x", "function_name": "validate", "arguments": {}}]
    state = opened(tmp_path, peers.atif(*({"source": "agent", "timestamp": s, "tool_calls": calls} for s in stamps)))
    assert [step.time for step in state.steps[1:]] == ["", "", ""]
    assert last(state).action == "validate"


# -- asciicast ---------------------------------------------------------------------------------------------------------


def test_terminal_recordings_have_markers_and_no_steps(tmp_path: Path) -> None:
    lines = [
        '{"version":3,"term":{"cols":40,"rows":6},"title":"pond"}', "# by hand", '[0.5,"o","a"]', '[1.0,"m","quack"]',
        '[0.5,"x","3"]', '[1.0,"o","cut of',
    ]  # fmt: skip
    state = opened(tmp_path, "\n".join(lines).encode(), "some.cast")
    assert state.last_step == 0 and state.elapsed == 2.0
    assert [note.text for note in state.notes] == ["quack (at 1.5 s)"]
    assert state.ended is not None and state.ended.exit_status == "3"
    second = '{"version":2,"width":40,"height":6}\n[0.5,"o","a"]\n[0.7,"x","0"]\n'
    assert opened(tmp_path, second.encode(), "some.cast").ended is None


# -- prompts -----------------------------------------------------------------------------------------------------------


def test_prompts_are_put_together_from_what_a_file_holds(tmp_path: Path) -> None:
    pool = [{"role": "system", "content": "Help."}, {"role": "user", "content": [{"type": "text", "text": "Count."}]}]
    first, *rest = called("a", "ls")
    second, *_ = called("b", "pwd")
    refs = sample(
        "s", first | {"input_refs": [[0, 2]]}, *rest, second | {"input_refs": [[0, 1]]}, *called("b", "pwd")[1:]
    )
    full = sample("s", first | {"input": pool}, *rest, second | {"input": pool[:1]}, *called("b", "pwd")[1:])
    mini = peers.mini(asked("ls"), output("so-0", "a\n"), asked("pwd", said="x"), output("x-0"))
    swe = peers.swe([swe_step("ls", "a"), swe_step("pwd")])
    sent = {
        "refs": (peers.inspect_json(refs | {"events_data": {"messages": pool}}), ["system"]),
        "full": (peers.inspect_json(full), ["system"]),
        "mini": (json.dumps(mini).encode(), ["system", "user", "assistant", "tool"]),
        "swe": (json.dumps(swe).encode(), ["system", "user", "assistant", "user"]),
    }
    for name, (content, roles) in sent.items():
        (tmp_path / name).write_bytes(content)
        recording = open_recording(tmp_path / name)
        found = prompt_of_step(fold(recording.events), recording.object, 2)
        assert found.prompt is not None and found.previous is not None, name
        assert [message.role for message in found.prompt.messages] == roles, name
        assert message_text(recording.object(found.prompt.messages[0].hash)) == "Help."
