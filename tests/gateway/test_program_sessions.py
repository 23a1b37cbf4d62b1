"""Sessions whose agent is a program in the sandbox: stepped, edited, rejected, scored, taken over, stopped, killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.agents.models.server import Server, serving
from tests.gateway.rig import answer, whole
from tests.in_memory import IN_MEMORY
from tests.runner.rig import GOOD, Driven, driven
from tests.tasks.quick_task import make_quick_task
from workbench.environment.assembly import OURS, Grounds
from workbench.gateway.finding import NotFound
from workbench.gateway.forking import fork_spec
from workbench.gateway.program_agent import program_agent
from workbench.gateway.replay import Replay
from workbench.isolation.engine import engine
from workbench.isolation.image_with import add_environment
from workbench.isolation.spec import DEFAULT_IMAGE
from workbench.runner.agents import StartError
from workbench.runner.trust import Consent, NotTrusted
from workbench.session import events as ev
from workbench.session.log import read_log
from workbench.session.spec import SessionSpec
from workbench.session.state import fold
from workbench.tasks.packages import image_python

REAL_KEY = "sk-real-key-of-the-user-0123456789"
AGENT = '''
import json, os, subprocess, urllib.request
messages = [{"role": "user", "content": open(os.environ["MLGYM_TASK_FILE"]).read()}]
while True:
    request = urllib.request.Request(
        os.environ["OPENAI_BASE_URL"] + "/chat/completions",
        data=json.dumps({"model": "m-1", "messages": messages}).encode(),
        headers={"content-type": "application/json", "authorization": "Bearer " + os.environ["OPENAI_API_KEY"]},
    )
    said = json.load(urllib.request.urlopen(request))["choices"][0]["message"]
    messages.append(said)
    print("model:", said["content"])
    if not said.get("tool_calls"):
        break
    for call in said["tool_calls"]:
        command = json.loads(call["function"]["arguments"])["command"]
        print("$", command)
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
        text = json.dumps({"returncode": done.returncode, "output": done.stdout + done.stderr})
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": text})
'''  # fmt: skip
CONFINED = replace(IN_MEMORY, unprotected=None)

pytestmark = pytest.mark.bwrap


def calls(*commands: str) -> list[Any]:
    """Answers of a model: each command as a call of `bash`, then a farewell."""
    return [whole(answer(f"Step {n}.", ("bash", {"command": each}))) for n, each in enumerate(commands, 1)] + [
        whole(answer("I am done."))
    ]


@contextlib.asynccontextmanager
async def program(
    root: Path, *commands: str, grounds: Grounds = CONFINED, **options: Any
) -> AsyncIterator[tuple[Driven, Server]]:
    """A session of the small agent above, whose model answers with these commands."""
    folder = root / "agent"
    folder.mkdir()
    (folder / "agent.py").write_text(AGENT)
    async with serving() as server:
        server.answers(*calls(*commands))
        asked = {
            "agent_command": f"/usr/bin/python3 -u {folder}/agent.py",
            "agent_mount": (str(folder),),
            "upstream": "openai:m-1",
            "base_url": server.url + "/v1",
            **options,
        }
        agent = program_agent(SessionSpec(**asked))
        async with driven(root, agent, grounds=grounds, unsafe_local=False, **asked) as session:
            yield session, server


async def test_a_program_works_on_the_task_until_it_submits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLGYM_MODEL_API_KEY", REAL_KEY)
    async with program(tmp_path, "ls", GOOD + "; validate", "false", "submit", "env") as (session, server):
        ended = await session.ended()
    assert ended.exit_status == "submitted"
    steps = session.state.steps
    assert [step.action for step in steps[1:]] == ["ls", GOOD + "; validate", "false", "submit"]
    assert len(server.calls) == 4, "once it is submitted, no model is asked"
    assert "strategy.py" in steps[1].observation
    assert steps[3].exit_code == 1
    assert [entry.kind for entry in steps[2].scores] == ["validate"]
    assert [change.path for change in session.events(ev.WorkspaceSnapshot)[1].changes] == ["strategy.py"]
    started = session.state.started
    assert started is not None and started.agent_command.endswith("agent.py") and started.upstream == "openai:m-1"
    assert server.calls[0].headers["authorization"] == f"Bearer {REAL_KEY}"
    assert _holding(REAL_KEY, session.folder) == []
    assert len(_holding("", session.folder)) > 5


@pytest.mark.docker
async def test_a_program_that_an_image_was_given_works_in_docker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLGYM_MODEL_API_KEY", REAL_KEY)
    tag = f"mlgym-tui-test/with:{os.getpid()}"
    (tmp_path / "packages" / "bin").mkdir(parents=True)
    (tmp_path / "packages" / "bin" / "small-agent").write_text(f"#!/any/python\n{AGENT}")
    python = image_python(DEFAULT_IMAGE)
    assert add_environment(DEFAULT_IMAGE, tag, tmp_path / "packages", python.version, print) == ["small-agent"]
    asked: dict[str, Any] = {"agent_command": "small-agent", "agent_mount": (), "sandbox": "docker", "image": tag}
    try:
        with pytest.raises(NotFound, match="no program 'other-agent'"):
            program_agent(SessionSpec(**{**asked, "agent_command": "other-agent", "upstream": "scripted"}))
        async with program(tmp_path, "ls", GOOD, "validate; submit", grounds=OURS, **asked) as (session, _):
            ended = await session.ended()
    finally:
        with engine() as api:
            api.remove_image(tag, force=True)
    assert ended.exit_status == "submitted"
    steps = session.state.steps
    assert "strategy.py" in steps[1].observation and "strategy.py" in {change.path for change in steps[2].changes}
    assert [entry.kind for entry in steps[3].scores] == ["validate", "submit"]
    assert _holding(REAL_KEY, session.folder) == []


def _holding(text: str, folder: Path) -> list[Path]:
    """The files in which a text stands."""
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


async def test_what_is_there_is_submitted_when_the_program_ends(tmp_path: Path) -> None:
    async with program(tmp_path, GOOD) as (session, _):
        ended = await session.ended()
    assert ended.exit_status == "autosubmission (agent_exited)"
    assert ended.reason == "the agent program ended with exit status 0"
    assert ended.scores.last is not None
    assert b"model: I am done." in (session.folder / "shell.cast").read_bytes()


async def test_a_program_that_crashes_is_told_of(tmp_path: Path) -> None:
    async with program(tmp_path, "ls", agent_command="sh -c 'echo broken; exit 3'") as (session, server):
        ended = await session.ended()
    assert ended.reason == "the agent program ended with exit status 3"
    assert server.calls == []


async def test_nothing_is_submitted_for_a_program_that_could_not_be_run(tmp_path: Path) -> None:
    async with program(tmp_path, agent_command="sh -c 'no-such-agent'") as (session, _):
        ended = await session.ended()
    assert ended.exit_status == "error"
    assert "did not start" in ended.reason and "exit status 127" in ended.reason and "--agent-mount" in ended.reason
    assert ended.scores.last is None and not session.state.last_step


async def test_answers_are_stepped_edited_and_rejected(tmp_path: Path) -> None:
    async with program(tmp_path, "echo one", "echo two", "echo three", mode="step") as (session, server):
        controls = session.runner.controls
        await session.review(1)
        controls.edit("echo uno")
        controls.run_proposal()
        await session.review(2)
        assert session.state.steps[1].observation.count("uno") == 1
        controls.reject("not that")
        ended = await session.ended()
    # The small agent stops at an answer without a call, as the one that says no is.
    assert ended.exit_status == "autosubmission (agent_exited)"
    assert len(server.calls) == 2
    assert session.state.steps[2].status == "rejected"
    assert "not that" in (session.folder / "shell.cast").read_text()


async def test_a_person_has_the_shell_beside_it(tmp_path: Path) -> None:
    async with program(tmp_path, "cat found.txt", mode="step") as (session, _):
        controls = session.runner.controls
        await session.review(1)
        controls.take_over(80, 24)
        await session.phase("human")
        session.enter("echo left by hand > found.txt\n")
        await session.over(2)
        await controls.hand_back()
        await session.until(lambda: session.state.mode != "human", "the shell is given back")
        controls.continue_()
        await session.ended()
    ran = next(step for step in reversed(session.state.steps) if step.action == "cat found.txt" and step.over)
    assert "left by hand" in ran.observation


@pytest.mark.parametrize("how", ["stopped", "limit"])
async def test_the_program_ends_with_the_session(tmp_path: Path, how: str) -> None:
    limits = ev.Limits(steps=1) if how == "limit" else ev.Limits()
    mark = f"sleep 86{os.getpid() % 1000:03}"
    async with program(tmp_path, f"{mark} >/dev/null 2>&1 & echo on", "sleep 30", limits=limits) as (session, _):
        await session.over(1)
        if how == "stopped":
            session.runner.controls.stop("stopped", "enough")
        ended = await session.ended()
    assert ended.exit_status == ("stopped" if how == "stopped" else "autosubmission (max_steps)")
    assert mark not in _processes()


@pytest.mark.parametrize("edited", [None, "echo edited"])
async def test_a_fork_is_answered_from_the_log_and_then_goes_on(tmp_path: Path, edited: str | None) -> None:
    """Where its next action is edited, that is the last that comes from the log."""
    async with program(tmp_path, "echo one", "echo two", "echo three") as (session, _):
        await session.ended()
    state, folder = session.state, session.folder
    async with serving() as server:
        server.answers(*calls("echo another"))
        spec = fork_spec(folder, state, 2 if edited is None else 3)
        spec = replace(spec, base_url=server.url + "/v1")
        agent = program_agent(spec, edited=edited)
        async with driven(tmp_path, agent, grounds=CONFINED, spec=spec) as again:
            await again.ended()
    more = ["echo another"] if edited is None else [edited, "echo another"]
    assert [step.action for step in again.state.steps[1:-1]] == ["echo one", "echo two", *more]
    assert len(server.calls) == 2, "only what is new is asked of the model"
    assert agent.replayed is None, "the model goes on"


async def test_a_replay_of_a_program_says_whether_it_asks_what_it_asked(tmp_path: Path) -> None:
    async with program(tmp_path, "echo one", "echo two") as (session, _):
        await session.ended()
    script = tmp_path / "agent" / "agent.py"
    for change, same in (("", True), ("Always answer with one call. ", False)):
        script.write_text(AGENT.replace('"content": open', f'"content": "{change}" + open'))
        spec = fork_spec(session.folder, session.state, 3)
        spec = replace(spec, upstream=f"replay:{session.folder}")
        agent = program_agent(spec)
        async with driven(tmp_path, agent, grounds=CONFINED, spec=agent.as_recorded(spec)) as again:
            ended = await again.ended()
        assert agent.replayed is same
    assert ended.exit_status == "diverged"
    assert "call 1" in ended.reason and "Always answer" in ended.reason


async def test_a_fork_of_somebody_else_runs_nothing_unasked(tmp_path: Path) -> None:
    async with program(tmp_path, "true") as (session, _):
        await session.ended()
    log = session.folder / "events.jsonl"
    log.write_text(log.read_text().replace("/usr/bin/python3", "/usr/bin/python3  "))
    state = fold(read_log(session.folder)[0])
    with pytest.raises(NotTrusted, match="the agent program"):
        fork_spec(session.folder, state, 1)
    assert fork_spec(session.folder, state, 1, consent=Consent(("code", "task", "server"))).agent_command


async def test_a_secret_setting_is_in_no_log_and_has_to_be_given_again(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "agent_env": ("TRACKER_TOKEN=tr-12345678",),
        "agent_command": "sh -c 'echo it is $TRACKER_TOKEN'",
    }
    async with program(tmp_path, **settings) as (session, _):
        await session.ended()
    assert "it is [redacted]" in (session.folder / "shell.cast").read_text()
    assert _holding("tr-12345678", session.folder) == []
    with pytest.raises(StartError, match="TRACKER_TOKEN"):
        fork_spec(session.folder, session.state, 0)
    again = fork_spec(session.folder, session.state, 0, ["TRACKER_TOKEN=tr-new"])
    assert again.agent_env == ("TRACKER_TOKEN=tr-new",)


def _processes() -> str:
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


async def test_nothing_goes_on_when_the_workbench_is_killed(tmp_path: Path) -> None:
    """A process of its own, for it is killed: most of the second is its start."""
    task = make_quick_task(tmp_path / "task")
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "agent.py").write_text(AGENT)
    mark = f"sleep 97{os.getpid() % 1000:03}"
    async with serving() as server:
        server.answers(*calls(f"setsid {mark} & {mark}"))
        command = [sys.executable, "-m", "workbench", "run", str(task.folder), "--headless", "--upstream", "openai:m-1"]
        command += ["--base-url", server.url + "/v1", "--agent-mount", str(tmp_path / "agent")]
        command += ["--agent-command", f"/usr/bin/python3 {tmp_path}/agent/agent.py", "--sessions", str(tmp_path / "s")]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        async with asyncio.timeout(50):
            while _processes().count(mark) < 3:  # noqa: ASYNC110  # twice itself, and the shell that began them
                await asyncio.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            await process.wait()
            while mark in _processes():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    (folder,) = (path for path in (tmp_path / "s").iterdir() if not path.name.startswith("."))
    assert read_log(folder)[1] == []
    assert [call.step for call in Replay(folder).calls] == [1], "what was paid for answers the program again"
