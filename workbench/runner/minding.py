"""What is done at a breakpoint that is met."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.runner.controls import Controls
from workbench.session import events as ev

if TYPE_CHECKING:
    from workbench.library.moments import Running


def mind(controls: Controls, step: int, *, over: bool, running: Running | None, interactive: bool) -> str:
    """Do what the breakpoints say that hold for a step: before it runs, while it does (`running`), or once it is over.
    Returns why it needs approval, where one of them asks.

    Where nobody is there to look, a stop ends the session: it can be resumed.
    """
    asked = ""
    for met in controls.breakpoints.met(controls.state.steps[step], over=over, running=running):
        controls.live.emit(ev.BreakpointHit(step=step, breakpoint=met.breakpoint.when))
        then = met.breakpoint.then
        if then == "ask" and not over and running is None:
            asked = asked or met.said
        elif then == "tell":
            controls.live.emit(ev.MessageInjected(author="", text=met.breakpoint.text))
        elif then == "score":
            controls.hub.spawn(controls.episode.score("validate", step, visible_to_agent=False))
        elif then in ("notify", "interrupt"):
            controls.hub.tell(problem=met.said)
            if then == "interrupt" and running is not None:
                controls.interrupt()
        elif not interactive:
            controls.stop("breakpoint", met.breakpoint.when)
        else:
            controls.hub.tell(problem=met.said)
            controls.pause(met.said, author="")
    return asked
