"""A sweep's workers on a Ray cluster (extra `ray`), for sessions that outgrow one machine.

Ray begins a task of a lost node again by itself, elsewhere, and what no node has stays "pending" for ever. So nothing
is retried by Ray (the sweep resumes a session that broke off, and a job's lock refuses a second run), and what a task
needs is compared with the nodes first. Sessions are written to a folder that all nodes see.

Ray listens on all interfaces of a machine. Every process of a cluster is to have token authentication
(`RAY_AUTH_MODE=token`), which is set here for ours.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from workbench.agents.models.pacing import VARIABLE
from workbench.errors import WorkbenchError
from workbench.session.marks import LENT_SECRET, sweep_secret
from workbench.sweep.sweep import Sweep, Worker
from workbench.sweep.worker import LOCKS, Order, Report

TOKEN = Path("~/.ray/auth_token")
"""Where Ray looks for the token, unless a variable says otherwise."""
_CONNECT = 5.0
"""Seconds in which the head must answer: Ray itself would go on trying for minutes."""
_PROBE = ".probe"


def connect(address: str | None) -> Any:
    """Ray, as a driver of the cluster at `address` (HOST:PORT), or of one on this machine. Raises WorkbenchError."""
    try:
        import ray
    except ImportError as error:
        raise WorkbenchError(
            "Ray is not installed", "pip install 'mlgym-tui[ray]', or leave --engine out for this machine alone"
        ) from error
    os.environ.update(RAY_AUTH_MODE="token", RAY_USAGE_STATS_ENABLED="0")
    _token(make=address is None)
    if address is not None:
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), _CONNECT).close()
        except (OSError, ValueError) as error:
            raise WorkbenchError(
                f"no Ray cluster answers at {address}: {error}", "`ray start --head --port=6379` begins one"
            ) from error
    more = {} if address is not None else {"include_dashboard": False}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error", **more)
    except Exception as error:  # Ray raises many kinds; the reason is in the text
        raise WorkbenchError(
            f"Ray cannot be joined: {str(error).splitlines()[0]}",
            "every process of the cluster needs RAY_AUTH_MODE=token and the same token file",
        ) from error
    return ray


def _token(*, make: bool) -> None:
    """Have a token file that only its owner can read; `make` one for a cluster of our own."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or TOKEN).expanduser()
    if file.exists():
        if file.stat().st_mode & 0o077:
            file.chmod(0o600)
    elif make:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            stream.write(secrets.token_hex(32))
    else:
        raise WorkbenchError(f"there is no Ray token in {file}", "copy that of the cluster's head, with mode 0600")


class _Session:
    """On a node: runs one job in a process group of its own, which `stop` reaches while it runs."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, order: bytes, folder: str) -> bytes:
        """The last line that the worker says; empty when it dies."""
        if not os.path.exists(os.path.join(folder, LOCKS, _PROBE)):
            key = msgspec.json.decode(order, type=Order).key
            problem = f"node {socket.gethostname()} does not see {folder}: it must be on a file system of all nodes"
            return msgspec.json.encode(Report(key, status="failed", problem=problem))
        env = {**os.environ, VARIABLE: os.path.join(folder, LOCKS)}
        env.pop("OMP_NUM_THREADS", None)  # Ray sets it to 1
        if lent := msgspec.json.decode(order, type=Order).secret:
            env[LENT_SECRET] = lent
        self._process = subprocess.Popen(
            [sys.executable, "-m", "workbench.sweep.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env,
            start_new_session=True,
        )  # fmt: skip
        try:
            out, _ = self._process.communicate(order + b"\n")
        finally:
            self.stop(signal.SIGKILL)
        return out.splitlines()[-1] if out else b""

    def stop(self, number: int) -> None:
        """Send a signal to all processes of the session."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, number)


class RayWorker(Worker):
    """Runs each job as an actor of its own, where the cluster has room."""

    def __init__(self, ray: Any, sweep: Sweep) -> None:
        self._ray, self._sweep = ray, sweep
        self._actor: Any = None

    async def do(self, order: Order, on_begin: Callable[[Report], None]) -> Report | None:
        needs = self._sweep.progress[order.key]
        if problem := _lacking(self._ray, needs.gpus, needs.memory):
            return Report(order.key, order.resume, "failed", problem)
        actor = self._ray.remote(_Session).options(
            num_cpus=1, num_gpus=needs.gpus, memory=needs.memory, max_restarts=0, max_task_retries=0, max_concurrency=2
        )
        self._actor = actor.remote()
        try:
            order.secret = sweep_secret(order.key).hex()
            said = await self._actor.run.remote(msgspec.json.encode(order), order.folder)
            return msgspec.json.decode(said, type=Report) if said else None
        except self._ray.exceptions.RayError:  # the node, or the actor's process, is gone
            return None
        finally:
            self._ray.kill(self._actor)
            self._actor = None

    def signal(self, number: int) -> None:
        if self._actor is not None:
            self._actor.stop.remote(number)


def _lacking(ray: Any, gpus: int, memory: int) -> str:
    """Why no node can ever run it, or nothing."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wanted = {"CPU": 1, "GPU": gpus, "memory": memory}
    if any(all(node.get(name, 0) >= amount for name, amount in wanted.items()) for node in nodes):
        return ""
    return f"no node of the cluster has 1 processor, {gpus} GPUs and {memory / 2**30:.1f} GB of memory"


def use_ray(sweep: Sweep, address: str | None) -> None:
    """Have the workers of a sweep on the cluster at `address`, or on one of this machine. Raises WorkbenchError."""
    ray = connect(address)
    (sweep.folder / LOCKS).mkdir(parents=True, exist_ok=True, mode=0o700)
    (sweep.folder / LOCKS / _PROBE).touch()

    async def start() -> Worker:
        return RayWorker(ray, sweep)

    sweep.start_worker = start
    sweep.one_machine = False
