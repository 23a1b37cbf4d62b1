"""The agent commands, run as the sandbox runs them: a process of its own, or shell functions in a real bash."""

from __future__ import annotations

import ast
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.sandbox.commands import COMMAND_NAMES, OPTIONAL_COMMANDS, command_docs, linter_folder
from workbench.sandbox.guest import tools
from workbench.sandbox.guest.agent_commands import COMMANDS
from workbench.sandbox.guest_sandbox import GUEST_FOLDER
from workbench.sandbox.multiline import rewrite_multiline

TOOLS = GUEST_FOLDER / "tools.py"
FUNCTIONS = GUEST_FOLDER / "functions.sh"
quickly = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Result:
    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        self.code = code
        self.out = out.decode("utf-8", "surrogateescape")
        self.err = err.decode("utf-8", "surrogateescape")


class Place:
    """A home, a current directory, and the commands."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.work = folder / "work"
        self.home.mkdir()
        self.work.mkdir()
        self.env = {
            "HOME": str(self.home),
            "PATH": "/usr/bin:/bin",
            "MLGYM_SOCKET": str(folder / "none"),
            "LANG": "C.UTF-8",
            "MLGYM_PYTHON": sys.executable,
            "MLGYM_LINTER": str(linter_folder().parent),
        }

    def run(self, *arguments: str, text: bytes | None = None, **env: str) -> Result:
        return self.call([sys.executable, "-I", "-S", str(TOOLS), *arguments], text, env)

    def bash(self, script: str, **env: str) -> Result:
        return self.call(["bash", "--norc", "-c", f". '{FUNCTIONS}'; {script}"], None, env)

    def call(self, command: list[str], text: bytes | None = None, env: dict[str, str] | None = None) -> Result:
        """With the text on standard input, which is /dev/null for None, as it is for an agent's action."""
        with subprocess.Popen(
            command,
            cwd=self.work,
            env=self.env | (env or {}),
            stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            out, err = process.communicate(text, timeout=20)
        return Result(process.returncode, out, err)

    def write(self, name: str, content: bytes) -> Path:
        path = self.work / name
        path.write_bytes(content)
        return path

    def lines(self, name: str, count: int) -> Path:
        return self.write(name, b"".join(b"line %d\n" % number for number in range(1, count + 1)))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


class Host:
    """Stands for the workbench at the other end of the socket."""

    def __init__(self, path: Path, answer: Callable[[dict[str, Any]], bytes | None]) -> None:
        self.requests: list[dict[str, Any]] = []
        self.asked = threading.Event()
        self.answer = answer
        self.released = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as stream:
                request = json.loads(stream.readline())
                self.requests.append(request)
                self.asked.set()
                reply = self.answer(request)
                if reply is None:
                    self.released.wait(20)
                else:
                    stream.write(reply)

    def close(self) -> None:
        self.released.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)


@pytest.fixture
def host(place: Place, tmp_path: Path) -> Iterator[Callable[[Callable[[dict[str, Any]], bytes | None]], Host]]:
    hosts: list[Host] = []

    def start(answer: Callable[[dict[str, Any]], bytes | None]) -> Host:
        path = tmp_path / f"socket{len(hosts)}"
        hosts.append(Host(path, answer))
        place.env["MLGYM_SOCKET"] = str(path)
        return hosts[-1]

    yield start
    for one in hosts:
        one.close()


def ok(request: dict[str, Any]) -> bytes:
    return b'{"ok": true}\n'


# --- the window -------------------------------------------------------------------------------------------------------


def test_open_shows_a_window_with_its_place_in_the_file(place: Place) -> None:
    path = place.lines("a.txt", 250)
    done = place.run("open", "a.txt")
    rows = done.out.splitlines()
    assert done.code == 0
    assert rows[0] == f"[File: {path} (250 lines total)]"
    assert rows[1] == "1:line 1"
    assert rows[100] == "100:line 100"
    assert rows[101:] == ["(150 more lines below)"]


def test_open_at_a_line_includes_it_and_shows_what_follows(place: Place) -> None:
    place.lines("a.txt", 250)
    rows = place.run("open", "a.txt", "120", WINDOW="12").out.splitlines()
    assert rows[1] == "(117 more lines above)"
    assert rows[2] == "118:line 118"
    assert "120:line 120" in rows
    assert rows[-1] == "(121 more lines below)"


@pytest.mark.parametrize("window", ["", "0", "-3", "many", "1e9"])
def test_a_window_that_is_no_number_is_the_default(place: Place, window: str) -> None:
    place.lines("a.txt", 250)
    assert "(150 more lines below)" in place.run("open", "a.txt", WINDOW=window).out


