"""Agents from files and classes: what is shipped, and faults named by file, line and field."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import asdict

from tests.agents.scripted_chat import ScriptedChat
from tests.agents.test_language_agent import Ears
from workbench.agents.agent import Agent
from workbench.agents.catalogue import AgentSetup, find_agent, list_agents, make_agent
from workbench.agents.config import AgentConfig, AgentError, LastObservations, TokenBudget, read_agent
from workbench.agents.language_agent import LanguageAgent
from workbench.agents.messages import ChatModel, Sampling
from workbench.agents.prompts import VARIABLES, PromptError, check, fill, fill_observation
from workbench.sandbox.commands import USUAL_COMMANDS
from workbench.session.events import Limits
from workbench.session.state import SessionState

GOOD = """\
name: mine
model: openai:gpt-4o
tools: [open, submit]
history:
  - processor: last_observations
    first: 2
  - processor: token_budget
    tokens: 9000
limits: {steps: 7, cost: 1}
prompts:
  system: You work. $answer_format
  task: |
    $description
    It costs $$5.
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    return path


def test_the_shipped_agents() -> None:
    agents = list_agents()
    assert agents[0].name == "default"
    assert {"default", "tool-calls", "minimal"} <= {agent.name for agent in agents}
    assert all(agent.description and agent.model is None for agent in agents)


def test_the_default_agent_is_that_of_the_paper() -> None:
    agent = find_agent("default")
    assert isinstance(agent, AgentConfig)
    assert (agent.parser, agent.window, agent.format_attempts) == ("thought_action", 1000, 3)
    assert (agent.limits.steps, agent.limits.cost) == (50, 4.0)
    assert (agent.sampling.temperature, agent.sampling.top_p) == (0.0, 0.95)
    kept = agent.history[0]
    assert isinstance(kept, LastObservations) and (kept.first, kept.last) == (5, 5)
    assert tuple(agent.tools) == USUAL_COMMANDS


def without(config: AgentConfig, fields: set[str]) -> dict[str, Any]:
    return {name: value for name, value in asdict(config).items() if name not in fields}


def test_what_the_default_agent_spells_out_is_what_is_left_out_elsewhere(tmp_path: Path) -> None:
    default = find_agent("default")
    assert isinstance(default, AgentConfig)
    short = tmp_path / "short.yaml"
    short.write_text("name: default\nprompts: {system: a, task: $description}\n")
    ours, theirs = read_agent(short), default
    same = {"description", "prompts", "name"}
    assert without(ours, same) == without(theirs, same)
    assert ours.prompts.next_step == theirs.prompts.next_step
    assert ours.prompts.no_output == theirs.prompts.no_output
    assert ours.prompts.format_error == theirs.prompts.format_error


