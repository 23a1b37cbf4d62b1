"""The commands about tasks, sessions and the machine, and what users read when something is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tests.cli.command import action_list, mlgym
from tests.tasks.quick_task import make_quick_task
from workbench import __version__, cli
from workbench.cli import main
from workbench.cli.doctor import Check, Status
from workbench.session.log import EVENTS_FILE
from workbench.session.objects import POOL

GOOD = "printf 'def row_strategy(history):\\n    return 0\\n' > strategy.py"


def invoke(*arguments: str) -> Result:
    """A command, in this process. None may raise or print a traceback."""
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    assert "internal error" not in result.output, result.output
    return result


def every_command(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))


COMMANDS = list(every_command(main))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of sessions with one session in it: one bad score, a good one, a rejected file, a submission."""
    folder = tmp_path_factory.mktemp("cli")
    task = make_quick_task(folder / "quick").folder
    list_ = action_list(
        folder / "a.json",
        ["echo $'\\e[31mred\\e[0m'", "validate", GOOD, "validate", "echo 'x = 1' > strategy.py; validate", "exit 3"],
    )
    os.environ["MLGYM_SESSIONS"], before = str(folder / "sessions"), os.environ["MLGYM_SESSIONS"]
    try:
        result = invoke("run", str(task), "--model", list_, "--unsafe-local", "--headless", "--seed", "1")
    finally:
        os.environ["MLGYM_SESSIONS"] = before
    assert result.exit_code == 1, result.output
    return folder / "sessions"