def test_goto_and_scroll_move_the_window_of_the_open_file(place: Place) -> None:
    place.lines("a.txt", 100)
    place.run("open", "a.txt", WINDOW="10")
    assert "\n9:line 9\n" in place.run("scroll_down", WINDOW="10").out
    assert "\n17:line 17\n" in place.run("scroll_down", WINDOW="10").out
    assert "(8 more lines above)\n9:line 9\n" in place.run("scroll_up", WINDOW="10").out
    end = place.run("goto", "1000", WINDOW="10")
    assert "(90 more lines above)\n91:line 91\n" in end.out
    assert "There is no line 1000: the file ends at line 100" in end.out
    assert "already at the end" in place.run("scroll_down", WINDOW="10").out
    place.run("goto", "0", WINDOW="10")
    assert "already at the top" in place.run("scroll_up", WINDOW="10").out


@pytest.mark.parametrize("command", [("goto", "3"), ("scroll_up",), ("scroll_down",), ("search_file", "x")])
def test_without_an_open_file_a_command_says_so(place: Place, command: tuple[str, ...]) -> None:
    done = place.run(*command)
    assert done.code == 1
    assert "no file is open" in done.err
    assert "Usage:" in done.err


@pytest.mark.parametrize(
    "damage", [b"", b"1 1\n", b"x y\n/etc/passwd\n", b"1 1\nrelative\n", b"\xff\0\n", b"0 0\n/etc\n"]
)
def test_a_damaged_state_file_means_no_open_file(place: Place, damage: bytes) -> None:
    place.lines("a.txt", 5)
    place.run("open", "a.txt")
    (state,) = (place.home / ".mlgym").iterdir()
    state.write_bytes(damage)
    done = place.run("goto", "2")
    assert (done.code, done.out) == (1, "")
    assert place.run("open", "a.txt").code == 0


def test_the_open_file_is_remembered_across_directories_and_its_loss_is_named(place: Place) -> None:
    path = place.lines("odd\nname ü.txt", 5)
    place.run("open", path.name)
    place.work = place.home
    assert "5:line 5" in place.run("goto", "2").out
    path.unlink()
    assert "there is no file" in place.run("goto", "2").err


def test_a_home_that_cannot_be_written_costs_only_the_memory(place: Place) -> None:
    place.lines("a.txt", 3)
    done = place.run("open", "a.txt", HOME="/proc/nowhere")
    assert done.code == 0
    assert "3:line 3" in done.out
    assert "cannot be remembered" in done.err


def test_long_lines_are_cut_and_say_by_how_much(place: Place) -> None:
    place.write("wide.csv", b"a" * 700 + b"\n" + "ü".encode() * 3_000_000 + b"\nshort")
    rows = place.run("open", "wide.csv").out.splitlines()
    assert rows[1] == "1:" + "a" * 500 + "... (200 more characters cut)"
    assert rows[2] == "2:" + "ü" * 500 + "... (2999500 more characters cut)"
    assert rows[3] == "3:short"


def test_a_huge_file_shows_one_window_wherever_it_is(place: Place) -> None:
    place.lines("big.txt", 400_000)  # several chunks
    assert len(place.run("open", "big.txt").out.splitlines()) == 102
    for line in (87_381, 200_000, 399_999):
        assert f"\n{line}:line {line}\n" in place.run("goto", str(line)).out


@given(st.lists(st.integers(0, 30), max_size=60), st.booleans(), st.integers(1, 70), st.integers(1, 9))
@quickly
def test_lines_are_those_of_the_file_however_it_is_chunked(
    widths: list[int], ended: bool, first: int, chunk: int
) -> None:
    import io

    content = b"\n".join(b"%d" % index * width for index, width in enumerate(widths)) + b"\n" * ended
    expected = [line.rstrip(b"\n").decode() for line in tools.split_lines(content)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tools, "CHUNK", chunk)
        reader = tools.LineReader(io.BytesIO(content))
        assert reader.total == len(expected)
        assert reader.lines(first, len(expected)) == expected[first - 1 :]


def test_control_characters_and_foreign_bytes_are_shown_as_escapes(place: Place) -> None:
    place.write("odd.txt", b"\xef\xbb\xbfone\r\ntab\there\x1b[2J\xe9\x9b\r\n")
    assert place.run("open", "odd.txt").out.splitlines()[1:] == ["1:one", "2:tab\there\\x1b[2J\\xe9\\x9b"]


def test_what_is_no_text_file_is_refused(place: Place) -> None:
    (place.work / "folder").mkdir()
    os.mkfifo(place.work / "pipe")
    place.write("model.pt", b"PK\x03\x04\0\0")
    place.write("plot.png", b"\x89PNG\r\n\x1a\n")
    place.write("late.bin", b"a" * 60_000 + b"\0")
    (place.work / "dangling").symlink_to("nowhere")
    expected = {
        "folder": "is a directory",
        "pipe": "not a regular file",
        "model.pt": "binary",
        "plot.png": "image",
        "late.bin": "binary",
        "dangling": "no file",
        "missing": "no file",
        "/dev/zero": "not a regular file",
        "a" * 5000: "cannot be opened",
    }
    for name, message in expected.items():
        done = place.run("open", name)
        assert (done.code, done.out) == (1, ""), name
        assert message in done.err, name
        assert "Traceback" not in done.err


# --- create -----------------------------------------------------------------------------------------------------------


