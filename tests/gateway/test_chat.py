"""An agent program that speaks Chat Completions: each of its calls is a step."""

from __future__ import annotations

import json
from pathlib import Path

from tests.gateway.rig import REAL_KEY, answer, gateway, user, whole


async def test_each_call_is_a_step(tmp_path: Path) -> None:
    async with gateway(tmp_path) as rig:
        rig.server.answers(whole(answer("Let me look.", ("bash", {"command": "ls"}))), whole(answer("I am done.")))
        first = await rig.chat(user("Solve it."), temperature=0.5, strange=[1])
        assert first.json() == answer("Let me look.", ("bash", {"command": "ls"}))
        said = first.json()["choices"][0]["message"]
        second = await rig.chat(user("Solve it."), said, {"role": "tool", "tool_call_id": "call_0", "content": "a.py"})
        assert second.json()["choices"][0]["message"]["content"] == "I am done."
        await rig.session.over(2)
        rig.gateway.agent.finish("the program has ended")
        ended = await rig.session.ended()
    assert ended.exit_status == "actions_exhausted"
    step = rig.session.state.steps[1]
    assert (step.thought, step.action, step.observation, step.author) == ("Let me look.", "ls", "a.py", "model:m-1")
    assert step.spending.input_tokens == 7
    assert rig.session.state.steps[2].action == ""
    sent = rig.server.calls[0]
    assert sent.body == {"model": "m-1", "messages": [user("Solve it.")], "temperature": 0.5, "strange": [1]}
    assert sent.headers["authorization"] == f"Bearer {REAL_KEY}"
    assert sent.path == "/v1/chat/completions"


async def test_a_held_answer_is_edited(tmp_path: Path) -> None:
    async with gateway(tmp_path, mode="step") as rig:
        import asyncio

        rig.server.answers(whole(answer("Look.", ("bash", {"command": "ls"}))))
        asking = asyncio.ensure_future(rig.chat(user("Solve it.")))
        await rig.session.review(1)
        rig.controls.edit("ls -l")
        rig.controls.run_proposal()
        got = (await asking).json()["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
        assert json.loads(got) == {"command": "ls -l"}
        rig.gateway.agent.finish("done")
        await rig.session.ended()
    step = rig.session.state.steps[1]
    assert (step.proposed, step.action, bool(step.edited_by)) == ("ls", "ls -l", True)
