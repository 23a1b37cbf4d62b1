"""Whether a step of one of our sessions came out again as it was recorded: exit code, output, scores and files.

Stricter than `comparing`, which reads other programs' words: here only chance is allowed for (see `normalising`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import zip_longest

from workbench.formats.comparing import Divergence, What, cause_of, moved, score_pairs, scores_in_words
from workbench.formats.normalising import is_ignored, normalised_lines, same_file
from workbench.session.events import FileChange, ScoreRecorded
from workbench.session.state import SessionState, Step

_FLOAT = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?|\b\d+\b")
_CHANCE = re.compile(r"urandom|\$RANDOM|\bshuf\b|uuidgen|\brandom\.(?!seed)(?!Random\(\d)\w+\(|sort -R|mktemp -u")
_LONGEST = 400
"""Characters that are shown of a side."""
_LARGEST = 64 << 20
"""Bytes of a file whose content is looked at where the hashes differ."""

CAUSES = {
    "time limit": "one of the two was ended by the limit on the time of a command",
    "interrupted": "a person interrupted it then",
    "person": "a person typed it at a terminal, and may have answered it",
    "cascade": "an earlier difference that was accepted",
    "order": "the same words in another order: of a set, of files in a folder, of what runs side by side",
    "numbers": "the same words with other numbers: chance without a seed, another library, or another machine",
    "network": "it wants the network, which there is none of here",
    "packages": "a Python package that is not installed here",
    "python": "a program that is not installed here",
    "refusal": "both refuse it, in other words",
    "create": "the words of `create` are others",
    "opponent": "the opponent and the evaluator cannot be seen or changed here",
    "scored here": "it could not be scored then",
    "chance": "it draws by chance, without a seed",
    "not reached": "the session had ended before",
    "text": "the task's files are not those that it had, or a program is another (--starter DIR gives the files)",
    "linter": "the linter refuses here what it took then, or the other way round",
    "listing": "other files are there",
    "data": "the task's data",
    "sandbox": "it ran in another kind of sandbox then",
    "edited": "the action, the environment or the log was changed since",
}


Content = Callable[[str], bytes | None]
"""The content of an object, where it is there."""


def check_step(
    recorded: Step,
    replayed: Step,
    states: tuple[SessionState, SessionState],
    contents: tuple[Content, Content] | None,
    said: str,
    excused: frozenset[str] = frozenset(),
    since: tuple[int, int] = (-1, -1),
) -> Divergence | None:
    """How a step of a replay differs from the recorded one, if it does.

    `states` and `contents` are those of recording and replay, in this order; without contents files are not compared.
    `said`: the actions up to here. `excused`: files whose differences were accepted. `since`: the
    steps that were looked at before.
    """
    then, now = states
    replayed = moved(replayed, now.workspace, then.workspace)

    def different(what: What, expected: str, got: str) -> Divergence:
        cause = _cause(recorded, replayed, what, expected, got)
        if cause == "edited" and then.sandbox.get("backend") != now.sandbox.get("backend"):
            cause = "sandbox"
        return Divergence(recorded.number, what, expected[:_LONGEST], got[:_LONGEST], cause)

    if recorded.exit_code is not None and recorded.exit_code != replayed.exit_code:
        tail = replayed.observation.strip().rpartition("\n")[2]
        return different("exit code", str(recorded.exit_code), f"{replayed.exit_code}{f': {tail}' if tail else ''}")
    pairs = score_pairs(recorded, replayed)
    if not all(pair.same for pair in pairs) or len(pairs) != sum(
        score.kind != "autosubmit" for score in replayed.scores
    ):
        return different("score", *scores_in_words(pairs))
    lines = [normalised_lines(step.observation, step.action, said) for step in (recorded, replayed)]
    if any(_figures(pair.recorded) != _figures(pair.replayed) for pair in pairs):
        lines = [[_FLOAT.sub("#", line) for line in each] for each in lines]  # within what chance explains
    if recorded.author.startswith("human:"):  # at a terminal of another width
        lines = [sorted(" ".join(each).split()) for each in lines]
    for expected, got in zip_longest(*lines):
        if expected != got and not (recorded.timed_out and replayed.timed_out):
            sides = ["(nothing)" if line is None else line for line in (expected, got)]
            return different("output", sides[0], sides[1])
    if contents is not None:
        steps = range(since[0] + 1, recorded.number + 1), range(since[1] + 1, replayed.number + 1)
        paths = different_files(steps, states, contents, said) - excused
        if paths:
            path = min(paths)
            told = [
                _described(state.file_at(path, step.number), state.folders_at(step.number), path)
                for state, step in zip(states, (recorded, replayed), strict=True)
            ]
            more = f" (and {len(paths) - 1:,} more)" if len(paths) > 1 else ""
            return different("files", f"{path}: {told[0]}{more}", f"{path}: {told[1]}{more}")
    return None


def _figures(score: ScoreRecorded | None) -> object:
    return None if score is None else (score.metrics, score.standard_error)


def different_files(
    steps: tuple[range, range], states: tuple[SessionState, SessionState], contents: tuple[Content, Content], said: str
) -> set[str]:
    """Paths that one of these steps changed, and that are not the same after the last of them."""
    then, now = states
    last = [numbers.stop - 1 for numbers in steps]
    found = set()
    for path in {
        change.path
        for state, numbers in zip(states, steps, strict=True)
        for step in state.steps[numbers.start : numbers.stop]
        for change in step.changes
    }:
        one, other = then.file_at(path, last[0]), now.file_at(path, last[1])
        if one is not other and (one is None or other is None or not _same(one, other, contents, said)):
            found.add(path)
    if then.has_folders:
        sides = [
            {folder.path: folder.mode for folder in state.folders_at(step)}
            for state, step in zip(states, last, strict=True)
        ]
        found |= {path for path in sides[0].keys() | sides[1].keys() if sides[0].get(path) != sides[1].get(path)}
    return {path for path in found if not is_ignored(path)}


def _same(one: FileChange, other: FileChange, contents: tuple[Content, Content], said: str) -> bool:
    if (one.target, one.mode) != (other.target, other.mode):
        return False
    if one.object == other.object:
        return one.object is not None or one.size == other.size
    if one.object is None or other.object is None or max(one.size, other.size) > _LARGEST:
        return False
    sides = [content(digest) for content, digest in zip(contents, (one.object, other.object), strict=True)]
    return sides[0] is not None and sides[1] is not None and same_file(one.path, sides[0], sides[1], said)


def _described(file: FileChange | None, folders: list[FileChange], path: str) -> str:
    if file is None:
        folder = next((folder for folder in folders if folder.path == path), None)
        return "not there" if folder is None else f"a folder, {folder.mode:o}"
    if file.target is not None:
        return f"a link to {file.target}"
    return f"{file.size:,} bytes, {file.mode:o}, {(file.object or 'not kept')[:12]}"


def _cause(recorded: Step, replayed: Step, what: What, expected: str, got: str) -> str:
    if recorded.timed_out != replayed.timed_out:
        return "time limit"
    if recorded.interrupted and not recorded.timed_out:
        return "interrupted"
    if recorded.author.startswith("human:") and what in ("output", "exit code"):
        return "person"
    if _CHANCE.search(recorded.action):
        return "chance"
    known = cause_of(recorded, replayed)
    if known:
        return known
    if what == "output" and sorted(re.findall(r"\w+", recorded.observation)) == sorted(
        re.findall(r"\w+", replayed.observation)
    ):
        return "order"
    if what == "output" and _FLOAT.sub("#", expected) == _FLOAT.sub("#", got):
        return "numbers"
    return "edited"
