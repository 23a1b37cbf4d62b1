"""`scripted:demo` decides from its history: whatever happens to its proposals and its file, it submits its solution."""

from __future__ import annotations

import pytest

from tests.agents.world import World
from workbench.agents.agent import ModelError
from workbench.agents.models.scripted import ScriptedDemo
from workbench.session import events as ev

STARTER = "import random\n\n\ndef row_strategy(history):\n    return random.randint(0, 1)\n"
SOLUTION = 'def row_strategy(history):\n    """Insist on 0."""\n    return 0\n'
NORMAL = ["open", "validate", "edit", "validate", "submit"]


@pytest.fixture
def world() -> World:
    return World(ScriptedDemo("strategy.py", SOLUTION), "strategy.py", STARTER)


def commands(world: World) -> list[str]:
    return [action.split()[0] for action in world.actions]


async def advance(world: World, steps: int) -> None:
    for _ in range(steps):
        await world.propose()
        world.run()


async def test_the_normal_path(world: World) -> None:
    await world.to_the_end()
    assert commands(world) == NORMAL
    assert world.actions[0] == "open strategy.py"
    assert world.submitted == SOLUTION
    thoughts = [step.thought for step in world.state.steps[1:]]
    assert all(thoughts) and "Insist on 0." in thoughts[2] and "baseline" in thoughts[4]


async def test_it_has_no_memory_of_its_own(world: World) -> None:
    """The same history gives the same proposal, also to a policy that was made just now (a resumed session)."""
    for _ in range(len(NORMAL)):
        fresh = ScriptedDemo("strategy.py", SOLUTION)
        expected = await fresh.propose(world.state)
        assert await world.propose() == expected
        world.run()


@pytest.mark.parametrize("when", range(len(NORMAL)))
@pytest.mark.parametrize("edited_to", ["true", "cat > x <<'E'\nE", "cd /tmp", "rm strategy.py", "write\nx = 1"])
async def test_after_an_edit_it_reads_again_and_submits_its_solution(world: World, when: int, edited_to: str) -> None:
    await advance(world, when)
    await world.propose()
    world.run(edited_to)
    again = await world.propose()
    assert again.action.split()[0] == "open"
    assert "changed before it ran" in again.thought
    world.run()
    await world.to_the_end()
    assert world.submitted == SOLUTION


@pytest.mark.parametrize("when", range(len(NORMAL)))
async def test_after_a_rejection_it_reads_the_comment_and_the_file(world: World, when: int) -> None:
    await advance(world, when)
    await world.propose()
    world.reject("not like this")
    again = await world.propose()
    assert again.action.split()[0] == "open"
    assert "not like this" in again.thought
    world.run()
    assert "not like this" not in (await world.propose()).thought, "said once"
    world.run()
    await world.to_the_end()
    assert world.submitted == SOLUTION


@pytest.mark.parametrize("when", range(len(NORMAL)))
@pytest.mark.parametrize("what", ["write\nlonger = 1\nfile = 2\n" * 4, "write\n", "rm strategy.py", "cd /tmp"])
async def test_after_a_take_over_it_reads_again_and_submits_its_solution(world: World, when: int, what: str) -> None:
    await advance(world, when)
    world.take_over(what)
    again = await world.propose()
    assert again.action.split()[0] == "open"
    assert "Somebody worked in the shell" in again.thought
    world.run()
    await world.to_the_end()
    assert world.submitted == SOLUTION


@pytest.mark.parametrize("when", range(len(NORMAL)))
@pytest.mark.parametrize("outcome", ["interrupted", "timed_out", "refused", "shell_restarted"])
async def test_after_a_command_that_was_stopped_or_refused_it_goes_on(world: World, when: int, outcome: str) -> None:
    await advance(world, when)
    before = world.content
    await world.propose()
    world.run(outcome={"interrupted": True, outcome: True})
    assert world.content == before
    await world.to_the_end()
    assert world.submitted == SOLUTION


async def test_a_file_window_that_fails_is_done_without(world: World) -> None:
    world.window_works = False
    await world.to_the_end()
    assert commands(world) == ["open", "wc", "validate", "cat", "validate", "submit"]
    assert world.submitted == SOLUTION


async def test_the_last_line_without_a_newline_is_replaced_too(world: World) -> None:
    world.window_works = False
    world.content = "x = 1\ny = 2"
    await world.to_the_end()
    assert world.submitted == SOLUTION


@pytest.mark.parametrize("content", [None, ""])
async def test_a_missing_or_empty_file_is_written_anew(world: World, content: str | None) -> None:
    world.content = content
    await world.to_the_end()
    assert world.submitted == SOLUTION


async def test_a_starter_without_a_score_does_not_keep_it_from_writing_a_better_one(world: World) -> None:
    world.scores = False
    await advance(world, 2)
    world.scores = True
    await world.to_the_end()
    assert commands(world)[:2] == ["open", "validate"]
    assert world.submitted == SOLUTION


async def test_it_gives_up_when_nothing_works_and_starts_again_when_somebody_stepped_in(world: World) -> None:
    world.scores = False
    with pytest.raises(ModelError) as caught:
        await world.to_the_end(100)
    assert caught.value.cause == "error"
    assert len(world.actions) < 40
    world.scores = True
    world.take_over("true")
    await world.to_the_end()
    assert world.submitted == SOLUTION


async def test_a_delimiter_in_the_solution_does_not_end_the_here_document() -> None:
    solution = 'TEXT = """\nEND_OF_TEXT\n"""\n'
    world = World(ScriptedDemo("strategy.py", solution), "strategy.py", None)
    await world.to_the_end()
    assert world.submitted == solution


async def test_a_file_name_with_a_space_is_quoted() -> None:
    world = World(ScriptedDemo("my file.py", SOLUTION), "my file.py", STARTER)
    await world.to_the_end()
    assert world.actions[0] == "open 'my file.py'"
    assert world.submitted == SOLUTION


async def test_other_actions_that_it_did_not_propose_do_not_count_as_its_own(world: World) -> None:
    """A person who validates in a take-over has not validated for the policy."""
    await advance(world, 1)
    world.take_over("validate")
    await world.to_the_end()
    assert commands(world) == ["open", "open", "validate", "edit", "validate", "submit"]


async def test_all_at_once(world: World) -> None:
    await world.propose()
    world.reject()
    await world.propose()
    world.run("rm strategy.py")
    await world.propose()
    world.run()
    world.take_over("write\nbroken(")
    world.emit(ev.MessageInjected(author="human:me", text="hurry"))
    await world.propose()
    world.run(outcome={"interrupted": True})
    world.take_over("cd /")
    await world.to_the_end()
    assert world.submitted == SOLUTION
