"""A session that begins as another was after one of its steps: which events that are, and what lies in its folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from workbench.session import events as ev
from workbench.session.cast import CAST_FILE, LONGEST_LINE
from workbench.session.events import Event, encode
from workbench.session.files import make_folder, open_file
from workbench.session.log import EVENTS_FILE
from workbench.session.marks import marked
from workbench.session.objects import STORES, ObjectStore, digests_in, pool_of


def events_until(events: Sequence[Event], step: int) -> list[Event]:
    """The events of a session up to the end of a step, and those that tell of it or of earlier ones a little later (the
    snapshot of a person's command). What ended the session is not among them.
    """
    end = place = 0
    over = step == 0
    for place, event in enumerate(events):
        if isinstance(event, ev.ActionProposed) and event.step > step:
            break
        if over and isinstance(event, ev.SessionEnded | ev.SessionResumed):
            break
        if _tells_of(event, step):
            end = place + 1
        over = over or (isinstance(event, ev.ActionFinished | ev.ActionRejected) and event.step == step)
    else:
        place = len(events)
    kept = list(events[:end])
    for event in events[max(place, end) :]:
        if isinstance(event, ev.SessionEnded | ev.SessionResumed):
            break
        if isinstance(event, ev.WorkspaceSnapshot | ev.ScoreRecorded) and event.step <= step:
            kept.append(msgspec.structs.replace(event, elapsed=kept[-1].elapsed, time=kept[-1].time))
    return kept


def _tells_of(event: Event, step: int) -> bool:
    if isinstance(event, ev.ScoreRecorded) and event.kind == "autosubmit":
        return False
    if isinstance(event, ev.SessionStarted | ev.SandboxReady):
        return step == 0
    if isinstance(event, ev.PromptSent | ev.BreakpointHit | ev.SessionEnded):
        return False
    return getattr(event, "step", None) == step


def write_branch(folder: Path, events: Iterable[Event], parent: Path | None, *, own: bool) -> list[str]:
    """Make a session folder that holds `events` as this user's own, and of `parent` what they name; objects of an `own`
    session are the same files. Returns the hashes of what the parent has not. Raises OSError, with nothing left behind.
    """
    make_folder(folder)
    named: list[ev.Naming] = []
    mentioned: set[str] = set()
    last = 0.0
    with os.fdopen(open_file(folder / EVENTS_FILE, os.O_WRONLY | os.O_CREAT), "wb") as log:
        for seq, event in enumerate(events):
            event = msgspec.structs.replace(event, seq=seq)
            if isinstance(event, ev.Naming):
                event = marked(event, named)
                named.append(event)
            line = encode(event)
            mentioned |= digests_in(line)
            last = max(last, event.elapsed)
            log.write(line + b"\n")
        log.flush()
        os.fsync(log.fileno())
    if parent is None:
        return []
    lost: list[str] = []
    for name in STORES:
        store, theirs = ObjectStore(folder / name, pool=pool_of(folder)), ObjectStore(parent / name)
        lost += store.take_from(theirs, sorted(mentioned), link=own)
    with contextlib.suppress(OSError):  # how the shell looked is worth having, and no more
        _copy_cast(parent, folder, last)
    return lost


def _copy_cast(parent: Path, folder: Path, until: float) -> None:
    """What the shell had printed by then."""
    with (
        os.fdopen(open_file(parent / CAST_FILE), "rb") as source,
        os.fdopen(open_file(folder / CAST_FILE, os.O_WRONLY | os.O_CREAT), "wb") as target,
    ):
        target.write(source.readline(LONGEST_LINE))
        while line := source.readline(LONGEST_LINE):
            try:
                when = float(msgspec.json.decode(line)[0])
            except (ValueError, TypeError, LookupError, RecursionError, OverflowError):
                continue
            if when > until:
                return
            target.write(line)
