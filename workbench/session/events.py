"""The events of a session: the one vocabulary that everything else is a fold over.

An event is a line of `events.jsonl`: `seq`, `event` (its name), `time` (RFC 3339, UTC), `elapsed` (seconds on the
monotonic clock since the session began) and the fields of that event. Names are a contract; fields only ever grow,
each new one with a default, so that old logs open in new versions and new logs open, as far as known, in old ones.
"""

from __future__ import annotations

from typing import Any, Literal, Union

import msgspec

from workbench.session.plain import refuse_deep, without_surrogates

FORMAT = 1
"""Version of the log format, written in the first event. Raised when an old reader could misread a new log."""

Mode = Literal["auto", "step", "paused", "human"]
Verdict = Literal["ok", "invalid", "timeout", "crashed", "missing"]
Direction = Literal["maximize", "minimize"]
Against = Literal["", "better", "about", "worse"]
AGAINST: dict[Against, str] = {
    "": "",
    "better": "beats the baseline",
    "about": "about the baseline",
    "worse": "worse than the baseline",
}
"""How a score stands to the baseline, in words."""
_SURE = 2
"""A difference shows nothing below so many times the score's own standard error."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What may be spent. None is no limit."""

    steps: int | None = None
    seconds: float | None = None
    """Seconds on the session's clock (pauses do not count)."""
    cost: float | None = None
    """US dollars."""
    tokens: int | None = None
    """Of input and output together; counts where the price of the model is not known."""
    validates: int | None = None
    """How often `validate` scores the work."""


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """The primary metric of the task: a number, and which way is better."""

    name: str
    direction: Direction = "maximize"
    baseline: float | None = None

    def against(self, score: float | None, standard_error: float | None = None) -> Against:
        """How a score stands to the baseline; nothing where either is unknown."""
        if score is None or self.baseline is None:
            return ""
        gain = self.baseline - score if self.direction == "minimize" else score - self.baseline
        if abs(gain) <= _SURE * (standard_error or 0.0):
            return "about"
        return "better" if gain > 0 else "worse"


class Parent(msgspec.Struct, frozen=True, kw_only=True):
    """Where a forked session comes from."""

    session: str
    step: int


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a model call cost."""

    input_tokens: int = 0
    """All that was sent, whether it came from a cache, was written to one, or neither."""
    output_tokens: int = 0
    """All that was answered, reasoning included."""
    cached_tokens: int = 0
    """Of the input: read from the provider's cache."""
    cache_write_tokens: int = 0
    """Of the input: written to the provider's cache."""
    reasoning_tokens: int = 0
    """Of the output: spent on reasoning."""
    cost: float | None = None
    """US dollars; None when the price is unknown."""


class FileChange(msgspec.Struct, frozen=True, kw_only=True):
    """One file, or one folder, of the workspace that differs from the step before."""

    path: str
    """Relative to the workspace, with '/' between parts. A byte of a name that is no UTF-8 stands as NUL, which no name
    has, and two hexadecimal digits (`target` alike): see `workbench.session.snapshot`."""
    kind: Literal["added", "modified", "deleted"]
    object: str | None = None
    """sha256 of the content in `objects/` (which may hold it in chunks); None when deleted or too large to keep, and of
    a folder."""
    size: int = 0
    mode: int = 0o644
    target: str | None = None
    """Where a symbolic link points; None for a regular file."""


class FinalScores(msgspec.Struct, frozen=True, kw_only=True):
    """The primary metric over the session; None where nothing was scored."""

    metric: str = ""
    baseline: float | None = None
    best: float | None = None
    """Among the scores of one split: of what was validated, else of what was submitted."""
    last: float | None = None
    best_split: str = ""
    """The split of the data that best was scored on; logs of older versions do not say."""
    last_split: str = ""
    caveats: list[str] = []
    """What must be said with best and last, wherever they are shown; nothing for most."""
    worse_than_baseline: bool = False
    """The best would have been better without any work."""
    best_error: float | None = None
    """The standard error of the best, where the evaluator is stochastic."""
    against_baseline: Against = ""
    """How the best stands to the baseline; nothing where that is not known, or in logs of older versions."""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """What the whole session took, so that a list need not read all of its log."""

    model: str = ""
    """The one that was asked last."""
    cost: float | None = None
    """US dollars; None where the price of a call is unknown."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    """None where no model said."""
    working: float = 0.0
    """Seconds, without pauses."""


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """Fields that every event has. `seq`, `time` and `elapsed` are filled in by the log."""

    seq: int = -1
    time: str = ""
    elapsed: float = -1.0

    @property
    def name(self) -> str:
        """The event's name, as in `event` of its line."""
        return str(self.__struct_config__.tag)


