"""However a trajectory is damaged: it opens as far as it is good, or says plainly that it does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.formats.trajectories import healthy, write_run
from workbench.formats.open import open_recording
from workbench.session.recording import RecordingError
from workbench.session.state import fold

WHOLE = json.dumps(healthy(), indent=2).encode()
STEPS = len(healthy()["trajectory"])
SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def run_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs"), healthy())


def steps_of(path: Path) -> tuple[int, list[str]] | None:
    try:
        recording = open_recording(path)
    except RecordingError as error:
        assert str(error) and error.hint
        return None
    return fold(recording.events).last_step, recording.problems


@SETTINGS
@given(length=st.integers(0, len(WHOLE) - 1))
def test_cut_anywhere(run_file: Path, length: int) -> None:
    run_file.write_bytes(WHOLE[:length])
    found = steps_of(run_file)
    if found is not None:
        steps, problems = found
        assert 1 <= steps <= STEPS
        assert any("cut off" in problem for problem in problems)


@SETTINGS
@given(position=st.integers(0, len(WHOLE) - 1), damage=st.binary(min_size=1, max_size=8))
def test_bytes_overwritten_anywhere(run_file: Path, position: int, damage: bytes) -> None:
    run_file.write_bytes(WHOLE[:position] + damage + WHOLE[position + len(damage) :])
    steps_of(run_file)


def test_every_step_that_is_complete_is_found(run_file: Path) -> None:
    ends = [position for position in range(len(WHOLE)) if WHOLE.startswith(b"\n    }", position)][:STEPS]
    assert len(ends) == STEPS
    for number, position in enumerate(ends, 1):
        run_file.write_bytes(WHOLE[: position + len(b"\n    }")])
        found = steps_of(run_file)
        assert found is not None and found[0] == number


@SETTINGS
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["trajectory", "info", "history", "action", "observation", "state", "score", "role"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_in_the_place_of_a_trajectory(run_file: Path, value: object) -> None:
    run_file.write_text(json.dumps({"trajectory": value, "info": value, "history": value}), encoding="utf-8")
    steps_of(run_file)
    run_file.write_text(json.dumps({"trajectory": [value, {"action": value, "state": value}]}), encoding="utf-8")
    steps_of(run_file)
