"""Files of the Hugging Face Hub: fetched by its own library from a Hub on this machine, checked, prepared, cached."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.tasks.fake_hub import COMMIT, serve
from tests.tasks.small_data import make_data_task
from workbench.tasks.catalogue import Task
from workbench.tasks.datasets import DatasetError, find_dataset, missing, needs_network, prepare
from workbench.tasks.hub import chosen
from workbench.tasks.making import SourceError

FILES = {"config.json": b"{}", "model.bin": b"m" * 5000, "parts/1.bin": b"1" * 3000, "parts/2.bin": b"2" * 3000}
MAKER = """
def prepare(making):
    for name, path in making.files.items():
        making.copy(path, making.public / name)

def stand_in(making):
    (making.source / "config.json").write_text("tiny")
"""
KNOWN = hashlib.sha256(FILES["model.bin"]).hexdigest()


def make_task(folder: Path, files: str = "{config.json: null, 'parts/*.bin': null}", revision: str = COMMIT) -> Task:
    task = make_data_task(folder, source=f"{{kind: hub-files, repo: some/model, revision: {revision}, files: {files}}}")
    (task.folder / "datasets" / "numbers.py").write_text(MAKER)
    return task


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MLGYM_CACHE", "MLGYM_DATA", "HF_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path


def test_fetched_checked_and_kept(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_task(places / "task", revision="main")
    dataset = find_dataset("numbers", task)
    assert missing(dataset, "") is None and needs_network(dataset, "")
    said: list[str] = []
    with serve("some/model", FILES) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        made = prepare(dataset, progress=lambda _, text: said.append(text))
    assert {path.relative_to(made.public()).as_posix() for path in made.public().rglob("*") if path.is_file()} == {
        "config.json",
        "parts/1.bin",
        "parts/2.bin",
    }
    assert (made.public() / "parts" / "2.bin").read_bytes() == FILES["parts/2.bin"] and made.label == ""
    assert f'"revision": "{COMMIT}"' in (made.folder / "manifest.json").read_text()  # what `main` was that day
    assert any(text.startswith("fetching some/model") for text in said) and not needs_network(dataset, "")


def test_without_a_network_from_the_hubs_cache_or_an_error_at_once(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = find_dataset("numbers", make_task(places / "task"))
    with pytest.raises(DatasetError, match=r"some/model: the Hugging Face Hub does not answer.*--dataset tiny"):
        prepare(dataset)
    with serve("some/model", FILES) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        prepare(dataset)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("MLGYM_CACHE", str(places / "another"))
    assert (prepare(dataset).public() / "config.json").read_bytes() == b"{}"
    with pytest.raises(DatasetError, match="does not answer"):
        prepare(find_dataset("numbers", make_task(places / "more", "{model.bin: null}")))


@pytest.mark.parametrize("known", ["null", KNOWN])
def test_other_bytes_than_promised_are_refused(places: Path, monkeypatch: pytest.MonkeyPatch, known: str) -> None:
    dataset = find_dataset("numbers", make_task(places / "task", f"{{model.bin: {known}}}"))
    promised = {"model.bin": FILES["model.bin"]}
    with serve("some/model", {"model.bin": b"x" * 5000}, promised=promised) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(DatasetError, match=r"model.bin of some/model is not what it should be.*delete .*try again"):
            prepare(dataset)


def test_a_file_that_the_repository_has_not(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = find_dataset("numbers", make_task(places / "task", "{'*.txt': null}"))
    with serve("some/model", FILES) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(DatasetError, match=r"some/model has no file \*.txt"):
            prepare(dataset)


def test_the_users_own_copy_is_taken_instead(places: Path) -> None:
    dataset = find_dataset("numbers", make_task(places / "task", f"{{model.bin: {KNOWN}, 'parts/*.bin': null}}"))
    own = places / "MLGYM_DATA" / "numbers"
    (own / "parts").mkdir(parents=True)
    (own / "model.bin").write_bytes(FILES["model.bin"])
    (own / "parts" / "1.bin").write_bytes(b"one")
    assert missing(dataset, "") is None and not needs_network(dataset, "")
    made = prepare(dataset)
    assert (made.public() / "parts" / "1.bin").read_bytes() == b"one" and made.label == ""
    (own / "model.bin").write_bytes(b"another")
    assert prepare(dataset).label == "model.bin is not the known file"


def test_without_the_library_it_says_what_to_install(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = find_dataset("numbers", make_task(places / "task"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DatasetError, match=r"pip install 'mlgym-tui\[data\]', or use the small stand-in"):
        prepare(dataset)
    assert (prepare(dataset, "tiny").public() / "config.json").read_text() == "tiny"


def test_names_and_patterns() -> None:
    names = ["a/1.bin", "a/2.bin", "b.json"]
    assert chosen(names, {"b.json": None, "a/*.bin": None}, "r") == ["b.json", "a/1.bin", "a/2.bin"]
    assert chosen(names, {"a/2.bin": None, "*": None}, "r") == ["a/2.bin", "a/1.bin", "b.json"]
    with pytest.raises(SourceError, match=r"r has no file 2\.bin"):
        chosen(names, {"2.bin": None}, "r")