class Naming(Event, kw_only=True, frozen=True):
    """An event that names what this machine will use (code, a task, a server) or how much may be spent."""

    mark: str = ""
    """Proves that a process of this user wrote it (see `workbench.session.marks`); empty in older logs."""


class SessionStarted(Naming, tag="session.started", kw_only=True, frozen=True):
    """First line of every log."""

    format: int
    session: str = ""
    """Id of the session: the name of its folder."""
    task: str
    task_folder: str = ""
    """Where the task is, when it was named by its path and not found by its id."""
    task_name: str = ""
    description: str = ""
    """The task as the agent reads it."""
    agent: str = ""
    agent_reference: str = ""
    """How the agent is found again: a name, the path of its file, or `module:Class`; empty where there is none."""
    model: str = ""
    base_url: str = ""
    """The server of the model, where it is not the provider's own."""
    sandbox: str = ""
    limits: Limits = Limits()
    seed: int | None = None
    metric: Metric | None = None
    dataset: str = ""
    """Variant of the task's data: empty for the real thing, `tiny` for the generated stand-in."""
    protocol: str = ""
    """How scores come about: empty for our own rules, `mlgym` for MLGym's (`validate` sees the test data)."""
    starter: str = ""
    """Where the files are from that the agent started with, where they are not the task's: a folder, or the recording
    that shows them.
    """
    starting_files: list[FileChange] = []
    """Those files."""
    workspace: str = "/home/agent/workspace"
    """Path of the workspace inside the sandbox."""
    window: int = 100
    """Lines of the agent's file window."""
    tools: list[str] = []
    """The agent commands that were switched on by the agent (see workbench.sandbox.commands.OPTIONAL_COMMANDS)."""
    user: str = ""
    versions: dict[str, str] = {}
    parent: Parent | None = None
    gpus: str = ""
    """Which GPUs were asked for, as `--gpus` says it; empty: as many as the task needs."""
    approve: str = ""
    """What waits for a person though the agent drives: `always`, the path of a file with rules, or nothing."""
    person: str = ""
    """Whose steps a person's are, where that is not `user`."""
    interface: str = ""
    """With what a person works who is the agent: `shell`, their own terminal; empty: the workbench."""
    blind: bool = False
    """No score is shown before the end."""
    submit_best: bool = False
    """A submission that is worse than the best that was validated is that one instead."""
    printed_metrics: list[str] = []
    """Regular expressions of the task for metrics that programs print (`workbench.library.training.OwnPattern`)."""
    agent_command: str = ""
    """The program that is the agent, as bash is given it; empty for agents of the workbench."""
    agent_env: list[str] = []
    """Its settings, NAME=VALUE; without the values of secrets."""
    agent_mount: list[str] = []
    """Folders of the machine that it saw in the sandbox, besides its own."""
    agent_on_host: bool = False
    """It ran on the machine, and not in the sandbox."""
    upstream: str = ""
    """Where its answers were from, as `--upstream` says it."""
    upstream_model: str = ""
    """The model that was asked, in place of the one that the program named."""
    sweep: str = ""
    """The job of a sweep that it is, by its key."""
    source: str = ""
    """Format a foreign session was read from ("mlgym"); empty for our own."""
    imported: str = ""
    """The file that it was imported from, as it is opened; empty where it was not."""


