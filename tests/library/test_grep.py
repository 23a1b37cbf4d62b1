"""Search over runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.formats.trajectories import healthy, write_run
from tests.library.runs import mlgym, own
from workbench.formats.open import open_recording
from workbench.library.grep import PatternError, _texts, grep, pattern
from workbench.library.index import runs
from workbench.session import events as ev


def found(root: Path, text: str, *places: str, **how: bool) -> list[tuple[str, int, str, int, str]]:
    hits = grep(pattern(text, **how), runs([root]), places or ("action", "output", "thought"))
    return [(hit.task, hit.step, hit.where, hit.line, hit.text) for hit in hits]


def test_hits_say_run_step_place_and_line(tmp_path: Path) -> None:
    own(tmp_path)
    mlgym(tmp_path)
    assert found(tmp_path, "CUDA") == [
        ("blotto", 1, "output", 2, "CUDA out of memory"),
        ("blotto", 1, "output", 3, "CUDA out of memory"),
    ]
    assert found(tmp_path, "early.?stop", "thought") == [("battleOfSexes", 1, "thought", 1, "try early stopping")]
    assert found(tmp_path, "early.?stop", "action") == []
    assert found(tmp_path, "LS -", ignore_case=True, fixed=True) == [("blotto", 1, "action", 1, "ls -la")]
    assert found(tmp_path, "^submit$") == [("battleOfSexes", 2, "action", 1, "submit")]


def test_a_match_of_nothing_ends(tmp_path: Path) -> None:
    own(tmp_path)
    assert len(found(tmp_path, "x*", "output")) == 3


def test_what_is_no_expression_is_said() -> None:
    with pytest.raises(PatternError, match="no regular expression"):
        pattern("(")


def test_a_text_that_takes_too_long_is_left_and_counted(tmp_path: Path) -> None:
    own(tmp_path, action="echo " + "a" * 200)
    wanted = pattern("(a|aa)+!")
    assert list(grep(wanted, runs([tmp_path]))) == [] and wanted.given_up


def test_file_windows_are_not_read_for_it(tmp_path: Path) -> None:
    path = write_run(tmp_path, healthy())
    whole, bare = (open_recording(path, bare=bare).events for bare in (False, True))
    built = (ev.WindowChanged, ev.PromptSent)
    assert any(isinstance(event, built) for event in whole) and not any(isinstance(event, built) for event in bare)
    assert [(kind, step, text) for event in bare for kind, step, text in _texts(event)] == [
        (kind, step, text) for event in whole for kind, step, text in _texts(event)
    ]
