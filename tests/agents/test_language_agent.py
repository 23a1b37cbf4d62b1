"""The agent around a chat model: what it sends for a session, and what it makes of the answers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from msgspec import convert, to_builtins

from tests.agents.scripted_chat import ScriptedChat
from tests.agents.test_history import check_turns
from workbench.agents.agent import Agent, Attempt, Listener, ModelError, Proposal
from workbench.agents.catalogue import find_agent
from workbench.agents.config import AgentConfig
from workbench.agents.language_agent import LanguageAgent
from workbench.agents.messages import Message, Response, ToolCall
from workbench.agents.models.tokens import estimate_prompt
from workbench.session import events as ev
from workbench.session.events import Usage
from workbench.session.state import SessionState

HERE = "/home/agent/workspace"
LOOK = "I look.\n\n```\nls\n```"


def config(name: str = "default", **changes: Any) -> AgentConfig:
    """A shipped agent, with some fields changed."""
    found = find_agent(name)
    assert isinstance(found, AgentConfig)
    return convert({**to_builtins(found), **changes}, AgentConfig)


class Session:
    """The events of a session, one step after the other."""

    def __init__(self, limits: ev.Limits | None = None) -> None:
        self.state = SessionState()
        self.emit(
            ev.SessionStarted(
                format=1,
                task="blotto",
                task_name="Colonel Blotto",
                description="Win $5 with strategy.py.",
                metric=ev.Metric(name="Score", direction="maximize", baseline=-0.248),
                limits=ev.Limits(steps=50, cost=4.0) if limits is None else limits,
                window=100,
            )
        )

    def emit(self, event: ev.Event) -> None:
        self.state.apply(event)

    def propose(self, action: str, *, thought: str = "", author: str = "model:m", remark: str = "") -> int:
        number = self.state.last_step + 1
        self.emit(ev.ActionProposed(step=number, author=author, thought=thought, action=action, remark=remark))
        return number

    def finish(self, observation: str = "", *, exit_code: int | None = 0, **outcome: Any) -> None:
        step = self.state.current
        self.emit(ev.ActionStarted(step=step.number, author=step.author, action=step.action))
        self.emit(
            ev.ActionFinished(step=step.number, exit_code=exit_code, observation=observation, cwd=HERE, **outcome)
        )

    def ran(
        self, action: str, observation: str = "", *, thought: str = "", author: str = "model:m", **more: Any
    ) -> None:
        """A step that was run."""
        self.propose(action, thought=thought, author=author)
        self.finish(observation, **more)


class Ears(Listener):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.text = ""
        self.thoughts = ""
        self.retries: list[str] = []
        self.attempts: list[Attempt] = []

    def delta(self, text: str) -> None:
        self.text += text

    def reasoning(self, text: str) -> None:
        self.thoughts += text

    def retrying(self, reason: str, seconds: float) -> None:
        self.retries.append(reason)

    def attempted(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)


async def sent(session: Session, settings: AgentConfig | None = None, answer: str | Response = LOOK) -> list[Message]:
    """What is sent for the session as it is."""
    chat = ScriptedChat([answer])
    await LanguageAgent(settings or config(), chat).propose(session.state)
    (messages,) = chat.asked
    return messages


async def last(session: Session, settings: AgentConfig | None = None) -> str:
    """The last message that is sent."""
    return (await sent(session, settings))[-1].content


# -- one proposal ------------------------------------------------------------------------------------------------------


async def test_a_first_turn() -> None:
    chat = ScriptedChat([Response(LOOK, usage=Usage(input_tokens=7, output_tokens=3, cost=0.5))], name="openai:gpt-4o")
    ears = Ears()
    agent = LanguageAgent(config(), chat, listener=ears)
    as_agent: Agent = agent
    proposal = await as_agent.propose(Session().state)
    assert (proposal.action, proposal.thought, proposal.response) == ("ls", "I look.", LOOK)
    assert (proposal.attempt, proposal.remark) == (1, "")
    assert proposal.usage == Usage(input_tokens=7, output_tokens=3, cost=0.5)
    assert proposal.latency is not None and proposal.latency >= 0
    assert (agent.model, agent.author, agent.trusted) == ("openai:gpt-4o", "model:gpt-4o", False)
    assert ears.text == LOOK and not ears.attempts
    system, task = chat.asked[0]
    assert system.role == "system" and task.role == "user"
    assert "shows 100 lines of" in system.content, "the window of the session, not of the file"
    assert 'open "<path>" [<line>]' in system.content and "exactly one fenced block" in system.content
    assert (
        "Win $5 with strategy.py." in task.content
        and "Score (higher is better; the baseline has -0.248)" in task.content
    )
    assert task.content.endswith("(Left: 50 steps, $4.00.)")
    assert chat.sampling is not None
    assert (chat.sampling.temperature, chat.sampling.top_p) == (0.0, 0.95)
    assert [json.loads(message)["role"] for message in proposal.prompt.messages] == ["system", "user"]
    assert json.loads(proposal.prompt.messages[1])["content"] == task.content


async def test_own_steps_are_turns() -> None:
    session = Session()
    session.ran("ls", "strategy.py\n", thought="I look.", duration=0.1)
    session.ran("cat strategy.py", "", exit_code=1, duration=12.3)
    messages = await sent(session)
    assert [message.role for message in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert [message.step for message in messages] == [None, None, 1, 1, 2, 2]
    assert messages[2].content == LOOK
    assert messages[3].content == f"strategy.py\n\n[exit code 0; in {HERE}]"
    assert messages[4].content == "```\ncat strategy.py\n```"
    assert messages[5].content == (
        f"(The command printed nothing.)\n\n[exit code 1; after 12 s; in {HERE}]\n\n(Left: 48 steps, $4.00.)"
    )


async def test_the_same_session_gives_the_same_messages() -> None:
    session = Session()
    for number in range(20):
        session.ran(f"echo {number}", f"loss {number}\n" * 9)
    assert await sent(session) == await sent(session)
    elided = [message for message in await sent(session) if message.elided]
    assert [message.step for message in elided] == list(range(6, 16))
    assert elided[0].content == f"(9 lines of output left out)\n\n[exit code 0; in {HERE}]"


async def test_the_open_file_is_told() -> None:
    session = Session()
    number = session.propose("open a.py")
    session.finish("[File: …]")
    window = ev.WindowChanged(step=number, path=f"{HERE}/a.py", first_line=1, last_line=100, total_lines=240)
    session.emit(window)
    assert f"open file: {HERE}/a.py, lines 1 to 100 of 240]" in await last(session)


# -- what others do ----------------------------------------------------------------------------------------------------


async def test_a_rejection_is_told_with_its_comment() -> None:
    session = Session()
    number = session.propose("rm -rf .")
    session.emit(ev.ActionRejected(step=number, author="human:eva", comment="not the data"))
    messages = await sent(session)
    assert messages[2].content == "```\nrm -rf .\n```"
    assert "decided against it; it was not run. What they say: not the data" in messages[3].content
    assert "exit code" not in messages[3].content


async def test_a_proposal_that_was_dropped_was_not_run() -> None:
    session = Session()
    number = session.propose("ls")
    session.emit(ev.ActionRejected(step=number, author="", comment="dropped: eva took over"))
    assert "The action was not run (dropped: eva took over)." in await last(session)


@pytest.mark.parametrize(
    ("configured", "said", "told"),
    [(True, None, True), (False, None, False), (True, False, False), (False, True, True)],
)
async def test_an_edit_is_told_or_not(configured: bool, said: bool | None, told: bool) -> None:
    session = Session()
    number = session.propose("python train.py", thought="I train.")
    session.emit(
        ev.ActionEdited(
            step=number, author="human:eva", before="python train.py", after="python train.py\n--small", told=said
        )
    )
    session.finish("done")
    messages = await sent(session, config(tell_edits=configured))
    if told:
        assert messages[2].content == "I train.\n\n```\npython train.py\n```"
        assert "A person changed your action" in messages[3].content
        assert "$ python train.py\n> --small\n\ndone" in messages[3].content
    else:
        assert messages[2].content == "I train.\n\n```\npython train.py\n--small\n```"
        assert messages[3].content.startswith("done")


async def test_a_take_over_is_told_faithfully() -> None:
    session = Session()
    session.ran("ls", "a.py")
    session.ran("vim a.py", "", author="human:eva", duration=40.0)
    session.emit(ev.WorkspaceSnapshot(step=2, tree="t", changes=[ev.FileChange(path="a.py", kind="modified", size=3)]))
    session.ran("python a.py", "Traceback", author="human:eva", exit_code=1)
    messages = await sent(session)
    assert [message.step for message in messages] == [None, None, 1, 1, 2, 3]
    first, second = messages[4].content, messages[5].content
    assert messages[4].role == messages[5].role == "user"
    assert "A person took over the shell and ran:\n$ vim a.py\n\n(It printed nothing.)" in first
    assert "exit code 0; after 40 s" in first and "Files changed by that: a.py (modified)." in first
    assert second.startswith("The person went on:\n$ python a.py\n\nTraceback\n\n[exit code 1;")
    assert "The shell is yours again." in second and "The shell is yours again." not in first
    assert "(Left: 49 steps" in second, "a person's steps are not the agent's"


async def test_messages_are_told_where_they_were_said() -> None:
    session = Session()
    session.emit(ev.MessageInjected(author="human:eva", text="mind the seed"))
    session.ran("ls", "a.py")
    session.emit(ev.MessageInjected(author="", text="the same action twice"))
    messages = await sent(session)
    assert [message.role for message in messages] == ["system", "user", "user", "assistant", "user", "user"]
    assert messages[2].content == "A person tells you: mind the seed"
    assert messages[5].content.startswith("A note of the workbench: the same action twice\n\n(Left:")


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ({"timed_out": True, "duration": 120.0}, "was stopped after 120 s, at its time limit"),
        ({"interrupted": True, "duration": 3.0}, "was interrupted after 3.0 s"),
        ({"interrupted": True, "exit_code": None}, "The command was interrupted.\n"),
        ({"refused": True, "exit_code": 2}, "nothing of it was run"),
        ({"shell_restarted": True}, "there is a new one in the same directory"),
        ({"exit_code": None}, "exit code unknown"),
    ],
)
async def test_what_else_happened(outcome: dict[str, Any], words: str) -> None:
    session = Session()
    session.ran("make", "partial output", **outcome)
    content = await last(session)
    assert words in content and "partial output" in content


async def test_a_step_under_review_is_left_out() -> None:
    session = Session()
    session.ran("ls", "a.py")
    before = await sent(session)
    session.propose("rm a.py")
    assert await sent(session) == before


# -- answers that cannot be used ---------------------------------------------------------------------------------------


async def test_a_malformed_answer_goes_back_with_the_reason() -> None:
    usage = Usage(input_tokens=5, output_tokens=2, cost=0.25)
    chat = ScriptedChat([Response("I would look.", usage=usage), Response("", usage=usage), LOOK])
    ears = Ears()
    proposal = await LanguageAgent(config(), chat, listener=ears).propose(Session().state)
    assert (proposal.action, proposal.attempt) == ("ls", 3)
    assert [(attempt.number, attempt.cause, attempt.response) for attempt in ears.attempts] == [
        (1, "bad_format", "I would look."),
        (2, "bad_format", ""),
    ]
    assert all(attempt.usage == usage and attempt.prompt.messages for attempt in ears.attempts)
    assert "no fenced block" in ears.attempts[0].reason and "it is empty" in ears.attempts[1].reason
    third = chat.asked[2]
    assert [message.role for message in third[2:]] == ["assistant", "user", "assistant", "user"]
    assert third[2].content == "I would look." and third[4].content == "(an empty answer)"
    assert "could not be used: it has no fenced block" in third[3].content
    assert "exactly one fenced block" in third[3].content


async def test_after_a_set_number_the_model_is_given_up() -> None:
    ears = Ears()
    chat = ScriptedChat(["a", "b"])
    with pytest.raises(ModelError, match=r"2 answers that could not be used; the last: it has no fenced") as caught:
        await LanguageAgent(config(format_attempts=2), chat, listener=ears).propose(Session().state)
    assert caught.value.cause == "bad_format"
    assert len(ears.attempts) == 2


async def test_they_are_forgotten_once_one_was_good() -> None:
    session = Session()
    agent = LanguageAgent(config(), chat := ScriptedChat(["bad", LOOK, LOOK]))
    proposal = await agent.propose(session.state)
    session.ran(proposal.action, "a.py", thought=proposal.thought)
    await agent.propose(session.state)
    assert "bad" not in [message.content for message in chat.asked[-1]]


@pytest.mark.parametrize("cause", ["auth", "rate_limit", "network"])
async def test_errors_of_the_model_pass(cause: str) -> None:
    with pytest.raises(ModelError) as caught:
        await LanguageAgent(config(), ScriptedChat([ModelError(cause, "no")])).propose(Session().state)
    assert caught.value.cause == cause


class Broken(ModelError):
    """A stream that ends after some text."""

    def __init__(self, text: str) -> None:
        super().__init__("network", "the stream broke")
        self.args = ("the stream broke", text)


async def test_what_was_received_before_an_error_is_kept() -> None:
    ears = Ears()
    chat = ScriptedChat([Broken("I begin")], price=0.1)
    with pytest.raises(ModelError):
        await LanguageAgent(config(), chat, listener=ears).propose(Session().state)
    (attempt,) = ears.attempts
    assert (attempt.response, attempt.cause) == ("I begin", "network")
    assert attempt.usage == Usage(output_tokens=5, cost=0.1)


def given_up(limit: float | None) -> tuple[Ears, LanguageAgent, Session]:
    """An agent whose model's server gives its first answer up after some text, and then says `LOOK`."""
    ears, session = Ears(), Session(ev.Limits(cost=limit))
    chat = ScriptedChat([Broken("```\nrm -rf data\n```"), LOOK], price=0.25, tries_again=True)
    return ears, LanguageAgent(config(), chat, listener=ears), session


