"""A fork of a session whose agent is a program: the program begins anew, and is answered from the log up to a step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from workbench.runner.agents import StartError
from workbench.runner.trust import Consent, named_by, trust
from workbench.session.secrets import REPLACEMENT
from workbench.session.spec import SessionSpec
from workbench.session.state import SessionState


def fork_spec(
    folder: Path, state: SessionState, step: int, settings: Sequence[str] = (), consent: Consent | None = None
) -> SessionSpec:
    """What a session is started with that does again what the one in `folder` did up to `step`, and then goes on with
    its model. `settings` take the place of those in the log, which has no secrets.

    Raises StartError and NotTrusted.
    """
    started = state.started
    assert started is not None
    if not 0 <= step <= state.last_step:
        raise StartError(
            f"{folder.name} has no step {step}", f"its steps are 0 (before the first) to {state.last_step}", 2
        )
    trusted = trust(folder, state, named_by(state), consent or Consent())
    given = {text.partition("=")[0] for text in settings}
    kept = [text for text in started.agent_env if text.partition("=")[0] not in given]
    for text in kept:
        if text.endswith(f"={REPLACEMENT}"):
            name = text.partition("=")[0]
            raise StartError(f"the value of {name} is a secret, and in no log", f"give it again: --agent-env {name}=…")
    upstreams = [part for part in started.upstream.split(",") if part != "ask" and not part.startswith("replay:")]
    asked = SessionSpec(
        agent_command=started.agent_command,
        agent_env=(*kept, *settings),
        agent_mount=tuple(started.agent_mount),
        agent_on_host=started.agent_on_host,
        upstream=",".join([f"replay:{folder.absolute()}@{step}", *upstreams]),
        upstream_model=started.upstream_model,
        base_url=started.base_url,
        window=started.window,
        mode="auto",
    ).over(state)
    image = state.sandbox.get("image") if asked.sandbox == "docker" else None
    return msgspec.structs.replace(
        asked,
        task=trusted.task(started).id if not started.task_folder else started.task_folder,
        agent="",
        approve="",
        image=image if isinstance(image, str) else None,
    )
