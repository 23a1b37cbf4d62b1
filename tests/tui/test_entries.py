"""Whatever is typed or pasted into any dialog: it is there, in its order, and does nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from textual import events
from textual.widgets import Input, TextArea

from tests.agents.models.dialects import OPENAI
from tests.agents.models.server import serving
from tests.library.runs import own
from tests.runner.chat import make_agent, said
from tests.tui.support import screen_text, wait_for
from tests.tui.test_type_ahead import burst
from tests.tui.test_workbench import Opened, opened
from workbench.tui.app import WorkbenchApp
from workbench.tui.screens.dialogs import Question
from workbench.tui.screens.home import HomeScreen


class Entry(NamedTuple):
    """A place to type in, and the keys that open it."""

    keys: tuple[str, ...]
    several_lines: bool = False


LIVE = {
    "message": Entry(("m",), True),
    "reject": Entry(("r",), True),
    "edit": Entry(("e",), True),
    "limits": Entry(("u",)),
    "pause": Entry(("P",)),
    "breakpoint": Entry(("b",)),
    "until": Entry(("U",)),
    "search": Entry(("slash",)),
    "note": Entry(("A",)),
    "palette": Entry(("colon",)),
}
HOME = {
    "filter": Entry(("slash",)),
    "tag": Entry(("t",)),
    "rating": Entry(("R",)),
    "comment": Entry(("m",)),
    "failure": Entry(("F",)),
    "search": Entry(("ctrl+f",)),
    "new": Entry(("n",)),
}
EVERY_KEY = "siqcentyx?/:019 B#!*[]<>="
"""Each does something outside of a field."""
HOSTILE = "a\x1b]52;c;eA==\x07b\x00\x9bc\u202ed"
BIG = "x" * 1_000_000


def field(app: WorkbenchApp) -> Input | TextArea | None:
    focused = app.focused
    return focused if isinstance(focused, Input | TextArea) else None


def typed(app: WorkbenchApp) -> str:
    here = field(app)
    return here.text if isinstance(here, TextArea) else here.value if here is not None else ""


@asynccontextmanager
async def at_home(root: Path) -> AsyncIterator[Opened]:
    """Home over two runs."""
    own(root / "runs", "20260101-101500-blotto-3fa9c1")
    own(root / "runs", "20260102-101500-chess-3fa9c2")
    app = WorkbenchApp(home=HomeScreen([root / "runs"], own=True), theme="mlgym-dark")
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: "2 runs" in screen_text(app), "the list")
        on = Opened.__new__(Opened)
        on.app, on.pilot = app, pilot
        yield on


async def open_entry(on: Opened, entry: Entry) -> str:
    """Open it. Returns what is there already."""
    await on.press(*entry.keys)
    await wait_for(on.pilot, lambda: field(on.app) is not None, "the field")
    await on.press("end")
    return typed(on.app)


async def paste(on: Opened, text: str) -> None:
    before = typed(on.app)
    on.app.post_message(events.Paste(text))
    burst(on, "z")
    await wait_for(
        on.pilot, lambda: typed(on.app) != before and not on.app.type_ahead.pending, "what was typed after the paste"
    )


@pytest.mark.parametrize("name", LIVE)
async def test_what_is_typed_at_once_is_all_there_and_nothing_else_happens(tmp_path: Path, name: str) -> None:
    async with opened(tmp_path, ["echo one"]) as on:
        await on.review(1)
        burst(on, *LIVE[name].keys, "end", *EVERY_KEY)
        await on.until(lambda: typed(on.app).endswith(EVERY_KEY), "what was typed")
        assert on.runner.status.phase == "review" and on.state.last_step == 1 and not on.state.steps[1].edited
        assert on.screen.cursor is None and len(on.app.screen_stack) == 2


@asynccontextmanager
async def asking_a_model(root: Path) -> AsyncIterator[Opened]:
    """A proposal of a language model is under review."""
    async with serving() as server:
        server.answers(said(OPENAI, "echo one", "A thought."))
        async with opened(root, make_agent(OPENAI, server)) as on:
            await on.review(1)
            yield on


@pytest.mark.parametrize("key", ["M", "a"])
async def test_what_is_asked_about_a_model_takes_whatever_is_typed_and_pasted(tmp_path: Path, key: str) -> None:
    async with asking_a_model(tmp_path) as on:
        burst(on, key, "end", *EVERY_KEY)
        await on.until(lambda: typed(on.app).endswith(EVERY_KEY), "what was typed")
        await on.press("enter")
        await on.until(lambda: str(on.app.screen.query_one("#problem").render()).strip(), "why it is not taken")
        assert typed(on.app).endswith(EVERY_KEY)
        await on.press("escape")
        await on.until(lambda: on.app.screen is on.screen, "the workbench")
        await pasted(on, Entry((key,)))
        step = on.state.steps[1]
        assert on.runner.status.phase == "review" and not step.edited and not step.alternatives


async def test_more_time_takes_whatever_is_typed_and_pasted_while_the_command_runs(tmp_path: Path) -> None:
    async with opened(tmp_path, ["sleep 600"]) as on:
        await on.review(1)
        await on.press("enter")
        await on.until(lambda: on.runner.status.phase == "executing", "the command")
        burst(on, "T", "end", *EVERY_KEY, "enter")
        await on.shows("is no time over 0")
        assert typed(on.app).endswith(EVERY_KEY)
        await on.press("escape")
        await on.until(lambda: on.app.screen is on.screen, "the workbench")
        await pasted(on, Entry(("T",)))
        assert on.runner.status.phase == "executing" and not on.state.steps[1].extended
        await on.press("escape", "i")
        await on.until(lambda: on.state.steps[1].over, "it is interrupted")


async def test_a_question_of_the_session_is_answered_by_a_word_alone(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one"]) as on:
        await on.review(1)
        on.app.push_screen(Question("Were you away?"))
        await on.shows("Were you away?")
        burst(on, *EVERY_KEY, "enter", "escape")
        await on.shows("type yes or no")
        assert typed(on.app) == EVERY_KEY and on.app.screen is not on.screen
        await paste(on, "no\nyes\n")
        assert typed(on.app) == f"{EVERY_KEY}no yesz"
        burst(on, "ctrl+u", *"yes", "enter")
        await on.until(lambda: on.app.screen is on.screen, "the workbench")
        assert on.runner.status.phase == "review"


@pytest.mark.parametrize("name", HOME)
async def test_what_is_typed_at_once_at_home(tmp_path: Path, name: str) -> None:
    async with at_home(tmp_path) as on:
        burst(on, *HOME[name].keys, "end", *EVERY_KEY)
        await wait_for(on.pilot, lambda: typed(on.app).endswith(EVERY_KEY), "what was typed")
        assert on.app.home is not None and on.app.home.marked == [] and on.app.ground is on.app.home


async def pasted(on: Opened, entry: Entry) -> None:
    """Lines, control characters and a megabyte, one after the other."""
    before = await open_entry(on, entry)
    await paste(on, "one\r\ntwo\rthree\n\n")
    lines = "one\ntwo\nthree\n\n" if entry.several_lines else "one two three"
    assert typed(on.app) == f"{before}{lines}z"
    before = typed(on.app)
    await paste(on, HOSTILE)
    kept = HOSTILE if entry.several_lines else "a]52;c;eA==bcd"
    assert typed(on.app) == f"{before}{kept}z"
    drawn = "".join(part.text for strip in on.app.screen._compositor.render_strips() for part in strip)
    assert not [character for character in drawn if character < " " or character in "\x7f\x9b\u202e"]
    before = typed(on.app)
    await paste(on, BIG)
    assert typed(on.app) == f"{before}z", "all of it, or nothing with a word"
    assert on.app.ground is not None and "1,000,000 characters are too many" in on.app.ground.messages[-1]


@pytest.mark.parametrize("name", LIVE)
async def test_pastes_are_taken_whole_or_not_at_all(tmp_path: Path, name: str) -> None:
    async with opened(tmp_path, ["echo one"]) as on:
        await on.review(1)
        await pasted(on, LIVE[name])
        assert on.runner.status.phase == "review" and on.state.last_step == 1


@pytest.mark.parametrize("name", HOME)
async def test_pastes_at_home(tmp_path: Path, name: str) -> None:
    async with at_home(tmp_path) as on:
        await pasted(on, HOME[name])


@pytest.mark.parametrize("name", ["message", "reject", "edit"])
async def test_what_was_written_in_a_dialog_that_was_left_is_there_again(tmp_path: Path, name: str) -> None:
    async with opened(tmp_path, ["echo one"]) as on:
        await on.review(1)
        before = await open_entry(on, LIVE[name])
        await on.press(*" a long text", "escape")
        await on.shows("what you wrote is kept until you come back")
        assert await open_entry(on, LIVE[name]) == f"{before} a long text"
        await on.press("ctrl+z")
        assert typed(on.app) == before, "what is there without it"
        await on.press("escape", *LIVE[name].keys)
        await on.until(lambda: typed(on.app) == before, "nothing is kept of what was taken back")


@pytest.mark.parametrize(
    ("name", "wrong", "says", "mended"),
    [
        ("limits", "cost=1x", "'1x' is no number", "backspace"),
        ("pause", " ", "say why", "x"),
        ("until", "exit=", "", "0"),
        ("note", "!nonsense", "nonsense", ""),
    ],
)
async def test_a_wrong_entry_stays_and_can_be_mended(
    tmp_path: Path, name: str, wrong: str, says: str, mended: str
) -> None:
    async with opened(tmp_path, ["echo one"]) as on:
        await on.review(1)
        await open_entry(on, LIVE[name])
        await on.press("ctrl+u", *wrong, "enter")
        await on.until(lambda: str(on.app.screen.query_one("#problem").render()).strip(), "why it is not taken")
        assert says in str(on.app.screen.query_one("#problem").render())
        assert typed(on.app) == wrong
        if mended:
            await on.press(mended, "enter")
            await on.until(lambda: on.app.screen is on.screen, "it is taken")


@pytest.mark.parametrize(("name", "wrong"), [("rating", "9"), ("failure", "nonsense"), ("search", "(")])
async def test_a_wrong_entry_at_home_stays(tmp_path: Path, name: str, wrong: str) -> None:
    async with at_home(tmp_path) as on:
        await open_entry(on, HOME[name])
        await on.press("ctrl+u", *wrong, "enter")
        await wait_for(on.pilot, lambda: str(on.app.screen.query_one("#problem").render()).strip(), "why not")
        assert typed(on.app) == wrong


async def test_a_paste_where_nothing_takes_it_is_said(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one"]) as on:
        await on.review(1)
        on.app.post_message(events.Paste("rm -rf .\n"))
        await on.shows("nothing here takes a paste: m is for the agent, e for its action")
        assert on.runner.status.phase == "review"


async def test_a_question_takes_no_paste_for_an_answer(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one"]) as on:
        await on.review(1)
        await on.press("q")
        await on.shows("Stop the session and quit?")
        on.app.post_message(events.Paste("y\n"))
        burst(on, "n")
        await on.until(lambda: on.app.screen is on.screen, "the workbench")
        assert on.runner.status.phase == "review"
