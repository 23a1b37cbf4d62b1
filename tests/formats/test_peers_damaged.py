"""However a file of another program is damaged, or made to do harm: it opens as far as it is good, or says why not."""

from __future__ import annotations

import json
import os
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.formats import peers
from tests.formats.peers import approval, asked, called, output, sample, scored, swe_step
from workbench.formats import archive
from workbench.formats.archive import Archive
from workbench.formats.open import open_recording, runs_in
from workbench.formats.table import FORMATS
from workbench.session.events import encode
from workbench.session.recording import RecordingError
from workbench.session.state import fold

CALL = {"tool_call_id": "x", "function_name": "bash", "arguments": {"command": "ls"}}
RESULTS = {"results": [{"source_call_id": "x", "content": "a", "extra": {"exit_code": 1, "score": {"r": 1.5}}}]}
STEPS = [*called("a", "ls"), approval("a", "modify"), scored("C")]
WHOLE: dict[str, Any] = {
    "mini": peers.mini(asked("ls", "pwd"), output("so-0", "a")),
    "bare": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "```bash\nls\n```"}],
    "swe": peers.swe([swe_step("ls"), swe_step("", ran=False), swe_step("submit")]),
    "inspect": json.loads(peers.inspect_json(sample("one", *STEPS, error={"message": "x"}))),
    "atif": peers.atif({"source": "user"}, {"source": "agent", "tool_calls": [CALL], "observation": RESULTS}),
}  # fmt: skip
EVIL: list[Any] = [
    None,
    True,
    -1,
    1e999,
    10**30,
    "",
    "\ud800",
    "x\x1b[2J",
    [],
    {},
    [[]],
    [{}],
    {"text": 5},
    "a" * 5000,
    "-1",
    0.5,
]


def tried(path: Path) -> None:
    """Opening it gives events that fold and can be written, or a message."""
    try:
        for ref in runs_in(path)[:3]:
            recording = open_recording(ref.path, ref.sample)
            fold(recording.events)
            assert all(encode(event) for event in recording.events)
            for each in FORMATS:
                if each.write is not None:
                    assert each.write(recording, path.with_suffix(".eval"))
    except RecordingError as error:
        assert str(error) and error.hint


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


def with_put(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[place[0]] = with_put(value[place[0]], place[1:], new)
    return copied


@pytest.mark.parametrize("name", WHOLE)
def test_anything_in_any_place(name: str, tmp_path: Path) -> None:
    path, chance = tmp_path / "x.json", random.Random(name)
    for place in places(WHOLE[name]):
        for evil in chance.sample(EVIL, 4):
            path.write_text(json.dumps(with_put(WHOLE[name], place, evil)), encoding="utf-8")
            tried(path)


@pytest.mark.parametrize("name", [*WHOLE, "eval", "deflated", "cast"])
def test_cut_and_overwritten_anywhere(name: str, tmp_path: Path) -> None:
    chance = random.Random(name)
    cast = b'{"version":2,"width":9,"height":9}\n[0.1,"o","a"]\n[0.2,"m","b"]\n'
    archives = {"eval": peers.inspect_eval(sample("one", *STEPS)), "deflated": peers.inspect_eval(sample(1), method=8)}
    whole = archives.get(name) or (cast if name == "cast" else json.dumps(WHOLE[name]).encode())
    path = tmp_path / "x.json"
    for _ in range(80):
        at = chance.randrange(len(whole))
        damage = chance.randbytes(chance.randint(0, 6))
        path.write_bytes(whole[:at] if not damage else whole[:at] + damage + whole[at + len(damage) :])
        tried(path)


@pytest.mark.parametrize("method", [93, 8])
@pytest.mark.parametrize("size", [None, 100], ids=["honest", "lying"])
def test_an_archive_that_unpacks_to_more_than_it_may(
    method: int, size: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "_SPOOLED", 1 << 20)
    members = {"header.json": json.dumps(peers.LOG).encode(), "samples/a_epoch_1.json": b" " * (8 << 20)}
    path = tmp_path / "bomb.eval"
    path.write_bytes(peers.zip_file(members, method, size))
    with pytest.raises(RecordingError, match=r"unpacks to more|cannot be read"):
        open_recording(path)


def test_a_large_member_is_unpacked_onto_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_SPOOLED", 1000)
    monkeypatch.setattr(archive, "_CHUNK", 100)
    path = tmp_path / "log.eval"
    path.write_bytes(peers.inspect_eval(sample("one", *STEPS)))
    assert fold(open_recording(path).events).last_step == 1


@pytest.mark.parametrize(
    "content", [b'{"messages":' + b"[" * 99_999, b'[{"role":' + b'{"a":' * 99_999, b"PK\3\4" + b"\0" * 99]
)
def test_nested_deeply_or_nothing_at_all(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(RecordingError):
        open_recording(path)


@pytest.mark.parametrize(("name", "steps"), [("mini", 2), ("swe", 2), ("atif", 0)])
def test_a_file_that_is_cut_off_shows_what_is_whole(name: str, steps: int, tmp_path: Path) -> None:
    whole = json.dumps(WHOLE[name])
    path = tmp_path / "x.json"
    path.write_text(
        whole[
            : whole.rindex('"role": "exit"' if name == "mini" else '"action": "submit"')
            if name != "atif"
            else whole.rindex('"observation"')
        ],
        encoding="utf-8",
    )
    recording = open_recording(path)
    assert fold(recording.events).last_step == steps and fold(recording.events).ended is None
    assert any("cut off" in problem for problem in recording.problems)


def test_damage_behind_the_steps_hides_neither_them_nor_the_end(tmp_path: Path) -> None:
    whole, path = json.dumps(WHOLE["swe"]), tmp_path / "x.json"
    path.write_text(whole.replace('"info"', '"damaged": #, "info"'), encoding="utf-8")
    recording, state = open_recording(path), fold(open_recording(path).events)
    assert state.last_step == 3 and state.ended is not None and state.ended.exit_status == "submitted"
    assert any("behind its steps" in problem for problem in recording.problems)


def test_an_archive_that_becomes_shorter_while_it_is_read_is_damaged(tmp_path: Path) -> None:
    content = random.Random(7).randbytes(300_000)
    path = tmp_path / "log.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as written:
        written.writestr("header.json", content)
    os.truncate(path, path.stat().st_size - 22)  # its list of members has no end
    with Archive(path) as archive:
        os.truncate(path, 150_000)
        with pytest.raises(RecordingError, match="checksum"):
            archive.read("header.json")


@pytest.mark.parametrize("method", [93, 8])
def test_an_archive_that_is_cut_off_opens_as_far_as_it_goes(method: int, tmp_path: Path) -> None:
    whole = peers.inspect_eval(sample("one", *STEPS), sample("two", *STEPS), method=method)
    path = tmp_path / "log.eval"
    path.write_bytes(whole)
    complete = fold(open_recording(path, "one").events)
    path.write_bytes(whole[: whole.index(b"header.json") - 40])
    assert [ref.sample for ref in runs_in(path)] == [""]  # of the other, the end is missing
    recording = open_recording(path)
    assert fold(recording.events).last_step == complete.last_step
    assert any("cut off" in problem and problem.endswith("whole members") for problem in recording.problems)
    path.write_bytes(whole[: whole.index(b"_journal") + 20])
    with pytest.raises(RecordingError, match="cut off before the end of its first member"):
        open_recording(path)
