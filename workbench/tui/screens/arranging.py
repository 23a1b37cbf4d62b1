"""Where the panes of the workbench are: the layout for a size, which pane is in front, zoomed, or has the focus."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.content import Content
from textual.widget import Widget

from workbench.tui.text import one_line
from workbench.tui.widgets.pane import Pane

if TYPE_CHECKING:
    from workbench.tui.screens.view import SessionView

SMALLEST = (60, 15)
LAYOUTS = ("too-small", "narrow", "normal", "wide")
TABS = ("file-pane", "observation-pane", "shell-pane")
"""Of these the narrow layout shows one at a time."""
ORDER = ("steps-pane", "file-pane", "proposal-pane", "observation-pane", "shell-pane")
MIND = ("steps-pane", "proposal-pane")
"""All that the narrow layout has room for below a verdict."""
VERDICT = "verdict-pane"
PROMPT = "prompt-pane"
ASIDE = (PROMPT, "metrics-pane", "scores-pane")
"""Open only when they are asked for, one at a time, in the place of `TABS`; in the narrow layout, of all the others."""


def layout_for(columns: int, rows: int) -> str:
    """`too-small`, `narrow` (two panes and tabs), `normal` (two columns) or `wide`."""
    if columns < SMALLEST[0] or rows < SMALLEST[1]:
        return "too-small"
    if columns < 100 or rows < 26:
        return "narrow"
    return "wide" if columns >= 140 else "normal"


class Arranging:
    """Arranges the panes of a screen; `to` is every action `pane.<name>` of the registry."""

    def __init__(self, screen: SessionView) -> None:
        self.screen = screen
        self.tab = "observation-pane"
        """The one of `TABS` that the narrow layout shows."""
        self.open = ""
        """The one of `ASIDE` that is open."""

    def arrange(self) -> None:
        """Lay the panes out for the size that the screen has now."""
        self.lay_out()
        for name in TABS:
            self.pane(name).set_class(name == self.tab, "-tab")
        self.screen.show_titles()

    def lay_out(self) -> None:
        """Choose the layout for the size that the screen has now."""
        layout = layout_for(*self.screen.app.size)
        for name in LAYOUTS:
            self.screen.set_class(name == layout, f"-{name}")

    def pane(self, name: str) -> Pane:
        """The pane of an id."""
        return self.screen.query_one(f"#{name}", Pane)

    @property
    def focused(self) -> Pane | None:
        """The pane that has the focus."""
        widget = self.screen.focused
        if widget is None:
            return None
        return next((parent for parent in widget.ancestors if isinstance(parent, Pane)), None)

    def to(self, name: str) -> None:
        """Go to the pane `name`, to the `next` or the `previous` one, or `zoom` the one that has the focus."""
        here = self.focused
        if name in ("next", "previous"):
            order = self._order
            at = order.index(here.id) if here is not None and here.id in order else -1
            self.show(order[(at + (1 if name == "next" else -1)) % len(order)])
        elif name == "zoom":
            self.zoom(None if self.screen.has_class("-zoomed") or here is None else here.id)
        elif self.open == f"{name}-pane":
            self.close()
        elif name == "diff":
            self.screen.toggle_class("-diffing")
            self.screen.show_step()
            self.show("file-pane")
        else:
            self.show(f"{name}-pane")

    def show(self, name: str) -> None:
        """Bring a pane to the front and give it the focus."""
        if name in ASIDE:
            self._open(name)
        elif self.open and name not in self._order:
            self._open("")
        if self.screen.has_class("-zoomed"):
            self.zoom(name)
        if name in TABS:
            self.tab = name
            self.arrange()
        self.screen.set_focus(self._content(name))  # at once: the next key may be about this pane

    def _open(self, name: str) -> None:
        """Have this one of `ASIDE` open, or none."""
        self.open = name
        self.screen.set_class(bool(name), "-aside")
        for each in ASIDE:
            self.pane(each).set_class(each == name, "-open")
        self.screen.show_aside()

    def close(self) -> bool:
        """Give its place back to the panes that were there. False where none of `ASIDE` was open."""
        closed = self.open
        if not closed:
            return False
        if self.screen.has_class("-zoomed") and self.pane(closed).has_class("-zoomed"):
            self.zoom(None)
        inside = self.focused is None or self.focused.id == closed
        self._open("")
        if inside:
            self.screen.set_focus(self.screen.steps)
        return True

    @property
    def _order(self) -> tuple[str, ...]:
        """The panes that are to be seen, or a key away from that, in the order of tab."""
        narrow, judging = self.screen.has_class("-narrow"), self.screen.has_class("-judging")
        if not self.open:
            return (*([VERDICT] if judging else []), *(ORDER if not (narrow and judging) else MIND))
        return (self.open,) if narrow else ("steps-pane", "proposal-pane", self.open)

    def _content(self, name: str) -> Widget:
        screen = self.screen
        contents: dict[str, Callable[[], Widget]] = {
            "steps-pane": lambda: screen.steps,
            "proposal-pane": lambda: screen.proposal.view,
            "file-pane": lambda: screen.shown_file,
            "observation-pane": lambda: screen.observation,
            PROMPT: lambda: screen.prompt.messages,
            "metrics-pane": lambda: screen.metrics,
            "scores-pane": lambda: screen.scores.rows,
            VERDICT: lambda: screen.verdict,
        }
        return contents.get(name, lambda: screen.shown_shell)()

    @property
    def text(self) -> str:
        """What the pane with the focus shows, for copying."""
        screen, pane = self.screen, self.focused
        return {
            "file-pane": lambda: screen.shown_file.text,
            "shell-pane": lambda: screen.shown_shell.screen_text(),
            "observation-pane": lambda: screen.step.observation,
            VERDICT: lambda: screen.verdict.text,
            PROMPT: lambda: screen.prompt.text,
            "metrics-pane": lambda: screen.metrics.text,
            "scores-pane": lambda: screen.scores.text,
        }.get(pane.id or "" if pane is not None else "", lambda: screen.step.action)()

    def zoom(self, name: str | None) -> None:
        """Show one pane alone, or all again."""
        screen = self.screen
        screen.set_class(name is not None, "-zoomed")
        for pane in screen.query(Pane):
            pane.set_class(pane.id == name, "-zoomed")
        for side in ("mind", "world"):
            holds = name is not None and bool(screen.query(f"#{side} > #{name}"))
            screen.query_one(f"#{side}").set_class(holds, "-has-zoomed")
        screen.show_titles()

    def tabbed(self, name: str, title: str) -> str | Content:
        """The title of a pane. In the narrow layout that of the pane in front names the others as well; a click goes
        there.
        """
        if not self.screen.has_class("-narrow") or self.screen.has_class("-zoomed") or name != self.tab:
            return title
        others = [self.pane(other) for other in TABS if other != name]
        links = [
            Content.from_markup(
                f"[@click=screen.do('pane.{other.label.lower()}')]$number $label[/]",
                number=other.number,
                label=other.label,
            )
            for other in others
        ]
        return Content.assemble(one_line(title, 60), " ── ", Content(" · ").join(links))
