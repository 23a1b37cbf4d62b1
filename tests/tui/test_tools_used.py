"""What of memory and literature a step used stands above its observation, in a replay as live."""

from __future__ import annotations

from pathlib import Path

from tests.tui.sessions import SessionBuilder
from tests.tui.support import screen_text, wait_for
from workbench.session import events as ev
from workbench.tui.app import WorkbenchApp
from workbench.tui.source import RecordedSource


def used(step: int, tool: str, **fields: object) -> ev.ToolUsed:
    return ev.ToolUsed(step=step, tool=tool, **fields)  # type: ignore[arg-type]


async def test_uses_are_shown_with_their_step(tmp_path: Path) -> None:
    made = SessionBuilder(tmp_path / "session")
    made.ran("literature_search 'learning [b]rates' 2", "1. A paper\n")
    made.add(used(1, "literature_search", query="learning [b]rates\x1b[2J", results=2, source="arXiv", duration=3.2))
    made.ran("memory_read", "The memory of this task is empty.\n")
    made.add(used(2, "memory_read", query="*", ok=False, message="The memory of this task is empty."))
    app = WorkbenchApp(RecordedSource(made.recording()))
    async with app.run_test(size=(200, 48)) as pilot:
        await pilot.press("0", "l")
        await wait_for(pilot, lambda: "2 results of arXiv" in screen_text(app), "the search is shown")
        assert "≡ literature_search: 2 results of arXiv · 3.2s" in screen_text(app)
        assert "\x1b" not in screen_text(app)
        await pilot.press("l")
        await wait_for(pilot, lambda: "≡ memory_read: The memory of this task" in screen_text(app), "so is the reading")


async def test_what_was_noted_about_a_step_stands_beside_it(tmp_path: Path) -> None:
    made = SessionBuilder(tmp_path / "session")
    made.ran("ls", "a\n")
    made.ran("cat a", "1\n")
    made.add(ev.NoteAdded(step=2, text="the replay leaves the recording at step 2"))
    app = WorkbenchApp(RecordedSource(made.recording()))
    async with app.run_test(size=(200, 48)) as pilot:
        await pilot.press("$")
        await wait_for(pilot, lambda: "• the replay leaves the recording at step 2" in screen_text(app), "it is shown")
        await pilot.press("h")
        await wait_for(pilot, lambda: "leaves the recording" not in screen_text(app), "it is not of this step")
