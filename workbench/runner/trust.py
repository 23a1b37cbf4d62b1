"""What of a saved session may be used here: the one rule for whatever goes on from one, or scores it again.

A session of this user (see `workbench.session.marks`) is used as it stands. Any other may be somebody else's work, or
changed by somebody: of what it names nothing is used unless the user says so, and its commands run in a sandbox only.
A task of the catalogue is no matter of trust: it is this machine's own, whichever session has it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Literal, get_args

import msgspec

from workbench.agents.catalogue import is_shipped
from workbench.agents.models.keys import SERVER_VARIABLE, VARIABLES
from workbench.errors import WorkbenchError
from workbench.session.events import Limits, SessionStarted
from workbench.session.marks import origin
from workbench.session.state import SessionState
from workbench.session.store import command_for
from workbench.tasks.catalogue import Task, find_known_task, find_task, tasks_called

Word = Literal["code", "task", "server"]
WORDS: tuple[Word, ...] = get_args(Word)


class NotTrusted(WorkbenchError):
    """A session names what may not be used. `str()` says what, `hint` what to do."""


class Named(msgspec.Struct, frozen=True):
    """One thing that a session names and that would be used on this machine."""

    word: Word
    """What allows it."""
    what: str


class Consent(msgspec.Struct, frozen=True):
    """What the user gives: words of `--trust`, and answers to a question."""

    words: Collection[str] = ()
    """Of WORDS."""
    ask: Callable[[str, Sequence[Named]], bool] | None = None
    """Whether a session (its name) may use these; None where nobody is there to be asked."""


class Trust(msgspec.Struct, frozen=True):
    """What may be used of a session."""

    own: bool
    words: frozenset[str] = frozenset()

    def task(self, started: SessionStarted) -> Task:
        """The session's task, under its protocol and on its variant of the data. Raises TaskError."""
        named = started.task_folder and (self.own or "task" in self.words)
        found = find_task(started.task_folder) if named else find_known_task(started.task)
        return found.under(started.protocol, started.dataset)


def trust(folder: Path, state: SessionState, named: Sequence[Named], consent: Consent) -> Trust:
    """What may be used of a session, of that which it names. Raises NotTrusted where the user does not allow all."""
    name, replay = folder.name, command_for(folder, "replay")
    made = origin(state.named)
    if made.own:
        return Trust(True)
    allowed = made.trusted | set(consent.words)
    missing = [item for item in named if item.word not in allowed]
    if missing and consent.ask is not None:
        if not consent.ask(name, missing):
            raise NotTrusted(f"nothing of {name} was used", f"`{replay}` shows it, and uses nothing")
    elif missing:
        listed = "; ".join(f"{item.what} ({item.word})" for item in missing)
        words = ",".join(word for word in WORDS if word in {item.word for item in named})
        raise NotTrusted(
            f"{name} is not marked as yours{f' ({made.why})' if made.why else ''}: somebody else may have made it, or "
            f"changed it. It names what would be used here: {listed}",
            f"if you trust that, say --trust {words}; `{replay}` shows the session, and uses nothing of it",
        )
    return Trust(False, frozenset(item.word for item in named) | made.trusted | frozenset(consent.words))


def named_task(started: SessionStarted) -> list[Named]:
    """The session's task, where it is named by its folder and this machine does not know it."""
    if not started.task_folder or tasks_called(started.task):
        return []
    return [Named("task", f"the task in {_shown(started.task_folder)}, whose evaluator runs on this machine")]


def named_by(
    state: SessionState, *, model: str = "", base_url: str = "", approve: str = "", agent: str = ""
) -> list[Named]:
    """All that going on with a session would use; the user's own choices take the place of what it names."""
    assert state.started is not None
    reference = state.started.agent_reference
    provider, _, path = state.model.partition(":")
    found = named_task(state.started)
    if reference and not agent and not is_shipped(reference):
        code = ", Python code that runs unprotected" if ":" in reference else ""
        found.append(Named("code", f"the agent {_shown(reference)}{code}"))
    if (command := state.started.agent_command) and not (model or agent):
        where = "on this machine, unprotected" if state.started.agent_on_host else "in the sandbox"
        found.append(Named("code", f"the agent program {_shown(command)}, {where}"))
        found += [Named("code", f"the folder {_shown(each)}") for each in state.started.agent_mount]
    if provider == "replay" and not model:
        found.append(Named("code", f"the actions in {_shown(path)}"))
    if not approve and state.approve not in ("", "always", "never"):
        found.append(Named("code", f"the rules of approval in {_shown(state.approve)}"))
    server = "" if base_url or (model and model.partition(":")[0] != provider) else state.base_url
    asked = provider in VARIABLES or (reference and not state.model)
    if server or (asked and not model and not base_url):
        who = _shown(model or state.model) or "that the agent names"
        where = f" of the server {_shown(server)}" if server else ""
        keys = SERVER_VARIABLE if server else " or ".join(VARIABLES.get(provider, ()))
        key = f", with your key in {keys}" if keys else ""
        found.append(Named("server", f"the model {who}{where}{key}, {_limits(state.limits)}"))
    return found


def _limits(limits: Limits) -> str:
    said = [
        f"{limits.steps} steps" if limits.steps is not None else "any number of steps",
        f"${limits.cost:g}" if limits.cost is not None else "any cost",
    ]
    return f"for {' and '.join(said)}"


def _shown(text: str) -> str:
    """What a log says, on one line and as it is."""
    return text if text.isprintable() else repr(text)
