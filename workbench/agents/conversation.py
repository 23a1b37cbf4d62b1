"""A session as the conversation that a model reads: its own steps are turns, and what others did are messages to it.
Everything comes from the state of the session. So a resumed session, a changed model, or another agent on the same
session needs no memory of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from workbench.agents import prompts
from workbench.agents.config import AgentConfig
from workbench.agents.messages import Message, Response, Tool
from workbench.agents.parsing import Parser
from workbench.agents.tools import sendable_name
from workbench.sandbox.commands import command_docs
from workbench.session.events import FORMAT, SessionStarted
from workbench.session.state import NewShell, SessionState, Step
from workbench.text import first_of, many

_MOST_FILES = 20
"""The most changed files that are listed after a person's command."""


class Conversation:
    """Builds all messages of an agent for a state. History processors shorten them."""

    def __init__(self, config: AgentConfig, parser: Parser) -> None:
        self._config = config
        self._parser = parser
        self._commands = command_docs(config.tools)

    def messages(self, state: SessionState) -> list[Message]:
        """Everything so far, in order: system prompt, task, steps, and at the end the budget that is left.

        A step that is still under review is left out, and so is one that comes again later.
        """
        values = self._session_values(state)
        result = [
            Message("system", prompts.fill(self._config.prompts.system, values).strip()),
            Message("user", prompts.fill(self._config.prompts.task, values).strip()),
        ]
        for index, step in enumerate(state.steps):
            if step.number and step.over and not step.proposed_again:
                result += self._human(state, index) if _by_person(step) else self._own(step)
            if step.number and step.new_shell:
                result.append(_injected("", _new_shell(step.new_shell)))
            result += [_injected(message.author, message.text) for message in step.messages]
        budget = self._budget(state)
        if budget:
            last = result[-1]
            result[-1] = replace(last, content=f"{last.content}\n\n{budget}")
        return result

    def retry(self, response: Response, reason: str, number: int) -> list[Message]:
        """An answer that could not be used, and the reply to it. `number` counts such answers, from 1."""
        text = prompts.fill(
            self._config.prompts.format_error,
            {
                "reason": reason,
                "answer_format": self._parser.instructions,
                "attempts_left": str(self._config.format_attempts - number),
            },
        ).strip()
        if not response.tool_calls:
            return [Message("assistant", response.text.strip() or "(an empty answer)"), Message("user", text)]
        calls = tuple(
            replace(call, id=f"bad{number:02d}{index:04d}", name=sendable_name(call.name), raw_arguments="")
            for index, call in enumerate(response.tool_calls)
        )
        answers = [text, *("Not run." for _ in calls[1:])]
        return [
            Message(
                "assistant",
                response.text.strip(),
                tool_calls=calls,
                reasoning=response.reasoning,
                continuation=response.continuation,
            ),
            *(Message("tool", said, tool_call_id=call.id) for call, said in zip(calls, answers, strict=True)),
        ]

    # -- values for the prompts --------------------------------------------------------------------------------------

    def _session_values(self, state: SessionState) -> dict[str, str]:
        started = state.started or SessionStarted(format=FORMAT, task="", window=self._config.window)
        metric, limits = started.metric, state.limits
        goal, direction, baseline = "the score that validate reports", "", ""
        if metric is not None:
            direction = f"{'higher' if metric.direction == 'maximize' else 'lower'} is better"
            baseline = "" if metric.baseline is None else f"{metric.baseline:g}"
            known = f"; the baseline has {baseline}" if baseline else ""
            goal = f"{metric.name} ({direction}{known})"
        return {
            "workspace": state.workspace,
            "window": str(started.window),
            "steps": "no limit" if limits.steps is None else str(limits.steps),
            "cost": "no limit" if limits.cost is None else f"${limits.cost:.2f}",
            "command_docs": self._commands,
            "answer_format": self._parser.instructions,
            "task": started.task,
            "task_name": started.task_name or started.task,
            "description": started.description.strip(),
            "goal": goal,
            "metric": metric.name if metric else "",
            "direction": direction,
            "baseline": baseline or "unknown",
        }

    def _budget(self, state: SessionState) -> str:
        limits = state.limits
        left = []
        if limits.steps is not None:
            steps = max(0, limits.steps - sum(step.counts for step in state.steps[1:] if step.over))
            left.append(many(steps, "step"))
        if limits.cost is not None:
            left.append(f"${max(0.0, limits.cost - state.cost):.2f}")
        return f"(Left: {', '.join(left)}.)" if left and self._config.tell_budget else ""

    # -- steps -------------------------------------------------------------------------------------------------------

    def _own(self, step: Step) -> list[Message]:
        """A turn of the model and its outcome."""
        told = step.edited and (self._config.tell_edits if step.edit_told is None else step.edit_told)
        thought, action = (step.proposed_thought, step.proposed) if told else (step.thought, step.action)
        turn = self._parser.turn(thought, action, step.number)
        if turn.tool_calls and (thought, action) == (step.proposed_thought, step.proposed):
            # Signed reasoning belongs to the very call that it led to.
            turn = replace(turn, reasoning=step.answer.reasoning, continuation=step.answer.continuation)
        notes = [step.remark] if step.remark else []
        if told:
            notes += _edits(step)
        content, span = self._outcome(step)
        head = "".join(f"{note}\n\n" for note in (*notes, *_events(step)))
        answer = Message("user", head + content, step=step.number, output=(span[0] + len(head), span[1] + len(head)))
        if turn.tool_calls:
            answer = replace(answer, role="tool", tool_call_id=turn.tool_calls[0].id)
        return [turn, answer]

    def _outcome(self, step: Step) -> tuple[str, tuple[int, int]]:
        """The outcome of a step without the notes, and the span of the command's output in it."""
        if step.status == "rejected":
            return _rejection(step), (0, 0)
        values = _step_values(step)
        observation = step.observation.rstrip("\n")
        if not observation.strip():
            return prompts.fill(self._config.prompts.no_output, values), (0, 0)
        return prompts.fill_observation(self._config.prompts.next_step, values, observation)

    def _human(self, state: SessionState, index: int) -> list[Message]:
        """A command that a person ran in the shell."""
        step = state.steps[index]
        before, after = state.steps[index - 1], state.steps[index + 1 : index + 2]
        begins = not (_by_person(before) and before.over)
        head = "A person took over the shell and ran:" if begins else "The person went on:"
        head = f"{head}\n{_quoted(step.action)}\n\n" + "".join(f"{note}\n\n" for note in _events(step))
        observation = step.observation.rstrip("\n")
        output = observation or "(It printed nothing.)"
        tail = f"\n\n{_status(step)}"
        if step.changes:
            tail += f"\n\nFiles changed by that: {', '.join(_changes(step))}."
        if not (after and _by_person(after[0])):
            tail += "\n\nThe shell is yours again."
        span = (len(head), len(head) + len(observation)) if observation else (0, 0)
        return [Message("user", head + output + tail, step=step.number, output=span)]


