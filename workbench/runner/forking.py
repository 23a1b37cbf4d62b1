"""A fork: a new session that begins as another was after one of its steps, with its files, for anybody to go on with.

Nothing runs here. The fork goes on as any saved session does.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from workbench.agents.agent import ModelError
from workbench.agents.catalogue import find_agent, whole_reference
from workbench.agents.models.keys import VARIABLES
from workbench.environment.assembly import versions
from workbench.errors import WorkbenchError
from workbench.runner.agents import MODELS, StartError, begun
from workbench.runner.starting import folder_for
from workbench.runner.trust import Consent, named_by, trust
from workbench.session import events as ev
from workbench.session.branch import events_until, write_branch
from workbench.session.clock import utc_now
from workbench.session.events import Event
from workbench.session.log import read_log
from workbench.session.marks import user_name
from workbench.session.objects import ObjectStore
from workbench.session.shell_state import decode_state
from workbench.session.state import SessionState, fold


class Heir(msgspec.Struct, frozen=True):
    """Who goes on with a fork; what is left open is as it was in the parent."""

    model: str = ""
    """`provider:name`, `human`, or whatever else `--model` takes."""
    agent: str = ""
    edited: str | None = None
    """What is to run in the place of the parent's next action."""


class Fork(msgspec.Struct, frozen=True):
    """A fork that was made."""

    session: Path
    parent: Path
    step: int
    left: ev.Limits
    """What may still be spent."""
    lost: list[str]
    """Files of the workspace that are not there."""
    shell_gone: list[str]
    """What the shell held and no other can be given."""


def make_fork(
    parent: Path,
    step: int,
    root: Path,
    heir: Heir = Heir(),  # noqa: B008 (frozen)
    *,
    consent: Consent | None = None,
    events: Sequence[Event] | None = None,
    objects_of: Path | None = None,
    limits: ev.Limits | None = None,
    origin: ev.Parent | None = None,
) -> Fork:
    """A session under `root` that goes on from step `step` of the one in the folder `parent`.

    `events`: the parent's, where it is no folder of ours, and `objects_of` the session that has what they name.
    `limits`: in place of the parent's; `origin`: what is named as the parent. Raises StartError,
    NotTrusted or OSError; then nothing is left behind.
    """
    is_ours = events is None
    events = read_log(parent)[0] if events is None else events
    whole = fold(events)
    begun(parent.name, whole, step)
    if not 0 <= step <= whole.last_step:
        raise StartError(
            f"{parent.name} has no step {step}", f"its steps are 0 (before the first) to {whole.last_step}", 2
        )
    if step and not whole.steps[step].over:
        raise StartError(f"step {step} of {parent.name} is not over", f"fork from step {step - 1}", 2)
    heir = _checked(heir)
    kept = events_until(events, step)
    before = fold(kept)
    first = before.started
    assert first is not None
    folder = folder_for(root, first.task)
    name = parent.name if parent.parent == root else str(parent.absolute())
    first = msgspec.structs.replace(
        first,
        format=ev.FORMAT,
        session=folder.name,
        user=user_name(),
        versions=versions(),
        parent=origin or ev.Parent(session=name, step=step),
        limits=limits or first.limits,
        source="",
    )
    first, more = _handed_over(first, before, whole, heir, step)
    own = True
    if is_ours:
        after = fold([first, *kept[1:], *more])
        named = named_by(after, model=heir.model or heir.agent, agent=heir.agent)
        own = trust(parent, before, named, consent or Consent()).own
    if limits is not None:
        kept = [event for event in kept if not isinstance(event, ev.LimitsChanged)]
    working = folder.with_name(f".{folder.name}")
    try:
        missing = set(write_branch(working, [first, *kept[1:], *more], parent if is_ours else objects_of, own=own))
        working.rename(folder)
    except BaseException:
        shutil.rmtree(working, ignore_errors=True)
        raise
    store = ObjectStore(folder / "objects")
    lost = [
        file.path
        for file in before.files_at(step)
        if file.target is None and (file.object is None or file.object in missing or file.object not in store)
    ]
    return Fork(folder, parent, step, _left(before, limits or before.limits), lost, _shell_gone(store, before))