def test_create_makes_an_empty_file_that_can_be_edited(place: Place) -> None:
    done = place.run("create", "new.py")
    assert done.code == 0
    assert done.out == f"[File: {place.work}/new.py (0 lines total)]\n"
    assert place.run("edit", "1:1", text=b"x = 1\n").code == 0
    assert (place.work / "new.py").read_bytes() == b"x = 1\n"


def test_create_never_overwrites(place: Place) -> None:
    path = place.write("old.py", b"x = 1\n")
    done = place.run("create", "old.py", text=b"y = 2\n")
    assert done.code == 1
    assert "exists already" in done.err
    assert "1:x = 1" in done.out
    assert path.read_bytes() == b"x = 1\n"


def test_create_takes_a_text_and_refuses_what_does_not_parse(place: Place) -> None:
    assert place.run("create", "a.py", text=b"x = 1\n").code == 0
    assert (place.work / "a.py").read_bytes() == b"x = 1\n"
    assert place.run("create", "b.py", text=b"x = \n").code == 1
    assert not (place.work / "b.py").exists()
    assert place.run("create", "notes.md", text=b"x = \n").code == 0


def test_create_says_why_it_cannot(place: Place) -> None:
    assert "mkdir -p" in place.run("create", "no/such/file.py").err
    assert "is a directory" in place.run("create", str(place.home)).err
    assert "names a folder" in place.run("create", "folder/").err
    assert place.run("create").code == 2
    assert place.run("create", "").code == 2


# --- edit and insert --------------------------------------------------------------------------------------------------


def test_edit_replaces_lines_of_the_open_file_and_shows_them(place: Place) -> None:
    path = place.lines("a.txt", 5)
    place.run("open", "a.txt")
    done = place.run("edit", "2:3", text=b"two\n\tthree\nmore\n")
    assert done.code == 0
    assert path.read_bytes() == b"line 1\ntwo\n\tthree\nmore\nline 4\nline 5\n"
    assert done.out.startswith(f"{path}: lines 2 to 3 replaced by 3 lines.\n[File: {path} (6 lines total)]\n")
    assert "\n4:more\n" in done.out


def test_edit_changes_the_file_it_names_and_opens_it(place: Place) -> None:
    other = place.lines("target.txt", 3)
    path = place.lines("strategy.txt", 3)
    place.run("open", "target.txt")
    done = place.run("edit", "1:3", "strategy.txt", text=b"mine\n")
    assert done.out.startswith(f"{path}: lines 1 to 3 replaced by 1 line. It is now the open file.\n")
    assert path.read_bytes() == b"mine\n"
    assert other.read_bytes() == b"line 1\nline 2\nline 3\n"
    assert str(path) in place.run("goto", "1").out


def test_edit_without_any_file_is_refused(place: Place) -> None:
    done = place.run("edit", "1:1", text=b"x\n")
    assert done.code == 1
    assert "name the file" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("3-5", "a.txt"), 2, "not a range of lines"),
        (("3", "a.txt"), 2, "3:3"),
        (("a.txt", "3:5"), 2, "edit 3:5 a.txt"),
        (("x:5", "a.txt"), 2, "not a line number"),
        (("1:2", "a.txt", "b.txt"), 2, "at most one file"),
        ((), 2, "a range of lines is needed"),
        (("5:3", "a.txt"), 1, "ends before it begins"),
        (("9:12", "a.txt"), 1, "there is no line 9"),
        (("0:1", "a.txt"), 1, "there is no line 0"),
        (("--force", "1:1"), 2, "no option --force"),
        (("1:1", "missing.txt"), 1, "no file"),
    ],
)
def test_wrong_ranges_are_explained(place: Place, arguments: tuple[str, ...], code: int, message: str) -> None:
    path = place.lines("a.txt", 5)
    done = place.run("edit", *arguments, text=b"x\n")
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert ("Usage: edit" in done.err) == (code == 2)
    assert len(path.read_bytes().splitlines()) == 5


def test_a_range_that_goes_past_the_end_is_cut_and_says_so(place: Place) -> None:
    path = place.lines("a.txt", 5)
    done = place.run("edit", "4:99", "a.txt", text=b"x\n")
    assert "(The file ended at line 5.)" in done.out
    assert path.read_bytes() == b"line 1\nline 2\nline 3\nx\n"
    place.run("edit", "5:5", "a.txt", text=b"y\n")
    assert path.read_bytes().endswith(b"x\ny\n")


def test_edit_without_a_text_changes_nothing_and_deletes_when_told(place: Place) -> None:
    path = place.lines("a.txt", 5)
    for text in (None, b""):
        done = place.run("edit", "2:3", "a.txt", text=text)
        assert done.code == 2
        assert "edit 2:3 a.txt --delete" in done.err
    assert path.read_bytes().count(b"\n") == 5
    done = place.run("edit", "2:3", "a.txt", "--delete")
    assert done.out.startswith(f"{path}: 2 lines deleted.")
    assert path.read_bytes() == b"line 1\nline 4\nline 5\n"


