"""One table of actions: no key exists outside of it, none means two things, and each says when it can be done."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path

import pytest
from textual.binding import Binding
from textual.dom import DOMNode

from tests.tui.sessions import battle
from tests.tui.support import screen_text, wait_for
from workbench.session.status import LiveStatus, Phase
from workbench.tui.actions import ACTIONS, BY_ID, Situation, key_bindings, why_not
from workbench.tui.app import METHODS, WorkbenchApp
from workbench.tui.places import PLACES
from workbench.tui.screens.alternatives import Alternatives
from workbench.tui.screens.compare import CompareScreen
from workbench.tui.screens.dialogs import Ask, Confirm, EditAction
from workbench.tui.screens.help import HelpScreen, help_lines
from workbench.tui.screens.home import HomeScreen
from workbench.tui.screens.model_dialog import ChangeModel
from workbench.tui.screens.run_hits import HitsScreen
from workbench.tui.screens.searching import Searching
from workbench.tui.screens.steering import Steering
from workbench.tui.screens.workbench import WorkbenchScreen
from workbench.tui.source import RecordedSource
from workbench.tui.widgets.line_view import LineView, PanelView
from workbench.tui.widgets.row_list import RowList
from workbench.tui.widgets.terminal_pane import TerminalPane

Bound = type[DOMNode]

BOUND: tuple[Bound, ...] = (
    WorkbenchApp,
    WorkbenchScreen,
    RowList,
    LineView,
    PanelView,
    TerminalPane,
    Ask,
    Confirm,
    EditAction,
    Alternatives,
    ChangeModel,
    CompareScreen,
    HelpScreen,
    HomeScreen,
    HitsScreen,
)


def own_bindings(place: Bound) -> list[Binding]:
    found = [binding for binding in place.__dict__.get("BINDINGS", ()) if isinstance(binding, Binding)]
    return list(chain.from_iterable(Binding.make_bindings([binding]) for binding in found))


@pytest.mark.parametrize("place", BOUND)
def test_every_binding_is_in_the_registry(place: Bound) -> None:
    known = {key for action in ACTIONS for key in action.keys}
    for binding in own_bindings(place):
        assert binding.key in known, f"{binding.key} of {place.__name__} is not in the registry"


@pytest.mark.parametrize(
    "place",
    (
        WorkbenchApp,
        WorkbenchScreen,
        RowList,
        PanelView,
        Ask,
        Confirm,
        EditAction,
        Alternatives,
        ChangeModel,
        HomeScreen,
    ),
)
def test_bindings_carry_the_id_under_which_they_can_be_changed(place: Bound) -> None:
    for binding in own_bindings(place):
        assert binding.id in BY_ID
        assert binding.key in BY_ID[binding.id].keys


def test_no_key_of_the_workbench_means_two_things() -> None:
    keys = Counter(key for action in ACTIONS if not action.pane for key in action.keys)
    assert [key for key, count in keys.items() if count > 1] == []


def test_keys_inside_panes_do_not_hide_those_of_the_workbench() -> None:
    screen_keys = {key: action.id for action in ACTIONS if not action.pane for key in action.keys}
    for place in (RowList, PanelView):
        for binding in own_bindings(place):
            if binding.key in screen_keys:
                assert binding.id == screen_keys[binding.key]


def test_ids_are_unique_and_handled() -> None:
    assert len(BY_ID) == len(ACTIONS)
    for action in ACTIONS:
        room, _, name = action.id.partition(".")
        if room == "session":
            assert callable(getattr(Steering, {"continue": "continue_"}.get(name, name)))
        elif room == "search":
            assert callable(getattr(Searching, name))
        elif room == "app":
            assert callable(getattr(WorkbenchApp, METHODS.get(name, f"_do_{name}")))


def test_key_bindings_are_made_from_the_table() -> None:
    bindings = [binding for binding in key_bindings() if isinstance(binding, Binding)]
    assert {binding.id for binding in bindings} == {action.id for action in ACTIONS if action.keys and not action.pane}


def test_the_help_names_every_key() -> None:
    text = "\n".join(line.plain for line in help_lines())
    for action in (action for action in ACTIONS if action.keys):
        assert action.description in text
        assert action.shown_keys in text
        assert text.splitlines().count(action.group) == 1, "one heading for each group"


def test_the_help_of_a_replay_ends_with_what_steers_a_session() -> None:
    text = [line.plain for line in help_lines(now=Situation())]
    idle = text.index("Steer the session (this is a replay: nothing runs here)")
    assert next(place for place, line in enumerate(text) if line.endswith(BY_ID["session.run"].description)) > idle
    assert all(text.index(group) < idle for group in {action.group for action in ACTIONS})


@pytest.mark.parametrize("action", [action for action in ACTIONS if action.need != "nothing"], ids=lambda a: a.id)
def test_in_replay_nothing_runs(action: object) -> None:
    assert "replay" in why_not(action, Situation())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("action_id", "phase", "mode", "possible"),
    [
        ("session.run", "review", "paused", True),
        ("session.run", "executing", "auto", False),
        ("session.edit", "review", "auto", True),
        ("session.edit", "proposing", "auto", False),
        ("session.reject", "review", "step", True),
        ("session.step", "proposing", "paused", True),
        ("session.step", "human", "human", False),
        ("session.interrupt", "executing", "auto", True),
        ("session.interrupt", "review", "paused", False),
        ("session.validate", "review", "paused", True),
        ("session.validate", "executing", "auto", False),
        ("session.take_over", "executing", "auto", True),
        ("session.take_over", "starting", "auto", False),
        ("step.next", "executing", "auto", True),
    ],
)
def test_when_an_action_can_be_done(action_id: str, phase: Phase, mode: str, possible: bool) -> None:
    reason = why_not(BY_ID[action_id], Situation(LiveStatus(phase=phase), mode, drives=True))
    assert (reason == "") == possible, reason


def test_a_person_who_acts_alone_can_write_an_action() -> None:
    now = Situation(LiveStatus(phase="waiting", has_agent=False), "paused", drives=True)
    assert why_not(BY_ID["session.edit"], now) == ""
    program = Situation(LiveStatus(phase="proposing", under_way=1), "step", drives=True)
    assert why_not(BY_ID["session.edit"], program) == "", "a person may answer in the place of its model"
    idle = Situation(LiveStatus(phase="proposing", under_way=0), "step", drives=True)
    assert "still thinking" in why_not(BY_ID["session.edit"], idle)
    assert "you are the one who acts" in why_not(BY_ID["session.step"], now)


async def test_the_palette_does_what_the_key_does(tmp_path: Path) -> None:
    app = WorkbenchApp(RecordedSource(battle(tmp_path / "s").recording()))
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(pilot, lambda: "1 Steps" in screen_text(app), "the workbench")
        await pilot.press("ctrl+p")
        await pilot.press(*"last step")
        await wait_for(pilot, lambda: "Last step" in screen_text(app), "the palette's answer")
        await pilot.press("enter", "enter")
        await wait_for(pilot, lambda: app.workbench.shown == 13, "the last step")


async def test_the_help_screen_opens_and_closes(tmp_path: Path) -> None:
    app = WorkbenchApp(RecordedSource(battle(tmp_path / "s").recording()))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("question_mark")
        await wait_for(pilot, lambda: "Next step; at the end" in screen_text(app), "the help")
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is app.workbench, "the workbench")


def test_every_pane_is_explained_with_keys_that_there_are() -> None:
    for place in PLACES.values():
        assert set(place.ids) <= set(BY_ID)
        text = [line.plain for line in help_lines("", place)]
        assert text[0] == f"Here: {place.title}" and text[1] == place.says


@pytest.mark.parametrize(("key", "place"), [("1", "steps"), ("4", "observation"), ("6", "prompt")])
async def test_the_help_begins_with_the_pane_that_has_the_focus(tmp_path: Path, key: str, place: str) -> None:
    app = WorkbenchApp(RecordedSource(battle(tmp_path / "s").recording()))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: "1 Steps" in screen_text(app), "the workbench")
        await pilot.press(key, "question_mark")
        await wait_for(pilot, lambda: f"Here: {PLACES[place].title}" in screen_text(app), "the help")
        assert BY_ID[PLACES[place].ids[0]].description in screen_text(app)
