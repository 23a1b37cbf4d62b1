"""Engines that are missing, forbidden, slow, broken or of another version: what a user is told, and what is left."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.sandbox.fake_engine import Answer, FakeEngine, fake_engine
from workbench.cli import main
from workbench.isolation import engine, orphans
from workbench.isolation.engine import connect
from workbench.isolation.spec import SandboxError
from workbench.sandbox.base import SandboxSpec
from workbench.sandbox.docker import DockerSandbox

PODMAN = "Libpod/4.3.1 (linux)"
HALF = b'HTTP/1.1 200 OK\r\nServer: Docker/27.3.1\r\nApi-Version: 1.47\r\nContent-Length: 100\r\n\r\n{"OSTy'
GARBAGE = b"HTTP/1.1 200 OK\r\nServer: Docker/27.3.1\r\nApi-Version: 1.47\r\nContent-Length: 5\r\n\r\n<html"


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the engine of the test listens, for everything in it."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    return tmp_path / "docker.sock"


@pytest.fixture
def fake(address: Path) -> Iterator[FakeEngine]:
    """An engine in which nothing is wrong yet."""
    with fake_engine(address, FakeEngine()) as made:
        yield made


async def refusal(tmp_path: Path) -> SandboxError:
    """What a session is told whose sandbox cannot be started."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    sandbox = DockerSandbox(SandboxSpec(session="s"), workspace)
    with pytest.raises(SandboxError) as caught:
        await sandbox.start()
    await sandbox.stop()
    return caught.value


class TestNoEngine:
    def test_the_sdk_is_imported_only_when_it_is_used(self) -> None:
        script = "import sys, workbench.sandbox.docker; sys.exit('docker' in sys.modules or 'requests' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0

    @pytest.mark.parametrize(
        "address", ["nonsense", "tcp://127.0.0.1:1", "ssh://nobody@127.0.0.1:1", "unix:///dev/null"]
    )
    def test_an_address_that_leads_nowhere(self, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DOCKER_HOST", address)
        with pytest.raises(SandboxError):
            connect(time_limit=1.0)

    def test_socket_is_missing(self, address: Path) -> None:
        with pytest.raises(SandboxError, match=f"{address} is not there") as caught:
            connect()
        assert "--sandbox local" in caught.value.hint

    def test_nobody_listens(self, address: Path) -> None:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(address))
        with pytest.raises(SandboxError, match="no container engine answers") as caught:
            connect()
        assert "start docker" in caught.value.hint

    def test_permission_denied(self, address: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(self: socket.socket, address: str) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        with pytest.raises(SandboxError, match="permission denied") as caught:
            connect()
        assert "usermod -aG docker" in caught.value.hint

    async def test_a_session_that_finds_no_engine(self, address: Path, tmp_path: Path) -> None:
        assert "no container engine" in str(await refusal(tmp_path))

    @pytest.mark.parametrize(
        ("text", "said", "hint"),
        [
            ("write /var/lib/docker/x: no space left on device", "disk is full", "prune"),
            ("No such image: a:b", "not on this machine", "mlgym-tui image build"),
            ('could not select device driver "" with capabilities: [[gpu]]', "GPUs", "NVIDIA"),
            ("something new", "says: something new", ""),
        ],
    )
    def test_errors_say_what_to_do(self, text: str, said: str, hint: str) -> None:
        from docker.errors import APIError

        explained = engine.explain(APIError("500 Server Error", explanation=text))
        assert said in str(explained)
        assert hint in explained.hint


class TestVersions:
    @pytest.mark.parametrize(
        ("server", "api", "kind", "version"),
        [
            (PODMAN, "1.41", "podman", "4.3.1"),
            ("Docker/20.10.24+dfsg1 (linux)", "1.40", "docker", "20.10.24+dfsg1"),
            ("Docker/99.0.0 (linux)", "1.77", "docker", "99.0.0"),
        ],
    )
    def test_an_engine_is_spoken_to_in_its_version(
        self, address: Path, server: str, api: str, kind: str, version: str
    ) -> None:
        with fake_engine(address, FakeEngine(server, api)) as fake, engine.engine() as connection:
            assert connection.api_version == api
            for _ in range(2):  # asked for what it is like only once
                described = engine.describe_engine(connection)
            assert (described["engine"], described["version"], described["api"]) == (kind, version, api)
            assert fake.asked.count("GET /info") == 1

    def test_an_old_one_is_named_as_such(self, address: Path) -> None:
        with (
            fake_engine(address, FakeEngine("Docker/17.06 (linux)", "1.30")),
            pytest.raises(SandboxError, match=r"too old \(API 1\.30") as caught,
        ):
            connect()
        assert "19.03" in caught.value.hint

    def test_something_else_at_the_address(self, address: Path) -> None:
        with fake_engine(address, FakeEngine("nginx", "")), pytest.raises(SandboxError, match="no container engine"):
            connect()

    def test_doctor_names_engine_and_version(self, fake: FakeEngine, address: Path) -> None:
        fake.headers["Server"] = PODMAN
        checks = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)
        (detail,) = [check["detail"] for check in checks if check["name"] == "docker"]
        assert detail == f"Podman 4.3.1 answers at unix://{address}"


