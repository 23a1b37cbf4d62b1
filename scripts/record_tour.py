"""Records the session that `mlgym-tui tour` shows: an agent with a list of actions, and a person who corrects one.

python scripts/record_tour.py    (needs bubblewrap; look at the tour before the new recording is committed)
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from pathlib import Path

import msgspec

os.environ["LOGNAME"] = "ann"

from workbench.formats.open import open_recording
from workbench.formats.storing import pack
from workbench.runner.start import start
from workbench.session import commands as do
from workbench.session import events as ev
from workbench.session.spec import SessionSpec

RECORDING = Path(__file__).parent.parent / "workbench" / "tui" / "tour.zip"
FIRST = """edit 1:16 strategy.py
import random


def row_strategy(history):
    \"\"\"Play what the other one played most often.\"\"\"
    if not history:
        return 0
    theirs = Counter(move for _, move in history)
    return theirs.most_common(1)[0][0]
end_of_edit"""
TRIAL = (
    "python3 -B -c 'from strategy import row_strategy; print(row_strategy([]), row_strategy([(0, 0), (0, 1), (1, 1)]))'"
)
WRONG = "pip install counter"
RIGHT = """edit 1:1 strategy.py
from collections import Counter
end_of_edit"""
BETTER = """edit 4:9 strategy.py
def row_strategy(history):
    \"\"\"Insist on 0, which pays me more: the other one learns to follow.\"\"\"
    return 0
end_of_edit"""
ACTIONS = [
    ("First I look at the strategy that is there.", "open strategy.py"),
    ("It plays at random most of the time. To meet the other player, I play what they played most often.", FIRST),
    ("Before it is scored, I try it on a short history.", TRIAL),
    ("Counter is not known here. I install it.", WRONG),
    ("Once more on the same history.", TRIAL),
    ("It works. Now I see how it scores.", "validate"),
    ("Whoever follows gets the smaller payoff. If the other player follows me, I had better insist on 0.", BETTER),
    ("I compare this with the score before.", "validate"),
    ("Better, and nothing beats a player who is followed. I hand it in.", "submit"),
]


async def recorded(actions: Path, root: Path) -> Path:
    """A session in which each proposal is run, the wrong one as a person would have it. Returns its folder."""
    spec = SessionSpec(task="battleOfSexes", model=f"replay:{actions}", seed=7, mode="step", interactive=True)
    runner = start(spec, root)
    session = asyncio.create_task(runner.run())
    while not session.done():
        if runner.status.phase == "review":
            if runner.state.current.action == WRONG:
                await runner.controls.do(do.Edit(RIGHT, "Counter is in collections: it has to be imported."))
            await runner.controls.do(do.RunProposal())
        await asyncio.sleep(0.3)
    print(session.result())
    return runner.live.folder


def without_machine(event: ev.Event) -> ev.Event:
    """An event without the versions of the machine's kernel and programs."""
    if isinstance(event, ev.SessionStarted):
        return msgspec.structs.replace(event, versions={})
    if isinstance(event, ev.SandboxReady):
        return msgspec.structs.replace(event, sandbox={**event.sandbox, "kernel": "", "user": 1000})
    return event


def main() -> None:
    with tempfile.TemporaryDirectory() as root:
        actions = Path(root, "actions.json")
        actions.write_text(json.dumps([{"thought": thought, "action": action} for thought, action in ACTIONS]))
        recording = open_recording(asyncio.run(recorded(actions, Path(root, "sessions"))))
        recording.events = [without_machine(event) for event in recording.events]
        print("left out:", pack(recording, RECORDING) or "nothing")


if __name__ == "__main__":
    main()
