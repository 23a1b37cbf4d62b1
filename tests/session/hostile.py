"""Session folders such as somebody could hand to a person who opens them."""

from __future__ import annotations

import os
from pathlib import Path

from workbench.session import events as ev
from workbench.session.cast import CAST_FILE, CastWriter
from workbench.session.clock import Clock
from workbench.session.log import EventLog
from workbench.session.objects import ObjectStore

CODE = b"def strategy():\n    return 1\n"


def make_session(folder: Path) -> str:
    """A small session, whole: a log, a recorded shell, one object and one submission. Gives the submission's hash."""
    folder.mkdir(parents=True)
    artifact = ObjectStore(folder / "artifacts").put(CODE)
    stored = ObjectStore(folder / "objects").put(CODE)
    log = EventLog(folder, Clock())
    log.append(ev.SessionStarted(format=1, task="blotto", model="scripted:demo", metric=ev.Metric(name="Score")))
    log.append(ev.SandboxReady(cwd="/home/agent/workspace", sandbox={"backend": "local"}))
    log.append(ev.ActionProposed(step=1, author="policy:demo", action="ls"))
    log.append(ev.ActionFinished(step=1, exit_code=0, observation="strategy.py", cast=(0.0, 1.0)))
    change = ev.FileChange(path="strategy.py", kind="added", object=stored, size=len(CODE))
    log.append(ev.WorkspaceSnapshot(step=1, tree="0" * 64, changes=[change]))
    log.append(ev.ScoreRecorded(step=1, score=0.5, metrics={"Score": 0.5}, artifact=artifact, artifact_name="a.py"))
    log.append(ev.SessionEnded(exit_status="submitted", steps=1, scores=ev.FinalScores(best=0.5, last=0.5)))
    log.close()
    cast = CastWriter(folder, lambda: 0.5, columns=80, rows=24, timestamp=0)
    cast.feed(b"strategy.py\r\n")
    cast.close()
    return artifact


def files_of(folder: Path, artifact: str) -> list[Path]:
    """What such a session consists of: files, and the folders that hold them."""
    stored = [folder / kind / artifact[:2] / artifact[2:] for kind in ("objects", "artifacts")]
    return [folder / "events.jsonl", folder / CAST_FILE, *stored, *(path.parent for path in stored), folder / "objects"]


def everything(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Kind and mode, size and content of all that lies below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[os.fspath(path.relative_to(folder))] = (status.st_mode, len(content), content)
    return found
