"""The panes that are open only when asked for: the prompt, the metrics, the scores."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from workbench.library.ledger import reader
from workbench.session.events import MetricLogged
from workbench.tui import words
from workbench.tui.widgets.metrics_view import MetricsView
from workbench.tui.widgets.pane import Pane
from workbench.tui.widgets.prompt_view import PromptView
from workbench.tui.widgets.scores_view import ScoresView

if TYPE_CHECKING:
    from workbench.tui.screens.arranging import Arranging
    from workbench.tui.screens.view import SessionView


class Aside:
    """Makes them, and shows in the open one what belongs to the step under the cursor."""

    def __init__(self, screen: SessionView, arranging: Arranging) -> None:
        self._screen, self._arranging = screen, arranging
        source = screen.source
        screen.show_aside = self.show
        self._printed: dict[int, list[MetricLogged]] = {}
        """What was read of steps in whose log no metrics stand."""
        screen.prompt = PromptView(source.state, source.object, id="prompt")
        screen.metrics = MetricsView(self._metrics, id="metrics")
        screen.scores = ScoresView(source.state, reader(source.folder), screen.go_to)

    def panes(self) -> Iterator[Pane]:
        """For the screen."""
        screen = self._screen
        yield Pane(6, "Prompt", screen.prompt, id="prompt-pane")
        yield Pane(8, "Metrics", screen.metrics, id="metrics-pane")
        yield Pane(9, "Scores", screen.scores, id="scores-pane")

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
        screen = self._screen
        for name, view in (("prompt", screen.prompt), ("metrics", screen.metrics), ("scores", screen.scores)):
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
