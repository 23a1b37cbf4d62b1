"""What both backends share: everything but how the guest is started and stopped."""

from __future__ import annotations

import asyncio
import errno
import socket
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from workbench.isolation import seccomp
from workbench.isolation.processes import used_by
from workbench.isolation.spec import RUN_FOLDER, Confinement, ResourceLimits, SandboxError
from workbench.isolation.usage import Meter, Totals
from workbench.isolation.watch import DISK_RESERVE, ResourceWatch, free_space
from workbench.sandbox.base import (
    AGENT_COLUMNS,
    AGENT_ROWS,
    UNATTENDED,
    WORKSPACE,
    ExecResult,
    RequestHandler,
    Sandbox,
    SandboxSpec,
)
from workbench.sandbox.channel import Answer, GuestChannel
from workbench.sandbox.guest.guest import MAX_REQUEST, BrokenProtocol
from workbench.sandbox.pty import KILLED, RELAY_CREDIT, DirectPty, RelayedPty
from workbench.session.status import Resources
from workbench.text import megabytes

_MAX_REQUESTS = 64
_ANSWER_LIMIT = 30.0
"""Seconds in which the guest answers anything that is not a command of somebody's."""
_FULL = (0.2, 0.4, 0.6, 0.8, 0.0)
"""Seconds to wait after each attempt that a sandbox full of processes refused."""

GUEST_FOLDER = Path(__file__).resolve().parent / "guest"
GUEST_FILES = (
    *(
        GUEST_FOLDER / name
        for name in ("bashrc", "functions.sh", "guest.py", "tools.py", "agent_commands.py", "mcp.py")
    ),
    Path(seccomp.__file__),
)
"""What a sandbox has at RUN_FOLDER."""


class GuestSandbox(Sandbox):
    """A sandbox behind a guest. A backend implements `_start`, `stop` and `describe`.

    `_start` connects a socket to the guest's standard input and output and awaits `attach`; `stop` calls `detach`.
    """

    def __init__(self, spec: SandboxSpec, workspace_folder: Path) -> None:
        self.spec = spec
        self.workspace = WORKSPACE
        self.workspace_folder = Path(workspace_folder)
        self.protected = True
        self.on_request: RequestHandler | None = None
        self.on_warning: Callable[[str], None] | None = None
        self.measure: Callable[[], Resources] | None = None
        self.run_folder = RUN_FOLDER
        self.scratch: tuple[Path, ...] = ()
        """Folders of this sandbox's own, on a disk of the host."""
        self.guest_facts: dict[str, Any] = {}
        """What the guest said when it started. Unverified."""
        self._channel: GuestChannel | None = None
        self._shells: dict[int, DirectPty | RelayedPty] = {}
        self._early_exits: dict[int, int] = {}
        self._requests: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None
        self._was_started = False

    @property
    def alive(self) -> bool:
        """Whether the guest is connected."""
        return self._channel is not None and not self._channel.closed

    async def start(self) -> None:
        """Start the guest. Raises SandboxError, with nothing left behind."""
        if self._was_started:
            raise SandboxError("the sandbox was started already")
        self._was_started = True
        try:
            await self._start()
        except BaseException as error:
            await self.stop()
            if not isinstance(error, OSError):
                raise
            raise SandboxError(
                f"the sandbox could not be started: {error.strerror} ({error.filename or 'no file named'})",
                "this machine's limit on the size of a file is in the way: raise it with ulimit -f"
                if error.errno == errno.EFBIG
                else "check the free space and the permissions of the workspace and of the temporary folder",
            ) from error

    @abstractmethod
    async def _start(self) -> None: ...

    async def attach(self, connection: socket.socket, time_limit: float = 15.0) -> None:
        """Take over the stream to a guest that is starting, and wait until it is ready."""
        channel = GuestChannel(connection)
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
        shells, self._shells = self._shells, {}
        for shell in shells.values():
            shell.shell_exited(KILLED)
        for task in list(self._requests):
            task.cancel()

    def check_workspace(self) -> None:
        """Raises SandboxError where there is none, or no room in it."""
        if not self.workspace_folder.is_dir():
            raise SandboxError(f"the workspace {self.workspace_folder} is not a folder")
        free = free_space(self.workspace_folder)
        if free < 2 * DISK_RESERVE:
            raise SandboxError(
                f"the disk of {self.workspace_folder} is almost full ({megabytes(free)} left)",
                "free some space there, or set $TMPDIR to a folder on a larger one",
            )

    def confinement(self, files: Mapping[Path, str], env: Mapping[str, str]) -> Confinement:
        """What the guest sees and may use: the workspace, our `files`, what the session brings."""
        memory = self.spec.limits.memory_bytes
        return replace(
            self.spec,
            writable={self.workspace_folder: self.workspace},
            readonly={**files, **self.spec.readonly},
            env={**UNATTENDED, **env, **self.spec.env},
            cwd=self.workspace,
            scratch_bytes=min(2 << 30, memory // 2) if memory else 2 << 30,
        )

    def watch(self, guest: int, limits: ResourceLimits, give_up: Callable[[str], None], begin: float = 0.0) -> None:
        """Watch, from `begin` seconds on, what the guest's processes use, until `stop_watching`."""
        watch = ResourceWatch(guest, self.workspace_folder, limits, self.warn, give_up, self.scratch)
        self.meter(partial(used_by, guest), watch)

        async def look() -> None:
            await asyncio.sleep(begin)
            await watch.run()

        self._watching = asyncio.get_running_loop().create_task(look())

    def meter(self, totals: Totals, watch: ResourceWatch | None = None) -> None:
        """Have it be known what it uses, by these totals."""
        limits = self.spec.limits if self.protected else None
        self.measure = Meter(totals, self.workspace_folder, limits, self.spec.gpus, watch)

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
        self,
        cwd: str,
        columns: int = AGENT_COLUMNS,
        rows: int = AGENT_ROWS,
        *,
        argv: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> DirectPty | RelayedPty:
        """Start an interactive bash (or `argv`) in `cwd`, or in the workspace when that is gone."""
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
            argv=list(argv) or self.shell_argv(),
            env=dict(env or {}),
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

    async def relay(self, path: str) -> int:
        """A port of the sandbox's own 127.0.0.1 that leads to the unix socket `path`, as the sandbox sees it."""
        message = (await self._running().call("relay", time_limit=_ANSWER_LIMIT, path=path)).message
        port = message.get("port")
        if message.get("ok") is not True or not isinstance(port, int) or not 0 < port < 1 << 16:
            raise SandboxError(f"no port of the sandbox could be had for {path}: {message.get('message')!s:.200}")
        return port

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
        self.warn(reason)

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
