"""The screen model against a real terminal: tmux, of the agent's size."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sandbox.rendered import render
from workbench.sandbox.base import AGENT_COLUMNS, AGENT_ROWS
from workbench.sandbox.render import Renderer

CORPUS = os.environ.get("MLGYM_CORPUS", "")
RECORDINGS = sorted(Path(CORPUS, "training-output").glob("*.raw")) if CORPUS else []

pytestmark = pytest.mark.tmux

_MOVES = "A 2A B 3B C 5C D 4D K 1K 2K J 1J G 10G 119G 120G 5;10H 40;1H 38;118H L 2L M 2M X 4X S 2S T d 3d E F 2F s u Z"
_PIECES = [
    *[f"\x1b[{move}" for move in _MOVES.split()],
    *["ab", "hello", "z" * 40, "x" * 119, "x" * 120, "x" * 121, "x" * 245, "é", "█▌", "e\u0301"],
    *["\r\n", "\r\n\r\n", "\r\n" * 45, "\r", "\b", "\b\b\b", "\t", "\x1bM", "\x1bD", "\x1bE", "\x1b7", "\x1b8"],
]


class Tmux:
    """One pane. Each `show` starts with an empty terminal."""

    def __init__(self, folder: Path) -> None:
        self._name = f"mlgym-screen-{uuid.uuid4().hex[:8]}"
        self._file = folder / "printed"
        self._shown = 0
        self._run("new-session", "-d", "-x", str(AGENT_COLUMNS), "-y", str(AGENT_ROWS), "-s", "s", "sleep 1000")
        self._run("set", "-g", "status", "off")

    def _run(self, *arguments: str) -> str:
        command = ["tmux", "-L", self._name, "-f", "/dev/null", *arguments]
        environment = {**os.environ, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
        return subprocess.run(command, check=True, capture_output=True, env=environment, timeout=30).stdout.decode()

    def show(self, data: bytes, *how: str) -> list[str]:
        """The rows, without blanks at their ends, or at the end."""
        self._shown += 1
        end = f"shown {self._shown}"
        self._file.write_bytes(data + f"\x1b]2;{end}\x1b\\".encode())
        self._run("clear-history", "-t", "s")
        self._run("respawn-pane", "-k", "-t", "s", f"stty -opost; cat '{self._file}'; exec sleep 1000")
        until = time.monotonic() + 30
        while self._run("display-message", "-p", "-t", "s", "#{pane_title}").strip() != end:
            assert time.monotonic() < until
            time.sleep(0.002)
        return _rows(self._run("capture-pane", "-p", "-t", "s", *how))

    def close(self) -> None:
        self._run("kill-server")


def _rows(text: str) -> list[str]:
    rows = [row.rstrip() for row in text.split("\n")]
    while rows and not rows[-1]:
        rows.pop()
    return rows


def _spaced(text: str) -> str:
    """Tabs as the blanks that they stand for; in the last column for none."""
    lines = []
    for line in text.split("\n"):
        first, *rest = line.split("\t")
        for part in rest:
            first = first.ljust(min(len(first) // 8 * 8 + 8, AGENT_COLUMNS - 1)) + part
        lines.append(first)
    return "\n".join(lines)


@pytest.fixture(scope="module")
def tmux(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tmux]:
    made = Tmux(tmp_path_factory.mktemp("tmux"))
    yield made
    made.close()


@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(pieces=st.lists(st.sampled_from(_PIECES), min_size=3, max_size=25))
def test_any_moves_leave_the_screen_of_tmux(tmux: Tmux, pieces: list[str]) -> None:
    printed = "".join(pieces)
    renderer = Renderer()
    renderer.feed(printed)
    renderer.screen.settle()
    rows = []
    for row in renderer.screen._rows:
        row.wrapped, row.note = False, ""
        rows.append(row.text().removesuffix("\n"))
    assert _rows(_spaced("\n".join(rows))) == tmux.show(printed.encode())


@pytest.mark.parametrize(
    "printed",
    [
        "\rlr 10.0\tloss 0.1\rlr 9.9\tloss 0.2\r\n",
        "A\r\n" + "0" * 130 + "\r\n\x1b[1A\x1b[2K\x1b[1A\x1b[2Kdone\r\n",
        "val loss=0.95]\r训练 loss=0.4]\r\n",
        "x" * 119 + "训练\r\n" + "漢" * 200 + "\r\n",
        "y\r\n" * 200 + "x" * 1000 + "\r\nend",
        "\x1b[1;31mred\x1b[m\r\n\x1b[1;39r\x1b[40;1Hbar\x1b[39;1H" + "line\r\n" * 60 + "\x1b[r",
    ],
)
def test_text_with_its_scrollback_is_that_of_tmux(tmux: Tmux, printed: str) -> None:
    assert _rows(_spaced(render(printed.encode()))) == tmux.show(printed.encode(), "-J", "-S", "-")


@pytest.mark.skipif(not RECORDINGS, reason="MLGYM_CORPUS is not set: no recordings of training programs")
@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_training_programs_are_shown_as_tmux_shows_them(tmux: Tmux, path: Path) -> None:
    data = path.read_bytes()
    assert _rows(_spaced(render(data))) == tmux.show(data, "-J", "-S", "-")