class SandboxReady(Event, tag="sandbox.ready", kw_only=True, frozen=True):
    """A sandbox (or, with `restarted`, only its shell) is up."""

    sandbox: dict[str, Any] = {}
    """What `Sandbox.describe()` says: backend, isolation, limits, image."""
    cwd: str = ""
    restarted: bool = False
    """Only the shell came back, after it died."""
    reason: str = ""
    shell_given: list[str] = []
    """Variables, functions and aliases that a shell before it held, and this one holds, too."""
    shell_gone: list[str] = []
    """What that held besides, and this one does not."""


class SessionResumed(Naming, tag="session.resumed", kw_only=True, frozen=True):
    """A saved session goes on in a new process."""

    user: str = ""
    versions: dict[str, str] = {}
    limits: Limits | None = None
    workspace: str = ""
    """Path of the workspace from now on, where it is another (an unprotected local sandbox); else empty."""
    gpus: str = ""
    """Which GPUs were asked for from now on; empty: as before."""
    approve: str = ""
    """What waits for a person from now on (`never`: nothing); empty: as before."""
    not_restored: list[str] = []
    """Files of the workspace that are gone: too large to have been kept, or lost. The first twenty."""
    trusted: list[str] = []
    """What a session that is not this user's own was allowed to use: `code`, `task`, `server`."""


class MessageNote(msgspec.Struct, frozen=True, kw_only=True):
    """What can be said of a message without opening it."""

    role: str = ""
    tokens: int | None = None
    """An estimate, as `PromptSent.counted_by` says."""
    elided: str = ""
    """Why part of it was left out; empty when nothing was."""
    step: int | None = None
    """The step that the message describes; None where it describes none."""


class PromptSent(Event, tag="prompt.sent", kw_only=True, frozen=True):
    """What a model was sent. Messages are hashes into `objects/`.

    So that the log stays linear, `messages` has only those that the `prompt.sent` before it in this log had not; `same`
    says where the others stood in that. `workbench.session.prompts` puts a prompt together again.
    """

    messages: list[str]
    model: str = ""
    step: int | None = None
    """The step that was asked for; None in older logs."""
    attempt: int = 1
    alternative: int = 0
    """As `ModelResponded.alternative`."""
    notes: list[MessageNote] = []
    """One for each of `messages`; none in older logs."""
    same: list[tuple[int, int, int]] = []
    """Runs of messages as they were in the prompt before: place in this one (from 0), place in that, how many."""
    base: int | None = None
    """`seq` of that prompt; None: of the one before in this log."""
    count: int | None = None
    """Messages in all; None in older logs."""
    counted_by: str = ""
    """How tokens of messages and tools were counted: `estimate`; empty where they were not."""
    budget: int | None = None
    """The most tokens that messages may have; None where nothing limits them."""
    tools: str = ""
    """sha256 in `objects/` of the schemas of the tools offered, as JSON; empty without any."""
    tool_tokens: int = 0
    settings: dict[str, Any] | None = None
    """Sampling as it was sent, by the provider's own names; None where that is not known."""
    conversation: str = ""
    """Of an agent program: which of its conversations with the model it goes on with, counted from 1."""
    relation: str = ""
    """Of an agent program: `retry` of the call before it, or `parallel` to one that is under way; mostly neither."""
    protocol: str = ""
    """Of an agent program: in which its messages are: chat | responses | messages | gemini."""


class ModelDrafted(Event, tag="model.drafted", kw_only=True, frozen=True):
    """More of an answer has come, which takes its time: where no end of it follows, this is what came."""

    prompt: int
    """`seq` of the `prompt.sent` that it answers."""
    text: str = ""
    """What came since the one before: text, then each call of a tool."""
    reasoning: str = ""


class ModelResponded(Event, tag="model.responded", kw_only=True, frozen=True):
    """What a model (or a policy) answered."""

    text: str
    model: str = ""
    author: str = ""
    """Whose answer it is, as its steps are signed; empty in older logs, which have only the model."""
    usage: Usage | None = None
    latency: float = 0.0
    attempt: int = 1
    alternative: int = 0
    """As which alternative to the proposal under review; 0: as a proposal."""
    reasoning: str = ""
    """What the provider shows of the model's reasoning before it."""
    continuation: str = ""
    """What the model wants back, unchanged, when the action that it called for is told of: JSON with its name and
    signed reasoning. Nobody else can read it."""
    conversation: str = ""
    """As in its `prompt.sent`."""
    prompt: int | None = None
    """`seq` of the `prompt.sent` that it answers; None: the event before it, if it is one."""
    body: str = ""
    """Of an agent program: sha256 in `objects/` of the answer as its server sent it."""
    media: str = ""
    """The type of that content."""


