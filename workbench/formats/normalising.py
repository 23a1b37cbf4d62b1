"""What two faithful runs of the same actions need not share: the table of it, and texts and files without it.

Each row was found in runs that were run again. A value that an action itself says is no chance: `echo "took 5 s"` must
say just that again, and only a program's own "took 5 s" may be another.
"""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import NamedTuple


class Normaliser(NamedTuple):
    """One row of the table."""

    name: str
    what: str
    pattern: re.Pattern[str]


_MONTHS = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DAYS = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_TIME = r"\d\d?:\d\d(?::\d\d)?(?: [AP]M)?(?: [A-Z]{3,4})?"
_NUMBER = r"\d+(?:\.\d+)?(?:e-?\d+)?"
_UNITS = r"(?:ns|µs|us|ms|s|secs?|seconds?|mins?|minutes?|h|hours?)"

NORMALISERS = (
    Normaliser(
        "clock",
        "dates and times of day: of `date`, of listings, of logs, of HTTP",
        re.compile(
            r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d))?)?"
            rf"|(?:{_DAYS},? +)?{_MONTHS} +\d\d?(?:,? +\d{{4}}\b|,? +{_TIME}(?: \d{{4}})?)?"
            rf"|(?:{_DAYS},? +)?\b\d\d? {_MONTHS} \d{{4}}(?: +{_TIME})?"
            r"|\b\d\d?:\d\d(?::\d\d(?:\.\d+)?)?\b"
        ),
    ),
    Normaliser(
        "epoch", "seconds (or parts of them) since 1970", re.compile(r"\b1[5-9]\d{8}(?:\d{3}|\d{6}|\d{9})?(?:\.\d+)?\b")
    ),
    Normaliser(
        "duration",
        "how long something took, and how fast it was",
        re.compile(
            rf"\b{_NUMBER} ?(?:it|steps?|samples?|examples?|[KMGT]?i?B)/s(?:ec)?\b|\b{_NUMBER} ?s/it\b"
            rf"|\b\d+m ?{_NUMBER} ?s\b|\b{_NUMBER} ?{_UNITS}\b(?!/)"
            rf"|(?<=\breal\t)\S+|(?<=\buser\t)\S+|(?<=\bsys\t)\S+"
            rf"|(?i:(?<=time)|(?<=elapsed)|(?<=took)|(?<=duration)|(?<=runtime))[ =:]+{_NUMBER}"
        ),
    ),
    Normaliser(
        "process",
        "numbers of processes: of jobs, of what was killed, where a program tells its own",
        re.compile(
            r"(?i:\bpids?\b)[ =:]*\d+|(?m:^\[\d+\] \d+$)|(?<=: kill: \()\d+(?=\))"
            r"|\b\d+(?= (?:Killed|Terminated|Aborted|Segmentation fault|Done|Running|Hangup|Interrupt)\b)"
            r"|(?<===)\d+(?===)|(?<=ForkPoolWorker-)\d+"
        ),
    ),
    Normaliser(
        "temporary name",
        "files and folders with a name by chance, as mktemp and Python make them",
        re.compile(
            r"\btmp[a-z0-9_]{8}\b|\btmp\.[A-Za-z0-9]{10}\b|(?<=/tmp/)[\w.+-]{0,80}[A-Za-z0-9_]{6,80}(?=[\s/:'\")]|$)"
        ),
    ),
    Normaliser(
        "commit",
        "of git, whose name has the time in it",
        re.compile(
            r"(?<=commit )[0-9a-f]{7,40}\b|(?<=\(root-commit\) )[0-9a-f]{7,40}\b"
            r"|(?m:^(?=[0-9]*[a-f])[0-9a-f]{7,8}(?= \S))|(?<=\bHEAD is now at )[0-9a-f]{7,40}\b|(?m:^[0-9a-f]{40}$)"
        ),
    ),
    Normaliser("address", "of an object in memory", re.compile(r"\b0x[0-9a-f]{6,16}\b")),
    Normaliser("inode", "of a file, as `stat` says it", re.compile(r"\b(?:Inode|Device): \S+")),
    Normaliser("identifier", "UUIDs", re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")),
    Normaliser(
        "folder size",
        "what a listing says of the space that folders take, which is the file system's own matter",
        re.compile(
            r"(?m:^total \d+(?:\.\d+)?[KMGT]?$)|(?m:^d[-rwxsStT]{9}[.+@]? +\d+ +\S+ +\S+ +\d+(?:\.\d+)?[KMGT]?)"
        ),
    ),
)

_HOST = re.compile(r"(?:declare -x |export )?(?:HOSTNAME|HOST)=")
"""A line of `env` that one kind of sandbox has, and another has not."""
_PROGRESS = re.compile(r"\s*#.*?\b(\d[\d,]{0,15}) of (\d[\d,]{0,15})\b")
_PADDED = re.compile(r"(?:^|[ \t]+)#")
_NUMBERED = re.compile(r"^\d+:", re.MULTILINE)
"""A line of a file, as a window or `grep -n` shows it."""
_OF_THE_MACHINE = re.compile(
    r"(?:echo|printf)\b[^;&|\n]*\$(?:\$|!|BASHPID|PPID)|\bdate\b[^;&|\n]*\+|\bls\s+-\w*i|/proc/(?:uptime|loadavg|meminfo|self)"
    r"|print\([^\n]*\b(?:perf_counter|monotonic|process_time|getp?pid|get_ident|id)\w*\("
    r"|(?:^|[;&|]\s*)(?:free|df|uptime|vmstat|iostat|nvidia-smi|ps|top|w|who|lscpu|nproc)\b"
)
"""Actions that ask for numbers of processes, of memory, of clocks: whatever numbers they print are chance, unless the
action itself says them.
"""
_ANY_NUMBER = re.compile(r"\b\d+(?:\.\d+)?(?:[KMGT]i?B?)?\b%?")
_ABOVE = re.compile(r"[-dlbcps][-rwxsStT]{9}.* \.\./?$")
"""The folder above, in a listing: it may be no part of the workspace."""
_UNORDERED = re.compile(r"(?:^|[|;&]\s*)(?:find|du|ls -\w*[fU]|grep -\w*[rR])\b")
"""Actions whose lines come as the file system has them."""
_SORTED = re.compile(r"\|\s*sort\b")