def test_a_closing_line_inside_a_here_document_is_not_text(place: Place) -> None:
    path = place.lines("a.txt", 2)
    place.run("edit", "1:1", "a.txt", text=b"one\nend_of_edit\n")
    assert path.read_bytes() == b"one\nline 2\n"
    place.run("insert", "1", "a.txt", text=b"more\nend_of_insert\n")
    assert path.read_bytes() == b"one\nmore\nline 2\n"


def test_insert_puts_the_text_after_the_line(place: Place) -> None:
    path = place.lines("a.txt", 2)
    assert "inserted after line 1." in place.run("insert", "1", "a.txt", text=b"a\nb\n").out
    assert "inserted at the top." in place.run("insert", "0", text=b"top\n").out
    assert path.read_bytes() == b"top\nline 1\na\nb\nline 2\n"
    assert "there is no line 9" in place.run("insert", "9", text=b"x\n").err
    assert place.run("insert", "1", text=b"").code == 2
    assert place.run("insert", text=b"x").code == 2
    assert path.read_bytes() == b"top\nline 1\na\nb\nline 2\n"


def test_an_edit_after_which_python_does_not_compile_is_refused_and_leaves_no_trace(place: Place) -> None:
    path = place.write("s.py", b"def f():\n    return 1\n")
    os.utime(path, ns=(10**18, 10**18))
    before = path.stat()
    done = place.run("edit", "2:2", "s.py", text=b"return 1\n")
    assert (done.code, done.out) == (1, "")
    assert "would no longer compile, so nothing was changed" in done.err
    assert "IndentationError" in done.err
    assert "2:return 1" in done.err
    assert "2:    return 1" in done.err
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    assert os.listdir(place.work) == ["s.py"]
    place.write("s.py", b"x = 1\n")  # what parses, but does not compile, is no better
    assert "would no longer compile" in place.run("insert", "1", "s.py", text=b"return x\n").err


def test_what_compiles_is_accepted_with_warnings(place: Place) -> None:
    place.write("s.py", b"x = 1\n")
    done = place.run("edit", "1:1", "s.py", text=b"import os\nif 1:\n  print(undefined)\n  '\\d'\n")
    assert done.code == 0
    assert "(Warning: line 4: invalid escape sequence" in done.out
    assert "(Warning: line 3: undefined name 'undefined')" in done.out
    assert done.out.count("Warning") == 2  # nothing of the import and the indentation
    again = place.run("insert", "0", "s.py", text=b"# comment\n")
    assert again.code == 0 and "Warning" not in again.out
    silent = place.run("edit", "4:4", "s.py", text=b"  print(missing)\n", MLGYM_LINT="off")
    assert silent.code == 0 and "Warning" not in silent.out


@pytest.mark.parametrize(
    ("before", "lines", "text", "said"),
    [
        (b"x = 1\n", "1:1", b"x = y\n", "line 1: undefined name 'y'"),
        (b"x = 1\n", "1:1", b"__all__ = ['y']\n", "line 1: undefined name 'y' in __all__"),
        (b"x = 1\n", "1:1", b"if 1:\n  x = 2\n", "line 2: the indentation is not a multiple of four"),
        (b"import os\nos.getcwd()\n", "1:1", b"", "line 1: undefined name 'os'"),  # below the edit
        (b"a\nx = 1\n", "1:1", b"b = c\n", "line 1: undefined name 'c'"),
        (b"a\nx = 1\n", "1:1", b"a\n", "line 1: undefined name 'a'"),  # it wrote it itself
        (b"def f(:\n", "1:1", b"def f(:\n", "SyntaxError"),
    ],
)
def test_the_strict_linter_refuses_what_the_edit_brings_in(
    place: Place, before: bytes, lines: str, text: bytes, said: str
) -> None:
    path = place.write("s.py", before)
    options = () if text else ("--delete",)
    done = place.run("edit", lines, "s.py", *options, text=text or None, MLGYM_LINT="refuse")
    assert (done.code, done.out) == (1, "")
    assert said in done.err and "so nothing was changed" in done.err
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("before", "lines", "text"),
    [
        (b"a\nx = 1\nb\n", "2:2", b"x = 2\ny = 3\n"),  # above and below the edit, as before
        (b"if 1:\n  x = 1\ny = 1\n", "3:3", b"y = 2\n"),
        (b"x = 1\n", "1:1", b"x = y  # NoQA\n"),
        (b"x = 1\n", "1:1", b"import os\nimport os\nos.getcwd()\n"),
        (b"x = 1\n", "1:1", b"import os, sys\nx = (\n  1)\n\t\ndef f():\n\tif x:\n\t\treturn __file__\n"),
        (b"x = 1\ndef f(:\n", "1:1", b"x = 2\n\n"),
    ],
)
def test_the_strict_linter_accepts_what_was_there_before(place: Place, before: bytes, lines: str, text: bytes) -> None:
    place.write("s.py", before)
    done = place.run("edit", lines, "s.py", text=text, MLGYM_LINT="refuse")
    assert done.code == 0
    assert "Warning: line" not in done.out  # it says what it refuses, and nothing else


