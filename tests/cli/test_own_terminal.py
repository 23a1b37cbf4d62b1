"""A person works in the sandbox's shell with their own terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import termios
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.in_memory import IN_MEMORY
from tests.runner.rig import GOOD, wait_for
from tests.tasks.quick_task import make_quick_task
from workbench.cli.own_terminal import Harmless, OwnTerminal
from workbench.runner.runner import Runner
from workbench.runner.start import start
from workbench.session.spec import SessionSpec
from workbench.tui.source import LiveSource

BAD = "printf 'def row_strategy(history):\\n    return 1\\n' > strategy.py"


class AtWork:
    """A session, and the person's end of the terminal that it has."""

    def __init__(self, runner: Runner, ours: int, theirs: int) -> None:
        self.runner, self.state = runner, runner.state
        self._ours, self._printed = ours, b""
        self.before = termios.tcgetattr(theirs)
        self.running = asyncio.ensure_future(OwnTerminal(LiveSource(runner), os.ttyname(theirs)).run())
        asyncio.get_running_loop().add_reader(ours, self._read)

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            self._printed += os.read(self._ours, 1 << 16)

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    async def sees(self, text: str, times: int = 1) -> None:
        """Until so much was printed, counted from what was seen last."""

        def seen() -> bool:
            plain = re.sub(rb"\x1b\[[\d;?]*[A-Za-z]", b"", self._printed)
            return plain.count(text.encode()) >= times

        try:
            await wait_for(seen, f"in the terminal: {text}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._printed.decode(errors='replace')}") from None
        self._printed = b""

    async def phase(self, phase: str) -> None:
        await wait_for(lambda: self.runner.status.phase == phase, f"phase {phase}")


@contextlib.asynccontextmanager
async def at_work(root: Path) -> AsyncIterator[AtWork]:
    spec = SessionSpec(
        task=str(make_quick_task(root / "quick-task").folder), model="human", mode="human", unsafe_local=True,
        interactive=True, person="ann", interface="shell",
    )  # fmt: skip
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (30, 100))
    work = AtWork(start(spec, root / "sessions", grounds=IN_MEMORY), ours, theirs)
    try:
        yield work
    finally:
        if not work.running.done():
            work.runner.controls.stop("stopped", "the test is over")
        await asyncio.wait({work.running}, timeout=50)
        asyncio.get_running_loop().remove_reader(ours)
        assert termios.tcgetattr(theirs) == work.before, "the terminal is as it was"
        os.close(ours)
        os.close(theirs)


async def test_what_is_typed_is_a_step_and_ctrl_bracket_pauses_and_leaves(tmp_path: Path) -> None:
    async with at_work(tmp_path) as work:
        await work.sees("ctrl+]")
        await work.phase("human")
        work.type("echo $((6 * 7)); tput cols\r")
        await work.sees("42\r\n100")
        await wait_for(lambda: work.state.steps[-1].over, "the step")
        assert (work.state.current.author, work.state.current.observation) == ("human:ann", "42\n100\n")
        work.type("\x1d")
        await work.sees("leave (saved")
        work.type("levae\r")
        await work.sees("none of leave, pause and enter")
        work.type("pause\r")
        await work.sees("the clock stands still")
        assert work.runner.live.clock.paused
        work.type("lunch\r")
        await wait_for(lambda: work.state.clock.reason == "lunch", "the reason")
        await work.sees("the clock stands still")
        work.type("\r")
        await work.phase("human")
        work.type("exit\r")
        await work.sees("the shell ended, and a new one is there")
        work.type("\r")
        work.type("echo on\r")
        await wait_for(lambda: work.state.current.observation == "on\n", "the next command")
        work.type("\x1d")
        await work.sees("leave (saved")
        work.type("leave\r")
        ended = await work.running
    assert ended is not None and (ended.exit_status, ended.reason) == ("interrupted", "its user left")
    assert work.state.started is not None and work.state.started.interface == "shell"


async def test_a_question_takes_the_keys_until_it_is_answered_by_a_word(tmp_path: Path) -> None:
    async with at_work(tmp_path) as work:
        await work.phase("human")
        work.type(f"{GOOD}; validate\r")
        await wait_for(lambda: work.state.validations, "a score")
        work.type(f"{BAD}; submit\rls\r")
        await work.sees("Type yes or no")
        work.type("y\r")
        await work.sees("Type yes or no")
        assert work.runner.status.question
        work.type("nono\x7f\x7f\x15yes\r")
        ended = await work.running
    assert ended is not None and ended.exit_status == "submitted"
    assert work.state.scores_until()[-1].instead == 1


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        (b"plain \xc3\xa9 \x1b[1mbold\x1b[0m\r\n", b"plain \xc3\xa9 \x1b[1mbold\x1b[0m\r\n"),
        (b"a\x1b]52;c;aGFjaw==\x07b", b"ab"),
        (b"a\x1b]0;title\x1b\\b\x1bPq#0\x1b\\c\x1b_G\x1b\\d", b"abcd"),
        (b"a\xc2\x9d52;c;x\x07b", b"a52;c;x\x07b"),
        (b"a\x1b]8;;http://x\x1b[31mb", b"a\x1b[31mb"),
    ],
)
def test_sequences_that_hold_strings_do_not_reach_the_terminal(printed: bytes, shown: bytes) -> None:
    assert Harmless().of(printed) == shown
    bytewise = Harmless()
    assert b"".join(bytewise.of(bytes([byte])) for byte in printed) == shown


def test_a_string_without_an_end_takes_no_memory() -> None:
    filtered = Harmless()
    assert filtered.of(b"a\x1b]52;c;") == b"a"
    for _ in range(50):
        assert filtered.of(b"x" * (1 << 16)) == b""
    assert len(filtered._rest) <= 1 << 19
    assert filtered.of(b"\x07b") == b"b"
