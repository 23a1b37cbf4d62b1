"""Memory and literature for a session: those that its agent's configuration switches on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.agents.agent import Agent, Equipped
from workbench.sandbox.commands import LITERATURE_COMMANDS, MEMORY_COMMANDS, OPTIONAL_COMMANDS

if TYPE_CHECKING:
    from workbench.environment.services.desk import Service
    from workbench.session.redact import Redactor


def switched_on(agent: Agent | None) -> list[str]:
    """Those of the optional agent commands that an agent wants; none for a person or a recording."""
    wanted = agent.commands if isinstance(agent, Equipped) else ()
    return [name for name in OPTIONAL_COMMANDS if name in wanted]


def make_services(tools: Sequence[str], task: str, redactor: Redactor) -> dict[str, Service]:
    """What serves these commands, by their names. `task` is its id. Raises ModelError for a key that cannot be one."""
    services: dict[str, Service] = {}
    if set(tools) & set(MEMORY_COMMANDS):
        from workbench.environment.services.memory import Memory
        from workbench.environment.services.notes import NoteFile

        services |= Memory(NoteFile(task), redact=redactor.text).services()
    if set(tools) & set(LITERATURE_COMMANDS):
        from workbench.environment.services.literature import Literature

        services |= Literature().services()
    return {name: service for name, service in services.items() if name in tools}
