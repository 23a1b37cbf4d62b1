"""An agent program in the session's sandbox: how it is started beside the shell, what it is told, and its end.

It runs on a terminal of its own. Of the machine it sees what any command of the sandbox sees, its own folders
(read-only), and a folder with the gateway's socket and the task; a port of the sandbox's own 127.0.0.1 leads to that
socket, and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from workbench.agents.models.keys import SERVER_VARIABLE, VARIABLES
from workbench.gateway.finding import INTERPRETERS, NotFound, Program, check_mount, find_program, first_word
from workbench.isolation.spec import RUN_FOLDER, SandboxError, describe_status
from workbench.isolation.temporary import OwnedFolder, short_base
from workbench.sandbox.base import Sandbox, SandboxSpec
from workbench.sandbox.local import LocalSandbox
from workbench.sandbox.pty import Pty
from workbench.session.secrets import secret_values
from workbench.session.spec import SessionSpec

_KEYS = {*(name for names in VARIABLES.values() for name in names), SERVER_VARIABLE, "ANTHROPIC_AUTH_TOKEN"}
INSIDE = f"{RUN_FOLDER}/agent"
"""The folder with socket and task, as a sandbox has it."""
SOCKET, TASK, START = "gateway", "task.md", "start"
_LONGEST_VARIABLE = 100_000
"""Bytes. The kernel takes no variable over 128 KiB."""
_DEEPEST, _LONGEST_LINE = 12, 200
"""Processes within another, and characters, that are shown."""
_REFUSED, _GONE = 126, 127
"""Exit statuses of a shell that cannot run a program, and of one that does not find it."""
_QUIET = "exec </dev/null\n"
"""Nobody types into the program's terminal: what asks there finds the end of its input, instead of waiting."""
_START = f"""\
if [ -n "${{PYTHONPATH-}}" ]; then
  mkdir -p ~/.mlgym/python
  for name in python python3; do
    printf '#!/bin/sh\\nPYTHONPATH=%s exec %s "$@"\\n' "$PYTHONPATH" "$(command -v $name)" >~/.mlgym/python/$name
    chmod +x ~/.mlgym/python/$name
  done
  PATH=~/.mlgym/python:$PATH
  unset PYTHONPATH
fi
{_QUIET}"""
"""Before a command. The task's packages are for the sandbox's Python: the program's own must not meet them."""
_ABOUT = """
## Scoring

Two programs are on PATH. `validate` scores the work as it is, and can be run again and again; `submit` hands it in and
ends the session. Both take no arguments and are run in any folder.
"""


def read_settings(given: Sequence[str]) -> dict[str, str]:
    """The variables of `--agent-env NAME=VALUE`. Raises NotFound for what is none, and for a key."""
    keys, found = secret_values(), dict[str, str]()
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise NotFound(
                f"--agent-env {text.partition('=')[0][:40]!r}: a setting is NAME=VALUE", "--agent-env DEBUG=1"
            )
        if name in _KEYS or value.strip() in keys:
            raise NotFound(
                f"--agent-env {name}: keys never enter a sandbox",
                "leave it out: the gateway has the key, and the program is given one for this session alone",
            )
        found[name] = value
    return found