@pytest.fixture
def session(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That session; its folder is the one that commands look in."""
    monkeypatch.setenv("MLGYM_SESSIONS", str(root))
    [folder] = root.glob("[!.]*")
    return folder


# -- help ------------------------------------------------------------------------------------------------------------


def test_the_commands_are_those_that_were_promised() -> None:
    promised = ["run", "human", "replay", "resume", "evaluate", "tasks", "sessions", "doctor", "image", "gc"]
    assert {path[0] for path, _ in COMMANDS} >= set(promised)
    assert {path[1] for path, _ in COMMANDS if len(path) == 2} >= {"show", "rm", "artifact", "build"}


@pytest.mark.parametrize("path", [(), *(path for path, _ in COMMANDS)], ids="-".join)
def test_every_help_has_an_example_that_parses(path: tuple[str, ...]) -> None:
    result = invoke(*path, "--help")
    assert result.exit_code == 0
    command = dict(COMMANDS).get(path, main)
    lines = [line.strip() for line in result.output.splitlines() if line.strip().startswith("mlgym-tui ")]
    examples = lines if isinstance(command, click.Group) else [line for line in lines if " ".join(path) in line]
    assert examples, result.output
    assert command.help and command.help.strip()


def test_the_list_of_commands_says_what_each_says_of_itself() -> None:
    listed = {name: said for name, (_, said) in cli.COMMANDS.items()}
    assert listed == {path[0]: command.get_short_help_str(100) for path, command in COMMANDS if len(path) == 1}
    assert list(listed) == sorted(listed)


@pytest.mark.parametrize("path", [(), *(path for path, command in COMMANDS if isinstance(command, click.Group))])
def test_sentences_of_the_help_are_whole(path: tuple[str, ...]) -> None:
    """In the list of commands, on a terminal of the usual width."""
    shown = CliRunner().invoke(main, [*path, "--help"], terminal_width=80).output
    listed = shown.partition("Commands:")[2].partition("Examples:")[0]
    assert "..." not in listed and all(line.endswith(".") for line in listed.split("\n\n")[0].splitlines() if line)


def test_the_help_fits_a_terminal_of_the_usual_width() -> None:
    for path in [(), *(path for path, _ in COMMANDS)]:
        shown = CliRunner().invoke(main, [*path, "--help"], terminal_width=80).output
        assert [line for line in shown.splitlines() if len(line) > 80] == []


def test_leftovers_of_killed_sessions_are_removed_by_gc(tmp_path: Path) -> None:
    left, kept = tmp_path / "20260101-000000-blotto-abcdef", tmp_path / "20260101-000000-blotto-abcdee"
    for folder, content in ((left, ""), (kept, "torn")):
        folder.mkdir()
        (folder / EVENTS_FILE).write_text(content)
        os.utime(folder, (0, 0))
    said = f"folder {left}\n"
    assert f"would remove {said}" in invoke("gc", "--dry-run", "--sessions", str(tmp_path)).output and left.exists()
    assert f"removed {said}" in invoke("gc", "--sessions", str(tmp_path)).output
    assert list(tmp_path.iterdir()) == [kept]


def test_results_come_as_json_too() -> None:
    opens_a_screen = {("home",), ("human",), ("replay",), ("tour",)}
    prints_bytes = {("sessions", "artifact")}
    for path, command in COMMANDS:
        names = {name for parameter in command.params for name in parameter.opts}
        of_others = isinstance(command, click.Group) and not command.invoke_without_command
        assert "--json" in names or of_others or path in opens_a_screen | prints_bytes, path


def test_the_version() -> None:
    assert __version__ in invoke("--version").output


# -- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["run", "batleOfSexes", "--headless"], 1, "did you mean 'battleOfSexes'?"),
        (["run", "nothing-like-it", "--headless"], 1, "there are"),
        (["run", "/nowhere/task", "--headless"], 1, "no task in /nowhere/task"),
        (["evaluate", "bloto", "x.py"], 1, "did you mean 'blotto'?"),
        (["run", "blotto", "--model", "gpt", "--headless"], 1, "'gpt' is not provider:name"),
        (["run", "blotto", "--model", "replay:", "--headless"], 1, "unknown model"),
        (["run", "blotto", "--model", "replay:/nowhere.yaml", "--headless"], 1, "/nowhere.yaml"),
        (["run", "blotto", "--max-steps", "0", "--headless"], 2, "--max-steps"),
        (["run", "blotto", "--max-cost", "nan", "--headless"], 2, "--max-cost"),
        (["run", "blotto", "--max-time", "inf", "--headless"], 2, "--max-time"),
        (["run", "blotto", "--sandbox", "chroot"], 2, "--sandbox"),
        (["run", "blotto", "--model", "human"], 2, "a person needs a terminal"),
        (["human", "blotto"], 2, "a person needs a terminal"),
        (["run"], 2, "Missing argument"),
        (["runn"], 2, "No such command 'runn'. Did you mean 'run'?"),
        (["config", "set"], 2, "No such command 'set'. There are init, keys"),
        (["resume", "nothing"], 1, "no session 'nothing'"),
        (["replay", "nothing"], 1, "no session 'nothing'"),
        (["sessions", "show", "nothing"], 1, "no session 'nothing'"),
        (["sessions", "rm", "nothing", "-y"], 1, "no session 'nothing'"),
        (["sessions", "artifact", "nothing"], 1, "no session 'nothing'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_said_in_words(
    arguments: list[str], code: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLGYM_SESSIONS", str(tmp_path / "sessions"))
    result = invoke(*arguments)
    assert says in result.output
    assert result.exit_code == code
    assert not (tmp_path / "sessions").exists() or not any((tmp_path / "sessions").iterdir())


def test_a_sessions_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A file stands where the folder would be: root, too, cannot make it."""
    (tmp_path / "file").write_text("")
    result = invoke("run", "blotto", "--headless", "--sessions", str(tmp_path / "file" / "sessions"))
    assert result.exit_code == 1 and str(tmp_path / "file") in result.output


def test_a_read_only_sessions_folder(tmp_path: Path) -> None:
    """/proc is one for everybody, root too."""
    tmp_path.chmod(0o500)
    folder = Path("/proc/sys/kernel") if os.geteuid() == 0 else tmp_path
    result = invoke("run", "blotto", "--headless", "--sessions", str(folder))
    tmp_path.chmod(0o700)
    assert result.exit_code == 1
    assert str(folder) in result.output and "--sessions" in result.output


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\0", b"{}\n", b"[1]", b"\xff\xfe" * 100, b'{"event":"session.started"}\n']
)
@pytest.mark.parametrize("command", [["sessions", "show"], ["replay"], ["resume"], ["sessions", "artifact"]])
def test_a_damaged_log_is_said_in_words(tmp_path: Path, command: list[str], content: bytes) -> None:
    folder = tmp_path / "20260101-000000-blotto-abcdef"
    folder.mkdir()
    (folder / EVENTS_FILE).write_bytes(content)
    result = invoke(*command, str(folder))
    assert result.exit_code in (1, 2) and len(result.output.splitlines()) <= 4
    assert (folder / EVENTS_FILE).read_bytes() == content
    listed = json.loads(invoke("sessions", "--json", "--sessions", str(tmp_path)).output)
    assert [row["status"] in ("damaged", "crashed") for row in listed] == ([True] if content else [])


