"""The agent that `--model` and `--agent` ask for."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from workbench.agents.agent import Agent
from workbench.agents.models.replay import ReplayAgent
from workbench.errors import WorkbenchError
from workbench.session.events import SessionStarted
from workbench.session.state import SessionState
from workbench.tasks.catalogue import Task

MODELS = ("scripted:demo", "human", "replay:PATH", "openai:NAME", "anthropic:NAME", "gemini:NAME")
"""What `--model` takes."""


class StartError(WorkbenchError):
    """A session cannot be started as asked. `str()` says why, `hint` what to do."""


def begun(name: str, state: SessionState, step: int) -> SessionStarted:
    """The first event of a session that somebody means to go on with, after a step. Raises StartError."""
    if state.started is None:
        raise StartError(f"{name} has no beginning: its first event is missing", "it can only be replayed")
    if state.started.sandbox == "none":
        raise StartError(
            f"{name} has the calls of an agent that ran elsewhere, and neither files nor anything that could go on",
            f"answer them again: `mlgym-tui gateway --upstream replay:{name}@{step},openai:NAME`",
        )
    return state.started


def make_agent(model: str, task: Task, reference: str = "", base_url: str = "") -> Agent | None:
    """The agent for `--model` and `--agent`; None for `human`. Raises StartError for one that cannot be had."""
    provider, _, name = model.partition(":")
    if not reference and model == "human":
        return None
    if provider == "policy":
        raise StartError(
            f"{model} acted from outside, through Gymnasium: nothing can go on in its place",
            "`mlgym-tui replay` shows such a session",
        )
    if not reference and model in ("", "scripted:demo"):
        return _scripted_demo(task)
    if not reference and provider == "replay" and name:
        from workbench.formats.actions import read_plan

        path = Path(name).expanduser()
        # By its whole path: the session may be resumed from another folder.
        return ReplayAgent(read_plan(path), str(path.absolute()))
    if provider in ("human", "scripted", "replay"):
        raise StartError(
            f"{model!r} goes with no agent" if reference else f"unknown model {model!r}",
            f"known are: {', '.join(MODELS)}",
        )
    return _language_agent(model, task, reference or "default", base_url)


def _scripted_demo(task: Task) -> Agent:
    from workbench.agents.models.scripted import ScriptedDemo

    solution = task.demo()
    if solution is None:
        raise StartError(f"task {task.id} has no demo", "choose another model: human or replay:PATH")
    if task.artifact.kind == "code":
        return ScriptedDemo(task.artifact.path, solution)
    program = PurePosixPath(task.spec.demo or "").name
    return ScriptedDemo(program, solution, command=f"python3 {program}")


def _language_agent(model: str, task: Task, reference: str, base_url: str) -> Agent:
    from workbench.agents.agent import ModelError
    from workbench.agents.catalogue import AgentSetup
    from workbench.agents.catalogue import make_agent as make_configured
    from workbench.agents.config import AgentError
    from workbench.agents.models.catalogue import make_model

    setup = AgentSetup(task.id, task.description(), model, lambda name: make_model(name, base_url=base_url or None))
    try:
        return make_configured(reference, setup)
    except ModelError as error:
        raise StartError(str(error), f"models are: {', '.join(MODELS)}" if error.cause == "error" else "") from error
    except AgentError as error:
        raise StartError(str(error), "`mlgym-tui agents` lists those that ship") from error
