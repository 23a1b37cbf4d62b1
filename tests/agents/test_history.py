"""What is left out of a conversation: outputs first, whole steps last, never the order and never half of a turn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.agents.config import Full
from workbench.agents.history import (
    ContextTooLong,
    closed_windows,
    has_output,
    last_observations,
    token_budget,
)
from workbench.agents.messages import Message, ToolCall
from workbench.agents.models.tokens import estimate_prompt


def count(message: Message) -> int:
    """A simple measure for the tests: characters, and four for each message."""
    return 4 + len(message.content)


def observation(step: int, output: str, before: str = "", after: str = "\n\n[exit code 0]") -> Message:
    """What came of a step."""
    content = f"{before}{output}{after}"
    return Message("user", content, step=step, output=(len(before), len(before) + len(output)))


def conversation(outputs: list[str], *, tools: bool = False, said: str = "", thought: str = "") -> list[Message]:
    """System prompt, task, and a step for each output; after each what a person said."""
    result = [Message("system", "You work."), Message("user", "The task.")]
    for step, output in enumerate(outputs, 1):
        answer = observation(step, output)
        if tools:
            call = ToolCall(f"step{step:05d}", "bash", {"command": "ls"})
            result.append(Message("assistant", thought, tool_calls=(call,), step=step))
            answer = Message("tool", answer.content, tool_call_id=call.id, step=step, output=answer.output)
        else:
            result.append(Message("assistant", f"{thought}```\nls {step}\n```", step=step))
        result.append(answer)
        if said:
            result.append(Message("user", said))
    return result


def check_turns(messages: list[Message]) -> None:
    """Each turn of the model stands right before what answers it."""
    for index, message in enumerate(messages):
        if message.role == "assistant":
            after = messages[index + 1]
            assert after.step == message.step
            if message.tool_calls:
                assert (after.role, after.tool_call_id) == ("tool", message.tool_calls[0].id)
        if message.role == "tool":
            assert messages[index - 1].role == "assistant"


def check_kept(before: list[Message], after: list[Message]) -> None:
    """The order is kept; what belongs to no step is kept; what is missing is accounted for."""
    steps = [message.step for message in after if message.step is not None]
    assert steps == sorted(steps)
    assert [m for m in after if m.step is None and not m.elided] == [m for m in before if m.step is None]
    for message in after:
        assert message in before or message.elided
    dropped = {m.step for m in before} - {m.step for m in after}
    assert not dropped or any("left out here" in message.content for message in after)


outputs = st.lists(st.text(max_size=60) | st.integers(1, 40).map(lambda lines: "some text\n" * lines), max_size=12)


@given(outputs, st.booleans(), st.sampled_from(["", "go on"]), st.integers(20, 3000))
def test_a_budget_is_kept_or_refused(outputs: list[str], tools: bool, said: str, tokens: int) -> None:
    messages = conversation(outputs, tools=tools, said=said)
    try:
        result = token_budget(messages, tokens=tokens, count=count)
    except ContextTooLong as error:
        assert error.needed > tokens
        fixed = sum(count(message) for message in messages if message.step is None)
        newest = sum(count(message) for message in messages[-3:] if message.step is not None)
        assert fixed + newest + 60 > tokens, "what must stay would have fitted"
        return
    assert sum(map(count, result)) <= tokens
    check_turns(result)
    check_kept(messages, result)
    if sum(map(count, messages)) <= tokens:
        assert result == messages


@given(outputs, st.booleans(), st.integers(0, 6), st.integers(1, 6))
def test_the_first_and_last_outputs_are_kept(outputs: list[str], tools: bool, first: int, last: int) -> None:
    messages = conversation(outputs, tools=tools, said="hm")
    result = last_observations(messages, first=first, last=last)
    check_turns(result)
    check_kept(messages, result)
    assert len(result) == len(messages)
    places = [index for index, message in enumerate(messages) if has_output(message)]
    for index in (*places[:first], *places[-last:]):
        assert result[index] == messages[index]
    for before, after in zip(messages, result, strict=True):
        assert len(after.content) <= len(before.content)


def test_others_say_how_many_lines_are_left_out() -> None:
    messages = conversation(["line\n" * 30 + "end"] * 12)
    result = last_observations(messages)
    elided = [message for message in result if message.elided]
    assert [message.step for message in elided] == [6, 7]
    assert elided[0].content == "(31 lines of output left out)\n\n[exit code 0]"
    assert elided[0].elided == "not among the first 5 and last 5 outputs"
    assert last_observations(result) == result, "done once is done"


def test_everything() -> None:
    messages = conversation(["a", "b"])
    assert Full().process(messages, None, count) == messages


def window(path: str, first: int, last: int, total: int) -> str:
    """As the agent commands show it."""
    rows = [f"[File: {path} ({total} lines total)]"]
    rows += [f"({first - 1} more lines above)"] if first > 1 else []
    rows += [f"{number}:text {number}" for number in range(first, last + 1)]
    rows += [f"({total - last} more lines below)"] if last < total else []
    return "\n".join(rows)


def test_only_the_newest_view_of_a_file_is_kept() -> None:
    first = f"before\n{window('/w/a.py', 1, 10, 30)}\nafter"
    messages = conversation([first, window("/w/b.py", 1, 2, 2), window("/w/a.py", 5, 14, 30), "nothing"])
    result = closed_windows(messages)
    observations = [message.content for message in result if message.role == "user"][1:]
    older = "[File: /w/a.py: an older view, lines 1 to 10, left out]"
    assert observations[0] == f"before\n{older}\nafter\n\n[exit code 0]"
    assert observations[1:] == [message.content for message in messages if message.role == "user"][2:]
    assert [message.elided for message in result if message.elided] == ["older views of files"]


def test_two_views_in_one_output() -> None:
    both = window("/w/a.py", 1, 3, 9) + "\n" + window("/w/a.py", 4, 6, 9)
    (result,) = closed_windows([observation(1, both)])
    assert "lines 1 to 3, left out" in result.content
    assert "4:text 4" in result.content and "\n1:text" not in result.content
    start, end = result.output
    assert result.content[end:] == "\n\n[exit code 0]" and start == 0


def test_the_oldest_outputs_go_first_and_the_newest_is_only_shortened() -> None:
    messages = conversation(["x\n" * 200, "y\n" * 200, "z\n" * 400])
    total = sum(map(count, messages))
    once = token_budget(messages, tokens=total - 100, count=count)
    assert [message.step for message in once if message.elided] == [1]
    twice = token_budget(messages, tokens=total - 1000, count=count)
    assert [message.step for message in twice if message.elided] == [1, 2, 3]
    newest = twice[-1].content
    assert "characters left out" in newest and newest.startswith("z\n") and newest.endswith("z\n\n\n[exit code 0]")
    assert twice[-1].elided == f"over the budget of {total - 1000:,} tokens"


def test_whole_steps_go_at_last_and_a_line_says_so() -> None:
    messages = conversation(["short"] * 40, thought="t" * 100)
    result = token_budget(messages, tokens=2000, count=count)
    note = next(message for message in result if "left out here" in message.content)
    kept = [message.step or 0 for message in result if message.role == "assistant"]
    assert kept == list(range(kept[0], 41)) and kept[0] > 1
    assert note.content == f"(Steps 1 to {kept[0] - 1} are left out here, so that the rest fits.)"
    assert result.index(note) == 2
    check_turns(result)


def test_two_hundred_steps_under_a_small_budget() -> None:
    messages = conversation([f"loss: {step / 7}\n" * 20 for step in range(200)], tools=True)
    recent = last_observations(messages)

    def tokens(message: Message) -> int:
        return estimate_prompt((message,))

    result = token_budget(recent, tokens=4000, count=tokens)
    assert sum(map(tokens, result)) <= 4000
    assert result[-1] == messages[-1], "the newest output is there in full"
    check_turns(result)


def test_what_cannot_fit_is_refused() -> None:
    with pytest.raises(ContextTooLong, match="and 10 fit"):
        token_budget(conversation([]), tokens=10, count=count)
