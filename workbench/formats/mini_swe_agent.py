"""mini-swe-agent's trajectories: 1.1 and later (tool calls, text, the Responses API), and older bare lists of messages.

Messages are the record. A turn may hold several commands, whose outputs follow; a turn that could not be parsed has no
message of the model, only the complaint. What returned -1 with "action was not executed" did run all the same where it
was what submitted, or was interrupted.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from workbench.formats.building import TrajectoryBuilder
from workbench.formats.reading import (
    as_action,
    decode,
    decode_cut,
    integer,
    items,
    moment,
    number,
    read_bytes,
    record,
    refuse_crowded,
    text,
)
from workbench.session import events as ev
from workbench.session.recording import Recording

SOURCE = "mini-swe-agent"
PERSON = "human:user"
_NOT_RUN = "action was not executed"
_SUBMITS = re.compile(r"COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT|MINI_SWE_AGENT_FINAL_OUTPUT")
_FENCED = re.compile(r"```(?:mswea_bash_command|bash|sh)\s*\n(.*?)\n?```", re.DOTALL)
_TOLD = re.compile(
    r"(?:<exception>.*?</exception>\s*)?<returncode>(-?\d{1,9})</returncode>\s*<output>\n?(.*?)(?:</output>\s*)?\Z",
    re.DOTALL,
)


class _File(msgspec.Struct):
    messages: Any
    info: Any = None


def read_mini_swe_agent(path: Path, _sample: str = "") -> Recording:
    """The events of a trajectory of mini-swe-agent. Raises RecordingError."""
    data = read_bytes(path)
    refuse_crowded(data, str(path))
    builder = TrajectoryBuilder(path, SOURCE)
    if data.lstrip()[:1] == b"[":
        file = _File(decode(data, Any, str(path)))
    else:
        file = decode_cut(data, _File, str(path), "messages", builder.problems, "message")
    return _Reader(builder, items(file.messages), record(file.info)).read()


class _Reader:
    def __init__(self, builder: TrajectoryBuilder, messages: list[dict[str, Any]], info: dict[str, Any]) -> None:
        self.builder = builder
        self.messages = messages
        self.info = info
        self.place = 0
        """Of the next message."""
        self.told = 0
        """Of the first that the model was not sent yet."""

    def read(self) -> Recording:
        build = self.builder
        stats, config = record(self.info.get("model_stats")), record(self.info.get("config"))
        users = [_said(message) for message in self.messages if message.get("role") == "user"]
        stamps = (moment(record(message.get("extra")).get("timestamp")) for message in self.messages)
        build.at(min((stamp for stamp in stamps if stamp is not None), default=None))
        agent = record(config.get("agent"))
        build.start(
            build.path.name.removesuffix(".json").removesuffix(".traj"),
            model=text(record(config.get("model")).get("model_name")),
            agent=text(config.get("agent_type")).rpartition(".")[2], description=users[0] if users else "",
            limits=_limits_of(agent), cwd=text(record(config.get("environment")).get("cwd")),
        )  # fmt: skip
        first = next((place for place, each in enumerate(self.messages) if each.get("role") == "user"), -1)
        self.place = first + 1
        while self.place < len(self.messages):
            message = self.messages[self.place]
            self.place += 1
            self._take(message)
        if not any(record(each.get("extra")).get("cost") for each in self.messages) and stats:
            build.answer(build.model, "", cost=number(stats.get("instance_cost")))
        ending = record(self._last("exit").get("extra"))
        reason = text(ending.get("exception_str")) or text(self.info.get("exception_str"))
        build.end(text(self.info.get("exit_status")) or text(ending.get("exit_status")), reason[:2000])
        return build.recording()

    def _last(self, role: str) -> dict[str, Any]:
        return next((each for each in reversed(self.messages) if each.get("role") == role), {})

    def _take(self, message: dict[str, Any]) -> None:
        extra, build = record(message.get("extra")), self.builder
        kind, role = extra.get("interrupt_type"), message.get("role")
        commands = _commands_of(message)
        if kind == "FormatError":
            response = record(extra.get("response"))
            answer = record(next(iter(items(response.get("choices"))), {}).get("message")) or response
            reply = text(extra.get("model_response")) or _said(answer)
            build.failed("bad_format", _said(message), reply)
        elif role == "exit":
            return
        elif role == "user" and not commands:
            if kind:
                build.told(_said(message), PERSON)
            else:
                build.note(_said(message))
        elif role == "user":
            build.at(extra.get("timestamp"))
            self._run(commands, "", PERSON)
        elif role == "assistant" or message.get("object") == "response":
            build.at(extra.get("timestamp"))
            for each in self.messages[self.told : self.place - 1]:
                build.said(_role_of(each), _said(each))
            self.told = self.place - 1
            build.ask()
            usage = record(record(extra.get("response")).get("usage")) or record(message.get("usage"))
            sent = usage.get("prompt_tokens", usage.get("input_tokens"))
            got = usage.get("completion_tokens", usage.get("output_tokens"))
            build.answer(build.model, _said(message), sent, got, extra.get("cost"))
            if commands:
                self._run(commands, _said(message), "")
            else:
                build.note(_said(message))

    def _run(self, commands: list[Command], thought: str, author: str) -> None:
        """The commands of a message, with the outputs that follow it."""
        outputs = self._outputs(commands)
        after = self.messages[self.place] if self.place < len(self.messages) else {}
        kind = record(after.get("extra")).get("interrupt_type")
        submitted = after.get("role") == "exit" or kind == "UserNewTask"
        # Commands run in order: where the outputs stop, one of those that have none ended the turn.
        silent = [place for place, output in enumerate(outputs) if output is None or self._padded(output)]
        stops = [place for place in silent if submitted and _SUBMITS.search(commands[place].command)]
        last = stops[0] if stops else silent[0] if silent and kind != "UserRejection" else -1
        for place, (command, output) in enumerate(zip(commands, outputs, strict=True)):
            told: dict[str, Any] = {"author": author, "thought": "" if place else thought}
            if place in silent and place > last:
                comment = _said(after) if kind == "UserRejection" else "it never got its turn"
                self.builder.act(
                    command.command, comment=comment, rejected_by=PERSON if kind == "UserRejection" else "", **told
                )
                continue
            self._ran(command.command, output, place == last and kind == "UserInterruption", told)

    def _ran(self, action: str, output: dict[str, Any] | None, interrupted: bool, told: dict[str, Any]) -> None:
        extra = record(output.get("extra")) if output else {}
        shown = _said(output) if output else ""
        form = _TOLD.match(shown)
        code = integer(extra.get("returncode"))
        if code is None and form is not None:
            code = integer(int(form[1]))
        failed = text(extra.get("exception_info"))
        raw = extra.get("raw_output")
        if failed == _NOT_RUN:
            observation = ""
        else:
            observation = raw if isinstance(raw, str) else form[2] if form is not None else shown
            observation += f"\n{failed}" if failed else ""
        self.builder.act(
            action, observation.lstrip("\n") if failed else observation,
            exit_code=None if code == -1 or failed else code,
            timed_out=extra.get("exception_type") == "TimeoutExpired" or "timed out after" in failed,
            interrupted=interrupted, finished=extra.get("timestamp"), **told,
        )  # fmt: skip

    def _outputs(self, commands: list[Command]) -> list[dict[str, Any] | None]:
        """The output of each command: by the id of its call, else in their order; None where there is none."""
        found: list[dict[str, Any] | None] = [None] * len(commands)
        calls = {command.call: place for place, command in enumerate(commands) if command.call}
        upto = min(len(self.messages), self.place + len(commands))
        for free in range(len(commands)):
            if self.place >= upto:
                break
            message = self.messages[self.place]
            call = text(message.get("tool_call_id")) or text(message.get("call_id"))
            extra = record(message.get("extra"))
            is_output = bool(call) or "returncode" in extra or (not extra and message.get("role") == "user")
            if not is_output or (call and call not in calls) or extra.get("interrupt_type"):
                break
            found[calls.get(call, free)] = message
            self.place += 1
        return found

    @staticmethod
    def _padded(output: dict[str, Any]) -> bool:
        return text(record(output.get("extra")).get("exception_info")) == _NOT_RUN


# -- messages, in any of the shapes -----------------------------------------------------------------------------------


class Command(NamedTuple):
    command: str
    call: str = ""
    """Of a tool call: its id, by which the output is found."""


def _role_of(message: dict[str, Any]) -> str:
    kind = "assistant" if message.get("object") == "response" else "tool"
    return text(message.get("role")) or kind


def _limits_of(agent: dict[str, Any]) -> ev.Limits:
    """What may be spent; 0 is no limit."""
    return ev.Limits(
        steps=integer(agent.get("step_limit")) or None,
        cost=number(agent.get("cost_limit")) or None,
        seconds=number(agent.get("wall_time_limit_seconds")) or None,
    )


def _said(message: dict[str, Any]) -> str:
    """The text of a message, in any of the shapes."""
    output = message.get("output")
    if message.get("object") == "response":
        return "\n".join(text(part.get("content")) for part in items(output) if part.get("type") == "message")
    return text(output) or text(message.get("content"))


def _commands_of(message: dict[str, Any]) -> list[Command]:
    """The commands in a message of the model or of a person: as parsed, else its calls, else its code block."""
    parsed = record(message.get("extra")).get("actions")
    if isinstance(parsed, list):
        return [Command(text(each.get("command")), text(each.get("tool_call_id"))) for each in items(parsed)]
    calls = [(text(call.get("id")), record(call.get("function"))) for call in items(message.get("tool_calls"))]
    if message.get("object") == "response":
        calls = [(text(p.get("call_id")), p) for p in items(message.get("output")) if p.get("type") == "function_call"]
    if calls:
        return [Command(_called(function), call) for call, function in calls]
    blocks = _FENCED.findall(text(message.get("content"))) if message.get("role") == "assistant" else []
    return [Command(blocks[0])] if len(blocks) == 1 else []


def _called(function: dict[str, Any]) -> str:
    arguments = function.get("arguments")
    try:
        given = msgspec.json.decode(arguments) if isinstance(arguments, str) else arguments
    except (ValueError, RecursionError):
        given = arguments
    return as_action(text(function.get("name")), given)
