"""What waits for a person's approval, by rules, and what becomes of it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.runner.rig import ListAgent, driven
from workbench.runner.agents import StartError
from workbench.runner.approval import ALWAYS, NEVER, Approval, looks_like_network, touches
from workbench.runner.conditions import read_approval
from workbench.session import events as ev
from workbench.session.events import Limits, Usage
from workbench.session.state import fold

WORKSPACE = "/home/agent/workspace"


def why(approval: Approval, action: str, *costs: float) -> str:
    """What is said of an action whose session has cost so much, the last of it for this step."""
    events: list[ev.Event] = [ev.SessionStarted(format=1, task="t"), ev.SandboxReady(cwd=WORKSPACE)]
    for number, cost in enumerate(costs or (0.0,), 1):
        events.append(ev.ModelResponded(text="a", usage=Usage(cost=cost)))
        events.append(ev.ActionProposed(step=number, author="model:m", action=action))
    return approval.why_ask(fold(events))


def rules(folder: Path, text: str) -> Approval:
    (folder / "rules.yaml").write_text(text)
    return read_approval(str(folder / "rules.yaml"))


def test_always_and_never() -> None:
    assert read_approval("never") == NEVER and why(read_approval("never"), "rm -rf /") == ""
    assert read_approval("always") == ALWAYS and why(read_approval("always"), "ls")


def test_rules_decide_in_their_order(tmp_path: Path) -> None:
    approval = rules(
        tmp_path,
        """
rules:
  - {command: 'rm -r build', then: run}
  - {command: '\\brm\\b', reason: it deletes}
  - {command: submit}
  - {command: 'pip', network: true}
