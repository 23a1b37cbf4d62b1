"""YAML files that people write, read as records of msgspec: every fault with its file, line and field.

Shared by the rooms that have such files (tasks, agents, rules). Cheap to import: yaml is loaded on first use.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec

from workbench.session.files import read_file
from workbench.session.plain import without_surrogates

if TYPE_CHECKING:
    import yaml

MAX_FILE = 1 << 20
"""Bytes of the largest file that is read."""

Place = tuple[str | int, ...]
"""Where a field is: ("metrics", 0, "direction")."""
Lines = dict[Place, int]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A group of fields. Unknown fields are refused, and values are not converted."""


_Part = TypeVar("_Part", bound=Part)
Finite = msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)
Number = Annotated[float, Finite]
NotEmpty = Annotated[str, msgspec.Meta(min_length=1)]


class Problem(msgspec.Struct, frozen=True):
    """One fault of a file."""

    file: Path
    line: int | None
    """Counted from 1; None when it belongs to no line."""
    field: str
    """"metrics.0.direction"; empty for the file as a whole."""
    message: str

    def __str__(self) -> str:
        place = str(self.file) + (f", line {self.line}" if self.line else "")
        return f"{place}: {self.field}: {self.message}" if self.field else f"{place}: {self.message}"


def read_yaml(
    file: Path,
    model: type[_Part],
    *,
    like: str,
    fault: Callable[[list[Problem]], Exception],
    check: Callable[[_Part], Iterable[tuple[Place, str]]] = lambda _: (),
    may_be_empty: bool = False,
) -> _Part:
    """The file as `model`. `like` names examples of such files ("the shipped tasks").

    `check` finds what no single field can say. Raises what `fault` makes of all faults that were found.
    """
    try:
        data = read_file(file, MAX_FILE, follow=True)
    except OSError as error:
        raise fault([Problem(file, None, "", f"cannot be read: {error.strerror}")]) from error
    found, lines, problems = _converted(file, data, model, like, may_be_empty)
    checked: _Part = found
    problems = problems or _on_lines(file, lines, check(checked))
    if problems:
        raise fault(problems)
    return checked


@functools.lru_cache(maxsize=64)  # the tasks are looked through again and again
def _converted(
    file: Path, data: bytes, model: type[Part], like: str, may_be_empty: bool
) -> tuple[Any, Lines, list[Problem]]:
    """The file's content as `model`, the line of each field, and what is wrong."""
    raw, lines, problems = _parse(file, data, like, may_be_empty)
    if problems:
        return None, lines, problems
    try:
        return msgspec.convert(raw, model), lines, []
    except msgspec.ValidationError as error:
        from workbench.yamlfaults import faults

        found = [*faults(raw, msgspec.inspect.type_info(model), ())] or [((), str(error))]
        return None, lines, _on_lines(file, lines, found)


def _on_lines(file: Path, lines: Lines, found: Iterable[tuple[Place, str]]) -> list[Problem]:
    """Faults of fields, each on its line, or on that of what it would stand in."""

    def line_of(place: Place) -> int | None:
        return next((lines[place[:size]] for size in range(len(place), -1, -1) if place[:size] in lines), None)

    return [Problem(file, line_of(place), _dotted(place), message) for place, message in found]


def in_lines(problems: list[Problem]) -> str:
    """Each on a line of its own."""
    return "\n".join(map(str, problems))


def _parse(file: Path, data: bytes, like: str, may_be_empty: bool) -> tuple[Any, Lines, list[Problem]]:
    """The plain values, the line of each, and what is wrong with the YAML itself."""
    import yaml

    lines: Lines = {}
    problems: list[Problem] = []
    loader: Any = None
    try:
        loader = _loader(data, "SafeLoader", _MOST_VALUES)
        node = loader.get_single_node()
        if node is None and may_be_empty:
            return {}, lines, []
        if not isinstance(node, yaml.MappingNode):
            return None, lines, [Problem(file, 1, "", f"must be a mapping of fields, as in {like}")]
        _walk(node, (), lines, problems, file)
        return (None if problems else without_surrogates(loader.construct_document(node))), lines, problems
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = f"not valid YAML: {error.problem or error.context}"
        return None, lines, [Problem(file, mark.line + 1 if mark else None, "", message)]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return None, lines, [Problem(file, None, "", f"not valid YAML: {str(error).splitlines()[0]}")]
    finally:
        if loader is not None:
            loader.dispose()