class AgentProgram:
    """The program that a session's `agent_command` names, from its start to its end."""

    def __init__(self, spec: SessionSpec, *, installed_inside: bool = False) -> None:
        """`installed_inside`: it is in the sandbox already (an image), or runs without one. Raises NotFound."""
        self.command = spec.agent_command
        self.on_host = spec.agent_on_host
        """It runs on this machine, with all rights of its user."""
        self._settings = read_settings(spec.agent_env)
        self.given = tuple(dict.fromkeys(check_mount(Path(folder)) for folder in spec.agent_mount))
        """Folders of the machine that it sees, besides its own."""
        self.program: Program | None = None
        self.status: int | None = None
        """Its exit status, once it has ended."""
        self.on_end: Callable[[str], None] = lambda how: None
        """Told how it ended, in words."""
        self._folder = OwnedFolder("guest", short_base())
        self.offered = self._folder.path / "agent"
        """The folder with socket and task, as this machine has it."""
        self._pty: Pty | None = None
        self._host: LocalSandbox | None = None
        try:
            self.offered.mkdir(mode=0o755)
            self.offered.chmod(0o755)
            if not (installed_inside or self.on_host):
                self.program = find_program(self.command)
                self._check_scripts(self.program)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove what was made for one that is not started."""
        self._folder.remove()

    def _check_scripts(self, program: Program) -> None:
        for script in program.scripts:
            if not any(script.is_relative_to(folder) for folder in (*program.folders, *self.given)):
                raise NotFound(
                    f"{script} cannot be seen in the sandbox",
                    f"--agent-mount {shlex.quote(str(script.parent))} has it seen there, read-only",
                )

    @property
    def not_run(self) -> bool:
        """Whether its exit status says that a shell could not run it, or something that it needs."""
        return self.status in (_REFUSED, _GONE)

    @property
    def name(self) -> str:
        """How lists call it."""
        with contextlib.suppress(NotFound):
            return os.path.basename(first_word(self.command))
        return "program"

    @property
    def mounts(self) -> dict[Path, str]:
        """Host folder → path inside, for the sandbox."""
        own = self.program.folders if self.program is not None else ()
        return {self.offered: INSIDE, **{folder: str(folder) for folder in (*own, *self.given)}}

    @property
    def socket(self) -> Path:
        """Where the gateway must listen before `start`."""
        return self.offered / SOCKET

    def described(self) -> list[str]:
        """What is started and what it sees, in sentences."""
        said = self.program.described() if self.program is not None else []
        if self.given:
            said.append(f"it also sees, read-only: {', '.join(map(str, self.given))}")
        if self.on_host:
            said.append(
                "the agent program runs on this machine, with all your rights: nothing keeps it from your files"
            )
        return said

    async def start(
        self,
        sandbox: Sandbox,
        task: str,
        variables: Callable[[str], Mapping[str, str]],
        show: Callable[[bytes], None],
    ) -> None:
        """Start it in `sandbox`, which is up, with the gateway at `socket`. `variables` are those that name the gateway
        at an address. Raises SandboxError.
        """
        text = task.rstrip() + "\n" + _ABOUT
        self._offer(TASK, text)
        where = await self._host_beside(sandbox) if self.on_host else sandbox
        folder = INSIDE if where.protected else str(self.offered)
        port = await where.relay(f"{folder}/{SOCKET}")
        env = {
            **variables(f"http://127.0.0.1:{port}"),
            "MLGYM_TASK_FILE": f"{folder}/{TASK}",
            **({"MLGYM_TASK": text} if len(text.encode()) < _LONGEST_VARIABLE else {}),
            **self._settings,
        }
        show(f"\n$ {self.command}\n".replace("\n", "\r\n").encode())
        self._offer(START, self._script(confined=where.protected))
        argv = ["/bin/bash", f"{folder}/{START}"]
        self._pty = pty = await where.open_shell(where.workspace, argv=argv, env=env)
        pty.listen(show, self._ended)

    def _offer(self, name: str, text: str) -> None:
        path = self.offered / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)

    async def _host_beside(self, sandbox: Sandbox) -> LocalSandbox:
        """A guest on this machine, in the workspace of the sandbox: it ends with us, and the program with it."""
        mine = {name: os.environ[name] for name in ("HOME", "PATH", "USER", "LOGNAME", "LANG") if name in os.environ}
        self._host = LocalSandbox(SandboxSpec(session="agent", env=mine), sandbox.workspace_folder, "none")
        self._host.on_request, self._host.on_warning = sandbox.on_request, sandbox.on_warning
        await self._host.start()
        return self._host

    def _script(self, *, confined: bool) -> str:
        """What bash runs: the command, its first word standing for the program that was found."""
        command, program = self.command, self.program
        start = _START if confined else _QUIET
        if program is not None:
            inside = shlex.quote(str(program.inside))
            if "/" not in program.word:
                start += f'function {program.word} {{ {inside} "$@"; }}\n'
            elif str(program.inside) != program.word:
                command = command.replace(program.word, inside, 1)
            start += "".join(f"PATH=$PATH:{shlex.quote(str(folder))}\n" for folder in program.beside)
        return f"{start}eval {shlex.quote(command)}"

    def _ended(self, status: int) -> None:
        self.status = status
        how = f"the agent program ended with {describe_status(status)}"
        if status == _GONE:
            how += ": a program was not found in the sandbox (--agent-mount DIR has more of this machine seen there)"
        self.on_end(how)

    async def processes(self) -> list[tuple[int, int, str]]:
        """What runs of it: process, parent, command line; first the shell that began it."""
        with contextlib.suppress(SandboxError):
            return await self._pty.processes() if self._pty is not None else []
        return []

    async def running(self) -> str:
        """What runs of it, in a line."""
        return in_a_line((await self.processes())[1:])

    async def stop(self) -> None:
        """Kill it, and remove what was made for it. Can be called twice."""
        pty, self._pty = self._pty, None
        if pty is not None and self.status is None:
            self.on_end = lambda how: None
            with contextlib.suppress(SandboxError):
                await pty.close()
        if self._host is not None:
            await self._host.stop()
        await asyncio.to_thread(self._folder.remove)


def in_a_line(processes: Sequence[tuple[int, int, str]]) -> str:
    """A tree of processes (process, parent, command line; parents first): each behind the one that began it."""
    below: dict[int, list[int]] = {}
    words, roots = dict[int, str](), list[int]()
    for pid, parent, command in processes:
        words[pid] = _called(command)
        (below.setdefault(parent, []) if parent in words else roots).append(pid)

    def shown(pid: int, depth: int) -> str:
        children = [shown(child, depth + 1) for child in below.get(pid, ())] if depth < _DEEPEST else []
        inner = children[0] if len(children) == 1 else f"({', '.join(children)})" if children else ""
        return f"{words[pid]} ▸ {inner}" if inner else words[pid]

    line = ", ".join(shown(pid, 0) for pid in roots)
    return line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 1] + "…"


def _called(command: str) -> str:
    """A process as people call it: its program, and of an interpreter the script that it runs."""
    first, *rest = command.split() or ["?"]
    name = os.path.basename(first)
    script = next((word for word in rest if not word.startswith("-")), "")
    return os.path.basename(script) if script and INTERPRETERS.match(name) and "-c" not in rest[:3] else name
