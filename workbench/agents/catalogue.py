"""Finding agents: one of the package by name, another by the path of its file, or a class of the user."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec

from workbench.agents.agent import Agent, with_place
from workbench.text import did_you_mean

if TYPE_CHECKING:
    from workbench.agents.config import AgentConfig
    from workbench.agents.messages import ChatModel

FOLDER = Path(__file__).resolve().parent / "configs"
"""The agents that ship with the package."""


class AgentSetup(msgspec.Struct, frozen=True):
    """The argument that an agent class of the user is constructed with."""

    task: str
    """Id of the task."""
    description: str
    """The task as an agent reads it."""
    model: str
    """The `provider:name` that the user asked for; empty if they did not."""
    make_model: Callable[[str], ChatModel]
    """Makes the chat model of a `provider:name`, with the keys and the server that the user has set."""


AgentClass = Callable[[AgentSetup], object]


def list_agents() -> list[AgentConfig]:
    """The agents that ship with the package; `default` first. Raises AgentError."""
    from workbench.agents.config import read_agent

    found = [read_agent(file) for file in FOLDER.glob("*.yaml")]
    return sorted(found, key=lambda agent: (agent.name != "default", agent.name))


def find_agent(reference: str) -> AgentConfig | AgentClass:
    """The agent for a name, the path of a YAML file, or `module:Class` (or `file.py:Class`). Raises AgentError."""
    from workbench.agents.config import AgentError, read_agent

    if is_shipped(reference):
        return read_agent(FOLDER / f"{reference}.yaml")
    path = Path(reference).expanduser()
    if path.suffix in (".yaml", ".yml") or (("/" in reference or path.is_file()) and ":" not in reference):
        return read_agent(path)
    if ":" in reference:
        return _agent_class(reference)
    hint = did_you_mean(reference, _shipped())
    raise AgentError(f"there is no agent {reference!r}; {hint} (others: the path of a YAML file, or module:Class)")


def is_shipped(reference: str) -> bool:
    """Whether this is the name of an agent of the package."""
    return reference in _shipped()


def _shipped() -> list[str]:
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def whole_reference(reference: str) -> str:
    """The reference with an absolute path: the session may be resumed from another folder."""
    path, colon, name = reference.rpartition(":") if ".py:" in reference else (reference, "", "")
    plain = is_shipped(reference) or not Path(path).expanduser().is_file()
    return reference if plain else f"{Path(path).expanduser().absolute()}{colon}{name}"


def make_agent(reference: str, setup: AgentSetup) -> Agent:
    """The agent for a reference, ready to propose. Raises AgentError, and what `setup.make_model` raises."""
    from workbench.agents.config import AgentConfig, AgentError
    from workbench.agents.language_agent import LanguageAgent

    found = find_agent(reference)
    if isinstance(found, AgentConfig):
        model = setup.model or found.model
        if not model:
            raise AgentError(f"the agent {found.name} names no model; name one with --model provider:name")
        return LanguageAgent(found, setup.make_model(model))
    try:
        agent: Any = found(setup)
    except Exception as error:
        raise AgentError(f"the agent {reference} cannot be made: {with_place(error)}") from error
    missing = [name for name in ("name", "model", "author", "trusted", "propose") if not hasattr(agent, name)]
    if missing:
        raise AgentError(f"the agent {reference} has no {', '.join(missing)}; see docs/agents.md for what it needs")
    if not inspect.iscoroutinefunction(agent.propose):
        raise AgentError(f"`propose` of the agent {reference} must be an `async def`")
    if not isinstance(agent, Agent):  # what its class lacks has the defaults of `Agent`
        kind = type(agent)
        own = {"asks_model": getattr(agent, "asks_model", hasattr(agent, "use") and hasattr(agent, "sampling"))}
        try:
            agent.__class__ = type(kind.__name__, (kind, Agent), own)
        except TypeError as error:
            raise AgentError(f"the agent {reference} must derive from workbench.agents.agent.Agent: {error}") from error
    made: Agent = agent
    return made


def _agent_class(reference: str) -> AgentClass:
    from workbench.agents.config import AgentError

    module_name, _, class_name = reference.rpartition(":")
    try:
        module = _module(module_name)
    except Exception as error:
        raise AgentError(f"{module_name} cannot be imported: {with_place(error)}") from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        classes = [name for name, value in vars(module).items() if inspect.isclass(value) and hasattr(value, "propose")]
        hint = f"it has {', '.join(classes)}" if classes else "it has none that can propose"
        raise AgentError(f"{module_name} has no class {class_name!r}; {hint}")
    made: AgentClass = found
    return made


def _module(name: str) -> ModuleType:
    """A module by its name (the current folder counts) or by the path of its file."""
    if not name.endswith(".py"):
        sys.path.insert(0, "")
        try:
            return importlib.import_module(name)
        finally:
            sys.path.remove("")
    path = Path(name).expanduser().resolve()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
