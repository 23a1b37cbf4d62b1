"""config, and what other commands make of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import mlgym


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration, which is not there yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "mlgym-tui" / "config.yaml"


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(text)


def mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


async def test_a_file_is_begun_once_and_says_nothing_yet(file: Path) -> None:
    made = await mlgym("config", "init")
    assert made.out == f"wrote {file}\n" and mode(file) == 0o600
    again = await mlgym("config", "init")
    assert again.code == 1 and "is there already" in again.err
    shown = (await mlgym("config", "--json")).json
    assert shown["file"] == str(file)
    assert {row["source"] for row in shown["settings"]} == {"default", "$MLGYM_SESSIONS"}


async def test_options_go_before_variables_and_variables_before_the_file(file: Path, tmp_path: Path) -> None:
    write(file, f"sessions: {tmp_path / 'mine'}\nmodel: replay:{tmp_path / 'none.yaml'}\nmax_steps: 3\n")
    env = {"MLGYM_SESSIONS": "", "MLGYM_MAX_STEPS": "5"}
    rows = {row["name"]: row for row in (await mlgym("config", "--json", env=env)).json["settings"]}
    assert rows["model"]["source"] == "file" and rows["sandbox"]["source"] == "default"
    assert (rows["max_steps"]["value"], rows["max_steps"]["source"]) == (5, "$MLGYM_MAX_STEPS")
    asked = await mlgym("run", "battleOfSexes", "--headless", env=env)
    assert "none.yaml" in asked.err
    given = ("--unsafe-local", "--headless", "--json", "--max-steps", "1", "-m", "scripted:demo")
    ran = await mlgym("run", "battleOfSexes", *given, env=env)
    assert ran.events[0]["limits"]["steps"] == 1
    assert str(tmp_path / "mine") in str(ran.events[-1]["session"])


async def test_a_fault_stops_a_command_with_its_line_but_not_the_help(file: Path) -> None:
    write(file, "sandbox: dokcer\n")
    for command in ("tasks", "config"):
        said = await mlgym(command)
        assert said.code == 2 and f"{file}, line 1: sandbox: should be 'docker' or 'local'" in said.err
    assert (await mlgym("--help")).code == 0
    assert (await mlgym("config", "path")).out == f"{file}\n"


async def test_ids_and_themes_are_listed(file: Path) -> None:
    keys = {row["id"]: row["keys"] for row in (await mlgym("config", "keys", "--json")).json}
    assert keys["session.run"] == ["enter"]
    assert (await mlgym("config", "themes")).out.startswith("mlgym-dark\n")
