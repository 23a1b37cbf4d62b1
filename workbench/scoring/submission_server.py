"""The program that runs a submission inside its room: loads the file, then answers questions with moves.

Only this file, seccomp.py and the submission are in the room, so it uses nothing but the standard library and runs on
Python 3.8 and later. It holds no secret: whatever a submission does to it (patches, frames, writing to the channel
itself), all that can ever reach the evaluator is text that the evaluator reads as one move per question, or as a fault.

Lines of the channel, each ended by a newline:

    server     hello                      the room is up
    evaluator  load                       before this, nothing of the submission is touched
    server     ready                      the submission is loaded
    evaluator  <id> new                   first round of a game: the history is empty
    evaluator  <id> <row> <column>        the moves of the round before; next, please
    server     <id> <move>                a move: integers joined by commas
    evaluator  <id> call <arguments>      outside of games: a JSON list; {"pairs": [[k, v], …]} stands for a dict
    server     <id> <value>               what was returned, as JSON
    evaluator  <id> send <size> <most>    then <size> bytes: a question for a program that loads a model
    server     <id> = <size>              then <size> bytes, at most <most>: its answer
    server     <id> ? <text>              something was returned that is no move, or no plain value
    server     [<id>] ! <verdict> <text>  the submission failed
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import socket
import stat
import sys
import types
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:  # not there at run time on the oldest versions
    from collections.abc import Callable

    Move = int | list[int]

MAX_TEXT = 600
"""Characters of a message about a fault."""
MAX_VALUE = 4000
"""Characters of a returned value."""
MAX_FILES, MAX_FILES_OF_MODELS = 64, 4096
MAX_FILE_BYTES = 8 << 20


def main(argv: list[str]) -> NoReturn:
    """`submission_server.py name=value …`: file, name, function, seed, memory, cpu, processes (threads and processes
    that it may start), gpu, supervise.
    """
    options = dict(part.split("=", 1) for part in argv)
    if options.get("supervise") == "1":
        supervise()
    channel = connect()
    channel.sendall(b"hello\n")
    # From here on nothing can be taken back: all of it happens before a line of the submission is read.
    redirect_standard_streams()
    set_limits(int(options["memory"]), int(options["cpu"]), int(options["processes"]), options["gpu"] == "1")
    forbid_reaching_others()
    # Every exit is by os._exit: no handler, thread or buffer that the submission leaves behind gets another turn.
    if not told_to_load(channel):
        os._exit(0)
    try:
        with open(options["file"], "rb") as stream:
            source = stream.read()
        function = load(source, options["file"], options["name"], options["function"], int(options["seed"]))
    except BaseException as error:  # SystemExit and KeyboardInterrupt, too: a submission may raise anything
        channel.sendall(fault(error, options["file"], options["name"]))
        os._exit(0)
    channel.sendall(b"ready\n")
    serve(channel.recv, channel.sendall, function, options["file"], options["name"])
    os._exit(0)


class StandardStreams:
    """Standard input and output as a channel, where no socket can be shared with the host."""

    def __init__(self) -> None:
        self._input, self._output = os.dup(0), os.dup(1)

    def recv(self, size: int) -> bytes:
        """The next bytes; empty at the end."""
        return os.read(self._input, size)

    def sendall(self, data: bytes) -> None:
        """Write all of it."""
        while data:
            data = data[os.write(self._output, data) :]


def connect() -> socket.socket | StandardStreams:
    """The channel to the evaluator: standard input, where it is a socket; else the standard streams."""
    if not stat.S_ISSOCK(os.fstat(0).st_mode):
        return StandardStreams()
    channel = socket.socket(fileno=os.dup(0))
    channel.settimeout(None)
    return channel


def told_to_load(channel: socket.socket | StandardStreams) -> bool:
    """Wait for the evaluator; whether it wants the submission. Where there are several rooms, it is loaded in one only
    when the one before is gone, so that no two of them can talk."""
    line = b""
    while not line.endswith(b"\n"):
        data = channel.recv(1)  # what comes behind the line is for others to read
        if not data:
            return False
        line += data
    return line == b"load\n"


def redirect_standard_streams() -> None:
    """What a submission prints is ignored; standard error stays with whoever started this program."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)


