"""The agent commands: open, goto, scroll, create, edit, insert, search, validate, submit, memory and literature.

One program (standard library only, Python >= 3.8) that runs inside the sandbox as `python3 -I -S tools.py COMMAND
ARGUMENTS`; `functions.sh` wraps each command in a shell function, `agent_commands.py` says what each command is. It
remembers the open file in `$HOME/.mlgym/window`, and tells the host about the window over the unix socket
`$MLGYM_SOCKET`; `validate`, `submit`, memory and literature are requests to the host over the same socket. It starts
anew for every command, so modules that are slow to import (json, socket, subprocess, re) are avoided, or imported only
where they are needed.

Exit codes: 0 done, 1 failed or refused, 2 wrong usage.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the module signal takes 4 ms to import
import os
import stat
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs 5 ms at each start
    from _socket import socket
    from collections.abc import Callable, Iterator
    from typing import BinaryIO, NoReturn

    from workbench.sandbox.guest.agent_commands import COMMANDS, ENDINGS
else:
    if os.path.dirname(__file__) not in sys.path:
        sys.path.append(os.path.dirname(__file__))  # last, as nothing there may stand in for a module of Python's
    from agent_commands import COMMANDS, ENDINGS

OVERLAP = 2
"""Lines that stay in sight on scrolling."""
LINE_LIMIT = 500
"""Characters of a line that are shown."""
LIST_LIMIT = 100
"""Most files or lines that a search lists."""
SAMPLE_LINES = 20
"""Entries that stand for a list that is too long."""
EDIT_LIMIT = 64 << 20
"""Largest file, in bytes, that is edited or searched by search_dir."""
CHUNK = 1 << 20
SAMPLE = 64 << 10
REQUEST_LIMIT = 1000000
"""Characters of a request; the host takes none that is much longer."""
REPORT_SECONDS = 1.0
"""How long a report of the window may hold up a command."""
IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ico")
BOM = b"\xef\xbb\xbf"


class Refusal(Exception):
    """The command cannot do what was asked: exit code 1."""


class NothingOpen(Refusal):
    """No file is open and none was named."""


class UsageError(Exception):
    """The command was called wrongly: exit code 2."""


# --- output -----------------------------------------------------------------------------------------------------------

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), *range(127, 160))}


def visible(text: str) -> str:
    """The text with control characters (but for tabs) written as \\xNN, so that no file can play tricks on a screen."""
    return text.translate(_CONTROLS)


def say(text: str, error: bool = False) -> None:
    stream = sys.stderr if error else sys.stdout
    stream.buffer.write(text.encode("utf-8", "surrogateescape") + b"\n")
    stream.buffer.flush()


def plural(count: int, thing: str) -> str:
    if count == 1:
        return "1 " + thing
    return "{} {}".format(count, thing + ("es" if thing.endswith("ch") else "s"))


def reason(error: OSError) -> str:
    return error.strerror or str(error)


# --- files ------------------------------------------------------------------------------------------------------------


def absolute(path: str) -> str:
    """The path as seen from here, links kept. Raises Refusal when the current directory is gone."""
    if not path:
        raise UsageError("the file name is empty.")
    try:
        return os.path.abspath(path)
    except OSError:
        raise Refusal("the current directory no longer exists: cd to another one first.") from None


def open_text(path: str) -> BinaryIO:
    """A regular file that is not binary, opened for reading. Raises Refusal with the cause."""
    name = visible(path)
    try:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            raise Refusal(f"{name} is a directory: list it with ls, or name a file in it.")
        if not stat.S_ISREG(found.st_mode):
            raise Refusal(f"{name} is not a regular file.")
        stream = open(path, "rb")  # noqa: SIM115  # the caller closes it
        sample = stream.read(SAMPLE)
        stream.seek(0)
    except FileNotFoundError:
        raise Refusal(f"there is no file {name} (find_file searches for names).") from None
    except (OSError, ValueError) as error:
        cause = reason(error) if isinstance(error, OSError) else str(error)
        raise Refusal(f"{name} cannot be opened: {cause}.") from None
    refuse_binary(path, sample)
    return stream


def refuse_binary(path: str, sample: bytes) -> None:
    name = visible(path)
    image = path.lower().endswith(IMAGES)
    if image and sample:
        try:
            sample[:64].decode("ascii")
        except UnicodeDecodeError:
            raise Refusal(f"{name} is an image: it cannot be shown as text.") from None
    if b"\0" in sample:
        raise Refusal(f"{name} is a binary file: look at it with a program that knows its format.")


def read_text(path: str) -> bytes:
    """Content of a text file that is to be edited. Raises Refusal unless it is UTF-8 of a sane size."""
    with open_text(path) as stream:
        if os.fstat(stream.fileno()).st_size > EDIT_LIMIT:
            raise Refusal(
                f"{visible(path)} is larger than {EDIT_LIMIT >> 20} MiB: change it with a program (sed, python)."
            )
        content = stream.read()
    refuse_binary(path, content)
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Refusal(
            f"{visible(path)} is not UTF-8 text (line {line}): convert it first, with iconv -f latin1 -t utf-8."
        ) from None
    return content


def split_lines(content: bytes) -> list[bytes]:
    """The lines, each with its line end; only \\n ends a line (so that \\r\\n keeps its \\r)."""
    parts = content.split(b"\n")
    lines = [part + b"\n" for part in parts[:-1]]
    if parts[-1]:
        lines.append(parts[-1])
    return lines


def write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


class signals_held:
    """No signal but KILL comes between the first and the last byte of a file."""

    def __enter__(self) -> None:
        self.mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, range(1, 32))

    def __exit__(self, *_: object) -> None:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self.mask)


def replace_content(path: str, old: bytes, new: bytes) -> None:
    """Writes a file that exists: by a new file renamed over it, so that nobody ever sees half of it.

    Where that would lose something (hard links, an owner, extended attributes, a folder that is not ours, a file that
    is a mount point) it is written in place. Mode and symbolic links stay. Raises Refusal; then the file is as before.
    """
    real = os.path.realpath(path)
    try:
        os.close(os.open(real, os.O_WRONLY | os.O_CLOEXEC))
        with signals_held():
            if not _replace_by_rename(real, new):
                _write_in_place(real, old, new)
    except OSError as error:
        raise Refusal(f"{visible(path)} cannot be written: {reason(error)}. It is as it was.") from None


def _replace_by_rename(real: str, new: bytes) -> bool:
    found = os.stat(real)
    if found.st_nlink != 1 or (hasattr(os, "listxattr") and os.listxattr(real)):
        return False
    folder, name = os.path.split(real)
    spare = os.path.join(folder, f".{name[:200]}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(spare, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError:
        return False
    done = False
    try:
        try:
            made = os.fstat(descriptor)
            if (made.st_uid, made.st_gid) != (found.st_uid, found.st_gid):
                os.fchown(descriptor, found.st_uid, found.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(found.st_mode))
        except OSError:
            return False
        write_all(descriptor, new)
        try:
            os.replace(spare, real)
        except OSError:
            return False
        done = True
        return True
    finally:
        os.close(descriptor)
        if not done:
            os.unlink(spare)


def _write_in_place(real: str, old: bytes, new: bytes) -> None:
    descriptor = os.open(real, os.O_WRONLY | os.O_CLOEXEC)
    try:
        try:
            write_all(descriptor, new)
            os.ftruncate(descriptor, len(new))
        except OSError:
            os.lseek(descriptor, 0, os.SEEK_SET)
            write_all(descriptor, old)
            os.ftruncate(descriptor, len(old))
            raise
    finally:
        os.close(descriptor)


# --- the open file ----------------------------------------------------------------------------------------------------


class OpenFile:
    """The file the window is on, its first line in sight and the current line (counted from 1)."""

    def __init__(self, path: str, first_line: int, current_line: int) -> None:
        self.path = path
        self.first_line = first_line
        self.current_line = current_line


def state_path() -> str:
    return os.path.join(os.environ.get("HOME") or "/home/agent", ".mlgym", "window")


def load_state() -> OpenFile | None:
    """What was open last. A file that is missing or damaged means that nothing is."""
    try:
        with open(state_path(), "rb") as stream:
            head, _, path = stream.read(16384).partition(b"\n")
        first, current = (int(word) for word in head.split(b" "))
    except (OSError, ValueError):
        return None
    path = path[:-1] if path.endswith(b"\n") else b""
    if not path.startswith(b"/") or b"\0" in path or not 1 <= first < 1 << 62 or not 1 <= current < 1 << 62:
        return None
    return OpenFile(os.fsdecode(path), first, current)


def save_state(state: OpenFile) -> None:
    target = state_path()
    content = b"%d %d\n%s\n" % (state.first_line, state.current_line, os.fsencode(state.path))
    spare = f"{target}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        with open(spare, "wb") as stream:
            stream.write(content)
        os.replace(spare, target)
    except OSError as error:
        say(f"(The open file cannot be remembered ({reason(error)}): name the file in each command.)", error=True)


def need_open() -> OpenFile:
    state = load_state()
    if state is None:
        raise NothingOpen("no file is open: open one first.")
    return state


def target_file(named: list[str]) -> tuple[str, bool]:
    """The file a command is about, and whether that makes another file the open one. Raises Refusal without any."""
    state = load_state()
    if named:
        path = absolute(named[0])
        return path, state is None or state.path != path
    if state is None:
        raise NothingOpen("no file is open: name the file in the command, or open it first.")
    return state.path, False


# --- the window -------------------------------------------------------------------------------------------------------


def window_size() -> int:
    try:
        size = int(os.environ.get("WINDOW", ""))
    except ValueError:
        return 100
    return min(size, 100000) if size > 0 else 100


class LineReader:
    """The lines of a file of any size, of which only those asked for are kept."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.total = 0
        self._before: list[int] = []  # lines ended before each chunk
        last = b"\n"
        stream.seek(0)
        while True:
            piece = stream.read(CHUNK)
            if not piece:
                break
            self._before.append(self.total)
            self.total += piece.count(b"\n")
            last = piece[-1:]
        if last != b"\n":
            self.total += 1

    def _seek(self, line: int) -> None:
        skip = line - 1
        chunk = max((at for at, before in enumerate(self._before) if before < skip), default=0)
        self.stream.seek(chunk * CHUNK)
        if skip == 0:
            return
        piece = self.stream.read(CHUNK)
        offset = 0
        for _ in range(skip - self._before[chunk]):
            offset = piece.index(b"\n", offset) + 1
        self.stream.seek(chunk * CHUNK + offset)

    def lines(self, first: int, last: int) -> list[str]:
        """Lines `first` to `last`, fit to be shown."""
        if last < first:
            return []
        self._seek(first)
        shown = []
        for number in range(first, last + 1):
            kept = self.stream.readline(4 * LINE_LIMIT + 8)
            cut = 0
            tail = kept
            while tail and not tail.endswith(b"\n"):
                tail = self.stream.readline(CHUNK)
                cut += characters(tail[:-1] if tail.endswith(b"\n") else tail)
            if number == 1 and kept.startswith(BOM):
                kept = kept[len(BOM) :]
            if kept.endswith(b"\n"):
                kept = kept[:-1]
            if kept.endswith(b"\r"):
                kept = kept[:-1]
            text = kept.decode("utf-8", "backslashreplace")
            cut += max(0, len(text) - LINE_LIMIT)
            text = visible(text[:LINE_LIMIT])
            shown.append("{}... ({} cut)".format(text, plural(cut, "more character")) if cut else text)
        return shown


