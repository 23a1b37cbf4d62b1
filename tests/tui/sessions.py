"""Sessions made by hand: every kind of step, with fixed times, on disk as the workbench would have written them."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from workbench.session import events as ev
from workbench.session.cast import CAST_FILE
from workbench.session.events import Event
from workbench.session.log import EVENTS_FILE
from workbench.session.objects import ObjectStore
from workbench.session.recording import Recording

AGENT = "policy:scripted:demo"
PERSON = "human:ann"
WORKSPACE = "/home/agent/workspace"

STARTER = '''"""Battle of the Sexes: the row player's strategy."""


def row_strategy(history):
    """Return 0 or 1.

    history holds (row, column) of the rounds before.
    """
    return 0
'''

BETTER = '''"""Battle of the Sexes: the row player's strategy."""

from collections import Counter


def row_strategy(history):
    """Follow what the other player mostly does."""
    if not history:
        return 0
    moves = Counter(column for _, column in history[-20:])
    return moves.most_common(1)[0][0]
'''


class SessionBuilder:
    """Adds steps one after another; each takes a fixed time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events: list[Event] = []
        self.now = 0.0
        self.step = 0
        self.objects = ObjectStore(folder / "objects")
        self.cast: list[list[object]] = []
        self.add(
            ev.SessionStarted(
                format=ev.FORMAT,
                session=folder.name,
                task="battleOfSexes",
                task_name="Battle of the Sexes",
                description="Write a strategy for the row player.\n\nThe score is the mean payoff over 10 rounds.",
                agent="scripted:demo",
                model="scripted:demo",
                sandbox="local",
                limits=ev.Limits(steps=50, seconds=1800),
                metric=ev.Metric(name="Score", baseline=1.0227),
                workspace=WORKSPACE,
                user="ann",
            )
        )
        self.add(
            ev.SandboxReady(sandbox={"backend": "local", "isolation": "bubblewrap", "protected": True}, cwd=WORKSPACE)
        )
        self.snapshot("strategy.py", STARTER, "added")
        self.add(ev.ControlChanged(mode="auto"))

    def add(self, event: Event) -> Event:
        """Append an event, half a second after the one before."""
        self.now += 0.5
        stamp = f"2026-01-02T03:{int(self.now) // 60:02d}:{int(self.now) % 60:02d}.000000Z"
        event = msgspec.structs.replace(event, seq=len(self.events), time=stamp, elapsed=self.now)
        self.events.append(event)
        return event

    def snapshot(self, path: str, text: str | None, kind: str = "modified") -> None:
        """A file of the workspace changed in this step."""
        data = (text or "").encode()
        change = ev.FileChange(
            path=path,
            kind=kind,  # type: ignore[arg-type]
            object=self.objects.put(data) if text is not None else None,
            size=len(data),
        )
        self.add(ev.WorkspaceSnapshot(step=self.step, tree=f"tree{self.step}", changes=[change]))

    def propose(self, action: str, *, thought: str = "", author: str = AGENT) -> int:
        """A new step."""
        self.step += 1
        self.add(ev.ActionProposed(step=self.step, author=author, action=action, thought=thought))
        return self.step

    def finish(
        self, action: str, observation: str = "", *, exit_code: int | None = 0, author: str = AGENT, **more: object
    ) -> None:
        """Run the step that was proposed."""
        self.add(ev.ActionStarted(step=self.step, author=author, action=action))
        began = self.now
        self.cast.append([began + 0.1, "o", "$ " + action.replace("\n", "\r\n") + "\r\n"])
        self.cast.append([began + 0.2, "o", observation.replace("\n", "\r\n") + "\r\n"])
        self.add(
            ev.ActionFinished(
                step=self.step,
                exit_code=exit_code,
                observation=observation,
                cwd=WORKSPACE,
                duration=0.25,
                cast=(began, began + 0.3),
                **more,  # type: ignore[arg-type]
            )
        )

    def ran(
        self, action: str, observation: str = "", *, thought: str = "", author: str = AGENT, exit_code: int = 0
    ) -> int:
        """A step that was proposed and run."""
        number = self.propose(action, thought=thought, author=author)
        self.finish(action, observation, exit_code=exit_code, author=author)
        return number

    def window(self, first: int, last: int, total: int, path: str = f"{WORKSPACE}/strategy.py") -> None:
        """The agent's file window moved."""
        self.add(
            ev.WindowChanged(
                step=self.step, path=path, first_line=first, last_line=last, total_lines=total, current_line=first
            )
        )

    def score(self, value: float | None, kind: str = "validate", **more: object) -> None:
        """An entry of the ledger."""
        self.add(
            ev.ScoreRecorded(
                step=self.step,
                kind=kind,  # type: ignore[arg-type]
                verdict="ok" if value is not None else "crashed",
                metrics={} if value is None else {"Score": value},
                score=value,
                artifact="0" * 64,
                artifact_name="strategy.py",
                **more,  # type: ignore[arg-type]
            )
        )

    def end(self, exit_status: str = "submitted") -> None:
        self.add(ev.SessionEnded(exit_status=exit_status, session=str(self.folder), steps=self.step))

    def recording(self) -> Recording:
        """Everything as it is read back from disk."""
        self.folder.mkdir(parents=True, exist_ok=True)
        header = {"version": 2, "width": 120, "height": 40, "timestamp": 0}
        lines = [json.dumps(header), *(json.dumps(item) for item in self.cast)]
        (self.folder / CAST_FILE).write_text("\n".join(lines) + "\n")
        log = self.folder / EVENTS_FILE
        log.write_bytes(b"".join(ev.encode(event) + b"\n" for event in self.events))
        return Recording(self.events, "mlgym-tui", log, self.folder)


def numbered(text: str) -> str:
    """A file as the agent's commands print it."""
    lines = text.splitlines()
    shown = "\n".join(f"{number}:{line}" for number, line in enumerate(lines, 1))
    return f"[File: {WORKSPACE}/strategy.py ({len(lines)} lines total)]\n{shown}"


def battle(folder: Path) -> SessionBuilder:
    """A session with every kind of step, submitted at the end."""
    made = SessionBuilder(folder)
    made.ran("ls -la", "total 4\n-rw-r--r-- 1 agent agent 190 strategy.py", thought="Let me see what is here.")
    made.ran("open strategy.py", numbered(STARTER), thought="I read the starter before I change anything.")
    made.window(1, 9, 9)
    made.ran("validate", "Score: 1.023\nbaseline: 1.0227\nValidated; nothing is submitted yet.")
    made.score(1.023, standard_error=0.012)
    made.propose("rm -rf .", thought="I could start from nothing.")
    made.add(ev.ActionRejected(step=made.step, author=PERSON, comment="keep the starter, edit it"))
    made.add(ev.MessageInjected(author=PERSON, text="the other player repeats itself"))
    action = f"cat > strategy.py <<'EOF'\n{BETTER}EOF"
    made.ran(action, "", thought="The column player seems to repeat its moves: I answer what it did most often lately.")
    made.snapshot("strategy.py", BETTER)
    made.window(1, 12, 12)
    made.ran("python -c 'import strategy; print(strategy.row_strategy([(0, 1)]))'", "1")
    made.propose("echo 'unbalanced", thought="A word to myself.")
    made.finish("echo 'unbalanced", "bash: unexpected EOF while looking for matching `''", exit_code=2, refused=True)
    made.propose("sleep 600", thought="Wait for it.")
    made.add(ev.ActionEdited(step=made.step, author=PERSON, before="sleep 600", after="sleep 1\necho done"))
    made.finish("sleep 1\necho done", "done", author=PERSON)
    made.ran("validate", "Score: 1.441\nbest so far: 1.441\nValidated; nothing is submitted yet.")
    made.score(1.441, standard_error=0.010)
    made.ran("python -m pytest -q", "F\nE   assert 0 == 1\n1 failed in 0.02s", exit_code=1, author=PERSON)
    made.propose("python train.py --epochs 1000")
    made.finish("python train.py --epochs 1000", "epoch 1 loss 0.31", exit_code=124, timed_out=True, signal="TERM")
    made.ran("validate", "Score: 1.212\nbest so far: 1.441")
    made.score(1.212)
    made.ran("submit", "Score: 1.441\nSubmitted.", thought="The best strategy is in place.")
    made.score(1.441, "submit")
    made.end()
    return made