def set_limits(memory: int, cpu: int, processes: int, gpu: bool) -> None:
    """Limit this process for good: its threads and further processes, memory in bytes, CPU in seconds, and file sizes.
    With a GPU only private memory is bound: its libraries reserve addresses far beyond what they use.
    """
    limits = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, MAX_FILES_OF_MODELS if processes else MAX_FILES),
        (resource.RLIMIT_FSIZE, MAX_FILE_BYTES),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_DATA if gpu else resource.RLIMIT_AS, memory),
        (resource.RLIMIT_NPROC, processes),
    ]
    for kind, value in limits:
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        try:
            resource.setrlimit(kind, (value, value))
        except (ValueError, OSError):
            if sys.platform == "linux":  # others do not know every limit
                raise


def supervise() -> None:
    """Put a process between this program and whoever started it: a submission that kills its parent kills that one.

    Returns in the child. Each of the two dies with its parent.
    """
    tell_kernel(*DIE_WITH_PARENT)
    # What the submission starts and leaves alone would become a child of init, where nothing counts or kills it.
    tell_kernel(*ADOPT_ORPHANS)
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            os._exit(128 + os.WTERMSIG(status))
        os._exit(os.WEXITSTATUS(status))
    tell_kernel(*DIE_WITH_PARENT)


DIE_WITH_PARENT = (1, 9)
"""PR_SET_PDEATHSIG: this process gets KILL when its parent ends."""
ADOPT_ORPHANS = (36, 1)
"""PR_SET_CHILD_SUBREAPER: what descends from this process stays below it, where it is found and counted."""


