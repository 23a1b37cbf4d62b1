"""The words of the status line, of the hint under an action, and those that greet a person who does a task: pure
functions of what is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from workbench.session.events import AGAINST, ScoreRecorded, SessionStarted
from workbench.session.state import SessionState, Standing, Step
from workbench.session.status import LiveStatus
from workbench.text import many
from workbench.tui import words
from workbench.tui.actions import Situation, keyed
from workbench.tui.text import flowed, printable, wrapped
from workbench.tui.widgets.proposal import NO_HINT, Hint
from workbench.tui.widgets.status_bar import Part

_GREETING_WIDEST = 90
_HOW = (
    ("validate", "scores your work as it is; nothing is handed in"),
    ("submit", "scores it, hands it in and ends the session"),
    ("{session.release}", "shows the workbench; {session.take_over} brings you back to the shell"),
    ("", "there {step.first} {pane.proposal} {pane.zoom} shows the whole task again"),
)

_TAKEN_OVER = "TAKEN OVER — {session.release} gives the shell back"
_OWN_SHELL = "YOUR SHELL — {session.release} pauses"

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
    session = now.session
    past = words.FOLLOWED if now.followed else words.ENDED if now.ended else words.REPLAY
    sign = words.MODES.get(state.mode, words.REPLAY) if now.live else past
    parts = [Part(f"{sign.glyph} {sign.word.upper()}", f"bold $background on ${sign.colour}", 0)]
    measured = now.live and not session.has_agent
    """What is wanted of a person is their score, in their time."""
    if now.taken_over:
        short = keyed("{session.release} pauses") if measured else keyed("TAKEN OVER — {session.release}")
        parts.append(Part(shell_held(now), "bold $warning", 1, flexible=True, short=short))
    elif now.live:
        parts.append(Part(_phase(state, now, phase_seconds), "$foreground", 2))
    elif now.followed:
        does = _PHASES.get(now.phase, "phase unknown") if now.status is not None else "phase unknown"
        does = {"review": "a decision is awaited", "human": "a person has the shell"}.get(now.phase, does)
        nobody = (
            keyed("nobody drives ({session.drive} takes the wheel)") if now.may_drive else "another process drives it"
        )
        who = f"{session.driver} drives" if session.driver else nobody
        parts.append(Part(f"{who}: {does}", "$foreground", 2, flexible=True))
    elif state.ended is not None:
        parts.append(Part(state.ended.exit_status, "$foreground", 4))
    if now.live and (onlookers := session.views - 1) > 0:
        parts.append(Part(f"you drive, {onlookers} look{'s' * (onlookers == 1)} on", "$foreground 85%", 4))
    if now.phase == "executing" and session.resources is not None and (used := words.resources(session.resources)):
        parts.append(Part(used, "$foreground 75%", 6))
    if message:
        parts.append(Part(message, "bold $warning", 1, flexible=True))
    parts.append(
        Part(_step(state, cursor, following and now.live, session.has_agent), "$foreground", 5 if measured else 3)
    )
    parts += _scores(state, standing, 2 if measured else 4)
    if working is not None:
        stopped = measured and not session.clock_runs
        seconds = state.limits.seconds
        time = words.clock(working) + (f"/{words.clock(seconds)}" if seconds is not None else "")
        rank = 2 if stopped or measured else 7
        parts.append(Part(_worked(state, time, stopped), "$foreground 75%", rank, short="" if stopped else time))
    if state.limits.validates is not None:
        parts.append(Part(f"validated {state.validations}/{state.limits.validates}", "$foreground 75%", 6))
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


def shell_held(now: Situation) -> str:
    """What is said while the person has the shell: an agent's that waits for it, or their own."""
    return keyed(_TAKEN_OVER if now.session.has_agent else _OWN_SHELL)


def asking_to_drive(status: LiveStatus | None) -> str:
    """What the driver is told while another view asks for the wheel."""
    if status is None or not status.asks:
        return ""
    return keyed(
        f"{status.asks} asks for the wheel: {{session.drive}} answers; it has it soon, unless you go on working"
    )


def _thinks(state: SessionState, now: Situation) -> str:
    """What an agent does that is waited for."""
    calls = now.session.under_way
    if calls == 0:
        elsewhere = state.started is not None and state.started.sandbox == "none"
        return "waits for a call of the agent" if elsewhere else "the agent program works"
    return f"{calls} answers are on their way" if (calls or 0) > 1 else _PHASES["proposing"]


def _phase(state: SessionState, now: Situation, seconds: float) -> str:
    text = _thinks(state, now) if now.phase == "proposing" else _PHASES.get(now.phase, now.phase)
    if state.mode == "human" and now.phase in ("executing", "proposing", "review"):
        return keyed("you get the shell when the command is over; {session.interrupt} interrupts it")
    if now.phase == "executing" and state.mode == "paused":
        text = "running, then stops"
    if now.session.progress:
        text = now.session.progress
    limit = f" of {words.clock(now.session.time_limit)}" if now.phase == "executing" and now.session.time_limit else ""
    return f"{text} {words.seconds(seconds)}{limit}" if now.phase in ("executing", "proposing", "scoring") else text


def _step(state: SessionState, cursor: int, following: bool, agent: bool) -> str:
    limit = state.limits.steps
    if following:
        taken = state.agent_steps if agent else cursor
        if limit is not None and taken != cursor:  # a person's do not count
            return f"step {cursor}, the agent's {taken}/{limit}"
        return f"step {cursor}/{limit}" if limit is not None else f"step {cursor}"
    return f"step {cursor} of {state.last_step}"