def plain_yaml(data: bytes, most_values: int = 200_000) -> Any:
    """Texts, lists and mappings: no numbers, no tags, no code. Raises yaml.YAMLError, ValueError or RecursionError."""
    loader = _loader(data, "BaseLoader", most_values)
    try:
        return without_surrogates(loader.get_single_data())
    finally:
        loader.dispose()


_MOST_VALUES = 20_000
_MOST_LEVELS = 50


def _loader(data: bytes, kind: str, most_values: int) -> Any:
    """A loader of PyYAML for `data`, once it is known that loading it takes neither long nor much memory.

    Raises yaml.YAMLError.
    """
    import yaml

    fast = getattr(yaml, f"C{kind}", None)
    if fast is not None:
        try:
            _refuse_large(data, fast, most_values)
            return fast(data)
        except yaml.scanner.ScannerError as error:
            if "Unicode character escape" not in str(error.problem):  # half of a pair, which the other one takes
                raise
    slow = getattr(yaml, kind)
    _refuse_large(data, slow, most_values)
    return slow(data)


def _refuse_large(data: bytes, loader: Any, most_values: int) -> None:
    """An alias repeats what it names: a few lines can stand for more values than fit into memory."""
    import yaml

    def refuse(problem: str) -> None:
        mark: Any = event.start_mark
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)

    sizes: dict[str, int] = {}
    open_since: list[tuple[str | None, int]] = []
    values = 0
    for event in yaml.parse(data, Loader=loader):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in (anchor for anchor, _ in open_since):
                refuse("a value cannot hold itself")
            values += sizes.get(event.anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            if event.anchor is not None:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_since.append((event.anchor, values))
            values += 1
            if len(open_since) > _MOST_LEVELS:
                refuse(f"it is nested more than {_MOST_LEVELS} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_since.pop()
            if anchor is not None:
                sizes[anchor] = values - before
        if values > most_values:
            refuse(f"it holds more than {most_values:,} values, those counted that aliases repeat")


def _walk(node: yaml.Node, place: Place, lines: Lines, problems: list[Problem], file: Path) -> None:
    import yaml

    if place in lines or len(place) > 20:
        return
    lines[place] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, str(key.value))
            if inner in lines:
                problems.append(Problem(file, key.start_mark.line + 1, _dotted(inner), "is given twice"))
            _walk(value, inner, lines, problems, file)
            lines[inner] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, (*place, index), lines, problems, file)


def _dotted(place: Place) -> str:
    return ".".join(str(part) for part in place)


def readable_yaml(value: Any) -> str:
    """Plain values as YAML in which texts of several lines stand as they are read."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    dumped: str = yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)
    return dumped


MetricPatterns = Annotated[list[Annotated[NotEmpty, msgspec.Meta(max_length=500)]], msgspec.Meta(max_length=20)]
"""Regular expressions for metrics that programs print in a way of their own. Each named group is a metric, but for
`step`, `epoch` and `total`, which say where; `name` and `value` are one together.
"""


def pattern_problem(pattern: str) -> str:
    """Why one of `MetricPatterns` finds no metric; empty where it may."""
    try:
        groups = set(re.compile(pattern).groupindex)
    except (re.error, OverflowError, RecursionError) as error:
        return f"is no regular expression: {error}"
    if ({"name", "value"} & groups) not in (set(), {"name", "value"}):
        return "has one of the groups name and value without the other"
    return "" if groups - {"step", "epoch", "total"} else "names no metric: write (?P<loss>[0-9.]+)"