def message_json(message: Message) -> str:
    """The message as the log keeps it: one JSON object without empty fields."""
    optional: dict[str, Any] = {
        "tool_calls": [_call(call.id, call.name, call.arguments) for call in message.tool_calls],
        "tool_call_id": message.tool_call_id,
        "continuation": message.continuation,
        "step": message.step,
        "elided": message.elided,
    }
    given = {name: value for name, value in optional.items() if value not in ("", [], None)}
    return json.dumps({"role": message.role, "content": message.content, **given}, ensure_ascii=False)


def tools_json(tools: Sequence[Tool]) -> str:
    """The offered tools as the log keeps them: a JSON array with name, description and schema of the parameters."""
    return json.dumps([tool.declared() for tool in tools], ensure_ascii=False)


def response_text(response: Response) -> str:
    """An answer as the log keeps it: its text, and each tool call as a line of JSON after it."""
    calls = [
        json.dumps(_call(call.id, call.name, call.raw_arguments or call.arguments), ensure_ascii=False)
        for call in response.tool_calls
    ]
    return "\n".join([*([response.text] if response.text or not calls else []), *calls])


def _call(identifier: str, name: str, arguments: Mapping[str, Any] | str) -> dict[str, Any]:
    return {"id": identifier, "name": name, "arguments": arguments if isinstance(arguments, str) else dict(arguments)}


