"""Whole sessions of language models, through the real SDKs: what they cost, how they end, and what is kept."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.agents.models.dialects import OPENAI, PROVIDERS, SECRET, Dialect
from tests.agents.models.server import Reply, Server, serving
from tests.runner.chat import BILL, asked, called, every, make_agent, said, talking
from tests.runner.rig import GOOD, driven, wait_for
from tests.tasks.quick_task import make_quick_task
from workbench.agents.config import TokenBudget
from workbench.agents.models.tokens import estimate_tokens
from workbench.cli import main
from workbench.runner.start import start
from workbench.session import events as ev
from workbench.session.events import Limits
from workbench.session.spec import SessionSpec

ACTIONS = ["cat strategy.py", GOOD, "validate", "submit"]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, no proxy and no `.env` of the machine."""
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "MLGYM_MODEL_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as local:
        yield local


@every
async def test_a_whole_session_and_its_bill(tmp_path: Path, server: Server, dialect: Dialect) -> None:
    server.answers(*(said(dialect, action) for action in ACTIONS))
    async with talking(tmp_path, dialect, server) as session:
        ended = await session.ended()
    assert (ended.exit_status, ended.steps) == ("submitted", 4)
    assert ended.scores.last is not None and ended.scores.last > 1.3
    assert [step.action for step in session.state.steps[1:]] == ACTIONS
    assert {step.author for step in session.state.steps[1:]} == {f"model:{dialect.model}"}
    bill = BILL[dialect.name]
    assert [answer.usage and answer.usage.cost for answer in session.events(ev.ModelResponded)] == [
        pytest.approx(bill)
    ] * 4
    assert session.state.cost == pytest.approx(4 * bill)
    assert (session.state.input_tokens, session.state.output_tokens) == (4000, 200)
    assert "return 1" in asked(server, 1) and f"{ended.scores.last:.6g}"[:4] in asked(server, 3)


@every
async def test_what_was_sent_is_in_the_log(tmp_path: Path, server: Server, dialect: Dialect) -> None:
    server.answers(*(said(dialect, action) for action in ACTIONS))
    async with talking(tmp_path, dialect, server) as session:
        await session.ended()
    objects = session.runner.live.objects
    prompts = session.state.prompts
    assert len(prompts.calls) == len(server.calls) == 4
    for call, sent in zip(server.calls, prompts.calls, strict=True):
        kept = [json.loads(objects.get(message.hash)) for message in prompts.prompt(sent).messages]
        assert [message["role"] for message in kept[:2]] == ["system", "user"]
        body = json.dumps(call.body)
        assert all(json.dumps(message["content"].strip())[1:-1] in body for message in kept)


@every
async def test_a_whole_session_of_tool_calls(tmp_path: Path, server: Server, dialect: Dialect) -> None:
    text = "def row_strategy(history):\n    return 0\n"
    server.answers(
        called(dialect, "open", path="strategy.py"),
        called(dialect, "edit", first_line=1, last_line=2, text=text),
        called(dialect, "bash", command="cat strategy.py; echo $((6*7))"),
        called(dialect, "validate"),
        called(dialect, "submit"),
    )
    async with talking(tmp_path, dialect, server, "tool-calls") as session:
        ended = await session.ended()
    assert (ended.exit_status, ended.steps) == ("submitted", 5)
    assert session.state.steps[3].observation.replace("\r", "") == f"{text}42\n"
    assert [step.thought for step in session.state.steps[1:]] == ["A thought."] * 5
    assert session.state.cost == pytest.approx(5 * BILL[dialect.name])
    assert "<<'END_OF_TEXT'" in session.state.steps[2].action


@every
async def test_a_malformed_answer_goes_back_and_is_paid_for(tmp_path: Path, server: Server, dialect: Dialect) -> None:
    server.answers(dialect.answer("I would rather talk."), said(dialect, "echo hi"), said(dialect, "submit"))
    async with talking(tmp_path, dialect, server) as session:
        ended = await session.ended()
    assert (ended.exit_status, ended.steps) == ("submitted", 2)
    [failed] = session.events(ev.ModelFailed)
    assert (failed.cause, failed.attempt) == ("bad_format", 1)
    assert failed.message and json.dumps(failed.message)[1:-1] in asked(server, 1)
    assert [answer.attempt for answer in session.events(ev.ModelResponded)] == [1, 2, 1]
    assert session.state.cost == pytest.approx(3 * BILL[dialect.name])
    assert "rather talk" in asked(server, 1) and "rather talk" not in asked(server, 2)