def test_without_a_linter_edits_work(place: Place, tmp_path: Path) -> None:
    place.write("s.py", b"x = 1\n")
    done = place.run("edit", "1:1", "s.py", text=b"x = y\n", MLGYM_LINT="refuse", MLGYM_LINTER=str(tmp_path))
    assert done.code == 0


def test_a_file_that_did_not_compile_before_may_be_mended_step_by_step(place: Place) -> None:
    path = place.write("s.py", b"def f(:\n    return (\n")
    done = place.run("edit", "1:1", "s.py", text=b"def f():\n")
    assert done.code == 0
    assert "did not compile before and does not compile now" in done.out
    assert path.read_bytes() == b"def f():\n    return (\n"
    assert "Warning" not in place.run("edit", "2:2", text=b"    return ()\n").out


def test_what_a_newer_python_of_the_agent_accepts_is_no_error(place: Place, tmp_path: Path) -> None:
    newer = tmp_path / "bin" / "python3"
    newer.parent.mkdir()
    newer.write_text("#!/bin/sh\nexec cat > /dev/null\n")
    newer.chmod(0o755)
    path = place.write("s.py", b"x = 1\n")
    assert place.run("edit", "1:1", "s.py", text=b"soon valid\n", PATH=f"{newer.parent}:/bin").code == 0
    assert path.read_bytes() == b"soon valid\n"


def test_an_edit_that_changes_nothing_does_not_touch_the_file(place: Place) -> None:
    path = place.lines("a.txt", 2)
    os.utime(path, ns=(10**18, 10**18))
    done = place.run("edit", "1:1", "a.txt", text=b"line 1\n")
    assert done.code == 0
    assert "nothing was changed" in done.out
    assert path.stat().st_mtime_ns == 10**18


def test_mode_links_and_folder_survive_an_edit(place: Place) -> None:
    path = place.lines("run.sh", 2)
    path.chmod(0o751)
    (place.work / "link.sh").symlink_to("run.sh")
    place.run("edit", "1:1", "link.sh", text=b"new\n")
    assert (place.work / "link.sh").is_symlink()
    assert path.read_bytes() == b"new\nline 2\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o751
    os.link(path, place.work / "hard.sh")
    place.run("edit", "1:1", "hard.sh", text=b"newer\n")
    assert path.read_bytes() == b"newer\nline 2\n"
    assert path.stat().st_ino == (place.work / "hard.sh").stat().st_ino
    assert sorted(os.listdir(place.work)) == ["hard.sh", "link.sh", "run.sh"]


def test_a_file_that_shrinks_in_place_has_no_rest(place: Place) -> None:
    path = place.lines("a.txt", 50)
    os.link(path, place.work / "b.txt")
    place.run("edit", "2:50", "a.txt", text=b"end\n")
    assert path.read_bytes() == b"line 1\nend\n"


def test_a_file_without_permission_is_left_alone(place: Place) -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        path = Path(name, "a.txt")
        path.write_bytes(b"line 1\n")
        path.chmod(0o444)
        # root may write everything: step down first
        code = "import os, sys; sys.path.append(sys.argv.pop(1)); import tools; os.geteuid() or os.setuid(65534)"
        done = place.call(
            [sys.executable, "-I", "-S", "-c", f"{code}; tools.start()", str(GUEST_FOLDER), "edit", "1:1", str(path)],
            b"x\n",
        )
        assert done.code == 1
        assert "cannot be written" in done.err
        assert path.read_bytes() == b"line 1\n"
        assert os.listdir(name) == ["a.txt"]


@pytest.mark.parametrize("linked", [False, True])
def test_a_full_disk_leaves_the_file_as_it_was(place: Place, linked: bool) -> None:
    path = place.lines("a.txt", 3)
    if linked:
        os.link(path, place.work / "b.txt")
    before = sorted(os.listdir(place.work))
    done = place.bash("ulimit -f 1; head -c 5000 /dev/zero | tr '\\0' 'x' | edit 1:1 a.txt")
    assert done.code == 1
    assert "cannot be written: File too large. It is as it was." in done.err
    assert path.read_bytes() == b"line 1\nline 2\nline 3\n"
    assert sorted(os.listdir(place.work)) == before


def test_other_encodings_are_refused_politely(place: Place) -> None:
    latin = place.write("latin.txt", "fine\ncafé\n".encode("latin-1"))
    done = place.run("edit", "1:1", "latin.txt", text=b"x\n")
    assert done.code == 1
    assert "not UTF-8 text (line 2)" in done.err
    assert latin.read_bytes() == "fine\ncafé\n".encode("latin-1")
    place.write("x.bin", b"a\0b\n")
    assert "binary" in place.run("edit", "1:1", "x.bin", text=b"x\n").err
    place.lines("a.txt", 2)
    assert "not UTF-8" in place.run("edit", "1:1", "a.txt", text=b"\xff\n").err
    assert "NUL" in place.run("edit", "1:1", "a.txt", text=b"a\0b\n").err


