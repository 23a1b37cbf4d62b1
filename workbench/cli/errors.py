"""What goes wrong is said in a sentence or two: what happened, where, what to do next. Never a traceback."""

from __future__ import annotations

import contextlib
import errno
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from workbench.errors import WorkbenchError
from workbench.signals import say_stopped
from workbench.text import did_you_mean, visible

_FEW = 8
"""Commands of a group that are all named to who misspells one."""


class Failure(WorkbenchError):
    """A command cannot do what was asked."""


class Command(click.Command):
    """A command whose docstring is its help. The examples at the end of it are shown below the options."""

    def __init__(self, name: str | None, help: str | None = None, **more: Any) -> None:  # noqa: A002
        said, heading, examples = inspect.cleandoc(help or "").partition("\n\nExample")
        super().__init__(name, help=said, epilog=f"\b\n{heading.strip()}{examples}", **more)


class Group(Command, click.Group):
    """Commands that belong together. As the entrance, it turns exceptions into messages."""

    command_class = Command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            hint = did_you_mean(args[0], known := self.list_commands(ctx))
            if hint.startswith("did") or len(known) <= _FEW:
                raise click.UsageError(f"{error.message} {hint[0].upper()}{hint[1:]}", ctx) from error
            raise

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            say_stopped()

    def main(self, *args: Any, **kwargs: Any) -> Any:
        _have_streams()
        try:
            return super().main(*args, **kwargs)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BrokenPipeError:
            # The reader of a pipe has gone: be silent, and keep Python from complaining at exit.
            silence_output()
            sys.exit(141)
        except Exception as error:
            code = _report(error)
            try:
                sys.stdout.flush()
            except (OSError, ValueError):  # what could not be written, Python would try again at exit
                silence_output()
            sys.exit(code)


class GroupOr(Group):
    """What is none of its commands is given to `otherwise`. Options of the group hold for the command, too."""

    otherwise: click.Command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = args[0] in self.commands
        ctx.default_map = {(args[0] if known else self.otherwise.name) or "": ctx.params}
        return super().resolve_command(ctx, args) if known else (self.otherwise.name, self.otherwise, args)


def _have_streams() -> None:
    """Whoever started this may have closed its standard streams: then the next file would be taken for one."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(opened, True)
    os.close(opened)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", closefd=False))


@contextlib.contextmanager
def failing_with(exit_code: int) -> Iterator[None]:
    """Have what goes wrong end the command with another exit code than 1."""
    try:
        yield
    except WorkbenchError as error:
        error.exit_code = exit_code
        raise


def complain(message: str, hint: str = "") -> None:
    """Say on standard error what is wrong."""
    click.echo(f"mlgym-tui: {visible(message)}", err=True)
    if hint:
        click.echo(f"  → {visible(hint)}", err=True)


def silence_output() -> None:
    """Send stdout nowhere: nothing more can be written to it, and Python would complain at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(error: Exception) -> int:
    if _debug_log is not None:
        import logging

        logging.getLogger("workbench").exception("command failed", exc_info=error)
    code = 1
    if isinstance(error, WorkbenchError):
        message, hint, code = str(error), error.hint, error.exit_code
    elif isinstance(error, OSError):
        message, hint = explain_os_error(error)
    elif isinstance(error, RuntimeError) and "home directory" in str(error):  # of Path.expanduser
        message, hint = "a path begins with ~ and the name of a user who does not exist", "write the whole path"
    else:
        message = f"internal error: {type(error).__name__}: {error}"
        hint = "run the command again as `mlgym-tui --debug …` and report it with the log that it names"
    complain(message, hint)
    return code


def explain_os_error(error: OSError) -> tuple[str, str]:
    """Message and hint for the errors of the operating system that users meet."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full{where}", "free some space; what was saved before is safe"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"not allowed to write or read{where}", "choose another folder, or mend its permissions"
    return f"{error.strerror or error}{where}", ""


_debug_log: Path | None = None


def start_debug_log(context: click.Context) -> None:
    """Log to a file of its own in the state folder. Values of secret variables are replaced."""
    global _debug_log
    import logging
    import platform
    from datetime import UTC, datetime

    from workbench import __version__
    from workbench.session.secrets import Redactor, state_folder

    state = state_folder()
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = state / f"debug-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}.log"
    redactor = Redactor()

    class Redacting(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return redactor.text(super().format(record))

    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(Redacting("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG, handlers=[handler], force=True)
    path.chmod(0o600)
    log = logging.getLogger("workbench")
    log.info("mlgym-tui %s, Python %s, %s", __version__, platform.python_version(), platform.platform())
    log.info("command: %s", " ".join(sys.argv))
    log.info("TERM=%s TMUX=%s SSH=%s", os.environ.get("TERM"), "TMUX" in os.environ, "SSH_TTY" in os.environ)
    _debug_log = path
    context.call_on_close(lambda: click.echo(f"debug log: {path}", err=True))