@every
@pytest.mark.parametrize("name", ["default", "tool-calls"])
async def test_too_many_malformed_answers_end_it(tmp_path: Path, server: Server, dialect: Dialect, name: str) -> None:
    server.answers(dialect.answer("I would rather talk."))
    async with talking(tmp_path, dialect, server, name) as session:
        ended = await session.ended()
    assert (ended.exit_status, ended.steps, len(server.calls)) == ("autosubmission (exit_format)", 0, 3)
    assert [event.attempt for event in session.events(ev.ModelResponded)] == [1, 2, 3]
    assert session.state.cost == pytest.approx(3 * BILL[dialect.name])
    assert ended.scores.last is not None, "what was there is scored"


@every
async def test_a_busy_server_is_asked_again(tmp_path: Path, server: Server, dialect: Dialect) -> None:
    server.answers(
        dialect.fails(429, "slow down", Retry_After="0.3"), dialect.fails(503, "busy"), said(dialect, "submit")
    )
    async with talking(tmp_path, dialect, server) as session:
        await session.until(lambda: "trying again" in session.runner.status.problem, "the status line says so")
        ended = await session.ended()
    assert (ended.exit_status, len(server.calls), session.runner.status.problem) == ("submitted", 3, "")
    assert session.state.cost == pytest.approx(BILL[dialect.name]), "failures cost nothing"


@every
async def test_waiting_for_a_busy_server_can_be_stopped(tmp_path: Path, server: Server, dialect: Dialect) -> None:
    server.answers(dialect.fails(429, "slow down", Retry_After="4"))
    async with talking(tmp_path, dialect, server, interactive=True) as session:
        await session.until(lambda: "trying again" in session.runner.status.problem, "the status line says so")
        session.runner.controls.stop()
        ended = await session.ended(2)
    assert ended.exit_status == "stopped" and session.state.cost == 0
    assert session.events(ev.ModelResponded) == []


FAILURES = {
    "auth": (401, "Incorrect API key provided", "exit_api"),
    "quota": (402, "payment required", "exit_api"),
    "context_length": (400, "maximum context length is 8192 tokens", "exit_context"),
    "content_filter": (400, "stopped by our content_filter", "exit_api"),
    "network": (500, "out of order", "exit_api"),
}


@pytest.mark.parametrize(("cause", "dialect"), [*zip(FAILURES, itertools.cycle(PROVIDERS))], ids=str)
async def test_failures_end_a_session_that_nobody_watches(
    tmp_path: Path, server: Server, cause: str, dialect: Dialect
) -> None:
    """That each SDK's failures are told apart is tested without a session."""
    status, message, exit_status = FAILURES[cause]
    server.answers(said(dialect, GOOD), dialect.fails(status, message))
    async with talking(tmp_path, dialect, server) as session:
        ended = await session.ended()
    assert (ended.exit_status, ended.steps) == (f"autosubmission ({exit_status})", 1)
    assert ended.reason.startswith(f"{cause}: ") and ended.scores.last is not None and ended.scores.last > 1.3
    [failed] = session.events(ev.ModelFailed)
    assert failed.cause == cause


BROKEN = [
    Reply([b"<!doctype html><html><body>It works!</body></html>"], 200, "text/html"),
    Reply([]),
    Reply([b"data: \xff\xfe\n\n"]),
    Reply([b"x" * 65536] * 800),
]


@every
async def test_failures_pause_a_session_that_somebody_watches(tmp_path: Path, server: Server, dialect: Dialect) -> None:
    failures = [(cause, dialect.fails(status, message)) for cause, (status, message, _) in FAILURES.items()]
    failures += [("", reply) for reply in BROKEN]
    server.answers(failures[0][1])
    async with talking(tmp_path, dialect, server, interactive=True) as session:
        for number, (cause, _) in enumerate(failures, 1):
            await session.until(lambda: len(session.events(ev.ModelFailed)) == number, "it fails")  # noqa: B023
            await session.phase("waiting")
            failed = session.events(ev.ModelFailed)[-1]
            assert failed.cause == cause if cause else failed.cause in ("network", "error")
            assert "Traceback" not in failed.message and session.runner.state.mode == "paused"
            assert session.runner.status.problem.startswith(f"{failed.cause}: ")
            server.answers(failures[number][1] if number < len(failures) else said(dialect, "submit"))
            if number % 2:
                session.runner.controls.step()
            else:
                session.runner.controls.continue_()
        await session.review(1)
        session.runner.controls.run_proposal()
        ended = await session.ended()
    assert (ended.exit_status, session.runner.status.problem) == ("submitted", "")


