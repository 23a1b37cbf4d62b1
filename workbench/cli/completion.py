"""completion: what a shell offers for a tab. Installed once, as a file that the shell reads when it starts."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from workbench.cli.errors import Command, Failure, Group
from workbench.cli.options import json_option
from workbench.cli.output import print_json

_SHELLS = ("bash", "zsh", "fish")
_BEGIN, _END = "# >>> mlgym-tui completion >>>", "# <<< mlgym-tui completion <<<"

_shell_argument = click.argument("shell", type=click.Choice(_SHELLS), required=False)


@click.group(cls=Group)
def completion() -> None:
    """Have the tab key complete commands, options and ids.

    Examples:
      mlgym-tui completion install
      mlgym-tui completion uninstall
    """


@completion.command(cls=Command)
@_shell_argument
@json_option
def install(shell: str | None, as_json: bool) -> None:
    """Install it for SHELL (bash, zsh or fish; else yours).

    One file for the shell to read, and for bash and zsh a marked line in .bashrc or .zshrc that reads it. `uninstall`
    removes both.

    Examples:
      mlgym-tui completion install
      mlgym-tui completion install zsh
    """
    shell = shell or _own_shell()
    script, start = _script_file(shell), _start_file(shell)
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(_script(shell), encoding="utf-8")
    if start is not None:
        before = _without_block(start)
        quoted = shlex.quote(str(script))
        block = f"{_BEGIN}\n[ -r {quoted} ] && . {quoted}\n{_END}\n".encode()
        _write(start, before + (b"" if not before or before.endswith(b"\n") else b"\n") + block)
    if as_json:
        print_json({"shell": shell, "script": script, "start_file": start})
        return
    click.echo(f"wrote {script}" + (f", which a line at the end of {start} reads" if start is not None else ""))
    click.echo(f"new shells complete mlgym-tui; undo it with: mlgym-tui completion uninstall {shell}")


@completion.command(cls=Command)
@_shell_argument
@json_option
def uninstall(shell: str | None, as_json: bool) -> None:
    """Take it away from SHELL again (bash, zsh or fish; else yours).

    Example:
      mlgym-tui completion uninstall
    """
    shell = shell or _own_shell()
    script, start = _script_file(shell), _start_file(shell)
    there = script.exists()
    script.unlink(missing_ok=True)
    if start is not None and start.exists():
        rest = _without_block(start)
        there = there or rest != start.read_bytes()
        _write(start, rest)
    if as_json:
        print_json({"shell": shell, "removed": there})
    else:
        click.echo(f"removed from {shell}" if there else f"nothing is installed for {shell}")


@completion.command(cls=Command)
@_shell_argument
@json_option
def show(shell: str | None, as_json: bool) -> None:
    """Print the script that SHELL would read, and install nothing.

    Example:
      mlgym-tui completion show zsh > ~/.zfunc/_mlgym-tui
    """
    shell = shell or _own_shell()
    print_json({"shell": shell, "script": _script(shell)}) if as_json else click.echo(_script(shell), nl=False)


def _own_shell() -> str:
    name = Path(os.environ.get("SHELL", "")).name
    if name not in _SHELLS:
        raise Failure(f"your shell ({name or '$SHELL is not set'}) is none of {', '.join(_SHELLS)}", "name one", 2)
    return name


def _script(shell: str) -> str:
    from click.shell_completion import get_completion_class

    from workbench.cli import main

    made = get_completion_class(shell)
    assert made is not None
    complete = made(main, {}, "mlgym-tui", "_MLGYM_TUI_COMPLETE")
    script = complete.source_template % complete.source_vars()
    if shell == "zsh":  # whose completion is off until somebody turns it on
        head, _, rest = script.partition("\n")
        script = f"{head}\n(( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit -i; }}\n{rest}"
    return script.rstrip("\n") + "\n"


def _home(variable: str, fallback: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / fallback)


def _script_file(shell: str) -> Path:
    if shell == "fish":
        return _home("XDG_CONFIG_HOME", ".config") / "fish" / "completions" / "mlgym-tui.fish"
    return _home("XDG_DATA_HOME", ".local/share") / "mlgym-tui" / f"completion.{shell}"


def _start_file(shell: str) -> Path | None:
    """What the shell reads at its start; fish finds the script by itself."""
    if shell == "fish":
        return None
    return Path.home() / ".bashrc" if shell == "bash" else _home("ZDOTDIR", "") / ".zshrc"


def _without_block(file: Path) -> bytes:
    """What the file holds besides our lines. Raises Failure where only a half of them is there."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return b""
    begin, end = _BEGIN.encode() + b"\n", _END.encode() + b"\n"
    head, found, rest = data.partition(begin)
    if not found:
        return data
    _, closed, tail = rest.partition(end)
    if not closed:
        raise Failure(f"in {file} there is `{_BEGIN}` without its end", "take that line out by hand")
    return head + tail


def _write(file: Path, data: bytes) -> None:
    """In place: the file may be a link into somebody's collection of dotfiles."""
    with open(os.open(file, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as out:
        out.write(data)
        out.truncate()
