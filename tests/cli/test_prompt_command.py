"""mlgym-tui prompt: what a model was sent, for scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.tui.prompted import prompted
from tests.tui.sessions import battle
from workbench.cli import main


@pytest.fixture
def session(tmp_path: Path) -> str:
    made = prompted(tmp_path / "20260102-030405-quick-abc123")
    made.recording()
    return str(made.folder)


def prompt(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["prompt", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def as_json(*arguments: str) -> Any:
    return json.loads(prompt(*arguments, "--json"))


def test_the_newest_prompt_with_its_texts(session: str) -> None:
    shown = prompt(session)
    assert shown.startswith("step 5\nopenai:gpt-4o · 9 messages · ")
    assert "over the budget of 90" in shown and "── 1 system ──\nYou do research." in shown
    assert "── tools ──\nbash: Runs a command." in shown
    assert "red ^[[31m [bold]marked[/bold] <U+202E> txet <U+009B>2J" in shown
    assert not set(shown) & set("\x1b\u202e\x9b")


def test_what_is_new_in_it(session: str) -> None:
    shown = prompt(session, "--diff")
    assert "against step 4: 2 added, 1 shortened, 7 as before" in shown
    assert "── shortened: user, step 1: over the budget of 90 ──\n- strategy.py\n- notes.txt\n+ (2 lines" in shown
    assert "You do research" not in shown


def test_as_json_it_is_what_was_sent(session: str) -> None:
    value = as_json(session, "--step", "2")
    assert (value["step"], value["call"], value["calls"], value["attempt"]) == (2, 2, 2, 2)
    assert value["settings"] == {"temperature": 0.0, "max_tokens": 512}
    assert [tool["name"] for tool in value["tools"]] == ["bash"]
    assert value["usage"]["input_tokens"] == 321 and value["budget"] == 10_000
    assert {"role": "user", "content": "Improve the strategy."}.items() <= value["messages"][1].items()
    first = as_json(session, "--step", "2", "--call", "1", "--diff")
    assert first["failure"] == "bad_format: it has no fenced block" and first["against_step"] == 1
    assert [change["kind"] for change in first["changes"]] == ["same", "same", "same", "added", "added"]


def test_steps_without_a_prompt_say_so(session: str, tmp_path: Path) -> None:
    assert prompt(session, "--step", "3") == "Nothing was sent for step 3: ann did it, and no model was asked.\n"
    assert as_json(session, "--step", "0")["nothing"] == "Nothing was sent before the first step."
    scripted = battle(tmp_path / "scripted")
    scripted.recording()
    assert "scripted:demo has its actions ready" in prompt(str(scripted.folder))


def test_what_is_not_there_is_named(session: str) -> None:
    assert "there is no step 9: the last one is 5" in prompt(session, "--step", "9", code=1)
    assert "had 2 calls, and no call 3" in prompt(session, "--step", "2", "--call", "3", code=1)
    assert "no session 'nothing-like-it'" in prompt("nothing-like-it", code=1)