@every
async def test_every_call_fails_in_every_way_and_the_work_gets_done(
    tmp_path: Path, server: Server, dialect: Dialect
) -> None:
    def faults() -> list[Reply]:
        return [
            dialect.fails(401, f"bad key {SECRET}, in {SECRET[:8]}...{SECRET[-4:]}"),
            dialect.fails(429, "slow down", Retry_After="0.01"),
            Reply(dialect.pieces("half of", stop=False, usage=False), cut=True),
            dialect.fails(402, "payment required"),
            dialect.fails(400, "maximum context length is 8192 tokens"),
            Reply([b"<!doctype html><html></html>"], 200, "text/html"),
            Reply([b"y" * 65536] * 800),
            Reply([piece.replace(b"XX", b"\xe9") for piece in dialect.pieces("caf", "XX au lait")]),
            dialect.answer("no command at all"),
            dialect.refusal(),
            Reply([b"It works!"], 200, "text/plain"),
            dialect.fails(529, f"overloaded, {SECRET}"),
        ]

    server.answers(*(reply for action in ACTIONS for reply in [*faults(), said(dialect, action)]))
    async with talking(tmp_path, dialect, server, interactive=True) as session:
        runner = session.runner
        while not session.running.done():
            await wait_for(lambda: runner.state.mode == "paused" or session.running.done(), "a pause, or the end")
            runner.controls.continue_()
        ended = await session.ended()
    assert (ended.exit_status, [step.action for step in session.state.steps[1:]]) == ("submitted", ACTIONS)
    assert ended.scores.last is not None and ended.scores.last > 1.3, "as without any fault"
    assert len(server.calls) == 4 * 13
    failed = session.events(ev.ModelFailed)
    told_apart = ["auth", "quota", "context_length", "bad_format", "content_filter", "network"]
    # 429 and 529 pass by themselves; a web page, 50 MB, another encoding and plain words are errors of the server.
    assert Counter(event.cause for event in failed) == {**dict.fromkeys(told_apart, 4), "error": 16}
    answers = session.events(ev.ModelResponded)
    whole = [answer for answer in answers if "```" in answer.text or "no command" in answer.text]
    assert [answer.usage and answer.usage.cost for answer in whole] == [pytest.approx(BILL[dialect.name])] * 8
    billed = sum(answer.usage.cost or 0 for answer in answers if answer.usage)
    partly = [answer for answer in answers if answer not in whole]
    assert {answer.text for answer in partly} == {"half of", "I was", "caf"}, (
        "what came is kept, and is not for nothing"
    )
    assert all(answer.usage and answer.usage.cost for answer in partly)
    assert session.state.cost == pytest.approx(billed)
    assert session.state.cost == pytest.approx(sum(step.spending.cost for step in session.state.steps))
    for file in filter(Path.is_file, session.folder.rglob("*")):
        assert SECRET.encode() not in file.read_bytes(), file


@every
async def test_half_a_stream_is_kept_and_asked_again(tmp_path: Path, server: Server, dialect: Dialect) -> None:
    server.answers(Reply(dialect.pieces("half of it", stop=False, usage=False), cut=True))
    async with talking(tmp_path, dialect, server, interactive=True) as session:
        await session.phase("waiting")
        [half] = session.events(ev.ModelResponded)
        assert half.text == "half of it" and half.usage is not None and half.usage.cost
        [failed] = session.events(ev.ModelFailed)
        assert failed.cause == "network" and "10 characters" in failed.message
        server.answers(said(dialect, "submit"))
        session.runner.controls.continue_()
        assert (await session.ended()).exit_status == "submitted"
    assert session.state.cost == pytest.approx(half.usage.cost + BILL[dialect.name])


