"""An agent program runs in the sandbox: it reaches the gateway and nothing else, is told its task, and can score."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.conftest import PATIENCE, WAYS
from workbench.gateway.finding import NotFound
from workbench.gateway.program import AgentProgram, in_a_line, read_settings
from workbench.sandbox.base import SandboxSpec
from workbench.sandbox.guest_sandbox import GuestSandbox
from workbench.sandbox.local import LocalSandbox
from workbench.session.secrets import logged_settings
from workbench.session.spec import SessionSpec

AGENT = """
import json, os, subprocess, urllib.error, urllib.request
base = os.environ["OPENAI_BASE_URL"]

def post(path, body):
    head = {"content-type": "application/json", "authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
    request = urllib.request.Request(base + path, data=json.dumps(body).encode(), headers=head)
    return json.load(urllib.request.urlopen(request))

def output(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout

said = {"got": post("/echo", {"task": open(os.environ["MLGYM_TASK_FILE"]).read()})}
said["same"] = os.environ["MLGYM_TASK"] == said["got"]["task"]
said["long"] = len(post("/echo", {"x": "y" * 3000000})["x"])
said["scored"] = output("validate")
try:
    urllib.request.urlopen("http://127.0.0.1:80", timeout=5)
except urllib.error.URLError as error:
    said["elsewhere"] = str(error.reason)
said["stdin"] = os.read(0, 10).decode()
said["python"] = output("python3", "-c", "import sys; print(sys.executable)")
said["folder"] = os.getcwd()
print("SAID" + json.dumps(said) + "END")
"""

BACKENDS = [
    pytest.param("local", marks=pytest.mark.bwrap),
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("unsafe"),
    pytest.param("host", marks=pytest.mark.bwrap),
]


class Running:
    """A program, the sandbox that it is in, a server that it takes for its model, and what it printed."""

    def __init__(self, program: AgentProgram, sandbox: GuestSandbox) -> None:
        self.program, self.sandbox = program, sandbox
        self.printed = bytearray()
        self.requests: list[dict[str, Any]] = []
        self.ended = asyncio.Event()
        self.how = ""
        self._server: asyncio.Server | None = None
        program.on_end = self._ended

    def _ended(self, how: str) -> None:
        self.how = how
        self.ended.set()

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.program.socket, limit=1 << 20)
        self.program.socket.chmod(0o666)
        self.sandbox.on_request = self._score
        await self.sandbox.start()
        variables = lambda base: {"OPENAI_BASE_URL": f"{base}/v1", "OPENAI_API_KEY": "of-this-session"}  # noqa: E731
        await self.program.start(self.sandbox, "Win the game.", variables, self.printed.extend)

    async def _score(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"ok": True, "text": f"scored by {request['request']}", "exit_code": 0}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        size = next(int(line.partition(":")[2]) for line in head.splitlines() if line.startswith("content-length"))
        body = await reader.readexactly(size)
        self.requests.append({"head": head, "body": json.loads(body)})
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (size, body))
        await writer.drain()
        writer.close()

    async def end(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.ended.wait()

    async def stop(self) -> None:
        await self.program.stop()
        await self.sandbox.stop()
        if self._server is not None:
            self._server.close()

    @property
    def said(self) -> dict[str, Any]:
        text = self.printed.decode().replace("\r\n", "").rpartition("SAID")[2].rpartition("END")[0]
        return dict(json.loads(text))


Start = Callable[..., Any]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a command in a sandbox."""
    running: list[Running] = []

    async def make(command: str, backend: str = "local", *, env: tuple[str, ...] = (), spec: Any = None) -> Running:
        inside, host = backend in ("docker", "unsafe"), backend == "host"
        mounts = [] if inside or host else [str(tmp_path / "agent")]
        named = SessionSpec(agent_command=command, agent_env=tuple(env), agent_mount=tuple(mounts), agent_on_host=host)
        program = AgentProgram(named, installed_inside=inside)
        workspace = tmp_path / "workspace"
        workspace.mkdir()
        (tmp_path / "agent").mkdir(exist_ok=True)
        asked = SandboxSpec(session="test", readonly={**program.mounts, **(spec or {})})
        if backend == "docker":
            from workbench.sandbox.docker import DockerSandbox

            made: GuestSandbox = DockerSandbox(asked, workspace)
        else:
            made = LocalSandbox(asked, workspace, WAYS.get(backend, "bubblewrap"))
        running.append(Running(program, made))
        await running[-1].start()
        return running[-1]

    (tmp_path / "agent").mkdir()
    yield make
    for each in running:
        await each.stop()


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_program_reaches_the_gateway_its_task_and_scoring(start: Start, tmp_path: Path, backend: str) -> None:
    (tmp_path / "agent" / "agent.py").write_text(AGENT)
    script = tmp_path / "agent" / "agent.py"
    spec = None
    if backend == "docker":  # as an image would have it
        spec, script = {script: "/opt/agent.py"}, Path("/opt/agent.py")
    python = "/usr/bin/python3" if backend in ("docker", "local") else sys.executable
    running = await start(f"GREETING=hello {python} {script}", backend, spec=spec, env=("MODE=fast",))
    await running.end()
    assert running.how == "the agent program ended with exit status 0", bytes(running.printed)
    said = running.said
    assert said["got"]["task"].startswith("Win the game.")
    assert "`submit` hands it in" in said["got"]["task"]
    assert said["same"]
    assert said["long"] == 3_000_000
    assert said["scored"] == "scored by validate\n"
    assert "refused" in said["elsewhere"]
    assert said["stdin"] == ""
    assert all("bearer of-this-session" in request["head"] for request in running.requests)
    if backend in ("docker", "local"):
        assert said["folder"] == "/home/agent/workspace"
        assert said["python"].strip() == "/run/mlgym/bin/python3"


@pytest.mark.bwrap
async def test_many_long_answers_at_once_pass_the_relay(start: Start, tmp_path: Path) -> None:
    (tmp_path / "agent" / "many.py").write_text(
        "import concurrent.futures, os, urllib.request\n"
        "def ask(n):\n"
        "    data = b'[\"' + bytes([97 + n]) * (100000 + n) + b'\"]'\n"
        "    request = urllib.request.Request(os.environ['OPENAI_BASE_URL'], data=data)\n"
        "    return urllib.request.urlopen(request).read() == data\n"
        "with concurrent.futures.ThreadPoolExecutor(20) as pool:\n"
        "    print('SAID{\"all\": %d}END' % sum(pool.map(ask, range(20))))\n"
    )
    running = await start(f"/usr/bin/python3 {tmp_path}/agent/many.py")
    await running.end()
    assert running.said == {"all": 20}


@pytest.mark.bwrap
async def test_what_runs_of_a_program_is_listed_and_ends_with_it(start: Start) -> None:
    running = await start("sh -c 'sleep 86 & sleep 87; true'")
    async with asyncio.timeout(PATIENCE):
        while sum("sleep" in command for _, _, command in await running.program.processes()) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    listed = await running.program.processes()
    parents = {pid: parent for pid, parent, _ in listed}
    assert all(parents[pid] in parents for pid, _, command in listed if "sleep" in command)
    await running.program.stop()
    assert running.program.status is not None
    left = await running.sandbox.exec(["sh", "-c", "cat /proc/[0-9]*/comm"])
    assert b"sleep" not in left.stdout


@pytest.mark.bwrap
async def test_a_program_that_is_not_there_says_so_at_its_end(start: Start) -> None:
    running = await start("sh -c 'no-such-agent --now'")
    await running.end()
    assert "exit status 127" in running.how
    assert "--agent-mount" in running.how


@pytest.mark.bwrap
async def test_the_packages_of_the_task_are_not_those_of_the_program(start: Start, tmp_path: Path) -> None:
    (tmp_path / "agent" / "who.sh").write_text(
        'echo "SAID[\\"${PYTHONPATH-none}\\", \\"$(python3 -c "import os; print(os.environ[\'PYTHONPATH\'])")\\"]END"'
    )
    named = SessionSpec(agent_command=f"sh {tmp_path}/agent/who.sh", agent_mount=(str(tmp_path / "agent"),))
    program = AgentProgram(named)
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    spec = SandboxSpec(session="test", readonly=program.mounts, env={"PYTHONPATH": "/of/the/task"})
    running = Running(program, LocalSandbox(spec, workspace))
    await running.start()
    await running.end()
    await running.stop()
    assert 'SAID["none", "/of/the/task"]END' in running.printed.decode()


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_a_script_outside_of_all_that_is_seen_is_an_error_before_the_start(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text("")
    command = f"/usr/bin/python3 {tmp_path}/agent.py"
    with pytest.raises(NotFound) as refusal:
        AgentProgram(SessionSpec(agent_command=command))
    assert f"--agent-mount {tmp_path}" in refusal.value.hint
    AgentProgram(SessionSpec(agent_command=command, agent_mount=(str(tmp_path),)))


def test_settings_are_read_and_keys_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings(["A=1", "B=x=y", "C="]) == {"A": "1", "B": "x=y", "C": ""}
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-user-0123456789")
    for text in ("OPENAI_API_KEY=x", "MINE=sk-of-the-user-0123456789", "MLGYM_MODEL_API_KEY=1"):
        with pytest.raises(NotFound, match="never enter a sandbox"):
            read_settings([text])
    for text in ("A", "=1", "1A=2", "A B=3"):
        with pytest.raises(NotFound, match="NAME=VALUE"):
            read_settings([text])


def test_the_log_has_settings_without_the_values_of_secrets() -> None:
    assert logged_settings(["MODE=fast", "TRACKER_TOKEN=abc=d"]) == ["MODE=fast", "TRACKER_TOKEN=[redacted]"]


@pytest.mark.parametrize(
    ("processes", "line"),
    [
        ([], ""),
        ([(5, 4, "/opt/venv/bin/python /opt/venv/bin/mini -t x")], "mini"),
        ([(5, 4, "python3 mini"), (6, 5, "/bin/sh -c ls; ls"), (7, 6, "sleep 9")], "mini ▸ sh ▸ sleep"),
        ([(5, 4, "mini"), (6, 5, "a 1"), (7, 5, "b 2"), (8, 7, "c")], "mini ▸ (a, b ▸ c)"),
        ([(5, 4, "one"), (6, 4, "two"), (7, 99, "")], "one, two, ?"),
    ],
)
def test_processes_are_shown_in_a_line(processes: list[tuple[int, int, str]], line: str) -> None:
    assert in_a_line(processes) == line
    assert len(in_a_line([*processes, *((n, n - 1, "x" * 40) for n in range(50, 90))])) <= 200
