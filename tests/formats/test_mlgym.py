"""MLGym trajectories as events, on small files of our own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.formats.trajectories import FILE, OK, WORKSPACE, healthy, step, trajectory, window, write_run
from workbench.formats.mlgym import FRAMEWORK, read_mlgym
from workbench.formats.mlgym_file import read_run_name
from workbench.formats.mlgym_text import action_category, shown_score, shown_windows
from workbench.session import events as ev
from workbench.session.events import ScoreRecorded, SessionEnded, SessionStarted, WindowChanged
from workbench.session.recording import Recording, RecordingError
from workbench.session.state import fold


def scores(recording: Recording) -> list[ScoreRecorded]:
    return [event for event in recording.events if isinstance(event, ScoreRecorded)]


def windows(recording: Recording) -> list[WindowChanged]:
    return [event for event in recording.events if isinstance(event, WindowChanged)]


def ended(recording: Recording) -> SessionEnded:
    last = recording.events[-1]
    assert isinstance(last, SessionEnded)
    return last


@pytest.fixture
def run(tmp_path: Path) -> Recording:
    return read_mlgym(write_run(tmp_path, healthy(), baseline={"Score": 1.02}))


def test_the_beginning_tells_what_folder_results_and_prompt_know(run: Recording) -> None:
    started = run.events[0]
    assert isinstance(started, SessionStarted)
    assert (started.task, started.model, started.agent, started.source) == (
        "battleOfSexes",
        "some-model",
        "default",
        "mlgym",
    )
    assert started.metric == ev.Metric(name="Score", direction="maximize", baseline=1.02)
    assert started.limits == ev.Limits(steps=5, cost=4.0)
    assert started.window == 1000
    assert started.description == "Play well."
    assert run.problems == []
    assert run.folder is None and run.source == "mlgym"


def test_events_are_numbered_and_time_is_the_sum_of_what_commands_took(run: Recording) -> None:
    assert [event.seq for event in run.events] == list(range(len(run.events)))
    elapsed = [event.elapsed for event in run.events]
    assert elapsed == sorted(elapsed)
    assert elapsed[-1] == pytest.approx(0.25 + 0.5 * 6 + 2.0)
    assert {event.time for event in run.events} == {""}


def test_every_event_survives_the_log(run: Recording) -> None:
    assert [ev.decode(ev.encode(event)) for event in run.events] == run.events


def test_steps_have_author_directory_and_outcome(run: Recording) -> None:
    state = fold(run.events)
    assert state.last_step == 8
    first, timed_out = state.steps[1], state.steps[6]
    assert first.author == "model:some-model"
    assert first.cwd == f"{WORKSPACE}/src", "the directory after the step stands in the state of the next one"
    assert state.steps[0].cwd == WORKSPACE
    assert first.observation == "" and first.exit_code is None and first.status == "ran"
    assert timed_out.timed_out and not first.timed_out
    assert state.steps[7].duration == 2.0
    assert state.cost == 0.25 and state.input_tokens == 100


def test_scores_belong_to_their_steps(run: Recording) -> None:
    found = [(score.step, score.kind, score.verdict, score.score) for score in scores(run)]
    assert found == [
        (4, "validate", "missing", None),
        (7, "validate", "ok", 1.25),
        (8, "submit", "ok", 1.25),
    ]
    assert scores(run)[0].message.startswith("Submission artefact not found")
    assert scores(run)[2].artifact_name == "target.py"
    end = ended(run)
    assert end.exit_status == "submitted" and end.steps == 8
    assert end.scores == ev.FinalScores(
        metric="Score",
        baseline=1.02,
        best=1.25,
        last=1.25,
        best_split="test",
        last_split="test",
        against_baseline="better",
    )


def test_the_window_follows_what_was_shown_and_a_rejected_edit_leaves_it(run: Recording) -> None:
    found = [(event.step, event.path, event.first_line, event.last_line, event.total_lines) for event in windows(run)]
    assert found == [(2, FILE, 1, 3, 3), (5, FILE, 1, 3, 3)]
    assert windows(run)[0].text == "def play(history):\n\n    return 1"
    assert windows(run)[1].text == "def play(history):\n\n    return 0"


def test_part_of_a_file_and_a_file_that_was_not_shown(tmp_path: Path) -> None:
    other = f"{WORKSPACE}/other.py"
    recording = read_mlgym(
        write_run(
            tmp_path,
            trajectory(
                [
                    step("goto 40", window(FILE, ["a", "b:c", ""], first=40, total=99)),
                    step("open other.py", "EXECUTION FAILED", open_file=FILE),
                    step("ls", "x", open_file=other),
                    step("ls", "x", open_file="n/a"),
                ]
            ),
        )
    )
    shown, unseen, closed = windows(recording)
    assert (shown.first_line, shown.last_line, shown.total_lines, shown.text) == (40, 42, 99, "a\nb:c\n")
    assert (unseen.step, unseen.path, unseen.text) == (2, other, None)
    assert (closed.step, closed.path) == (3, "")


def test_a_rejected_edit_of_a_file_not_seen_before_shows_the_original_lines(tmp_path: Path) -> None:
    content = healthy()
    content["trajectory"] = content["trajectory"][2:3]
    (only,) = windows(read_mlgym(write_run(tmp_path, content)))[1:]
    assert (only.first_line, only.last_line, only.text) == (3, 3, "    return 1")


def test_a_crashed_run_names_its_last_action(tmp_path: Path) -> None:
    content = trajectory([step("ls\n", "x"), step("ls -R data/\n", "y")], exit_status="")
    end = ended(read_mlgym(write_run(tmp_path, content)))
    assert end.exit_status == "unknown_error (ls -R data/)"
    assert end.reason


def test_an_answer_that_never_became_a_step_is_a_note(tmp_path: Path) -> None:
    content = trajectory([step("ls\n", "x")], exit_status="", extra_answers=1)
    recording = read_mlgym(write_run(tmp_path, content))
    assert fold(recording.events).last_step == 1
    assert any("once more" in problem for problem in recording.problems)
    assert any(isinstance(event, ev.ModelResponded) and event.text == "never run 0" for event in recording.events)
    assert ended(recording).exit_status == "unknown_error (train it)"


def test_the_action_beyond_the_limit_was_never_run(tmp_path: Path) -> None:
    steps = [step("ls", "x") for _ in range(5)] + [step("validate", "Exited (max_steps)")]
    content = trajectory(steps, scores=[{"Score": 0.5}], exit_status="autosubmission (max_steps)")
    recording = read_mlgym(write_run(tmp_path, content))
    assert [(score.step, score.kind, score.score) for score in scores(recording)] == [(6, "autosubmit", 0.5)]
    assert any(isinstance(event, ev.NoteAdded) and event.step == 6 for event in recording.events)


@pytest.mark.parametrize("place", ["response", "history"])
def test_an_exit_put_in_by_the_framework_keeps_the_answer_that_led_to_it(tmp_path: Path, place: str) -> None:
    thought = "Exit due to format error"
    response = "rubbish" if place == "response" else thought
    pseudo = step("exit_format", "Exited (exit_format)", thought=thought, response=response)
    run = trajectory([pseudo], exit_status="submission_not_found (exit_format)")
    if place == "history":
        run["history"][-2]["content"] = "rubbish"
    recording = read_mlgym(write_run(tmp_path, run))
    state = fold(recording.events)
    assert state.steps[1].author == FRAMEWORK
    assert [(attempt.cause, attempt.text) for attempt in state.steps[1].attempts] == [("bad_format", "rubbish")]
    assert [(score.kind, score.verdict) for score in scores(recording)] == [("autosubmit", "missing")]


@pytest.mark.parametrize(
    ("observation", "verdict"),
    [
        ("Failed to decode metrics from evaluation script. Output:\n---\nTraceback", "invalid"),
        ("Submission artefact not found.", "missing"),
        ("Error: Timeout reached while reading from subprocess.", "timeout"),
        ("", "crashed"),
    ],
)
def test_failed_validates(tmp_path: Path, observation: str, verdict: str) -> None:
    recording = read_mlgym(write_run(tmp_path, trajectory([step("validate\n", observation)], exit_status="")))
    assert [(score.verdict, score.score) for score in scores(recording)] == [(verdict, None)]


def test_minimised_metrics_and_metrics_of_unknown_tasks(tmp_path: Path) -> None:
    def content() -> dict[str, object]:
        return trajectory(
            [step("validate", OK.format(score=1)), step("validate", OK.format(score=2)), step("submit")],
            scores=[{"Time": 12.5}, {"Time": 14.0}, {"Time": 14.0}],
        )

    known = read_mlgym(write_run(tmp_path / "a", content(), task="3SATTime"))
    unknown = read_mlgym(write_run(tmp_path / "b", content(), task="nobodyKnows", baseline={"Time": 16.0}))
    for recording in (known, unknown):
        assert (ended(recording).scores.best, ended(recording).scores.last) == (12.5, 14.0)
    assert any("printed was" in problem for problem in known.problems)
    assert any("unknown task" in problem for problem in unknown.problems)


def test_numbers_that_json_does_not_know_and_odd_types(tmp_path: Path) -> None:
    content = trajectory(
        [step("validate", OK.format(score="nan"), took=float("nan")), step("submit\x00\x1b[31m", "a\r\nb\x00")],
        scores=[{"Score": float("nan"), "note": "x"}, {"Score": float("-inf")}],
    )
    content["trajectory"][1]["state"] = {"open_file": "n/a"}
    content["trajectory"][1]["thought"] = 7
    recording = read_mlgym(write_run(tmp_path, content))
    assert fold(recording.events).last_step == 2
    assert [score.metrics for score in scores(recording)] == [{}, {}]
    assert ended(recording).scores.best is None
    assert all(ev.decode(ev.encode(event)) == event for event in recording.events)


def test_without_the_folders_name_the_task_is_the_files(tmp_path: Path) -> None:
    path = tmp_path / "blotto.traj"
    path.write_text(json.dumps(healthy()), encoding="utf-8")
    recording = read_mlgym(path)
    started = recording.started
    assert started is not None and (started.task, started.session) == ("blotto", "blotto")
    assert any("model is not known" in problem for problem in recording.problems)


def test_a_damaged_results_file_is_a_problem_only(tmp_path: Path) -> None:
    path = write_run(tmp_path, healthy())
    path.with_name("results.json").write_text("{", encoding="utf-8")
    recording = read_mlgym(path)
    assert fold(recording.events).last_step == 8
    assert any("baseline is unknown" in problem for problem in recording.problems)


def test_cut_in_a_step_the_complete_ones_are_shown(tmp_path: Path) -> None:
    path = write_run(tmp_path, healthy())
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index("EXECUTION TIMED OUT")], encoding="utf-8")
    recording = read_mlgym(path)
    assert fold(recording.events).last_step == 5
    assert not isinstance(recording.events[-1], SessionEnded)
    assert any("cut off or damaged in step 6" in problem for problem in recording.problems)


def test_cut_behind_the_steps_scores_come_from_what_was_printed(tmp_path: Path) -> None:
    path = write_run(tmp_path, healthy())
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index('"info"')], encoding="utf-8")
    recording = read_mlgym(path)
    assert fold(recording.events).last_step == 8
    assert [score.score for score in scores(recording)] == [None, 1.25]
    assert any("behind its steps" in problem for problem in recording.problems)


def test_damage_in_the_history_does_not_hide_the_outcome(tmp_path: Path) -> None:
    path = write_run(tmp_path, healthy())
    text = path.read_text(encoding="utf-8")
    position = text.index('"history"') + 400
    path.write_text(text[:position] + '"]}#' + text[position:], encoding="utf-8")
    recording = read_mlgym(path)
    assert ended(recording).exit_status == "submitted"
    assert len(scores(recording)) == 3
    assert recording.problems


def test_cut_before_the_first_step_is_an_error(tmp_path: Path) -> None:
    path = write_run(tmp_path, healthy())
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(RecordingError, match="first step"):
        read_mlgym(path)


def test_run_names() -> None:
    name = "litellm-claude__x__titanicSurvival__default__t-0.70__p-1.00__c-0.00__install-1"
    assert read_run_name(name).cost_limit is None
    assert read_run_name(name).model == "claude"
    assert read_run_name("some folder").model == ""


def test_action_categories_go_by_prefix() -> None:
    actions = ["  insert 3\nx", "openssl x", "validate\n", "submit", "search_file a", "python3 a.py", "exit_cost", ""]
    assert [action_category(action) for action in actions] == [
        "Edit",
        "View",
        "Validate",
        "Submit",
        "Search",
        "Python",
        "Bash",
        "Bash",
    ]


def test_windows_in_text() -> None:
    assert shown_windows("no window\n1:x") == []
    assert shown_windows("[File: /a (0 lines total)]")[0].text == ""
    assert shown_windows("[File: /a (9 lines total)]\n(3 more lines above)\n(6 more lines below)") == []
    (seen,) = shown_windows("text\n[File: /a b (c) (5 lines total)]\n1:x\n2:2:y\n4:not the next\nrest")
    assert (seen.path, seen.last_line, seen.text) == ("/a b (c)", 2, "x\n2:y")
    assert shown_score("Evaluation Score: {'a': __import__('os')}") is None