async def test_an_answer_that_is_asked_for_again_is_told_and_paid_for() -> None:
    ears, agent, session = given_up(limit=None)
    proposal = await agent.propose(session.state)
    assert (proposal.action, proposal.attempt) == ("ls", 1)
    [attempt] = ears.attempts
    assert (attempt.response, attempt.cause, attempt.again) == ("```\nrm -rf data\n```", "network", True)
    assert attempt.usage is not None and attempt.usage.cost == 0.25 and attempt.prompt.messages


async def test_it_is_not_asked_for_again_beyond_the_cost_limit() -> None:
    ears, agent, session = given_up(limit=0.4)
    with pytest.raises(ModelError, match=r"up to \$0.25, and \$0.15 of \$0.40 are left"):
        await agent.propose(session.state)
    assert [attempt.again for attempt in ears.attempts] == [True], "told once"


async def test_a_content_filter_is_an_error_with_its_text() -> None:
    ears = Ears()
    chat = ScriptedChat([Response("I can", stop_reason="content_filter")])
    with pytest.raises(ModelError) as caught:
        await LanguageAgent(config(), chat, listener=ears).propose(Session().state)
    assert caught.value.cause == "content_filter"
    assert ears.attempts[0].response == "I can"


async def test_a_cancelled_call_may_cost_though_nothing_was_seen_of_it() -> None:
    chat = ScriptedChat([""], hang=True, price=0.2)
    ears = Ears()
    task = asyncio.ensure_future(LanguageAgent(config(), chat, listener=ears).propose(Session().state))
    await chat.streaming.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(attempt.response, attempt.cause) for attempt in ears.attempts] == [("", "cancelled")]
    assert ears.attempts[0].usage == Usage(output_tokens=5, cost=0.2)


