"""The status line says how far an evaluation is."""

from __future__ import annotations

import msgspec

from workbench.session import events as ev
from workbench.session.state import Standing, fold
from workbench.session.status import LiveStatus
from workbench.tui.actions import Situation
from workbench.tui.screens.status import hint, status_parts


def test_an_evaluation_is_followed() -> None:
    now = Situation(LiveStatus(phase="executing", progress="playing 10,000 games 40%"), "auto", drives=True)
    state = fold([ev.SessionStarted(format=1, task="t")])
    parts = status_parts(state, now, Standing(), cursor=0, following=True, phase_seconds=2.0, message="", working=2.0)
    assert any(part.text.startswith("playing 10,000 games 40%") for part in parts)


def test_what_helps_is_among_the_keys() -> None:
    now = Situation(LiveStatus(phase="waiting", asks_model=True), "paused", drives=True)
    for cause, remedy in (("auth", "model"), ("cost_limit", "limits")):
        state = fold([ev.SessionStarted(format=1, task="t"), ev.ModelFailed(cause=cause, message="")])
        assert list(hint(state.current, state, now, seconds=0, delay=0).keys) == [
            "continue",
            "step",
            remedy,
            "take_over",
        ]


def test_what_an_agent_program_is_waited_for() -> None:
    """Before its first call nothing can be answered; then what it asks is a key away, once the log has it."""
    started = ev.SessionStarted(format=1, task="gateway", sandbox="none")
    asked = ev.PromptSent(seq=1, messages=[], model="human", conversation="1")
    for under_way, log, head, offered in (
        (0, [started], "waits for a call of the agent", ["interrupt"]),
        (1, [started], "the agent thinks", ["edit", "interrupt"]),
        (1, [started, asked], "the agent thinks", ["edit", "pane.prompt", "interrupt"]),
        (0, [msgspec.structs.replace(started, sandbox="local")], "the agent program works", ["interrupt"]),
    ):
        state, now = fold(log), Situation(LiveStatus(phase="proposing", under_way=under_way), "auto", drives=True)
        shown = hint(state.current, state, now, seconds=1, delay=0)
        assert (shown.head.rpartition(" ")[0], list(shown.keys)) == (head, offered)


def test_the_limit_is_of_the_agents_steps() -> None:
    """What a person typed, and a proposal that a take-over dropped, use nothing of it up."""
    state = fold(
        [
            ev.SessionStarted(format=1, task="blotto", limits=ev.Limits(steps=5)),
            ev.ActionProposed(step=1, author="model:x", action="ls"),
            ev.ActionStarted(step=1, author="model:x", action="ls"),
            ev.ActionFinished(step=1, exit_code=0, observation=""),
            ev.ActionProposed(step=2, author="model:x", action="dropped"),
            ev.ActionRejected(step=2, author=""),
            ev.ActionProposed(step=3, author="human:me", action="pwd"),
        ]
    )

    def shown(agent: bool) -> list[str]:
        now = Situation(LiveStatus(phase="human", has_agent=agent), "human", drives=True)
        parts = status_parts(state, now, Standing(), cursor=3, following=True, phase_seconds=0, message="", working=0)
        return [part.text for part in parts if part.text.startswith("step")]

    assert shown(agent=True) == ["step 3, the agent's 1/5"]
    assert shown(agent=False) == ["step 3/5"]
