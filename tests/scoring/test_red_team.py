"""Attacks on what is submitted and on the rooms that it is loaded in: by whoever writes every byte of a workspace."""

from __future__ import annotations

import asyncio
import os
import shutil
import textwrap
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.scoring.model_task import make_model_task, make_submission
from workbench.isolation.spec import SandboxError
from workbench.scoring import copying
from workbench.scoring.artifact import ArtifactError
from workbench.scoring.bundle import MOST_FILES, pack, unpack
from workbench.scoring.evaluation import Evaluation, evaluate
from workbench.scoring.room import RoomChoice
from workbench.scoring.submissions import MOST_KEPT, take
from workbench.session.objects import ObjectStore
from workbench.tasks.catalogue import Task, find_task, load_task
from workbench.tasks.datasets import prepare_task
from workbench.tasks.packages import installed_for

ROOMS = [
    pytest.param("bubblewrap", marks=pytest.mark.bwrap),
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("landlock", marks=pytest.mark.landlock),
    "reduced",
]
PROCESS_ROOMS = [
    pytest.param("bubblewrap", marks=pytest.mark.bwrap),
    pytest.param("landlock", marks=pytest.mark.landlock),
    "reduced",
]


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return make_model_task(tmp_path / "task")


# -- archives ------------------------------------------------------------------------------------------------------


def packed(root: Path, target: Path, cap: int = 1 << 20) -> Path:
    pack(root, "model", ["src"], cap, target)
    return target


def test_folders_that_become_links_while_they_are_packed(tmp_path: Path) -> None:
    workspace = make_submission(tmp_path / "w")
    (workspace / "model" / "a").mkdir()
    (workspace / "model" / "a" / "file").write_text("mine")
    secret = tmp_path / "secret" / "a"
    secret.mkdir(parents=True)
    (secret / "file").write_text("labels")
    (workspace / "link").symlink_to(secret.parent)
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            for now, then in (("model", "real"), ("link", "model"), ("model", "link"), ("real", "model")):
                os.rename(workspace / now, workspace / then)

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        seen: set[bool | str] = set()
        for _ in range(300):
            try:
                seen.add(b"labels" in packed(workspace, tmp_path / "a.tar").read_bytes())
            except ArtifactError as error:
                seen.add(error.verdict)
    finally:
        over.set()
        swapping.join()
    assert True not in seen and seen & {False, "invalid", "missing"}


def test_many_folders_are_not_walked(tmp_path: Path) -> None:
    workspace = make_submission(tmp_path / "w")
    for number in range(MOST_FILES):
        (workspace / "model" / str(number)).mkdir()
    with pytest.raises(ArtifactError, match="more than 2,000 files and folders"):
        packed(workspace, tmp_path / "a.tar")


@pytest.mark.parametrize("name", ["a\nb\x1b[2J", "‮gnp.exe", "-rf", " ", "CON", "%s{0}"])
def test_odd_names_come_through_and_are_harmless_in_messages(tmp_path: Path, name: str) -> None:
    workspace = make_submission(tmp_path / "w")
    (workspace / "model" / name).write_text("x")
    unpack(packed(workspace, tmp_path / "a.tar"), tmp_path / "out", 1 << 20)
    assert (tmp_path / "out" / "model" / name).read_text() == "x"
    (workspace / "model" / name).unlink()
    (workspace / "model" / name).symlink_to("/etc/passwd")
    with pytest.raises(ArtifactError) as caught:
        packed(workspace, tmp_path / "b.tar")
    assert str(caught.value).isprintable()


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    workspace = make_submission(tmp_path / "w")
    Path(os.fsdecode(os.fsencode(workspace / "model") + b"/\xff\xfe")).write_text("x")
    with pytest.raises(ArtifactError, match="no text"):
        packed(workspace, tmp_path / "a.tar")


def test_a_file_that_shrinks_while_it_is_packed(tmp_path: Path) -> None:
    workspace = make_submission(tmp_path / "w")
    file = workspace / "model" / "weights.json"
    file.write_bytes(bytes(200_000))

    def shrink() -> None:
        os.truncate(file, 100)

    with pytest.raises(ArtifactError, match="written to while it was copied"):
        pack(workspace, "model", [], 1 << 20, tmp_path / "a.tar", _once(shrink, after=3))


def _once(act: Any, after: int) -> Any:
    """A function that acts at its call number `after`."""
    calls: list[int] = []

    def check() -> None:
        calls.append(1)
        if len(calls) == after:
            act()

    return check


# -- what is kept of them ------------------------------------------------------------------------------------------


def sandbox_of(workspace: Path) -> Any:
    return SimpleNamespace(workspace_folder=workspace, workspace="/home/agent/workspace")


def stored(store: ObjectStore) -> list[Path]:
    return [file for file in store.folder.rglob("*") if file.is_file()]