async def test_a_call_may_be_cancelled_and_what_was_received_is_kept() -> None:
    chat = ScriptedChat([LOOK, LOOK], hang=True)
    ears = Ears()
    agent = LanguageAgent(config(), chat, listener=ears)
    task = asyncio.ensure_future(agent.propose(Session().state))
    await chat.streaming.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (attempt,) = ears.attempts
    assert (attempt.response, attempt.cause) == (LOOK, "cancelled")
    chat.hang = False
    assert (await agent.propose(Session().state)).action == "ls"


# -- limits ------------------------------------------------------------------------------------------------------------


async def test_a_call_that_may_cost_too_much_is_not_made() -> None:
    chat = ScriptedChat([LOOK, LOOK], price=0.5)
    session = Session(ev.Limits(cost=1.0))
    session.emit(ev.ModelResponded(text="", usage=Usage(cost=0.6)))
    with pytest.raises(ModelError, match=r"up to \$0.50, and \$0.40 of \$1.00 are left; raise the limit") as caught:
        await LanguageAgent(config(), chat).propose(session.state)
    assert caught.value.cause == "cost_limit" and not chat.asked
    session.state.limits = ev.Limits(cost=1.2)
    await LanguageAgent(config(), chat).propose(session.state)
    assert len(chat.asked) == 1


