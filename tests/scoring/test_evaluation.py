"""Clean-room evaluation: repeatable, closed, and gone when it is over."""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
from pathlib import Path

import pytest

from tests.scoring.hostile import ALWAYS_0, body
from tests.tasks.quick_task import make_quick_task
from workbench.isolation import bwrap, landlock, local
from workbench.isolation import container as container_module
from workbench.isolation.spec import describe_status
from workbench.scoring import evaluation
from workbench.scoring.evaluation import EvaluationError, evaluate
from workbench.scoring.room import RoomError, RoomKind, choose
from workbench.tasks.catalogue import Task

HOME_FILE = os.path.expanduser("~/.bashrc")
REPOSITORY = Path(__file__).parents[2]
ROOMS = [
    pytest.param("bubblewrap", marks=pytest.mark.bwrap),
    "reduced",
    pytest.param("docker", marks=pytest.mark.docker),
]
CLOSED_ROOMS = [ROOMS[0], ROOMS[2]]
RANDOM = body("return random.getrandbits(1) ^ hash('x') % 2", before="import random\n")


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return make_quick_task(tmp_path / "quick")


async def said(task: Task, source: str, room: RoomKind) -> str:
    """What a strategy found out: it raises it."""
    found = await evaluate(task, source.encode(), seed=1, room=room)
    assert found.verdict == "crashed", found
    return found.message


@pytest.mark.parametrize("room", ROOMS)
async def test_the_same_artifact_and_seed_give_the_same_score(task: Task, room: RoomKind) -> None:
    first = await evaluate(task, RANDOM.encode(), seed=1, secret=b"s", room=room)
    again = await evaluate(task, RANDOM.encode(), seed=1, secret=b"s", room="reduced")
    assert first.verdict == "ok" and first.score == again.score and first.standard_error == again.standard_error
    assert first.artifact == again.artifact and len(first.artifact or "") == 64
    assert first.duration > 0


async def test_seed_secret_and_artifact_each_change_the_score(task: Task) -> None:
    scores = {
        (await evaluate(task, source.encode(), seed=seed, secret=secret, room="reduced")).score
        for source, seed, secret in (
            (RANDOM, 1, b"s"),
            (RANDOM, 2, b"s"),
            (RANDOM, 1, b"t"),
            (RANDOM, 1, None),
            (RANDOM + "#", 1, b"s"),
        )
    }
    assert len(scores) >= 4


@pytest.mark.parametrize("move", ["False", "0.0", "-0.0", "N(0)", "F(0)", "0"])
async def test_numbers_of_any_kind_are_moves(task: Task, move: str) -> None:
    kinds = "class N:\n    def __init__(s, n): s.n = n\n    def __index__(s): return s.n\n"
    kinds += "class F(float): pass\n"
    found = await evaluate(task, body(f"return {move}", before=kinds).encode(), seed=1, room="reduced")
    assert found.verdict == "ok" and found.score is not None and found.score > 1.2, found


async def test_the_history_is_a_list_of_pairs(task: Task) -> None:
    source = body(
        "assert type(history) is list and all(type(r) is tuple and len(r) == 2 for r in history), history",
        "assert [r for r, _ in history] == sent[len(sent) - len(history):], (history, sent)",
        "assert not history or history[0][1] == 1, history",  # how this opponent opens
        "sent.append((len(history) + 1) % 2)",
        "return sent[-1]",
        before="sent = []\n",
    )
    found = await evaluate(task, source.encode(), seed=1, room="reduced")
    assert found.verdict == "ok", found


async def test_one_process_plays_all_games_in_order(task: Task) -> None:
    found = await said(
        task, body("calls.append(1)", "assert len(calls) < 395", "return 0", before="calls = []\n"), "reduced"
    )
    assert "game 40, round 5" in found


@pytest.mark.parametrize("room", CLOSED_ROOMS)
async def test_nothing_of_the_judge_is_in_the_room(task: Task, room: RoomKind) -> None:
    sought = [str(REPOSITORY), str(task.folder), HOME_FILE, "/etc/shadow"]
    source = body(
        "names = [n for n in paths if os.access(n, os.R_OK)]",
        "for module in ('workbench', 'workbench.tasks.games', 'pydantic'):",
        "    names += [module] if importlib.util.find_spec(module.split('.')[0]) else []",
        "folder = os.path.dirname(__file__)",
        "raise LookupError(f'found {names} beside {sorted(os.listdir(folder))} in {os.getcwd()} as {os.getuid()}')",
        before=f"import importlib.util, os\npaths = {sought!r}\n",
    )
    message = await said(task, source, room)
    assert (
        "found [] beside ['seccomp.py', 'strategy.py', 'submission_server.py'] in /tmp" in message
        and "as 0" not in message
    )