def characters(utf8: bytes) -> int:
    return len(utf8.translate(None, bytes(range(0x80, 0xC0))))


def numbered(reader: LineReader, first: int, last: int) -> list[str]:
    return [f"{first + index}:{text}" for index, text in enumerate(reader.lines(first, last))]


def show_window(path: str, first: int, current: int, notes: list[str] | None = None) -> None:
    """Prints the window that begins at line `first` (moved so that it is full), remembers and reports it."""
    size = window_size()
    with open_text(path) as stream:
        reader = LineReader(stream)
        total = reader.total
        first = max(1, min(first, total - size + 1))
        last = min(total, first + size - 1)
        rows = [f"[File: {visible(path)} ({total} lines total)]"]
        if first > 1:
            rows.append("({} above)".format(plural(first - 1, "more line")))
        rows += numbered(reader, first, last)
        if last < total:
            rows.append("({} below)".format(plural(total - last, "more line")))
    current = max(1, min(current, total))
    say("\n".join(rows + (notes or [])))
    save_state(OpenFile(path, first, current))
    if total == 0:
        first = last = current = 0
    report_window(path, first, last, total, current)


def show_around(path: str, line: int, notes: list[str] | None = None) -> None:
    """The window with `line` one sixth below its top, so that most of it shows what follows."""
    show_window(path, line - window_size() // 6, line, notes)


def line_number(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= 15):
        raise UsageError(f"{word!r} is not a line number.")
    return int(word)


def show_line(path: str, line: int) -> None:
    with open_text(path) as stream:
        total = LineReader(stream).total
    notes = []
    if line > total:
        notes.append(f"(There is no line {line}: the file ends at line {total}.)")
    elif line < 1:
        notes.append("(Lines are counted from 1.)")
    show_around(path, max(1, min(line, total)), notes)


# --- the host ---------------------------------------------------------------------------------------------------------


def connect(seconds: float | None) -> socket:
    import _socket  # the module socket takes 8 ms to import

    link: socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    link.settimeout(seconds)
    link.connect(os.environ.get("MLGYM_SOCKET") or "/run/mlgym/socket")
    return link


def ask(message: str, seconds: float | None) -> bytes:
    """Sends one line to the host and returns its one-line answer. Raises OSError (also when time is up)."""
    deadline = None if seconds is None else time.monotonic() + seconds
    link = connect(seconds)
    try:
        link.sendall(message.encode("ascii") + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            if deadline is not None:
                link.settimeout(max(0.001, deadline - time.monotonic()))
            piece = link.recv(65536)
            if not piece:
                break
            answer += piece
        return answer
    finally:
        link.close()


def json_text(text: str) -> str:
    clean = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    try:
        from _json import encode_basestring_ascii as encode
    except ImportError:
        from json import dumps as encode
    return str(encode(clean))


def report_window(path: str, first: int, last: int, total: int, current: int) -> None:
    message = '{"request":"window","path":%s,"first_line":%s,"last_line":%s,"total_lines":%s,"current_line":%s}'
    try:
        ask(message % (json_text(path), first, last, total, current), REPORT_SECONDS)
    except OSError:
        return  # nobody listens: the command itself is done


def request(name: str, **fields: str | int) -> int:
    """Asks the host for something, prints what it says, and returns the exit code that it gives."""
    message = f'{{"request":"{name}"'
    for key, value in fields.items():
        message += f',"{key}":{value if isinstance(value, int) else json_text(value)}'
    if len(message) > REQUEST_LIMIT:
        raise Refusal("that is too long.")
    try:
        answer = ask(message + "}", None)
    except OSError as error:
        raise Refusal(f"the workbench cannot be reached to {name} ({reason(error)}). Try again.") from None
    import json

    try:
        reply = json.loads(answer)
        text, code = str(reply["text"] if "text" in reply else reply["message"]), int(reply.get("exit_code", 1))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Refusal(f"the workbench gave no answer to {name}. Try again.") from None
    if text:
        say(text[:-1] if text.endswith("\n") else text)
    return code if 0 <= code <= 255 else 1


# --- commands: the window ---------------------------------------------------------------------------------------------


def command_open(arguments: list[str]) -> int:
    if len(arguments) not in (1, 2):
        raise UsageError("a path is needed, and at most one line number.")
    line = line_number(arguments[1]) if len(arguments) == 2 else None
    path = absolute(arguments[0])
    if line is None:
        show_window(path, 1, 1)
    else:
        show_line(path, line)
    return 0


def command_goto(arguments: list[str]) -> int:
    if len(arguments) != 1:
        raise UsageError("one line number is needed.")
    line = line_number(arguments[0])
    show_line(need_open().path, line)
    return 0


def no_arguments(arguments: list[str]) -> None:
    if arguments:
        raise UsageError("no arguments are taken.")


def scroll(arguments: list[str], direction: int) -> int:
    no_arguments(arguments)
    state = need_open()
    first = state.first_line + direction * max(1, window_size() - OVERLAP)
    if first < 1 and state.first_line <= 1:
        notes = ["(The window is already at the top of the file.)"]
    elif direction > 0 and _at_end(state):
        notes = ["(The window is already at the end of the file.)"]
    else:
        notes = []
    first = max(1, first)
    show_window(state.path, first, first, notes)
    return 0


def _at_end(state: OpenFile) -> bool:
    with open_text(state.path) as stream:
        return state.first_line + window_size() > LineReader(stream).total


def command_scroll_up(arguments: list[str]) -> int:
    return scroll(arguments, -1)


def command_scroll_down(arguments: list[str]) -> int:
    return scroll(arguments, 1)


# --- commands: changing files -----------------------------------------------------------------------------------------

NULL_DEVICE = (1, 3)
TEXT_ENDS = tuple(map(str.encode, ENDINGS))


def standard_input(interactive: bool) -> bytes | None:
    """The text given to the command, without a final line that only ends it; None when none was given.

    From a terminal it is read (if `interactive`) up to such a line.
    """
    try:
        found = os.fstat(0)
        if stat.S_ISCHR(found.st_mode) and (os.major(found.st_rdev), os.minor(found.st_rdev)) == NULL_DEVICE:
            return None
        if os.isatty(0):
            if not interactive:
                return None
            say(f"(Type the text, then a line {ENDINGS[0]}.)", error=True)
            lines: list[bytes] = []
            for line in sys.stdin.buffer:
                if line.strip() in TEXT_ENDS:
                    break
                lines.append(line)
            text = b"".join(lines)
        else:
            text = sys.stdin.buffer.read(EDIT_LIMIT + 1)
    except (OSError, AttributeError):
        return None  # standard input is closed
    if len(text) > EDIT_LIMIT:
        raise Refusal(f"the text is larger than {EDIT_LIMIT >> 20} MiB.")
    body, newline, last = text[:-1].rpartition(b"\n")
    if last.strip() in TEXT_ENDS:
        text = body + newline
    if b"\0" in text:
        raise Refusal("the text holds NUL bytes: nothing was changed.")
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal("the text is not UTF-8: nothing was changed.") from None
    return text


def spliced(content: bytes, start: int, end: int, text: bytes) -> bytes:
    """`content` with its lines start..end (counted from 0, `end` excluded) replaced by the text.

    Every other byte stays. The text takes the file's line ends where all of them are CRLF, and a file without a final
    newline stays without.
    """
    bom = BOM if content.startswith(BOM) else b""
    lines = split_lines(content[len(bom) :])
    ended = [line for line in lines if line.endswith(b"\n")]
    crlf = bool(ended) and all(line.endswith(b"\r\n") for line in ended)
    newline = b"\r\n" if crlf else b"\n"
    if text and not text.endswith(b"\n"):
        text += b"\n"
    if crlf:
        text = text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    before, after = lines[:start], lines[end:]
    if lines and not lines[-1].endswith(b"\n") and not after and text:
        if before and not before[-1].endswith(b"\n"):
            before[-1] += newline
        bare = text[: -len(newline)]
        if bare and not bare.endswith(b"\n"):
            text = bare
    return bom + b"".join(before) + text + b"".join(after)


class Finding:
    """What is wrong or doubtful about a Python file, and in which line (0: not known)."""

    def __init__(self, line: int, message: str, refused: bool = False) -> None:
        self.line = line
        self.message = message
        self.refused = refused
        """Whether the strict linter refuses an edit that brings it in."""

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


def compiler_findings(content: bytes, path: str) -> tuple[Finding | None, list[Finding]]:
    """What keeps Python from compiling the text, or None, and what the compiler warns of."""
    import warnings

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            compile(content, path, "exec", dont_inherit=True)
        except SyntaxError as error:
            return Finding(error.lineno or 0, f"{type(error).__name__}: {error.msg or 'invalid syntax'}", True), []
        except (ValueError, RecursionError, MemoryError, OverflowError):
            return None, []  # too much for this compiler, which says nothing about the program
    return None, [Finding(item.lineno, str(item.message)) for item in caught]


def compiles_elsewhere(content: bytes) -> bool:
    """Whether the Python of the agent's PATH, which may be newer than this one, compiles the text."""
    mine = os.path.realpath(sys.executable or "")
    for folder in os.environ.get("PATH", "").split(":"):
        for name in ("python3", "python"):
            program = os.path.join(folder, name)
            if not folder.startswith("/") or not os.access(program, os.X_OK):
                continue
            if os.path.realpath(program) == mine:
                return False
            import subprocess

            script = "import sys; compile(sys.stdin.buffer.read(), 'x', 'exec', dont_inherit=True)"
            try:
                done = subprocess.run(
                    [program, "-I", "-S", "-W", "ignore", "-c", script],
                    input=content,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    timeout=5,
                )
            except (OSError, subprocess.SubprocessError):
                return False
            return done.returncode == 0
    return False


UNDEFINED = ("UndefinedName", "UndefinedExport", "DuplicateArgument")
"""What pyflakes calls the faults that flake8 numbers F821, F822 and F831."""


class NoExamples:
    """Stands for the parser of doctest."""

    def get_examples(self, text: str, name: str = "") -> list[object]:
        return []


def linter_findings(content: bytes, path: str) -> list[Finding]:
    """What pyflakes says of a file that compiles; nothing where it is not there.

    That something is not used is left out: in a file that is being written, much is not used yet.
    """
    folder = os.environ.get("MLGYM_LINTER") or os.path.dirname(os.path.abspath(__file__))
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        import ast

        for name in ("collections", "contextlib", "functools", "re", "string", "warnings"):
            __import__(name)  # Python's own are compiled where they are, and not in the cache for pyflakes
        # It asks doctest, which takes longer to load than all the rest, for examples: there are none.
        sys.modules["doctest"] = doctest = type(sys)("doctest")
        doctest.__dict__["DocTestParser"] = NoExamples
        sys.pycache_prefix = os.path.join(os.path.dirname(state_path()), "cache")
        from pyflakes.checker import Checker  # type: ignore[import-untyped,unused-ignore]

        found = [(type(item).__name__, item) for item in Checker(ast.parse(content), path).messages]
    except Exception:  # a linter that fails is no reason to refuse an edit
        return []
    finally:
        sys.pycache_prefix = None
    return [
        Finding(item.lineno, item.message % item.message_args, name in UNDEFINED)
        for name, item in found
        if not name.startswith("Unused")
    ]


def indentation_findings(content: bytes) -> list[Finding]:
    """Statements that are not indented by a multiple of four columns (flake8's E111)."""
    import io
    import tokenize

    blank = (tokenize.ENCODING, tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    found = []
    begins = True
    try:
        for token in tokenize.tokenize(io.BytesIO(content).readline):
            if token.type == tokenize.NEWLINE:
                begins = True
            elif begins and token.type not in blank:
                begins = False
                if len(token.line[: token.start[1]].expandtabs(8)) % 4:
                    found.append(Finding(token.start[0], "the indentation is not a multiple of four", True))
    except (tokenize.TokenError, SyntaxError):
        pass
    return found


def findings(content: bytes, path: str, mode: str) -> tuple[Finding | None, list[Finding]]:
    """What keeps the text from compiling, and all else that is to be said of it, by line."""
    problem, found = compiler_findings(content, path)
    if problem is None and mode != "off":
        found += linter_findings(content, path)
    if mode == "refuse":
        found += indentation_findings(content)
    lines = content.split(b"\n")
    silenced = [number for number, line in enumerate(lines, 1) if b"# noqa" in line.lower()]
    return problem, sorted((item for item in found if item.line not in silenced), key=lambda item: item.line)


def checked(path: str, old: bytes, new: bytes, start: int, end: int) -> list[str]:
    """Doubts about the new text that the old one, whose lines start..end (from 0, `end` excluded) it replaces, did not
    raise. Raises Refusal when it no longer compiles, or when the linter is strict and it brings in what that refuses.
    """
    if not path.endswith((".py", ".pyw", ".pyi")):
        return []
    mode = os.environ.get("MLGYM_LINT", "")
    strict = mode == "refuse"
    moved = len(split_lines(new)) - len(split_lines(old))
    problem, after = findings(new, path, mode)
    broken, before = findings(old, path, mode)

    def fresh(item: Finding) -> bool:
        known = [*before, *([broken] if broken is not None else [])]
        place = item.line - moved if item.line > end + moved else item.line
        outside = not start < item.line <= end + moved
        return not (outside and any((place, item.message) == (other.line, other.message) for other in known))

    notes = []
    if problem is not None:
        if broken is None and compiles_elsewhere(new):
            return []
        if broken is None or (strict and fresh(problem)):
            verdict = "would no longer compile" if broken is None else "would still not compile"
            raise refused_edit(path, old, new, start, end, verdict, [problem])
        notes = [f"The file did not compile before and does not compile now: {problem}"]
    after = [item for item in after if fresh(item)]
    refused = [item for item in after if item.refused]
    if strict and refused:
        raise refused_edit(path, old, new, start, end, "would have new faults that the linter refuses", refused)
    notes += [str(item) for item in after if not strict]
    if len(notes) > SAMPLE_LINES:
        notes[SAMPLE_LINES:] = [f"and {len(notes) - SAMPLE_LINES} more"]
    return [f"(Warning: {visible(note)})" for note in notes]


def excerpt(content: bytes, first: int, last: int) -> list[str]:
    import io

    reader = LineReader(io.BytesIO(content))
    last = min(last, reader.total)
    rows = numbered(reader, max(1, first), last)
    return rows or ["(no lines)"]


def refused_edit(
    path: str, old: bytes, new: bytes, start: int, end: int, verdict: str, faults: list[Finding]
) -> Refusal:
    """Says why, where the new text fails, and how the lines still are."""
    line = faults[0].line or start + 1
    rows = [f"{visible(path)} {verdict}, so nothing was changed."]
    rows += [visible(str(item)) for item in faults[:SAMPLE_LINES]]
    rows += ["", f"The text as it would have been, around line {line}:", *excerpt(new, line - 5, line + 5)]
    if old:
        rows += ["", "The text as it is:", *excerpt(old, start - 2, min(end, start + 2 * SAMPLE_LINES) + 3)]
    return Refusal("\n".join(rows))


def change(path: str, switched: bool, start: int, end: int, text: bytes, done: str) -> int:
    """Replaces lines start..end (from 0, `end` excluded) of the file, says that it is `done`, and shows the result."""
    old = read_text(path)
    new = spliced(old, start, end, text)
    notes = checked(path, old, new, start, end)
    if new == old:
        say(f"{visible(path)}: the text is the same as before; nothing was changed.")
    else:
        replace_content(path, old, new)
        say(f"{visible(path)}: {done}" + (" It is now the open file." if switched else ""))
    show_around(path, start + 1, notes)
    return 0


def take_option(arguments: list[str], option: str) -> bool:
    head = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if option not in head:
        return False
    arguments.remove(option)
    return True


def positional(arguments: list[str]) -> list[str]:
    """The arguments without a `--`; an unknown option before it is an error."""
    words: list[str] = []
    for index, word in enumerate(arguments):
        if word == "--":
            return words + arguments[index + 1 :]
        if word.startswith("-") and len(word) > 1:
            raise UsageError(f"there is no option {word} (a name that begins with - goes after --).")
        words.append(word)
    return words


def count_lines(text: bytes) -> str:
    return plural(len(split_lines(text)), "line")


def line_range(word: str) -> tuple[int, int]:
    first, colon, last = word.partition(":")
    if not colon:
        raise UsageError(f"{word!r} is not a range of lines such as 3:5 (for one line, 3:3).")
    return line_number(first), line_number(last)


def command_edit(arguments: list[str]) -> int:
    arguments = list(arguments)
    delete = take_option(arguments, "--delete")
    words = positional(arguments)
    if len(words) not in (1, 2):
        raise UsageError("a range of lines is needed, and at most one file.")
    if len(words) == 2 and ":" not in words[0] and ":" in words[1]:
        raise UsageError(f"the range comes first: edit {words[1]} {words[0]}")
    first, last = line_range(words[0])
    path, switched = target_file(words[1:])
    total = len(split_lines(read_text(path)))
    name = visible(path)
    if last < first:
        raise Refusal(f"{first}:{last} is not a range: it ends before it begins. To add lines, use insert.")
    if first > total + 1 or (first == 0 and total > 0):
        raise Refusal("{} has {}, counted from 1: there is no line {}.".format(name, plural(total, "line"), first))
    text = b"" if delete else standard_input(interactive=True)
    if not text and not delete:
        raise UsageError("no replacement text was given. To delete the lines: edit {} --delete".format(" ".join(words)))
    start = max(0, first - 1)
    end = min(last, total)
    if start >= end and not text:
        raise Refusal("{} has {}: there is nothing to delete.".format(name, plural(total, "line")))
    if not text:
        done = "{} deleted.".format(plural(end - start, "line"))
    elif start >= end:
        done = f"{count_lines(text)} added at the end."
    else:
        old = f"line {first}" if first == end else f"lines {first} to {end}"
        done = f"{old} replaced by {count_lines(text)}."
    if last > max(total, 1):
        done += f" (The file ended at line {total}.)"
    return change(path, switched, start, max(start, end), text or b"", done)


def command_insert(arguments: list[str]) -> int:
    words = positional(arguments)
    if len(words) not in (1, 2):
        raise UsageError("a line number is needed, and at most one file.")
    after = line_number(words[0])
    path, switched = target_file(words[1:])
    total = len(split_lines(read_text(path)))
    if total == 0 and after == 1:
        after = 0
    if after > total:
        raise Refusal("{} has {}: there is no line {}.".format(visible(path), plural(total, "line"), after))
    text = standard_input(interactive=True)
    if not text:
        raise UsageError("no text to insert was given.")
    done = f"{count_lines(text)} inserted " + (f"after line {after}." if after else "at the top.")
    return change(path, switched, after, after, text, done)


def command_create(arguments: list[str]) -> int:
    words = positional(arguments)
    if len(words) != 1:
        raise UsageError("one file name is needed.")
    path = absolute(words[0])
    name = visible(path)
    if words[0].endswith("/"):
        raise Refusal(f"{name}/ names a folder: make it with mkdir.")
    if os.path.lexists(path):
        if not os.path.exists(path):
            raise Refusal(f"{name} is a link to something that does not exist.")
        show_window(path, 1, 1)
        raise Refusal(f"{name} exists already; it was left as it is and opened.")
    text = standard_input(interactive=False) or b""
    notes = checked(path, b"", text, 0, 0) if text else []
    try:
        with signals_held():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            try:
                write_all(descriptor, text)
            except OSError:
                os.unlink(path)
                raise
            finally:
                os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        folder = visible(os.path.dirname(path))
        raise Refusal(f"there is no folder {folder}: make it first, with mkdir -p.") from None
    except OSError as error:
        raise Refusal(f"{name} cannot be created: {reason(error)}.") from None
    show_window(path, 1, 1, notes)
    return 0


# --- commands: searching ----------------------------------------------------------------------------------------------


def files_below(folder: str) -> list[str]:
    """All regular files below the folder, sorted, without hidden folders and links."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__pycache__")
        for name in sorted(names):
            path = os.path.join(place, name)
            try:
                if stat.S_ISREG(os.lstat(path).st_mode):
                    found.append(path)
            except OSError:
                continue
    return found


def search_arguments(arguments: list[str], what: str) -> tuple[str, list[str]]:
    words = arguments[1:] if arguments[:1] == ["--"] else arguments
    if len(words) not in (1, 2):
        raise UsageError(f"{what} is needed, and at most one place to look in (quote a term with spaces).")
    if not words[0]:
        raise UsageError(f"{what} is empty.")
    return words[0], words[1:]


def search_folder(named: list[str]) -> str:
    folder = absolute(named[0] if named else ".")
    if not os.path.isdir(folder):
        raise Refusal(f"there is no folder {visible(folder)}.")
    return folder


class Term:
    """What is searched for: a basic regular expression, as grep takes it, else the letters as they stand."""

    def __init__(self, term: str) -> None:
        self.letters = os.fsencode(term)
        self.note = ""
        self.finders: list[Callable[[bytes], tuple[int, int] | None]] = [self._letters]
        if any(mark in term for mark in "\\.[*^$"):
            import re

            try:
                self.pattern = re.compile(python_pattern(term))
                self.finders.insert(0, self._pattern)
            except (ValueError, OverflowError, RecursionError, re.error) as error:
                self.note = f"(This is no regular expression ({error}): it was searched as it stands.)"

    def _pattern(self, line: bytes) -> tuple[int, int] | None:
        """Place and length of the match in a line, in bytes."""
        text = line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
        match = self.pattern.search(text)
        if match is None:
            return None
        start, end = (len(text[:place].encode("utf-8", "surrogateescape")) for place in match.span())
        return start, end - start

    def _letters(self, line: bytes) -> tuple[int, int] | None:
        start = line.find(self.letters)
        return None if start < 0 else (start, len(self.letters))

    def tries(self) -> Iterator[Callable[[bytes], tuple[int, int] | None]]:
        """The finders, one after the other, for as long as nothing is found.

        Where no line matches the expression, those with the letters count: who looks for x[0] means them.
        """
        note = self.note
        for finder in self.finders:
            yield finder
            self.note = "(No line matches it as a regular expression; these have it as it stands.)"
        self.note = note


CLASSES = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": "\\s",
    "blank": " \\t",
    "punct": "!-/:-@\\[-`{-~",
    "xdigit": "0-9A-Fa-f",
    "word": "\\w",
}


def python_pattern(term: str) -> str:
    """A basic regular expression (POSIX, with what GNU adds) in the words of Python's. Raises ValueError."""
    import re

    result: list[str] = []
    bracket_inside = r"(?:\^|(?!\^))(?:\[:.*?:\]|.)(?:\[:.*?:\]|[^]])*"  # a ] that comes first does not end it
    for part in re.finditer(rf"\\(?P<escaped>.)|\[(?P<bracket>{bracket_inside})\]|(?P<plain>.)", term, re.DOTALL):
        begins = not result or result[-1] in ("(", "|", "^")
        escaped, bracket, char = part.group("escaped", "bracket", "plain")
        if escaped is not None:
            if escaped in "(){}|+?" and not (begins and escaped in "{+?"):
                result.append(escaped)
            elif escaped in "<>":
                result.append("\\b(?=\\w)" if escaped == "<" else "\\b(?<=\\w)")
            else:
                result.append("\\" + escaped if escaped in "wWsSbB123456789" else quoted(escaped))
        elif bracket is not None:
            result.append(bracket_pattern(bracket))
        elif char in ("\\", "["):
            raise ValueError("it ends with a backslash" if char == "\\" else "a bracket [ has no end")
        elif char == "*":
            result.append("\\*" if begins else "*")
        elif char == "^":
            result.append("^" if begins and result[-1:] != ["^"] else "\\^")
        elif char == "$":
            result.append("$" if term[part.end() : part.end() + 2] in ("", "\\)", "\\|") else "\\$")
        else:
            result.append("." if char == "." else quoted(char))
    return "".join(result)


def quoted(char: str) -> str:
    return "\\" + char if char in ".^$*+?{}[]|()\\-#&~" else char


def bracket_pattern(inside: str) -> str:
    """The bracket expression with that inside. Raises ValueError."""
    import re

    result = "[^" if inside.startswith("^") else "["
    inside = inside[len(result) - 1 :]
    for part in re.finditer(r"\[:(?:(.*?):\])?|(.)", inside, re.DOTALL):
        name, char = part.groups()
        if char is None:
            if name not in CLASSES:
                raise ValueError(f"there is no class {str(name or inside)[:20]!r}")
            result += CLASSES[name]
        else:
            result += "-" if char == "-" and part.start() > 0 and part.end() < len(inside) else quoted(char)
    return result + "]"


def searched_lines(path: str) -> list[bytes] | None:
    """The lines of a file; none of a binary one, None where it cannot be searched."""
    try:
        with open(path, "rb") as stream:
            content = stream.read(SAMPLE)
            if b"\0" in content:
                return []
            if os.fstat(stream.fileno()).st_size > EDIT_LIMIT:
                return None
            return (content + stream.read()).split(b"\n")
    except OSError:
        return None


def command_search_dir(arguments: list[str]) -> int:
    term, named = search_arguments(arguments, "a term")
    folder = search_folder(named)
    wanted = Term(term)
    paths = files_below(folder)
    counted: list[tuple[str, int]] = []
    skipped: set[str] = set()
    for finder in wanted.tries():
        for path in paths:
            lines = searched_lines(path)
            if lines is None:
                skipped.add(path)
            elif count := sum(finder(line) is not None for line in lines):
                counted.append((path, count))
        if counted:
            break
    remarks = [wanted.note] if wanted.note else []
    if skipped:
        files = plural(len(skipped), "file")
        remarks.append(f"({files} not searched: unreadable, or larger than {EDIT_LIMIT >> 20} MiB)")
    place = f'"{visible(term)}" in {visible(folder)}'
    if len(counted) <= LIST_LIMIT:
        rows = ["{} ({})".format(visible(path), plural(count, "match")) for path, count in counted]
        rows.append(f"End of matches for {place}")
    else:
        rows = summary(folder, counted)
    return tell_matches(sum(count for _, count in counted), place, rows + remarks)


def tell_matches(count: int, place: str, rows: list[str]) -> int:
    """Says what a search found; where that is nothing, only what stands behind the first of the rows."""
    if not count:
        raise Refusal("\n".join([f"no matches for {place}.", *rows[1:]]))
    say("\n".join(["Found {} for {}:".format(plural(count, "match"), place), *rows]))
    return 0


def summary(folder: str, hits: list[tuple[str, int]]) -> list[str]:
    """Too many files to list: how many there are in each part of the folder."""
    parts: dict[str, list[int]] = {}
    for path, count in hits:
        inner = os.path.relpath(path, folder).split(os.sep)
        part = inner[0] + "/" if len(inner) > 1 else "."
        parts.setdefault(part, []).append(count)
    ranked = sorted(parts.items(), key=lambda item: (-len(item[1]), item[0]))
    rows = [f"They are in {len(hits)} files, too many to list. By folder:"]
    rows += ["{} ({})".format(visible(part), plural(len(counts), "file")) for part, counts in ranked[:SAMPLE_LINES]]
    if len(ranked) > SAMPLE_LINES:
        rows.append("... and {}".format(plural(len(ranked) - SAMPLE_LINES, "more folder")))
    return [*rows, "Narrow the search: a longer term, or one of these folders."]


def command_search_file(arguments: list[str]) -> int:
    term, named = search_arguments(arguments, "a term")
    path, _ = target_file(named)
    wanted = Term(term)
    count = 0
    rows: list[str] = []
    with open_text(path) as stream:
        for finder in wanted.tries():
            stream.seek(0)
            for number, line in enumerate(stream, 1):
                found = finder(line)
                if found is not None:
                    count += 1
                    if count <= LIST_LIMIT:
                        rows.append(f"Line {number}:{around(line, *found)}")
            if count:
                break
    place = f'"{visible(term)}" in {visible(path)}'
    if count > LIST_LIMIT:
        rows[SAMPLE_LINES:] = [
            f"... and {count - SAMPLE_LINES} more lines, too many to list. Narrow the search with a longer term."
        ]
    else:
        rows.append(f"End of matches for {place}")
    return tell_matches(count, place, rows + ([wanted.note] if wanted.note else []))


def around(line: bytes, position: int, length: int) -> str:
    """A line fit to be shown, cut around the match when it is long."""
    line = line.rstrip(b"\r\n")
    start, end = 0, len(line)
    if len(line) > LINE_LIMIT:
        start = max(0, min(position - LINE_LIMIT // 4, len(line) - LINE_LIMIT))
        end = max(start + LINE_LIMIT, min(position + length, start + 2 * LINE_LIMIT))
    text = visible(line[start:end].decode("utf-8", "replace"))
    return ("... " if start else "") + text + (" ..." if end < len(line) else "")


def command_find_file(arguments: list[str]) -> int:
    name, named = search_arguments(arguments, "a file name")
    folder = search_folder(named)
    paths = files_below(folder)
    if any(character in name for character in "*?["):
        from fnmatch import fnmatchcase

        found = [path for path in paths if fnmatchcase(os.path.basename(path), name)]
    else:
        found = [path for path in paths if os.path.basename(path) == name]
    place = f'"{visible(name)}" in {visible(folder)}'
    if not found:
        raise Refusal(f"no file is called {place}.")
    rows = ["Found {} called {}:".format(plural(len(found), "file"), place)]
    if len(found) <= LIST_LIMIT:
        rows += [visible(path) for path in found]
    else:
        rows += summary(folder, [(path, 1) for path in found])
    say("\n".join(rows))
    return 0


# --- commands: evaluation ---------------------------------------------------------------------------------------------


def command_validate(arguments: list[str]) -> int:
    no_arguments(arguments)
    return request("validate")


def command_submit(arguments: list[str]) -> int:
    no_arguments(arguments)
    return request("submit")


# --- commands: memory and literature ----------------------------------------------------------------------------------


NEWEST = "*"
"""The query for notes that any of them answers."""


def query_and_number(arguments: list[str], what: str, number: str) -> dict[str, str | int]:
    """What is asked for, and the number behind it."""
    if len(arguments) > 2:
        raise UsageError(f"{what} goes in quotes.")
    if not arguments or not arguments[0].strip():
        raise UsageError(f"{what} is needed.")
    fields: dict[str, str | int] = {"query": arguments[0]}
    for word in arguments[1:]:
        if not (word.isascii() and word.isdigit() and len(word) <= 6 and int(word)):
            raise UsageError(f"{word!r} is not {number}.")
        fields["number"] = int(word)
    return fields


def command_memory_write(arguments: list[str]) -> int:
    if len(arguments) > 1:
        raise UsageError("the text goes in quotes.")
    if arguments:
        return request("memory_write", text=arguments[0])
    text = standard_input(interactive=True) or b""
    return request("memory_write", text=text.decode("utf-8", "replace"))


def command_memory_read(arguments: list[str]) -> int:
    if not arguments or not arguments[0].strip():
        arguments = [NEWEST, *arguments[1:]]
    return request("memory_read", **query_and_number(arguments, "the query", "a number of notes"))


def command_literature_search(arguments: list[str]) -> int:
    return request("literature_search", **query_and_number(arguments, "the query", "a number of papers"))


def command_literature_read(arguments: list[str]) -> int:
    return request("literature_read", **query_and_number(arguments, "the id or address of a paper", "a page number"))


# --- dispatch ---------------------------------------------------------------------------------------------------------


def run(arguments: list[str]) -> int:
    name = arguments[0] if arguments else ""
    if name not in COMMANDS:
        known = ", ".join(COMMANDS)
        say(
            "tools.py: {}. Commands: {}".format(f"no command {name!r}" if name else "a command is needed", known),
            error=True,
        )
        return 2
    usage = COMMANDS[name].usage
    if arguments[1:2] in (["-h"], ["--help"]):
        say(f"Usage: {usage}\n\n{COMMANDS[name].about}")
        return 0
    command: Callable[[list[str]], int] = globals()["command_" + name]
    try:
        return command(arguments[1:])
    except UsageError as error:
        say(f"{name}: {visible(str(error))}\nUsage: {usage}", error=True)
        return 2
    except Refusal as error:
        hint = "\nUsage: " + usage if isinstance(error, NothingOpen) else ""
        say(f"{name}: {error}{hint}", error=True)
        return 1
    except MemoryError:
        say(f"{name}: there is not enough memory for this file.", error=True)
        return 1
    except OSError as error:
        say(f"{name}: failed: {reason(error)}.", error=True)
        return 1


def main() -> int:
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    try:
        return run(sys.argv[1:])
    except KeyboardInterrupt:
        # Die of the signal itself, so that the shell knows and stops the rest of the action too.
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        os.kill(os.getpid(), _signal.SIGINT)
        return 130


def start() -> NoReturn:
    """Runs the command and leaves at once, without taking the interpreter apart."""
    os._exit(main())


if __name__ == "__main__":
    start()
