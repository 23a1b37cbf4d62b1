"""Session folders damaged and crafted at random, opened in every way: nothing but the errors that are declared,
nothing outside touched.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.session.hostile import everything, files_of, make_session
from tests.session.printed import printed
from workbench.formats.actions import read_plan
from workbench.formats.open import open_recording
from workbench.library.index import runs
from workbench.session.cast import Cast
from workbench.session.clock import Clock
from workbench.session.log import EventLog, LogError, is_locked, read_log, repair_log
from workbench.session.objects import ObjectStore
from workbench.session.prompt_view import last_step_asked, prompt_of_step
from workbench.session.recording import RecordingError
from workbench.session.snapshot import restore
from workbench.session.state import fold
from workbench.session.store import SessionNotFound, find_session, find_unbegun, remove_session
from workbench.tui.source import RecordedSource

_KINDS = ("link", "folder link", "dangling", "loop", "fifo", "folder", "gone", "bytes", "hard link")
_NUMBERS = (b"-1", b"1152921504606846976", b"1e308", b"18446744073709551616", b"null", b"[[[]]]", b'"../x"')
_CHANGES = st.one_of(
    st.tuples(st.just("replace"), st.integers(0, 6), st.sampled_from(_KINDS)),
    st.tuples(st.just("number"), st.integers(0, 200), st.sampled_from(_NUMBERS)),
    st.tuples(st.just("mutate"), st.integers(0, 3000), st.binary(min_size=1, max_size=6)),
    st.tuples(st.just("cut"), st.integers(0, 3000), st.just(b"")),
)


def _replace(path: Path, kind: str, outside: Path) -> None:
    if path.parent.resolve() != path.parent or not path.parent.is_dir():
        return
    with contextlib.suppress(FileNotFoundError):
        path.rename(path.with_name(f"was-{len(list(path.parent.iterdir()))}"))
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "bytes":
        path.write_bytes(b"\x00\xff[[[{")
    elif kind == "hard link":
        os.link(outside / "mine", path)
    elif kind != "gone":
        path.symlink_to(
            {"link": outside / "mine", "folder link": outside / "folder", "dangling": outside / "new", "loop": path}[
                kind
            ]
        )


def _damage(folder: Path, changes: list[tuple[str, int, bytes | str]], artifact: str, outside: Path) -> None:
    log = folder / "events.jsonl"
    for what, where, with_what in changes:
        if isinstance(with_what, str):
            _replace(files_of(folder, artifact)[where], with_what, outside)
        elif log.is_file() and not log.is_symlink() and log.stat().st_nlink == 1:
            data = log.read_bytes()
            if what == "number":
                parts = data.split(b":")
                at = 1 + where % (len(parts) - 1) if len(parts) > 1 else 0
                value, comma, rest = parts[at].partition(b",")
                parts[at] = with_what + comma + rest if comma else value
                data = b":".join(parts)
            else:
                data = data[:where] + (with_what + data[where + len(with_what) :] if what == "mutate" else b"")
            log.write_bytes(data)


def _look(root: Path, folder: Path, artifact: str) -> None:
    for row in runs([root]):
        assert row.status
    assert find_unbegun(root) == []
    with contextlib.suppress(SessionNotFound):
        assert find_session(root, folder.name) == folder
    assert not is_locked(folder)
    with contextlib.suppress(OSError):
        printed(Cast(folder / "shell.cast"), 1e300)
    with contextlib.suppress(OSError, ValueError), ObjectStore(folder / "artifacts").open(artifact) as stored:
        stored.read()
    with contextlib.suppress(RecordingError):
        read_plan(folder)
    with contextlib.suppress(RecordingError):
        source = RecordedSource(open_recording(folder))
        state = source.state
        for step in range(state.last_step + 1):
            source.shell_text(step)
            for path in [*state._files, "strategy.py"]:
                source.file_bytes(f"{state.workspace}/{path}", step)
            prompt_of_step(state, source.object, step)
        state.final_scores()
        last_step_asked(state)


def _go_on(folder: Path, copy: Path) -> None:
    with contextlib.suppress(OSError, LogError):
        events, _ = repair_log(folder)
        state = fold(events)
        assert read_log(folder)[0] == events
        objects = ObjectStore(folder / "objects")
        copy.mkdir()
        restore(state.files_at(), objects, copy)
        with contextlib.suppress(OSError):
            objects.put(b"another")
        EventLog(folder, Clock(), next_seq=state.last_seq + 1).close()


@settings(max_examples=60, derandomize=True, deadline=None)
@given(changes=st.lists(_CHANGES, min_size=1, max_size=3))
def test_whatever_a_folder_holds(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, int, bytes | str]]
) -> None:
    top = tmp_path_factory.mktemp("t")
    root, outside, folder = top / "sessions", top / "outside", top / "sessions" / "s"
    (outside / "folder" / "ab").mkdir(parents=True)
    (outside / "mine").write_bytes(b"mine\n")
    before = everything(outside)
    artifact = make_session(folder)
    _damage(folder, changes, artifact, outside)
    damaged = everything(folder)
    _look(root, folder, artifact)
    assert everything(folder) == damaged, "looking changes nothing"
    _go_on(folder, top / "copy")
    with contextlib.suppress(OSError, ValueError):
        remove_session(folder)
    assert everything(outside) == before
    assert {path.name for path in top.iterdir()} <= {"sessions", "outside", "copy"}