def _shell_gone(store: ObjectStore, state: SessionState) -> list[str]:
    digest = state.shell
    try:
        return decode_state(store.get(digest)).other if digest else []
    except (OSError, ValueError):
        return ["what the shell held"]


def _checked(heir: Heir) -> Heir:
    """The same by its whole path: the fork may be resumed from another folder. Raises StartError."""
    provider, _, name = heir.model.partition(":")
    if (
        heir.model
        and heir.model not in ("human", "scripted:demo")
        and not (provider in ("replay", *VARIABLES) and name)
    ):
        raise StartError(f"unknown model {heir.model!r}", f"known are: {', '.join(MODELS)}", 2)
    if heir.agent:
        if heir.model and provider not in VARIABLES:
            raise StartError(f"{heir.model!r} goes with no agent", "leave --agent out, or name a provider's model", 2)
        try:
            find_agent(heir.agent)
        except (WorkbenchError, ModelError) as error:
            raise StartError(str(error), "`mlgym-tui agents` lists those that ship", 2) from error
    if provider == "replay":
        return replace(heir, model=f"replay:{Path(name).expanduser().absolute()}")
    return heir


def _handed_over(
    first: ev.SessionStarted, before: SessionState, whole: SessionState, heir: Heir, step: int
) -> tuple[ev.SessionStarted, list[Event]]:
    """The first event, and those at the end that say who goes on."""
    who, more = f"human:{user_name()}", list[Event]()
    model, other = heir.model, ""
    if heir.agent:
        if whole_reference(heir.agent) != (first.agent_reference or "default"):
            other = Path(heir.agent).stem
        provider = before.model.partition(":")[0]
        model = model or (before.model if provider in VARIABLES else "")
        first = msgspec.structs.replace(
            first, agent=heir.agent, agent_reference=whole_reference(heir.agent), model=model or first.model
        )
        if not model:
            first = msgspec.structs.replace(first, model="", base_url="")
    elif model:
        keeps = first.agent_reference if model.partition(":")[0] in VARIABLES else ""
        first = msgspec.structs.replace(first, agent=model if not keeps else first.agent, agent_reference=keeps)
    if model and (model != before.model or other):
        same = model.partition(":")[0] == before.model.partition(":")[0]
        base_url = before.base_url if same else ""
        change = before.agent_change
        if change is None:
            first = msgspec.structs.replace(first, model=model, base_url=base_url)
        if other:
            more.append(ev.AgentChanged(model=model, base_url=base_url, agent=other, author=who))
        elif change is not None:
            kept = change.temperature
            more.append(
                ev.AgentChanged(model=model, base_url=base_url, temperature=kept, agent=change.agent, author=who)
            )
    mode = "human" if model == "human" else "auto" if before.mode in ("human", "paused") else before.mode
    more.append(ev.ControlChanged(mode=mode, author=who, reason="fork"))
    if heir.edited is not None:
        following = whole.steps[step + 1]
        action = following.proposed or following.action
        thought = following.proposed_thought or following.thought
        more.append(ev.ActionProposed(step=step + 1, author=following.author, action=action, thought=thought))
        more.append(ev.ActionEdited(step=step + 1, author=who, before=action, after=heir.edited))
    origin = first.parent.session if first.parent else ""
    more.append(
        ev.SessionEnded(
            exit_status="forked",
            reason=f"a fork of {origin} at step {step}; nobody went on with it yet",
            steps=before.last_step,
            scores=before.final_scores(),
        )
    )
    return first, [msgspec.structs.replace(event, elapsed=before.elapsed, time=utc_now()) for event in more]


def _left(state: SessionState, limits: ev.Limits) -> ev.Limits:
    used = {"steps": state.agent_steps, "seconds": state.working, "cost": state.cost, "tokens": state.unpriced_tokens}
    given = {name: limit for name in used if (limit := getattr(limits, name)) is not None}
    return ev.Limits(**{name: max(type(limit)(0), round(limit - used[name], 6)) for name, limit in given.items()})