def _by_person(step: Step) -> bool:
    return step.author.startswith("human:")


def _injected(author: str, text: str) -> Message:
    who = "A person tells you" if author.startswith("human:") else "A note of the workbench"
    return Message("user", f"{who}: {text}")


def _new_shell(shell: NewShell) -> str:
    """What a model is told about a new shell, and what it knows of the one before."""
    gone = "shell variables, functions and background jobs of before are gone"
    if shell.given or shell.gone:
        gone = f"the shell has these as before: {', '.join(shell.given) or 'nothing'}"
        gone += f"; these are gone: {', '.join(shell.gone)}" if shell.gone else ""
    where = f" You are in {shell.cwd}." if shell.cwd else ""
    if not shell.resumed:
        return f"the shell ended, and there is a new one: {gone}.{where}"
    files = "The files of the workspace are as they were"
    if shell.not_restored:
        files += f", but for these, which are lost: {first_of(shell.not_restored)}"
    return (
        f"the session was interrupted here and goes on in a new sandbox. {files}; {gone}. What was outside of the "
        f"workspace is gone, too.{where}"
    )


def _quoted(action: str) -> str:
    """A command as it looks at a prompt."""
    first, *rest = action.split("\n")
    return "\n".join([f"$ {first}", *(f"> {line}" for line in rest)])


def _edits(step: Step) -> Iterator[str]:
    """What a person changed in the model's turn, one sentence each."""
    if step.thought != step.proposed_thought:
        changed = f"What it says now:\n{step.thought}" if step.thought.strip() else "It says nothing now."
        yield f"A person changed your thought before the action was run. {changed}"
    if step.action != step.proposed and step.status != "rejected":
        yield f"A person changed your action before it was run. What was run instead:\n{_quoted(step.action)}"


def _rejection(step: Step) -> str:
    if not step.rejected_by.startswith("human:"):
        return f"The action was not run{f' ({step.comment})' if step.comment else ''}."
    said = f"What they say: {step.comment}" if step.comment else "They gave no reason."
    return f"A person looked at your action and decided against it; it was not run. {said}"


def _events(step: Step) -> Iterator[str]:
    """What else happened in a step, one sentence each."""
    if step.status == "refused":
        yield "The action was refused as it stands; nothing of it was run."
    took = f" after {_seconds(step.duration)}" if step.duration else ""
    if step.timed_out:
        yield f"The command was stopped{took}, at its time limit. What it printed until then is kept."
    elif step.interrupted:
        yield f"The command was interrupted{took}.{' What it printed until then is kept.' if took else ''}"
    if step.shell_restarted:
        yield "The shell ended with it; there is a new one in the same directory, without variables, functions or jobs."


def _changes(step: Step) -> Iterator[str]:
    for change in step.changes[:_MOST_FILES]:
        yield f"{change.path} ({change.kind})"
    if len(step.changes) > _MOST_FILES:
        yield f"and {len(step.changes) - _MOST_FILES} more"


def _step_values(step: Step) -> dict[str, str]:
    window = step.window
    return {
        "status": _status(step),
        "exit_code": "unknown" if step.exit_code is None else str(step.exit_code),
        "cwd": step.cwd,
        "open_file": window.path if window else "none",
        "duration": _seconds(step.duration) if step.duration else "unknown",
        "step": str(step.number),
    }


def _status(step: Step) -> str:
    parts = ["exit code unknown" if step.exit_code is None else f"exit code {step.exit_code}"]
    if step.duration >= 1:
        parts.append(f"after {_seconds(step.duration)}")
    if step.cwd:
        parts.append(f"in {step.cwd}")
    if step.window is not None:
        window = step.window
        parts.append(
            f"open file: {window.path}, lines {window.first_line} to {window.last_line} of {window.total_lines}"
        )
    return f"[{'; '.join(parts)}]"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
