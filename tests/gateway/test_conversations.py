"""Several conversations at once: sub-agents, parallel calls, retries; and who waits for whom."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.agents.models.server import Reply, until
from tests.gateway.agents import TOOLS, work
from tests.gateway.rig import answer, gateway, user, whole
from workbench.gateway.agent import GatewayAgent
from workbench.gateway.conversations import Conversations
from workbench.gateway.replay import Replay
from workbench.gateway.routes import find_route
from workbench.gateway.scripted import Said, Scripted
from workbench.session import events as ev
from workbench.session.events import Limits
from workbench.session.state import SessionState


def said(text: str, role: str = "user") -> str:
    return json.dumps({"role": role, "content": text}, separators=(",", ":"))


def test_they_are_told_apart_by_how_they_begin() -> None:
    found = Conversations()

    def find(*messages: str) -> tuple[int, str]:
        conversation, relation = found.find("chat", messages)
        return conversation.number, relation

    main = [said("You are main.", "system"), said("Solve it.")]
    assert find(*main) == (1, "")
    assert find(*main, said("Look.", "assistant"), said("a.py")) == (1, "")
    assert find(said("You are a helper.", "system"), said("Find it.")) == (2, "")
    assert find(*main, said("Look.", "assistant"), said("a.py"), said("Read.", "assistant"), said("x=1")) == (1, "")
    assert find(*main, said("Look.", "assistant"), said("(left out)"), said("Read.", "assistant")) == (1, "")
    assert find(said("You are a helper.", "system"), said("Find it.")) == (2, "retry")
    assert find(*main) == (3, "")  # the same agent begins once more
    assert found.find("messages", main)[0].number == 4


def test_what_moves_between_requests_is_no_difference() -> None:
    found = Conversations()
    marked = json.dumps({"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "e"}}]})
    plain = json.dumps({"role": "user", "content": [{"type": "text", "text": "x"}]})
    assert found.find("messages", [marked])[0] is found.find("messages", [plain, plain])[0]


async def test_an_agent_that_waits_for_its_sub_agent_is_no_deadlock(tmp_path: Path) -> None:
    """Held one by one: the answer of the sub-agent is reviewed while the agent's own action still runs."""
    async with gateway(tmp_path, mode="step") as rig:
        rig.server.answers(
            whole(answer("I ask a helper.", ("bash", {"command": "help me"}))),
            whole(answer("Helper here.", ("bash", {"command": "grep x"}))),
            whole(answer("Found it.")),
            whole(answer("Done.")),
        )

        async def agent() -> None:
            first = (await rig.chat(user("Solve it."))).json()["choices"][0]["message"]
            helper = [user("Find x.")]
            helper.append((await rig.chat(*helper)).json()["choices"][0]["message"])
            helper.append({"role": "tool", "tool_call_id": "call_0", "content": "x=1"})
            found = (await rig.chat(*helper)).json()["choices"][0]["message"]["content"]
            await rig.chat(user("Solve it."), first, {"role": "tool", "tool_call_id": "call_0", "content": found})

        working = asyncio.ensure_future(agent())
        for number in (1, 2, 3, 4):
            await rig.session.review(number)
            rig.controls.run_proposal()
        await working
        await rig.session.over(1)
    steps = rig.session.state.steps[1:]
    assert [step.conversation for step in steps] == ["1", "2", "2", "1"]
    assert [step.observation for step in steps] == ["Found it.", "x=1", "", ""]


async def test_twenty_agents_at_once(tmp_path: Path) -> None:
    script = [Said(say="Look.", run="ls"), Said(run="cat a.py"), Said(run="make")]
    async with gateway(tmp_path, upstream=Scripted(script)) as rig:
        done = await asyncio.gather(*(work(rig, f"You are agent {n}.", tells=f"{n} {{}}") for n in range(20)))
        await rig.session.until(lambda: rig.session.state.last_step == 80, "all answers are steps")
        assert all(len(messages) == 8 for messages in done)
        rig.gateway.agent.finish("done")
        await rig.session.ended()
    steps = rig.session.state.steps[1:]
    for number in {step.conversation for step in steps}:
        own = [step for step in steps if step.conversation == number]
        assert [step.action for step in own] == ["ls", "cat a.py", "make", ""]
        (who,) = {step.observation.split()[0] for step in own[:3]}
        assert [step.observation for step in own[:3]] == [f"{who} {step.action}" for step in own[:3]]
    assert len({step.conversation for step in steps}) == 20


async def test_the_log_stays_linear_though_conversations_take_turns(tmp_path: Path) -> None:
    """Each prompt names what is new in its own conversation, and is put together from there."""
    script = [Said(run=f"command {n}") for n in range(8)]
    async with gateway(tmp_path, upstream=Scripted(script)) as rig:
        done = await asyncio.gather(*(work(rig, f"You are agent {n}.") for n in range(3)))
        await rig.session.until(lambda: rig.session.state.last_step == 27, "all answers are steps")
        sent = rig.session.events(ev.PromptSent)
        assert sum(len(event.messages) for event in sent) == sum(len(messages) - 1 for messages in done)
        prompts, objects = rig.session.state.prompts, rig.session.runner.live.objects
        for messages in done:
            whole_prompts = [
                [json.loads(objects.get(m.hash)) for m in prompts.prompt(c).messages] for c in prompts.calls
            ]
            assert messages[:-1] in whole_prompts