""",
    )
    assert why(approval, "rm -r build") == ""
    assert why(approval, "rm -r build; rm x") == "it deletes"
    assert why(approval, "rm -r build\nrm -r x") == "it deletes"
    assert why(approval, "python3 x.py && submit") == "the command matches 'submit'"
    assert why(approval, "pip list") == ""
    assert why(approval, "pip install x") == "the command matches 'pip' and it looks as if it used the network"
    assert why(approval, "ls") == ""


def test_everything_but_what_a_rule_lets_run(tmp_path: Path) -> None:
    approval = rules(tmp_path, "rules: [{command: '(ls|cat)(\\s+[\\w./-]+)*', then: run}]\notherwise: ask\n")
    assert why(approval, " cat a.py b.py\n") == "" == why(approval, "ls")
    for other in ("cat a.py; true", "cat a.py\nrm -rf x", "cat $(rm x)", "lsof", "ls > x", "rm x"):
        assert why(approval, other) == "no rule lets it run", other


def test_each_so_many_dollars(tmp_path: Path) -> None:
    approval = rules(tmp_path, "rules: [{cost: 1.0}]")
    assert why(approval, "ls", 0.6) == ""
    assert why(approval, "ls", 0.6, 0.6) == "another $1 is spent"
    assert why(approval, "ls", 0.6, 0.6, 0.6) == ""
    assert why(approval, "ls", 0.6, 0.6, 0.6, 0.6) == "another $1 is spent"


def test_the_rules_of_the_documentation(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "agents.md").read_text()
    approval = rules(tmp_path, text.partition("```yaml rules\n")[2].partition("```")[0])
    assert why(approval, "cat a.py", 0.0) == ""
    assert why(approval, "rm a.py") == "it deletes something"
    assert why(approval, "pip install x") and why(approval, "head data/x | tail") and why(approval, "make", 0.6)
    assert why(approval, "make", 0.1) == ""


NETWORK = [
    "curl -s x", "cd /tmp && wget y", "a | nc host 1", "x=$(curl z)", "git clone u", "git -q pull", "pip install torch",
    "python3 -m pip install -q x", "apt-get install -y vim", "FOO=1 /usr/bin/curl x", "sudo ssh host",
    "python3 -c 'import requests'", "exec 3<>/dev/tcp/1.2.3.4/80", "cat <<E\nhttps://example.org\nE", "hf download x",
    "for u in a b; do curl $u; done", "python3 - <<'E'\nfrom urllib.request import urlopen\nE",
    "if true; then wget x; fi",
]  # fmt: skip
OFFLINE = [
    "ls", "cat curl.py", "grep -r wget .", "echo pip", "git status", "git commit -m 'pull'", "pip list", "mycurl x",
    "python3 train.py", "./curl-like x", "edit 1:2 net.py", "npm test", "sleep 1; jobs", "cat socket.txt",
    "curl.py", "python3 ssh.py",
]  # fmt: skip


@pytest.mark.parametrize("action", NETWORK)
def test_what_looks_like_the_network(action: str) -> None:
    assert looks_like_network(action)


@pytest.mark.parametrize("action", OFFLINE)
def test_what_does_not(action: str) -> None:
    assert not looks_like_network(action)


@pytest.mark.parametrize(
    "piece", ["a=b ", "\n", " ", "/a", ";", "git -a ", "pip -q\n", "/", "\t\n", "x=", "env ", "aaa"]
)
def test_no_action_takes_long_to_look_at(piece: str) -> None:
    began = time.process_time()
    action = piece * (200_000 // len(piece))
    looks_like_network(action)
    touches(action, "data/*", WORKSPACE, WORKSPACE)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("action", "cwd", "touched"),
    [
        ("cat data/x.csv", WORKSPACE, True),
        ("rm -rf data", WORKSPACE, True),
        ("rm -rf ../workspace/data/deep/x", WORKSPACE, True),
        ("cat x.csv", f"{WORKSPACE}/data", True),
        ("echo 1 >data/x", WORKSPACE, True),
        ("python3 x.py --out=data/x", WORKSPACE, True),
        (f"open '{WORKSPACE}/data/x'", "/tmp", True),
        ("cat ~/workspace/data/x $HOME/y", "/tmp", True),
        ("rm -rf .", WORKSPACE, True),
        ("rm -rf /", "/tmp", True),
        ("cat database/x", WORKSPACE, False),
        ("ls", WORKSPACE, False),
        ("cat data/x", "/tmp", False),
        ("cat ../data/x", WORKSPACE, False),
    ],
)
def test_paths_that_a_command_names(action: str, cwd: str, touched: bool) -> None:
    assert touches(action, "data/*", cwd, WORKSPACE) is touched


def test_a_path_of_the_whole_machine() -> None:
    assert touches("cat /etc/passwd", "/etc/*", WORKSPACE, WORKSPACE)
    assert not touches("cat etc/passwd", "/etc/*", WORKSPACE, WORKSPACE)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rules: [{command: '('}]", "rules.0.command: is no regular expression"),
        ("rules: [{comand: x}]", "did you mean 'command'"),
        ("rules:\n  - {reason: none}", "line 2: rules.0: says nothing"),
        ("rules: [{network: true, then: run}]", "what runs unasked is named by a command"),
        ("rules: [{cost: 0}]", "rules.0.cost"),
        ("rules: [{command: x, then: maybe}]", "rules.0.then"),
        ("otherwise: ask", "rules"),
        ("- x", "must be a mapping"),
    ],
)
def test_faults_of_a_file_are_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(StartError) as caught:
        rules(tmp_path, text)
    assert says in str(caught.value) and "rules.yaml" in str(caught.value)


@pytest.mark.parametrize("given", ["sometimes", "missing.yaml"])
async def test_what_is_no_policy_starts_nothing(tmp_path: Path, given: str) -> None:
    with pytest.raises(StartError, match=given):
        async with driven(tmp_path, ListAgent(["true"]), approve=given):
            raise AssertionError("it started")
    with pytest.raises(StartError, match="nobody is there"):
        async with driven(tmp_path, ListAgent(["true"]), approve="always"):
            raise AssertionError("it started")
    assert list((tmp_path / "sessions").glob("*")) == []


@pytest.fixture
def careful(tmp_path: Path) -> str:
    """Rules that ask before something is deleted."""
    (tmp_path / "careful.yaml").write_text("rules: [{command: '\\brm\\b', reason: it deletes}]")
    return str(tmp_path / "careful.yaml")


async def test_what_matches_waits_and_the_rest_runs(tmp_path: Path, careful: str) -> None:
    agent = ListAgent(["echo 1", "rm strategy.py", "rm -r x", "echo 2"])
    async with driven(tmp_path, agent, approve=careful, interactive=True) as session:
        runner = session.runner
        await session.review(2)
        await session.until(lambda: runner.status.asking, "asking")
        assert (runner.state.mode, runner.status.asking, runner.status.problem) == (
            "auto",
            "it deletes",
            "your approval: it deletes",
        )
        runner.controls.reject("keep it")
        await session.review(3)
        await session.until(lambda: runner.status.asking, "asking")
        runner.controls.edit("echo instead")
        runner.controls.run_proposal()
        ended = await session.ended()
    assert (ended.exit_status, ended.steps, runner.status.asking, runner.state.mode) == (
        "actions_exhausted",
        4,
        "",
        "auto",
    )
    assert [step.status for step in session.state.steps[1:]] == ["ran", "rejected", "ran", "ran"]
    assert session.state.steps[3].observation == "instead\n"
    notes = [(note.step, note.text) for note in session.events(ev.NoteAdded) if note.step]
    assert notes == [(2, "waits for approval: it deletes"), (3, "waits for approval: it deletes")]
    assert {pause.reason for pause in session.events(ev.ClockPaused)} == {"review"}


async def test_what_needs_approval_needs_it_after_a_take_over_too(tmp_path: Path, careful: str) -> None:
    async with driven(tmp_path, ListAgent(["rm a", "echo 2"]), approve=careful, interactive=True) as session:
        await session.until(lambda: session.runner.status.asking, "asking")
        session.runner.controls.take_over(80, 24)
        await session.phase("human")
        assert (session.runner.status.asking, session.runner.status.problem) == ("", "")
        await session.runner.controls.hand_back()
        await session.until(lambda: session.runner.status.asking, "asking again")
        session.runner.controls.reject("done by hand")
        assert (await session.ended()).exit_status == "actions_exhausted"
    steps = session.state.steps[1:]
    assert [(step.action, step.status) for step in steps] == [
        ("rm a", "rejected"), ("rm a", "rejected"), ("echo 2", "ran"),
    ]  # fmt: skip


async def test_waiting_does_not_use_up_the_time(tmp_path: Path, careful: str) -> None:
    agent = ListAgent(["rm -f x"])
    async with driven(tmp_path, agent, approve=careful, interactive=True, limits=Limits(seconds=60.0)) as session:
        await session.until(lambda: session.events(ev.ClockPaused), "the clock stands still")
        session.runner.controls.run_proposal()
        await session.ended()
    assert len(session.events(ev.ClockResumed)) == 1


async def test_where_nobody_is_there_it_is_rejected(tmp_path: Path, careful: str) -> None:
    agent = ListAgent(["rm strategy.py", "echo 2"])
    async with driven(tmp_path, agent, approve=careful) as session:
        assert (await session.ended()).exit_status == "actions_exhausted"
    step = session.state.steps[1]
    assert (step.status, step.rejected_by) == ("rejected", "policy:approval")
    assert step.comment == "it needs approval, and nobody is there to give it: it deletes"
    assert session.state.steps[2].observation == "2\n"


def test_a_command_that_an_expression_takes_too_long_for_waits(tmp_path: Path) -> None:
    slow = "a" * 200 + "!"
    assert why(rules(tmp_path, "rules: [{command: '(a|aa)+', then: run}]\notherwise: ask"), slow)
    assert why(rules(tmp_path, "rules: [{command: '(a|aa)+$'}]"), slow)
    held = "rules: [{command: 'a+.', when: 'not /(a|aa)+$/', then: run}]\notherwise: ask"
    assert why(rules(tmp_path, held), slow) and not why(rules(tmp_path, held), "aa!")
