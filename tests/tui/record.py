"""Records what programs print to a terminal, for the golden screens: `python -m tests.tui.record` (Linux, bubblewrap).

Run again only to add a program: each recording is fixed, so that a change of the emulator shows as a change of screens.
After it, look at the new screens before they are committed.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path

from workbench.tui.terminal.bittty_engine import BitttyEngine
from workbench.tui.terminal.engine import Row

DATA = Path(__file__).parent.parent / "data"
COLUMNS, ROWS = 100, 30

PROGRESS = r"""
import sys, time
for n in range(0, 101, 4):
    bar = "█" * (n // 4)
    sys.stdout.write(f"\r{n:3d}%|{bar:<25}| {n}/100 [00:0{n // 25}, 12.3it/s]\x1b[K"); sys.stdout.flush()
print("\nEpoch 1: \x1b[32mloss=0.314\x1b[0m \x1b[1;38;5;208macc=0.92\x1b[0m \x1b[38;2;10;200;30mok\x1b[0m 中文 é")
"""
FUNCTION = 'def function_{n}(x: int) -> int:\n    """Number {n}."""\n    return x + {n}\n\n\n'
SOURCE = "".join(FUNCTION.format(n=n) for n in range(40))

RECORDINGS: dict[str, tuple[str, list[bytes]]] = {
    "progress": ("python3 progress.py", []),
    "less": ("less source.py", [b" ", b"/function_20\r", b"q"]),
    "vim": (
        "vim -u NONE -N -c 'syntax on' -c 'set number' source.py",
        [b"\x06", b"ihello \x1b", b":set hlsearch\r/return\r", b"\x1b[B\x1b[B", b":q!\r"],
    ),
    "top": ("top -d 0.3", [b"", b"1", b"q"]),
    "colours": ("mkdir folder; ln -s folder link; chmod +x *.py; ls -l --color=always --time-style=+ . /dev/null", []),
}


def record(command: str, keys: list[bytes]) -> bytes:
    """What a command prints in a sandbox of its own, after a prompt; the keys are typed as the output falls quiet."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "progress.py").write_text(PROGRESS)
        Path(folder, "source.py").write_text(SOURCE)
        sandbox = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--clearenv"]
        sandbox += ["--bind", folder, "/tmp", "--chdir", "/tmp"]
        for name, value in {
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "HOME": "/tmp",
            "PATH": "/usr/bin:/bin",
        }.items():
            sandbox += ["--setenv", name, value]
        shell = ["bash", "-c", f"printf '$ %s\\r\\n' {command.split()[0]!r}; {command}; printf '$ '"]
        pid, master = pty.fork()
        if pid == 0:
            os.execvp(sandbox[0], [*sandbox, *shell])
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        output = bytearray()
        for key in [*keys, None]:
            output += _until_quiet(master)
            if key:
                os.write(master, key)
        os.close(master)
        os.waitpid(pid, 0)
        return bytes(output)


def _until_quiet(master: int, quiet: float = 0.6) -> bytes:
    output = bytearray()
    end = time.monotonic() + 3
    while time.monotonic() < end and select.select([master], [], [], quiet)[0]:
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        if not data:
            break
        output += data
    return bytes(output)


def last_alternate(stream: bytes) -> int:
    """Where a full-screen program leaves the alternate screen, or the end when there is none."""
    at = stream.rfind(b"\x1b[?1049l")
    return at if at >= 0 else len(stream)


def screen(stream: bytes) -> str:
    """The screen after a stream, as the golden files hold it."""
    engine = BitttyEngine(COLUMNS, ROWS)
    scrolled: list[Row] = []
    engine.on_scrolled_off = scrolled.append
    engine.feed(stream.decode("utf-8", "replace"))
    cursor, modes = engine.cursor, engine.modes
    alternate = "alternate" if modes.alternate_screen else "primary"
    return f"{engine.plain_text()}\n--- {alternate}, cursor {cursor.x},{cursor.y}, {len(scrolled)} rows scrolled off\n"


def main(names: list[str]) -> None:
    DATA.mkdir(exist_ok=True)
    for name in names or RECORDINGS:
        stream = record(*RECORDINGS[name])
        (DATA / f"{name}.bytes").write_bytes(stream)
        golden = screen(stream[: last_alternate(stream)]) + screen(stream)
        (DATA / f"{name}.screen").write_text(golden)
        print(f"== {name}: {len(stream)} bytes\n{golden}")


if __name__ == "__main__":
    main(sys.argv[1:])