async def test_malformed_answers_count_before_anybody_logged_them() -> None:
    chat = ScriptedChat([Response("bad", usage=Usage(cost=0.3)), LOOK], price=0.8)
    with pytest.raises(ModelError) as caught:
        await LanguageAgent(config(), chat).propose(Session(ev.Limits(cost=1.0)).state)
    assert caught.value.cause == "cost_limit" and len(chat.asked) == 1


async def test_without_a_price_tokens_are_the_limit() -> None:
    session = Session(ev.Limits(cost=1.0, tokens=20_000))
    chat = ScriptedChat([LOOK])
    agent = LanguageAgent(config(), chat)
    await agent.propose(session.state)
    session.emit(ev.ModelResponded(text="", usage=Usage(input_tokens=15_000, output_tokens=2_000)))
    with pytest.raises(ModelError, match=r"price of test:model is not known.*limit of 20,000 tokens") as caught:
        await agent.propose(session.state)
    assert caught.value.cause == "cost_limit"


async def test_two_hundred_steps_in_a_small_context() -> None:
    session = Session(ev.Limits())
    settings = config(history=[{"processor": "token_budget", "tokens": 6000}])
    agent = LanguageAgent(settings, ScriptedChat([]))
    for number in range(200):
        session.ran(f"python train.py --seed {number}", f"loss {number}\n" * 40, thought=f"Seed {number}.")
        messages = agent.messages(session.state)
        assert estimate_prompt(messages) <= 6000
        assert [message.role for message in messages[:2]] == ["system", "user"]
        check_turns(messages)
    assert any(message.elided for message in messages)


