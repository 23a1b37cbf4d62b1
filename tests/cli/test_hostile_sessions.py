"""Commands given sessions, trajectories and files that somebody made to do harm: a sentence, at once, and no more."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from tests.cli.command import COMMAND, environment
from tests.formats.trajectories import step, trajectory, write_run
from tests.session.hostile import make_session
from workbench.cli import main
from workbench.formats import mlgym_file, reading
from workbench.formats.mlgym import read_mlgym
from workbench.session import events as ev
from workbench.session import log
from workbench.session.clock import Clock
from workbench.session.log import EVENTS_FILE, EventLog, read_log
from workbench.session.objects import ObjectStore
from workbench.session.recording import RecordingError

_ESCAPE = "\x1b]0;owned\x07\x9b2J\u202e"


def output(*arguments: str, code: int | None = 0) -> str:
    result = CliRunner().invoke(main, arguments)
    assert code is None or result.exit_code == code, result.output
    assert "internal error" not in result.output and not set(result.output) & set("\x1b\x07\x9b\u202e")
    return result.output


def crafted(folder: Path, *events: ev.Event) -> Path:
    """A session of these events, each in its place."""
    folder.mkdir(parents=True)
    writer = EventLog(folder, Clock())
    writer.append(ev.SessionStarted(format=1, task=_ESCAPE, model=_ESCAPE, agent=_ESCAPE, sandbox=_ESCAPE))
    for event in events:
        writer.append(event)
    writer.close()
    return folder


@pytest.mark.parametrize("what", ["fifo", "folder", "link", "huge"])
@pytest.mark.parametrize("name", [EVENTS_FILE, "artifact"])
def test_no_command_waits_or_follows(tmp_path: Path, what: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "LARGEST_LOG", 1 << 20)
    folder = tmp_path / "sessions" / "s"
    artifact = make_session(folder)
    path = folder / name if name == EVENTS_FILE else ObjectStore(folder / "artifacts").path(artifact)
    path.unlink()
    if what == "fifo":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "link":
        path.symlink_to("/dev/zero")
    else:
        with path.open("wb") as stream:
            stream.truncate(1 << 42)
    place = ("--sessions", str(tmp_path / "sessions"))
    output("sessions", *place)
    assert "lost" in output("sessions", "artifact", "s", *place, code=1) or name == EVENTS_FILE
    if name == EVENTS_FILE and what != "huge":
        for command in (("sessions", "show"), ("prompt",), ("replay",), ("score",), ("resume", "--headless")):
            said = output(*command, "s", *place, code=None)
            assert "link" in said or "regular file" in said or "not a session" in said, said
    output("sessions", "rm", "s", "--yes", *place)
    assert not folder.exists()


def test_what_is_handed_out_is_for_the_user_alone(tmp_path: Path) -> None:
    make_session(tmp_path / "s")
    output("sessions", "artifact", str(tmp_path / "s"), "-o", str(tmp_path / "out.py"))
    assert (tmp_path / "out.py").stat().st_mode & 0o777 == 0o600


def test_nothing_that_a_log_says_reaches_the_terminal(tmp_path: Path) -> None:
    objects = ObjectStore(tmp_path / "s" / "objects")
    message = objects.put(
        json.dumps({"role": _ESCAPE, "content": "\ud800" + _ESCAPE, "tool_calls": [{"name": 1}]}).encode()
    )
    crafted_events = [
        ev.PromptSent(messages=[message, "../../x"], tools=objects.put(b"no JSON"), model=_ESCAPE, step=2**62),
        ev.ModelFailed(cause=_ESCAPE, message=_ESCAPE),
        ev.ActionProposed(step=1, author=_ESCAPE, action=_ESCAPE, thought=_ESCAPE),
        ev.ActionFinished(step=1, exit_code=-(2**60), observation=_ESCAPE, duration=1e308),
        ev.ModelResponded(text=_ESCAPE, author=_ESCAPE, usage=ev.Usage(cost=1e308, input_tokens=2**60)),
        ev.ModelResponded(text=_ESCAPE, author=_ESCAPE, usage=ev.Usage(cost=1e308, input_tokens=2**60)),
        ev.ScoreRecorded(step=1, score=1e308, artifact=_ESCAPE, artifact_name=_ESCAPE, message=_ESCAPE),
        ev.NoteAdded(text=_ESCAPE, author=_ESCAPE),
        ev.SessionEnded(
            exit_status=_ESCAPE, reason=_ESCAPE, steps=2**60, scores=ev.FinalScores(metric=_ESCAPE, best=1e308)
        ),
    ]
    (tmp_path / "s" / "objects").rename(tmp_path / "objects")
    (tmp_path / "s").rmdir()
    folder = crafted(tmp_path / "all" / "s", *crafted_events)
    (tmp_path / "objects").rename(folder / "objects")
    for arguments in (
        ("sessions", "--sessions", str(folder.parent)),
        *(("sessions", command, str(folder)) for command in ("show", "artifact")),
        *(("prompt", str(folder), *more) for more in ((), ("--diff",), ("--json", "--diff"))),
        ("sessions", "show", str(folder), "--json"),
    ):
        said = output(*arguments, code=None)
        if "--json" in arguments:
            assert json.loads(said) or said
            assert "Infinity" not in said


def test_values_nested_deeply_are_no_internal_error(tmp_path: Path) -> None:
    folder = crafted(tmp_path / "s", ev.PromptSent(messages=["0" * 64], step=1, tools="1" * 64))
    line = msgspec.json.encode({"event": "sandbox.ready", "seq": 2}).rstrip(b"}") + b',"sandbox":{"a":' + b"[" * 900
    with (folder / EVENTS_FILE).open("ab") as stream:
        stream.write(line + b"]" * 900 + b"}}\n")
    assert "nested too deeply" in read_log(folder)[1][0]
    objects = ObjectStore(folder / "objects")
    digest = objects.put(b'{"role": "user", "content": ' + b"[" * 900 + b"]" * 900 + b"}")
    crafted(tmp_path / "t", ev.PromptSent(messages=[digest], step=1, tools=digest))
    (folder / "objects").rename(tmp_path / "t" / "objects")
    for more in ((), ("--json",)):
        output("prompt", str(tmp_path / "t"), *more)


def test_names_that_are_no_text_are_printed(tmp_path: Path) -> None:
    make_session(tmp_path / os.fsdecode(b"caf\xe9"))
    done = subprocess.run(
        [*COMMAND, "sessions"], env=environment(tmp_path, COLUMNS="200"), capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0 and b"caf<U+DCE9>" in done.stdout, done.stderr


def test_trajectories_are_read_within_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [step(f"echo {n}", "x") for n in range(30)]
    run = write_run(tmp_path / "run", trajectory(steps))
    monkeypatch.setattr(mlgym_file, "_MOST_STEPS", 10)
    recording = read_mlgym(run)
    assert sum(isinstance(event, ev.ActionProposed) for event in recording.events) == 10
    assert any("only the first 10 of 30 steps" in problem for problem in recording.problems)
    monkeypatch.setattr(reading, "_MOST_VALUES", 10)
    with pytest.raises(RecordingError, match="brackets"):
        read_mlgym(run)


def test_links_in_a_run_folder_are_not_followed_but_a_named_one_is(tmp_path: Path) -> None:
    recorded = step("ls", "\ud800\ud83d\ude00") | {"state": '{"working_dir": "\\ud800"}'}
    run = write_run(tmp_path / "run", trajectory([recorded]))
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "a.traj").symlink_to(run)
    assert "link" in output("sessions", "show", str(tmp_path / "linked"), code=1)
    assert "\ufffd\U0001f600" in output("sessions", "show", str(tmp_path / "linked" / "a.traj"), "--json")
    (run.parent / "results.json").unlink(missing_ok=True)
    os.mkfifo(run.parent / "results.json")
    assert "baseline is unknown" in output("sessions", "show", str(run))


def test_blanks_in_a_task_text_take_no_long_time(tmp_path: Path) -> None:
    value = trajectory([step("ls", "x")])
    value["history"] = [{"role": "user", "content": " " * 500_000 + "x"}]
    assert read_mlgym(write_run(tmp_path / "run", value)).events


def test_the_home_of_nobody_is_no_internal_error() -> None:
    assert "does not exist" in output("run", "blotto", "--agent", "~nobody-at-all/a.yaml", "--headless", code=1)
