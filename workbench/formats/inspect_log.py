"""Logs of Inspect: `.eval` (a zip of samples) and `.json`, of which each sample in each epoch is a run.

Of a sample the tool events are the record: at a limit the last call has no message any more. What was proposed stands
in the answer of the model, what ran in the tool event, who changed or stopped it in the approval before it, and the
exit code only in the sandbox event inside the tool's span.
"""

from __future__ import annotations

import mmap
import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from workbench.formats.archive import Archive
from workbench.formats.building import TrajectoryBuilder
from workbench.formats.reading import (
    as_action,
    decode,
    integer,
    items,
    map_file,
    number,
    record,
    refuse_crowded,
    seconds,
    text,
)
from workbench.session.events import Metric
from workbench.session.recording import Recording, RecordingError

SOURCE = "inspect"
_SHOWN = 6
_ATTACHED = re.compile(r"attachment://([0-9a-f]{32})")
_MOST_SENT = 10_000_000
"""Messages of all prompts together; what comes later is left out."""
_LONGEST_COMMAND = 65_536
_LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""Inspect's words for correct, partially correct, incorrect and no answer, as its own metrics count them."""


class _Name(msgspec.Struct):
    id: Any = ""
    epoch: Any = 1


class _Log(msgspec.Struct):
    status: Any = "started"
    eval: Any = None
    samples: list[msgspec.Raw] | None = None


def runs_in_inspect(path: Path) -> list[str]:
    """`SAMPLE/EPOCH` of each sample that the log holds."""
    with _Source(path) as source:
        return list(source.names)


def read_inspect(path: Path, sample: str = "") -> Recording:
    """The events of one sample; `sample` (`ID/EPOCH`) says which where there are several. Raises RecordingError."""
    with _Source(path) as source:
        names = list(source.names)
        fitting = [name for name in names if sample in ("", name, name.rpartition("/")[0])]
        if len(fitting) > 1 or (names and not fitting):
            which = ", ".join(f"{path.name}#{name}" for name in (fitting or names)[:_SHOWN])
            more = ", …" if len(fitting or names) > _SHOWN else ""
            said = f"has no sample {sample}" if not fitting else f"holds {len(fitting)} runs"
            raise RecordingError(f"{path} {said}", f"open one of them: {which}{more}")
        if not names:
            builder = TrajectoryBuilder(path, SOURCE)
            builder.start(text(source.spec.get("task")), model=text(source.spec.get("model")))
            builder.problems += source.problems
            builder.problems.append(f"it holds no sample (its status is {source.status}): all that ran is lost")
            builder.end(source.status)
            return builder.recording()
        found = source.sample(fitting[0])
    recording = _SampleReader(path, source.spec, source.status, found, len(names)).read()
    recording.problems += source.problems
    return recording


