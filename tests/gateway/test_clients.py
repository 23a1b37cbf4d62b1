"""The clients of all providers at the gateway: what they get is what the model said, unless a person changed it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.gateway.clients import CLIENTS, Client, Got, variables
from tests.gateway.rig import gateway

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
EACH = pytest.mark.parametrize("client", CLIENTS, ids=str)


@BOTH
@EACH
async def test_an_answer_passes_unchanged(tmp_path: Path, client: Client, stream: bool) -> None:
    async with gateway(tmp_path, provider=client.provider) as rig:
        reply = client.reply("Let me look.", {"command": "ls"}, stream=stream)
        rig.server.answers(reply)
        with variables(rig.gateway.environment(rig.url)):
            got = await asyncio.to_thread(client.ask, "Solve it.", stream=stream)
        assert (got.text, got.calls) == ("Let me look.", [("bash", {"command": "ls"})])
        await rig.session.until(lambda: rig.session.state.last_step == 1, "the answer is a step")
        step = rig.session.state.steps[1]
        assert (step.thought, step.action, step.status) == ("Let me look.", "ls", "running")
        (logged,) = [event for event in rig.session.seen if event.name == "model.responded"]
        assert rig.session.runner.live.objects.get(logged.body) == b"".join(reply.pieces)  # type: ignore[attr-defined]


@BOTH
@EACH
async def test_what_is_held_is_what_a_person_makes_of_it(tmp_path: Path, client: Client, stream: bool) -> None:
    """One session for all of it: a client costs a second on a busy machine."""
    async with gateway(tmp_path, provider=client.provider, mode="step", keep_alive=0.02) as rig:

        def ask() -> asyncio.Future[Got]:
            return asyncio.ensure_future(asyncio.to_thread(client.ask, "Solve it.", stream=stream))

        with variables(rig.gateway.environment(rig.url)):
            rig.server.answers(client.reply("Let me look.", {"command": "ls"}, stream=stream))
            held = ask()
            await rig.session.review(1)
            await rig.session.until(lambda: rig.newest.delivery.blanks > 3, "its client is kept waiting")
            rig.controls.run_proposal()
            assert await held == Got("Let me look.", [("bash", {"command": "ls"})])

            edited = ask()
            await rig.session.review(2)
            rig.controls.edit("ls -l", thought="I look closely.")
            rig.controls.run_proposal()
            assert await edited == Got("I look closely.", [("bash", {"command": "ls -l"})])

            rejected = ask()
            await rig.session.review(3)
            rig.controls.reject("not that")
            got = await rejected
            assert "was rejected" in got.text and got.text.endswith(": not that") and not got.calls

            rig.server.answers(client.reply("So: \n```bash\nls -a\n```", stream=stream))
            fenced = ask()
            await rig.session.review(4)
            assert rig.session.state.current.action.replace(" ", "") == "ls-a"
            rig.controls.edit("pwd")
            rig.controls.run_proposal()
            got = await fenced
            assert "\n```bash\npwd\n```" in got.text and not got.calls
    assert [step.status for step in rig.session.state.steps[1:]] == ["ran", "ran", "rejected", "ran"]
