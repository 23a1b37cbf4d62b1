"""Home: runs are listed, filtered, sorted, grouped, marked, noted; from home to a session, to the next, and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.library.runs import mlgym, own
from tests.tui.support import screen_text, wait_for
from workbench.library import notes
from workbench.session import events as ev
from workbench.session.bus import Bus
from workbench.session.clock import Clock
from workbench.session.commands import Command, Outcome
from workbench.session.events import SessionEnded
from workbench.session.log import EventLog
from workbench.session.socket import SessionServer, socket_of
from workbench.session.state import SessionState
from workbench.session.status import LiveStatus
from workbench.tui.app import WorkbenchApp
from workbench.tui.screens import tasks
from workbench.tui.screens.compare import CompareScreen
from workbench.tui.screens.home import HomeScreen
from workbench.tui.screens.run_hits import HitsScreen
from workbench.tui.screens.workbench import WorkbenchScreen
from workbench.tui.source import source_of

SIZES = [(80, 24), (120, 40)]
AppPilot = Pilot[SessionEnded | None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    own(tmp_path, "20260101-101500-blotto-3fa9c1", score=0.5)
    own(tmp_path, "20260102-101500-blotto-0c77d2", score=0.1, model="human", end="stopped")
    own(tmp_path, "20260103-101500-chess-0c77d3", score=0.75)
    mlgym(tmp_path, status="autosubmission (exit_format)")
    return tmp_path


def browser(*folders: Path, own: bool = True) -> tuple[WorkbenchApp, HomeScreen]:
    home = HomeScreen(folders, own=own)
    return WorkbenchApp(home=home, theme="mlgym-dark"), home


async def ready(pilot: AppPilot, home: HomeScreen) -> None:
    await wait_for(pilot, lambda: home.is_mounted and home.painted and not home.finding.reading, "the rows")
    await pilot.pause()


async def shows(pilot: AppPilot, app: WorkbenchApp, *texts: str) -> None:
    await wait_for(pilot, lambda: all(text in screen_text(app) for text in texts), f"{texts} on the screen")


async def opened(pilot: AppPilot, app: WorkbenchApp, name: str) -> None:
    await wait_for(
        pilot,
        lambda: isinstance(app.screen, WorkbenchScreen) and app.screen.painted and app.source.name == name,
        f"{name} to be open",
    )
    await pilot.pause()


def listed(home: HomeScreen) -> list[str]:
    return [row.run.task if row.run else row.text.partition(" ·")[0] for row in home.listing.rows]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_from_home_to_a_run_to_the_next_and_back(folder: Path, size: tuple[int, int]) -> None:
    app, home = browser(folder)
    async with app.run_test(size=size) as pilot:
        await ready(pilot, home)
        await shows(pilot, app, "HOME", "4 runs", "Success", "a person", "0.1000 -", "some-model")
        assert max(len(line) for line in screen_text(app).splitlines()) <= size[0]
        await pilot.press("slash", *"blotto", "enter", "s", "g", "enter")
        await opened(pilot, app, "20260102-101500-blotto-0c77d2")
        await pilot.press("right_square_bracket")
        await opened(pilot, app, "20260101-101500-blotto-3fa9c1")
        await pilot.press("L")
        await shows(pilot, app, "last run of the list")
        await pilot.press("H")
        await opened(pilot, app, "20260102-101500-blotto-0c77d2")
        await pilot.press("q")
        await shows(pilot, app, "HOME", "2 of 4 runs")
        await pilot.press("escape")
        await shows(pilot, app, "4 runs")
        await pilot.press("question_mark")
        await shows(pilot, app, "At home: runs and tasks", "Filter as you type")
        await pilot.press("escape", "q")
    assert app.return_code in (None, 0)


async def test_the_mouse_opens_a_run_too(folder: Path) -> None:
    app, home = browser(folder)
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot, home)
        third = home.listing.rows[2].run
        await pilot.click(home.table, offset=(10, 2), times=2)
        assert third is not None
        await opened(pilot, app, Path(third.path).name)


async def test_escape_leaves_the_prompt_first_and_then_the_session(folder: Path) -> None:
    app, home = browser(folder)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot, home)
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, WorkbenchScreen) and app.screen.painted, "a session")
        await pilot.press("6", "escape")
        await wait_for(pilot, lambda: not app.workbench.arranging.open, "the prompt to close")
        assert isinstance(app.screen, WorkbenchScreen)
        await pilot.press("escape")
        await shows(pilot, app, "HOME")


async def test_the_list_follows_the_filter_letter_by_letter_and_says_what_is_wrong(folder: Path) -> None:
    app, home = browser(folder)
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot, home)
        await pilot.press("slash", *"by:human")
        assert listed(home) == ["blotto"]
        await pilot.press(*" or taks:x")
        await shows(pilot, app, "there is no field 'taks'")
        assert listed(home)
        await pilot.press("escape", "slash", *"nothing")
        await shows(pilot, app, "none of 4 runs meets the filter; esc shows all")
        await pilot.press("escape")
        assert len(listed(home)) == 4


async def test_sorting_and_groups(folder: Path) -> None:
    app, home = browser(folder)
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot, home)
        await pilot.press("s")
        await shows(pilot, app, "task▲")
        assert listed(home) == ["battleOfSexes", "blotto", "blotto", "chess"]
        await pilot.press("r")
        assert listed(home)[0] == "chess"
        await pilot.press("v")
        await shows(pilot, app, "blotto · 2 runs · 1 submitted · best 0.5000")
        assert listed(home) == ["battleOfSexes", "battleOfSexes", "blotto", "blotto", "blotto", "chess", "chess"]
        await pilot.press("g", "j", "j", "j", "z")  # on a run of blotto
        await shows(pilot, app, "▸ blotto · 2 runs")
        assert listed(home) == ["battleOfSexes", "battleOfSexes", "blotto", "chess", "chess"]
        assert home.listing.rows[home.table.cursor].text.startswith("blotto") and home.table.run is None
        await pilot.press("enter")
        await shows(pilot, app, "▾ blotto · 2 runs")
        await pilot.press("Z")
        await shows(pilot, app, "▸ battleOfSexes")
        assert len(listed(home)) == 3
        await pilot.press("Z")
        await shows(pilot, app, "▾ chess")


async def test_marks_and_notes(folder: Path) -> None:
    app, home = browser(folder)
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot, home)
        await pilot.press("slash", *"chess", "enter", "g", "asterisk", "R", "4", "enter", "t", *"good", "enter")
        path = str(folder / "20260103-101500-chess-0c77d3")
        await shows(pilot, app, "★", "#good", "4/5")
        await pilot.press("F", *"syntax", "enter", "m", *"so close", "enter")
        await shows(pilot, app, "syntax", "so close")
        await pilot.press("t", *"good", "enter")
        await wait_for(pilot, lambda: notes.read(path).values("tag") == (), "the tag to be taken off")
        assert [(note.kind, note.value) for note in notes.read(path)] == [
            ("star", 1), ("rating", 4), ("failure", "syntax"), ("comment", "so close")
        ]  # fmt: skip
        await pilot.press("escape", "space", "j", "space", "j", "space")
        await shows(pilot, app, "◆ 3 marked")
        await pilot.press("space")
        await shows(pilot, app, "◆ 2 marked")
        await pilot.press("c")
        await wait_for(pilot, lambda: isinstance(app.screen, CompareScreen) and app.screen.compared, "the comparison")
        await pilot.press("escape")
        await shows(pilot, app, "◆ 2 marked")


async def test_a_step_is_annotated_and_says_so(folder: Path) -> None:
    path = folder / "20260101-101500-blotto-3fa9c1"
    app = WorkbenchApp(source_of(path, live=False), theme="mlgym-dark")
    async with app.run_test(size=(120, 40)) as pilot:
        await shows(pilot, app, "Steps")
        for note in ("#odd", "!syntax", "3", "why?", "#odd"):
            await pilot.press("A", *note, "enter")
        await shows(pilot, app, "!syntax 3/5 “why?”")
        await pilot.press("A", *"!sintax", "enter")
        await shows(pilot, app, "did you mean 'syntax'")
    assert [(note.kind, note.step) for note in notes.read(str(path))] == [("failure", 1), ("rating", 1), ("comment", 1)]


@pytest.mark.parametrize("mine", [True, False])
async def test_an_empty_folder_says_what_to_do(tmp_path: Path, mine: bool) -> None:
    app, home = browser(tmp_path, own=mine)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot, home)
        await shows(
            pilot, app, "There are no", "tab      goes to the tasks" if mine else "the files that `replay` opens"
        )


async def test_a_session_that_another_process_drives_is_followed_to_its_end(folder: Path) -> None:
    running = own(folder, "20260104-101500-go-0c77d4", end=None)
    log = EventLog(running, Clock(), next_seq=5)
    app, home = browser(folder)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot, home)
        await shows(pilot, app, "● live", "● 1 live")
        await pilot.press("slash", *"live:yes", "enter", "g", "enter")
        await opened(pilot, app, running.name)
        await shows(pilot, app, "LOOKING ON", "phase unknown")
        await pilot.press("c")
        await shows(pilot, app, "another process drives this session")
        log.append(ev.ActionProposed(step=2, author="model:gpt-5", action="echo news"))
        log.append(ev.ActionFinished(step=2, exit_code=0, observation="the news"))
        await shows(pilot, app, "the news", "step 2")
        log.append(ev.SessionEnded(exit_status="submitted", steps=2))
        log.close()
        await shows(pilot, app, "REPLAY", "submitted")
        await pilot.press("q")
        await shows(pilot, app, "HOME")


async def test_what_a_session_of_another_process_does_is_known_where_it_is_offered(folder: Path) -> None:
    running = own(folder, "20260104-101500-go-0c77d4", end=None)
    log = EventLog(running, Clock(), next_seq=5)
    status = LiveStatus(phase="proposing")
    app, home = browser(folder)
    async with app.run_test(size=(120, 40)) as pilot:
        server = SessionServer(running, Bus(), SessionState(), lambda: status, Nobody())
        await server.start(socket_of(running))
        await ready(pilot, home)
        await pilot.press("slash", *"live:yes", "enter", "g", "enter")
        await shows(pilot, app, "LOOKING ON", "nobody drives (D takes the wheel): the agent thinks")
        await server.stop()
        await shows(pilot, app, "its process has gone")
    log.close()


class Nobody:
    """Carries nothing out."""

    def join(self, kind: str, *, drives: bool = False) -> str:
        return "program 1"

    def leave(self, view: str) -> None:
        pass

    async def do(self, view: str, command: Command) -> Outcome:
        return Outcome(done=False)


async def test_new_sessions_come_into_the_list_and_lost_ones_go(folder: Path) -> None:
    app, home = browser(folder)
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot, home)
        own(folder, "20260105-101500-go-0c77d5")
        for path in (folder / "20260103-101500-chess-0c77d3").iterdir():
            path.unlink()
        await pilot.press("ctrl+r")
        await wait_for(pilot, lambda: sorted(set(listed(home))) == ["battleOfSexes", "blotto", "go"], "the new list")


async def test_search_in_all_runs_opens_a_hit_at_its_step(folder: Path) -> None:
    app, home = browser(folder)
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot, home)
        await pilot.press("ctrl+f", *"(", "enter")
        await shows(pilot, app, "no regular expression")
        await pilot.press("backspace", *"early.stop", "enter")
        await wait_for(pilot, lambda: isinstance(app.screen, HitsScreen) and app.screen.over, "the search to be over")
        await shows(pilot, app, "1 hit in 4 of 4 runs", "try early stopping")
        await pilot.press("enter")
        await opened(pilot, app, "battleOfSexes.traj")
        assert app.workbench.shown == 1
        await shows(pilot, app, "/early stop: 1 of ")
        await pilot.press("q")
        await wait_for(pilot, lambda: isinstance(app.screen, HitsScreen), "the hits again")
        await pilot.press("escape")
        await shows(pilot, app, "HOME")


async def test_tasks_are_looked_at_and_started(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[str, str, Path]] = []

    def start_task(task: str, model: str, sessions: Path) -> object:
        begun.append((task, model, sessions))
        return source_of(folder / "20260101-101500-blotto-3fa9c1", live=False)

    monkeypatch.setattr(tasks, "start_task", start_task)
    app, home = browser(folder)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot, home)
        await pilot.press("tab")
        await wait_for(pilot, lambda: home.on_tasks and home.tasks.has_focus, "the tasks")
        await wait_for(pilot, lambda: home.tasks.rows, "what they are")
        await shows(pilot, app, "Colonel Blotto", "chess")
        place = next(place for place, line in enumerate(home.tasks.rows) if line.standing.task == "blotto")
        await pilot.press("g", *["j"] * place, "enter")
        await shows(pilot, app, "best of people: 0.1000", "best of models: 0.5000")
        await pilot.press("escape", "n", "enter")
        await opened(pilot, app, "20260101-101500-blotto-3fa9c1")
        assert begun == [("blotto", "scripted:demo", app.sessions)]


async def test_what_of_a_task_has_no_room_is_seen_to_be_cut(folder: Path) -> None:
    app, home = browser(folder)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot, home)
        await pilot.press("tab")
        await shows(pilot, app, "battleOfSexes  Battle …")


async def test_what_a_hostile_session_says_is_only_text(tmp_path: Path) -> None:
    own(
        tmp_path,
        "20260101-101500-[bold]\x1b[2J[nobold]-3fa9c1",
        model="openai:\x1b]52;c;aGk=\x07\u202egnp",
        end="\x1b[31mred",
    )
    app, home = browser(tmp_path)
    async with app.run_test(size=(160, 30)) as pilot:
        await ready(pilot, home)
        await pilot.press("v", "s", "tab", "tab")
        await shows(pilot, app, "[bold]", "gnp")
        await pilot.press("d", "escape", "t", *"[red]", "enter")
        await shows(pilot, app, "#[red]")
        assert not set("\x1b\x07\u202e") & set(screen_text(app))


async def test_what_cannot_be_opened_is_said(folder: Path) -> None:
    (folder / "cut.traj").write_text('{"trajectory": [{"act')
    app, home = browser(folder)
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot, home)
        await pilot.press("slash", *"damaged", "enter", "g", "enter")
        await shows(pilot, app, "it cannot be opened")
