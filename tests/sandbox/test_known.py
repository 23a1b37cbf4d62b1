"""What is known of this machine from earlier starts, and when it is asked again."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.isolation import bwrap, known
from workbench.isolation.spec import SandboxError
from workbench.sandbox.base import SandboxSpec
from workbench.sandbox.local import LocalSandbox
from workbench.session.secrets import cache_folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLGYM_CACHE", str(tmp_path / "cache"))
    return cache_folder()


def test_an_answer_is_asked_for_again_when_what_it_hangs_on_has_changed() -> None:
    asked: list[str] = []

    def ask(answer: str, *hangs_on: str) -> str:
        return known.known("question", hangs_on, lambda: asked.append(answer) or answer)  # type: ignore[func-returns-value]

    assert [ask("a", "x"), ask("b", "x"), ask("c", "y"), ask("d", "y"), ask("", "z"), ask("e", "z")] == [
        "a", "a", "c", "c", "", "e",
    ]  # fmt: skip
    assert asked == ["a", "c", "", "e"]
    known.forget("question")
    assert ask("f", "z") == "f"


def test_a_program_that_was_replaced_is_another(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("1")
    before = list(known.programs(str(program), str(tmp_path / "none")))
    (tmp_path / "new").write_text("2")
    (tmp_path / "new").rename(program)
    assert len(before) == 1 and list(known.programs(str(program))) != before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"question": 1}', b"\xff" * 100_000])
def test_a_file_of_something_else_is_no_answer(cache: Path, content: bytes) -> None:
    cache.mkdir()
    (cache / "machine.json").write_bytes(content)
    assert known.known("question", [], lambda: "asked") == "asked"
    assert known.known("question", [], lambda: "again") == "asked"


@pytest.mark.bwrap
async def test_what_no_longer_works_is_said_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "workspace").mkdir()
    tried: list[int] = []
    monkeypatch.setattr(bwrap, "try_bubblewrap", lambda: tried.append(1))
    for _ in range(2):
        bwrap.probe_bubblewrap.cache_clear()
        assert bwrap.probe_bubblewrap() is None
    assert len(tried) == 1, "the second start knows it"
    monkeypatch.setattr("workbench.sandbox.local.start_confined", _start_refused)
    with pytest.raises(SandboxError, match="could not be started") as caught:
        await LocalSandbox(SandboxSpec(session="s"), tmp_path / "workspace").start()
    assert "may not make its namespaces" in caught.value.hint
    bwrap.probe_bubblewrap.cache_clear()
    bwrap.probe_bubblewrap()
    assert len(tried) == 2


async def _start_refused(*_: object) -> object:
    from workbench.isolation.local import start_plain

    refused = ["/bin/sh", "-c", "echo 'bwrap: No permissions to create a new namespace' >&2; exit 1"]
    return await start_plain(refused, {}, Path("/"))
