"""The user's configuration: what it may say, faults with their lines, and what goes before it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from workbench import config
from workbench.errors import WorkbenchError
from workbench.tui.actions import ACTIONS, BY_ID
from workbench.tui.look import check, use


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file, which is not there yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "mlgym-tui").mkdir()
    return tmp_path / "mlgym-tui" / "config.yaml"


def test_without_a_file_everything_is_as_commands_have_it(written: Path) -> None:
    assert config.from_file(check) == config.Settings()
    written.write_text("# nothing\n")
    assert config.from_file(check) == config.Settings()
    assert config.defaults(config.settings())["run"] == {}


def test_the_examples_of_the_page_about_it_are_taken(written: Path) -> None:
    page = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
    examples = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert examples
    for example in examples:
        written.write_text(example)
        assert config.from_file(check) != config.Settings()


def test_a_variable_goes_before_the_file(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written.write_text("model: openai:one\nmax_steps: 7\nmax_time: 1h30m\n")
    monkeypatch.setenv("MLGYM_MODEL", "openai:two")
    said = config.settings()
    assert (said.model, said.max_steps, said.max_time) == ("openai:two", 7, "1h30m")
    assert config.defaults(said)["run"] == {"model": "openai:two", "max_steps": 7, "max_time": 5400.0}
    monkeypatch.setenv("MLGYM_MAX_STEPS", "many")
    with pytest.raises(WorkbenchError, match=r"\$MLGYM_MAX_STEPS is 'many'"):
        config.settings()


def test_a_time_that_is_too_long_is_refused_in_a_variable(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLGYM_MAX_TIME", "9" * 20 + "h")
    with pytest.raises(WorkbenchError, match=r"\$MLGYM_MAX_TIME: .* is too long"):
        config.settings()


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("sandbx: docker", "sandbx: is not a known field; did you mean 'sandbox'?"),
        ("max_tokens: many", "max_tokens: should be a whole number"),
        ("max_time: soon", "max_time: must be a time: 90m, 4h, 1h30m"),
        ("max_time: -3", "max_time: "),
        ("max_time: 99999999999999999999h", "is too long: 1,000,000,000 seconds"),
        ("max_time: 0s", "max_time: '0s' is no time over 0"),
        ("max_time: 99999999999", "is too long: 1,000,000,000 seconds"),
        (r'sessions: "\0x"', "sessions: holds a control character"),
        (r'printed_metrics: ["(?P<loss>[0-9]+)\e"]', "printed_metrics.0: holds a control character"),
        (r'keys: {session.run: "\a"}', "keys.session.run: holds a control character"),
        ("notify: loudly", "notify: should be"),
        ("theme: mlgym-drak", "theme: there is no theme 'mlgym-drak'; did you mean 'mlgym-dark'?"),
        ("openai_api_key: abc", "openai_api_key: a key of a provider does not belong in this file"),
        ("model: sk-0123456789abcdefghij", "model: a key of a provider does not belong"),
        ("base_url: http://me:secret@host/v1", "base_url: a key of a provider does not belong"),
        ("printed_metrics: ['dice ([0-9]+)']", "printed_metrics.0: names no metric"),
        ("keys: {session.rum: x}", "keys.session.rum: is no action's id; did you mean 'session.run'?"),
        ("keys: {session.run: ctrl+½}", "there is no key 'ctrl+½'"),
        ("keys: {session.run: y}", "keys.session.run: y is the key of app.copy already"),
        ("keys: {session.run: G}", "keys.session.run: G is the key of lines.last already"),
        ("keys: {home.new: A}", "keys.home.new: A is the key of home.analysis already"),
        ("keys: {session.release: none}", "needs a key"),
        ("keys: {dialog.leave: q}", "'q' is typed in texts"),
        ("keys: {alternatives.number: x}", "is no action's id"),
    ],
)
def test_faults_name_their_line(written: Path, line: str, fault: str) -> None:
    written.write_text(f"# mine\n{line}\n")
    with pytest.raises(WorkbenchError) as caught:
        config.settings(check)
    assert str(caught.value).startswith(f"{written}, line 2: ")
    assert fault in str(caught.value)
    assert caught.value.exit_code == 2


def test_what_is_refused_as_a_key_is_not_shown(written: Path) -> None:
    written.write_text("model: sk-0123456789abcdefghij\nopenai_api_key: very-secret-value\n")
    with pytest.raises(WorkbenchError) as caught:
        config.settings(check)
    assert "secret" not in str(caught.value) and "0123" not in str(caught.value)


def test_patterns_are_those_of_all_commands_that_read_metrics(written: Path) -> None:
    written.write_text("printed_metrics: ['dice (?P<dice>[0-9]+)']\n")
    said = config.defaults(config.settings())
    for command in ("run", "human", "metrics", "plot"):
        assert said[command]["printed_metrics"] == ["dice (?P<dice>[0-9]+)"]


def test_the_keys_as_they_are_clash_nowhere(written: Path) -> None:
    keys = {action.id: action.shown_keys for action in ACTIONS if action.keys and action.id != "alternatives.number"}
    written.write_text(json.dumps({"keys": keys}))
    try:
        use()
        assert all(action.keys_now == action.keys for action in ACTIONS)
    finally:
        written.unlink()
        use()


def test_two_actions_can_change_places(written: Path) -> None:
    written.write_text("keys: {session.step: c, session.continue: s ctrl+n}\n")
    try:
        use()
        assert BY_ID["session.step"].shown_keys == "c"
        assert BY_ID["session.continue"].shown_keys == "s ctrl+n"
    finally:
        written.unlink()
        use()
    assert BY_ID["session.step"].shown_keys == "s"