class ModelFailed(Event, tag="model.failed", kw_only=True, frozen=True):
    """A model call that gave nothing to run."""

    cause: str
    """auth | rate_limit | context_length | content_filter | quota | cost_limit | bad_format | network | error"""
    message: str
    attempt: int = 1
    prompt: int | None = None
    """`seq` of the `prompt.sent` of which nothing came; None where that came just before."""


class ActionProposed(Event, tag="action.proposed", kw_only=True, frozen=True):
    """A step begins: somebody proposes an action."""

    step: int
    author: str
    """`model:<name>`, `policy:<name>` or `human:<user>`."""
    action: str
    thought: str = ""
    remark: str = ""
    """What the model is told about its answer with the outcome: that it asked for more than was run."""
    answer: int | None = None
    """`seq` of the `model.responded` that it is from; None: of the one before it, if of any."""
    conversation: str = ""
    """As in that event."""


class ActionSampled(Event, tag="action.sampled", kw_only=True, frozen=True):
    """A person asked for alternatives to the proposal under review: this is one of them."""

    step: int
    alternative: int
    """Counted from 1 in each step; those that gave nothing to run have a number, too."""
    author: str
    action: str
    thought: str = ""
    remark: str = ""
    temperature: float | None = None
    """At which it was drawn; None: as the provider has it."""


class ActionChosen(Event, tag="action.chosen", kw_only=True, frozen=True):
    """An alternative takes the place of the proposal, as if it had been proposed at once."""

    step: int
    alternative: int
    """0: what was proposed first."""
    author: str
    """Who chose."""


class ActionEdited(Event, tag="action.edited", kw_only=True, frozen=True):
    """The proposal was changed before it ran; the original stays in `before` and `thought_before`."""

    step: int
    author: str
    before: str
    after: str
    thought_before: str | None = None
    thought_after: str | None = None
    """Both None where the thought was left as it is."""
    told: bool | None = None
    """Whether the model learns of the change; None: as its agent is configured."""


class ActionRejected(Event, tag="action.rejected", kw_only=True, frozen=True):
    """The proposed action will not run. The step is over."""

    step: int
    author: str
    comment: str = ""


class ActionStarted(Event, tag="action.started", kw_only=True, frozen=True):
    """The action goes to the shell. `author` is who is responsible for what is run."""

    step: int
    author: str
    action: str


class ActionFinished(Event, tag="action.finished", kw_only=True, frozen=True):
    """The action is over: what came back."""

    step: int
    exit_code: int | None
    observation: str
    """What a terminal would show, capped with head and tail."""
    truncated: bool = False
    cwd: str = ""
    duration: float = 0.0
    """Seconds the command ran; 0 where that is not known."""
    cast: tuple[float, float] | None = None
    """Span in `shell.cast`, seconds."""
    raw: str | None = None
    """sha256 of the raw bytes in `objects/` where the output was not text."""
    refused: bool = False
    """Nothing was run: a syntax error; in foreign logs also what was blocked, or no action at all."""
    interrupted: bool = False
    timed_out: bool = False
    signal: str = ""
    """The last signal that had to be sent: INT, TERM or KILL."""
    shell_restarted: bool = False
    """The command cost the shell; a new one runs in the same directory."""


class WindowChanged(Event, tag="window.changed", kw_only=True, frozen=True):
    """The agent's file window moved. Lines are counted from 1; all zero when the file is empty."""

    step: int
    path: str
    """Absolute path in the sandbox; empty when no file is open."""
    first_line: int = 0
    last_line: int = 0
    total_lines: int = 0
    current_line: int = 0
    text: str | None = None
    """The lines seen, where no snapshot holds the file (foreign sessions)."""


