"""The panes that are open only when asked for: the prompt, the metrics, the scores."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from workbench.session.events import MetricLogged
from workbench.tui import words
from workbench.tui.screens.arranging import ASIDE
from workbench.tui.widgets.pane import Pane

if TYPE_CHECKING:
    from workbench.tui.screens.arranging import Arranging
    from workbench.tui.screens.view import SessionView
    from workbench.tui.widgets.metrics_view import MetricsView
    from workbench.tui.widgets.prompt_view import PromptView
    from workbench.tui.widgets.scores_view import ScoresView


class Aside:
    """Makes each when it is first opened (all three would slow the start), and shows in the open one what belongs to
    the step under the cursor.
    """

    def __init__(self, screen: SessionView, arranging: Arranging) -> None:
        self._screen, self._arranging = screen, arranging
        screen.show_aside = self.show
        self._views: dict[str, PromptView | MetricsView | ScoresView] = {}
        self._making = asyncio.Lock()
        self._printed: dict[int, list[MetricLogged]] = {}
        """What was read of steps in whose log no metrics stand."""

    def panes(self) -> Iterator[Pane]:
        """For the screen."""
        yield Pane(6, "Prompt", id="prompt-pane")
        yield Pane(8, "Metrics", id="metrics-pane")
        yield Pane(9, "Scores", id="scores-pane")

    async def make(self, name: str) -> None:
        """Fill the pane of that name, if it is one of these and still empty."""
        async with self._making:
            if f"{name}-pane" in ASIDE and name not in self._views:
                view = self._view(name)
                setattr(self._screen, name, view)
                await self._arranging.pane(f"{name}-pane").mount(view)
                self._views[name] = view

    def _view(self, name: str) -> PromptView | MetricsView | ScoresView:
        source = self._screen.source
        if name == "prompt":
            from workbench.tui.widgets.prompt_view import PromptView

            return PromptView(source.state, source.object, id="prompt")
        if name == "metrics":
            from workbench.tui.widgets.metrics_view import MetricsView

            return MetricsView(self._metrics, id="metrics")
        from workbench.library.ledger import reader
        from workbench.tui.widgets.scores_view import ScoresView

        return ScoresView(source.state, reader(source.folder), self._screen.go_to)

    def show(self) -> None:
        """Draw the open one: of the shown step, or of what the model is asked for, or runs, now."""
        screen, opened = self._screen, self._arranging.open
        shown = screen.shown
        if opened == "prompt-pane":
            asked = screen.cursor is None and screen.state.prompts.of_step(shown + 1)
            screen.prompt.show_step(shown + 1 if asked else shown)
        elif opened == "metrics-pane":
            status = screen.source.status
            if status is not None and shown == screen.state.last_step and screen.step.status == "running":
                used = words.resources(status.resources, whole=True) if status.resources is not None else ""
                screen.metrics.show_step(shown, status.curves, used)
            else:
                screen.metrics.show_step(shown)
        elif opened == "scores-pane":
            screen.scores.show()
        if opened:
            self.title()

    def title(self) -> None:
        """Draw the titles of all of them."""
        for name, view in self._views.items():
            self._arranging.pane(f"{name}-pane").set_title(view.title, view.subtitle)

    def _metrics(self, step: int | None) -> Mapping[int, Sequence[MetricLogged]]:
        """Called in a thread."""
        from workbench.library.curves import Curves
        from workbench.library.metrics import of_step, patterns_of

        steps, patterns = self._screen.state.steps, patterns_of(self._screen.state)
        found: dict[int, Sequence[MetricLogged]] = {}
        for each in tuple(steps) if step is None else steps[step : step + 1]:
            if not each.metrics and each.over and each.number not in self._printed:
                curves = Curves()
                with contextlib.suppress(OSError):  # the recording is gone, or cannot be read
                    curves.add(of_step(self._screen.source.folder, each, patterns))
                self._printed[each.number] = list(curves.events(each.number))
            found[each.number] = each.metrics or self._printed.get(each.number, ())
        return found
