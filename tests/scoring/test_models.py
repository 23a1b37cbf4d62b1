"""Checkpoints and models: archives of several files, and the rooms in which they are loaded."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.scoring.model_task import make_model_task, make_submission
from workbench.scoring import evaluation
from workbench.scoring import room as room_module
from workbench.scoring.artifact import ArtifactError
from workbench.scoring.bundle import pack, unpack
from workbench.scoring.evaluation import evaluate
from workbench.scoring.room import RoomChoice
from workbench.tasks.catalogue import Task, load_task
from workbench.tasks.errors import TaskError

ROOMS = [
    pytest.param("bubblewrap", marks=pytest.mark.bwrap),
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("landlock", marks=pytest.mark.landlock),
    "reduced",
]
FORGERY = b'{"result": {"verdict": "ok", "metrics": {"error": -1}, "standard_error": null}}'


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return make_model_task(tmp_path / "task")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return make_submission(tmp_path / "workspace")


# -- archives ------------------------------------------------------------------------------------------------------


def packed(root: Path, target: Path, cap: int = 1 << 20) -> Path:
    pack(root, "model", ["src", "settings.json"], cap, target)
    return target


def test_the_same_files_give_the_same_archive(tmp_path: Path) -> None:
    one, other = (make_submission(tmp_path / name, network="x = 1") for name in ("one", "other"))
    os.utime(other / "model" / "weights.json", (1, 1))
    (other / "model" / "weights.json").chmod(0o600)
    (other / "src" / "__pycache__").mkdir()
    (other / "src" / "__pycache__" / "network.pyc").write_bytes(b"\0")
    assert packed(one, tmp_path / "a.tar").read_bytes() == packed(other, tmp_path / "b.tar").read_bytes()


def test_what_is_packed_is_unpacked(tmp_path: Path, workspace: Path) -> None:
    deep = workspace / "model" / "a" / ("long" * 60)
    deep.mkdir(parents=True)
    (deep / "ä ñ.bin").write_bytes(os.urandom(5000))
    (workspace / "settings.json").write_text("{}")
    (workspace / "not_asked_for").write_text("")
    unpack(packed(workspace, tmp_path / "a.tar"), tmp_path / "out", 1 << 20)
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {"model/weights.json", f"model/a/{'long' * 60}/ä ñ.bin", "settings.json"}
    assert (tmp_path / "out" / found.pop()).stat().st_mode & 0o222 == 0


@pytest.mark.parametrize("kind", ["link", "folder link", "fifo", "large", "sparse", "deep", "many", "missing", "empty"])
def test_what_cannot_be_packed(tmp_path: Path, workspace: Path, kind: str) -> None:
    model = workspace / "model"
    if kind == "link":
        (model / "more").symlink_to("/etc/passwd")
    elif kind == "folder link":
        model.rename(workspace / "real")
        model.symlink_to("real")
    elif kind == "fifo":
        os.mkfifo(model / "pipe")
    elif kind == "large":
        (model / "big").write_bytes(bytes(1 << 20))
    elif kind == "sparse":
        with (model / "big").open("wb") as stream:
            stream.truncate(10 << 30)
    elif kind == "deep":
        model.joinpath(*"abcdefghijklmnopqrs").mkdir(parents=True)
    elif kind == "many":
        for number in range(2001):
            (model / str(number)).touch()
    else:
        (model / "weights.json").unlink()
        if kind == "missing":
            model.rmdir()
    with pytest.raises(ArtifactError) as caught:
        packed(workspace, tmp_path / "a.tar")
    assert caught.value.verdict == ("missing" if kind in ("missing", "empty") else "invalid")
    assert "model" in str(caught.value)


@pytest.mark.parametrize("kind", ["absolute", "parent", "link", "device", "twice", "inside a file", "large", "no tar"])
def test_foreign_archives_are_refused(tmp_path: Path, kind: str) -> None:
    entry = tarfile.TarInfo({"absolute": "/etc/x", "parent": "model/../../x"}.get(kind, "model/x"))
    entry.size = 5
    archive = tmp_path / "foreign.tar"
    with tarfile.open(archive, "w") as tar:
        if kind == "link":
            entry.type, entry.linkname, entry.size = tarfile.SYMTYPE, "/etc/passwd", 0
        elif kind == "device":
            entry.type, entry.size = tarfile.CHRTYPE, 0
        elif kind == "large":
            entry.size = 2000
        tar.addfile(entry, io.BytesIO(bytes(entry.size)))
        if kind in ("twice", "inside a file"):
            entry.name = entry.name if kind == "twice" else "model/x/y"
            tar.addfile(entry, io.BytesIO(bytes(5)))
    if kind == "no tar":
        archive.write_bytes(b"PK\3\4" + bytes(3000))
    with pytest.raises(ArtifactError):
        unpack(archive, tmp_path / "out", 1000)
    assert not (tmp_path / "x").exists() and not Path("/etc/x").exists()


# -- the schema ----------------------------------------------------------------------------------------------------


def test_a_model_needs_a_program_that_loads_it(tmp_path: Path) -> None:
    make_model_task(tmp_path / "task")
    file = tmp_path / "task" / "task.yaml"
    file.write_text(file.read_text().replace(", runner: evaluate/runner.py", ""))
    with pytest.raises(TaskError, match=r"evaluate\.runner"):
        load_task(tmp_path / "task")


# -- rooms ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", ROOMS)
async def test_a_model_is_loaded_and_asked(task: Task, workspace: Path, room: RoomChoice) -> None:
    found = await evaluate(task, workspace, seed=1, room=room)
    assert (found.verdict, found.score, found.message) == ("ok", 0.0, "")
    assert found.isolation == {"reduced": "reduced isolation", "landlock": "reduced isolation: landlock"}.get(
        room, "sandbox"
    )


async def test_its_archive_scores_the_same(tmp_path: Path, task: Task, workspace: Path) -> None:
    archive = packed(workspace, tmp_path / "a.tar")
    scores = [await evaluate(task, given, seed=1) for given in (workspace, archive, archive.read_bytes())]
    assert [(one.verdict, one.score) for one in scores] == [("ok", 0.0)] * 3
    assert len({one.artifact for one in scores}) == 1


async def test_two_rooms_are_two_processes(tmp_path: Path) -> None:
    task = make_model_task(tmp_path / "two", rooms=2)
    same = make_submission(tmp_path / "same")
    assert (await evaluate(task, same, seed=1)).score == 0.0
    other = "import os\n\ndef apply(weight, value):\n    return float.fromhex(os.urandom(4).hex())\n"
    found = await evaluate(task, make_submission(tmp_path / "other", network=other), seed=1)
    assert (found.verdict, found.message) == ("invalid", "two rooms, two answers")


HOSTILE = {
    "no weights": ('{"wait": 2}', "", "invalid", "model/weights.json"),
    "broken": ("{", "", "invalid", "model/weights.json"),
    "fails": ("", "def apply(weight, value):\n    return 1 / 0\n", "crashed", "ZeroDivisionError"),
    "ends": ("", "import os\n\ndef apply(weight, value):\n    os._exit(3)\n", "crashed", "exit status 3"),
    "endless": ("", "def apply(weight, value):\n    while True: pass\n", "timeout", "no answer within 0.3 s"),
    "endless import": ("", "while True: pass\n", "timeout", "did not load within 0.6 s"),
    "memory": ("", "held = []\nwhile True: held.append(bytearray(10 ** 7))\n", "crashed", "MemoryError"),
    "forges": (
        "",
        f"import os\nfor number in range(64):\n    try: os.write(number, {FORGERY!r})\n    except OSError: pass\n",
        "invalid",
        "written to the evaluator",
    ),
    "wrong size": (
        "",
        "import sys\nmain = sys.modules['player']\nmain.blob = lambda value, most: b'= 99999999999\\n'\n"
        "def apply(weight, value):\n    return value\n",
        "invalid",
        "24 are the most",
    ),
    "half an answer": (
        "",
        "import sys\nmain = sys.modules['player']\nmain.blob = lambda value, most: b'= 24\\n' + b'x' * 9\n"
        "def apply(weight, value):\n    return value\n",
        "timeout",
        "no answer",
    ),
    "reads the evaluator": (
        "",
        "import os\nfound = [os.path.join(a, f) for a, _, fs in os.walk('/') for f in fs if f == 'evaluator.py']\n"
        "def apply(weight, value):\n    raise LookupError(len(found))\n",
        "crashed",
        "LookupError: 0",
    ),
    "network": (
        "",
        "import socket\n\ndef apply(weight, value):\n    socket.create_connection(('127.0.0.1', 80))\n",
        "crashed",
        "PermissionError",
    ),
    "writes to itself": (
        "",
        "import os\n\ndef apply(weight, value):\n    open(os.environ['ARTIFACT'] + '/x', 'w')\n",
        "crashed",
        "OSError",
    ),
}


@pytest.mark.bwrap
@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_models(tmp_path: Path, task: Task, name: str) -> None:
    weight, network, verdict, said = HOSTILE[name]
    loading = 0.6 if verdict == "timeout" and "import" in name else 60.0
    answer = 0.3 if verdict == "timeout" else 60.0
    limits = replace(task.spec.limits, evaluation_seconds=60.0, loading_seconds=loading, answer_seconds=answer)
    task = replace(task, spec=replace(task.spec, limits=limits))
    workspace = make_submission(tmp_path / "workspace", weight or '{"weight": 2.0}', network)
    found = await evaluate(task, workspace, seed=1, room="bubblewrap")
    assert found.verdict == verdict, found
    assert said in found.message and found.score is None


@pytest.mark.bwrap
async def test_threads_and_processes_are_killed_with_the_room(tmp_path: Path, task: Task) -> None:
    seconds = f"98765.{os.getpid()}"
    network = f"""
        import os, subprocess, threading
        threading.Thread(target=lambda: None).start()
        subprocess.Popen(["sleep", "{seconds}"])

        def apply(weight, value):
            return weight * value
    """
    found = await evaluate(task, make_submission(tmp_path / "workspace", network=network), seed=1, room="bubblewrap")
    assert (found.verdict, found.score) == ("ok", 0.0)
    assert not _commands_with(seconds.encode())


def _commands_with(text: bytes) -> list[Path]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and text in (entry / "cmdline").read_bytes():
                found.append(entry)
    return found


@pytest.mark.parametrize(
    ("room", "seen"), [pytest.param("bubblewrap", "0", marks=pytest.mark.bwrap), pytest.param("reduced", "3")]
)
async def test_a_room_is_told_its_gpus_as_it_counts_them(
    tmp_path: Path, task: Task, room: RoomChoice, seen: str
) -> None:
    """Where other devices are hidden, CUDA counts those that are there from 0."""
    network = "import os\n\ndef apply(weight, value):\n    raise LookupError(os.environ['CUDA_VISIBLE_DEVICES'])\n"
    workspace = make_submission(tmp_path / "workspace", network=network)
    found = await evaluate(task, workspace, seed=1, room=room, gpus=(3,))
    assert found.verdict == "crashed" and f"LookupError: {seen}" in found.message


DETACHED = """
import os

if not os.fork():
    if not os.fork():
        while True: pass
    os._exit(0)
os.wait()

def apply(weight, value):
    {then}
    return weight * value
"""
"""A process computes whose parent has ended; the model itself does nothing."""


@pytest.mark.parametrize("room", [pytest.param("bubblewrap", marks=pytest.mark.bwrap), "reduced"])
async def test_processes_that_got_away_from_their_parent_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: RoomChoice
) -> None:
    monkeypatch.setattr(evaluation, "BY_THE_CLOCK", 1000)
    monkeypatch.setattr(room_module, "MOST_THREADS", 1)
    task = make_model_task(tmp_path / "task", seconds=1.0)
    limits = replace(task.spec.limits, answer_seconds=600.0)
    task = replace(task, spec=replace(task.spec, limits=limits))
    source = DETACHED.format(then="__import__('time').sleep(600)")
    found = await evaluate(task, make_submission(tmp_path / "w", network=source), seed=1, room=room)
    assert found.verdict == "timeout" and "more than 1 s of processor time" in found.message, found
