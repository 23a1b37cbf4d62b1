"""Another model, or another temperature, from here on: a dialog with the known models and what they cost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from workbench.session import prices
from workbench.tui.screens.dialogs import Dialog, ProblemLine, foot
from workbench.tui.text import printable

_MOST = 6
"""Known models that are shown at once."""

Change = Callable[[str, str, float | None], Awaitable[str]]
"""Given model, server and temperature; returns why that cannot be, or nothing when it is done."""


def known_like(text: str) -> list[str]:
    """Known models for what was typed so far: those that hold it, else those that are like it."""
    wanted = text.strip().lower()
    known = prices.known_models()
    begin = [name for name in known if name.startswith(wanted)]
    hold = [name for name in known if wanted in name and name not in begin]
    return ([*begin, *hold] or prices.nearest_models(text.strip()))[:_MOST]


def price_of(model: str) -> str:
    """What a known model costs, in a few words."""
    entry = prices.find(model)
    if entry is None:
        return "price unknown"
    return f"${entry.price.input:g} in, ${entry.price.output:g} out"


def _mistaken(model: str) -> str:
    """The known model that somebody may have meant; empty for one that is known, or like none of its provider."""
    provider = model.partition(":")[0]
    if not prices.known_models(provider) or prices.find(model) is not None:
        return ""
    return next((name for name in known_like(model) if name.startswith(f"{provider}:")), "")


class ChangeModel(Dialog[bool]):
    """True when something was changed."""

    nothing = False

    def __init__(self, model: str, base_url: str, temperature: float | None, change: Change) -> None:
        super().__init__("The model from here on")
        self._model, self._base_url, self._temperature, self._change = model, base_url, temperature, change
        self._doubted = ""
        """A name that looked like a mistake, and may be none."""

    def compose(self) -> ComposeResult:
        warm = "" if self._temperature is None else f"{self._temperature:g}"
        names = SuggestFromList(prices.known_models(), case_sensitive=False)
        with self.box():
            for name, value, placeholder, suggester in (
                ("model", self._model, "provider:name", names),
                ("temperature", warm, "as the provider has it", None),
                ("server", self._base_url, "the provider's own", None),
            ):
                entry = Input(printable(value), placeholder, suggester=suggester, compact=True, id=name)
                yield Horizontal(Static(name), entry, classes="row")
            yield Static(id="known", markup=False)
            yield ProblemLine()
            yield foot(("enter", "use it"), ("→", "complete"), ("tab", "next field"), ("dialog.leave", "leave"))

    def on_mount(self) -> None:
        self.set_focus(self.query_one("#model", Input))
        self._show_known(self._model)

    @on(Input.Changed, "#model")
    def _typed(self, event: Input.Changed) -> None:
        self._show_known(event.value)

    def _show_known(self, text: str) -> None:
        names = known_like(text)
        width = max((len(name) for name in names), default=0)
        lines = [
            Content.assemble(f"{name:<{width}}  ", (f"{price_of(name)} per million tokens", "$foreground 55%"))
            for name in names
        ]
        if not names:
            lines = [Content.styled("not in the table of prices: its tokens are counted instead", "$foreground 55%")]
        self.query_one("#known", Static).update(Content("\n").join(lines))

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        model = self.query_one("#model", Input).value.strip()
        server = self.query_one("#server", Input).value.strip()
        if server == self._base_url and model.partition(":")[0] != self._model.partition(":")[0]:
            server = ""  # it spoke the other provider's protocol
        warm = self.query_one("#temperature", Input).value.strip()
        try:
            temperature = float(warm) if warm else None
        except ValueError:
            self._refuse(f"{warm!r} is no temperature: it is a number from 0 to 2")
            return
        if not server and model not in (self._model, self._doubted) and (near := _mistaken(model)):
            self._doubted = model
            self._refuse(f"{model} is not in the table; did you mean {near}? Enter again uses it all the same")
            return
        problem = await self._change(model, server, temperature)
        if problem:
            self._refuse(problem)
        else:
            self.dismiss(True)

    def _refuse(self, problem: str) -> None:
        self.query_one(ProblemLine).say(problem)
