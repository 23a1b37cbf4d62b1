"""restore, fork, sessions prune and replay --execute, as their users call them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import action_list
from tests.cli.test_commands import invoke
from tests.tasks.quick_task import make_quick_task
from workbench.session.log import EVENTS_FILE, read_log
from workbench.session.state import fold

ACTIONS = [
    "mkdir -p sub/empty; echo one > sub/a; chmod 700 sub; ln -s a sub/link",
    "cat sub/a",
    "rm -r sub",
]


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A session that ran three actions."""
    monkeypatch.setenv("MLGYM_SESSIONS", str(tmp_path / "sessions"))
    task = make_quick_task(tmp_path / "quick").folder
    model = action_list(tmp_path / "a.json", ACTIONS)
    assert invoke("run", str(task), "--model", model, "--unsafe-local", "--headless").exit_code == 1
    (folder,) = (tmp_path / "sessions").glob("2*")
    return folder


def as_json(*arguments: str, code: int = 0) -> Any:
    result = invoke(*arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_the_files_of_a_step_come_back(session: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = as_json("restore", "last", "--step", "2", "--to", str(out))
    assert (said["files"], said["lost"]) == (3, [])
    assert (out / "sub" / "a").read_text() == "one\n" and (out / "sub" / "empty").is_dir()
    assert (out / "sub").stat().st_mode & 0o777 == 0o700 and (out / "sub" / "link").is_symlink()
    assert as_json("restore", "last", "sub/a", "--step", "1", "--to", str(tmp_path / "one"))["files"] == 1
    again = as_json("restore", "last", "--step", "2", "--to", str(out), code=1)
    assert sorted(again["lost"]) == ["strategy.py", "sub/a", "sub/link"], "nothing is written over"
    assert "nothing is written over: name another" in invoke("restore", "last", "--step", "2", "--to", str(out)).output
    for arguments, said in (
        (["--step", "9"], "has no step 9"),
        (["nothing", "--step", "1"], "there is no nothing"),
    ):
        result = invoke("restore", "last", *arguments, "--to", str(tmp_path / "x"))
        assert result.exit_code and said in result.output


def test_a_fork_is_printed_and_not_started(session: Path) -> None:
    said = as_json("fork", session.name, "--step", "2")
    fork = Path(said["session"])
    assert fork.parent == session.parent and said["parent"] == str(session) and said["lost"] == []
    assert fold(read_log(fork)[0]).last_step == 2
    result = invoke("resume", fork.name, "--headless", "--unsafe-local")
    assert "rm -r sub" in result.output and result.exit_code == 1
    assert fold(read_log(fork)[0]).last_step == 3


def test_a_fork_is_kept_where_new_sessions_are_however_its_parent_is_named(
    session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = as_json("fork", session.name, "--step", "2", "--sessions", str(session.parent))
    assert Path(said["session"]).parent == session.parent
    monkeypatch.setenv("MLGYM_SESSIONS", str(tmp_path / "others"))
    before = sorted(session.parent.iterdir())
    said = as_json("fork", str(session), "--step", "2")
    assert Path(said["session"]).parent == tmp_path / "others"
    assert as_json("replay", str(session), "--execute", "--unsafe-local")["verified_to"] == 3
    assert sorted(session.parent.iterdir()) == before
    named = as_json("fork", str(session), "--step", "1", "--sessions", str(tmp_path / "named"))
    assert Path(named["session"]).parent == tmp_path / "named"
    again = as_json("fork", Path(said["session"]).name, "--step", "1")
    assert again["parent"] == said["session"]


def test_a_fork_that_cannot_be_made_says_why(session: Path) -> None:
    for arguments, said in (
        (["--step", "7"], "has no step 7"),
        (["--step", "1", "--model", "who:x"], "unknown model"),
        (["--step", "1", "--as", "human", "--model", "human"], "leaves no place"),
        (["--step", "3", "--edit"], "did nothing after step 3"),
    ):
        result = invoke("fork", "last", *arguments)
        assert result.exit_code == 2 and said in result.output, result.output
    assert len(list(session.parent.glob("2*"))) == 1


def test_a_session_runs_again_and_verifies(session: Path) -> None:
    done = as_json("replay", "last", "--execute", "--unsafe-local")
    assert done == {"steps": 3, "verified_to": 3, "divergence": None, "accepted": [], "by_design": []}
    said = invoke("replay", "last", "--execute", "--unsafe-local", "--until", "2")
    assert "verified to step 2 of 2" in said.output
    assert [path.name for path in session.parent.iterdir() if not path.name.startswith(".")] == [session.name]
    log = session / EVENTS_FILE
    log.write_text(log.read_text().replace("one", "two"))
    done = as_json("replay", "last", "--execute", "--unsafe-local", "--trust", "task", code=1)
    assert (done["verified_to"], done["divergence"]["step"], done["divergence"]["what"]) == (0, 1, "files")
    said = invoke("replay", "last", "--execute", "--unsafe-local", "--trust", "task")
    assert said.exit_code == 1 and "recorded:" in said.output and "verified to step 0 of 3" in said.output


def test_prune_says_what_it_does(session: Path) -> None:
    assert as_json("sessions", "prune", "--dry-run")["freed"] == 0
    assert "freed 0.0 MB" in invoke("sessions", "prune").output


@pytest.mark.bwrap
def test_a_faithful_run_verifies_in_a_real_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faithful(tmp_path, monkeypatch, ["local"])


@pytest.mark.bwrap
@pytest.mark.docker
@pytest.mark.parametrize("kinds", [["local", "docker"], ["docker", "local"]], ids=" to ".join)
def test_a_faithful_run_verifies_in_the_other_sandbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: list[str]
) -> None:
    faithful(tmp_path, monkeypatch, kinds)


def faithful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: list[str]) -> None:
    """Recorded in the first kind of sandbox, and run again in the last."""
    monkeypatch.setenv("MLGYM_SESSIONS", str(tmp_path / "sessions"))
    task = make_quick_task(tmp_path / "quick").folder
    actions = [
        "pwd; whoami; ls -la; date; env | sort",
        "mkdir -p a/b; echo 1 > a/f; chmod 600 a/f; ls -laR a; find a; du -a a",
        "python3 -c 'import os, tempfile, time; print(os.getpid(), tempfile.mkdtemp(), object(), time.time())'",
        "export X=1; f() { echo $X; }; f; sleep 9 & jobs",
        "git init -q r; cd r; git -c user.name=n -c user.email=e commit -q --allow-empty -m m; git log",
        "edit 1:1 ../strategy.py\nimport math\nend_of_edit",
        "cd ..; tar czf x.tgz a; cat nothing; nosuchcommand",
        "validate",
    ]
    model = action_list(tmp_path / "a.json", actions)
    run = invoke("run", str(task), "--model", model, "--headless", "--sandbox", kinds[0])
    assert "validate: " in run.output, run.output
    done = as_json("replay", "last", "--execute", "--sandbox", kinds[-1])
    assert done["divergence"] is None and done["verified_to"] == len(actions)