@pytest.mark.bwrap
async def test_the_room_is_bare(task: Task) -> None:
    source = body(
        "raise LookupError(sorted(os.listdir('/')), len(os.listdir('/proc/self/task')))", before="import os\n"
    )
    message = await said(task, source, "bubblewrap")
    seen = message.partition("['")[2].partition("']")[0].split("', '")
    assert set(seen) <= {
        "bin",
        "dev",
        "etc",
        "home",
        "lib",
        "lib32",
        "lib64",
        "libx32",
        "opt",
        "proc",
        "room",
        "sbin",
        "tmp",
        "usr",
    }
    source = body("raise LookupError([p for p in os.listdir('/proc') if p.isdigit()])", before="import os\n")
    assert "['1']" in await said(task, source, "bubblewrap")
    source = body("raise LookupError(sorted(os.environ))", before="import os\n")
    assert "SECRET" not in await said(task, source, "bubblewrap")


@pytest.mark.parametrize("room", ROOMS)
async def test_only_tmp_can_be_written(task: Task, room: RoomKind) -> None:
    source = body(
        "try:",
        "    open(__file__, 'a')",
        "except OSError as error:",
        "    open('note', 'w').write('x')",
        "    raise LookupError(error.errno)",
        before="import os\n",
    )
    assert "LookupError: " in await said(task, source, room)


