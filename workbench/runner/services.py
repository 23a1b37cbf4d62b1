"""Memory and literature for a session: those that its agent's configuration switches on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.agents.agent import Agent, ModelError
from workbench.runner.agents import StartError
from workbench.sandbox.commands import LITERATURE_COMMANDS, MEMORY_COMMANDS, OPTIONAL_COMMANDS

if TYPE_CHECKING:
    from workbench.environment.services.desk import Service
    from workbench.environment.services.memory import Embed


LITERATURE_KEY = "SEMANTIC_SCHOLAR_API_KEY"
"""Where the key of Semantic Scholar is looked for; it answers without one, too, but is often busy then."""
_HINT = "docs/agents.md says what memory and literature need"


def switched_on(agent: Agent | None) -> list[str]:
    """Those of the optional agent commands that an agent wants; none for a person or a recording."""
    wanted = agent.commands if agent is not None else ()
    return [name for name in OPTIONAL_COMMANDS if name in wanted]


def make_services(tools: Sequence[str], task: str) -> dict[str, Service]:
    """What serves these commands, by their names. `task` is its id. Raises StartError."""
    services: dict[str, Service] = {}
    if set(tools) & set(MEMORY_COMMANDS):
        from workbench.environment.services.memory import Memory
        from workbench.environment.services.notes import NoteFile

        services |= Memory(NoteFile(task), _embedding()).services()
    if set(tools) & set(LITERATURE_COMMANDS):
        from workbench.agents.models.keys import find_server_key
        from workbench.environment.services.literature import Literature

        try:
            key = find_server_key(LITERATURE_KEY)
            services |= Literature(key=key.reveal() if key else "").services()
        except (ModelError, ValueError) as error:
            raise StartError(str(error), _HINT) from error
    return {name: service for name, service in services.items() if name in tools}


def _embedding() -> Embed | None:
    """What finds notes by their meaning, where the user has set it up. Raises StartError."""
    from workbench.agents.models.embeddings import embeddings_of_user
    from workbench.environment.services.cache import DiskCache
    from workbench.environment.services.memory import KeptVectors
    from workbench.session.secrets import cache_folder

    try:
        model = embeddings_of_user()
    except ModelError as error:
        raise StartError(str(error), _HINT) from error
    return None if model is None else KeptVectors(model.name, model, DiskCache(cache_folder() / "embeddings"))
