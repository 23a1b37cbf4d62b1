"""Datasets: found, prepared once, whole or not at all, checked, and with their held-out part apart."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from tests.tasks.small_data import bring, make_data_task, numbers_of
from workbench.scoring.evaluation import evaluate
from workbench.session.secrets import cache_folder
from workbench.tasks.catalogue import Task, find_task
from workbench.tasks.datasets import (
    DatasetError,
    find_dataset,
    label_of,
    missing,
    mounts,
    prepare,
    prepare_task,
    verify,
)
from workbench.tasks.errors import TaskError, TaskFileError
from workbench.tasks.needs import examine


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLGYM_DATA", str(tmp_path / "brought"))
    monkeypatch.setenv("MLGYM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return make_data_task(tmp_path / "task")


def test_prepared_once_and_read_only(task: Task, tmp_path: Path) -> None:
    bring(tmp_path / "brought")
    said: list[tuple[float, str]] = []
    first = prepare(numbers_of(task), progress=lambda fraction, text: said.append((fraction, text)))
    assert said == [(0.5, "half way")]
    assert (first.public() / "train.txt").read_text() == "0 1 2 3 4 5 6"
    assert (first.secret / "test.txt").read_text() == "7 8 9"
    assert stat.S_IMODE((first.public() / "train.txt").stat().st_mode) == 0o444
    assert stat.S_IMODE(first.secret.stat().st_mode) == 0o700
    assert first.label == "" and verify(first) == []
    assert prepare(numbers_of(task), progress=lambda *_: pytest.fail("prepared again")) == first


def test_the_stand_in_is_another_and_says_so(task: Task) -> None:
    prepared = prepare_task(task.under(variant="tiny"))
    assert (prepared["numbers"].secret / "test.txt").read_text() == "10 11 12"
    assert label_of(prepared) == "stand-in"
    assert mounts(task, prepared) == {prepared["numbers"].folder / "public": "data"}


def test_a_file_other_than_the_known_one_is_taken_and_said(tmp_path: Path) -> None:
    source = "{kind: local, folder: some, files: {numbers.txt: " + "a" * 64 + "}, how: Write ten.}"
    task = make_data_task(tmp_path / "task", source=source)
    bring(tmp_path / "brought")
    assert prepare(numbers_of(task)).label == "numbers.txt is not the known file"


def test_prepared_again_when_the_source_changed(task: Task, tmp_path: Path) -> None:
    bring(tmp_path / "brought")
    before = prepare(numbers_of(task))
    bring(tmp_path / "brought", "9 9 9 9 1")
    after = prepare(numbers_of(task))
    assert after.folder == before.folder and (after.secret / "test.txt").read_text() == "9 9 1"
    os.utime(tmp_path / "brought" / "some" / "numbers.txt", (1, 1))  # touched, but the same
    prepare(numbers_of(task), progress=lambda *_: pytest.fail("prepared again"))
    (tmp_path / "brought" / "some" / "numbers.txt").unlink()  # gone: what was made of it stays
    prepare(numbers_of(task), progress=lambda *_: pytest.fail("prepared again"))


def test_what_is_missing_is_said_with_what_to_do(task: Task, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        prepare(numbers_of(task))
    for words in ("numbers.txt not in", str(tmp_path / "brought" / "some"), "Write ten numbers", "--dataset tiny"):
        assert words in str(caught.value)
    without = make_data_task(tmp_path / "other", tiny=False)
    with pytest.raises(DatasetError, match="no stand-in"):
        prepare(numbers_of(without), "tiny")


def test_hugging_face_without_its_library_fails_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "{kind: huggingface, repo: some/thing, revision: abc, splits: {train: train}}"
    task = make_data_task(tmp_path / "task", source=source)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DatasetError, match=r"pip install 'mlgym-tui\[data\]'.*--dataset tiny"):
        prepare(numbers_of(task))
    assert examine(task).verdict == "stand-in only"
    assert examine(task.under(variant="tiny")).verdict == "yes"


HUB = "{kind: huggingface, repo: some/thing, revision: abc, config: en, splits: {train: train, held: validation}}"
HUB_MAKER = """
def prepare(making):
    for split, folder in (("train", making.public), ("held", making.secret)):
        (folder / f"{split}.txt").write_text(" ".join(str(row["x"]) for row in making.rows[split]))

