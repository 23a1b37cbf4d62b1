"""What a person does about the answers of an agent program, beside letting them go."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx2
import pytest

from tests.agents.models.server import Reply
from tests.gateway.agents import TOOLS
from tests.gateway.rig import Rig, answer, gateway, user, whole
from workbench.gateway.call import read_whole
from workbench.gateway.protocols.base import Said
from workbench.gateway.replay import Replay
from workbench.gateway.routes import find_route
from workbench.gateway.upstream import make_upstream
from workbench.session import commands as do
from workbench.session import events as ev

LOOK = ("bash", {"command": "ls"})


def asking(rig: Rig) -> asyncio.Future[httpx2.Response]:
    return asyncio.ensure_future(rig.chat(user("Solve it."), temperature=0.25))


def command(got: httpx2.Response) -> str:
    call = got.json()["choices"][0]["message"]["tool_calls"][0]
    return str(json.loads(call["function"]["arguments"])["command"])


async def test_alternatives_are_asked_for_and_one_of_them_is_what_the_program_gets(tmp_path: Path) -> None:
    async with gateway(tmp_path, mode="step", interactive=True) as rig:
        rig.server.answers(
            whole(answer("Look.", LOOK)),
            whole(answer("Look closely.", ("bash", {"command": "ls -l"}))),
            whole(answer("Look around.", ("bash", {"command": "ls -R"}))),
        )
        held = asking(rig)
        await rig.session.review(1)
        rig.controls.resample(2, temperature=0.75)
        await rig.session.until(lambda: len(rig.session.events(ev.ActionSampled)) == 2, "both alternatives are there")
        assert [call.body["temperature"] for call in rig.server.calls] == [0.25, 0.75, 0.75]
        rig.controls.choose(2)
        assert rig.session.state.current.action == "ls -R"
        rig.controls.edit("ls -R src")
        rig.controls.run_proposal()
        got = await held
        assert command(got) == "ls -R src"
        rig.gateway.agent.finish("done")
        await rig.session.ended()
    step = rig.session.state.steps[1]
    assert step.spending.input_tokens == 21 and step.alternatives[1].spending.input_tokens == 7
    replay = Replay(rig.session.folder)
    async with gateway(tmp_path, upstream=replay) as again:
        assert command(await asking(again)) == "ls -R src"
    assert replay.complete


async def test_another_model_from_the_next_call_on(tmp_path: Path) -> None:
    async with gateway(tmp_path, mode="step", interactive=True) as rig:
        rig.server.answers(whole(answer("Fine.")))
        other = await rig.controls.do(do.ChangeModel("openai:m-2", f"{rig.server.url}/v1", 0.5))
        assert other.done, other
        await rig.session.until(lambda: rig.session.events(ev.AgentChanged), "it has changed")
        wrong = await rig.controls.do(do.ChangeModel("anthropic:m-3", rig.server.url, None))
        assert "protocols of openai" in wrong.problem
        held = asking(rig)
        await rig.session.review(1)
        rig.controls.run_proposal()
        await held
        body = rig.server.calls[0].body
        assert (body["model"], body["temperature"]) == ("m-2", 0.5)
    sent = rig.session.events(ev.PromptSent)[0]
    assert sent.model == "openai:m-2" and sent.settings is not None and sent.settings["model"] == "m-1"
    assert rig.session.state.model == "openai:m-2"


async def test_a_model_that_takes_the_place_of_the_one_that_is_named(tmp_path: Path) -> None:
    async with gateway(tmp_path, model="m-9") as rig:
        rig.server.answers(whole(answer("Fine.")))
        await rig.chat(user("Solve it."))
        assert rig.server.calls[0].body["model"] == "m-9"
        await rig.session.until(lambda: rig.session.state.last_step == 1, "the answer is a step")
        assert rig.session.state.steps[1].author == "model:m-9"


@contextlib.asynccontextmanager
async def stopped(rig: Rig) -> AsyncIterator[asyncio.Future[httpx2.Response]]:
    """A request whose answer a person has stopped: its client waits."""
    slow = Reply([json.dumps(answer("Late.")).encode()], content_type="application/json", hold_before=0)
    rig.server.answers(slow, whole(answer("Fine.")))
    assert not rig.controls.interrupt(), "nothing is on its way"
    asked = asyncio.ensure_future(rig.chat(user("Solve it."), tools=TOOLS))
    await rig.server.held.wait()
    await rig.session.until(rig.controls.interrupt, "the answer is stopped")
    await rig.session.until(lambda: rig.newest.delivery.blanks > 2, "its client is kept waiting")
    assert len(rig.server.calls) == 1
    yield asked
    rig.server.go_on.set()
    assert [failure.cause for failure in rig.session.state.failures] == ["cancelled"]


async def test_an_answer_that_is_stopped_is_asked_for_once_more(tmp_path: Path) -> None:
    async with gateway(tmp_path, interactive=True, keep_alive=0.02) as rig, stopped(rig) as asked:
        rig.controls.continue_()
        assert (await asked).json() == answer("Fine.")


async def test_a_person_writes_the_answer_that_was_stopped(tmp_path: Path) -> None:
    async with gateway(tmp_path, interactive=True, keep_alive=0.02) as rig, stopped(rig) as asked:
        assert (await rig.controls.do(do.Act("make test", "I know."))).done
        assert command(await asked) == "make test"
        assert len(rig.server.calls) == 1
        await rig.session.until(lambda: rig.session.state.last_step == 1, "the answer is a step")
    assert rig.session.state.current.author.startswith("human:")


async def test_a_person_writes_while_the_model_is_at_work(tmp_path: Path) -> None:
    """In step mode, too, what a person has written waits for no review."""
    async with gateway(tmp_path, mode="step", interactive=True) as rig:
        slow = Reply([json.dumps(answer("Late.")).encode()], content_type="application/json", hold_before=0)
        rig.server.answers(slow)
        asked = asking(rig)
        await rig.server.held.wait()
        assert not (await rig.controls.do(do.Act(""))).done, "there is nothing to say"
        assert (await rig.controls.do(do.Act("", "Enough."))).done
        assert (await asked).json()["choices"][0]["message"]["content"] == "Enough."
        rig.server.go_on.set()
        await rig.session.over(1)
        assert not (await rig.controls.do(do.Act("ls"))).done, "no call waits for an answer"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_a_person_is_the_model(tmp_path: Path, path: str) -> None:
    """What they write calls the shell, any tool by its name, or is text; and it is replayed as any answer is."""
    tools = (
        [*TOOLS, {"type": "function", "function": {"name": "read", "parameters": {"properties": {"path": {}}}}}]
        if "chat" in path
        else [{"name": n, "input_schema": {"properties": {p: {}}}} for n, p in (("bash", "command"), ("read", "path"))]
    )
    protocol = find_route("POST", path, (), ()).protocol
    body = {"model": "m-1", "max_tokens": 9, "messages": [user("Solve it.")], "tools": tools, "stream": True}
    got: list[Said] = []

    async with gateway(tmp_path, upstream=make_upstream("human"), interactive=True) as rig:
        for action, thought in (("ls", "Look."), ('read {"path": "a.py"}', ""), ("", "Done.")):
            asked = asyncio.ensure_future(rig.post(path, body))
            await rig.session.until(
                lambda: "write the answer" in rig.session.runner.status.problem, "a person is asked"
            )
            prompts, coming = rig.session.state.prompts, rig.session.state.last_step + 1
            await rig.session.until(partial(prompts.of_step, coming), "what is asked is logged")
            (message,) = prompts.prompt(prompts.of_step(coming)[0]).messages
            assert b"Solve it." in rig.session.runner.live.objects.get(message.hash), "they can read what is asked"
            wrong = await rig.controls.do(do.Act('read {"path": }'))
            assert "no JSON" in wrong.problem
            assert (await rig.controls.do(do.Act(action, thought))).done
            got.append(protocol.said(read_whole(protocol, (await asked).content, "text/event-stream")))
        await rig.session.until(lambda: rig.session.state.last_step == 3, "all answers are steps")
        folder = rig.session.folder
        assert [call.failure for call in rig.session.state.prompts.calls] == ["", "", ""], "each is logged once"
    assert [[(call.name, json.loads(call.arguments)) for call in said.calls] for said in got] == [
        [("bash", {"command": "ls"})],
        [("read", {"path": "a.py"})],
        [],
    ]
    assert [said.text for said in got] == ["Look.", "", "Done."]
    replay = Replay(folder)
    async with gateway(tmp_path, upstream=replay) as again:
        assert [(await again.post(path, body)).status_code for _ in got] == [200, 200, 200]
    assert replay.complete


async def test_a_call_that_is_held_shows_what_it_asks(tmp_path: Path) -> None:
    """And what comes of it is told of it, though other things were logged in between."""
    async with gateway(tmp_path, interactive=True) as rig:
        late = Reply([json.dumps(answer("Late.")).encode()], content_type="application/json", hold_before=0)
        rig.server.answers(late, Reply([b"no such model"], status=404))
        asked = asking(rig)
        await rig.server.held.wait()
        await rig.session.until(rig.controls.interrupt, "the answer is stopped")
        calls = rig.session.state.prompts.calls
        await rig.session.until(lambda: len(calls) == 2, "what is held now is logged")
        for _ in range(3):
            rig.session.runner.live.emit(ev.NoteAdded(text="hm"))
        rig.controls.continue_()
        assert (await asked).status_code == 404
        rig.server.go_on.set()
        assert ["cancelled" in calls[0].failure, "no such model" in calls[1].failure, len(calls)] == [True, True, 2]


async def test_a_submission_ends_the_session_though_a_call_waits(tmp_path: Path) -> None:
    """Also one that was scored when the program had given up waiting for it."""
    async with gateway(tmp_path, upstream=make_upstream("human"), interactive=True) as rig:
        held = asking(rig)
        await rig.session.until(lambda: rig.session.runner.status.under_way, "the call waits for a person")
        await rig.session.runner.episode.score("submit", 0)
        assert (await rig.session.ended()).exit_status == "submitted"
        assert (await held).status_code == 503


async def test_nobody_is_there_to_be_the_model(tmp_path: Path) -> None:
    async with gateway(tmp_path, upstream=make_upstream("human")) as rig:
        assert (await asking(rig)).status_code == 503
        assert "--upstream human" in (await rig.session.ended()).reason


async def test_an_edit_that_no_answer_can_hold_is_refused(tmp_path: Path) -> None:
    two = answer(None, ("read", {"path": "a", "lines": 3}), ("read", {"path": "b", "lines": 4}))
    async with gateway(tmp_path, mode="step", interactive=True) as rig:
        rig.server.answers(whole(two))
        held = asking(rig)
        await rig.session.review(1)
        shown = rig.session.state.current.action
        for wrong, why in (
            ("read", "a JSON object"),
            ('read {"path": }', "no JSON"),
            (shown + '\nread {"path": "c"}', "none can be added"),
        ):
            outcome = await rig.controls.do(do.Edit(wrong))
            assert why in outcome.problem, outcome
        assert (await rig.controls.do(do.Edit('read {"path": "c", "lines": 5}'))).done
        rig.controls.run_proposal()
        calls = (await held).json()["choices"][0]["message"]["tool_calls"]
        assert [json.loads(call["function"]["arguments"]) for call in calls] == [{"path": "c", "lines": 5}]


async def test_a_program_cannot_be_told_anything(tmp_path: Path) -> None:
    async with gateway(tmp_path, interactive=True) as rig:
        assert "reject it with a comment" in (await rig.controls.do(do.Tell("Hurry up."))).problem


async def test_approval_holds_an_answer(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n- {command: '\\brm\\b', reason: it deletes}\n")
    async with gateway(tmp_path, approve=str(rules), interactive=True) as rig:
        rig.server.answers(whole(answer("Look.", LOOK)), whole(answer("Clean.", ("bash", {"command": "rm -r build"}))))
        assert (await rig.chat(user("Solve it."))).status_code == 200
        held = asyncio.ensure_future(rig.chat(user("Now clean up.")))
        await rig.session.review(2)
        assert "it deletes" in rig.session.runner.status.asking
        rig.controls.reject("keep it")
        assert "keep it" in (await held).text


@pytest.mark.parametrize("when", ["kind:bash", "output:traceback"])
async def test_a_breakpoint_stops_before_an_answer_or_after_what_came_of_it(tmp_path: Path, when: str) -> None:
    async with gateway(tmp_path, breakpoints=(when,), interactive=True) as rig:
        rig.server.answers(whole(answer("Look.", LOOK)), whole(answer("Again.", LOOK)))
        first = asking(rig)
        if when == "kind:bash":
            await rig.session.review(1)
            rig.controls.run_proposal()
        said = (await first).json()["choices"][0]["message"]
        told = {"role": "tool", "tool_call_id": "call_0", "content": "Traceback (most recent call last)"}
        second = asyncio.ensure_future(rig.chat(user("Solve it."), said, told, temperature=0.25))
        await rig.session.review(2)
        assert rig.session.state.mode == "paused"
        rig.controls.run_proposal()
        await second
    assert rig.session.events(ev.BreakpointHit)
