"""Where the panes of the workbench are: the layout for a size, which pane is in front, zoomed, or has the focus."""

from __future__ import annotations

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
PROMPT = "prompt-pane"
"""It is open only when it is asked for, in the place of `TABS`; in the narrow layout, of all the others."""


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

    def arrange(self) -> None:
        """Lay the panes out for the size that the screen has now."""
        layout = layout_for(*self.screen.app.size)
        for name in LAYOUTS:
            self.screen.set_class(name == layout, f"-{name}")
        for name in TABS:
            self.pane(name).set_class(name == self.tab, "-tab")
        self.screen.show_titles()

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
        elif name == "prompt" and self.prompting:
            self.close_prompt()
        else:
            self.show(f"{name}-pane")

    def show(self, name: str) -> None:
        """Bring a pane to the front and give it the focus."""
        if name == PROMPT:
            self.screen.add_class("-prompting")
            self.screen.show_prompt()
        elif self.prompting and name not in self._order:
            self.screen.remove_class("-prompting")
        if self.screen.has_class("-zoomed"):
            self.zoom(name)
        if name in TABS:
            self.tab = name
            self.arrange()
        self.screen.set_focus(self._content(name))  # at once: the next key may be about this pane

    @property
    def prompting(self) -> bool:
        """The prompt is open."""
        return self.screen.has_class("-prompting")

    def close_prompt(self) -> None:
        """Give its place back to the panes that were there."""
        if not self.prompting:
            return
        if self.screen.has_class("-zoomed") and self.pane(PROMPT).has_class("-zoomed"):
            self.zoom(None)
        inside = self.focused is None or self.focused.id == PROMPT
        self.screen.remove_class("-prompting")
        if inside:
            self.screen.set_focus(self.screen.steps)

    @property
    def _order(self) -> tuple[str, ...]:
        """The panes that are to be seen, or a key away from that, in the order of tab."""
        if not self.prompting:
            return ORDER
        return (PROMPT,) if self.screen.has_class("-narrow") else ("steps-pane", "proposal-pane", PROMPT)

    def _content(self, name: str) -> Widget:
        screen = self.screen
        return {
            "steps-pane": screen.steps,
            "proposal-pane": screen.proposal.view,
            "file-pane": screen.file,
            "observation-pane": screen.observation,
            PROMPT: screen.prompt.messages,
        }.get(name, screen.shown_shell)

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
