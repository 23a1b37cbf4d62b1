"""`replay:PATH`: how far it is follows from its own steps that had their turn."""

from __future__ import annotations

import pytest

from tests.agents.world import World
from workbench.agents.agent import ActionsExhausted
from workbench.agents.models.replay import ReplayAgent
from workbench.formats.actions import Plan, PlannedAction
from workbench.session import events as ev

ACTIONS = [PlannedAction("first thought", "cd /a"), PlannedAction("", "cd /b"), PlannedAction("", "cd /c")]


@pytest.fixture
def world() -> World:
    return World(ReplayAgent(Plan(ACTIONS), "list.yaml"), "strategy.py", "")


async def next_action(world: World) -> str:
    return (await world.agent.propose(world.state)).action


async def test_in_order_to_the_end(world: World) -> None:
    proposal = await world.propose()
    assert (proposal.thought, proposal.action) == ACTIONS[0]
    world.run()
    for _, action in ACTIONS[1:]:
        assert (await world.propose()).action == action
        world.run()
    with pytest.raises(ActionsExhausted, match="all 3 actions"):
        await world.propose()


async def test_what_a_person_did_does_not_count(world: World) -> None:
    await world.propose()
    world.run()
    for _ in range(3):
        world.take_over("true")
    assert await next_action(world) == "cd /b"


async def test_edited_refused_and_rejected_actions_had_their_turn(world: World) -> None:
    await world.propose()
    world.run("cd /elsewhere")
    await world.propose()
    world.reject("no")
    await world.propose()
    world.run(outcome={"refused": True})
    with pytest.raises(ActionsExhausted):
        await world.propose()


async def test_a_proposal_that_nobody_judged_is_proposed_again(world: World) -> None:
    await world.propose()
    world.reject("the session was interrupted", author="")
    assert await next_action(world) == "cd /a"


async def test_an_action_that_went_down_with_its_process_is_run_again(world: World) -> None:
    await world.propose()
    world.emit(ev.ActionStarted(step=1, author="policy:replay", action="cd /a"))
    world.emit(ev.ActionFinished(step=1, exit_code=None, observation="(the session ended)", interrupted=True))
    assert await next_action(world) == "cd /a"


async def test_its_commands_are_somebody_elses() -> None:
    assert ReplayAgent(Plan([]), "x").trusted is False
