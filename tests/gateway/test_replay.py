"""A recorded session answers the program again, for as long as it asks the same."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.gateway.agents import work
from tests.gateway.rig import Rig, gateway, user
from workbench.gateway.agent import GatewayAgent
from workbench.gateway.answering import Upstream, UpstreamError
from workbench.gateway.replay import Replay
from workbench.gateway.scripted import Said, Scripted
from workbench.gateway.server import Gateway
from workbench.gateway.upstream import make_upstream
from workbench.session import commands as do
from workbench.session.log import read_log
from workbench.session.state import fold

SCRIPT = [Said(say="First.", run="ls"), Said(say="Then.", run="cat a.py"), Said(run="make")]


async def recorded(root: Path, script: list[Said] = SCRIPT, words: str = "Solve it.") -> Path:
    """A session in which the small agent came to the end of a script."""
    async with gateway(root, upstream=Scripted(script)) as rig:
        await work(rig, words)
        await finished(rig)
        return rig.session.folder


async def finished(rig: Rig) -> str:
    rig.gateway.agent.finish("the program has ended")
    return (await rig.session.ended()).exit_status


async def test_the_same_program_gets_the_same_answers(tmp_path: Path) -> None:
    folder = await recorded(tmp_path)
    replay = Replay(folder)
    async with gateway(tmp_path, upstream=replay) as rig:
        messages = await work(rig, "Solve it.")
        assert await finished(rig) == "actions_exhausted"
    assert replay.complete and (len(replay.calls), len(messages)) == (4, 8)
    before, now = (fold(read_log(each)[0]) for each in (folder, rig.session.folder))
    assert [(s.action, s.observation) for s in now.steps] == [(s.action, s.observation) for s in before.steps]
    assert now.cost == 0 and not now.unpriced_tokens
    assert any("all 4 calls" in note.text for note in now.notes)


def key() -> str:
    return f"OPENAI_API_KEY={Gateway(GatewayAgent(Scripted())).key}"


async def test_what_no_two_runs_share_is_no_difference(tmp_path: Path) -> None:
    folder = await recorded(tmp_path, words=f"It is 2026-01-02 10:00:01, in /tmp/abc123, and took 0.5 s. {key()}")
    replay = Replay(folder)
    async with gateway(tmp_path, upstream=replay) as rig:
        await work(rig, f"It is 2026-11-30 09:59:02, in /tmp/xyz, and took 12 s. {key()}")
        await finished(rig)
    assert replay.complete


async def test_identifiers_of_messages_are_no_difference_and_other_fields_are(tmp_path: Path) -> None:
    """Codex gives each message an id of its own, and each output of a command."""

    def asked(uuid: str, chunk: str, phase: str = "first") -> dict[str, Any]:
        said = f"Chunk ID: {chunk}\nOutput:\nout"
        return {**user(said), "id": f"msg_{uuid}-d8b6-7530-8ab9-3249e3e764f5", "phase": phase}

    async with gateway(tmp_path, upstream=Scripted(SCRIPT)) as rig:
        await rig.chat(asked("01a227d1", "5a3437"))
        await finished(rig)
    replay = Replay(rig.session.folder)
    async with gateway(tmp_path, upstream=replay) as again:
        assert (await again.chat(asked("d55d4013", "83a326"))).status_code == 200
        await finished(again)
    assert replay.complete
    async with gateway(tmp_path, upstream=Replay(rig.session.folder)) as other:
        got = await other.chat(asked("d55d4013", "83a326", "second"))
        said = got.json()["error"]["message"]
        assert '"phase":"first"' in said and '"phase":"second"' in said


async def test_it_says_where_the_program_left_the_recording_and_stops(tmp_path: Path) -> None:
    folder = await recorded(tmp_path)
    async with gateway(tmp_path, upstream=Replay(folder)) as rig:
        with pytest.raises(httpx2.HTTPStatusError, match="message 3"):
            await work(rig, "Solve it.", tells="something else of {}")
        ended = await rig.session.ended()
    assert ended.exit_status == "diverged"
    assert ended.reason == (
        "the program leaves the recording at its call 2: message 3 was 'out of ls' and is 'something else of ls'"
    )


async def test_other_settings_are_a_difference_too(tmp_path: Path) -> None:
    folder = await recorded(tmp_path)
    async with gateway(tmp_path, upstream=Replay(folder)) as rig:
        with pytest.raises(httpx2.HTTPStatusError, match="its settings"):
            await work(rig, "Solve it.", temperature=1)


async def test_from_a_difference_on_a_model_answers(tmp_path: Path) -> None:
    folder = await recorded(tmp_path)
    replay = Replay(folder, then=Scripted([*SCRIPT[:1], Said(run="live")]))
    async with gateway(tmp_path, upstream=replay) as rig:
        await work(rig, "Solve it.", tells="something else of {}")
        assert await finished(rig) == "actions_exhausted"
    assert [step.action for step in rig.session.state.steps[1:]] == ["ls", "live", ""]
    assert replay.difference and not replay.complete


async def test_a_fork_is_answered_up_to_a_step_and_then_goes_its_own_way(tmp_path: Path) -> None:
    folder = await recorded(tmp_path)
    replay = Replay(folder, until=2, then=Scripted([Said(), Said(), Said(say="Otherwise.", run="git log")]))
    async with gateway(tmp_path, upstream=replay) as rig:
        await work(rig, "Solve it.")
        await finished(rig)
    assert [step.action for step in rig.session.state.steps[1:]] == ["ls", "cat a.py", "git log", ""]
    assert not replay.difference


async def test_a_person_is_handed_the_session_over(tmp_path: Path) -> None:
    folder = await recorded(tmp_path)
    replay = Replay(folder, ask=True, then=Scripted([*SCRIPT[:1], Said(run="live")]))
    async with gateway(tmp_path, upstream=replay, interactive=True) as rig:
        working = asyncio.ensure_future(work(rig, "Solve it.", tells="something else of {}"))
        await rig.session.until(lambda: rig.controls.holding, "the session waits for somebody")
        assert "leaves the recording" in rig.session.runner.status.problem
        rig.controls.continue_()
        await working
        await finished(rig)
    assert [step.action for step in rig.session.state.steps[1:]] == ["ls", "live", ""]


async def test_without_a_model_a_person_goes_on_with_the_recording(tmp_path: Path) -> None:
    folder = await recorded(tmp_path)
    replay = make_upstream(f"replay:{folder}@1,ask")
    async with gateway(tmp_path, upstream=replay, interactive=True) as rig:
        working = asyncio.ensure_future(work(rig, "Solve it.", tells="something else of {}"))
        for action, thought in (("pwd", ""), ("", "Done.")):
            await rig.session.until(lambda: rig.session.runner.status.problem, "somebody is asked")
            assert (await rig.controls.do(do.Act(action, thought))).done
            await rig.session.until(lambda: not rig.session.runner.status.problem, "it goes on")
        await working
        await finished(rig)
    assert [step.action for step in rig.session.state.steps[1:]] == ["ls", "pwd", ""]


async def test_what_a_person_made_of_an_answer_is_what_the_program_gets_again(tmp_path: Path) -> None:
    async with gateway(tmp_path, upstream=Scripted(SCRIPT[:2]), mode="step") as rig:
        working = asyncio.ensure_future(work(rig, "Solve it."))
        await rig.session.review(1)
        rig.controls.edit("ls -l")
        rig.controls.run_proposal()
        await rig.session.review(2)
        rig.controls.reject("no")
        await working
        await finished(rig)
    replay = Replay(rig.session.folder)
    async with gateway(tmp_path, upstream=replay) as again:
        messages = await work(again, "Solve it.")
        await finished(again)
    assert replay.complete and messages == working.result()
    assert [step.action for step in again.session.state.steps[1:]] == ["ls -l", ""]


async def test_upstreams_by_name(tmp_path: Path) -> None:
    folder = await recorded(tmp_path)
    script = tmp_path / "script.yaml"
    script.write_text("answers:\n- {say: Hello., run: ls}\n")

    def made(name: str) -> Upstream:
        return make_upstream(name, base_url="http://localhost:1/v1", sessions=folder.parent)

    assert isinstance(made(f"scripted:{script}"), Scripted)
    replay = made(f"replay:{folder.name}@2,ask,openai:gpt-4o")
    assert isinstance(replay, Replay) and replay.then is not None and replay.then.name == "openai:gpt-4o"
    assert len(replay.calls) == 2
    for wrong in ("nobody:x", "openai:a,openai:b", f"replay:{folder.name}@9", f"scripted:{tmp_path}/none.yaml"):
        with pytest.raises(UpstreamError):
            made(wrong)