@every
async def test_the_worst_case_of_a_call_keeps_the_cost_limit(tmp_path: Path, server: Server, dialect: Dialect) -> None:
    server.answers(said(dialect, "true"))
    agent = make_agent(dialect, server)
    async with driven(tmp_path, agent, limits=Limits(cost=0.15, steps=1000)) as session:
        ended = await session.ended()
    assert ended.exit_status == "autosubmission (exit_cost)"
    assert "the next call may cost up to $" in ended.reason and "of $0.15 are left" in ended.reason
    spent, bill = session.state.cost, BILL[dialect.name]
    assert spent == pytest.approx(len(server.calls) * bill) and 0 < spent <= 0.15
    worst = agent.chat.worst_case(agent.messages(session.state), (), agent.sampling)
    assert worst is not None
    assert spent + worst > 0.15 >= spent - bill + worst - 0.001, "it went on as long as it could"
    server.answers(said(dialect, "submit"))
    again = make_agent(dialect, server)
    async with driven(tmp_path, again, resume=session.folder, limits=Limits(cost=1.0)) as resumed:
        assert (await resumed.ended()).exit_status == "submitted"
    assert resumed.state.cost == pytest.approx(spent + bill)


@every
async def test_a_limit_is_raised_while_the_session_waits(tmp_path: Path, server: Server, dialect: Dialect) -> None:
    server.answers(said(dialect, "submit"))
    async with talking(tmp_path, dialect, server, interactive=True, limits=Limits(cost=0.01)) as session:
        await session.phase("waiting")
        [failed] = session.events(ev.ModelFailed)
        assert failed.cause == "cost_limit" and "raise the limit" in failed.message and not server.calls
        session.runner.controls.change_limits(cost=1.0)
        session.runner.controls.continue_()
        assert (await session.ended()).exit_status == "submitted"
    assert session.state.limits == Limits(cost=1.0, steps=50, tokens=2_000_000)
    assert "of $1.00" not in asked(server) and "$1.00" in asked(server), "the agent is told what is left"


async def test_a_model_that_sees_little_is_asked_for_a_shorter_answer(tmp_path: Path, server: Server) -> None:
    server.answers(said(OPENAI, "submit"))
    async with driven(tmp_path, make_agent(OPENAI, server, "default", "gpt-4")) as session:
        assert (await session.ended()).exit_status == "submitted"
    assert server.calls[0].body["max_tokens"] == 8192 // 2


async def test_without_a_price_tokens_are_limited(tmp_path: Path, server: Server) -> None:
    server.answers(said(OPENAI, "true"))
    agent = make_agent(OPENAI, server, "default", "some-model")
    async with driven(tmp_path, agent, limits=Limits(tokens=20_000, cost=0.0001)) as session:
        ended = await session.ended()
    assert ended.exit_status == "autosubmission (exit_cost)"
    assert "the price of openai:some-model is not known" in ended.reason and "20,000 tokens" in ended.reason
    assert session.state.unpriced_tokens == 1050 * len(server.calls) and session.state.cost == 0
    assert 0 < session.state.unpriced_tokens <= 20_000


@every
async def test_a_take_over_in_the_middle_of_an_answer_keeps_it(
    tmp_path: Path, server: Server, dialect: Dialect
) -> None:
    pieces = dialect.pieces("I was about to ", "say something")
    server.answers(Reply(pieces, hold_before=next(i for i, piece in enumerate(pieces) if b"say something" in piece)))
    async with talking(tmp_path, dialect, server, interactive=True) as session:
        await session.until(lambda: session.runner.status.draft == "I was about to ", "the draft is shown")
        session.runner.controls.take_over(80, 24)
        await session.phase("human")
        [kept] = session.events(ev.ModelResponded)
        assert kept.text == "I was about to " and kept.usage is not None and kept.usage.cost
        assert session.runner.status.draft == ""
        session.enter("echo by hand\n")
        await session.over(1)
        server.answers(said(dialect, "submit"))
        await session.runner.controls.hand_back()
        assert (await session.ended()).exit_status == "submitted"
    assert "echo by hand" in asked(server) and "took over" in asked(server)
    assert session.state.cost == pytest.approx(kept.usage.cost + BILL[dialect.name])
    server.go_on.set()