async def test_twenty_agents_that_begin_alike(tmp_path: Path) -> None:
    async with gateway(tmp_path) as rig:
        slow = Reply([json.dumps(answer("Fine.")).encode()], content_type="application/json", hold_before=0)
        rig.server.answers(slow)
        asking = [asyncio.ensure_future(rig.chat(user("Solve it."))) for _ in range(20)]
        await until(lambda: len(rig.server.calls) == 20)
        rig.server.go_on.set()
        await asyncio.gather(*asking)
        await rig.session.until(lambda: rig.session.state.last_step == 20, "all answers are steps")
    assert len({step.conversation for step in rig.session.state.steps[1:]}) == 20
    assert {event.relation for event in rig.session.events(ev.PromptSent)} == {"", "parallel"}


async def test_limits_count_calls_that_are_under_way(tmp_path: Path) -> None:
    async with gateway(tmp_path, limits=Limits(steps=3)) as rig:
        slow = Reply([json.dumps(answer("Fine.")).encode()], content_type="application/json", hold_before=0)
        rig.server.answers(slow)
        asking = [asyncio.ensure_future(rig.chat(user(f"{n}"))) for n in range(5)]
        await until(lambda: len(rig.server.calls) == 3)
        rig.server.go_on.set()
        codes = sorted(got.status_code for got in await asyncio.gather(*asking))
        assert codes == [200, 200, 200, 403, 403]
        assert "max_steps" in (await rig.session.ended()).exit_status
    assert len(rig.server.calls) == 3 and rig.session.state.last_step == 3


async def test_the_last_step_may_tell_what_came_of_it(tmp_path: Path) -> None:
    async with gateway(tmp_path, limits=Limits(steps=1)) as rig:
        rig.server.answers(whole(answer("Look.", ("bash", {"command": "ls"}))))
        first = (await rig.chat(user("Solve it."))).json()["choices"][0]["message"]
        await rig.session.phase("executing")
        told = {"role": "tool", "tool_call_id": "call_0", "content": "a.py"}
        refused = await rig.chat(user("Solve it."), first, told)
        assert refused.status_code == 403 and "limit of 1 step" in refused.json()["error"]["message"]
        await rig.session.ended()
    assert rig.session.state.steps[1].observation == "a.py"


async def test_an_agent_that_begins_its_messages_anew_tells_by_the_calls_name(tmp_path: Path) -> None:
    """So Claude Code does, whose first step had no outcome."""
    async with gateway(tmp_path, upstream=Scripted([Said(run="ls"), Said(say="Done.")])) as rig:
        first = (await rig.chat(user("Reminder 1."), user("Solve it."), tools=TOOLS)).json()["choices"][0]["message"]
        told = {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "content": "a.py"}
        await rig.chat(user("Reminder 2."), user("Solve it."), first, told)
        assert (await rig.session.over(1)).observation == "a.py"


async def test_what_a_program_asks_for_waits_until_its_answer_is_a_step() -> None:
    """Else a fast `validate` would count to the step before."""
    agent = GatewayAgent(Scripted([Said(run="validate")]))
    body = json.dumps({"model": "m", "messages": [user("Go.")]}).encode()
    call = agent.begin(find_route("POST", "/v1/chat/completions", (), ()).read("", [], body, ""))
    await until(lambda: call.delivery.complete)
    asking = asyncio.ensure_future(agent.bound())
    await agent.propose(SessionState())
    assert not asking.done()
    agent.proposed(1)
    await asking


async def test_while_a_person_has_the_shell_no_model_is_asked(tmp_path: Path) -> None:
    async with gateway(tmp_path, keep_alive=0.02, interactive=True) as rig:
        rig.server.answers(whole(answer("Look.", ("bash", {"command": "ls"}))))
        rig.controls.take_over(80, 24)
        await rig.session.phase("human")
        asking = asyncio.ensure_future(rig.chat(user("Solve it.")))
        await rig.session.until(lambda: rig.gateway.agent._calls, "the request is there")
        await rig.session.until(lambda: rig.newest.delivery.blanks > 2, "its client is kept waiting")
        assert not rig.server.calls
        await rig.controls.hand_back()
        assert (await asking).json()["choices"][0]["message"]["content"] == "Look."


@pytest.mark.parametrize("changed", [False, True], ids=["as it came", "edited"])
async def test_a_proposal_that_a_take_over_drops_is_proposed_again(tmp_path: Path, changed: bool) -> None:
    async with gateway(tmp_path, mode="step", interactive=True) as rig:
        rig.server.answers(whole(answer("Look.", ("bash", {"command": "ls"}))))
        asking = asyncio.ensure_future(rig.chat(user("Solve it.")))
        await rig.session.review(1)
        if changed:
            rig.controls.edit("ls -l", thought="Look closely.")
        rig.controls.take_over(80, 24)
        await rig.session.phase("human")
        rig.session.enter("echo mine\n")
        await rig.session.over(2)
        await rig.controls.hand_back()
        await rig.session.review(3)
        rig.controls.run_proposal()
        message = (await asking).json()["choices"][0]["message"]
        assert message["content"] == ("Look closely." if changed else "Look.")
        assert ("ls -l" in message["tool_calls"][0]["function"]["arguments"]) == changed
        assert rig.session.state.steps[3].edited == changed
    assert [step.status for step in rig.session.state.steps[1:]][:1] == ["rejected"]
    assert len(rig.server.calls) == 1
    async with gateway(tmp_path, upstream=Replay(rig.session.folder)) as again:
        got = await again.chat(user("Solve it."))
        assert got.json()["choices"][0]["message"] == message
