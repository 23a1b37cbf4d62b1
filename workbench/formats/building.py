"""A builder of events, for the reader of every foreign format."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from workbench.formats.mlgym_text import SeenWindow, lint_rejected, shown_windows
from workbench.formats.reading import moment, number
from workbench.session import events as ev
from workbench.session.events import Event, Metric, Verdict
from workbench.session.objects import content_hash
from workbench.session.prompts import runs_of_same
from workbench.session.recording import Recording
from workbench.session.state import SessionState, fold

_MOST_TOKENS = 1 << 53
_LONGEST_NOTE = 4000

ScoreKind = Literal["validate", "submit", "autosubmit"]


class TrajectoryBuilder:
    """Events, and what is wrong or assumed. A reader for a format gives it what it finds, in the order of execution."""

    def __init__(self, path: Path, source: str) -> None:
        self.path = path
        self.source = source
        self.events: list[Event] = []
        self.problems: list[str] = []
        self.metric: Metric | None = None
        """The one that counts, as soon as it is known."""
        self.model = "unknown"
        self.number = 0
        """Of the newest step."""
        self.elapsed = 0.0
        self._time = ""
        self._began: float | None = None
        self._notes: list[str] = []
        self.objects: dict[str, bytes] = {}
        """The messages that the model was sent."""
        self._said: list[str] = []
        """Hashes of those that it is sent with the next call, and roles of all."""
        self._sent: list[str] = []
        self._roles: dict[str, str] = {}
        self.state: SessionState | None = None
        """The fold of a run that has ended."""
        self.windows = True
        """Whether file windows are looked for: the dearest part of reading, which only a replay needs."""
        self.tampered = ""
        """A file of the task that the run has changed, and nobody should."""
        self._window: SeenWindow | None = None
        self._open_file = ""

    def emit(self, event: Event) -> None:
        """The next event."""
        self.events.append(msgspec.structs.replace(event, seq=len(self.events), elapsed=self.elapsed, time=self._time))

    def at(self, stamp: object) -> None:
        """What follows happened then; what is no time leaves it unknown."""
        when = moment(stamp)
        self._time = ""
        if when is not None:
            self._time = datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            self._began = when if self._began is None else self._began
            self.elapsed = max(self.elapsed, when - self._began)

    def start(self, task: str, *, session: str = "", model: str = "", cwd: str = "", **more: Any) -> None:
        """The run begins. `more`: fields of `session.started`."""
        self.model = model or "unknown"
        self.emit(
            ev.SessionStarted(
                format=ev.FORMAT, session=session or self.path.stem, task=task, model=self.model,
                metric=self.metric, source=self.source, **more,
            )
        )  # fmt: skip
        self.emit(ev.SandboxReady(cwd=cwd))

    def act(
        self, action: str, observation: str = "", *, author: str = "", thought: str = "", proposed: str | None = None,
        edited_by: str = "", rejected_by: str | None = None, comment: str = "", refused: bool = False,
        duration: float = 0.0, finished: object = None, **outcome: Any,
    ) -> int:  # fmt: skip
        """A step: an action that was proposed, and ran, was rejected, or was refused by what should have run it.

        `author`: the model where it is empty. `rejected_by`: empty where nobody did, and it never got its turn.
        `finished`: when, where the file says so. `outcome`: more fields of `action.finished`. Returns its number.
        """
        self.number += 1
        step, author = self.number, author or f"model:{self.model}"
        notes, self._notes = self._notes, []
        for note in notes:
            self.emit(ev.NoteAdded(step=step, text=note))
        before = action if proposed is None else proposed
        self.emit(ev.ActionProposed(step=step, author=author, action=before, thought=thought))
        if edited_by:
            self.emit(ev.ActionEdited(step=step, author=edited_by, before=before, after=action))
        if rejected_by is not None:
            self.emit(ev.ActionRejected(step=step, author=rejected_by, comment=comment))
            return step
        if not refused:
            self.emit(ev.ActionStarted(step=step, author=edited_by or author, action=action))
        self.elapsed += duration
        if moment(finished) is not None:
            self.at(finished)
        outcome.setdefault("exit_code", None)
        self.emit(ev.ActionFinished(step=step, observation=observation, duration=duration, refused=refused, **outcome))
        return step

    def said(self, role: str, content: str | msgspec.Raw) -> str:
        """A message that the model is sent from the next call on; its hash."""
        if not self.windows:
            return ""
        raw = bytes(content) if isinstance(content, msgspec.Raw) else msgspec.json.encode(content)
        data = b'{"role":%s,"content":%s}' % (msgspec.json.encode(role), raw)
        digest = content_hash(data)
        self.objects[digest], self._roles[digest] = data, role
        self._said.append(digest)
        return digest

    def ask(self, messages: list[str] | None = None) -> None:
        """The model is asked for the next step, with all that was said, or with these messages."""
        now, before = self._said if messages is None else messages, self._sent
        if not now:
            return
        if now[: len(before)] == before:
            same, new = [(0, 0, len(before))] if before else [], now[len(before) :]
        else:
            same, places = runs_of_same(before, now)
            new = [now[place] for place in places]
        notes = [ev.MessageNote(role=self._roles.get(digest, "")) for digest in new]
        step = self.number + 1
        self.emit(ev.PromptSent(messages=new, model=self.model, step=step, notes=notes, same=same, count=len(now)))
        self._sent = list(now)

    def note(self, said: str) -> None:
        """A message without an action: a note on the next step."""
        if said.strip():
            self._notes.append(said[:_LONGEST_NOTE])

    def told(self, said: str, author: str = "human:user") -> None:
        """A person says something to the agent."""
        if said.strip():
            self.emit(ev.MessageInjected(author=author, text=said))

    def failed(self, cause: str, message: str, reply: str = "") -> None:
        """An answer of the model that gave nothing to run."""
        if reply:
            self.answer(self.model, reply)
        self.emit(ev.ModelFailed(cause=cause, message=message[:_LONGEST_NOTE]))
        self.note(f"{cause}: {message}\n{reply}" if reply else f"{cause}: {message}")

    def score(
        self, step: int, kind: ScoreKind, verdict: Verdict,
        metrics: dict[str, float], message: str = "", artifact: str = "",
    ) -> None:  # fmt: skip
        """An entry of the ledger."""
        self.emit(
            ev.ScoreRecorded(
                step=step,
                kind=kind,
                verdict=verdict,
                metrics=metrics,
                score=metrics.get(self.metric.name) if self.metric and verdict == "ok" else None,
                artifact_name=artifact.rpartition("/")[2],
                message=message,
                visible_to_agent=kind == "validate",
                isolation="",
                tampered=self.tampered,
            )
        )

    def answer(self, model: str, said: str, sent: object = 0, received: object = 0, cost: object = None) -> None:
        """An answer of the model, with its tokens and dollars as far as known; without text, those of a whole run."""
        used = ev.Usage(input_tokens=_tokens(sent), output_tokens=_tokens(received), cost=number(cost))
        self.emit(ev.ModelResponded(text=said, model=model, usage=used if used != ev.Usage() else None))

    def window(self, step: int, observation: str, open_file: str | None) -> None:
        """The file window after a step: from the lines it showed, else from the name of the open file (None: unknown;
        empty: no file is open).
        """
        if not self.windows:
            return
        windows = shown_windows(observation)
        seen = windows[-1] if windows else None
        if seen is not None and open_file is not None:
            seen = next((each for each in reversed(windows) if each.path in (open_file, Path(open_file).name)), None)
        if seen is not None:
            seen = msgspec.structs.replace(seen, path=open_file or seen.path)
            self._open_file = seen.path
            # A rejected edit shows the lines around it again; the window itself stays as wide as it was.
            if seen != self._window and not (lint_rejected(observation) and _shows(self._window, seen)):
                self._window = seen
                self.emit(ev.WindowChanged(step=step, **msgspec.structs.asdict(seen)))
        elif open_file is not None and open_file != self._open_file:
            self._open_file, self._window = open_file, None
            self.emit(ev.WindowChanged(step=step, path=open_file))

    def end(self, exit_status: str, reason: str = "", session: str = "") -> None:
        """The run is over, as far as the file says so: without a status it is not known how."""
        for note in self._notes:
            self.emit(ev.NoteAdded(text=note))
        self._notes = []
        if not exit_status:
            self.problems.append("the file does not say how the run ended")
            return
        self.state = fold(self.events)
        self.emit(
            ev.SessionEnded(
                exit_status=exit_status, reason=reason, session=session or str(self.path.absolute()),
                steps=self.number, scores=self.state.final_scores(),
            )
        )  # fmt: skip
        self.state.apply(self.events[-1])

    def recording(self) -> Recording:
        """What was built."""
        if not self.number:
            self.problems.append("there are no steps")
        return Recording(self.events, self.source, self.path, None, self.problems, objects=self.objects)


def _tokens(value: object) -> int:
    return int(min(max(number(value) or 0, 0), _MOST_TOKENS))


def _shows(window: SeenWindow | None, part: SeenWindow) -> bool:
    """Whether `window` shows the lines of `part` as they are."""
    if window is None or (window.path, window.total_lines) != (part.path, part.total_lines):
        return False
    if part.first_line < window.first_line or part.last_line > window.last_line:
        return False
    start = part.first_line - window.first_line
    lines = window.text.split("\n")[start : start + part.last_line - part.first_line + 1]
    return "\n".join(lines) == part.text