@every
async def test_an_answer_that_is_stopped_is_kept_and_asked_for_again(
    tmp_path: Path, server: Server, dialect: Dialect
) -> None:
    pieces = dialect.pieces("I was about to ", "say something")
    server.answers(Reply(pieces, hold_before=next(i for i, piece in enumerate(pieces) if b"say something" in piece)))
    async with talking(tmp_path, dialect, server, interactive=True) as session:
        assert not session.runner.controls.interrupt(), "nothing is on its way yet"
        await session.until(lambda: session.runner.status.draft == "I was about to ", "the draft is shown")
        assert session.runner.controls.interrupt()
        await session.phase("waiting")
        [kept] = session.events(ev.ModelResponded)
        assert kept.text == "I was about to " and kept.usage is not None and kept.usage.cost
        assert session.runner.state.mode == "paused" and "stopped" in session.runner.status.problem
        server.answers(said(dialect, "submit"))
        session.runner.controls.continue_()
        assert not session.runner.status.problem
        assert (await session.ended()).exit_status == "submitted"
    assert session.state.cost == pytest.approx(kept.usage.cost + BILL[dialect.name])
    server.go_on.set()


@every
async def test_a_resumed_session_goes_on_where_it_was(tmp_path: Path, server: Server, dialect: Dialect) -> None:
    server.answers(*(said(dialect, action) for action in ["marker=kept; echo $marker", GOOD, "echo under review"]))
    async with talking(tmp_path, dialect, server) as session:
        await session.over(2)
        session.runner.controls.stop("interrupted", "SIGTERM")
        await session.ended()
    before = session.state.cost
    server.answers(said(dialect, "cat strategy.py"), said(dialect, "submit"))
    calls = len(server.calls)
    async with talking(tmp_path, dialect, server, resume=session.folder) as again:
        assert (await again.ended()).exit_status == "submitted"
    sent = asked(server, calls)
    assert "echo $marker" in sent and "row_strategy" in sent
    assert "goes on in a new sandbox" in sent and "the shell has these as before: marker" in sent
    assert f"You are in {again.state.workspace}." in sent
    assert sent.index("echo $marker") < sent.index("goes on in a new sandbox")
    assert "goes on in a new sandbox" not in "".join(asked(server, call) for call in range(calls))
    assert "return 0" in again.state.steps[-2].observation
    assert again.state.cost == pytest.approx(before + 2 * BILL[dialect.name])


@every
async def test_no_key_gets_into_a_session(
    tmp_path: Path, server: Server, dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(dialect.variable, SECRET)
    variable = "GOOGLE_GEMINI_BASE_URL" if dialect.name == "gemini" else f"{dialect.name.upper()}_BASE_URL"
    monkeypatch.setenv(variable, server.url + dialect.path)
    pieces = [
        "Your key is ",
        SECRET[:7],
        SECRET[7:],
        f"!\n```bash\necho {SECRET[:12]}",
        f"{SECRET[12:]} > leak; env\n```",
    ]
    server.answers(
        dialect.answer(*pieces),
        said(dialect, f"cat leak; echo {SECRET}; echo {SECRET} >&2; printf '%s' {SECRET} | base64"),
        dialect.fails(401, f"Incorrect API key provided: {SECRET}. You sent {SECRET}"),
    )
    task = make_quick_task(tmp_path / "quick-task")
    options = SessionSpec(task=str(task.folder), model=f"{dialect.name}:{dialect.model}", unsafe_local=True)
    runner = start(options, tmp_path / "sessions")
    ended = await runner.run()
    assert ended.exit_status == "autosubmission (exit_api)" and SECRET not in ended.reason
    assert runner.state.last_step == 2 and len(server.calls) == 3
    headers = ("authorization", "x-api-key", "x-goog-api-key")
    assert all(any(SECRET in call.headers.get(name, "") for name in headers) for call in server.calls), "it was in use"
    assert SECRET not in runner.state.steps[1].observation
    files = [file for file in runner.live.folder.rglob("*") if file.is_file()]
    assert len(files) > 8
    for file in files:
        assert SECRET.encode() not in file.read_bytes(), file
    assert runner.state.cost == pytest.approx(2 * BILL[dialect.name])


async def test_a_server_of_ones_own_has_no_price_and_gets_no_key(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    server.answers(said(OPENAI, "submit"))
    task = make_quick_task(tmp_path / "quick-task")
    options = SessionSpec(task=str(task.folder), model="openai:gpt-4o", base_url=f"{server.url}/v1", unsafe_local=True)
    runner = start(options, tmp_path / "sessions")
    assert (await runner.run()).exit_status == "submitted"
    assert runner.state.unpriced_tokens == 1050 and runner.state.cost == 0
    assert SECRET not in str(server.calls[0].headers)
    assert runner.state.started is not None and runner.state.started.agent == "default"
    assert runner.state.limits == Limits(steps=50, cost=4.0, tokens=2_000_000)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"sandbox": "local", "unsafe_local": False}, marks=pytest.mark.bwrap, id="bubblewrap"),
        pytest.param({"sandbox": "docker", "unsafe_local": False}, marks=pytest.mark.docker, id="docker"),
    ],
)
@every
async def test_the_same_agent_in_two_sandboxes(
    tmp_path: Path, server: Server, dialect: Dialect, options: dict[str, Any]
) -> None:
    def shape(event: ev.Event) -> dict[str, Any]:
        """What of an event must be the same in every sandbox."""
        kept = ("author", "action", "thought", "exit_code", "verdict", "score", "mode", "usage", "text", "exit_status")
        return {"name": event.name, **{name: getattr(event, name) for name in kept if hasattr(event, name)}}

    runs, told = [], []
    for each in ({"unsafe_local": True}, options):
        server.answers(*(said(dialect, action) for action in ["echo $((1+1))", *ACTIONS]))
        async with talking(tmp_path, dialect, server, seed=7, **each) as session:
            assert (await session.ended()).exit_status == "submitted"
        runs.append(session.state)
        told.append([shape(event) for event in session.seen if not isinstance(event, ev.NoteAdded)])
    unsafe_run, local = runs
    assert told[0] == told[1], "the same events, but for times, places and the sandbox"
    assert local.started is not None and local.started.sandbox == options["sandbox"]
    assert local.sandbox != unsafe_run.sandbox
    for one, other in zip(unsafe_run.steps[1:4], local.steps[1:4], strict=True):
        assert (one.action, one.exit_code, one.observation) == (other.action, other.exit_code, other.observation)
    assert [step.action for step in local.steps] == [step.action for step in unsafe_run.steps]
    assert local.cost == pytest.approx(unsafe_run.cost)