async def test_a_conversation_that_cannot_fit_is_an_error() -> None:
    settings = config(history=[{"processor": "token_budget", "tokens": 500}])
    with pytest.raises(ModelError, match="500 fit") as caught:
        await LanguageAgent(settings, ScriptedChat([])).propose(Session().state)
    assert caught.value.cause == "context_length"


async def test_without_limits_nothing_is_said_of_them() -> None:
    assert "Left:" not in await last(Session(ev.Limits()))
    assert "Left:" not in await last(Session(), config(tell_budget=False))


# -- tools -------------------------------------------------------------------------------------------------------------


def call(name: str, **arguments: Any) -> ToolCall:
    """A call of a model."""
    return ToolCall(f"toolu_{name}", name, arguments)


async def test_tools_are_called_and_answered() -> None:
    session = Session()
    chat = ScriptedChat(
        [
            Response("I mend it.", tool_calls=(call("edit", first_line=1, last_line=2, text="x"), call("submit"))),
            Response("", tool_calls=(call("bash", command="ls"),)),
        ]
    )
    agent = LanguageAgent(config("tool-calls"), chat)
    proposal = await agent.propose(session.state)
    assert proposal.action == "edit 1:2 <<'END_OF_TEXT'\nx\nEND_OF_TEXT"
    assert proposal.remark == "Your answer had 2 calls; only the first was run, not: submit."
    assert proposal.response.split("\n")[0] == "I mend it."
    assert json.loads(proposal.response.split("\n")[2])["name"] == "submit"
    assert {tool.name for tool in chat.tools} >= {"bash", "edit", "submit"}
    session.propose(proposal.action, thought=proposal.thought, remark=proposal.remark)
    session.finish("edited")
    session.emit(ev.MessageInjected(author="human:eva", text="well done"))
    await agent.propose(session.state)
    turn, answer, said = chat.asked[1][2:]
    assert turn.tool_calls == (ToolCall("step00001", "edit", {"first_line": 1, "last_line": 2, "text": "x\n"}),)
    assert (turn.content, answer.role, answer.tool_call_id) == ("I mend it.", "tool", "step00001")
    assert answer.content.startswith("Your answer had 2 calls; only the first was run, not: submit.\n\nedited")
    assert said.role == "user" and "well done" in said.content
    check_turns(chat.asked[1])