def _scores(state: SessionState, standing: Standing, rank: int) -> list[Part]:
    metric = state.started.metric if state.started else None
    baseline = metric.baseline if metric else None
    mixed = standing.best is not None and standing.last is not None and standing.best.split != standing.last.split

    def split(entry: ScoreRecorded) -> str:
        return f" ({entry.split})" if mixed else ""

    parts = []
    if standing.best is not None and standing.best.score is not None:
        against = state.against_baseline(standing.best)
        short = f"best {words.number(standing.best.score)}"
        best = f"{short} {AGAINST[against]}".rstrip()
        colour = "$warning" if against == "worse" else "$success"
        short += " (!)" * bool(standing.best.caveats)
        parts.append(Part(f"{best}{split(standing.best)}{_caveat(standing.best)}", colour, rank, short=short))
        if standing.last is not None and standing.last is not standing.best and standing.last.score is not None:
            parts.append(Part(f"last {words.number(standing.last.score)}{split(standing.last)}", "$foreground 85%", 5))
    elif metric is not None:
        none = f"{many(len(state.sealed), 'score')} hidden" if state.sealed else "no score yet"
        parts.append(Part(none, "$foreground 55%", 3 if rank < 4 else 6))
    if baseline is not None:
        parts.append(Part(f"baseline {words.number(baseline)}", "$foreground 55%", 7))
    return parts


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
        who = ", ".join(filter(None, (change.agent, change.model)))
        yield f"{words.CHANGED_AGENT} {who}{warm} from here on"
    if step.alternatives:
        yield f"alternative {step.chosen} of {max(step.alternatives)}" if step.chosen else "first of several"
    if step.edited:
        yield {True: "edited, told", False: "edited, not told", None: "edited"}[step.edit_told]
    if step.extended:
        yield f"may take {words.clock(step.extended[-1].limit)}"


def scored(state: SessionState, entry: ScoreRecorded) -> str:
    """What a scoring that a person asked for has found."""
    if state.sealed:
        return "scored; scores are hidden until the end"
    if entry.score is None:
        return f"{entry.verdict}: {entry.message}" if entry.message else entry.verdict
    error = f" ± {words.number(entry.standard_error)}" if entry.standard_error is not None else ""
    against = AGAINST[state.against_baseline(entry)]
    told = "" if entry.visible_to_agent else " (the agent is not told)"
    return f"scored {words.number(entry.score)}{error}{against and ', '}{against}{_caveat(entry)}{told}"


def _worked(state: SessionState, time: str, stopped: bool) -> str:
    why = state.clock.reason if stopped and state.clock.reason not in ("waiting", "review") else ""
    return f"worked {time}" + (f", clock stopped{why and f': {why}'}" if stopped else "")


def hint(step: Step, state: SessionState, now: Situation, *, seconds: float, delay: float) -> Hint:
    """What happens next, and what the keys will do about it."""
    if not now.live or not _is_next(step, state, now):
        return NO_HINT
    if now.phase == "review" and state.mode == "auto" and delay > 0:
        keys = {"edit": "edit", "pause": "pause", "take_over": "take over"}
        return Hint(f"runs in {max(0.0, delay - seconds):.1f}s", "primary", keys)
    if now.phase == "review":
        keys = {"run": "run", "edit": "edit", "reject": "reject"}
        keys |= {"alternatives": "alternatives"} if now.session.asks_model else {}
        keys |= {"take_over": "take over", "continue": "go on"}
        return Hint("edited by you" if step.edited else "your decision", "warning", keys)
    if now.phase == "proposing":
        keys, told = {"interrupt": "stop it", **_pause_after(state)}, _say_something(state, now)
        keys = told | keys if "edit" in told else keys | told
        return Hint(f"{_thinks(state, now)} {words.seconds(seconds)}", "primary", keys)
    if now.phase == "executing":
        keys = {"interrupt": "interrupt", **_pause_after(state)}
        return Hint(f"running {words.seconds(seconds)}", "primary", keys)
    if now.phase == "waiting" and not now.session.has_agent:
        return Hint("your turn", "warning", {"take_over": "take the shell", "edit": "write an action"})
    if now.phase == "waiting":
        too_dear = state.failures and state.failures[-1].cause == "cost_limit"
        remedy = {"limits": "limits"} if too_dear else {"model": "other model"} if now.session.asks_model else {}
        told = _say_something(state, now) if now.session.under_way else {}
        keys = {"continue": "try again", "step": "one step", **told, **remedy, "take_over": "take over"}
        return Hint("stopped", "warning", keys)
    return NO_HINT


def _pause_after(state: SessionState) -> dict[str, str]:
    return {} if state.mode == "paused" else {"pause": "pause after it"}


def _say_something(state: SessionState, now: Situation) -> dict[str, str]:
    if not now.session.under_way:
        return {"message": "message"} if now.session.under_way is None else {}
    asked = {"pane.prompt": "what it asks"} if state.prompts.of_step(state.last_step + 1) else {}
    return {"edit": "answer it yourself", **asked}


def _is_next(step: Step, state: SessionState, now: Situation) -> bool:
    """Whether the step shown is the one that the phase is about."""
    return step.number == state.last_step and (now.phase != "review" or step.status == "proposed")


def greeting(started: SessionStarted, columns: int, how: Iterable[tuple[str, str]] = _HOW) -> bytes:
    """What a person who does a task finds in the shell before the first prompt: the task, and how to hand in."""
    width = max(20, min(columns - 6, _GREETING_WIDEST))
    lines = [f"\x1b[1m{printable(started.task_name or started.task)}\x1b[0m", ""]
    lines += [row for line in flowed(started.description.strip()) for row in wrapped(line, width)]
    lines += ["", *(f"\x1b[1m{keyed(key):<10}\x1b[0m{keyed(what)}" for key, what in how), "", ""]
    return "\r\n".join(lines).encode("utf-8", "replace")
