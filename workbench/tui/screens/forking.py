"""A fork of the step that is shown: who goes on is asked, and the new session is opened in the place of this one."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.runner.forking import Heir, make_fork
from workbench.runner.start import start
from workbench.session.spec import spec_of
from workbench.session.store import command_for
from workbench.tui.actions import keyed
from workbench.tui.screens.view import SessionView
from workbench.tui.source import LiveSource
from workbench.tui.workers import work_on

_DELAY = 1.0
"""Seconds before a proposal runs by itself, once the person lets it go on."""


def ask_fork(screen: SessionView) -> None:
    """Ask who goes on, and open the fork. Where a session runs in this window, the fork waits for `resume`."""
    app: Any = screen.app
    state, folder, step = screen.state, screen.source.folder, screen.shown
    if folder is None:
        whole = f"`{command_for(Path(screen.source.reference), 'fork')} --step {step}` runs it again up to here"
        screen.say(f"this recording has no files to go on with: {whole}")
        return
    if state.started is not None and state.started.agent_command:
        again = f"{command_for(folder, 'fork')} --step {step} --run"
        screen.say(f"an agent program begins anew, and is answered from the log up to here: {again}", 60.0)
        return
    opened: list[LiveSource] = []
    here = not app.session_runs

    async def make(line: str) -> str:
        model = "" if line.strip() == state.model else line.strip()
        try:
            if here:
                opened[:] = [await asyncio.to_thread(_open, folder, step, app.sessions, model, state.model)]
            else:
                made = await asyncio.to_thread(make_fork, folder, step, app.sessions, Heir(model))
                screen.say(f"forked at step {step}; go on with: {command_for(made.session, 'resume')}", 60.0)
        except (WorkbenchError, OSError) as error:
            return f"{error}\n{getattr(error, 'hint', '')}".strip()
        return ""

    async def show() -> None:
        await app.open(opened[0])
        app.ground_say(f"forked at step {step}: " + keyed("{session.step} steps on, {session.continue} goes on"), 20.0)

    note = "A new session has the files of this step and what is left of the budget. This one stays as it is."
    if not here:
        note += " It runs on in this window; `resume` goes on with the new one."
    screen.ask(
        f"Fork at step {step}: who goes on?",
        "as before; or scripted:demo, human, openai:NAME, anthropic:NAME, …",
        lambda _line: work_on(app, show, group="open") if opened else None,
        value=state.model,
        note=note,
        check=make,
    )


def _open(folder: Path, step: int, root: Path, model: str, before: str) -> LiveSource:
    """The fork, ready to run; nothing runs before the person says so. Raises WorkbenchError, OSError."""
    mode = None if (model or before) == "human" else "step"
    made = make_fork(folder, step, root, Heir(model)).session
    try:
        return LiveSource(start(spec_of({"delay": _DELAY}, mode=mode, interactive=True), resume=made))
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
