"""A small language of conditions, for lists of runs, approval rules, breakpoints and search alike.

    blotto                    a word in the text of the thing, upper or lower case
    "two words"               the same with spaces
    /time ?out/               a regular expression in that text
    task:blotto               a word in a field; field:"two words" and field:/regex/ alike
    task:*                    the field is known
    score>1.2  cost<=0.5      a number: < <= > >= = !=; 90s 10m 2h 3d 5k 2M are understood
    status=submitted          the whole field; != for what differs
    a b    a and b            both
    a or b                    either; binds less than `and`
    not a                     not that one
    ( )                       what belongs together

Which fields there are is for the caller to say. Of a field with several values, one must meet the condition. A field
that is not known (None) meets no condition, so `not` of it and `!=` hold.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from typing import NamedTuple

from workbench.errors import WorkbenchError
from workbench.library.expression import Expression, TooSlow
from workbench.text import did_you_mean

Value = str | float | tuple[str, ...] | None
Fields = Callable[[str], Value]
"""The value of a field; of the empty name, the text that a bare word is looked for in."""
_Test = Callable[[Fields], bool]

_MOST_CHARACTERS = 2000
_MOST_LEVELS = 50
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<paren>[()])
    | (?:(?P<field>[A-Za-z_][A-Za-z0-9_.-]*)\s*(?P<op>:|<=|>=|!=|==?|<|>))?\s*
      (?: "(?P<quoted>(?:\\.|[^"\\])*)"
        | /(?P<regex>(?:\\.|[^/\\])+)/(?=[\s()]|$)
        | (?P<word>[^\s()"]+) )
    )""",
    re.VERBOSE | re.DOTALL,
)
_BARE_FIELD = re.compile(r"\s*(?P<field>[A-Za-z_][A-Za-z0-9_.-]*)\s*(?P<op>:|<=|>=|!=|==?|<|>)\s*(?=[()]|$)")
_NUMBER = re.compile(r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(?P<unit>s|m|min|h|d|k|M)?")
_ELSEWHERE = {"&&": "and", "&": "and", "||": "or", "|": "or", "!": "not"}
_UNITS = {None: 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "k": 1e3, "M": 1e6}


def _same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-9)


_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b and not _same(a, b),
    "<=": lambda a, b: a <= b or _same(a, b),
    ">": lambda a, b: a > b and not _same(a, b),
    ">=": lambda a, b: a >= b or _same(a, b),
    "=": lambda a, b: _same(a, b),
}


class FilterError(WorkbenchError):
    """An expression that means nothing. The text is one sentence."""


class _Token(NamedTuple):
    kind: str
    """`word`, `quoted`, `regex`, `(` or `)`."""
    text: str
    field: str = ""
    op: str = ""

    def is_word(self, word: str) -> bool:
        return self.kind == "word" and not self.op and self.text.lower() == word


class Filter(NamedTuple):
    """A condition. The empty one holds for everything."""

    text: str
    test: _Test
    names: frozenset[str]
    """The fields that it asks for."""
    words: frozenset[str] = frozenset()
    """Its bare words, without those in quotes."""

    def matches(self, fields: Fields, *, unsure: bool = True) -> bool:
        """Whether it holds for what has these fields. `unsure`: what is said where a regular expression takes too long
        to tell; rather a stop too many than one too few.
        """
        try:
            return self.test(fields)
        except TooSlow:
            return unsure


def parse(text: str, known: Collection[str] | None = None) -> Filter:
    """The condition that a text says. `known`: the fields there are. Raises FilterError."""
    if len(text) > _MOST_CHARACTERS:
        raise FilterError(f"a filter has at most {_MOST_CHARACTERS:,} characters, this one {len(text):,}")
    tokens = _tokens(text)
    for token in tokens:
        if token.field and known is not None and token.field not in known:
            raise FilterError(f"there is no field {token.field!r}: {did_you_mean(token.field, sorted(known))}")
    if not tokens:
        return Filter(text, lambda fields: True, frozenset())
    parser = _Parser(tokens)
    test = parser.either(0)
    if parser.here is not None:
        raise FilterError("a ) has no ( before it")
    words = frozenset(token.text for token in tokens if token.kind == "word" and not token.op)
    return Filter(text, test, frozenset(token.field for token in tokens if token.kind not in ("(", ")")), words)


