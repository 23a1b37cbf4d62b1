"""A recording of absurd numbers and texts in the replay: every pane draws, and no escape reaches the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.support import screen_text
from tests.tui.test_replay import go, replay
from workbench.session import events as ev
from workbench.session.cast import CAST_FILE
from workbench.session.clock import Clock
from workbench.session.log import EventLog
from workbench.session.objects import ObjectStore
from workbench.session.recording import Recording

_ESCAPE = "\x1b]0;owned\x07\x9b2J\u202e[red]"
_EDGE = 1e308


@pytest.mark.parametrize("number", [-(2**60), 2**60])
async def test_absurd_numbers_and_texts_are_drawn(tmp_path: Path, number: int) -> None:
    stored = ObjectStore(tmp_path / "objects").put(f"{_ESCAPE}\nx\n".encode())
    path = "/home/agent/workspace/f"
    events: list[ev.Event] = [
        ev.SessionStarted(format=1, task=_ESCAPE, model=_ESCAPE, metric=ev.Metric(name=_ESCAPE, baseline=-_EDGE)),
        ev.SandboxReady(cwd=_ESCAPE, sandbox={_ESCAPE: [number, _EDGE]}),
        ev.PromptSent(messages=[stored], tools=stored, step=1, budget=number, notes=[ev.MessageNote(tokens=number)]),
        ev.ModelResponded(text="", usage=ev.Usage(input_tokens=number, output_tokens=number, cost=_EDGE)),
        ev.ActionProposed(step=1, author=_ESCAPE, action=_ESCAPE, thought=_ESCAPE, elapsed=_EDGE),
        ev.ActionStarted(step=1, author=_ESCAPE, action=_ESCAPE),
        ev.ActionFinished(step=1, exit_code=number, observation=_ESCAPE, duration=_EDGE, cast=(-_EDGE, _EDGE)),
        ev.WorkspaceSnapshot(step=1, tree="", changes=[ev.FileChange(path="f", kind="added", object=stored)]),
        ev.WindowChanged(step=1, path=path, first_line=number, last_line=number, total_lines=number),
        ev.ScoreRecorded(step=1, score=_EDGE, standard_error=-_EDGE, metrics={_ESCAPE: _EDGE}, message=_ESCAPE),
        ev.ScoreRecorded(step=1, score=-_EDGE, artifact_name=_ESCAPE),
        ev.WindowChanged(step=2, path=path, first_line=1, last_line=number, total_lines=number, text=_ESCAPE),
        ev.NoteAdded(text=_ESCAPE, author=_ESCAPE, step=number),
        ev.SessionEnded(exit_status=_ESCAPE, reason=_ESCAPE, steps=number),
    ]
    log = EventLog(tmp_path, Clock())
    recorded = [log.append(event) for event in events]
    log.close()
    lines = [f'{{"width": {number}, "height": {number}}}', f'[-1e308, "r", "{number}x{number}"]', '[1e308, "o", "end"]']
    (tmp_path / CAST_FILE).write_text("\n".join(lines))
    app = replay(Recording(recorded, "mlgym-tui", tmp_path / "events.jsonl", tmp_path))
    async with app.run_test(size=(120, 40)) as pilot:
        for keys in (("0",), ("$",), ("h",), ("l",), ("6",)):
            await go(pilot, app, *keys)
            assert not set(screen_text(app)) & set("\x1b\x07\x9b\u202e")