@pytest.mark.parametrize(
    ("content", "first", "last", "text", "expected"),
    [
        (b"a\r\nb\r\nc\r\n", 2, 2, b"x\ny\n", b"a\r\nx\r\ny\r\nc\r\n"),
        (b"a\r\nb\nc\r\n", 1, 1, b"x\n", b"x\nb\nc\r\n"),
        (b"a\nb", 2, 2, b"x\n", b"a\nx"),
        (b"a\nb", 1, 1, b"x\n", b"x\nb"),
        (b"a\r\nb", 2, 2, b"x\n", b"a\r\nx"),
        (b"a\nb", 2, 2, b"x", b"a\nx"),
        (b"a\nb\n", 2, 2, b"x", b"a\nx\n"),
        (b"\xef\xbb\xbfa\nb\n", 1, 1, b"x\n", b"\xef\xbb\xbfx\nb\n"),
        (b"", 1, 1, b"x\n", b"x\n"),
        (b"a\x0cb\x0bc\rd\ne\n", 2, 2, b"x\n", b"a\x0cb\x0bc\rd\nx\n"),
        (b"a", 2, 2, b"x\n", b"a\nx"),
        (b"a\nb", 2, 2, b"\n", b"a\n\n"),
    ],
)
def test_line_ends_marks_and_final_newlines_stay(
    place: Place, content: bytes, first: int, last: int, text: bytes, expected: bytes
) -> None:
    path = place.write("a.txt", content)
    assert place.run("edit", f"{first}:{last}", "a.txt", text=text).code == 0
    assert path.read_bytes() == expected


@given(
    content=st.binary(max_size=200).map(lambda data: data.replace(b"\0", b"")),
    text=st.text(max_size=60),
    cut=st.tuples(st.integers(0, 30), st.integers(0, 30)),
)
@quickly
def test_bytes_outside_of_the_range_never_change(content: bytes, text: str, cut: tuple[int, int]) -> None:
    lines = tools.split_lines(content.removeprefix(tools.BOM))
    start, end = sorted(min(value, len(lines)) for value in cut)
    new = tools.spliced(content, start, end, text.encode())
    before = content[: len(content) - len(b"".join(lines[start:]))]
    after = b"".join(lines[end:])
    assert new.startswith(before)
    assert new.endswith(after)
    if not text:
        assert new == before + after
    middle = new[len(before) : len(new) - len(after)]
    assert middle.replace(b"\r", b"").strip(b"\n") == text.encode().replace(b"\r", b"").strip(b"\n")


# --- searching --------------------------------------------------------------------------------------------------------


def test_search_dir_counts_lines_in_text_files(place: Place) -> None:
    (place.work / ".git").mkdir()
    (place.work / "sub").mkdir()
    place.write(".git/x", b"needle\n")
    place.write("sub/a.py", b"needle needle\nneedle\nother\n")
    place.write("b.py", b"a (needle|.*\n")
    place.write("c.bin", b"\0needle")
    (place.work / "loop").symlink_to(".")
    done = place.run("search_dir", "needle")
    assert done.code == 0
    assert done.out.splitlines() == [
        f'Found 3 matches for "needle" in {place.work}:',
        f"{place.work}/b.py (1 match)",
        f"{place.work}/sub/a.py (2 matches)",
        f'End of matches for "needle" in {place.work}',
    ]
    assert "1 match " in place.run("search_dir", "(needle|.*").out
    assert "Found 2 matches" in place.run("search_dir", "needle", "sub").out
    none = place.run("search_dir", "Needle")
    assert (none.code, none.out) == (1, "")
    assert "no matches" in none.err
    assert place.run("search_dir", "x", "nowhere").code == 1
    assert place.run("search_dir").code == 2
    assert place.run("search_dir", "").code == 2


def test_searches_that_find_too_much_are_summarised(place: Place) -> None:
    for folder in ("one", "two"):
        (place.work / folder).mkdir()
        for number in range(60):
            place.write(f"{folder}/{number}.txt", b"word\n")
    found = place.run("search_dir", "word").out
    assert "120 matches" in found
    assert "in 120 files, too many" in found
    assert "one/ (60 files)" in found
    assert "39.txt" not in found
    names = place.run("find_file", "*.txt").out
    assert "Found 120 files" in names
    assert len(names.splitlines()) < 10
    place.lines("long.txt", 500)
    lines = place.run("search_file", "line", "long.txt").out
    assert "Found 500 matches" in lines
    assert "Line 20:line 20\n... and 480 more lines" in lines


def test_search_file_looks_in_the_open_file(place: Place) -> None:
    path = place.write("a.py", b"x = 1\ny = 2\nx = 3\n" + b"." * 5000 + b"x = 4" + b"." * 5000 + b"\n")
    place.run("open", "a.py")
    rows = place.run("search_file", "x =").out.splitlines()
    assert rows[0] == f'Found 3 matches for "x =" in {path}:'
    assert rows[1:3] == ["Line 1:x = 1", "Line 3:x = 3"]
    assert "x = 4" in rows[3]
    assert len(rows[3]) < 600
    assert place.run("search_file", "--", "-x").code == 1
    assert place.run("search_file", "nothing").code == 1


