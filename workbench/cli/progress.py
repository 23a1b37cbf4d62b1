"""What long commands of the command line share: a line of progress, ctrl+c, and the options that choose the data."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import click

from workbench.cli.output import harmless

if TYPE_CHECKING:
    from workbench.tasks.catalogue import Task
    from workbench.tasks.datasets import Prepared

_Result = TypeVar("_Result")
_Function = Callable[..., Any]


def data_options(function: _Function) -> _Function:
    """`--dataset` and `--protocol`."""
    tiny = click.option(
        "--dataset", type=click.Choice(["tiny"]), help="tiny: the small generated stand-in for the task's data."
    )
    mlgym = click.option(
        "--protocol", type=click.Choice(["mlgym"]), help="mlgym: `validate` scores the test data, by MLGym's metric."
    )
    return tiny(mlgym(function))


def gpu_options(function: _Function) -> _Function:
    """`--gpus` and `--share-gpus`."""
    which = click.option(
        "--gpus",
        default="",
        metavar="N|I,I|none",
        help="GPUs of the sandbox: how many (2), which (0,1 or 3,), or none; else as many as the task needs.",
    )
    share = click.option("--share-gpus", is_flag=True, help="Take GPUs that other sessions have, too.")
    return which(share(function))


class ProgressLine:
    """One line of standard error that is written over and over; nothing where that is no terminal."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def __call__(self, fraction: float, text: str) -> None:
        if self._shown:
            share = f" {fraction:.0%}" if fraction > 0 else ""
            room = shutil.get_terminal_size().columns - len(share) - 1  # a line that wraps is not written over
            click.echo(f"\r\x1b[K{harmless(text)[:room]}{share}", nl=False, err=True)

    def clear(self) -> None:
        """Take it off the screen."""
        if self._shown:
            click.echo("\r\x1b[K", nl=False, err=True)


@contextmanager
def progress_line() -> Iterator[ProgressLine]:
    """A line of progress, gone at the end."""
    line = ProgressLine()
    try:
        yield line
    finally:
        line.clear()


@contextmanager
def stoppable(kept: Callable[[], str] | None = None) -> Iterator[None]:
    """Around blocking work: ctrl+c, SIGTERM and SIGHUP undo it and end the command with exit code 128 + n.

    `kept` says what stays of it.
    """
    import signal

    received: list[int] = []

    def stop(number: int, _frame: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    ending = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is signal.SIG_DFL]
    for each in ending:
        signal.signal(each, stop)
    try:
        yield
    except KeyboardInterrupt:
        said = kept() if kept is not None else ""
        click.echo(f"\nstopped{f': {said}' if said else ''}", err=True)
        sys.exit(128 + received[0] if received else 130)
    finally:
        for each in ending:
            signal.signal(each, signal.SIG_DFL)


def prepare_data(task: Task, progress: ProgressLine) -> dict[str, Prepared]:
    """Prepare the task's data; it can be stopped, and says then what is kept. Raises TaskError or OSError."""
    from workbench.tasks.datasets import datasets_of, needs_network, prepare_task
    from workbench.tasks.errors import TaskError

    def kept() -> str:
        with suppress(TaskError, OSError):
            if any(needs_network(dataset, task.variant) for dataset in datasets_of(task)):
                return "what was fetched is kept, and the same command goes on with it"
        return "nothing of what was being prepared is left, and the same command begins it anew"

    with stoppable(kept):
        return prepare_task(task, progress)


def prepare_first(task: Task, progress: ProgressLine) -> None:
    """Prepare the task's data now, where it can be stopped; what is in the way is said by whoever needs them."""
    from workbench.tasks.errors import TaskError

    with suppress(TaskError, OSError):
        prepare_data(task, progress)


def run_stoppable(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run it; ctrl+c ends it and all that it started, and the command with exit code 130 (SIGTERM and SIGHUP alike)."""
    import asyncio
    import signal

    received: list[int] = []

    async def stoppable() -> _Result:
        loop, this = asyncio.get_running_loop(), asyncio.current_task()
        assert this is not None

        def stop(number: int) -> None:
            received.append(number)
            this.cancel()

        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(each) is not signal.SIG_IGN:
                loop.add_signal_handler(each, stop, each)
        return await work

    try:
        return asyncio.run(stoppable())
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo("\nstopped", err=True)
        sys.exit(128 + received[0] if received else 130)
