"""Notes on the runs at home, and on the steps of a session: tags, stars, ratings, comments, kinds of failure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from workbench.library import notes as library
from workbench.session.marks import user_name

if TYPE_CHECKING:
    from workbench.session.run import Run
    from workbench.tui.screens.finding import Finding
    from workbench.tui.screens.view import Ground, SessionView


class Noting:
    """Each public method is an action `home.<name>` of the registry, about the run under the cursor."""

    def __init__(self, home: Ground, finding: Finding, run: Callable[[], Run | None]) -> None:
        """`run`: the one under the cursor."""
        self._home, self._finding, self._run = home, finding, run

    def tag(self) -> None:
        self._ask("tag", "Tag", "a word; one that the run has is taken off")

    def comment(self) -> None:
        self._ask("comment", "Comment", "what there is to say of the run")

    def failure(self) -> None:
        try:
            known = library.kinds_of_failure()
        except library.NoteError as error:
            self._home.say(str(error), 20)
            return
        self._ask("failure", "What kind of failure", "one of these", note=", ".join(known))

    async def star(self) -> None:
        run = self._run()
        if run is not None:
            problem = await self._note(run, "star", removed=self._of(run).starred)
            if problem:
                self._home.say(problem)

    def rate(self) -> None:
        self._ask("rating", "Rating", "from 1 to 5")

    def _of(self, run: Run) -> library.Notes:
        return self._finding.listing.notes.get(run.path, library.NONE)

    def _ask(self, kind: library.Kind, title: str, hint: str, note: str = "") -> None:
        run = self._run()
        if run is not None:
            self._home.ask(title, hint, note=note, bottom=True, check=partial(self._answered, run, kind))

    async def _answered(self, run: Run, kind: library.Kind, text: str) -> str:
        value = text.strip()
        if not value:
            return ""
        there = kind == "tag" and value in self._of(run).values("tag")
        return await self._note(run, kind, int(value) if kind == "rating" and value.isdigit() else value, removed=there)

    async def _note(self, run: Run, kind: library.Kind, value: str | int = 1, *, removed: bool = False) -> str:
        """Take a note; says why it cannot be taken."""
        try:
            library.add(run.path, f"human:{user_name()}", kind, value, removed=removed)
        except library.NoteError as error:
            return str(error)
        noted = library.read(run.path)
        await self._finding.change(lambda listing: listing.note(run.path, noted))
        return ""


class Annotations:
    """The notes on the steps of a session."""

    def __init__(self, screen: SessionView) -> None:
        self._screen = screen
        self.notes = library.read(screen.source.reference)

    def of(self, step: int) -> str:
        """The notes on a step, in a few words."""
        return " ".join(library.in_words(note) for note in self.notes if note.step == step)

    def add(self) -> None:
        """Ask for one on the step that is shown."""
        step = self._screen.shown
        said = " ".join(("Has:", self.of(step))) if self.of(step) else ""
        hint = "a comment, #tag, !kind of failure, or 1 to 5"
        check = partial(self._answered, step)
        self._screen.ask(f"Note on step {step}", hint, note=said, bottom=True, check=check)

    async def _answered(self, step: int, text: str) -> str:
        """Take a note; says why it cannot be taken."""
        value = text.strip()
        if not value:
            return ""
        try:
            kind, said = library.parse(value)
            gone = any((note.kind, note.value, note.step) == (kind, said, step) for note in self.notes)
            library.add(self._screen.source.reference, f"human:{user_name()}", kind, said, step=step, removed=gone)
        except library.NoteError as error:
            return str(error)
        self.notes = library.read(self._screen.source.reference)
        self._screen.show_titles()
        return ""