TERMS = r"""
    ^def x$ a.c a*b *a ^*a a\+ ab\?c a+b a|b a\|b (a) \(ab\)\1 a\{2\} [0-9] [^a-z] []x] [[:digit:]]b [a-] [\d]
    \<a a\> \bab\b \w\W x\.y \$ a^b a$b \(^a\) é.x \* {2} \ [a [[:no:]] x.y.z
"""


@pytest.mark.parametrize("term", TERMS.split())
def test_searches_take_the_regular_expressions_of_grep(place: Place, term: str) -> None:
    lines = ["def f():", "x", "abc", "aab", "*a", "a+b", "a|b", "b", "(a)", "abab", "a1b", "a-", "]x", "a\\d", "x.y",
             "a$b",              "a^b", "éax", "{2}", "ab c", "1b", "zz a", "2", "x[0]", "a{", "AB", ""]  # fmt: skip
    text = "\n".join(lines) + "\n"
    place.write("t.txt", text.encode())
    grep = subprocess.run(
        ["grep", "-n", "--", term], input=text.encode(), capture_output=True, check=False, env=place.env
    )
    done = place.run("search_file", "--", term, "t.txt")
    if grep.returncode == 2:  # no regular expression: the letters are searched
        expected = [f"{number}:{line}" for number, line in enumerate(lines, 1) if term in line]
        assert "This is no regular expression" in done.out + done.err
    else:
        expected = grep.stdout.decode().splitlines()
    shown = [row.removeprefix("Line ") for row in done.out.splitlines() if row.startswith("Line ")]
    assert shown == expected
    counted = place.run("search_dir", "--", term)
    assert ("t.txt (" in counted.out) == bool(expected)


def test_where_no_line_matches_the_letters_themselves_are_found(place: Place) -> None:
    place.write("t.py", b"x[0] = 1\n")
    done = place.run("search_file", "x[0]", "t.py")
    assert "Line 1:x[0] = 1" in done.out and "No line matches it as a regular expression" in done.out
    assert "t.py (1 match)" in place.run("search_dir", "x[0]").out


def test_find_file_takes_names_and_wildcards(place: Place) -> None:
    (place.work / "sub").mkdir()
    path = place.write("sub/model.py", b"")
    place.write("model.pyc", b"")
    assert place.run("find_file", "model.py").out.splitlines()[1:] == [str(path)]
    assert str(path) in place.run("find_file", "*.py").out
    assert place.run("find_file", "model").code == 1
    assert place.run("find_file", "*.py", "missing").code == 1


# --- the host ---------------------------------------------------------------------------------------------------------


def test_the_window_is_reported_to_the_host(
    place: Place, host: Callable[[Callable[[dict[str, Any]], bytes | None]], Host]
) -> None:
    there = host(ok)
    path = place.lines("a ü.txt", 30)
    place.run("open", path.name, "20", WINDOW="12")
    place.run("scroll_up", WINDOW="12")
    place.run("edit", "1:30", "--delete", WINDOW="12")
    report = {"request": "window", "path": str(path)}
    assert there.requests == [
        report | {"first_line": 18, "last_line": 29, "total_lines": 30, "current_line": 20},
        report | {"first_line": 8, "last_line": 19, "total_lines": 30, "current_line": 8},
        report | {"first_line": 0, "last_line": 0, "total_lines": 0, "current_line": 0},
    ]


def test_a_silent_host_holds_up_a_command_for_a_second_at_most(
    place: Place, host: Callable[[Callable[[dict[str, Any]], bytes | None]], Host]
) -> None:
    there = host(lambda request: None)
    place.lines("a.txt", 3)
    began = time.monotonic()
    assert place.run("open", "a.txt").code == 0
    assert 0.9 < time.monotonic() - began < 45  # the command's own second, and a busy machine
    assert there.requests


@pytest.mark.parametrize("name", ["validate", "submit"])
def test_validate_and_submit_print_what_the_host_answers(
    place: Place, host: Callable[[Callable[[dict[str, Any]], bytes | None]], Host], name: str
) -> None:
    text = "Score: 1.44 ± 0.01\nok"
    there = host(lambda request: json.dumps({"ok": False, "text": text, "exit_code": 3}).encode() + b"\n")
    done = place.run(name)
    assert (done.code, done.out, done.err) == (3, text + "\n", "")
    assert there.requests == [{"request": name}]
    assert place.run(name, "now").code == 2
    assert len(there.requests) == 1


@pytest.mark.parametrize(
    "reply", [b"", b"nonsense\n", b"[]\n", b'{"ok": true}\n', b'{"text": "x", "exit_code": "y"}\n']
)
def test_an_answer_that_is_none_is_a_failure(
    place: Place, host: Callable[[Callable[[dict[str, Any]], bytes | None]], Host], reply: bytes
) -> None:
    host(lambda request: reply)
    done = place.run("validate")
    assert (done.code, done.out) == (1, "")
    assert "no answer" in done.err


