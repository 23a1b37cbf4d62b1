"""The breakpoints of a running session: added, edited, switched off and on, taken away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import msgspec
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.suggester import SuggestFromList
from textual.widgets import Input, OptionList, Static

from workbench.errors import WorkbenchError
from workbench.library.moments import FIELDS, read_breakpoint, written
from workbench.session.commands import Breakpoint
from workbench.text import many
from workbench.tui.actions import bindings_of
from workbench.tui.screens.dialogs import Dialog, ProblemLine, foot
from workbench.tui.text import one_line, printable

_EXAMPLES = [
    "kind:submit",
    "kind:validate",
    "exit!=0",
    "failure:traceback",
    "worse:*",
    "file:data/*",
    "cost>1",
    "took>60",
    "nan:loss => interrupt",
    "rising>=5",
    "silent>600 => notify",
]


class BreakpointsScreen(Dialog[None]):
    """`change` has the session take a new list."""

    BINDINGS: ClassVar[list[BindingType]] = bindings_of(
        {f"breakpoints.{name}": name for name in ("switch", "remove", "edit")}
    )

    def __init__(self, known: Sequence[Breakpoint], change: Callable[[list[Breakpoint]], None]) -> None:
        super().__init__("Breakpoints")
        self.known = list(known)
        self._change = change
        self._edited: int | None = None
        """The place of the one that is edited."""

    def compose(self) -> ComposeResult:
        with self.box():
            self.list = OptionList(markup=False, compact=True)
            yield self.list
            self.input = Input(
                placeholder="[once] [ignore N] CONDITION [=> ACTION]", compact=True,
                suggester=SuggestFromList([*_EXAMPLES, *(f"{name}:" for name in FIELDS)]),
            )  # fmt: skip
            yield self.input
            yield ProblemLine()
            said = "such as kind:edit, exit!=0, worse:*, took>60 => notify\n"
            said += f"fields: {', '.join(FIELDS)}\nactions: stop, ask, notify, score, interrupt, tell TEXT"
            yield Static(said, markup=False, classes="dialog-text")
            yield foot(
                ("enter", "add"),
                ("tab", "list"),
                ("breakpoints.switch", "on, off"),
                ("breakpoints.edit", "edit"),
                ("breakpoints.remove", "remove"),
                ("dialog.leave", "leave"),
            )

    def on_mount(self) -> None:
        self._show()
        self.input.focus()

    def _show(self) -> None:
        place = self.list.highlighted
        self.list.clear_options()
        self.list.add_options([_line(each) for each in self.known])
        self.list.display = bool(self.known)
        if self.known:
            self.list.highlighted = min(place or 0, len(self.known) - 1)

    def _put(self, known: list[Breakpoint]) -> None:
        self.known = known
        self._change(known)
        self._show()

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        if not event.value.strip():
            self.dismiss(None)
            return
        try:
            read = read_breakpoint(event.value)
        except WorkbenchError as error:
            self.query_one(ProblemLine).say(str(error))
            return
        self.query_one(ProblemLine).say("")
        known = list(self.known)
        if self._edited is not None and self._edited < len(known):
            known[self._edited] = read
        else:
            known.append(read)
        self._edited = None
        self.input.value = ""
        self._put(known)

    @on(OptionList.OptionSelected)
    def action_edit(self) -> None:
        if (place := self.list.highlighted) is not None and self.list.has_focus:
            self._edited = place
            self.input.value = printable(written(self.known[place]))
            self.input.focus()

    def action_switch(self) -> None:
        if (place := self.list.highlighted) is not None and self.list.has_focus:
            known = list(self.known)
            known[place] = msgspec.structs.replace(known[place], enabled=not known[place].enabled)
            self._put(known)

    def action_remove(self) -> None:
        if (place := self.list.highlighted) is not None and self.list.has_focus:
            self._put([each for number, each in enumerate(self.known) if number != place])


def _line(given: Breakpoint) -> str:
    off = "" if given.enabled else " (off)"
    return one_line(f"{written(given)}  {many(given.hits, 'hit')}{off}", 300)