def test_a_file_of_ones_own(file: Path) -> None:
    agent = find_agent(str(file))
    assert isinstance(agent, AgentConfig)
    assert (agent.name, agent.model, agent.tools) == ("mine", "openai:gpt-4o", ["open", "submit"])
    assert agent.history[1] == TokenBudget(tokens=9000)
    assert agent.limits.as_limits() == Limits(steps=7, cost=1.0, tokens=2_000_000)


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "words"),
    [
        ("name: mine\n", "", 1, "name", "is required"),
        ("name: mine", "nmae: mine", 1, "nmae", "did you mean 'name'"),
        ("name: mine", "name: my agent", 1, "name", "pattern"),
        ("openai:gpt-4o", "gpt-4o", 2, "model", "pattern"),
        ("[open, submit]", "[open, sumbit]", 3, "tools.1", "did you mean 'submit'"),
        ("[open, submit]", "[open, open]", 3, "tools.1", "given twice"),
        ("last_observations", "last_observation", 5, "history.0", "processor' should be one of 'full'"),
        ("first: 2", "frist: 2", 6, "history.0.frist", "did you mean 'first'"),
        ("first: 2", "first: -1", 6, "history.0.first", "greater than or equal to 0"),
        ("processor: token_budget", "kind: token_budget", 7, "history.1", "must say which one it is"),
        ("tokens: 9000", "tokens: many", 8, "history.1.tokens", "integer"),
        ("steps: 7", "steps: 0", 9, "limits.steps", "greater than or equal to 1"),
        ("cost: 1", "cost: .nan", 9, "limits.cost", "finite"),
        ("$answer_format", "$answer_fromat", 11, "prompts.system", "did you mean $answer_format"),
        ("$answer_format", "$observation", 11, "prompts.system", "$observation is not a known name here"),
        ("$$5", "$ 5", 12, "prompts.task", "write '$$'"),
        ("$description", "Do it.", 12, "prompts.task", "$description"),
        ("  system: You work. $answer_format\n", "", 10, "prompts.system", "is required"),
        ("  task: |", "  next_step: none\n  task: |", 12, "prompts.next_step", "must use $observation"),
        ("  task: |", "  format_error: No!\n  task: |", 12, "prompts.format_error", "must use $reason"),
        ("name: mine", "name: mine\nparser: yaml", 2, "parser", "'thought_action'"),
        ("name: mine", "name: mine\nname: again", 2, "name", "given twice"),
        ("name: mine", "name: [mine", 2, "", "not valid YAML"),
    ],
)
def test_faults(file: Path, old: str, new: str, line: int, field: str, words: str) -> None:
    assert old in GOOD
    file.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(AgentError) as caught:
        find_agent(str(file))
    place = f"{file}, line {line}: {field}: " if field else f"{file}, line {line}: "
    matching = [text for text in str(caught.value).split("\n") if text.startswith(place)]
    assert matching, str(caught.value)
    assert words in matching[0]


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="No such file"):
        find_agent(str(tmp_path / "none.yaml"))
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(AgentError, match="as in the shipped agents"):
        find_agent(str(tmp_path / "list.yaml"))
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AgentError, match="not valid YAML"):
        find_agent(str(tmp_path / "bytes.yaml"))


def test_a_name_that_is_none_names_the_nearest() -> None:
    with pytest.raises(AgentError, match="did you mean 'default'"):
        find_agent("defualt")
    with pytest.raises(AgentError, match="there are default, literature, memory"):
        find_agent("zzz")


# -- prompts -----------------------------------------------------------------------------------------------------------


def test_values_are_never_taken_for_templates() -> None:
    assert fill("$goal!", {"goal": "$HOME ${x} $$"}) == "$HOME ${x} $$!"
    text, (start, end) = fill_observation("a $status\n${observation}\n$status", {"status": "$observation"}, "$status")
    assert text == "a $observation\n$status\n$observation"
    assert text[start:end] == "$status"


@pytest.mark.parametrize("text", ["$observation $observation", "$$observation", "none"])
def test_an_observation_is_told_once(text: str) -> None:
    with pytest.raises(PromptError, match="once"):
        check("next_step", text)


def test_an_escaped_name_is_none() -> None:
    check("next_step", "costs $$observation: $observation")
    text, (start, end) = fill_observation("costs $$observation: $observation", {}, "x")
    assert (text, text[start:end]) == ("costs $observation: x", "x")


# -- agents that are classes -------------------------------------------------------------------------------------------

CLASS = """
from workbench.agents.agent import Proposal

class Mine:
    name = "mine"
    trusted = False

    def __init__(self, setup):
        self.setup = setup
        self.model = setup.model or "none:none"
        self.author = "policy:mine"
        self.chat = setup.make_model("scripted:chat")

    async def propose(self, state):
        return Proposal(f"echo {self.setup.task}")

class Rich(Mine):
    listener = sampling = None
    window, tells_edits, commands = 77, False, ["memory_read"]

    def use(self, chat):
        before, self.chat, self.model = self.chat, chat, chat.name
        return before

    async def propose(self, state):
        return Proposal("ls", f"{self.listener!r} {self.sampling!r}")

class Half:
    name = "half"
    def __init__(self, setup): pass

class Plain(Mine):
    def propose(self, state): pass

class Broken:
    def __init__(self, setup):
        raise RuntimeError("no GPU")
"""


def setup(model: str = "") -> AgentSetup:
    def make_model(name: str) -> ChatModel:
        return ScriptedChat([], name=name)

    return AgentSetup(task="t", description="Do it.", model=model, make_model=make_model)


async def test_a_class_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_agents_of_test.py").write_text(CLASS)
    monkeypatch.chdir(tmp_path)
    for reference in ("my_agents_of_test:Mine", f"{tmp_path}/my_agents_of_test.py:Mine"):
        agent = make_agent(reference, setup("openai:x"))
        assert (agent.name, agent.model) == ("mine", "openai:x")
        assert (await agent.propose(SessionState())).action == "echo t"
    sys.modules.pop("my_agents_of_test", None)


