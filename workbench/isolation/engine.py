"""The container engine (Docker or Podman): how to reach it, and what to tell a user when that fails."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.isolation.spec import SandboxError

if TYPE_CHECKING:
    from docker import APIClient


class EngineError(SandboxError):
    """The engine, or the connection to it, failed."""

    status: int | None = None
    """What the engine answered (404: it is not there; 409: in use, or under way)."""


@contextlib.contextmanager
def engine_errors() -> Iterator[None]:
    """What goes wrong in here, talking to the engine, is an EngineError: the one place that knows the SDK's errors."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except (DockerException, RequestException) as error:
        raise explain(error) from error


@contextlib.contextmanager
def engine(time_limit: float = 60.0, address: str = "") -> Iterator[APIClient]:
    """A connection, closed at the end; errors as of `engine_errors`. Raises SandboxError."""
    api = connect(time_limit, address)
    with contextlib.closing(api), engine_errors():
        yield api


OLDEST_API = (1, 40)
"""Docker 19.03: the first that knows device requests."""

DOCKER_SOCKET = "/var/run/docker.sock"
START_HINT = "start it (for example: sudo systemctl start docker), or use the local sandbox: --sandbox local"


def engine_address() -> str:
    """Where the engine listens that sessions use. Where none can be used, it is the first that is there, so that what
    is wrong with it can be said.
    """
    return next(engine_addresses(), "") or f"unix://{next(usual_sockets(), DOCKER_SOCKET)}"


def engine_addresses() -> Iterator[str]:
    """Where engines listen: DOCKER_HOST, the current docker context, then the usual sockets that may be used."""
    from docker.context import ContextAPI

    if os.environ.get("DOCKER_HOST"):
        yield os.environ["DOCKER_HOST"]
    with contextlib.suppress(Exception):  # a damaged ~/.docker is no reason to fail: the usual places are left
        context = ContextAPI.get_current_context()
        if context is not None and context.Name != "default" and context.Host:
            yield str(context.Host)
    yield from (f"unix://{path}" for path in usual_sockets() if _socket_problem(path, 1.0) is None)


def usual_sockets() -> Iterator[str]:
    """What is there of the sockets of Docker and Podman, in the order in which they are tried: the user's own engine
    comes before the machine's, and Docker before Podman.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    own = (f"{runtime}/docker.sock", f"{Path.home()}/.docker/run/docker.sock", f"{runtime}/podman/podman.sock")
    return filter(os.path.exists, (*own, DOCKER_SOCKET, "/run/podman/podman.sock"))


def connect(time_limit: float = 60.0, address: str = "") -> APIClient:
    """A connection to the engine, there or where `engine_address` says. `time_limit` is for each of its answers, in
    seconds. Raises SandboxError.
    """
    address = address or engine_address()
    if address.startswith("unix://"):
        problem = _socket_problem(address.removeprefix("unix://"), min(time_limit, 2.0))
        if problem is not None:
            raise problem
    import docker
    from docker.utils import kwargs_from_env

    with engine_errors():
        named = address == os.environ.get("DOCKER_HOST")  # then with the certificates that are named beside it
        options: dict[str, Any] = dict(kwargs_from_env()) if named else {}
        options |= {"base_url": address, "timeout": max(1, round(time_limit))}
        with contextlib.closing(docker.APIClient(version=".".join(map(str, OLDEST_API)), **options)) as asking:
            version = introduction(asking)[2]
        if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST_API:
            raise SandboxError(
                f"the container engine is too old (API {version}; at least {'.'.join(map(str, OLDEST_API))} is needed)",
                "install Docker 19.03 or later",
            )
        return docker.APIClient(version=version, **options)


def introduction(api: APIClient) -> tuple[str, str, str]:
    """Kind and version of the engine, and the version of its API, as it says when it is pinged. Raises EngineError.

    Whoever asks Podman for its version, or for what it is like, waits for dpkg to name packages: a second or two.
    """
    with engine_errors():
        answer = api.get(f"{api.base_url}/_ping", timeout=api.timeout)
        answer.raise_for_status()
    name, _, version = answer.headers.get("Server", "").partition(" ")[0].partition("/")
    api_version = answer.headers.get("Api-Version", "")
    if not re.fullmatch(r"\d+\.\d+", api_version):
        raise EngineError(f"what answers at {engine_address()} is no container engine", START_HINT)
    return "podman" if name.lower() == "libpod" else "docker", version, api_version


def describe_engine(api: APIClient) -> dict[str, Any]:
    """Name, version, API and properties of the engine; `limits`: whether it can limit memory, processors and
    processes. Raises SandboxError.
    """
    key = (engine_address(), *introduction(api))
    if key not in _described:
        _described[key] = _describe(api, *key[1:])
    return _described[key]


_described: dict[tuple[str, ...], dict[str, Any]] = {}
"""What was asked once: an engine's properties stay while it runs, and with Podman the question takes a second."""