def test_a_log_of_a_later_version_opens_as_far_as_it_is_known(session: Path, tmp_path: Path) -> None:
    lines = (session / EVENTS_FILE).read_bytes().splitlines(keepends=True)
    lines[0] = lines[0].replace(b'"format":1', b'"format":2')
    folder = tmp_path / session.name
    folder.mkdir()
    (folder / EVENTS_FILE).write_bytes(b"".join(lines))
    result = CliRunner().invoke(main, ["sessions", "show", str(folder), "--json"])
    shown = json.loads(result.stdout)
    assert len(shown["steps"]) == 6
    assert any("log format 2" in problem for problem in shown["problems"])
    assert "log format 2" in result.stderr


# -- tasks and scores ------------------------------------------------------------------------------------------------


def test_tasks() -> None:
    listed = {row["id"]: row for row in json.loads(invoke("tasks", "--json").output)}
    assert set(listed) >= {"battleOfSexes", "prisonersDilemma", "blotto"}
    assert listed["battleOfSexes"]["baseline"] == pytest.approx(1.02267, abs=1e-6)
    table = invoke("tasks", "--wide").output
    assert "blotto" in table and "-0.2480" in table and "higher is better" in table
    listed_short = invoke("tasks").stdout
    assert "blotto" in listed_short and "naturalLanguageInferenceMNLI" in listed_short
    assert max(map(len, listed_short.splitlines())) <= 80


def test_tasks_of_a_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_quick_task(tmp_path / "mine" / "quick")
    monkeypatch.setenv("MLGYM_TASKS", str(tmp_path / "mine"))
    assert "quick" in [row["id"] for row in json.loads(invoke("tasks", "--json").output)]


def test_evaluate(tmp_path: Path) -> None:
    task = str(make_quick_task(tmp_path / "quick").folder)
    (tmp_path / "good.py").write_text("def row_strategy(history):\n    return 0\n")
    found = []
    for _ in range(2):
        result = invoke("evaluate", task, str(tmp_path / "good.py"), "--seed", "3", "--json")
        assert result.exit_code == 0
        found.append(json.loads(result.stdout))
    assert found[0]["metrics"] == found[1]["metrics"]
    assert found[0]["verdict"] == "ok" and found[0]["score"] == found[0]["metrics"]["Score"] > 1.3
    assert found[0]["standard_error"] > 0 and found[0]["message"] == ""
    plain = invoke("evaluate", task, str(tmp_path / "good.py"))
    assert "quick: ok" in plain.output and "±" in plain.output