class WorkspaceSnapshot(Event, tag="workspace.snapshot", kw_only=True, frozen=True):
    """The files of the workspace after a step, as changes since the snapshot before."""

    step: int
    tree: str
    """Hash of the whole tree."""
    changes: list[FileChange] = []
    skipped: list[str] = []
    """Files too large to keep, or unreadable."""
    folders: list[FileChange] = []
    """Folders, with the permissions that they have, as changes likewise; none in older logs."""
    shell: str = ""
    """What is known of the agent's shell, where that changed: an object, as `workbench.session.shell_state` says."""


class Evaluation(Event, kw_only=True, frozen=True):
    """What an evaluation found: the body of `score.recorded`, while it is in no ledger."""

    split: str = "test"
    """Of the data."""
    verdict: Verdict = "ok"
    metrics: dict[str, float] = {}
    """Empty unless the verdict is ok."""
    score: float | None = None
    """The primary metric; None unless the verdict is ok."""
    standard_error: float | None = None
    """Of the score, where the evaluator is stochastic."""
    artifact: str | None = None
    """sha256 of what was scored (in a ledger: as it is in `artifacts/`); None where nothing could be read."""
    message: str = ""
    """What went wrong, for the author of the submission; empty when nothing did."""
    isolation: str = "sandbox"
    """`sandbox`, else `reduced isolation: landlock`, or `reduced isolation` where nothing else is to be had."""
    dataset: str = ""
    """What must be said of the data ("stand-in"); empty for the real thing, or none."""
    duration: float = 0.0
    """Seconds."""
    tampered: str = ""
    """A file of the task that nobody should change, and which the run had changed before."""

    @property
    def caveats(self) -> list[str]:
        """What must be said with the score, wherever it is shown; nothing for most."""
        isolation = "" if self.isolation == "sandbox" else self.isolation
        tampered = self.tampered and f"{self.tampered} was changed before"
        return [said for said in (isolation, self.dataset and f"data: {self.dataset}", tampered) if said]


class ScoreRecorded(Evaluation, tag="score.recorded", kw_only=True, frozen=True):
    """An entry of the score ledger."""

    step: int
    kind: Literal["validate", "submit", "autosubmit"] = "validate"
    artifact_name: str = ""
    visible_to_agent: bool = True
    author: str = ""
    """Who asked for it beside a step; empty: the author of the step, or an older log."""
    instead: int | None = None
    """The step whose artifact was submitted in the place of the one in the workspace, since it scored better."""
    scored_with: dict[str, str] = {}
    """Hashes of the task's files and data, and the version that scored it: what a rescoring compares with its own."""


class ToolUsed(Event, tag="tool.used", kw_only=True, frozen=True):
    """A tool that the host serves (memory, literature) was asked for, from inside the sandbox."""

    step: int
    tool: str
    """Name of the agent command: `memory_write`, `literature_search`, …"""
    query: str = ""
    """What was asked for, or the text that was to be kept; cut where it is very long."""
    results: int = 0
    """How many records, papers or pages came back."""
    source: str = ""
    """Where they are from: `memory`, `Semantic Scholar`, `arXiv`, the host of a link."""
    cached: bool = False
    """Nobody was asked over the network."""
    ok: bool = True
    message: str = ""
    """Why not, where it is not ok; else a remark."""
    duration: float = 0.0
    """Seconds, waiting for rate limits included."""


class ControlChanged(Event, tag="control.changed", kw_only=True, frozen=True):
    """Who drives, from now on."""

    mode: Mode
    author: str = ""
    reason: str = ""


class LimitsChanged(Naming, tag="limits.changed", kw_only=True, frozen=True):
    """What may be spent, from now on."""

    limits: Limits
    author: str = ""


class ActionExtended(Event, tag="action.extended", kw_only=True, frozen=True):
    """The command of a step may take longer than was allowed."""

    step: int
    author: str = ""
    seconds: float = 0.0
    """So much longer."""
    limit: float = 0.0
    """Seconds that it may take by now."""


