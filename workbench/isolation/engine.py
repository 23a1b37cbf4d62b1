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
def engine(time_limit: float = 60.0) -> Iterator[APIClient]:
    """A connection, closed at the end; errors as of `engine_errors`. Raises SandboxError."""
    api = connect(time_limit)
    with contextlib.closing(api), engine_errors():
        yield api


OLDEST_API = (1, 40)
"""Docker 19.03: the first that knows device requests."""

START_HINT = "start it (for example: sudo systemctl start docker), or use the local sandbox: --sandbox local"


def engine_address() -> str:
    """Where the engine listens: DOCKER_HOST, the current docker context, or the first usual socket that is there."""
    if os.environ.get("DOCKER_HOST"):
        return os.environ["DOCKER_HOST"]
    from docker.context import ContextAPI

    try:
        context = ContextAPI.get_current_context()
    except Exception:  # a damaged ~/.docker is no reason to fail: the usual places are left
        context = None
    if context is not None and context.Name != "default" and context.Host:
        return str(context.Host)
    runtime = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    home = Path.home()
    candidates = (
        "/var/run/docker.sock",
        f"{runtime}/docker.sock",
        f"{home}/.docker/run/docker.sock",
        f"{runtime}/podman/podman.sock",
        "/run/podman/podman.sock",
    )
    for candidate in candidates:
        if os.path.exists(candidate):
            return f"unix://{candidate}"
    return f"unix://{candidates[0]}"


def connect(time_limit: float = 60.0) -> APIClient:
    """A connection to the engine. `time_limit` is for each of its answers, in seconds. Raises SandboxError."""
    address = engine_address()
    if address.startswith("unix://"):
        _try_socket(address.removeprefix("unix://"), min(time_limit, 2.0))
    import docker

    with engine_errors():
        if os.environ.get("DOCKER_HOST"):
            # Reads DOCKER_TLS_VERIFY and DOCKER_CERT_PATH as well.
            api = docker.from_env(timeout=max(1, round(time_limit))).api
        else:
            api = docker.APIClient(base_url=address, version="auto", timeout=max(1, round(time_limit)))
    version = tuple(int(part) for part in re.findall(r"\d+", api.api_version)[:2])
    if version < OLDEST_API:
        api.close()
        raise SandboxError(
            f"the container engine is too old (API {api.api_version}; at least "
            f"{'.'.join(map(str, OLDEST_API))} is needed)",
            "install Docker 19.03 or later",
        )
    return api


def probe_docker() -> str | None:
    """None when an engine answers, else one sentence that says why none does. Takes at most about 2 seconds."""
    try:
        connect(time_limit=2.0).close()
    except SandboxError as error:
        return error.in_full
    return None


def engine_info() -> dict[str, Any]:
    """Name, version, API and properties of the engine, for logs and `doctor`. Raises SandboxError."""
    with engine(time_limit=5.0) as api:
        return describe_engine(api)


def describe_engine(api: APIClient) -> dict[str, Any]:
    """As `engine_info`, on a connection that is there."""
    with engine_errors():
        version, info = api.version(), api.info()
    security = [str(item) for item in info.get("SecurityOptions") or []]
    components = [str(part.get("Name", "")) for part in version.get("Components") or []]
    return {
        "engine": "podman" if any("podman" in name.lower() for name in components) else "docker",
        "version": str(version.get("Version", "")),
        "api": str(version.get("ApiVersion", "")),
        "os": str(info.get("OSType", "")),
        "kernel": str(info.get("KernelVersion", "")),
        "storage": str(info.get("Driver", "")),
        "cpus": int(info.get("NCPU") or 0),
        "cgroups": str(info.get("CgroupVersion", "")),
        "rootless": any("rootless" in item for item in security),
        "runtimes": sorted(info.get("Runtimes") or {}),
        "images_folder": str(info.get("DockerRootDir", "")),
    }


def explain(error: Exception) -> EngineError:
    """An engine's or connection's error as one that a user can act on."""
    text = str(getattr(error, "explanation", None) or error).strip()
    explained = EngineError(*_explained(text, text.lower()))
    explained.status = getattr(error, "status_code", None)
    return explained


def _explained(text: str, lower: str) -> tuple[str, str]:
    if "no space left" in lower:
        return f"the engine's disk is full: {text}", "free some space (docker system prune), then try again"
    if "no such image" in lower:
        return f"the image is not on this machine: {text}", "build it: mlgym-tui image build"
    if "bind source path does not exist" in lower or "invalid mount config" in lower or "mounts denied" in lower:
        return (
            f"the container engine does not see this machine's files: {text}",
            "an engine on another machine or in a VM must share the sessions folder; or use --sandbox local",
        )
    if "could not select device driver" in lower or "nvidia-container" in lower:
        return f"the engine cannot hand out GPUs: {text}", "install the NVIDIA container toolkit"
    if "permission denied" in lower and ("socket" in lower or "connection aborted" in lower):
        return _denied(engine_address())
    if "timed out" in lower or "timeout" in lower:
        return "the container engine does not answer in time", f"restart it, or {START_HINT}"
    if "connection aborted" in lower or "connection refused" in lower or "server api version" in lower:
        return f"no container engine answers at {engine_address()}", START_HINT
    if "bind address" in lower or "paramiko" in lower or "npipe" in lower:
        return f"{engine_address()} is no address of an engine that can be used: {text}", "unset DOCKER_HOST"
    return f"the container engine says: {text}", ""


def _try_socket(path: str, patience: float) -> None:
    """Open the engine's socket once: the errors of the SDK do not tell a missing engine from a forbidden one."""
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    probe.settimeout(patience)
    try:
        probe.connect(path)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise SandboxError(*_denied(path)) from error
        if error.errno == errno.ENOENT:
            raise SandboxError(
                f"no container engine: {path} is not there", f"install Docker or {START_HINT}"
            ) from error
        raise SandboxError(f"no container engine answers at {path} ({error})", START_HINT) from error
    finally:
        probe.close()


def _denied(address: str) -> tuple[str, str]:
    return (
        f"you may not use the container engine at {address} (permission denied)",
        "sudo usermod -aG docker $USER, log in again; or use the local sandbox: --sandbox local",
    )