@pytest.mark.parametrize(
    ("content", "verdict"),
    [(None, "missing"), ("def other(): pass", "invalid"), ("def row_strategy(h): return 7", "invalid"),
     ("def row_strategy(h): raise ValueError('\\x1b[31m')", "crashed")],
)  # fmt: skip
def test_evaluate_says_what_is_wrong(tmp_path: Path, content: str | None, verdict: str) -> None:
    task = str(make_quick_task(tmp_path / "quick").folder)
    file = tmp_path / "bad.py"
    if content is not None:
        file.write_text(content)
    result = invoke("evaluate", task, str(file), "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (found["verdict"], found["score"], found["metrics"]) == (verdict, None, {})
    assert found["message"]
    plain = invoke("evaluate", task, str(file))
    assert plain.exit_code == 1 and verdict in plain.output and "\x1b" not in plain.output


# -- sessions --------------------------------------------------------------------------------------------------------


def test_the_list_of_sessions(session: Path) -> None:
    [row] = json.loads(invoke("sessions", "--json").output)
    assert row["id"] == session.name and row["path"] == str(session)
    assert (row["task"], row["agent"], row["steps"], row["status"]) == ("quick", "replay", 6, "actions_exhausted")
    assert row["scores"]["best"] > 1.3 and row["age_seconds"] >= 0
    assert session.name in invoke("sessions", "--wide").output
    table = invoke("sessions").stdout
    assert f"\n{session.name[-6:]}   quick" in table and "Exhausted" in table
    assert max(map(len, table.splitlines())) <= 80 and "…" in table  # of the model: the path of a list of actions


def test_no_sessions_yet(tmp_path: Path) -> None:
    assert json.loads(invoke("sessions", "--json", "--sessions", str(tmp_path / "none")).output) == []
    assert "no sessions in" in invoke("sessions", "--sessions", str(tmp_path / "none")).output


@pytest.mark.parametrize("how", ["folder", "id", "end", "last", "file"])
def test_show_finds_the_session(session: Path, how: str) -> None:
    reference = {
        "folder": str(session),
        "id": session.name,
        "end": session.name[-6:],
        "last": "last",
        "file": str(session / EVENTS_FILE),
    }[how]
    shown = json.loads(invoke("sessions", "show", reference, "--json").output)
    assert shown["session"] == session.name
    assert [step["exit_code"] for step in shown["steps"]] == [0, 0, 0, 0, 1, 3]


def test_show_has_what_a_script_needs(session: Path) -> None:
    shown = json.loads(invoke("sessions", "show", "last", "--json").output)
    for step in shown["steps"]:
        assert {"author", "action", "exit_code", "observation", "cwd", "duration", "score"} <= set(step)
    assert shown["steps"][0]["author"] == "policy:replay" and shown["steps"][0]["observation"] == "red\n"
    assert shown["steps"][3]["score"] > 1.3 > shown["steps"][1]["score"]
    assert shown["steps"][4]["score"] is None and shown["steps"][5]["shell_restarted"] is True
    plain = invoke("sessions", "show", "last").output
    assert "actions_exhausted" in plain and "\x1b" not in plain


def test_artifacts_come_out_again(session: Path, tmp_path: Path) -> None:
    best = CliRunner().invoke(main, ["sessions", "artifact", "last"]).stdout
    assert best == "def row_strategy(history):\n    return 0\n"
    starter = CliRunner().invoke(main, ["sessions", "artifact", "last", "--step", "2"]).stdout
    assert "return 1" in starter
    target = tmp_path / "out.py"
    assert invoke("sessions", "artifact", "last", "--last", "-o", str(target)).exit_code == 0
    assert target.read_text() == best
    broken = CliRunner().invoke(main, ["sessions", "artifact", "last", "--step", "5"]).stdout
    assert broken == "x = 1\n"
    missing = invoke("sessions", "artifact", "last", "--step", "1")
    assert missing.exit_code == 1 and "no such submission" in missing.output


def test_removing_asks_or_is_told(tmp_path: Path, session: Path) -> None:
    folder = tmp_path / session.name
    folder.mkdir()
    (folder / EVENTS_FILE).write_bytes((session / EVENTS_FILE).read_bytes())
    refused = invoke("sessions", "rm", session.name, "--sessions", str(tmp_path))
    assert refused.exit_code == 2 and "--yes" in refused.output and folder.exists()
    removed = invoke("sessions", "rm", session.name, "--yes", "--json", "--sessions", str(tmp_path))
    assert removed.exit_code == 0 and json.loads(removed.stdout) == {"removed": [str(tmp_path / session.name)]}
    assert not folder.exists() and session.exists()
    (tmp_path / "mine").mkdir()
    other = invoke("sessions", "rm", str(tmp_path / "mine"), "--yes")
    assert other.exit_code == 1 and "nothing was removed" in other.output and (tmp_path / "mine").exists()


def test_the_option_works_before_and_after_the_subcommand(session: Path, tmp_path: Path) -> None:
    for arguments in (["sessions", "--sessions", str(tmp_path), "show", "last"],
                      ["sessions", "show", "last", "--sessions", str(tmp_path)]):  # fmt: skip
        assert str(tmp_path) in invoke(*arguments).output


def test_a_replay_needs_a_terminal_and_says_what_does_not(session: Path) -> None:
    result = invoke("replay", "last")
    assert result.exit_code == 2 and f"sessions show {session.name}`" in result.output


# -- the machine -----------------------------------------------------------------------------------------------------


def test_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-value")
    result = invoke("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(result.stdout)}
    assert {"python", "bubblewrap", "docker", "terminal", "colour", "keys", "sessions"} <= set(checks)
    assert checks["gateway"]["detail"] == "agent programs can be served, and need the session's key"
    assert "OPENAI_API_KEY" in checks["keys"]["detail"] and "very-secret" not in result.output
    assert all(check["remedy"] for check in checks.values() if check["status"] == "missing")
    plain = invoke("doctor")
    assert "very-secret" not in plain.output and "bubblewrap" in plain.output


@pytest.mark.parametrize(
    ("landlock", "image", "said"),
    [(None, "missing", "takes Landlock"), (None, "ok", "--sandbox docker isolates better"),
     ("no kernel for it", "missing", "a model is refused"), ("no kernel for it", "ok", "→ --sandbox docker")],
)  # fmt: skip
def test_doctor_picks_the_best_way(
    landlock: str | None, image: Status, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.isolation.bwrap.try_bubblewrap", lambda: "no bubblewrap")
    monkeypatch.setattr("workbench.isolation.landlock.try_landlock", lambda: landlock)
    for name in ("docker", "image"):
        monkeypatch.setattr(f"workbench.cli.doctor._{name}", lambda: Check("engine", image, ""))
    assert said in " ".join(invoke("doctor").output.partition("sandbox ")[2].partition("terminal")[0].split())


def test_doctor_names_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLGYM_SESSIONS", str(tmp_path / "file" / "sessions"))
    result = invoke("doctor", "--json")
    check = next(check for check in json.loads(result.stdout) if check["name"] == "sessions")
    assert check["status"] == "missing" and "--sessions" in check["remedy"] and result.exit_code == 1


def test_docker_that_cannot_be_reached_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setenv("MLGYM_SESSIONS", str(tmp_path / "sessions"))
    result = invoke("run", "blotto", "--sandbox", "docker", "--headless")
    assert result.exit_code == 1
    assert "none.sock" in result.output or "engine" in result.output.lower()
    collected = invoke("gc", "--dry-run", "--json")
    assert json.loads(collected.stdout)["docker_problem"]


def test_the_debug_log_holds_no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-very-secret-value")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    result = invoke("--debug", "run", "nothing-sk-very-secret-value", "--headless")
    [log] = (tmp_path / "state" / "mlgym-tui").glob("debug-*.log")
    assert str(log) in result.output
    text = log.read_text()
    assert __version__ in text and "UnknownTask" in text
    assert "very-secret" not in text
    assert log.stat().st_mode & 0o077 == 0


async def test_a_models_commands_are_confined_or_refused(tmp_path: Path) -> None:
    """Without bubblewrap (it is not on the PATH): Landlock takes its place, else a model is refused."""
    path = tmp_path / "bin"
    path.mkdir()
    for name in ("bash", "sh", "python3", "env"):
        (path / name).symlink_to(f"/usr/bin/{name}")
    env = {"PATH": str(path)}
    task = str(make_quick_task(tmp_path / "quick").folder)
    model = action_list(tmp_path / "a.json", ["echo ran"])
    plain = await mlgym("run", task, "--model", model, "--headless", "--json", sessions=tmp_path / "s", env=env)
    if "no protected sandbox" in plain.err:
        assert plain.code == 1 and "--unsafe-local" in plain.err
        assert {entry.name for entry in (tmp_path / "s").glob("*")} <= {POOL}, "no session is left"
    else:
        assert any("reduced isolation: Landlock" in event.get("text", "") for event in plain.events)
        ready = next(event for event in plain.events if event["event"] == "sandbox.ready")
        assert ready["sandbox"]["protected"] is True
    insisted = await mlgym("run", task, "--model", model, "--json", "--unsafe-local", sessions=tmp_path / "s", env=env)
    ready = next(event for event in insisted.events if event["event"] == "sandbox.ready")
    assert ready["sandbox"]["protected"] is False
    assert any(event["event"] == "action.finished" and event["exit_code"] == 0 for event in insisted.events)


def test_a_hostile_log_cannot_drive_the_terminal(tmp_path: Path) -> None:
    """Whatever a log says, in whatever field, and what is said of it where it is wrong."""
    bad = "\x1b]52;c;QQ==\x07\x9b2J\u202e"
    started = {"event": "session.started", "format": 1, "task": bad, "model": bad, "agent": bad, "sandbox": bad}
    lines: list[dict[str, object]] = [
        {**started, "metric": {"name": bad}},
        {"event": bad},
        {"event": "action.proposed", "step": 1, "author": bad, "thought": bad, "action": bad},
        {"event": "action.finished", "step": 1, "exit_code": 0, "observation": bad, "cwd": bad},
        {"event": "note.added", "text": bad},
        {"event": "session.ended", "exit_status": bad, "reason": bad, "session": bad, "steps": 1, "scores": {}},
        {"event": "note.added", "text": 3, bad: bad},
    ]
    folder = tmp_path / "sessions" / f"hostile{bad}"
    folder.mkdir(parents=True)
    with (folder / EVENTS_FILE).open("w") as file:
        for number, line in enumerate(lines):
            file.write(json.dumps({**line, "seq": number, "time": "", "elapsed": 0.0}) + "\n")
    root = ("--sessions", str(tmp_path / "sessions"))
    commands = [
        ("sessions", *root), ("sessions", *root, "--json"), ("sessions", "show", "hostile", *root),
        ("sessions", "show", "hostile", *root, "--json"), ("sessions", "artifact", "hostile", *root),
        ("sessions", "show", f"none{bad}", *root), ("sessions", "show", str(tmp_path / "sessions"), *root),
        ("sessions", "show", str(folder / bad), *root), ("replay", str(folder), *root),
        ("resume", str(folder), *root), ("run", bad, "--headless"), ("run", "blotto", "--model", bad, "--headless"),
        ("run", "blotto", "--model", f"replay:{folder}", "--headless"), ("evaluate", "blotto", bad),
    ]  # fmt: skip
    for command in commands:
        result = invoke(*command)
        found = set(result.output) & (set("\x1b\x07") | {letter for letter in bad if not letter.isascii()})
        assert not found, (command, result.output)
    shown = json.loads(invoke(*commands[3]).stdout)
    assert shown["steps"][0]["observation"] == bad


@pytest.mark.parametrize("name", ["default", "literature", "memory", "minimal", "tool-calls"])
def test_a_shown_agent_is_a_file_to_begin_with(name: str, tmp_path: Path) -> None:
    shown = invoke("agents", "show", name).output
    assert "system: |\n" in shown and "\\n" not in shown, "texts stand as they are read"
    (tmp_path / "mine.yaml").write_text(shown, encoding="utf-8")
    assert invoke("agents", "show", str(tmp_path / "mine.yaml")).output == shown