def _tokens(text: str) -> list[_Token]:
    found, place = [], 0
    end = len(text.rstrip())
    while place < end:
        bare = _BARE_FIELD.match(text, place, end)
        match = None if bare else _TOKEN.match(text, place, end)
        if bare is not None:
            raise FilterError(f"what {bare['field']}{bare['op']} is compared with is missing")
        if match is None:
            raise FilterError(f'a " has no second one in {text[place:end].strip()[:40]!r}')
        place = match.end()
        if match["paren"]:
            found.append(_Token(match["paren"], match["paren"]))
            continue
        kind = next(each for each in ("quoted", "regex", "word") if match[each] is not None)
        said = match[kind]
        if kind == "word" and not match["field"] and said in _ELSEWHERE:
            raise FilterError(f"{said} is written {_ELSEWHERE[said]!r} here")
        if kind == "word" and said.startswith("/"):
            raise FilterError(
                f"the expression {said[:40]!r} begins with / and does not end with one (quote it if it is a word)"
            )
        if kind == "quoted":
            said = re.sub(r"\\(.)", r"\1", said, flags=re.DOTALL)
        found.append(_Token(kind, said, match["field"] or "", (match["op"] or "").replace("==", "=")))
    return found


class _Parser:
    """Goes through the tokens once. `or` binds less than `and`, and that less than `not`."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._place = 0

    @property
    def here(self) -> _Token | None:
        return self._tokens[self._place] if self._place < len(self._tokens) else None

    def either(self, level: int) -> _Test:
        tests = [self._both(level)]
        while (token := self.here) is not None and token.is_word("or"):
            self._place += 1
            tests.append(self._both(level))
        return tests[0] if len(tests) == 1 else lambda fields: any(test(fields) for test in tests)

    def _both(self, level: int) -> _Test:
        tests = [self._one(level)]
        while (token := self.here) is not None and token.kind != ")" and not token.is_word("or"):
            if token.is_word("and"):
                self._place += 1
            tests.append(self._one(level))
        return tests[0] if len(tests) == 1 else lambda fields: all(test(fields) for test in tests)

    def _one(self, level: int) -> _Test:
        token = self.here
        if level > _MOST_LEVELS:
            raise FilterError(f"it is nested more than {_MOST_LEVELS} levels deep")
        if token is None or token.is_word("or") or token.is_word("and") or token.kind == ")":
            before = self._tokens[self._place - 1].text if self._place else ""
            raise FilterError(
                f"something is missing after {before!r}" if before else "something is missing at its beginning"
            )
        self._place += 1
        if token.is_word("not"):
            inner = self._one(level + 1)
            return lambda fields: not inner(fields)
        if token.kind == "(":
            inside = self.either(level + 1)
            if (closing := self.here) is None or closing.kind != ")":
                raise FilterError("a ( is not closed")
            self._place += 1
            return inside
        return _term(token)


def _term(token: _Token) -> _Test:
    name, op, text = token.field, token.op, token.text
    if op == "!=":
        equal = _term(token._replace(op="="))
        return lambda fields: not equal(fields)
    if token.kind == "regex":
        if op not in ("", ":"):
            raise FilterError(f"a regular expression is looked for with {name}:/…/, not with {op}")
        return _searched(name, text)
    if op in ("", ":"):
        if text == "*" and op:
            return lambda fields: fields(name) not in (None, "", ())
        word = text.casefold()
        return lambda fields: any(word in text.casefold() for text in _texts(fields(name)))
    number = _NUMBER.fullmatch(text) if token.kind == "word" else None
    if number is not None:
        wanted = float(number["number"]) * _UNITS[number["unit"]]
        compare = _COMPARE[op]
        if op == "=":
            return lambda fields: _equals(fields(name), wanted, text)
        return lambda fields: isinstance(value := fields(name), int | float) and compare(value, wanted)
    if op == "=":
        whole = text.casefold()
        return lambda fields: (value := fields(name)) is not None and _is_one(value, whole)
    raise FilterError(f"{name}{op} needs a number, and {text[:40]!r} is none")


def _searched(name: str, pattern: str) -> _Test:
    try:
        wanted = Expression(pattern.replace("\\/", "/"), re.IGNORECASE)
    except ValueError as error:
        raise FilterError(f"/{pattern[:40]}/ is no regular expression: {error}") from error
    return lambda fields: any(wanted.search(text) is not None for text in _texts(fields(name)))


def _equals(value: Value, wanted: float, text: str) -> bool:
    if isinstance(value, str | tuple):
        return _is_one(value, text.casefold())
    return value is not None and _COMPARE["="](value, wanted)


def _is_one(value: Value, whole: str) -> bool:
    return any(text.casefold() == whole for text in _texts(value))


def _texts(value: Value) -> tuple[str, ...]:
    if isinstance(value, tuple):
        return value
    return (value if isinstance(value, str) else "" if value is None else f"{value:g}",)