class AgentChanged(Naming, tag="agent.changed", kw_only=True, frozen=True):
    """Another model, another temperature, or another agent, from the next call on."""

    model: str
    """`provider:name`."""
    base_url: str = ""
    """The server of the model, where it is not the provider's own."""
    temperature: float | None = None
    """None: as the provider has it; with `agent`, as that has it."""
    agent: str = ""
    """The agent that goes on with a fork, for people, where it is not that of the parent."""
    author: str = ""


class ClockPaused(Event, tag="clock.paused", kw_only=True, frozen=True):
    """The session's clock stands still."""

    reason: str = ""


class ClockResumed(Event, tag="clock.resumed", kw_only=True, frozen=True):
    """The session's clock runs again."""

    reason: str = ""


class ClockCorrected(Event, tag="clock.corrected", kw_only=True, frozen=True):
    """Somebody says how much was worked: the time on the session's clock is changed; what was measured stays."""

    seconds: float
    """That were worked besides (or, negative, were not)."""
    reason: str = ""
    author: str = ""


class MessageInjected(Event, tag="message.injected", kw_only=True, frozen=True):
    """Somebody told the agent something; it reads it before its next proposal."""

    author: str
    text: str


class BreakpointHit(Event, tag="breakpoint.hit", kw_only=True, frozen=True):
    """A condition to stop at was met."""

    step: int
    breakpoint: str


class MetricLogged(Event, tag="metric.logged", kw_only=True, frozen=True):
    """What a program printed of a metric while the step ran: one event for each name, thinned where it is long."""

    step: int
    name: str
    split: str = ""
    """train, val or test, where the name says so."""
    steps: tuple[float | None, ...] = ()
    """The program's own counts; None where it printed none."""
    values: tuple[float | None, ...] = ()
    """One for each of `steps`; None for what is no finite number."""
    total: float | None = None
    """Of the counts, where the program says how many there will be."""


class NoteAdded(Event, tag="note.added", kw_only=True, frozen=True):
    """A remark of a person (or of the workbench itself, with an empty author)."""

    text: str
    author: str = ""
    step: int | None = None


class SessionEnded(Event, tag="session.ended", kw_only=True, frozen=True):
    """The session is over (it may be resumed unless it was submitted)."""

    exit_status: str
    """submitted | autosubmission (C) | submission_not_found (C) | evaluation_format_error (C), with C max_steps,
    max_time, exit_cost, exit_format, exit_context, exit_api or agent_exited | actions_exhausted | stopped |
    interrupted | error | forked (and not gone on with yet)"""
    reason: str = ""
    session: str = ""
    """Absolute path of the session folder."""
    steps: int = 0
    """All of the log, whoever made them; a limit on steps counts an agent's alone."""
    scores: FinalScores = FinalScores()
    totals: Totals | None = None
    """None in older logs."""


_BASES = (Event, Naming, Evaluation)
EVENTS = tuple(event for base in _BASES for event in base.__subclasses__() if event not in _BASES)
"""All that there are, as they stand above."""

_NAMES = {event.__struct_config__.tag for event in EVENTS}
_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Union[EVENTS])  # noqa: UP007


class UnknownEvent(Exception):
    """An event of a later version: the reader may skip it."""


def encode(event: Event) -> bytes:
    """The event as one line of JSON, without the newline. Lone surrogates become U+FFFD."""
    try:
        return _encoder.encode(event)
    except UnicodeEncodeError:
        clean = msgspec.convert(without_surrogates(msgspec.to_builtins(event)), type(event))
        return _encoder.encode(clean)


def decode(line: bytes) -> Event:
    """An event from its line.

    Raises UnknownEvent for an event name this version does not know, and ValueError (msgspec.DecodeError among them)
    for anything that is not an event.
    """
    try:
        event = _decoder.decode(line)
        if isinstance(event, SandboxReady | PromptSent):
            refuse_deep([event.sandbox] if isinstance(event, SandboxReady) else [event.settings])
        return event
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except msgspec.ValidationError:
        try:
            raw = msgspec.json.decode(line)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        if isinstance(raw, dict) and isinstance(raw.get("event"), str) and raw["event"] not in _NAMES:
            raise UnknownEvent(raw["event"][:80]) from None
        raise