class _Source:
    """A log, whichever way it is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: dict[str, Any] = {}
        """Name of each sample → where it is."""
        self.problems: list[str] = []
        data = map_file(path)
        self._archive = Archive(path) if data[:4] == b"PK\3\4" else None
        if self._archive is not None:
            self.problems += filter(None, [self._archive.problem])
            for name in self._archive.members:
                if name.startswith("samples/") and name.endswith(".json"):
                    ident, _, epoch = name[len("samples/") : -len(".json")].rpartition("_epoch_")
                    self.names[f"{ident}/{epoch}"] = name
            head = next((each for each in ("header.json", "_journal/start.json") if each in self._archive.members), "")
            if not head:
                raise RecordingError(f"{path} is a zip file, but no log of Inspect", "it has no header.json")
            log = decode(self._archive.read(head), _Log, f"{path}: {head}")
        else:
            refuse_crowded(data, str(path), times=4)
            log = decode(data, _Log, str(path))
            for raw in log.samples or []:
                found = decode(raw, _Name, str(path))
                self.names[f"{found.id}/{found.epoch}"] = raw
        self.spec = record(log.eval)
        self.status = text(log.status) or "started"

    def __enter__(self) -> _Source:
        return self

    def __exit__(self, *_: object) -> None:
        if self._archive is not None:
            self._archive.__exit__()

    def sample(self, name: str) -> _Sample:
        data: bytes | mmap.mmap | msgspec.Raw = self.names[name]
        if self._archive is not None:
            data = self._archive.read(self.names[name])
            refuse_crowded(data, f"{self.path}: {name}", times=2)
        return decode(data, _Sample, f"{self.path}: {name}")


# -- a sample ----------------------------------------------------------------------------------------------------------


class _SampleEvent(msgspec.Struct):
    event: Any = ""
    id: Any = None
    span_id: Any = None
    parent_id: Any = None
    type: Any = None
    timestamp: Any = None
    function: Any = None
    arguments: Any = None
    result: Any = None
    error: Any = None
    working_time: Any = None
    events: list[_SampleEvent] | None = None
    """Older logs: what happened inside a tool."""
    action: Any = None
    cmd: Any = None
    call: msgspec.Raw = msgspec.Raw(b"null")
    """Of an approval; in answers of a model it is what went over the wire, and not read."""
    decision: Any = None
    approver: Any = None
    explanation: Any = None
    model: Any = None
    input: msgspec.Raw = msgspec.Raw(b"[]")
    input_refs: Any = None
    output: Any = None
    score: Any = None
    scorer: Any = None
    intermediate: Any = None
    source: Any = None
    data: Any = None
    metadata: Any = None


class _Sample(msgspec.Struct):
    id: Any = ""
    epoch: Any = 1
    input: Any = ""
    scores: Any = None
    events: list[_SampleEvent] = []
    started_at: Any = None
    error: Any = None
    limit: Any = None
    model_usage: Any = None
    metadata: Any = None
    events_data: msgspec.Raw = msgspec.Raw(b"{}")
    """Messages that events refer to."""
    attachments: msgspec.Raw = msgspec.Raw(b"{}")
    """Long texts, which stand elsewhere as `attachment://HASH`."""

    @property
    def name(self) -> str:
        return f"{self.id}/{self.epoch}"


class _Pool(msgspec.Struct):
    messages: list[msgspec.Raw] = []


class _SampleReader:
    def __init__(self, path: Path, spec: dict[str, Any], status: str, sample: _Sample, of: int) -> None:
        self.spec, self.status, self.sample = spec, status, sample
        self.builder = TrajectoryBuilder(path, SOURCE)
        self.name = f"{path.stem}#{sample.name}" if of > 1 else path.stem
        self.events = list(_flat(sample.events))
        self.inside = _inside_tools(self.events)
        self.attachments: dict[str, Any] | None = None
        self.approvals: dict[str, _SampleEvent] = {}
        """By the id of the call: the last word on it."""
        self.pool: list[msgspec.Raw] | None = None
        self.pooled: list[str] = []
        """Hashes of its messages, as far as they were asked for."""
        self.known: dict[bytes, str] = {}
        """Messages of prompts → their hashes."""
        self.sent = 0
        self.asked: dict[str, tuple[str, str]] = {}
        """Calls that the model made and nothing was heard of yet: id → action, thought."""

    def read(self) -> Recording:
        build, spec = self.builder, self.spec
        named = [text(event.scorer) for event in self.events if event.event == "score"]
        listed = (text(scorer.get("name")) for scorer in items(spec.get("scorers")))
        if name := next(filter(None, [*named, *record(self.sample.scores), *listed]), ""):
            build.metric = Metric(name=str(name))
        build.at(self.sample.started_at)
        given = self.sample.input
        description = text(given) if isinstance(given, str) else "\n".join(text(m.get("content")) for m in items(given))
        build.start(
            text(spec.get("task")), session=self.name, model=text(spec.get("model")),
            agent=text(spec.get("solver")), description=description,
            sandbox=text(record(spec.get("sandbox")).get("type")),
        )  # fmt: skip
        handlers = {
            "model": self._model, "approval": self._approval, "tool": self._tool, "score": self._score,
            "error": self._error, "info": self._info,
        }  # fmt: skip
        for event in self.events:
            if (handler := handlers.get(text(event.event))) is not None:
                handler(event)
        self._forget()
        self._scores()
        self._end()
        return build.recording()

    # -- one method per kind of event ----------------------------------------------------------------------------------

    def _model(self, event: _SampleEvent) -> None:
        self._forget()
        build, output = self.builder, record(event.output)
        build.at(event.timestamp)
        message = record(next(iter(items(output.get("choices"))), {}).get("message"))
        self._ask(event)
        usage, said = record(output.get("usage")), self._whole(text(message.get("content")))
        sent = sum(number(usage.get(f"input_tokens{kind}")) or 0 for kind in ("", "_cache_read", "_cache_write"))
        build.answer(text(event.model), said, sent, usage.get("output_tokens"), usage.get("total_cost"))
        if event.error is not None:
            build.failed("error", text(event.error) or text(record(event.error).get("message")))
        calls = items(message.get("tool_calls"))
        for place, call in enumerate(calls):
            action = self._whole(as_action(text(call.get("function")), call.get("arguments")))
            self.asked[text(call.get("id")) or f"{id(event)}-{place}"] = action, "" if place else said
        if not calls:
            build.note(said)

    def _ask(self, event: _SampleEvent) -> None:
        """What the model was sent: messages of its own, or from the pool."""
        refs = event.input_refs
        if self.pool is None:
            self.pool = decode(self.sample.events_data, _Pool, self.name).messages if refs else []
        sent = [self._message(bytes(each)) for each in decode(event.input, list[msgspec.Raw], self.name)]
        for ref in refs if isinstance(refs, list) else []:
            if isinstance(ref, list) and len(ref) == 2 and all(isinstance(end, int) for end in ref):
                begin, end = max(ref[0], 0), max(ref[1], 0)
                self.pooled += [self._message(bytes(each)) for each in self.pool[len(self.pooled) : end]]
                sent += self.pooled[begin:end]
        self.sent += len(sent)
        if self.sent < _MOST_SENT:
            self.builder.ask(sent)

    def _message(self, data: bytes) -> str:
        """The hash of a message, which is read once."""
        if data not in self.known:
            message = record(msgspec.json.decode(data))
            calls = (as_action(text(c.get("function")), c.get("arguments")) for c in items(message.get("tool_calls")))
            said = "\n".join([self._whole(text(message.get("content"))), *calls])
            self.known[data] = self.builder.said(text(message.get("role")), said)
        return self.known[data]

    def _approval(self, event: _SampleEvent) -> None:
        call = record(decode(event.call, Any, self.name))
        before = self.approvals.get(text(call.get("id")))
        changed = before is not None and before.decision == "modify" and event.decision == "approve"
        if event.decision != "escalate" and not changed:
            self.approvals[text(call.get("id"))] = event

    def _tool(self, event: _SampleEvent) -> None:
        build, ident, error = self.builder, text(event.id), record(event.error)
        action = self._whole(as_action(text(event.function), event.arguments))
        proposed, thought = self.asked.pop(ident, (action, ""))
        said = self.approvals.get(ident)
        approver = _author_of(said) if said is not None else ""
        comment = text(said.explanation) if said is not None else ""
        build.at(event.timestamp)
        message = text(error.get("message"))
        if error.get("type") == "approval" or (said is not None and said.decision in ("reject", "terminate")):
            build.act(proposed, thought=thought, rejected_by=approver or "policy:approver", comment=comment or message)
            return
        changed = proposed != action and said is not None and said.decision == "modify"
        result = event.result if isinstance(event.result, int | float | bool) else self._whole(text(event.result))
        shown = f"{result}\nError: {message}".lstrip("\n") if message else str(result)
        build.act(
            action, shown, author=text(record(event.metadata).get("author")), thought=thought,
            proposed=proposed if changed else None, edited_by=approver if changed else "",
            exit_code=self._exit_code(event), refused=error.get("type") == "parsing",
            timed_out=error.get("type") == "timeout", duration=seconds(event.working_time),
        )  # fmt: skip

    def _exit_code(self, event: _SampleEvent) -> int | None:
        """Of the one command that the tool ran: of several, that which the model asked for."""
        ran = [each for each in self.inside.get(id(event), []) if each.action == "exec"]
        if len(ran) > 1:
            asked = [text(value) for value in record(event.arguments).values()]
            ran = [each for each in ran if _last_word(text(each.cmd)) in asked]
        return integer(ran[0].result) if len(ran) == 1 else None

    def _score(self, event: _SampleEvent) -> None:
        self.builder.at(event.timestamp)
        primary = self.builder.metric.name if self.builder.metric is not None else "score"
        self._scored(text(event.scorer) or primary, record(event.score).get("value"), final=not event.intermediate)

    def _error(self, event: _SampleEvent) -> None:
        self.builder.note(text(record(event.error).get("message")))

    def _info(self, event: _SampleEvent) -> None:
        said = event.data if isinstance(event.data, str) else msgspec.json.encode(event.data).decode("utf-8", "replace")
        self.builder.note(f"{text(event.source) or 'info'}: {said}")

    def _whole(self, said: str) -> str:
        """A text with what it only names."""
        if "attachment://" not in said:
            return said
        if self.attachments is None:
            self.attachments = record(decode(self.sample.attachments, Any, self.name))
        attached = self.attachments
        return _ATTACHED.sub(lambda found: text(attached.get(found[1])) or found[0], said)

    # -- the end -------------------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        """Calls that nothing was heard of never ran."""
        for action, thought in self.asked.values():
            self.builder.act(action, thought=thought, rejected_by="", comment="it never got its turn")
        self.asked = {}

    def _scored(self, scorer: str, value: object, *, final: bool) -> None:
        values = value.items() if isinstance(value, dict) else [(scorer, value)]
        found = ((str(name), _as_number(each)) for name, each in values)
        metrics = {name: each for name, each in found if each is not None}
        primary = self.builder.metric.name if self.builder.metric is not None else ""
        if metrics and scorer == primary and primary not in metrics:
            metrics = {primary: next(iter(metrics.values())), **metrics}
        kind = "validate" if not final else "autosubmit" if self.sample.limit or self.sample.error else "submit"
        failed = value if value in ("timeout", "crashed", "missing") else "invalid"
        verdict = "ok" if metrics else failed
        message = "" if metrics else f"{scorer}: {value}"[:200]
        self.builder.score(self.builder.number, kind, verdict, metrics, message)  # type: ignore[arg-type]

    def _scores(self) -> None:
        """Of logs that have no event for them."""
        if not any(event.event == "score" and not event.intermediate for event in self.events):
            for scorer, score in record(self.sample.scores).items():
                self._scored(scorer, record(score).get("value"), final=True)

    def _end(self) -> None:
        build, limit, error = self.builder, record(self.sample.limit), record(self.sample.error)
        if not any(event.event == "model" for event in self.events):
            for model, usage in record(self.sample.model_usage).items():
                spent = record(usage)
                build.answer(model, "", spent.get("input_tokens"), spent.get("output_tokens"), spent.get("total_cost"))
        if self.status not in ("success", "error"):
            build.problems.append(
                f"the log itself has the status {self.status}: it holds the samples that were finished"
            )
        if error:
            build.end("error", text(error.get("message")))
        elif limit:
            build.end(
                f"limit ({text(limit.get('type'))})",
                f"{text(limit.get('type'))} limit {number(limit.get('limit')):g}" if number(limit.get("limit")) else "",
            )
        else:
            ours = record(self.spec.get("metadata")).get("format") == "mlgym-tui"
            build.end(text(record(self.sample.metadata).get("exit_status")) if ours else "success")


def _as_number(value: object) -> float | None:
    """A score as a number."""
    if isinstance(value, str):
        try:
            return _LETTERS[value] if value in _LETTERS else number(float(value))
        except ValueError:
            return None
    return float(value) if isinstance(value, bool) else number(value)


def _last_word(command: str) -> str:
    """The script in `bash -c SCRIPT`, as a log quotes it."""
    try:
        return shlex.split(command[:_LONGEST_COMMAND])[-1]
    except (ValueError, IndexError):
        return command


def _author_of(approval: _SampleEvent) -> str:
    name = text(approval.approver) or "approver"
    if author := text(record(approval.metadata).get("author")):
        return author
    return "human:approver" if name == "human" else f"policy:{name}"


def _flat(events: Iterable[_SampleEvent], levels: int = 8) -> Iterator[_SampleEvent]:
    for event in events:
        yield event
        if event.events and levels:
            yield from _flat(event.events, levels - 1)


def _inside_tools(events: list[_SampleEvent]) -> dict[int, list[_SampleEvent]]:
    """What each tool event had run in the sandbox: its span is the next of its kind under the same parent."""
    spans: dict[str, list[str]] = defaultdict(list)
    inside: dict[str, list[_SampleEvent]] = defaultdict(list)
    for event in events:
        if event.event == "span_begin" and event.type == "tool":
            spans[text(event.parent_id)].append(text(event.id))
        elif event.event == "sandbox":
            inside[text(event.span_id)].append(event)
    found: dict[int, list[_SampleEvent]] = {}
    for event in events:
        if event.event == "tool":
            mine = spans[text(event.span_id)]
            own = [each for each in event.events or [] if each.event == "sandbox"]
            found[id(event)] = own or (inside[mine.pop(0)] if mine else [])
    return found
