"""Strategies that misbehave, and the verdict that each must get. All of them would like to be "always 0", or better."""

from __future__ import annotations

from dataclasses import dataclass

ALWAYS_0 = "def row_strategy(history):\n    return 0\n"


@dataclass(frozen=True)
class Hostile:
    """A strategy, the verdict, and words that the message must have. With `ok` the score must be that of ALWAYS_0.

    Its limits are short where one is what ends it; elsewhere no machine is so slow that they would.
    """

    name: str
    source: str | bytes
    verdict: str
    words: tuple[str, ...] = ()
    answer: float = 30
    loading: float = 30
    seconds: float = 30


def body(*lines: str, before: str = "") -> str:
    """A strategy with these lines in its function."""
    return before + "def row_strategy(history):\n" + "".join(f"    {line}\n" for line in lines)


CASES = [
    Hostile("is fair", ALWAYS_0, "ok"),
    Hostile("prints", body("print('{\"Score\": 99}' * 99)", "return 0"), "ok"),
    Hostile(
        "floods standard error",
        body("sys.stderr.write('x' * 200_000)", "return 0", before="import sys\n"),
        "ok",
    ),
    Hostile(
        "loops for ever", body("while True: pass"), "timeout", ("row_strategy", "0.3 s", "game 1, round 1"), answer=0.3
    ),
    Hostile("sleeps", body("time.sleep(60)", before="import time\n"), "timeout", ("0.3 s",), answer=0.3),
    Hostile("loops on loading", "while True: pass\n", "timeout", ("load", "0.6 s"), loading=0.6),
    Hostile(
        "is slow",
        body("time.sleep(0.1)", "return 0", before="import time\n"),
        "timeout",
        ("too slow", "2 s by the clock"),
        seconds=2,
    ),
    Hostile("calls sys.exit", body("sys.exit(0)", before="import sys\n"), "crashed", ("line 3", "SystemExit", "0")),
    Hostile("calls os._exit", body("os._exit(7)", before="import os\n"), "crashed", ("exit status 7",)),
    Hostile("exits on loading", "import os\nos._exit(0)\n", "crashed", ("ended",)),
    Hostile("raises on loading", "x = 1\nx / 0\n", "crashed", ("strategy.py, line 2", "ZeroDivisionError")),
    Hostile("raises in a call", body("return history[5]"), "crashed", ("line 2", "IndexError", "game 1, round 1")),
    Hostile("raises late", body("return [0, 0, 0][len(history)]"), "crashed", ("IndexError", "game 1, round 4")),
    Hostile(
        "raises an exception that cannot be shown",
        body("raise E", before="class E(BaseException):\n    def __str__(self):\n        raise ValueError\n"),
        "crashed",
        ("line 5", "E"),
    ),
    Hostile("raises with escapes", body(r"raise ValueError('\x1b[2J\nx')"), "crashed", ("ValueError",)),
    Hostile("returns None", body("return None"), "invalid", ("0 or 1", "None", "game 1, round 1")),
    Hostile("returns text", body("return '0'"), "invalid", ("'0' (str)",)),
    Hostile("returns NaN", body("return float('nan')"), "invalid", ("nan",)),
    Hostile("returns infinity", body("return float('inf')"), "invalid", ("0 or 1",)),
    Hostile("returns a huge number", body("return 10 ** 6000"), "invalid", ("0 or 1",)),
    Hostile("returns 2", body("return 2"), "invalid", ("0 or 1", "it returned 2")),
    Hostile("returns a half", body("return 0.5"), "invalid", ("0.5",)),
    Hostile("returns a long list", body("return [0] * 10**6"), "invalid", ("list of length 1000000",)),
    Hostile("returns a pair", body("return (0, 1)"), "invalid", ("[0, 1]",)),
    Hostile("returns a generator", body("yield 0"), "invalid", ("generator",)),
    Hostile(
        "returns something that raises",
        body("return M()", before="class M:\n    def __index__(self):\n        raise KeyError('no')\n"),
        "crashed",
        ("KeyError", "line 3"),
    ),
    Hostile("is empty", "", "invalid", ("no function row_strategy",)),
    Hostile("has another function", "def strategy(history):\n    return 0\n", "invalid", ("row_strategy",)),
    Hostile("has no function but a number", "row_strategy = 0\n", "invalid", ("not a function",)),
    Hostile("is no Python", "def row_strategy(history)\n    return 0\n", "invalid", ("line 1", "SyntaxError")),
    Hostile("is not text", b"\x00\xff\xfe", "invalid", ("strategy.py",)),
    Hostile("forks", body("os.fork()", "return 0", before="import os\n"), "crashed", ("BlockingIOError",)),
    Hostile(
        "is a fork bomb",
        body(
            "return 0",
            before="import os\nfor _ in range(1000):\n    try:\n        os.fork()\n    except OSError:\n        pass\n",
        ),
        "ok",
    ),
    Hostile(
        "starts threads",
        body("threading.Thread(target=print).start()", "return 0", before="import threading\n"),
        "crashed",
        ("thread",),
    ),
    Hostile(
        "runs a program", body("os.system('true')", "os.execv('/bin/true', ['x'])", before="import os\n"), "crashed"
    ),
    Hostile(
        "patches modules",
        body(
            "return 0",
            before="import builtins, json, random, socket, sys, time\n"
            "random.random = lambda: 0.0\nrandom.Random.random = lambda self: 0.0\nrandom.seed(1)\n"
            "builtins.sum = builtins.max = lambda *_: 99\ntime.monotonic = lambda: 0.0\njson.dumps = lambda *_: '99'\n"
            "sys.modules['workbench.tasks.games'] = sys.modules['random']\n",
        ),
        "ok",
    ),
    Hostile(
        "patches what the player needs",
        body("return 0", before="import builtins\nbuiltins.len = None\nbuiltins.isinstance = None\n"),
        "crashed",
    ),
    Hostile(
        "writes a result everywhere",
        body(
            "for fd in range(64):",
            '    try: os.write(fd, b\'{"result": {"verdict": "ok", "metrics": {"Score": 99}}}\\n\')',
            "    except OSError: pass",
            "return 0",
            before="import os\n",
        ),
        "invalid",
        ("written to the evaluator",),
    ),
    Hostile(
        "answers twice, with the right id",
        body(
            "frame = sys._getframe(1)",
            "frame.f_locals['send'](frame.f_locals['ident'] + b' 1\\n')",
            "return 0",
            before="import sys\n",
        ),
        "invalid",
        ("written to the evaluator",),
    ),
    Hostile(
        "answers ahead",
        body(
            "frame = sys._getframe(1)",
            "frame.f_locals['send'](b'0123456789abcdef 0\\n' * 100)",
            "return 0",
            before="import sys\n",
        ),
        "invalid",
    ),
    Hostile(
        "answers without an end",
        body("sys._getframe(1).f_locals['send'](b'1' * 10**6)", "return 0", before="import sys\n"),
        "invalid",
        ("4096 bytes",),
    ),
    Hostile(
        "closes every descriptor",
        body("os.closerange(0, 256)", "return 0", before="import os\n"),
        "crashed",
    ),
    Hostile("kills its parent", body("os.kill(os.getppid(), 9)", "return 0", before="import os\n"), "crashed"),
    Hostile("kills everybody", body("os.kill(-1, 9)", "return 0", before="import os\n"), "crashed"),
    Hostile("stops itself", body("os.kill(os.getpid(), 19)", "return 0", before="import os\n"), "crashed"),
    Hostile(
        "opens a socket", body("socket.socket()", "return 0", before="import socket\n"), "crashed", ("not permitted",)
    ),
    Hostile(
        "takes all memory",
        body("kept = []", "while True: kept.append(bytes(10**7))"),
        "crashed",
        ("line 3", "MemoryError"),
    ),
    Hostile(
        "fills the disk",
        body(
            "for n in range(10**6):",
            "    with open(f'{n}', 'wb') as f: f.write(bytes(10**7))",
            before="",
        ),
        "crashed",
        ("line 3", "OSError"),
    ),
    Hostile("recurses", body("return row_strategy(history)"), "crashed", ("RecursionError",)),
    Hostile("reads address 0", body("ctypes.string_at(0)", before="import ctypes\n"), "crashed", ("SIGSEGV",)),
    Hostile("changes its history", body("history.append((0, 0))", "history *= 3", "return 0"), "ok"),
    Hostile(
        "raises its own limits",
        body(
            "resource.setrlimit(resource.RLIMIT_NPROC, (100, 100))",
            "return 0",
            before="import resource\n",
        ),
        "crashed",
        ("ValueError",),
    ),
    Hostile("ignores signals", body("return 0", before="import signal\nfor n in (2, 15): signal.signal(n, 1)\n"), "ok"),
    Hostile("leaves its group", body("os.setsid()", "return 0", before="import os\n"), "crashed", ("not permitted",)),
]
