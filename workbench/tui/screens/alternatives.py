"""The alternatives to a proposal, side by side (one over the other on a small screen), to pick one from.

All of it is drawn from the state of the session, so a recording shows what there was to choose from as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import ScrollableContainer, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from workbench.session import commands as do
from workbench.session.state import Alternative, Step
from workbench.session.status import LiveStatus
from workbench.tui import words
from workbench.tui.actions import LINES, bindings_of, key_of
from workbench.tui.screens.dialogs import Dialog, foot, keys_line
from workbench.tui.text import display_line, printable, split_lines, wrapped
from workbench.tui.widgets.proposal import prompted

if TYPE_CHECKING:
    from workbench.tui.source import SessionSource

_STACKED_BELOW = 110
"""Columns of the screen below which cards lie one over the other."""
_SECONDS = 0.1
"""How often it is looked for something new."""
_DRAFT_SHOWN = 2_000
"""Characters of the end of an answer on its way that are drawn."""
_MUTED = "$foreground 55%"


class Wish(NamedTuple):
    """How many alternatives, and at which temperature; None leaves that as it is."""

    number: int
    temperature: float | None


def read_wish(line: str) -> Wish:
    """What a line such as `3 temperature=0.7` asks for. Raises ValueError, fit to be shown."""
    number, temperature = 3, None
    for word in line.split():
        name, equals, text = word.partition("=")
        try:
            if not equals:
                number = int(word)
            elif name in ("temperature", "t"):
                temperature = float(text)
            else:
                raise ValueError
        except ValueError:
            raise ValueError(f"{word!r}: say how many, and perhaps a temperature, as in 3 temperature=0.7") from None
    return Wish(number, temperature)


class Pick(NamedTuple):
    """What a person wants of the alternatives."""

    number: int | None
    """None: more of them."""
    edit: bool = False


class _Card(VerticalScroll, can_focus=False):
    """One alternative."""

    def __init__(self, number: int) -> None:
        super().__init__(classes="card")
        self.number = number
        self._body = Static(markup=False)
        self._key: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        yield self._body

    def show(self, title: str, subtitle: str, thought: str, action: str | None, note: str) -> None:
        """Draw it when something about it is new."""
        width = max(20, self.content_size.width - 1)
        key = (title, subtitle, thought, action, note, width)
        if key == self._key:
            return
        self._key = key
        self.border_title, self.border_subtitle = Content(title), Content(subtitle)
        lines = [
            Content.styled(piece, "$foreground 75%")
            for line in split_lines(thought.strip("\n"))
            for piece in wrapped(display_line(line), width)
        ]
        lines += [Content.styled(note, _MUTED)] if note else []
        lines += prompted(printable_lines(action)) if action is not None else []
        self._body.update(Content("\n").join(lines))


def printable_lines(text: str) -> str:
    """A text whose control characters are glyphs, but for its line ends."""
    return "\n".join(printable(line) for line in split_lines(text))


class Alternatives(Dialog[Pick | None]):
    """What was proposed first, as number 0, and the alternatives. None when the person left without a pick."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings_of({f"alternatives.{name}": name for name in ("pick", "edit", "more")}),
        *bindings_of({"alternatives.next": "move(1)", "alternatives.previous": "move(-1)"}),
        *bindings_of({ident: call for ident, call in LINES.items() if call.startswith("page")}),
        *(
            Binding(str(digit), f"number({digit})", str(digit), show=False, id="alternatives.number")
            for digit in range(10)
        ),
    ]

    def __init__(self, source: SessionSource, number: int) -> None:
        """Those of step `number`. In a recording, or when that is not under review any more, they are only shown."""
        super().__init__(f"Alternatives for step {number}")
        self._source, self._state, self._number = source, source.state, number
        self.selected = self._step.chosen

    @property
    def _status(self) -> LiveStatus:
        return self._source.status or LiveStatus(phase="ended")

    @property
    def _step(self) -> Step:
        return self._state.steps[self._number]

    @property
    def _open(self) -> bool:
        """Whether one can be picked."""
        return self._status.phase == "review" and self._state.last_step == self._number

    @property
    def _asking(self) -> bool:
        return self._open and self._status.sampling.running

    def compose(self) -> ComposeResult:
        with self.box():
            yield ScrollableContainer(id="cards", can_focus=False)
            yield Static(id="state", markup=False)
            yield foot()

    def on_mount(self) -> None:
        self.set_class(self.app.size.width < _STACKED_BELOW, "-stacked")
        self.set_interval(_SECONDS, self._look)
        self._look()

    def on_resize(self) -> None:
        self.set_class(self.app.size.width < _STACKED_BELOW, "-stacked")

    # -- what it shows -----------------------------------------------------------------------------------------------

    def _shown(self) -> dict[int, Alternative]:
        """All there are, and the one that is on its way."""
        step = self._step
        first = Alternative(0, step.author, step.proposed_thought, step.proposed, spending=step.spending)
        shown = {0: first, **step.alternatives}
        if self._asking:
            on_its_way = self._status.drafting_alternative
            shown.setdefault(on_its_way, Alternative(on_its_way))
        return shown

    def _look(self) -> None:
        shown = self._shown()
        holder = self.query_one("#cards", ScrollableContainer)
        cards = {card.number: card for card in holder.query(_Card)}
        for number in shown.keys() - cards.keys():
            cards[number] = _Card(number)
            holder.mount(cards[number])
        for number, card in cards.items():
            if number in shown and card.is_attached:
                self._draw(card, shown[number])
                card.set_class(number == self.selected, "-selected")
        for name, text in (("#state", self._said()), (".dialog-foot", keys_line(*self._keys()))):
            line = self.query_one(name, Static)
            if line.content != text:  # each update lays the whole screen out anew
                line.update(text)

    def _draw(self, card: _Card, item: Alternative) -> None:
        step = self._step
        title = f"{item.number} · {printable(words.author_name(item.author))}" if item.author else str(item.number)
        if item.number == step.chosen:
            title += " · proposed now" if self._open else " · taken"
        if item.temperature is not None:
            title += f" · t={item.temperature:g}"
        thought, note = item.thought, ""
        if item.action is None and self._asking and self._status.drafting_alternative == item.number:
            thought, note = self._status.draft[-_DRAFT_SHOWN:], "…"
        elif item.action is None:
            note = "(nothing that could be run)"
        elif thought:
            note = " "
        card.show(title, spent(item), thought, item.action, note)

    def _said(self) -> Content:
        """What is going on, in a line."""
        status = self._status
        cost = self._step.spending
        total = ""
        if cost.calls:
            tokens = f"{cost.input_tokens + cost.output_tokens:,} tokens"
            total = f"this step so far: {words.money(cost.cost) if cost.known else tokens}"
        if not self._open:
            return Content.assemble(("what there was to choose from", _MUTED), f"   {total}")
        sampling = status.sampling
        if sampling.running:
            begun = f"asking for {sampling.begun} of {sampling.wanted}"
            return Content.assemble((begun, "bold $primary"), f"   {total}   ", (status.problem, "$warning"))
        if sampling.problem:
            return Content.assemble((sampling.problem, "bold $warning"))
        return Content.assemble(("your choice", "bold $warning"), f" (nothing runs yet)   {total}")

    def _keys(self) -> tuple[tuple[str, str], ...]:
        if not self._open:
            return (("alternatives.next", "choose"), ("dialog.leave", "leave"))
        stop = ("dialog.leave", "stop asking" if self._asking else "leave")
        more = () if self._asking else (("alternatives.more", "more"),)
        return (
            ("alternatives.next", "choose"),
            (f"{key_of('alternatives.pick')} 0-9", "take"),
            ("alternatives.edit", "take and edit"),
            *more,
            stop,
        )

    # -- what the keys do --------------------------------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        """To the next card, or the one before."""
        numbers = sorted(self._shown())
        at = numbers.index(self.selected) if self.selected in numbers else 0
        self.selected = numbers[max(0, min(len(numbers) - 1, at + by))]
        self._look()
        for card in self.query(".card.-selected"):
            card.scroll_visible(animate=False)

    def action_page(self, pages: float) -> None:
        """Through the one that is selected, where it is longer than its card."""
        for card in self.query(".card.-selected"):
            card.scroll_relative(y=round(pages * max(2, card.size.height - 1)), animate=False, immediate=True)

    def action_number(self, number: int) -> None:
        """Take the one of this number."""
        self._take(Pick(number))

    def action_pick(self) -> None:
        """Take the one that is selected."""
        self._take(Pick(self.selected))

    def action_edit(self) -> None:
        """Take the one that is selected, and edit it."""
        self._take(Pick(self.selected, edit=True))

    def _take(self, pick: Pick) -> None:
        item = self._shown().get(pick.number) if pick.number is not None else None
        if self._open and item is not None and item.action is not None:
            self.dismiss(pick)

    def action_more(self) -> None:
        """Ask for more of them."""
        if self._open and not self._asking:
            self.dismiss(Pick(None))

    def action_leave(self) -> None:
        """Stop asking; when nothing is on its way, leave."""
        if self._asking:
            self._source.send(do.StopSampling())
        else:
            self.dismiss(None)


def spent(item: Alternative) -> str:
    """Tokens and cost of an alternative, in a few words."""
    spending = item.spending
    if not spending.calls:
        return ""
    cost = words.money(spending.cost) if spending.known else "price unknown"
    return f"{spending.input_tokens:,}+{spending.output_tokens:,} tokens · {cost}"
