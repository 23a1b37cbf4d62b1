"""Which proposals of an agent that drives by itself wait for a person: all, none, or those that rules name.

What a rule sees is the text of the command. Bash can hide anything from that, so rules keep an agent from mistakes;
what keeps it from the host is the sandbox.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import msgspec

from workbench.library.expression import Expression, TooSlow
from workbench.session.state import SessionState, Step

if TYPE_CHECKING:
    from workbench.library.filter import Filter

Verdict = Literal["ask", "run"]
RULES_HINT = "docs/agents.md says what such a file holds"


class Rule(msgspec.Struct, frozen=True):
    """Holds for a step when all that it names does; None is not looked at."""

    command: Expression | None = None
    """Found in the action; with `then` run, it must be the whole action, and that one line."""
    path: str | None = None
    """A pattern like `data/*` (a `*` goes over `/` too), relative to the workspace or absolute."""
    network: bool = False
    cost: float | None = None
    """US dollars: holds for the step with which the session has cost another so much."""
    when: Filter | None = None
    """A condition, as breakpoints have them (`workbench.library.moments`)."""
    then: Verdict = "ask"
    reason: str = ""

    def holds(self, state: SessionState, step: Step) -> bool:
        """Whether it is about this step."""
        if self.command is not None and not self._names(self.command, step.action):
            return False
        if self.when is not None:
            from workbench.library.moments import fields_of  # when first needed: it slows the start

            if not self.when.matches(fields_of(state, step), unsure=self.then == "ask"):
                return False
        if self.network and not looks_like_network(step.action):
            return False
        if self.path is not None and not touches(step.action, self.path, step.cwd, state.workspace):
            return False
        if self.cost is None:
            return True
        return int(state.cost / self.cost) > int((state.cost - step.spending.cost) / self.cost)

    def _names(self, command: Expression, action: str) -> bool:
        try:
            if self.then == "ask":
                return command.search(action) is not None
            # A blank in the expression may match a line end as well, and what follows would run unasked.
            whole = action.strip()
            return "\n" not in whole and command.fullmatch(whole) is not None
        except TooSlow:
            return self.then == "ask"

    def __str__(self) -> str:
        if self.reason:
            return self.reason
        said = [f"the command matches {self.command.pattern!r}"] if self.command else []
        said += ["it looks as if it used the network"] if self.network else []
        said += [f"it names {self.path}"] if self.path else []
        said += [f"this holds: {self.when.text}"] if self.when else []
        said += [f"another ${self.cost:g} is spent"] if self.cost else []
        return " and ".join(said)


class Approval(msgspec.Struct, frozen=True):
    """Decides about the newest step of a session, which has just been proposed: the first rule that holds does, and
    `otherwise` where none does.
    """

    rules: tuple[Rule, ...] = ()
    otherwise: Verdict = "run"

    def why_ask(self, state: SessionState) -> str:
        """Why a person has to approve it, in a few words; empty when it may run."""
        step = state.current
        for rule in self.rules:
            if rule.holds(state, step):
                return str(rule) if rule.then == "ask" else ""
        if self.otherwise == "run":
            return ""
        return "no rule lets it run" if self.rules else "every action is to be approved"


NEVER, ALWAYS = Approval(), Approval(otherwise="ask")


# -- what a command looks like -----------------------------------------------------------------------------------------

# Blanks are spelled out: with \s, which goes over line ends, long scripts would be looked through again for each line.
_COMMAND_START = (
    r"(?:^|[;&|({`]|\b(?:then|do|else|sudo|exec|nohup|time|xargs|env|command)[ \t])[ \t]*"
    r"(?:\w+=\S*[ \t]+)*(?:/[\w./-]*/)?"
)
_NETWORK = (
    rf"{_COMMAND_START}(?:"
    r"(?:curl|wget|ssh|scp|sftp|rsync|ftp|nc|ncat|netcat|telnet|socat|ping|dig|nslookup|aria2c|gsutil|rclone)(?![\w.-])"
    r"|git\s+(?:-\S+\s+)*(?:clone|fetch|pull|push|ls-remote|submodule)\b"
    r"|(?:pip[\d.]*|python[\d.]*\s+-m\s+pip|uv\s+pip|conda|mamba|npm|yarn|pnpm|gem|cargo|go|apt|apt-get|dnf|apk)\s+"
    r"(?:-\S+\s+)*(?:install|download|add|get|update|upgrade|i|create)\b"
    r"|uv\s+(?:add|sync|run)\b"
    r"|(?:hf|huggingface-cli|kaggle|aws|gcloud|docker|podman)\s+\S"
    r")"
    r"|\b(?:https?|ftp|ssh|git|s3|gs|wss?)://|/dev/(?:tcp|udp)/"
    r"|\b(?:import|from)\s+(?:requests|socket|urllib|httpx|aiohttp|ftplib|smtplib|paramiko|http\.client)\b"
    r"|\b(?:urlopen|urlretrieve|hf_hub_download|snapshot_download|load_dataset|from_pretrained)\s*\("
)
_SEPARATORS = re.compile(r"""[\s"'`;&|<>(){}=,]+""")


def looks_like_network(action: str) -> bool:
    """Whether a command looks as if it used the network."""
    return re.search(_NETWORK, action, re.MULTILINE) is not None  # compiled when first needed: it slows the start


def touches(action: str, pattern: str, cwd: str, workspace: str) -> bool:
    """Whether one of the words of a command, taken as a path, matches a pattern, or is a folder above what does."""
    wanted = posixpath.normpath(posixpath.join(workspace, pattern))
    return any(
        fnmatch.fnmatchcase(path, wanted) or fnmatch.fnmatchcase(f"{path}/", wanted) or wanted.startswith(f"{path}/")
        for path in _paths(action, cwd or workspace, workspace)
    )


def _paths(action: str, cwd: str, workspace: str) -> Iterator[str]:
    """The words of a command as absolute paths. Most are none; those do no harm."""
    for word in _SEPARATORS.split(action):
        if not word or word.startswith("-"):
            continue
        word = re.sub(r"^(?:~|\$HOME|\$\{HOME\})(?=/|$)", posixpath.dirname(workspace), word)
        if word != "/":
            yield posixpath.normpath(posixpath.join(cwd, word))
        else:
            yield ""
