"""The event log: append-only, whole lines, and a reader that takes what is good."""

from __future__ import annotations

import base64
import json
import random
import resource
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.session import events as ev
from workbench.session.clock import Clock
from workbench.session.log import EVENTS_FILE, EventLog, LogError, is_locked, read_log, repair_log
from workbench.session.objects import ObjectStore, content_hash
from workbench.session.secrets import REPLACEMENT, Redactor, secrets_in

KEY = "sk-Very/secret+0123"


def write_log(folder: Path, count: int = 20) -> list[ev.Event]:
    log = EventLog(folder, Clock())
    written = [log.append(ev.SessionStarted(format=ev.FORMAT, task="blotto"))]
    for number in range(1, count):
        written.append(log.append(ev.NoteAdded(text=f"note {number} – " + "x" * (number * 7 % 50))))
    log.close()
    return written


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    written = write_log(tmp_path)
    events, problems = read_log(tmp_path)
    assert events == written
    assert problems == []
    assert [event.seq for event in events] == list(range(20))


def test_a_line_is_an_object_with_name_time_and_fields(tmp_path: Path) -> None:
    write_log(tmp_path, 2)
    line = json.loads((tmp_path / EVENTS_FILE).read_text().splitlines()[1])
    assert line["event"] == "note.added"
    assert line["seq"] == 1
    assert line["time"].endswith("Z")
    assert line["elapsed"] >= 0
    assert line["text"].startswith("note 1")


def test_every_cut_reopens_with_the_good_prefix(tmp_path: Path) -> None:
    written = write_log(tmp_path)
    data = (tmp_path / EVENTS_FILE).read_bytes()
    dice = random.Random(7)
    for cut in [dice.randrange(len(data)) for _ in range(200)]:
        (tmp_path / EVENTS_FILE).write_bytes(data[:cut])
        whole = data[:cut].count(b"\n")
        events, problems = repair_log(tmp_path)
        assert events == written[:whole]
        assert bool(problems) == (not data[:cut].endswith(b"\n") and cut > 0)
        log = EventLog(tmp_path, Clock(), next_seq=len(events))
        log.append(ev.NoteAdded(text="and on"))
        log.close()
        again, problems = read_log(tmp_path)
        assert len(again) == whole + 1
        assert problems == [] or whole == 0


def test_what_repair_cuts_is_kept_aside(tmp_path: Path) -> None:
    write_log(tmp_path, 3)
    file = tmp_path / EVENTS_FILE
    file.write_bytes(file.read_bytes() + b'{"event":"note.ad')
    _, problems = repair_log(tmp_path)
    assert "cut off" in problems[0]
    assert (tmp_path / "events.damaged").read_bytes() == b'{"event":"note.ad'
    assert read_log(tmp_path)[1] == []


@given(st.binary(min_size=1, max_size=60), st.integers(0, 2000))
def test_no_damage_raises(tmp_path_factory: pytest.TempPathFactory, garbage: bytes, at: int) -> None:
    folder = tmp_path_factory.mktemp("log")
    written = write_log(folder, 12)
    data = bytearray((folder / EVENTS_FILE).read_bytes())
    data[at : at + len(garbage)] = garbage
    (folder / EVENTS_FILE).write_bytes(bytes(data))
    events, _ = read_log(folder)
    before = bytes(data[:at]).count(b"\n")
    assert events[:before] == written[:before]


def test_damage_in_the_middle_ends_the_reading(tmp_path: Path) -> None:
    written = write_log(tmp_path, 10)
    lines = (tmp_path / EVENTS_FILE).read_bytes().splitlines(keepends=True)
    lines[5] = b"\x00\xff garbage\n"
    (tmp_path / EVENTS_FILE).write_bytes(b"".join(lines))
    events, problems = read_log(tmp_path)
    assert events == written[:5]
    assert "line 6 is damaged" in problems[0]


def test_unknown_events_are_skipped_and_said(tmp_path: Path) -> None:
    write_log(tmp_path, 3)
    with (tmp_path / EVENTS_FILE).open("ab") as stream:
        stream.write(b'{"event":"mood.changed","seq":3,"mood":"good"}\n')
        stream.write(b'{"event":"note.added","seq":4,"text":"after","sparkle":true}\n')
    events, problems = read_log(tmp_path)
    assert isinstance(events[-1], ev.NoteAdded)
    assert events[-1].text == "after"
    assert "mood.changed" in problems[0]


def test_a_future_format_is_said(tmp_path: Path) -> None:
    log = EventLog(tmp_path, Clock())
    log.append(ev.SessionStarted(format=ev.FORMAT + 1, task="blotto"))
    log.close()
    events, problems = read_log(tmp_path)
    assert len(events) == 1
    assert "update mlgym-tui" in problems[0]