def tell_kernel(option: int, value: int) -> None:
    """`prctl`, where there is one (Linux)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value)


def forbid_reaching_others() -> None:
    """Refuse signals, sockets, tracing and leaving the process group (see seccomp.py, beside this file).

    In a sandbox there is nobody to reach; under reduced isolation this is what keeps a submission from its user's
    other processes and from the network.
    """
    import seccomp  # type: ignore[import-not-found]

    why = seccomp.confine(room=True)
    if why and sys.platform == "linux":
        print(why, file=sys.stderr)


class NotASubmission(Exception):
    """The submission lacks what the task asks for."""


def load(source: bytes, path: str, name: str, function: str, seed: int) -> Callable[..., Any]:
    """Run the submission as a module and return its function. Its random numbers repeat from run to run."""
    random.seed(seed)
    # Importing numpy or torch takes up to seconds, so it is done only for a submission that mentions them.
    with contextlib.suppress(ImportError):
        if any(name in source for name in (b"numpy", b"pandas", b"scipy", b"sklearn")):
            import numpy

            numpy.random.seed(seed % 2**32)
        if b"torch" in source:
            import torch  # type: ignore[import-not-found, unused-ignore]

            torch.manual_seed(seed % 2**63)
    try:
        code = compile(source, path, "exec")
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f"{name}, line {line}" if line else name
        raise NotASubmission(f"{where}: {type(error).__name__}: {getattr(error, 'msg', error)}") from None
    module = types.ModuleType(os.path.splitext(name)[0])
    module.__file__ = path
    # Known by its name, as if it had been imported: dataclasses and pickle look their module up.
    sys.modules[module.__name__] = module
    # For programs of the task that load a model: NotASubmission. `player` is what this file was called before.
    sys.modules["submission_server"] = sys.modules["player"] = sys.modules[__name__]
    exec(code, module.__dict__)
    found = module.__dict__.get(function)
    if found is None:
        raise NotASubmission(f"{name} has no function {function}")
    if not callable(found):
        raise NotASubmission(f"{function} in {name} is a {type(found).__name__}, not a function")
    return found  # type: ignore[no-any-return]


def serve(
    receive: Callable[[int], bytes],
    send: Callable[[bytes], None],
    function: Callable[..., Any],
    path: str,
    name: str,
) -> None:
    """Answer one question after the other until the evaluator hangs up or the submission fails."""
    history: list[tuple[Move, Move]] = []
    buffer = bytearray()
    while True:
        while b"\n" not in buffer:
            data = receive(4096)
            if not data:
                return
            buffer += data
        end = buffer.index(b"\n")
        line = bytes(buffer[:end])
        del buffer[: end + 1]
        ident, _, question = line.partition(b" ")
        kind, _, rest = question.partition(b" ")
        try:
            if kind == b"send":
                size, most = map(int, rest.split())
                while len(buffer) < size:
                    data = receive(1 << 20)
                    if not data:
                        return
                    buffer += data
                given, buffer = bytes(buffer[:size]), buffer[size:]
                answer = blob(function(given), most)
            elif kind == b"call":
                answer = encode_value(function(*json.loads(rest, object_hook=pairs))) + b"\n"
            else:
                history = [*history, (decode(kind), decode(rest))] if rest else []
                # A list of its own for each call: changing it changes nothing.
                answer = encode(function([(copy(row), copy(column)) for row, column in history])) + b"\n"
        except BaseException as error:
            send(ident + b" " + fault(error, path, name))
            return
        send(ident + b" " + answer)


def blob(value: Any, most: int) -> bytes:
    """An answer in bytes, behind its size."""
    if not isinstance(value, (bytes, bytearray)):
        raise TypeError(f"the answer is a {type(value).__name__}, not bytes")
    if len(value) > most:
        raise ValueError(f"the answer has {len(value):,} bytes, more than {most:,}")
    return b"= %d\n" % len(value) + value


def pairs(value: dict[str, Any]) -> dict[Any, Any]:
    """The dict that `{"pairs": …}` stands for."""
    return dict(value["pairs"])


def encode_value(value: Any) -> bytes:
    """A returned value as JSON, or `? …` for one that is too large, or not made of plain values."""
    try:
        text = json.dumps(plain(value, 4), allow_nan=False)
    except (TypeError, ValueError):
        text = ""
    if not text or len(text) > MAX_VALUE:
        return b"? " + text_bytes(f"{repr(value)[:100]} ({type(value).__name__})")
    return text.encode("ascii")


def plain(value: Any, depth: int) -> Any:
    """None, bools, numbers (numpy's too), text, and lists of them. Raises TypeError for everything else."""
    if value is None or isinstance(value, (bool, float, str)):
        return value
    if isinstance(value, (list, tuple)) and depth and len(value) <= MAX_VALUE:
        return [plain(item, depth - 1) for item in value]
    if hasattr(value, "dtype") and getattr(value, "shape", None) == ():
        return plain(value.item(), 0)
    if isinstance(value, int):
        return max(-(10**18), min(10**18, int(value)))
    raise TypeError


def decode(text: bytes) -> Move:
    """A move from the channel."""
    return [int(part) for part in text.split(b",")] if b"," in text else int(text)


def copy(move: Move) -> Move:
    """A move that may be changed without harm."""
    return list(move) if type(move) is list else move


def encode(value: Any) -> bytes:
    """A move as text, or `? …` for what is none."""
    number = integer(value)
    if number is not None:
        return b"%d" % number
    if not isinstance(value, (str, bytes, bytearray, dict, set, frozenset)) and hasattr(value, "__len__"):
        if 0 < len(value) <= 64:
            numbers = [integer(item) for item in value]
            if None not in numbers:
                return b"%s" % ",".join(str(item) for item in numbers).encode()
        elif len(value):
            return b"? " + text_bytes(f"a {type(value).__name__} of length {len(value)}")
    return b"? " + text_bytes(f"{repr(value)[:100]} ({type(value).__name__})")


def integer(value: Any) -> int | None:
    """Whole numbers of any kind (bool, numpy, 1.0) as int, cut to 10**9; None for everything else."""
    if isinstance(value, int):
        number = int(value)
    elif hasattr(value, "__index__"):
        try:
            number = value.__index__()
        except TypeError:  # an array
            return None
    elif isinstance(value, float) or (hasattr(value, "__float__") and getattr(value, "shape", None) == ()):
        if not float(value).is_integer():  # nor are NaN and infinity
            return None
        number = int(float(value))
    else:
        return None
    return number if abs(number) <= 10**9 else 10**9


def fault(error: BaseException, path: str, name: str) -> bytes:
    """The line that reports a failure: the exception, and the line of the submission that it came from."""
    if isinstance(error, NotASubmission):
        return b"! invalid " + text_bytes(str(error)) + b"\n"
    try:
        said = str(error)  # which is the submission's code, and may fail
    except BaseException:
        said = ""
    kind = type(error).__name__
    if isinstance(error, SystemExit):
        kind, said = "it ended its process by SystemExit", repr(getattr(error, "code", None))
    where = ""
    trace = error.__traceback__  # walked here: the module traceback is the submission's to patch, and reads its files
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            where = f"{name}, line {trace.tb_lineno}, in {trace.tb_frame.f_code.co_name}: "
        trace = trace.tb_next
    message = where + (kind + ": " + said if said else kind)
    return b"! crashed " + text_bytes(message.replace(path, name)) + b"\n"


def text_bytes(text: str) -> bytes:
    """One line of bounded length."""
    line = " ".join(text[: 4 * MAX_TEXT].split())[:MAX_TEXT]
    return line.encode("utf-8", "replace")


if __name__ == "__main__":
    main(sys.argv[1:])