@pytest.mark.parametrize(
    ("answer", "said"),
    [(None, "does not answer in time"), (HALF, "broke off"), (b"", "no container engine answers"), ((500, "?"), "500")],
)
def test_an_engine_that_does_not_answer_or_half(fake: FakeEngine, answer: Answer, said: str) -> None:
    fake.answers["/_ping"] = answer
    with pytest.raises(SandboxError, match=said):
        connect(time_limit=1.0)


@pytest.mark.parametrize("answer", [HALF, GARBAGE])
async def test_a_description_that_breaks_off(fake: FakeEngine, tmp_path: Path, answer: bytes) -> None:
    fake.answers["/info"] = answer
    assert "broke off in its answer" in str(await refusal(tmp_path))
    assert "POST /containers/create" not in fake.asked


@pytest.mark.parametrize("step", ["/create", "/attach", "/start"])
@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("mkdir /var/lib/containers/x: no space left on device", "the engine's disk is full"),
        ("exec /usr/bin/python3: exec format error", "made for another processor"),
    ],
)
async def test_what_fails_on_the_way_leaves_nothing(
    fake: FakeEngine, tmp_path: Path, step: str, message: str, said: str
) -> None:
    fake.answers[step] = 500, {"message": message}
    problem = await refusal(tmp_path)
    assert said in str(problem) and problem.hint
    assert not fake.containers and any(asked.startswith("DELETE") for asked in fake.asked)


async def test_a_container_that_is_made_too_late_goes(
    fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.sandbox.docker.connect", lambda: connect(time_limit=1.0))
    fake.answers["/create"] = None
    assert "does not answer in time" in str(await refusal(tmp_path))
    assert not fake.containers


async def test_what_went_wrong_first_is_told_where_nothing_can_be_removed(fake: FakeEngine, tmp_path: Path) -> None:
    fake.answers["/start"] = 500, {"message": "no space left on device"}
    fake.answers["^DELETE"] = 500, {"message": "it is all lost"}
    assert "the engine's disk is full" in str(await refusal(tmp_path))


def test_gc_goes_to_each_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them was named, one is the user's own, and one does not answer as it should."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/named.sock")
    monkeypatch.setattr(engine, "usual_sockets", lambda: iter([f"{tmp_path}/own.sock", f"{tmp_path}/broken.sock"]))
    gone = {orphans.SESSION_LABEL: "s", orphans.HOST_LABEL: os.uname().nodename, orphans.PID_LABEL: "none"}
    found = (200, [{"Id": "left", "Names": ["/left"], "Labels": gone, "Status": "Created"}])
    named, own, broken = FakeEngine(), FakeEngine(PODMAN, "1.41"), FakeEngine()
    for fake in (named, own):
        fake.containers.add("left")
        fake.answers["GET /containers/json"] = found
    broken.answers["GET /containers/json"] = HALF
    with (
        fake_engine(tmp_path / "named.sock", named),
        fake_engine(tmp_path / "own.sock", own),
        fake_engine(tmp_path / "broken.sock", broken),
    ):
        said = json.loads(CliRunner().invoke(main, ["gc", "--json"]).stdout)
    assert [container["name"] for container in said["containers"]] == ["left", "left"]
    assert not named.containers and not own.containers
    assert "broke off" in said["docker_problem"]