def test_without_a_host_validate_says_so(place: Place) -> None:
    done = place.run("validate")
    assert done.code == 1
    assert "cannot be reached" in done.err


def test_an_interrupt_ends_validate_and_the_rest_of_the_action(
    place: Place, host: Callable[[Callable[[dict[str, Any]], bytes | None]], Host]
) -> None:
    there = host(lambda request: None)
    with subprocess.Popen(
        ["bash", "--norc", "-c", f". '{FUNCTIONS}'; validate; echo after"],
        env=place.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        assert there.asked.wait(45)
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=45)
    assert output == b""
    assert process.returncode == -signal.SIGINT


# --- help, functions, documentation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMAND_NAMES)
def test_every_command_has_help(place: Place, name: str) -> None:
    for option in ("-h", "--help"):
        done = place.run(name, option)
        assert done.code == 0
        assert done.out.startswith(f"Usage: {name}")


def test_an_unknown_command_is_a_usage_error(place: Place) -> None:
    assert place.run().code == 2
    assert "no command 'frobnicate'" in place.run("frobnicate").err


def test_the_documentation_is_made_of_the_declaration() -> None:
    docs = command_docs(COMMAND_NAMES)
    assert len(docs.split("\n\n")) == len(COMMANDS)
    rows = []
    for command in COMMANDS.values():
        assert command.usage in docs and command.about in docs
        first = command.about.partition(". ")[0].rstrip(".").replace("<", "\\<")
        rows.append(f"| `{command.usage.splitlines()[0]}` | {first} | {command.needs} |\n")
    assert "".join(rows) in (Path(__file__).parents[2] / "docs" / "agent-commands.md").read_text()
    assert all(COMMANDS[name].needs for name in OPTIONAL_COMMANDS)


def test_the_functions_work_wherever_the_shell_is_and_whatever_its_path(place: Place) -> None:
    place.lines("a.txt", 3)
    done = place.bash(
        "PATH=/nowhere; alias open=false; set -euo pipefail; open a.txt; cd /; goto 2; IFS=t; edit 1:1 <<'X'\n"
        "  \\new $HOME\nX\n"
    )
    assert done.code == 0, done.err
    assert (place.work / "a.txt").read_bytes() == b"  \\new $HOME\nline 2\nline 3\n"


def test_the_functions_can_be_loaded_twice_and_leave_little_behind(place: Place) -> None:
    names = "compgen -A function; compgen -v | grep -i mlgym"
    done = place.bash(f". '{FUNCTIONS}'; {names}")
    assert done.err == ""
    expected = {*COMMAND_NAMES, "__mlgym_run", "__mlgym_tools", "__mlgym_python", "MLGYM_PYTHON", "MLGYM_SOCKET"}
    expected.add("MLGYM_LINTER")
    assert set(done.out.split()) == expected


def test_the_functions_pass_on_arguments_and_exit_codes(place: Place) -> None:
    place.lines("a b*.txt", 3)
    assert "3:line 3" in place.bash("open 'a b*.txt'").out
    assert place.bash("open").code == 2
    assert place.bash("open missing").code == 1
    assert place.bash("create new.txt <<'X'\none\nX\n").code == 0
    assert (place.work / "new.txt").read_bytes() == b"one\n"


def test_an_action_goes_from_the_host_through_bash_to_the_file(place: Place) -> None:
    path = place.lines("a b.txt", 4)
    action = "open 'a b.txt'\nedit 2:2\nit's $HOME `x`\n\nEOF\nend_of_edit\nedit 1:1\nend_of_edit\n"
    done = place.bash('eval -- "$ACTION" </dev/null', ACTION=rewrite_multiline(action))
    assert (done.code, done.err) == (0, "")
    assert path.read_bytes() == b"it's $HOME `x`\n\nEOF\nline 3\nline 4\n"
    done = place.bash('eval -- "$ACTION" </dev/null', ACTION=rewrite_multiline("edit 4:5 <<E\nE"))
    assert path.read_bytes() == b"it's $HOME `x`\n\nEOF\n"


def test_a_person_at_a_terminal_types_the_text(place: Place) -> None:
    path = place.lines("a.txt", 2)
    master, slave = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-I", "-S", str(TOOLS), "edit", "1:1", "a.txt"],
        cwd=place.work,
        env=place.env,
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        os.write(master, b"typed\nend_of_edit\n")
        process.communicate(timeout=45)
    os.close(master)
    os.close(slave)
    assert path.read_bytes() == b"typed\nline 2\n"


def test_the_program_is_python_3_8_and_imports_nothing_slow() -> None:
    for program in (TOOLS, GUEST_FOLDER / "agent_commands.py"):
        ast.parse(program.read_text(), feature_version=(3, 8))
    code = "import sys; sys.path.append(sys.argv[1]); import tools; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(GUEST_FOLDER)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"re", "json", "socket", "typing", "subprocess", "enum"} & set(loaded)