def stand_in(making):
    return {"train": [{"x": 1}], "held": [{"x": 2}]}
"""


def hub_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str) -> Task:
    """A task on a dataset of Hugging Face, with `library` in the place of the real one."""
    task = make_data_task(tmp_path / "task", source=HUB)
    (task.folder / "datasets" / "numbers.py").write_text(HUB_MAKER)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "datasets.py").write_text(library)
    monkeypatch.syspath_prepend(tmp_path / "lib")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return task


def test_hugging_face_rows_by_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = "def load_dataset(*name, **how):\n    return [{'x': [*name, how['split'], how['revision']]}]\n"
    task = hub_task(tmp_path, monkeypatch, library)
    assert examine(task).words == ("data numbers", "network")
    found = prepare(numbers_of(task))
    assert (found.public() / "train.txt").read_text() == "['some/thing', 'en', 'train', 'abc']"
    assert (found.secret / "held.txt").read_text() == "['some/thing', 'en', 'validation', 'abc']"
    assert examine(task).words == ("data numbers",)  # fetched: the network is needed no more
    assert (prepare(numbers_of(task), "tiny").secret / "held.txt").read_text() == "2"


def test_hugging_face_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = (
        "import os\ndef load_dataset(*name, **how):\n"
        "    raise ConnectionError('no route to the hub, offline=' + os.environ['HF_HUB_OFFLINE'])\n"
    )
    task = hub_task(tmp_path, monkeypatch, library)
    with pytest.raises(
        DatasetError, match=r"some/thing cannot be fetched.*no route to the hub, offline=1.*--dataset tiny"
    ):
        prepare(numbers_of(task))


def test_what_a_package_of_the_system_has_is_taken_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = "def load_dataset(*name, **how):\n    return [{'x': 7 if how['split'] == 'train' else 8}]\n"
    place = f"{{package: some-numbers, folder: {tmp_path}/usr, files: {{numbers.txt: null}}, function: read}}"
    monkeypatch.setenv("MLGYM_CACHE", str(tmp_path / "cache"))
    task = hub_task(tmp_path, monkeypatch, library)
    (task.folder / "datasets" / "numbers.yaml").write_text(
        f"id: numbers\nname: Numbers\nprepare: {{file: numbers.py}}\nsource: {HUB[:-1]}, installed: {place}}}\n"
    )
    reader = "(making.source / 'numbers.txt').read_text().split()"
    with (task.folder / "datasets" / "numbers.py").open("a") as file:
        file.write(
            f"def read(making):\n    a, b = {reader}\n    return {{'train': [{{'x': a}}], 'held': [{{'x': b}}]}}\n"
        )
    fetched = prepare(numbers_of(task))

    monkeypatch.setenv("MLGYM_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DatasetError, match="apt-get install some-numbers"):
        prepare(numbers_of(task))
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr" / "numbers.txt").write_text("7 8")
    assert examine(task).verdict == "yes" and examine(task).words == ("data numbers",)
    installed = prepare(numbers_of(task))
    assert installed.checksums() == fetched.checksums() and installed.label == ""


def test_without_a_network_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = hub_task(tmp_path, monkeypatch, "def load_dataset(*name, **how):\n    raise ConnectionError('no route')\n")
    place = f"{{package: some-numbers, folder: {tmp_path}/usr, files: {{numbers.txt: null}}, function: read}}"
    (task.folder / "datasets" / "numbers.yaml").write_text(
        f"id: numbers\nname: Numbers\nprepare: {{file: numbers.py}}\nsource: {HUB[:-1]}, installed: {place}}}\n"
    )
    with pytest.raises(DatasetError, match=r"cannot be fetched.*apt-get install some-numbers"):
        prepare(numbers_of(task))


def test_a_fault_of_the_source_leaves_nothing(task: Task, tmp_path: Path) -> None:
    bring(tmp_path / "brought", "1 bad 2")
    with pytest.raises(DatasetError, match="write a good one"):
        prepare(numbers_of(task))
    assert [path.name for path in (cache_folder() / "datasets" / "numbers").iterdir()] == [".lock"]


def test_stopped_half_way_it_leaves_nothing_and_can_be_made_later(tmp_path: Path) -> None:
    task = make_data_task(tmp_path / "task", prepare="endless")
    bring(tmp_path / "brought")

    def stop(fraction: float, text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(numbers_of(task), progress=stop)
    home = cache_folder() / "datasets" / "numbers"
    assert [path.name for path in home.iterdir()] == [".lock"]
    (home / ".making-of-a-killed-process").mkdir()
    yaml = task.folder / "datasets" / "numbers.yaml"
    yaml.write_text(yaml.read_text().replace("endless", "prepare"))
    assert prepare(numbers_of(task)).public().is_dir()
    assert not (home / ".making-of-a-killed-process").exists()


def test_two_at_once_prepare_it_once(task: Task, tmp_path: Path) -> None:
    bring(tmp_path / "brought")
    said: list[str] = []
    threads = [
        threading.Thread(target=prepare, args=(numbers_of(task), "", lambda fraction, text: said.append(text)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said.count("half way") == 1


def test_changes_to_prepared_files_are_found(task: Task, tmp_path: Path) -> None:
    bring(tmp_path / "brought")
    found = prepare(numbers_of(task))
    file = found.secret / "test.txt"
    file.chmod(0o644)
    file.write_text("7 8 8")  # as long as before
    (found.public() / "more.txt").write_text("")
    assert sorted(verify(found)) == ["public/more.txt does not belong there", "secret/test.txt was changed"]
    file.write_text("shorter or longer")
    assert (prepare(numbers_of(task)).secret / "test.txt").read_text() == "7 8 9"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("kind: local", "kind: web", "source"),
        ("how: Write ten numbers.", "hw: x", "did you mean 'how'"),
        ("id: numbers", "id: figures", "must be the name of the file"),
        ("file: numbers.py", "file: gone.py", "'gone.py' is not there"),
        ("folder: some", "folder: ../some", "without '..'"),
    ],
)
def test_faults_of_the_file_are_named(task: Task, old: str, new: str, words: str) -> None:
    file = task.folder / "datasets" / "numbers.yaml"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(TaskFileError, match=words) as caught:
        numbers_of(task)
    assert "numbers.yaml, line" in str(caught.value)


def test_a_dataset_that_is_not_there(task: Task) -> None:
    with pytest.raises(DatasetError, match=r"task.yaml: datasets: 'letters' is not there: no letters.yaml"):
        find_dataset("letters", task)


def test_a_task_without_data_has_no_stand_in() -> None:
    with pytest.raises(TaskError, match="leave --dataset out"):
        find_task("blotto").under(variant="tiny")


async def test_a_table_is_scored_on_the_secret_part(task: Task, tmp_path: Path) -> None:
    bring(tmp_path / "brought")
    found = await evaluate(task, b"Id,x\n2,9\n0,7\n1,8\n", seed=1)
    assert (found.verdict, found.score, found.isolation, found.dataset) == ("ok", 0.0, "sandbox", "")
    on_stand_in = await evaluate(task.under(variant="tiny"), b"Id,x\n2,12\n0,10\n1,8\n", seed=1)
    assert on_stand_in.score == pytest.approx(3**0.5) and on_stand_in.dataset == "stand-in"
    wrong = await evaluate(task, b"Id,x\n2,9\n0,7\n", seed=1)
    assert (wrong.verdict, wrong.message) == ("invalid", "submission.csv: 1 Id is missing: 1")


def test_shipped_datasets_can_all_be_used_on_their_stand_in() -> None:
    for ident in ("regressionKaggleHousePrice", "3SATTime"):
        task = find_task(ident)
        for name in task.spec.datasets:
            assert missing(find_dataset(name, task), "tiny") is None