def _describe(api: APIClient, name: str, version: str, api_version: str) -> dict[str, Any]:
    with engine_errors():
        info = api.info()
    security = [str(item) for item in info.get("SecurityOptions") or []]
    rootless = any("rootless" in item for item in security) or info.get("Rootless") is True
    groups = str(info.get("CgroupVersion", ""))
    return {
        "engine": name,
        "version": version,
        "api": api_version,
        "kernel": str(info.get("KernelVersion", "")),
        "storage": str(info.get("Driver", "")),
        "cpus": int(info.get("NCPU") or 0),
        "cgroups": groups,
        "rootless": rootless,
        "limits": not (rootless and groups == "1"),
    }


def explain(error: Exception) -> EngineError:
    """An engine's or connection's error as one that a user can act on."""
    said = str(getattr(error, "explanation", None) or error).strip()
    message, hint = next((message, hint) for sign, message, hint in _MEANINGS if re.search(sign, said, re.IGNORECASE))
    where = engine_address() if "{where}" in message else ""
    explained = EngineError(message.format(said=said, where=where), hint)
    explained.status = getattr(error, "status_code", None)
    return explained


_DENIED = "you may not use the container engine at {where} (permission denied)"
_DENIED_HINT = (
    "Docker: sudo usermod -aG docker $USER, log in again; Podman: serve a socket of your own (docs/engines.md); "
    "or use the local sandbox: --sandbox local"
)
_MEANINGS = (
    (
        "no space left",
        "the engine's disk is full: {said}",
        "free some space (docker or podman: system prune), then try again",
    ),
    ("no such image", "the image is not on this machine: {said}", "build it: mlgym-tui image build"),
    (
        "bind source path does not exist|invalid mount config|mounts denied",
        "the container engine does not see this machine's files: {said}",
        "an engine on another machine or in a VM must share the sessions folder; or use --sandbox local",
    ),
    (
        "container-init binary not found",
        "Podman has no init for containers: {said}",
        "apt install catatonit (or dnf), or set init_path in containers.conf",
    ),
    (
        "newuidmap|subuid|insufficient uids|not enough (available )?ids",
        "this user has too few user ids for containers: {said}",
        "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER; then podman system migrate",
    ),
    (
        "could not select device driver|nvidia-container",
        "the engine cannot hand out GPUs: {said}",
        "install the NVIDIA container toolkit",
    ),
    ("(?s)(?=.*permission denied)(?=.*(socket|connection aborted))", _DENIED, _DENIED_HINT),
    (
        r"incompleteread|\(char \d+\)$",
        "the container engine broke off in its answer: {said}",
        f"restart it, or {START_HINT}",
    ),
    ("timed out|timeout", "the container engine does not answer in time", f"restart it, or {START_HINT}"),
    ("connection aborted|connection refused|server api version", "no container engine answers at {where}", START_HINT),
    ("bind address|paramiko|npipe", "{where} is no address of an engine that can be used: {said}", "unset DOCKER_HOST"),
    ("", "the container engine says: {said}", ""),
)
"""By what the engine, or the connection to it, says: what that means, and what to do. The first that fits counts."""


def _socket_problem(path: str, patience: float) -> SandboxError | None:
    """Open the engine's socket once: the errors of the SDK do not tell a missing engine from a forbidden one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(patience)
        try:
            probe.connect(path)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                return SandboxError(_DENIED.format(where=path), _DENIED_HINT)
            if error.errno == errno.ENOENT:
                return SandboxError(f"no container engine: {path} is not there", f"install Docker or {START_HINT}")
            return SandboxError(f"no container engine answers at {path} ({error})", START_HINT)
    return None