def test_two_writers_are_refused(tmp_path: Path) -> None:
    log = EventLog(tmp_path, Clock())
    assert is_locked(tmp_path)
    with pytest.raises(LogError, match="another process"):
        EventLog(tmp_path, Clock())
    log.close()
    assert not is_locked(tmp_path)


_FULL = """
import resource, signal, sys
from pathlib import Path
from workbench.session import events as ev
from workbench.session.clock import Clock
from workbench.session.log import EventLog, LogError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = EventLog(Path(sys.argv[1]), Clock())
log.append(ev.SessionStarted(format=ev.FORMAT, task="blotto"))
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
try:
    for _ in range(100):
        log.append(ev.NoteAdded(text="x" * 100))
except LogError as error:
    print(error)
"""


def test_a_write_that_fails_leaves_whole_lines(tmp_path: Path) -> None:
    assert resource.RLIM_INFINITY  # the limit is set in the child
    out = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path)], capture_output=True, text=True, check=True, timeout=30
    )
    assert "cannot write" in out.stdout
    events, problems = read_log(tmp_path)
    assert len(events) > 5
    assert problems == []


def test_keys_never_reach_the_file(tmp_path: Path) -> None:
    redactor = Redactor(secrets_in({"OPENAI_API_KEY": "sk-verysecret", "HOME": "/home/someone"}))
    log = EventLog(tmp_path, Clock(), redactor=redactor)
    log.append(ev.NoteAdded(text="my key is sk-verysecret, my home /home/someone"))
    log.close()
    text = (tmp_path / EVENTS_FILE).read_text()
    assert "sk-verysecret" not in text
    assert REPLACEMENT in text
    assert "/home/someone" in text


def test_secrets_that_json_spells_otherwise_are_not_written(tmp_path: Path) -> None:
    secret = 'pa"ss\\wörd\t1'
    log = EventLog(tmp_path, Clock(), redactor=Redactor([secret]))
    log.append(ev.NoteAdded(text=f"it is {secret}."))
    log.close()
    line = (tmp_path / EVENTS_FILE).read_text()
    assert json.loads(line)["text"] == f"it is {REPLACEMENT}."


@pytest.mark.parametrize(
    "spelling",
    [
        KEY.upper(),
        KEY.swapcase(),
        KEY[::-1],
        quote(KEY, safe=""),
        KEY.encode().hex(),
        *(base64.b64encode(f"{lead}{KEY}{lead}".encode()).decode() for lead in ("", ":", "::", "Bearer ")),
        base64.urlsafe_b64encode(KEY.encode()).decode(),
    ],
)
def test_secrets_are_found_in_their_usual_spellings(spelling: str) -> None:
    redactor = Redactor([KEY])
    shown = redactor.text(f"it is <{spelling}>")
    assert REPLACEMENT in shown and spelling[4:-6] not in shown
    assert redactor.data(f"it is <{spelling}>".encode()) == shown.encode()
    assert redactor.unfinished(f"it is <{KEY[:7]}") == 7 and redactor.unfinished(f"it is <{spelling}>") == 0


def test_a_secret_that_is_a_word_is_found_as_it_is_alone() -> None:
    redactor = Redactor(["password"])
    assert redactor.text("password, PASSWORD, drowssap") == f"{REPLACEMENT}, PASSWORD, drowssap"


def test_objects_hold_no_secrets(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path, Redactor(["sk-verysecret"]))
    digest = store.put(b"key = sk-verysecret\n\xff")
    assert store.get(digest) == b"key = " + REPLACEMENT.encode() + b"\n\xff"
    assert store.put(b"plain") == content_hash(b"plain")


_TEXT = st.text(max_size=200)


@given(_TEXT, _TEXT, st.one_of(st.none(), st.integers(-300, 300)), st.floats(0, 1e6))
def test_events_round_trip(action: str, observation: str, exit_code: int | None, duration: float) -> None:
    for event in (
        ev.ActionProposed(seq=1, step=1, author="human:x", action=action),
        ev.ActionFinished(seq=2, step=1, exit_code=exit_code, observation=observation, duration=duration),
    ):
        line = ev.encode(event)
        assert b"\n" not in line
        assert ev.decode(line) == event


def test_lone_surrogates_are_replaced() -> None:
    event = ev.decode(ev.encode(ev.NoteAdded(text="a\ud800b")))
    assert isinstance(event, ev.NoteAdded)
    assert event.text == "a\ufffdb"
