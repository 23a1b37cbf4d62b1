"""import, export and share, as they are typed."""

from __future__ import annotations

import errno
import json
import os
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.formats import peers
from tests.formats.peers import asked, called, output, sample
from tests.session.hostile import make_session
from workbench.cli import main
from workbench.formats.open import open_recording
from workbench.session import events as ev
from workbench.session.clock import Clock
from workbench.session.log import EventLog
from workbench.session.marks import marked
from workbench.session.objects import ObjectStore


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, result.output
    return result.stdout


def said(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLGYM_SESSIONS", str(tmp_path / "sessions"))
    return tmp_path / "sessions"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "logs" / "log.eval"
    path.parent.mkdir()
    path.write_bytes(peers.inspect_eval(sample("x", *called("a", "exit 7", code=7)), sample("y", *called("b", "ls"))))
    return path


def test_an_imported_run_shows_what_its_file_did(log: Path, root: Path) -> None:
    [one] = said("import", f"{log}#x/1")
    assert (one["steps"], one["format"], one["source"]) == (1, "inspect", f"{log}#x/1")
    shown, foreign = said("sessions", "show", one["session"]), said("sessions", "show", f"{log}#x/1")
    assert shown["steps"] == foreign["steps"] and shown["exit_status"] == "success"
    [step] = shown["steps"]
    assert (step["exit_code"], step["executed"], step["duration"]) == (7, True, 0.5)
    [row] = said("sessions")
    assert row["ident"] == one["session"] and row["steps"] == 1


def test_a_folder_is_imported_whole_and_what_is_no_run_is_named(log: Path, tmp_path: Path) -> None:
    mini = json.dumps(peers.mini(asked("ls"), output("so-0")))
    (log.parent / "mini.traj.json").write_text(mini, encoding="utf-8")
    assert sorted(each["format"] for each in said("import", str(log.parent))) == [
        "inspect",
        "inspect",
        "mini-swe-agent",
    ]
    (tmp_path / "no.txt").write_text("nothing", encoding="utf-8")
    result = CliRunner().invoke(main, ["import", str(tmp_path / "no.txt"), str(log), "--json"])
    assert result.exit_code == 1 and "no.txt" in result.stderr and "1 file could not" in result.stderr
    assert len(json.loads(result.stdout)) == 2


def test_nothing_that_an_imported_run_names_is_its_users_own(log: Path, root: Path) -> None:
    [one] = said("import", f"{log}#x/1")
    first = json.loads((root / one["session"] / "events.jsonl").read_bytes().splitlines()[0])
    assert not first.get("mark") and first["imported"].endswith("#x/1")


@pytest.mark.parametrize("form", ["mlgym", "atif", "inspect", "html", "cast", "md"])
def test_every_format_is_written(form: str, tmp_path: Path, root: Path) -> None:
    make_session(root / "20260101-101500-blotto-abcdef")
    out = tmp_path / f"run.{form}"
    made = said("export", "last", "--format", form, "--out", str(out))
    assert made["files"] == [str(out)] and out.stat().st_size > 100
    run("export", "last", "--format", form, "--out", str(out))  # again


@pytest.mark.parametrize("form", ["mlgym", "atif", "inspect", "html", "cast", "md"])
def test_no_secret_is_written(form: str, tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "sk-0123456789abcdef")
    told = called("a", "echo sk-0123456789abcdef", result="it is sk-0123456789abcdef")
    log.write_bytes(peers.inspect_eval(sample("x", *told)))
    out = tmp_path / "run.eval"
    run("export", str(log), "-f", form, "-o", str(out))
    if form == "inspect":
        with zipfile.ZipFile(out) as archive:
            assert b"sk-0123" not in b"".join(archive.read(name) for name in archive.namelist())
    assert b"sk-0123" not in out.read_bytes()


@pytest.mark.parametrize("form", ["mlgym", "atif", "inspect", "html", "md"])
def test_what_people_noted_is_exported(
    form: str, tmp_path: Path, log: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    [one] = said("import", f"{log}#x/1")
    run("notes", one["session"], "--star", "--tag", "worth-reading")
    run("notes", one["session"], "--step", "1", "--comment", "it gave up here <b>")
    out = tmp_path / {"mlgym": "run.traj", "inspect": "run.json"}.get(form, "run")
    run("export", one["session"], "--format", form, "--out", str(out))
    written = out.read_text().replace("\\u2605", "★").replace("\\", "")
    assert all(text in written for text in ("★", "#worth-reading", "it gave up here"))
    assert "here <b>" not in written or form != "html"
    if form not in ("html", "md"):  # it is nothing that the agent was told
        assert not any(isinstance(event, ev.MessageInjected) for event in open_recording(out).events)


def test_a_run_folder_of_mlgym(tmp_path: Path, root: Path) -> None:
    make_session(root / "20260101-101500-blotto-abcdef")
    files = said("export", "last", "-f", "mlgym", "-o", str(tmp_path / "runs"))["files"]
    assert sorted(Path(file).name for file in files) == ["blotto.traj", "results.json"]
    assert said("sessions", "show", str(Path(files[0]).parent))["scores"]["last"] == 0.5


def test_what_is_exported_without_a_name_opens_again_with_its_task(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_session(root / "20260101-101500-blotto-abcdef")
    (elsewhere := tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(elsewhere)
    for form in ("mlgym", "atif", "inspect"):
        file = said("export", "last", "-f", form)["files"][0]
        shown = said("sessions", "show", file)
        assert shown["task"] == "blotto" and "demo" in shown["model"], form


def test_a_shared_session_opens_elsewhere_and_tells_nothing_of_this_machine(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, folder = "sk-0123456789abcdef", root / "20260101-101500-blotto-abcdef"
    monkeypatch.setenv("SOME_API_KEY", key)
    make_session(folder)
    stored = ObjectStore(folder / "objects").put(f"{key} in {folder}".encode())
    writer = EventLog(folder, Clock(), next_seq=7, mark=lambda event: marked(event, []))
    change = ev.FileChange(path="secret.txt", kind="added", object=stored, size=9)
    writer.append(ev.WorkspaceSnapshot(step=1, tree="1" * 64, changes=[change]))
    writer.append(ev.NoteAdded(text=f"in {folder} with {key} at {os.path.expanduser('~')}/x"))
    writer.append(ev.LimitsChanged(limits=ev.Limits(steps=3)))
    writer.append(ev.AgentChanged(model=f"replay:{tmp_path / 'mine' / 'actions.yaml'}"))
    writer.append(ev.SessionEnded(exit_status="submitted", session=str(folder), steps=1))
    writer.close()
    run("share", "last", "--out", str(tmp_path / "run.zip"))
    with zipfile.ZipFile(tmp_path / "run.zip") as archive:
        whole = b"".join(archive.read(name) for name in archive.namelist())
    assert (
        key.encode() not in whole and str(tmp_path).encode() not in whole and b'"mark":""' in whole.replace(b" ", b"")
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("MLGYM_SESSIONS", str(tmp_path / "elsewhere"))
    shown = said("sessions", "show", str(tmp_path / "run.zip"))
    assert [step["action"] for step in shown["steps"]] == ["ls"] and shown["scores"]["best"] == 0.5
    assert open_recording(tmp_path / "run.zip").name == "run.zip"
    [one] = said("import", str(tmp_path / "run.zip"))
    kept = {path.name for path in Path(one["path"]).rglob("*") if path.is_file()}
    assert {"events.jsonl", "shell.cast"} < kept and len(kept) == 4


def test_an_archive_with_other_members_leaves_them_out(tmp_path: Path, root: Path) -> None:
    make_session(root / "20260101-101500-blotto-abcdef")
    run("share", "last", "--out", str(tmp_path / "run.zip"))
    with zipfile.ZipFile(tmp_path / "run.zip", "a") as archive:
        archive.writestr("../escaped", "x")
        archive.writestr("objects/../../escaped", "x")
    [one] = said("import", str(tmp_path / "run.zip"))
    assert not list(tmp_path.rglob("escaped")) and one["steps"] == 1


def test_what_is_no_file_is_written_into_and_not_replaced(tmp_path: Path) -> None:
    make_session(session := tmp_path / "s")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        run("export", str(session), "-f", "md", "-o", str(pipe))
        written = os.read(reader, 1 << 20)
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert written and run("export", str(session), "-f", "md", "-o", "-").encode() == written
    (link := tmp_path / "link").symlink_to("target.md")
    run("export", str(session), "-f", "md", "-o", str(link))
    assert link.is_symlink() and (tmp_path / "target.md").read_bytes() == written


def test_who_may_not_write_is_told_the_file_that_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, data: bytes) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "write_bytes", refused)
    make_session(tmp_path / "s")
    result = CliRunner().invoke(main, ["export", str(tmp_path / "s"), "-f", "md", "-o", str(tmp_path / "x.md")])
    assert f"not allowed to write or read ({tmp_path / 'x.md'})" in result.stderr and "--sessions" not in result.stderr
