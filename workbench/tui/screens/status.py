"""The words of the status line and of the hint under an action: pure functions of what is known."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.session.events import ScoreRecorded
from workbench.session.state import SessionState, Step
from workbench.tui import words
from workbench.tui.actions import Situation
from workbench.tui.scores import Standing
from workbench.tui.widgets.proposal import NO_HINT, Hint
from workbench.tui.widgets.status_bar import Part

TAKEN_OVER = "TAKEN OVER — ctrl+] gives the shell back"

_PHASES = {
    "starting": "starting the sandbox",
    "proposing": "the agent thinks",
    "review": "your decision",
    "executing": "running",
    "human": "",
    "waiting": "waiting for you",
    "scoring": "scoring",
    "ending": "saving",
}


def status_parts(
    state: SessionState,
    now: Situation,
    standing: Standing,
    *,
    cursor: int,
    following: bool,
    phase_seconds: float,
    message: str,
    working: float | None,
) -> list[Part]:
    """The status line, as of the step under the cursor."""
    sign = words.MODES.get(state.mode, words.REPLAY) if now.live else words.ENDED if now.ended else words.REPLAY
    parts = [Part(f"{sign.glyph} {sign.word.upper()}", f"bold $background on ${sign.colour}", 0)]
    if now.taken_over:
        parts.append(Part(TAKEN_OVER, "bold $warning", 1, flexible=True))
    elif now.live:
        parts.append(Part(_phase(state, now, phase_seconds), "$foreground", 2))
    elif state.ended is not None:
        parts.append(Part(state.ended.exit_status, "$foreground", 4))
    if message:
        parts.append(Part(message, "bold $warning", 1, flexible=True))
    parts.append(Part(_step(state, cursor, following and now.live, now.agent), "$foreground", 3))
    parts += _scores(state, standing)
    if working is not None:
        parts.append(Part(_time(state, working), "$foreground 75%", 7))
    if state.cost:
        limit = f"/{words.money(state.limits.cost)}" if state.limits.cost is not None else ""
        parts.append(Part(f"{words.money(state.cost)}{limit}", "$foreground 75%", 6))
    if state.unpriced_tokens:
        limit = f"/{state.limits.tokens:,}" if state.limits.tokens is not None else ""
        parts.append(Part(f"price unknown: {state.unpriced_tokens:,}{limit} tokens", "$foreground 75%", 6))
    parts.append(Part(state.started.task if state.started else "", "$foreground 75%", 8))
    badge, warn = words.sandbox_badge(state.sandbox, state.started.sandbox if state.started else "")
    parts.append(Part(f"! {badge}" if warn else badge, "bold $error" if warn else "$foreground 55%", 1 if warn else 9))
    return parts


def _phase(state: SessionState, now: Situation, seconds: float) -> str:
    text = _PHASES.get(now.phase, now.phase)
    if state.mode == "human" and now.phase in ("executing", "proposing", "review"):
        return "you get the shell when the command is over; i interrupts it"
    if now.phase == "executing" and state.mode == "paused":
        text = "running, then stops"
    if now.progress:
        text = now.progress
    return f"{text} {words.seconds(seconds)}" if now.phase in ("executing", "proposing", "scoring") else text


def _step(state: SessionState, cursor: int, following: bool, agent: bool) -> str:
    limit = state.limits.steps
    if following:
        taken = state.agent_steps if agent else cursor
        if limit is not None and taken != cursor:  # a person's do not count
            return f"step {cursor}, the agent's {taken}/{limit}"
        return f"step {cursor}/{limit}" if limit is not None else f"step {cursor}"
    return f"step {cursor} of {state.last_step}"


def _scores(state: SessionState, standing: Standing) -> list[Part]:
    metric = state.started.metric if state.started else None
    baseline = metric.baseline if metric else None
    mixed = standing.best is not None and standing.last is not None and standing.best.split != standing.last.split

    def split(entry: ScoreRecorded) -> str:
        return f" ({entry.split})" if mixed else ""

    parts = []
    if standing.best is not None and standing.best.score is not None:
        change = words.score_change(state, standing.best.score, baseline)
        best = f"best {change.glyph}{words.number(standing.best.score)}{_than_baseline(state, standing.best.score)}"
        parts.append(Part(f"{best}{split(standing.best)}{_caveat(standing.best)}", f"${change.colour}", 4))
        if standing.last is not None and standing.last is not standing.best and standing.last.score is not None:
            parts.append(Part(f"last {words.number(standing.last.score)}{split(standing.last)}", "$foreground 85%", 5))
    elif metric is not None:
        parts.append(Part("no score yet", "$foreground 55%", 6))
    if baseline is not None:
        parts.append(Part(f"baseline {words.number(baseline)}", "$foreground 55%", 7))
    return parts


def _than_baseline(state: SessionState, score: float) -> str:
    return " worse than baseline" if state.worse_than_baseline(score) else ""


def _caveat(entry: ScoreRecorded) -> str:
    return "".join(f" ({caveat})" for caveat in entry.caveats)


def proposal_title(step: Step, *, drafting: bool, stuck: bool = False) -> tuple[str, str]:
    """Title and subtitle of the pane with the action."""
    if drafting or stuck:
        return f"Action {step.number + 1} · {'being written' if drafting else 'there is none'}", ""
    if step.number == 0:
        return "Task", ""
    author = words.author_sign(step.author)
    return f"Action {step.number} · {author.glyph} {words.author_name(step.author)}", " · ".join(_marks(step))


def _marks(step: Step) -> Iterator[str]:
    """What is special about a proposal, in a few words each."""
    if step.agent_change is not None:
        change = step.agent_change
        warm = "" if change.temperature is None else f" t={change.temperature:g}"
        yield f"{words.CHANGED_AGENT} {change.model}{warm} from here on"
    if step.alternatives:
        yield f"alternative {step.chosen} of {max(step.alternatives)}" if step.chosen else "first of several"
    if step.edited:
        yield {True: "edited, told", False: "edited, not told", None: "edited"}[step.edit_told]


def scored(state: SessionState, entry: ScoreRecorded) -> str:
    """What a scoring that a person asked for has found."""
    if entry.score is None:
        return f"{entry.verdict}: {entry.message}" if entry.message else entry.verdict
    error = f" ± {words.number(entry.standard_error)}" if entry.standard_error is not None else ""
    worse = _than_baseline(state, entry.score)
    return f"scored {words.number(entry.score)}{error}{worse and ','}{worse}{_caveat(entry)} (the agent is not told)"


def _time(state: SessionState, working: float) -> str:
    limit = state.limits.seconds
    return f"worked {words.clock(working)}" + (f"/{words.clock(limit)}" if limit is not None else "")


def hint(step: Step, state: SessionState, now: Situation, *, seconds: float, delay: float) -> Hint:
    """What happens next, and what the keys will do about it."""
    if not now.live or not _is_next(step, state, now):
        return NO_HINT
    if now.phase == "review":
        if state.mode == "auto" and delay > 0:
            left = f"runs in {max(0.0, delay - seconds):.1f}s"
            return Hint(left, "primary", (("e", "edit"), ("p", "pause"), ("t", "take over")))
        head = "edited by you" if step.edited else "your decision"
        keys: tuple[tuple[str, str], ...] = (
            ("enter", "run"),
            ("e", "edit"),
            ("r", "reject"),
            ("t", "take over"),
            ("c", "go on"),
        )
        if now.asks_model:
            keys = (*keys[:3], ("a", "alternatives"), *keys[3:])
        return Hint(head, "warning", keys)
    if now.phase == "proposing":
        head = f"the agent thinks {words.seconds(seconds)}"
        return Hint(head, "primary", (("i", "stop it"), ("p", "pause after it"), ("m", "message")))
    if now.phase == "executing":
        return Hint(f"running {words.seconds(seconds)}", "primary", (("i", "interrupt"), ("p", "pause after it")))
    if now.phase == "waiting":
        if now.agent:
            remedy: tuple[tuple[str, str], ...] = (("M", "other model"),) if now.asks_model else ()
            if state.failures and state.failures[-1].cause == "cost_limit":
                remedy = (("u", "limits"),)
            return Hint("stopped", "warning", (("c", "try again"), ("s", "one step"), *remedy, ("t", "take over")))
        return Hint("your turn", "warning", (("t", "take the shell"), ("e", "write an action")))
    return NO_HINT


def _is_next(step: Step, state: SessionState, now: Situation) -> bool:
    """Whether the step shown is the one that the phase is about."""
    return step.number == state.last_step and (now.phase != "review" or step.status == "proposed")