def test_what_a_class_of_ones_own_leaves_out_has_defaults(tmp_path: Path) -> None:
    file = tmp_path / "some_agents.py"
    file.write_text(CLASS)
    agent = make_agent(f"{file}:Mine", setup())
    assert isinstance(agent, Agent)
    assert (agent.lint, agent.loops, agent.limits, agent.window) == ("warn", "off", None, None)
    assert (agent.tells_edits, list(agent.commands), agent.asks_model) == (None, [], False)
    assert agent.comment(SessionState()) == ""
    agent.listener = ears = Ears()
    assert agent.listener is ears


async def test_what_a_class_of_ones_own_has_is_used(tmp_path: Path) -> None:
    file = tmp_path / "some_agents.py"
    file.write_text(CLASS)
    agent = make_agent(f"{file}:Rich", setup())
    assert (agent.window, agent.tells_edits, agent.commands, agent.asks_model) == (77, False, ["memory_read"], True)
    agent.listener, agent.sampling = ears, warm = Ears(), Sampling(0.5)
    assert agent.use(ScriptedChat([], name="test:new")).name == "scripted:chat"
    assert (agent.model, agent.listener, agent.sampling) == ("test:new", ears, warm)
    heard = await agent.propose(SessionState())
    assert heard.thought == f"{ears!r} {warm!r}", "the class sees what it is given"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Mnie", "no class 'Mnie'; it has Mine"),
        ("Half", "has no model, author, trusted, propose"),
        ("Plain", "must be an `async def`"),
        ("Broken", "RuntimeError: no GPU"),
    ],
)
def test_classes_that_are_no_agents(tmp_path: Path, name: str, words: str) -> None:
    file = tmp_path / "some_agents.py"
    file.write_text(CLASS)
    with pytest.raises(AgentError) as caught:
        make_agent(f"{file}:{name}", setup())
    assert words in str(caught.value)


def test_a_module_that_fails_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "bad_agents.py"
    file.write_text("x = 1\ny = x / 0\n")
    with pytest.raises(AgentError, match=r"ZeroDivisionError.*bad_agents.py, line 2"):
        make_agent(f"{file}:Mine", setup())
    with pytest.raises(AgentError, match="no_such_module_here cannot be imported"):
        make_agent("no_such_module_here:Mine", setup())


def test_the_model_is_that_of_the_user_or_of_the_file(file: Path) -> None:
    agent = make_agent(str(file), setup())
    assert isinstance(agent, LanguageAgent)
    assert (agent.name, agent.model, agent.author, agent.trusted) == ("mine", "openai:gpt-4o", "model:gpt-4o", False)
    assert make_agent(str(file), setup("anthropic:other")).model == "anthropic:other"
    with pytest.raises(AgentError, match="names no model; name one with --model"):
        make_agent("default", setup())


# -- the documentation -------------------------------------------------------------------------------------------------

DOCS = Path(__file__).parents[2] / "docs" / "agents.md"


def example(language: str) -> str:
    """The first block of a language in docs/agents.md."""
    return DOCS.read_text().split(f"```{language}\n", 1)[1].split("```", 1)[0]


async def test_the_examples_of_the_documentation_work(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(example("yaml"))
    default = find_agent("default")
    assert isinstance(default, AgentConfig)
    own = {"name", "description", "model", "tools", "prompts"}
    assert without(read_agent(file), own) == without(default, own), "left out or not is the same"
    (tmp_path / "documented.py").write_text(example("python"))
    agent = make_agent(f"{tmp_path}/documented.py:MyAgent", setup())
    assert (agent.author, (await agent.propose(SessionState())).action) == ("model:gpt-4o", "ls")


def test_every_name_of_a_prompt_is_documented() -> None:
    rows = {line.split("|")[1]: line for line in DOCS.read_text().split("\n") if line.startswith("| `")}
    for prompt in ("system", "task", "next_step", "format_error"):
        row = next(line for names, line in rows.items() if f"`{prompt}`" in names)
        assert all(f"`{name}`" in row for name in VARIABLES[prompt]), prompt