def normalised_text(text: str, said: str) -> str:
    """A text without what is chance in it; `said`: what the actions themselves said."""

    for row in NORMALISERS:
        text = row.pattern.sub(_folder_line if row.name == "folder size" else lambda found: _kept(found, said), text)
    return _PADDED.sub(" #", text)  # a shorter number has more blanks before it


def _kept(found: re.Match[str], said: str) -> str:
    """What an action says itself, as it is; else a mark."""
    word = found[0].strip(" =:")
    own = word in said and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", said)
    return found[0] if own else "#"


def _folder_line(found: re.Match[str]) -> str:
    words = found[0].split()
    return "total #" if words[0] == "total" else " ".join([words[0], *words[2:-1], "#"])


def _unfinished(line: str) -> bool:
    """Whether it is a line of progress that came because some time was over: a time, and how much of how much."""
    found = _PROGRESS.match(line)
    return found is not None and found[1] != found[2]


def normalised_lines(observation: str, action: str, said: str) -> list[str]:
    """The lines of an observation without what is chance in them."""
    lines = []
    of_the_machine = _OF_THE_MACHINE.search(action) is not None
    for line in observation.replace("\r\n", "\n").split("\n"):
        head = _NUMBERED.match(line)  # the number of a line is no time of day
        start = head.end() if head is not None else 0
        rest = normalised_text(line[start:], said)
        if of_the_machine:
            rest = _PADDED.sub(" #", _ANY_NUMBER.sub(lambda found: _kept(found, action), rest))
        lines.append(line[:start] + rest)
    lines = [line for line in lines if not (_HOST.match(line) or _ABOVE.match(line) or _unfinished(line))]
    while lines and not lines[-1].strip():
        lines.pop()
    return sorted(lines) if _UNORDERED.search(action) and not _SORTED.search(action) else lines


# -- files -------------------------------------------------------------------------------------------------------------


def _text(data: bytes, said: str) -> object:
    plain = b"\0" not in data[:8192] and len(data) <= _LONGEST_TEXT
    return normalised_text(data.decode("utf-8"), said) if plain else data


def _members(data: bytes, _said: str) -> object:
    """What is in an archive, whenever it was packed."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(each.filename, each.CRC, each.file_size) for each in archive.infolist()]


def _unpacked(data: bytes, said: str) -> object:
    """What a .gz holds: the files of an archive, else its content."""
    plain = zlib.decompressobj(wbits=31).decompress(data, _LARGEST)
    return _files(plain, said) if _is_tar(plain) else _text(plain, said)


def _is_tar(data: bytes) -> bool:
    return data[257:262] == b"ustar"


def _files(data: bytes, _said: str) -> object:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [
            (each.name, each.mode, each.type, each.linkname, file.read() if file else b"")
            for each in archive
            for file in [archive.extractfile(each) if each.isfile() else None]
        ]


def _compiled(data: bytes, _said: str) -> object:
    return data[:4], data[16:]


FILE_KINDS: tuple[tuple[str, str, Callable[[str, bytes], bool], Callable[[bytes, str], object]], ...] = (
    ("bytecode", "the time of the source in a .pyc", lambda name, data: name.endswith(".pyc"), _compiled),
    ("gzip", "times in a .gz or a .tar.gz", lambda name, data: data.startswith(b"\x1f\x8b"), _unpacked),
    ("tar", "times in a .tar", lambda name, data: _is_tar(data), _files),
    ("archive", "times in a zip file: .npz, .pt, .whl", lambda name, data: data.startswith(b"PK\3\4"), _members),
    ("text", "whatever the table of texts has", lambda name, data: True, _text),
)
"""Name, what is chance in it, which files, and what is left of one."""

_LARGEST, _LONGEST_TEXT = 256 << 20, 8 << 20
"""Bytes that are unpacked; of a text in which chance is looked for."""
_IGNORED = re.compile(r"(?:^|/)(?:\.git/(?:index|logs/.*|objects/.*|refs/.*|ORIG_HEAD)|\.nfs\w+)$")


def is_ignored(path: str) -> bool:
    """Whether a file holds nothing but times, or the names of what does."""
    return _IGNORED.search(path) is not None


def same_file(name: str, recorded: bytes, replayed: bytes, said: str) -> bool:
    """Whether two versions of a file are one but for chance."""
    if recorded == replayed:
        return True
    for _, _, fits, left in FILE_KINDS:
        if fits(name, recorded) and fits(name, replayed):
            try:
                return left(recorded, said) == left(replayed, said)
            except (
                ValueError,
                EOFError,
                OSError,
                NotImplementedError,
                zipfile.BadZipFile,
                tarfile.TarError,
                zlib.error,
            ):
                return False
    return False
