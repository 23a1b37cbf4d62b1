"""What both backends share: everything but how the guest is started and stopped."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from workbench.isolation import seccomp
from workbench.isolation.spec import RUN_FOLDER, Confinement, ResourceLimits, SandboxError
from workbench.isolation.watch import DISK_RESERVE, ResourceWatch, free_space, megabytes
from workbench.sandbox.base import (
    AGENT_COLUMNS,
    AGENT_ROWS,
    UNATTENDED,
    WORKSPACE,
    ExecResult,
    RequestHandler,
    SandboxSpec,
)
from workbench.sandbox.channel import Answer, BrokenProtocol, GuestChannel
from workbench.sandbox.guest.guest import MAX_REQUEST
from workbench.sandbox.pty import RELAY_CREDIT, DirectPty, RelayedPty

_MAX_REQUESTS = 64
_ANSWER_LIMIT = 30.0
"""Seconds in which the guest answers anything that is not a command of somebody's."""
KILLED = 137
_FULL = (0.2, 0.4, 0.6, 0.8, 0.0)
"""Seconds to wait after each attempt that a sandbox full of processes refused."""

GUEST_FOLDER = Path(__file__).resolve().parent / "guest"
GUEST_FILES = (
    *(GUEST_FOLDER / name for name in ("bashrc", "functions.sh", "guest.py", "tools.py", "agent_commands.py")),
    Path(seccomp.__file__),
)
"""What a sandbox has at RUN_FOLDER."""