@pytest.mark.bwrap
async def test_a_package_installed_in_usr_is_masked(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = next(path for path in map(Path, ("/usr/lib/python3", "/usr/share", "/usr/lib")) if path.is_dir())
    source = body(f"raise LookupError(os.listdir({str(folder)!r}))", before="import os\n")
    assert "LookupError: []" not in await said(task, source, "bubblewrap")
    monkeypatch.setattr(bwrap, "_PACKAGE", folder)
    assert "LookupError: []" in await said(task, source, "bubblewrap")


def test_masks_follow_a_python_that_is_bound_elsewhere(tmp_path: Path) -> None:
    python = tmp_path / "python"
    package = python / "lib" / "python3.11" / "site-packages" / "workbench"
    (package / "_data" / "tasks").mkdir(parents=True)
    other = tmp_path / "other"
    other.mkdir()
    hide = [package / "_data" / "tasks", other, python]
    found = bwrap.hidden_in({python: Path("/opt/python")}, hide)
    assert found == [Path("/opt/python/lib/python3.11/site-packages/workbench")]


async def test_what_lies_in_the_current_folder_is_not_run(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json.py", "random.py", "socket.py", "workbench.py"):
        (tmp_path / name).write_text("raise SystemExit('not this one')\n")
    monkeypatch.chdir(tmp_path)
    assert (await evaluate(task, ALWAYS_0.encode(), seed=1, room="reduced")).verdict == "ok"


async def test_paths_and_nothing_as_artifact(task: Task, tmp_path: Path) -> None:
    file = tmp_path / "other-name.py"
    file.write_text(ALWAYS_0)
    assert (await evaluate(task, file, seed=1, room="reduced")).verdict == "ok"
    link = tmp_path / "link.py"
    link.symlink_to(file)
    assert (await evaluate(task, link, seed=1)).verdict == "invalid"
    assert (await evaluate(task, tmp_path / "none.py", seed=1)).verdict == "missing"
    assert (await evaluate(task, None, seed=1)).verdict == "missing"
    assert (await evaluate(task, b"#" * 30_000, seed=1)).verdict == "invalid"


async def test_progress(task: Task) -> None:
    seen: list[tuple[float, str]] = []
    slow = body("time.sleep(0.0002)", "return 0", before="import time\n")
    longer = make_quick_task(task.folder.parent / "longer", games=260, seconds=60)
    found = await evaluate(longer, slow.encode(), seed=1, room="reduced", progress=lambda *told: seen.append(told))
    assert found.verdict == "ok" and seen[0][0] == 0.0 and seen[-1][0] == 250 / 260
    assert "260 games" in seen[-1][1]


@pytest.mark.parametrize("room", ROOMS)
async def test_the_limit_is_of_processor_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: RoomKind) -> None:
    monkeypatch.setattr(evaluation, "BY_THE_CLOCK", 1000)  # however busy this machine is
    task = make_quick_task(tmp_path / "slow", games=10_000, seconds=1)
    found = await evaluate(task, body("sum(range(200_000))", "return 0").encode(), seed=1, room=room)
    assert found.verdict == "timeout" and "took more than 1 s of processor time" in found.message, found


async def test_by_the_clock_it_has_a_limit_too(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "BY_THE_CLOCK", 0.2)
    found = await evaluate(task, body("time.sleep(0.1)", "return 0", before="import time\n").encode(), seed=1)
    assert found.verdict == "timeout" and "all of it took more than 1 s by the clock" in found.message, found


async def test_what_waits_takes_no_processor_time(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "BY_THE_CLOCK", 1000)
    quick = make_quick_task(task.folder.parent / "waits", games=4, seconds=1)
    found = await evaluate(quick, body("time.sleep(0.05)", "return 0", before="import time\n").encode(), seed=1)
    assert found.verdict == "ok" and found.duration > 2


async def test_faults_of_the_evaluator_are_not_the_submissions(task: Task) -> None:
    evaluator = task.folder / "evaluate" / "game.py"
    good = evaluator.read_text()
    for wrong, words in (
        ("raise RuntimeError('broken evaluator')\n", "broken evaluator"),
        (good.replace("return play(", "print('{}')\n    return 7 or play("), "failed"),
        (good.replace("return play(", "return Scores({'Other': 1.0}) or play("), "no finite number for Score"),
    ):
        evaluator.write_text(wrong)
        with pytest.raises(EvaluationError, match=words):
            await evaluate(task, ALWAYS_0.encode(), seed=1, room="reduced")
    with pytest.raises(EvaluationError, match="split"):
        await evaluate(task, ALWAYS_0.encode(), seed=1, split="validation")


def processes_with(token: str) -> list[str]:
    """Command lines of running processes that name `token`."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if token in line:
                found.append(line)
    return found


@pytest.mark.parametrize("room", ROOMS)
async def test_cancelling_kills_everything(tmp_path: Path, room: RoomKind) -> None:
    name = f"strategy_{secrets.token_hex(8)}.py"
    task = make_quick_task(tmp_path / "quick", name=name, seconds=300)
    started = asyncio.Event()
    source = body("time.sleep(0.01)", "return 0", before="import time\n")
    running = asyncio.ensure_future(
        evaluate(task, source.encode(), seed=1, room=room, progress=lambda *_: started.set())
    )
    await asyncio.wait([running, asyncio.ensure_future(started.wait())], return_when=asyncio.FIRST_COMPLETED)
    assert not running.done() and processes_with(name)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not processes_with(name)


@pytest.mark.bwrap
async def test_auto_takes_a_sandbox(task: Task) -> None:
    assert await choose("auto") == "bubblewrap"
    assert (await evaluate(task, ALWAYS_0.encode(), seed=1)).isolation == "sandbox"


async def test_without_bubblewrap_and_engine(task: Task, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    why = "bwrap is not installed"
    monkeypatch.setattr(local, "probe_bubblewrap", lambda: why)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(RoomError, match="bwrap is not installed"):
        await evaluate(task, ALWAYS_0.encode(), seed=1, room="bubblewrap")
    with pytest.raises(RoomError):
        await evaluate(task, ALWAYS_0.encode(), seed=1, room="docker")
    found = await evaluate(task, ALWAYS_0.encode(), seed=1)
    named = {"landlock": "reduced isolation: landlock", "reduced": "reduced isolation"}
    assert found.verdict == "ok" and found.isolation == named[await choose("auto")]
    monkeypatch.setattr(landlock, "probe_landlock", lambda: "this kernel has no Landlock")
    with pytest.raises(RoomError, match="no Landlock"):
        await evaluate(task, ALWAYS_0.encode(), seed=1, room="landlock")
    assert await choose("auto") == "reduced"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs a submission as another user")
async def test_a_temporary_folder_that_nobody_else_may_enter(
    task: Task, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(closed))
    with pytest.raises(RoomError, match="another user, who may not enter") as caught:
        await evaluate(task, ALWAYS_0.encode(), seed=1, room="reduced")
    assert str(closed) in str(caught.value) and "TMPDIR" in caught.value.hint
    assert not list(closed.iterdir()), "nothing is left"


@pytest.mark.docker
async def test_an_engine_that_shares_no_sockets(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    direct = await evaluate(task, RANDOM.encode(), seed=1, room="docker")
    monkeypatch.setattr(container_module, "same_kernel", lambda engine: False)
    found = await evaluate(task, RANDOM.encode(), seed=1, room="docker")
    assert found.verdict == "ok" and found.score == direct.score
    ended = await said(task, body("os._exit(5)", before="import os\n"), "docker")
    assert "exit status 5" in ended


def test_statuses_in_words() -> None:
    assert describe_status(3) == "exit status 3"
    assert describe_status(137) == describe_status(-9) == "killed by SIGKILL"