async def test_a_malformed_call_is_answered_too() -> None:
    bad = (ToolCall("same", "edit", raw_arguments="{"), ToolCall("same", "opne this!", {"path": "a"}))
    chat = ScriptedChat([Response("x", tool_calls=bad), Response("", tool_calls=(call("bash", command="ls"),))])
    proposal = await LanguageAgent(config("tool-calls"), chat).propose(Session().state)
    assert proposal.action == "ls"
    turn, *answers = chat.asked[1][2:]
    assert [answer.tool_call_id for answer in answers] == [item.id for item in turn.tool_calls]
    assert len({item.id for item in turn.tool_calls}) == 2
    assert [item.name for item in turn.tool_calls] == ["edit", "opne_this_"], "servers refuse other names"
    assert "not a JSON object" in answers[0].content and answers[1].content == "Not run."


async def test_tools_in_a_small_context() -> None:
    session = Session(ev.Limits())
    for number in range(60):
        session.ran(f"goto {number}", f"{number}: text\n" * 50)
        session.ran("ls", "a.py", author="human:eva")
    agent = LanguageAgent(
        config("tool-calls", history=[{"processor": "token_budget", "tokens": 4000}]), ScriptedChat([])
    )
    messages = agent.messages(session.state)
    assert estimate_prompt(messages) <= 4000
    check_turns(messages)


# -- another model -----------------------------------------------------------------------------------------------------


async def test_another_model_goes_on_from_the_same_session() -> None:
    first, second = ScriptedChat([LOOK], name="test:a"), ScriptedChat([LOOK], name="test:b")
    agent = LanguageAgent(config(), first)
    assert agent.use(second) is first
    assert (agent.model, agent.author) == ("test:b", "model:b")
    session = Session()
    session.ran("ls", "a.py", author="model:a")
    proposal: Proposal = await agent.propose(session.state)
    assert proposal.action == "ls" and not first.asked
    assert second.asked[0][2].role == "assistant", "a step of the model before is a turn all the same"
    await agent.close()
    assert second.closed and not first.closed