async def test_validations_do_not_fill_the_disk(tmp_path: Path, task: Task) -> None:
    store, sandbox = ObjectStore(tmp_path / "artifacts"), sandbox_of(make_submission(tmp_path / "w"))
    weights = tmp_path / "w" / "model" / "weights.json"
    with pytest.raises(SandboxError, match="`submit` still works"):
        for number in range(20):
            weights.write_bytes(b"%d" % number * 8000)
            await take(task, sandbox, store, validation=True)
    kept = len(stored(store))
    assert MOST_KEPT < kept < 20
    assert (await take(task, sandbox, store, validation=False))[0]
    assert sum(file.stat().st_size for file in stored(store)) <= (MOST_KEPT + 2) * (task.artifact.max_bytes + 10_240)


@pytest.mark.parametrize("case", ["archive", "evaluation"])
async def test_a_full_disk_is_no_fault_of_the_submission(
    tmp_path: Path, task: Task, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.setattr(copying, "DISK_RESERVE", 1 << 60)
    store, workspace = ObjectStore(tmp_path / "artifacts"), make_submission(tmp_path / "w")
    with pytest.raises(SandboxError, match="would be left on the disk"):
        if case == "archive":
            await take(task, sandbox_of(workspace), store, validation=True)
        else:
            await evaluate(task, workspace, seed=1)
    assert not stored(store)


async def test_an_interrupted_copy_leaves_nothing(tmp_path: Path, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    store, workspace = ObjectStore(tmp_path / "artifacts"), make_submission(tmp_path / "w")
    packing, go_on = threading.Event(), threading.Event()

    def wait_and_pack(*arguments: Any) -> None:
        packing.set()
        go_on.wait()
        pack(*arguments)

    monkeypatch.setattr("workbench.scoring.submissions.pack", wait_and_pack)
    taking = asyncio.ensure_future(take(task, sandbox_of(workspace), store, validation=True))
    await asyncio.to_thread(packing.wait)
    taking.cancel()
    asyncio.get_running_loop().call_later(0.05, go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert not stored(store)


async def test_leftovers_of_a_killed_workbench_go(tmp_path: Path, task: Task) -> None:
    store = ObjectStore(tmp_path / "artifacts")
    store.folder.mkdir()
    (store.folder / ".packing-x").write_bytes(bytes(1000))
    digest, _ = await take(task, sandbox_of(make_submission(tmp_path / "w")), store, validation=True)
    assert [file.parent.name + file.name for file in stored(store)] == [digest]


# -- rooms ---------------------------------------------------------------------------------------------------------


async def score(folder: Path, task: Task, room: RoomChoice, code: str, split: str = "test") -> Evaluation:
    """A model whose `apply` comes with this code."""
    honest = "def apply(weight, value):\n    return weight * value\n"
    network = textwrap.dedent(code)
    workspace = make_submission(folder / "workspace", network=network if "def apply" in network else network + honest)
    return await evaluate(task, workspace, seed=1, room=room, split=split)


MEETING = """
    import fcntl, subprocess, sys
    there = open("/usr/bin/env", "rb")
    try:
        fcntl.flock(there, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise RuntimeError("the other room is there")
    subprocess.Popen(["/bin/sleep", "60"], pass_fds=[there.fileno()])
"""


@pytest.mark.parametrize("room", ROOMS)
async def test_rooms_of_one_submission_never_meet(tmp_path: Path, room: RoomChoice) -> None:
    """What holds in one room a lock that all could see has gone before the other is entered."""
    found = await score(tmp_path, make_model_task(tmp_path / "two", rooms=2), room, MEETING)
    assert (found.verdict, found.score) == ("ok", 0.0), found


NO_MESSAGES = """
    import ctypes, fcntl, os, resource, subprocess
    there = os.open("/usr/bin/env", os.O_RDONLY)
    child = subprocess.Popen(["/bin/sleep", "60"])
    libc, said = ctypes.CDLL(None, use_errno=True), []
    attempts = {
        "fadvise": lambda: os.posix_fadvise(there, 0, 0, os.POSIX_FADV_DONTNEED),
        "preadv2": lambda: os.preadv(there, [bytearray(9)], 0, os.RWF_NOWAIT),
        "signal by a file": lambda: fcntl.fcntl(there, fcntl.F_SETOWN, child.pid),
        "choice of the signal": lambda: fcntl.fcntl(there, fcntl.F_SETSIG, 9),
        "limits of others": lambda: resource.prlimit(child.pid, resource.RLIMIT_CPU, (0, 0)),
        "kill": lambda: os.kill(child.pid, 9),
    }
    for name, attempt in attempts.items():
        try:
            attempt()
            said.append(name)
        except PermissionError:
            pass
    assert fcntl.fcntl(there, fcntl.F_GETFD) >= 0 and resource.prlimit(0, resource.RLIMIT_CPU)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)
    if said:
        raise RuntimeError(f"possible: {said}")
"""


@pytest.mark.parametrize("room", ROOMS)
async def test_no_messages_by_way_of_the_kernel(tmp_path: Path, task: Task, room: RoomChoice) -> None:
    found = await score(tmp_path, task, room, NO_MESSAGES)
    assert (found.verdict, found.score) == ("ok", 0.0), found


TOGETHER = """
    import os, time
    for _ in range(4):
        if os.fork() == 0:
            held = b"x" * (150 << 20)
            time.sleep(60)
    time.sleep(60)
"""


@pytest.mark.parametrize("room", PROCESS_ROOMS)
async def test_memory_is_bounded_in_sum(tmp_path: Path, task: Task, room: RoomChoice) -> None:
    found = await score(tmp_path, task, room, TOGETHER)
    assert found.verdict == "crashed" and "of memory, of 286 MB" in found.message, found


async def test_filling_the_disk_ends_a_room_without_walls(
    tmp_path: Path, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def free_space(folder: Path) -> int:
        return 0 if (folder / "work" / "filler").exists() else 1 << 60

    monkeypatch.setattr("workbench.isolation.local.free_space", free_space)
    code = 'import time\nopen("filler", "wb").write(bytes(1000))\ntime.sleep(60)\n'
    found = await score(tmp_path, task, "reduced", code)
    assert found.verdict == "crashed" and "filled the disk" in found.message, found


BOMB = """
    import os, time
    for _ in range(1000):
        try:
            if os.fork() == 0:
                time.sleep(98764)
        except BlockingIOError:
            break
"""
FLOOD = """
    import sys
    for stream in (sys.stdout, sys.stderr):
        for _ in range(200):
            stream.write("x" * 100_000 + "\\n")
"""


@pytest.mark.parametrize("code", [BOMB, FLOOD], ids=["fork bomb", "flood"])
@pytest.mark.parametrize("room", ROOMS)
async def test_noise_changes_nothing(tmp_path: Path, task: Task, room: RoomChoice, code: str) -> None:
    found = await score(tmp_path, task, room, code)
    assert (found.verdict, found.score) == ("ok", 0.0), found


async def test_a_size_that_is_no_number_is_no_fault_of_the_evaluator(tmp_path: Path, task: Task) -> None:
    code = "import sys\nsys.modules['player'].blob = lambda value, most: b'= ' + b'9' * 5000 + b'\\n'\n"
    found = await score(tmp_path, task, "auto", code)
    assert found.verdict == "invalid" and found.message.isprintable(), found


TELLING = """
    import os, sys
    def apply(weight, value):
        print("heard it", file=sys.stderr, flush=True)
        {way}
"""


@pytest.mark.parametrize("way", ["raise ValueError('heard it')", "os._exit(3)"])
async def test_secret_questions_are_not_told(tmp_path: Path, way: str) -> None:
    """A room that is asked about held-out data cannot tell its author of them, but in scores."""
    folder = make_model_task(tmp_path / "task").folder
    file = folder / "task.yaml"
    file.write_text(file.read_text().replace("runner.py, ", "runner.py, splits: [validation, test], "))
    task = load_task(folder)
    code = TELLING.replace("{way}", way)
    told = {split: await score(tmp_path / split, task, "auto", code, split) for split in ("validation", "test")}
    assert {found.verdict for found in told.values()} == {"crashed"}
    assert "heard it" in told["validation"].message and "heard it" not in told["test"].message
    loading = await score(tmp_path / "loading", task, "auto", "raise ValueError('a plain mistake')\n")
    assert "a plain mistake" in loading.message  # nothing was asked yet


# -- models without code -------------------------------------------------------------------------------------------


@pytest.fixture
def classifier(tmp_path: Path) -> tuple[Task, Path]:
    """A classifier of sentence pairs (untrained), in a workspace."""
    task = find_task("naturalLanguageInferenceMNLI").under("", "tiny")
    try:
        packages = installed_for(task, "local", "")
    except SandboxError as error:
        pytest.skip(str(error))
    if packages is None:
        pytest.skip("the packages of naturalLanguageInferenceMNLI are not installed")
    data = prepare_task(task)
    folder = tmp_path / "workspace" / task.artifact.path
    shutil.copytree(data["bert-base-uncased"].public(""), folder)
    return task, folder


EVIL = "import os\nos._exit(9)\n"


@pytest.mark.bwrap
async def test_no_code_is_taken_from_a_model(classifier: tuple[Task, Path]) -> None:
    import json

    task, folder = classifier
    config = json.loads((folder / "config.json").read_text())
    names = {"AutoConfig": "evil.C", "AutoModelForSequenceClassification": "evil.M", "AutoTokenizer": ["evil.T", None]}
    config |= {"auto_map": names, "id2label": {"0": "a", "1": "b", "2": "c"}, "trust_remote_code": True}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(EVIL)
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": names, "trust_remote_code": True}))
    found = await evaluate(task, folder.parent, seed=1, room="bubblewrap", split="validation")
    assert found.verdict == "ok", found


@pytest.mark.bwrap
async def test_a_pickle_in_place_of_tensors(classifier: tuple[Task, Path]) -> None:
    import pickle

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os._exit, (9,)

    task, folder = classifier
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    found = await evaluate(task, folder.parent, seed=1, room="bubblewrap", split="validation")
    assert found.verdict == "invalid" and "cannot be loaded" in found.message, found
