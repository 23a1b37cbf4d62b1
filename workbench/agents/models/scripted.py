"""`scripted:demo`: a policy that solves a task as a careful agent would, without a model or a key.

It reads the starter, validates the baseline, edits in a better solution, validates it and submits. It keeps no memory:
each proposal follows from the session so far. After an edited or rejected proposal, a failed command or a take-over it
reads the file again and goes on from there.
"""

from __future__ import annotations

import ast
import re
import shlex

import msgspec

from workbench.agents.agent import Agent, ModelError, Proposal
from workbench.agents.tools import here_document
from workbench.session.state import SessionState, Step

_HEADER = re.compile(r"^\[File: (?P<path>.+) \((?P<lines>\d+) lines? total\)\]", re.MULTILINE)
_MOST_FAILURES = 8


class _Progress(msgspec.Struct):
    """What the policy has achieved, and what it knows of the file since somebody last intervened."""

    lines: int | None = None
    """Lines of the file; None until the policy has read it after the last disturbance."""
    plainly: bool = False
    """A command of the file window failed: use plain shell commands."""
    baseline_done: bool = False
    made: bool = False
    """The program has run since its last change, so the submission is its work."""
    edited: bool = False
    validated: bool = False
    failures: int = 0
    """The policy's commands that failed since a person last intervened."""
    disturbance: str = ""


class ScriptedDemo(Agent):
    """Solves a task with a known solution; see the module. `solution` is the better version of the task's file `path`:
    the submission itself, or, with a `command`, the program that this command runs to write it.
    """

    name = "scripted"
    model = "scripted:demo"
    author = "policy:demo"
    trusted = True

    def __init__(self, path: str, solution: str, *, command: str = "") -> None:
        self._path = path
        self._command = command
        self._solution = solution if solution.endswith("\n") else solution + "\n"
        self._idea = _docstring(solution) or f"I write a better {path}."

    async def propose(self, state: SessionState) -> Proposal:
        """The next action. Raises ModelError if too many commands fail."""
        progress = self._progress(state.steps[1:])
        if progress.failures >= _MOST_FAILURES:
            raise ModelError("error", f"{progress.failures} commands failed; take over the shell and see why")
        file = shlex.quote(self._where(state))
        why = f"{progress.disturbance} " if progress.disturbance else ""
        if progress.lines is None:
            if progress.plainly:
                return Proposal(
                    f"wc -l {file}; cat {file}", f"{why}The file window failed me; I read the file plainly."
                )
            again = "again " if state.last_step else ""
            return Proposal(f"open {file}", f"{why}I read {self._path} {again}to see what is there.")
        if self._command and not progress.made and not progress.baseline_done:
            return Proposal(self._run(state), f"{why}I run {self._path} as it is, for a first submission.")
        if not progress.baseline_done:
            return Proposal("validate", f"{why}Before I change anything I want the score of what is there.")
        if not progress.edited:
            return self._edit(file, progress, why)
        if self._command and not progress.made:
            return Proposal(self._run(state), f"I run the new {self._path}.")
        if not progress.validated:
            return Proposal("validate", "Now the score of the new version.")
        return Proposal("submit", self._closing(state))

    def _where(self, state: SessionState) -> str:
        """The path of the file from the shell's folder: a person may have gone elsewhere."""
        return f"{state.workspace}/{self._path}" if _away(state) else self._path

    def _run(self, state: SessionState) -> str:
        """The command, run in the file's folder."""
        return f"cd {shlex.quote(state.workspace)}\n{self._command}" if _away(state) else self._command

    def _edit(self, file: str, progress: _Progress, why: str) -> Proposal:
        thought = f"{why}{self._idea}"
        if progress.plainly or not progress.lines:
            return Proposal(here_document(f"cat > {file}", self._solution), thought)
        return Proposal(f"edit 1:{progress.lines} {file}\n{self._solution}end_of_edit", thought)

    def _closing(self, state: SessionState) -> str:
        scores = state.final_scores()
        if scores.last is None:
            return "I could not get a score, but the solution is in place: I submit it."
        against = "" if scores.baseline is None else f" against a baseline of {scores.baseline:.4f}"
        return f"{scores.metric} {scores.last:.4f}{against}: I submit it."

    def _progress(self, steps: list[Step]) -> _Progress:
        progress = _Progress()
        for step in steps:
            disturbance = self._disturbance(step)
            command = step.action.split(None, 1)[0] if step.action.split() else ""
            if disturbance is None:
                self._succeeded(progress, command, step)
                if self._command and step.action.endswith(self._command):
                    progress.made = True
                continue
            progress.lines, progress.edited, progress.validated, progress.made = None, False, False, False
            progress.disturbance = disturbance
            if step.author != self.author or step.status == "rejected" or step.edited:
                progress.failures, progress.plainly = 0, False
            else:
                self._failed(progress, command)
        return progress

    @staticmethod
    def _succeeded(progress: _Progress, command: str, step: Step) -> None:
        progress.disturbance = ""  # it was spoken of before this command
        if command == "open":
            found = _HEADER.search(step.observation)
            progress.lines = int(found["lines"]) if found else None
            progress.plainly = found is None
        elif command == "wc":
            count = step.observation.split(None, 1)[:1]
            progress.lines = int(count[0]) if count and count[0].isdigit() else 0
        elif command == "validate":
            progress.baseline_done = True
            progress.validated = progress.edited
        elif command in ("edit", "cat"):
            progress.edited, progress.made = True, False

    @staticmethod
    def _failed(progress: _Progress, command: str) -> None:
        progress.failures += 1
        if command == "validate":
            progress.baseline_done = True  # what is there has no score: a better version is all the more wanted
        elif command == "wc":
            progress.lines = 0  # there is nothing to read: write it anew
        elif command in ("open", "edit"):
            progress.plainly = True

    def _disturbance(self, step: Step) -> str | None:
        """Why the file may have changed unexpectedly in this step; None if all is well."""
        if step.author != self.author:
            return "Somebody worked in the shell meanwhile."
        if step.status == "rejected":
            return f"My proposal was rejected{f': {step.comment}' if step.comment else ''}."
        if step.edited:
            return "My action was changed before it ran."
        if step.status != "ran":
            return "My command was refused."
        if step.interrupted or step.timed_out:
            return "My command was stopped."
        if step.exit_code != 0:
            return f"My command failed with exit code {step.exit_code}."
        if step.shell_restarted:
            return "The shell was restarted."
        return None


def _away(state: SessionState) -> bool:
    """Whether the shell is in another folder than the workspace."""
    return state.current.cwd not in ("", state.workspace)


def _docstring(solution: str) -> str:
    """The idea of a Python solution: the first docstring in it."""
    try:
        tree = ast.parse(solution)
    except SyntaxError:
        return ""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef) and (text := ast.get_docstring(node)):
            return " ".join(text.split())
    return ""
