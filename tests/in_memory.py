"""A sandbox in the test's own process, for tests that are not about sandboxes: no guest, no room, and mostly no bash.

Its terminal answers the few words that it knows, as bash would. The first line that is more than that starts a bash on
a real pseudo-terminal, and from then on that answers. So a session stands on it as on the unprotected local sandbox,
but nobody looks for programs that outlive it or wait for input.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from tests.tasks.quick_task import quick_evaluator
from workbench.environment.assembly import Grounds
from workbench.isolation.processes import used_by
from workbench.isolation.spec import SandboxError, base_environment
from workbench.isolation.usage import Meter
from workbench.sandbox.base import (
    AGENT_COLUMNS,
    AGENT_ROWS,
    ExecResult,
    Request,
    RequestHandler,
    SandboxSpec,
)
from workbench.sandbox.channel import GuestChannel
from workbench.sandbox.guest import guest
from workbench.sandbox.guest_sandbox import GUEST_FOLDER
from workbench.sandbox.markers import bash_unquote
from workbench.sandbox.pty import DirectPty, Pty, SignalName, Waiting
from workbench.scoring import evaluation, submission_server
from workbench.scoring.evaluator import JobSpec, run_evaluator
from workbench.scoring.room import choose
from workbench.scoring.seeds import evaluation_key
from workbench.session.status import Resources
from workbench.tasks.catalogue import Task

_ACTION = re.compile(
    rb"\\builtin eval -- (\$'[^\n]*')</dev/null;\\__mlgym_a (?P<nonce>\w{18})\n\Z",
)
_START = re.compile(rb"aid=(\w{18})[^\n]*;\\builtin set \+o emacs")
_PLAIN_WORDS = re.compile(r"[\w ./,:=-]*|'[^'\n]*'")


class MemorySandbox:
    """Commands run in the workspace on the host, and the agent's shell in memory as long as that will do."""

    protected = False

    def __init__(self, spec: SandboxSpec, workspace_folder: Path) -> None:
        self.spec = spec
        self.workspace_folder = Path(workspace_folder).absolute()
        self.workspace = str(self.workspace_folder)
        self.run_folder = str(GUEST_FOLDER)
        self.on_request: RequestHandler | None = None
        self.on_warning: Callable[[str], None] | None = None
        self.measure: Callable[[], Resources] | None = Meter(lambda: used_by(os.getpid()), self.workspace_folder)
        self._folder = Path()
        self._server: asyncio.Server | None = None
        self._shells: list[MemoryPty] = []

    @property
    def env(self) -> dict[str, str]:
        """Variables of everything that runs here."""
        return {
            **base_environment(),
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._folder),
            "MLGYM_SOCKET": str(self._folder / "socket"),
            **self.spec.env,
        }

    async def start(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="mlgym-memory-"))

    async def listen(self) -> None:
        """Answer the agent commands that run as programs."""
        if self._server is None:
            self._server = await asyncio.start_unix_server(self._serve, self._folder / "socket", limit=2 << 20)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError), contextlib.closing(writer):
            asked = asyncio.ensure_future(self.ask(msgspec.json.decode(await reader.readline())))
            gone = asyncio.ensure_future(reader.read())
            await asyncio.wait({asked, gone}, return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                gone.cancel()
                writer.write(msgspec.json.encode(asked.result()) + b"\n")
                await writer.drain()
            else:
                await asked  # who asked is gone; what was asked is done all the same

    async def ask(self, request: Request) -> dict[str, Any]:
        """What the host answers to a request of an agent command."""
        assert self.on_request is not None
        try:
            return await self.on_request(request)
        except Exception as error:
            return {"ok": False, "message": str(error) or type(error).__name__}

    def describe(self) -> dict[str, Any]:
        return {"backend": "local", "isolation": "none", "protected": False, "network": True, "limits": {}}

    async def relay(self, path: str) -> int:
        raise SandboxError("nothing is relayed in memory")

    async def open_shell(
        self,
        cwd: str,
        columns: int = AGENT_COLUMNS,
        rows: int = AGENT_ROWS,
        *,
        argv: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> Pty:
        assert not argv and not env, "in memory there is a shell, and no other program"
        shell = MemoryPty(self, cwd, (columns, rows))
        self._shells.append(shell)
        return cast(Pty, shell)

    async def exec(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        cwd: str | None = None,
        time_limit: float = 60.0,
        max_output: int = 16 << 20,
    ) -> ExecResult:
        await self.listen()
        pipe = subprocess.PIPE
        folder = cwd or self.workspace
        program = await asyncio.create_subprocess_exec(
            *argv, stdin=pipe, stdout=pipe, stderr=pipe, cwd=folder, env=self.env, start_new_session=True
        )
        try:
            async with asyncio.timeout(time_limit):
                out, err = await program.communicate(stdin)
        except TimeoutError:
            os.killpg(program.pid, signal.SIGKILL)
            await program.wait()
            return ExecResult(137, b"", b"", timed_out=True)
        code = program.returncode or 0
        return ExecResult(code if code >= 0 else 128 - code, out[:max_output], err[:max_output])

    async def stop(self) -> None:
        for shell in self._shells:
            await shell.close()
        if self._server is not None:
            self._server.close()
        if self._folder != Path():
            shutil.rmtree(self._folder, ignore_errors=True)


class MemoryPty:
    """A terminal with nothing behind it until a line needs a bash."""

    def __init__(self, sandbox: MemorySandbox, cwd: str, size: tuple[int, int]) -> None:
        self._sandbox, self._size = sandbox, size
        self._cwd = cwd if os.path.isdir(cwd) else sandbox.workspace
        self.on_output: Callable[[bytes], None] | None = None
        self.on_exit: Callable[[int], None] | None = None
        self._first = b""
        self._prompt = b""
        self._queue: list[bytes] = []
        self._asking: asyncio.Task[None] | None = None
        self._real: _Bash | None = None
        self._starting: bytearray | None = None
        """What a bash has printed that has not prompted yet. What is typed at it before would be echoed, or lost."""
        self._ended = False

    # -- what is typed -------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self._asking is not None or self._starting is not None:
            self._queue.append(data)  # as a terminal keeps what is typed ahead
        elif self._real is not None:
            self._real.pty.write(data)
        elif not self._first:
            self._begin(data)
        else:
            found = _ACTION.fullmatch(data)
            if found is None or not self._answer(bash_unquote(found[1]), found["nonce"]):
                self._start_bash()
                self.write(data)

    def _begin(self, line: bytes) -> None:
        """The line that a fresh bash is given: its marks are answered, and go around each prompt."""
        self._first = line
        nonces = re.findall(rb"aid=(\w{18})", line)
        self._prompt = nonces[0]
        self._later(self._end_mark(nonces[-1], 0))

    def _answer(self, script: str, nonce: bytes) -> bool:
        """Do what an action says, where that is one of the few words known here; else False, and nothing is done."""
        before, after = f"\\__mlgym_s {nonce.decode()};", f"\n\\__mlgym_e {nonce.decode()}"
        if not (script.startswith(before) and script.endswith(after)):
            return False
        action = script[len(before) : -len(after)].strip()
        word, _, rest = action.partition(" ")
        if not _PLAIN_WORDS.fullmatch(rest):
            return False
        text, status = "", 0
        if word == "echo" and not rest.startswith("-"):
            text = " ".join(shlex.split(rest)) + "\n"
        elif action in ("true", "false"):
            status = int(action == "false")
        elif action == "pwd":
            text = self._cwd + "\n"
        elif action in ("validate", "submit"):
            self._asking = asyncio.ensure_future(self._ask(action, nonce))
            return True
        else:
            return False
        self._over(nonce, text, status)
        return True

    async def _ask(self, request: str, nonce: bytes) -> None:
        status, text = 130, ""
        self._later(b"\x1b]133;C;aid=%b\x07" % nonce)
        with contextlib.suppress(asyncio.CancelledError):
            reply = await self._sandbox.ask({"request": request})
            text, status = str(reply.get("text", reply.get("message", ""))), int(reply.get("exit_code", 1))
            text = text if not text or text.endswith("\n") else text + "\n"
        self._asking = None
        if not self._ended:
            self._over(nonce, text, status)
            self._type_queue()

    def _over(self, nonce: bytes, text: str, status: int) -> None:
        output = text.replace("\n", "\r\n").encode("utf-8", "surrogateescape")
        self._later(b"\x1b]133;C;aid=%b\x07" % nonce + output + self._end_mark(nonce, status))

    def _end_mark(self, nonce: bytes, status: int) -> bytes:
        cwd = shlex.quote(self._cwd).replace("'", "").encode() if " " not in self._cwd else b""
        before, after = (b"\x1b]133;%b;aid=%b\x07" % (kind, self._prompt) for kind in (b"A", b"B"))
        return b"\x1b]133;D;%d;aid=%b;cwd=%b\x07" % (status, nonce, cwd) + before + b"$ " + after

    def _later(self, data: bytes) -> None:
        """The terminal prints, but not before the one who typed is done typing."""
        asyncio.get_running_loop().call_soon(self._print, data)

    def listen(self, on_output: Callable[[bytes], None], on_exit: Callable[[int], None]) -> None:
        self.on_output, self.on_exit = on_output, on_exit

    def _print(self, data: bytes) -> None:
        if self.on_output is not None and not self._ended:
            self.on_output(data)

    def _start_bash(self) -> None:
        self._real = _Bash(self._sandbox, self._cwd, self._size)
        self._real.pty.listen(self._until_it_prompts, self._exited)
        self._starting = bytearray()
        self._real.pty.reset_modes(echo=False)
        self._real.pty.write(self._first)

    def _until_it_prompts(self, data: bytes) -> None:
        self._print(data)
        assert self._real is not None and self._starting is not None
        self._starting += data
        *_, done = re.findall(rb"aid=(\w{18})", self._first)
        _, found, after = self._starting.partition(b"\x1b]133;D;0;aid=%b" % done)
        if found and b"\x1b]133;B;aid=%b\x07" % self._prompt in after:
            self._starting = None
            self._real.pty.listen(self._print, self._exited)
            self._type_queue()

    def _type_queue(self) -> None:
        typed, self._queue = self._queue, []
        for data in typed:
            self.write(data)

    # -- the rest ------------------------------------------------------------------------------------------------------

    def _exited(self, status: int) -> None:
        if not self._ended:
            self._ended = True
            if self.on_exit is not None:
                self.on_exit(status)

    def pause_reading(self) -> None:
        if self._real is not None:
            self._real.pty.pause_reading()

    def resume_reading(self) -> None:
        if self._real is not None:
            self._real.pty.resume_reading()

    def resize(self, columns: int, rows: int) -> None:
        self._size = (columns, rows)
        if self._real is not None:
            self._real.pty.resize(columns, rows)

    def reset_modes(self, *, echo: bool = True) -> None:
        if self._real is not None:
            self._real.pty.reset_modes(echo=echo)

    async def processes(self) -> list[tuple[int, int, str]]:
        return []

    async def signal(self, name: SignalName) -> None:
        if self._real is not None:
            self._real.signal(name)
        elif self._asking is not None:
            self._asking.cancel()

    async def unblock(self) -> None:
        if self._real is not None:
            await self._real.pty.unblock()

    async def waiting(self) -> Waiting | None:
        return await self._real.pty.waiting() if self._real is not None else None

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
        if self._real is not None:
            await self._real.pty.close()
        self._exited(137)


class _Bash(guest.Shell):
    """A bash on a pseudo-terminal that this process holds; signals and all that as the guest does them."""

    def __init__(self, sandbox: MemorySandbox, cwd: str, size: tuple[int, int]) -> None:
        self.status = None
        self.master, self.slave = os.openpty()
        guest.set_size(self.master, *size)
        guest.reset_terminal(self.master)
        terminal = os.ttyname(self.slave)
        # A leader of a session that opens a terminal has it from then on: no code of ours runs between fork and exec.
        script = 'exec 0<>"$0" 1>&0 2>&0; exec /bin/bash --rcfile "$1" -i'
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", script, terminal, f"{sandbox.run_folder}/bashrc"],
            stdin=subprocess.DEVNULL,
            cwd=cwd,
            env=sandbox.env,
            start_new_session=True,
        )
        self.pid = self._process.pid
        listening = asyncio.ensure_future(sandbox.listen())
        self._keep = listening
        self._watched = os.pidfd_open(self.pid)
        asyncio.get_running_loop().add_reader(self._watched, self._on_end)
        channel = SimpleNamespace(call=self._call)
        self.pty = DirectPty(cast(GuestChannel, channel), 1, os.dup(self.master))

    async def _call(self, op: str, **fields: object) -> SimpleNamespace:
        return SimpleNamespace(message=getattr(self, "do_" + op)(0, fields))

    def do_close_shell(self, request: int, message: dict[str, Any]) -> dict[str, Any]:
        self.kill_session()
        self._on_end()
        return {}

    def _on_end(self) -> None:
        """Bash is dead, or about to be."""
        if self.status is not None:
            return
        code = self._process.wait()
        self.status = code if code >= 0 else 128 - code
        asyncio.get_running_loop().remove_reader(self._watched)
        os.close(self._watched)
        self.close_slave()
        os.close(self.master)
        self.pty.shell_exited(self.status)


# --- evaluations ------------------------------------------------------------------------------------------------------

_HARMLESS = re.compile(rb"def row_strategy\(history\):\n    return \d\n")


_SAID = {"landlock": "reduced isolation: landlock", "reduced": "reduced isolation"}


async def evaluate_here(
    task: Task, artifact: bytes | Path | None, *, seed: int, secret: bytes | None = None, **options: Any
) -> evaluation.Evaluation:
    """`evaluate`, but where a quick task is given a strategy that can do no harm, threads are evaluator and server."""
    harmless = isinstance(artifact, bytes) and _HARMLESS.fullmatch(artifact)
    if not harmless or task.evaluator.read_text() != quick_evaluator():
        return await evaluation.evaluate(task, artifact, seed=seed, secret=secret, **options)
    assert isinstance(artifact, bytes)
    began, digest = time.monotonic(), hashlib.sha256(artifact).hexdigest()
    split, progress, loop = options.get("split", "test"), options.get("progress"), asyncio.get_running_loop()

    def write(message: dict[str, Any]) -> None:
        if progress is not None and "progress" in message:
            loop.call_soon_threadsafe(progress, *message["progress"])

    spec = evaluation._job(task, split, evaluation_key(seed, secret, task.id, digest), {})
    result = await asyncio.to_thread(_evaluated, spec, artifact, write)
    return evaluation.Evaluation(
        verdict="ok",
        metrics=result["metrics"],
        score=result["metrics"][task.primary_metric.name],
        standard_error=result["standard_error"],
        isolation=_SAID.get(await choose(options.get("room", "auto")), "sandbox"),
        artifact=digest,
        duration=time.monotonic() - began,
        split=split,
    )


def _evaluated(spec: JobSpec, source: bytes, write: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        playing = threading.Thread(target=_play, args=(theirs, source), daemon=True)
        playing.start()
        result = run_evaluator(spec, [ours], b"", write)
        ours.shutdown(socket.SHUT_RDWR)
        playing.join()
        return result


def _play(channel: socket.socket, source: bytes) -> None:
    channel.sendall(b"hello\n")
    if submission_server.told_to_load(channel):
        names: dict[str, Any] = {}
        exec(source, names)
        channel.sendall(b"ready\n")
        submission_server.serve(channel.recv, channel.sendall, names["row_strategy"], "strategy.py", "strategy.py")


IN_MEMORY = Grounds(MemorySandbox, evaluate_here)