async def test_many_steps_in_a_small_context(tmp_path: Path, server: Server) -> None:
    budget, count = 4000, 80
    steps = [said(OPENAI, f"echo number {number}; seq {number * 7 % 400}") for number in range(count - 1)]
    server.answers(*steps, said(OPENAI, "submit"))
    agent = make_agent(OPENAI, server, history=[TokenBudget(tokens=budget)])
    async with driven(tmp_path, agent, limits=Limits(steps=2 * count)) as session:
        ended = await session.ended(50)
    assert (ended.exit_status, ended.steps) == ("submitted", count)
    for number, call in enumerate(server.calls):
        messages = call.body["messages"]
        roles = [message["role"] for message in messages]
        assert roles[0] == "system" and set(roles[1::2]) == {"user"} and set(roles[2::2]) <= {"assistant"}
        assert sum(estimate_tokens(message["content"]) for message in messages) <= budget
        if number:
            assert f"echo number {number - 1};" in messages[-2]["content"], "the newest turn is always there"
    assert session.state.cost == pytest.approx(count * BILL["openai"])


@every
async def test_what_each_step_cost_is_shown(tmp_path: Path, server: Server, dialect: Dialect) -> None:
    server.answers(said(dialect, "true"), dialect.answer("no command"), said(dialect, "true"), said(dialect, "submit"))
    async with talking(tmp_path, dialect, server) as session:
        await session.ended()
    bill, author = BILL[dialect.name], f"model:{dialect.model}"
    shown = json.loads(CliRunner().invoke(main, ["sessions", "show", str(session.folder), "--json"]).output)
    assert [step["cost"] for step in shown["steps"]] == pytest.approx([bill, 2 * bill, bill])
    tokens = {"input": 2000, "output": 100, "cached": 800, "reasoning": 40}
    assert (shown["steps"][1]["calls"], shown["steps"][1]["tokens"]) == (2, tokens)
    assert shown["cost"] == shown["spending_by_author"][author]["cost"] == pytest.approx(4 * bill)
    assert shown["tokens"] == {"input": 4000, "output": 200, "price_unknown": 0}
    plain = CliRunner().invoke(main, ["sessions", "show", str(session.folder)]).output
    assert f"{author}: ${4 * bill:.4f}, 4,000 tokens in, 200 out, 4 calls" in plain