class GuestSandbox(ABC):
    """A sandbox behind a guest. A backend implements `start`, `stop` and `describe`.

    `start` connects a socket to the guest's standard input and output and awaits `attach`; `stop` calls `detach`.
    """

    def __init__(self, spec: SandboxSpec, workspace_folder: Path) -> None:
        self.spec = spec
        self.workspace = WORKSPACE
        self.workspace_folder = Path(workspace_folder)
        self.protected = True
        self.on_request: RequestHandler | None = None
        self.on_warning: Callable[[str], None] | None = None
        """Told when something was killed or is about to run out (memory, disk)."""
        self.on_lost: Callable[[str], None] | None = None
        """Told once when the sandbox died by itself; shells get their `on_exit` too."""
        self.run_folder = RUN_FOLDER
        self.guest_facts: dict[str, Any] = {}
        """What the guest said when it started. Unverified."""
        self._channel: GuestChannel | None = None
        self._shells: dict[int, DirectPty | RelayedPty] = {}
        self._early_exits: dict[int, int] = {}
        self._requests: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None

    @abstractmethod
    async def start(self) -> None:
        """Start the guest and attach to it. Raises SandboxError, with nothing left behind."""

    @abstractmethod
    async def stop(self) -> None:
        """Detach, kill everything inside and remove it. Can be called twice."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Backend, isolation, limits and versions, for the log."""

    @property
    def alive(self) -> bool:
        """Whether the guest is connected."""
        return self._channel is not None and not self._channel.closed

    async def attach(
        self, connection: socket.socket, decode: Callable[[bytes], bytes] | None = None, time_limit: float = 15.0
    ) -> None:
        """Take over the stream to a guest that is starting, and wait until it is ready."""
        channel = GuestChannel(connection, decode)
        ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

        def on_event(message: dict[str, Any]) -> None:
            if message.get("event") == "ready" and not ready.done():
                ready.set_result(message)
            elif message.get("event") == "exit":
                self._shell_exited(message.get("shell"), message.get("status"))

        def on_lost(reason: str) -> None:
            if not ready.done():
                ready.set_exception(SandboxError(f"the sandbox could not be started: {reason}"))
            else:
                self._lost(reason)

        channel.on_event = on_event
        channel.on_lost = on_lost
        channel.on_shell = self._printed
        channel.on_request = self._requested
        self._channel = channel
        try:
            async with asyncio.timeout(time_limit):
                self.guest_facts = await ready
            if self.protected and (why := self.guest_facts.get("unfiltered")):
                self.warn(f"the sandbox does not keep commands from unusual system calls: {str(why)[:200]}")
        except TimeoutError:
            channel.close()
            raise SandboxError(f"the sandbox did not start within {time_limit:.0f} s") from None
        except BaseException:
            channel.close()
            raise

    def detach(self) -> None:
        """Close the stream: the guest ends, and with it what it serves. Shells are told. Can be called twice."""
        if self._channel is not None:
            self._channel.close()
        self._bury_shells()
        for task in list(self._requests):
            task.cancel()

    def check_workspace(self) -> None:
        """Raises SandboxError where there is none, or no room in it."""
        if not self.workspace_folder.is_dir():
            raise SandboxError(f"the workspace {self.workspace_folder} is not a folder")
        free = free_space(self.workspace_folder)
        if free < 2 * DISK_RESERVE:
            raise SandboxError(
                f"the disk of {self.workspace_folder} is almost full ({megabytes(free)} left)", "free some space there"
            )

    def confinement(self, files: Mapping[Path, str], env: Mapping[str, str]) -> Confinement:
        """What the guest sees and may use: the workspace, our `files`, what the session brings."""
        memory = self.spec.limits.memory_bytes
        return Confinement(
            writable={self.workspace_folder: self.workspace},
            readonly={**files, **self.spec.mounts},
            hidden=self.spec.hidden,
            gpus=self.spec.gpus,
            env={**UNATTENDED, **env, **self.spec.env},
            cwd=self.workspace,
            network=self.spec.network,
            limits=self.spec.limits,
            scratch_bytes=min(2 << 30, memory // 2) if memory else 2 << 30,
        )

    def watch(self, guest: int, limits: ResourceLimits, give_up: Callable[[str], None], begin: float = 0.0) -> None:
        """Watch, from `begin` seconds on, what the guest's processes use, until `stop_watching`."""

        async def look() -> None:
            await asyncio.sleep(begin)
            await ResourceWatch(guest, self.workspace_folder, limits, self.warn, give_up).run()

        self._watching = asyncio.get_running_loop().create_task(look())

    async def stop_watching(self) -> None:
        """Can be called twice."""
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching], timeout=2.0)

    def shell_argv(self) -> list[str]:
        """The command of the agent's shell, as the guest runs it."""
        return ["/bin/bash", "--rcfile", f"{self.run_folder}/bashrc", "-i"]

    async def open_shell(
        self, cwd: str, columns: int = AGENT_COLUMNS, rows: int = AGENT_ROWS
    ) -> DirectPty | RelayedPty:
        """Start an interactive bash in `cwd`, or in the workspace when that is gone."""
        channel = self._running()
        number = channel.reserve()
        relay = not self.guest_facts.get("passes_descriptors")
        relayed = RelayedPty(channel, number) if relay else None
        if relayed is not None:
            self._shells[number] = relayed
        answer = await self._start_process(
            "open_shell",
            time_limit=_ANSWER_LIMIT,
            number=number,
            argv=self.shell_argv(),
            cwd=cwd,
            columns=columns,
            rows=rows,
            relay=relay,
            credit=RELAY_CREDIT,
        )
        if answer.message.get("ok") is not True or (relayed is None and answer.descriptor is None):
            self._shells.pop(number, None)
            said = answer.message.get("message", "no reason given")
            raise SandboxError(f"the shell could not be started: {said}", "see `mlgym-tui doctor`")
        if relayed is not None:
            return relayed
        assert answer.descriptor is not None
        shell = self._shells[number] = DirectPty(channel, number, answer.descriptor)
        if number in self._early_exits:
            self._shell_exited(number, self._early_exits.pop(number))
        return shell

    async def exec(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        cwd: str | None = None,
        time_limit: float = 60.0,
        max_output: int = 16 << 20,
        env: Mapping[str, str] | None = None,
    ) -> ExecResult:
        """Run a side command. Raises SandboxError when it cannot be started; a time-out is in the result."""
        answer = await self._start_process(
            "exec",
            time_limit=time_limit + _ANSWER_LIMIT,
            blob=stdin,
            max_data=max_output,
            argv=list(argv),
            stdin_size=len(stdin),
            cwd=cwd,
            max_output=max_output,
            env=dict(env or {}),
            time_limit_s=time_limit,
        )
        message = answer.message
        if message.get("ok") is not True:
            full = message.get("errno") == errno.EAGAIN
            hint = "the sandbox is at its limit of processes; end some of them" if full else ""
            raise SandboxError(f"{argv[0]!r} could not be run in the sandbox: {message.get('message')}", hint)
        code = message.get("exit_code")
        return ExecResult(
            exit_code=code if isinstance(code, int) else KILLED,
            stdout=bytes(answer.out),
            stderr=bytes(answer.err),
            timed_out=message.get("timed_out") is True,
            truncated=message.get("truncated") is True,
        )

    async def _start_process(self, op: str, **fields: Any) -> Answer:
        """A call that starts a process. One that is refused for too many processes is made again; where there stay too
        many of them (a fork bomb), all but the shells are killed.
        """
        for patience in _FULL:
            answer = await self._running().call(op, **fields)
            if answer.message.get("errno") != errno.EAGAIN:
                return answer
            await asyncio.sleep(patience)
        made = (await self._running().call("make_room", time_limit=_ANSWER_LIMIT)).message
        if made.get("ok") is True:
            killed = made.get("killed")
            counts = killed.items() if isinstance(killed, dict) else ()
            names = [f"{count!s:.6} × {name!s:.20}" for name, count in counts]
            self.warn(f"the sandbox was full of processes; all but its shells were killed: {', '.join(names)[:200]}")
        return await self._running().call(op, **fields)

    async def read_file(self, path: str, max_bytes: int = 64 << 20) -> bytes:
        """A regular file of the sandbox, its last part not a link."""
        answer = await self._running().call(
            "read_file", time_limit=_ANSWER_LIMIT, max_data=max_bytes, path=path, max_bytes=max_bytes
        )
        _check_file_answer(answer, path, max_bytes)
        return bytes(answer.out)

    def _running(self) -> GuestChannel:
        if self._channel is None:
            raise SandboxError("the sandbox was not started")
        return self._channel

    def warn(self, message: str) -> None:
        """Tell whoever listens."""
        if self.on_warning is not None:
            self.on_warning(message)

    def _printed(self, number: int, data: bytes) -> None:
        shell = self._shells.get(number)
        if isinstance(shell, RelayedPty):
            shell.printed(data)

    def _shell_exited(self, number: object, status: object) -> None:
        if not isinstance(number, int) or not isinstance(status, int):
            raise BrokenProtocol("an exit event without its numbers")
        shell = self._shells.pop(number, None)
        if shell is not None:
            shell.shell_exited(status)
        elif len(self._early_exits) < 16:
            self._early_exits[number] = status

    def lose(self, reason: str) -> None:
        """Give the sandbox up: everything in it is dead, or will be at once."""
        if self.alive:
            self._lost(reason)

    def _lost(self, reason: str) -> None:
        self.detach()
        if self.on_lost is not None:
            self.on_lost(reason)

    def _bury_shells(self) -> None:
        shells, self._shells = self._shells, {}
        for shell in shells.values():
            shell.shell_exited(KILLED)

    def _requested(self, client: int, line: bytes) -> None:
        if len(line) > MAX_REQUEST:
            raise BrokenProtocol("a request over 1 MB")
        if len(self._requests) >= _MAX_REQUESTS:
            self._reply(client, {"ok": False, "message": "too many requests at once; wait for the others"})
            return
        task = asyncio.get_running_loop().create_task(self._serve(client, line))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _serve(self, client: int, line: bytes) -> None:
        try:
            request = msgspec.json.decode(line)
            if not isinstance(request, dict):
                raise ValueError("not a JSON object")
        except (ValueError, RecursionError) as error:
            self._reply(client, {"ok": False, "message": f"the request is no JSON object on one line: {error}"})
            return
        if self.on_request is None:
            self._reply(client, {"ok": False, "message": "nobody answers requests in this session"})
            return
        try:
            self._reply(client, await self.on_request(request))
        except Exception as error:  # a fault of the host must reach the agent's command as an answer, not a hang
            self._reply(client, {"ok": False, "message": str(error) or type(error).__name__})

    def _reply(self, client: int, answer: dict[str, Any]) -> None:
        line = msgspec.json.encode(answer)
        if len(line) > MAX_REQUEST:
            line = b'{"ok": false, "message": "the answer is larger than 1 MB"}'
        if self._channel is not None:
            self._channel.answer_request(client, line)


def _check_file_answer(answer: Answer, path: str, max_bytes: int) -> None:
    message = answer.message
    if message.get("ok") is True:
        return
    if message.get("code") == "too_large":
        raise SandboxError(f"{path} is larger than {max_bytes} bytes")
    if message.get("code") == "not_regular":
        raise SandboxError(f"{path} is not a regular file")
    number = message.get("errno")
    if number == errno.ELOOP:
        raise SandboxError(f"{path} is a symbolic link", "copy the file itself to that place")
    if number in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM):
        raise OSError(number, os.strerror(number), path)
    said = os.strerror(number) if isinstance(number, int) else message.get("message")
    raise SandboxError(f"{path}: {said}", "free some space and try again" if number == errno.ENOSPC else "")