async def test_an_unknown_price_is_shown_as_that(tmp_path: Path, server: Server) -> None:
    server.answers(said(OPENAI, "submit"))
    async with driven(tmp_path, make_agent(OPENAI, server, "default", "some-model")) as session:
        await session.ended()
    shown = json.loads(CliRunner().invoke(main, ["sessions", "show", str(session.folder), "--json"]).output)
    assert shown["steps"][0]["cost"] is None and shown["steps"][0]["tokens"]["input"] == 1000
    assert shown["tokens"]["price_unknown"] == 1050
    plain = CliRunner().invoke(main, ["sessions", "show", str(session.folder)]).output
    assert "model:some-model: price unknown (1,050 tokens)" in plain


@every
async def test_a_model_reads_why_its_action_was_not_approved(tmp_path: Path, server: Server, dialect: Dialect) -> None:
    (tmp_path / "rules.yaml").write_text("rules: [{network: true}]")
    server.answers(said(dialect, "curl example.org"), said(dialect, "submit"))
    async with talking(tmp_path, dialect, server, approve=str(tmp_path / "rules.yaml")) as session:
        assert (await session.ended()).exit_status == "submitted"
    sent = asked(server)
    assert "The action was not run (it needs approval, and nobody is there to give it: it looks" in sent
    assert "A person looked" not in sent


@every
async def test_a_model_is_told_that_it_repeats_itself(tmp_path: Path, server: Server, dialect: Dialect) -> None:
    server.answers(said(dialect, "ls"), said(dialect, "ls"), said(dialect, "submit"))
    async with driven(tmp_path, make_agent(dialect, server, loops="tell")) as session:
        assert (await session.ended()).exit_status == "submitted"
    assert "A note of the workbench: you repeat yourself: the same action 2 times in a row." in asked(server)


async def test_repetition_is_noted_unless_the_agent_says_otherwise(tmp_path: Path, server: Server) -> None:
    server.answers(said(OPENAI, "ls"), said(OPENAI, "ls"), said(OPENAI, "submit"))
    async with talking(tmp_path, OPENAI, server) as session:
        await session.ended()
    [note] = [note for note in session.events(ev.NoteAdded) if note.step]
    assert note.text == "the agent repeats itself: the same action 2 times in a row"
    assert "repeat yourself" not in asked(server)


async def test_a_model_is_told_what_went_with_a_shell(tmp_path: Path, server: Server) -> None:
    server.answers(said(OPENAI, "x=1; sleep 60 & exit 3"), said(OPENAI, "echo ${x-unset}"), said(OPENAI, "submit"))
    async with talking(tmp_path, OPENAI, server) as session:
        assert (await session.ended()).exit_status == "submitted"
    assert session.state.steps[2].observation.strip() == "unset"
    assert asked(server, 1).count("without variables, functions or jobs") == 1
    assert "A note of the workbench: the shell" not in asked(server), "it is told once"


async def test_a_model_is_told_of_a_shell_that_died_between_its_steps(tmp_path: Path, server: Server) -> None:
    server.answers(said(OPENAI, "(sleep 0.3; kill -9 $$) &"), said(OPENAI, "true"), said(OPENAI, "submit"))
    async with talking(tmp_path, OPENAI, server, interactive=True, mode="step") as session:
        await session.review(1)
        session.runner.controls.run_proposal()
        await session.review(2)
        await session.until(lambda: not session.runner.episode.shell.alive, "the shell is dead")
        session.runner.controls.take_over(80, 24)
        await session.phase("human")
        await session.runner.controls.hand_back()
        await session.review(3)
        session.runner.controls.run_proposal()
        await session.review(4)
    sent = asked(server)
    assert "A note of the workbench: the shell ended, and there is a new one: shell variables" in sent


async def test_a_model_is_told_which_files_a_resume_lost(tmp_path: Path, server: Server) -> None:
    server.answers(said(OPENAI, "echo precious > kept; echo data > gone; rm -f nothing"), said(OPENAI, "true"))
    async with talking(tmp_path, OPENAI, server) as session:
        await session.over(1)
        session.runner.controls.stop("interrupted", "SIGTERM")
        await session.ended()
    gone = session.state.file_at("gone")
    assert gone is not None and gone.object is not None
    session.runner.live.objects.path(gone.object).unlink()
    server.answers(said(OPENAI, "submit"))
    async with talking(tmp_path, OPENAI, server, resume=session.folder) as again:
        await again.ended()
    assert "but for these, which are lost: gone;" in asked(server)
