"""What training programs print: readings (name, step, value) from the raw stream of a terminal, repaint by repaint.

Progress bars leave nothing of earlier epochs on the screen, so the stream is cut wherever a program begins a line
again (CR, LF, backspaces, a moved cursor), and each piece is read by itself. What is known of the programs stands in
the patterns below; nothing is reported that was not printed. A bar that counts within an epoch is put on one axis:
(epoch - first epoch) times its total, and its count.
"""

from __future__ import annotations

import codecs
import contextlib
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import msgspec

from workbench.library.expression import Expression, TooSlow

LONGEST = 4096
"""Characters of a piece that are read; the rest of a longer one is passed over."""
_MOST_HELD = 256
"""Names of a table or values of a bar that wait for their step."""

_NUMBER = r"(?:[-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf(?:inity)?)\b)"
_VALUE = rf"(?:[a-z][\w.]{{0,30}}\()?['\"]?(?P<value>{_NUMBER})(?=%?['\"]?(?:[\s,;|)\]}}]|\.?$))"
_KIND = r"train(?:ing)?|valid(?:ation)?|val|test(?:ing)?|eval|dev|avg|average|mean|oob"
_NAME = rf"(?P<name>(?:(?:{_KIND})\.?['s]{{0,2}} ){{0,2}}[A-Za-z_][\w./@'-]{{0,80}}(?:'s [A-Za-z_]\w{{0,60}})?)"
_PAIR = re.compile(rf"(?<![\w./@'-])['\"]?{_NAME}['\"]?\s{{0,3}}[:=]\s{{0,4}}{_VALUE}", re.I)
_METRIC = (
    r"(?:loss|acc|accuracy|auc|score|f1|error|err|r?mse|mae|mape|r2|ppl|perplexity|bleu|rouge\w*|reward|return|lr|"
    r"learning_rate|grad_norm|norm|kl|iou|map|recall|precision|inertia|logloss|nll|elbo|bpb|bpc|top[15])"
)
_KNOWN = re.compile(rf"(?:.*[\W_])?{_METRIC}(?:[\W_\d].*)?", re.I)
_SPACED = re.compile(rf"(?<![\w./@'-])(?P<name>(?:(?:{_KIND}) )?(?:\w{{1,40}}[_/])?{_METRIC}) {{1,4}}{_VALUE}", re.I)
_NO_METRIC = re.compile(
    r"(?:best|max|min|num|total|n|seed|rank|step|steps|epoch|epochs|iter|iteration|round|trial|batch|global_step|"
    r"eta|time|dur(?:ation)?|v_num)(?:[_ ].*)?|.*[_ ](?:time|eta)|.* epoch", re.I
)  # fmt: skip
_SPLITS = (
    (re.compile(r"(?:.*[\W_])?(?:val|valid|validation|eval|dev|oob)(?:[\W_\d].*)?", re.I), "val"),
    (re.compile(r"(?:.*[\W_])?test(?:ing)?(?:[\W_\d].*)?", re.I), "test"),
    (re.compile(r"(?:.*[\W_])?train(?:ing)?(?:[\W_\d].*)?", re.I), "train"),
)

_CODE = re.compile(r"\w +=|self\.|\b(?:lr|learning_rate)\b|^\s*(?:#|def |\$ |> )|[\w)\]\"'] *[({]\w+=", re.I)
"""Source and settings that are shown: an assignment is no metric, unless the program has counted before."""

_EPOCH = re.compile(r"\bepochs?\b['\"]?\s*[:#=]?\s*['\"\[]?\s*(\d+(?:\.\d+)?)(?:\s*/\s*(\d+)\]?)?", re.I)
_STEP = re.compile(
    r"(?<![\w/])(?:global[_ ]step|step|iter(?:ation)?|round|trial|batch|episode|update)s?\b['\"]?"
    r"\s*[:#=]?\s*\[?\s*(\d[\d,]*)(?!\d|\.\d)"
    r"(?:\s*/\s*(\d[\d,]*)\]?)?", re.I
)  # fmt: skip
_OTHER_SPLIT = re.compile(r"\s*(test|val|valid|validation|eval): +\[ *(\d+)/(\d+)", re.I)
_ROUND = re.compile(r"\[(\d+)\]\t|(\d+):\t")
"""A line of XGBoost and LightGBM; of CatBoost."""
_PAIR_OF_STEPS = re.compile(r"\[(\d+), +(\d+)\] ")
_EPOCH_LINE = re.compile(r"\s*Epoch:? \[?(\d+) ?/ ?(\d+)\]?\s*", re.I)
_TRIAL = re.compile(rf"Trial (\d+) finished with value: ({_NUMBER})")
_FOLD = re.compile(rf"\[CV (\d+)/\d+\] END .{{0,300}}score=\((?:train=({_NUMBER}), )?test=({_NUMBER})\)")
_REPEATED = re.compile(r".*best iteration is:\s*", re.I)
"""The line below it repeats an earlier one."""

_TQDM = re.compile(
    r"(?P<said>[^|]{0,200}?)\s*\d{1,3}%\|[^|]*\|\s*(?P<done>[\d.,]+[kM]?)/(?P<total>[\d.,]+[kM]?)\s*"
    r"\[(?P<clock>[\d:]+)<(?P<left>[\d:?]+),?(?P<rest>[^\]]*)(?P<end>\]?)"
)
_BAR = re.compile(
    r"(?P<said>.*?)[━╸╺█▏▎▍▌▋▊▉▓░─=>#-]{3,}.{0,3}?\s*(?P<done>\d[\d,]*)/(?P<total>\d[\d,]*)\s(?P<rest>.*)"
)
_KERAS = re.compile(r"(?P<said>)\s*(?P<done>\d+)/(?P<total>\d+)\s+(?:[━╸╺]{3,}|\[[=>.]{3,}\])(?P<rest>.*)")
_BRACKETS = re.compile(r"(?P<said>.{0,200}?)\[\s*(?P<done>\d+)/(?P<total>\d+)\b(?P<rest>.*)")
_BATCHES = re.compile(r"(?P<done>\d+)/ *(?P<total>\d+) batches")
_IGNITE = re.compile(r"(?P<said>.{0,200}?):? \[(?P<done>\d+)/(?P<total>\d+)\]\s+\d+%\|[^,]*,?(?P<rest>[^\[]*)\[.*")
_BARS = (_IGNITE, _KERAS, _BAR)
_LEFT = re.compile(r"• (\d+:\d\d:\d\d)")
_REMAINING = re.compile(r"\tremaining: (?:(\d+)h )?(?:(\d+)m )?(?:(\d[\d.]*)(us|ms|s))?$")
"""At the end of a line of CatBoost."""
_ALONE = re.compile(rf"\s*({_NUMBER})(?:\s|$)")
_UNFINISHED = re.compile(r"(?:^|\s)([A-Za-z_][\w./-]{0,80}):\s*$")

_STEP_COLUMNS = ("#", "step", "steps", "iter", "iteration", "round", "epoch", "e", "trial")
"""Headers of the column that counts, the first that a table has."""
_HEADER = re.compile(r"(?!(?:nan|inf)$)[^\W\d][^:=]{0,60}|#", re.I)
_BOX_ROW = re.compile(r"\| (\s*)(\S.{0,80}?)\s*\|\s*(\S{0,40})\s*\|\s*")
_BOX_STEPS = ("total_timesteps", "global_step", "timesteps", "step", "iterations", "epoch")
_CELL_EDGE = re.compile(r"\s*[│┃|]\s*")
_CLOCK = re.compile(r"\d+(?::\d\d){1,2}s?|[\d.]+[smh]")

_CUT = re.compile(r"\r|\n|\x08+|\x1b\[[\d;]*[ABEFGHJKfdSTLMPX]|\x1b[78cDEM]")
_CODES = re.compile(
    r"\x1b\[[\d;?:<=>]*[ -/]*[@-~]|\x1b\][^\x07\x1b]{0,500}(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]|[\x00-\x06\x0e-\x1a\x7f]"
)


class Reading(msgspec.Struct, frozen=True):
    """One value that a program printed."""

    name: str
    step: float | None
    """The program's own count; None when it printed none."""
    value: float
    split: str = ""
    """train, val or test, where the name says so."""
    epoch: float | None = None
    total: float | None = None
    """Of `step`, where the program says how many there will be."""
    at: int | None = None
    """The step of the session, where it is of one."""


class OwnPattern:
    """A regular expression of a task's or a user's: each named group is a metric of that name, but for `step`, `epoch`
    and `total`, which say where, and `name` and `value`, which are a metric together.
    """

    def __init__(self, pattern: str) -> None:
        """Raises ValueError for what is no regular expression."""
        self._expression = Expression(pattern, patience=0.1)  # it reads every line while a program runs

    def read(self, text: str) -> list[Reading]:
        """The metrics in a line; none where it takes too long to find them."""
        try:
            found = self._expression.search(text)
        except TooSlow:
            return []
        groups = {name: value for name, value in found.groupdict().items() if value} if found is not None else {}
        if (name := groups.pop("name", "")) and "value" in groups:
            groups[name.strip()] = groups.pop("value")
        step, epoch, total = (_count(groups.pop(name, "")) for name in ("step", "epoch", "total"))
        numbers = {name[:80]: number for name, text in groups.items() if (number := _count(text)) is not None}
        at = epoch if step is None else step
        return [Reading(name, at, number, split_of(name), epoch, total) for name, number in numbers.items()]


def own_patterns(given: Iterable[str]) -> list[OwnPattern]:
    """Those of a log, which may be anybody's: at most twenty, and none that is no regular expression."""
    found = []
    for pattern in islice(given, 20):
        with contextlib.suppress(ValueError):
            found.append(OwnPattern(pattern[:500]))
    return found


class Progress(msgspec.Struct, frozen=True):
    """How far the outermost bar is."""

    done: float
    total: float
    left: float | None = None
    """Seconds that the program says are left."""


class _Bar:
    """What the bar with this description and total last showed."""

    def __init__(self) -> None:
        self.done: float = -1
        self.step: float = 0
        self.values: dict[str, str] = {}
        self.lags = False
        """tqdm in a `for` loop with set_postfix: values stand beside the count of the step before."""
        self.waiting: list[dict[str, str]] = []
        self.epoch: float | None = None
        self.total: float | None = None
        self.offset: float = 0
        self.from_zero = False
        """Lightning's, whose first batch is 0: beside the count of those that are done stands the loss of the last."""

    def at(self, name: str, done: float, newer: int = 0) -> float:
        """The step of a value that stands beside a count, with so many newer ones of its name beside the same count."""
        counted = self.from_zero and (not _rare(name) or name.endswith("_step"))
        return self.offset + done - (counted + newer if counted else 0)


class Parser:
    """Feed it the stream; it gives the readings that became certain."""

    def __init__(self, past: str = "", patterns: Sequence[OwnPattern] = ()) -> None:
        """`past`: what is passed over at the beginning, where it stands there: the command itself. `patterns` are tried
        first; a line that one finds metrics in is read by nothing else.
        """
        self.progress: Progress | None = None
        self.left: float | None = None
        """Seconds that a program without a bar says are left."""
        self.patterns = patterns
        self._past = past
        self._held = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._skipping = False
        self._bars: dict[tuple[str, float], _Bar] = {}
        self._outer: _Bar | None = None
        self._inner_names: set[str] = set()
        self._epoch: float | None = None
        self._first_epoch: float | None = None
        self._step: float | None = None
        self._header: list[str] = []
        self._box: list[tuple[str, str]] = []
        self._section = ""
        self._unfinished = ""
        self._repeated = False
        self._dictionary: dict[str, str] = {}
        """A dictionary whose step is not known yet."""
        self._rare: dict[str, str] = {}
        self._last: dict[str, tuple[float | None, float]] = {}

    def feed(self, data: bytes) -> list[Reading]:
        """The readings in what came."""
        text = self._decoder.decode(data)
        if self._past:
            self._held += text
            _, found, text = self._held.partition(self._past)
            if not found and len(self._held) < len(self._past) + LONGEST:
                return []
            text, self._past = text if found else self._held, ""
        return list(self._fresh(self._read(text)))

    def close(self) -> list[Reading]:
        """Those in what is left at the end."""
        return list(self._fresh(self._finish()))

    def _finish(self) -> Iterator[Reading]:
        yield from self._read((self._held if self._past else "") + self._decoder.decode(b"", True) + "\n")
        yield from self._dictionary_at("") if self._dictionary else ()
        yield from self._box_readings()
        for bar in self._bars.values():
            yield from self._settled(bar)

    def _fresh(self, readings: Iterator[Reading]) -> Iterator[Reading]:
        """Without what is said twice."""
        for reading in readings:
            now = (reading.step, reading.value)
            if self._last.get(reading.name) == now:
                continue
            if len(self._last) < 10_000 or reading.name in self._last:
                self._last[reading.name] = now
            yield reading

    def _read(self, text: str) -> Iterator[Reading]:
        text = self._rest + text
        start = 0
        for cut in _CUT.finditer(text):
            piece = text[start : cut.start()]
            start = cut.end()
            if self._skipping:
                self._skipping = False
            elif piece:
                yield from self._piece(_CODES.sub("", piece[: LONGEST * 2])[:LONGEST], nested=cut[0].endswith("A"))
        self._rest = text[start:]
        if len(self._rest) > LONGEST * 2:
            if not self._skipping:
                yield from self._piece(_CODES.sub("", self._rest)[:LONGEST], nested=False)
            # An escape that has begun may cut the piece.
            self._rest, self._skipping = self._rest[-16:] if "\x1b" in self._rest[-16:] else "", True

    def _piece(self, text: str, *, nested: bool) -> Iterator[Reading]:
        if len(text) < 3 or text.isspace():
            return
        if own := [reading for pattern in self.patterns for reading in pattern.read(text)]:
            yield from own
            return
        if self._dictionary:
            yield from self._dictionary_at(text)
        if self._repeated:
            self._repeated = False
            return
        if _REPEATED.fullmatch(text):
            self._repeated = True
            return
        if (bar := _TQDM.match(text)) is not None:
            yield from self._bar(bar, nested=nested)
            yield from self._line(text[bar.end() :]) if bar["end"] else ()
            return
        for pattern in _BARS:
            if (bar := pattern.fullmatch(text)) is not None:
                yield from self._bar(bar, nested=nested)
                return
        yield from self._line(text)

    def _dictionary_at(self, text: str) -> Iterator[Reading]:
        pairs, self._dictionary = self._dictionary, {}
        assert self._outer is not None
        at, total = self._outer.done, self._outer.total
        if (bar := _TQDM.match(text)) and _count(bar["total"]) == total and not bar["said"].strip():
            at = _count(bar["done"]) or 0
        epoch = _number(pairs["epoch"]) if "epoch" in pairs else None
        for name, value in pairs.items():
            yield _reading(name, value, at, epoch=epoch, total=total)

    # -- bars ----------------------------------------------------------------------------------------------------------

    def _bar(self, match: re.Match[str], *, nested: bool) -> Iterator[Reading]:
        done, total = _count(match["done"]), _count(match["total"])
        if done is None or total is None or not total:
            return
        said = match["said"].strip().rstrip(":").strip()
        tqdm = match.re is _TQDM
        key = (re.sub(r"\d+", "#", said), total)
        if key not in self._bars and len(self._bars) >= 64:
            self._bars.pop(next(iter(self._bars)))
        bar = self._bars.setdefault(key, _Bar())
        epochs = re.fullmatch(r"epochs?", said, re.I) is not None
        epoch = _EPOCH.search(said)
        at = float(epoch[1]) if epoch else None if said or tqdm else self._epoch
        bar.from_zero = epoch is not None and "•" in match["rest"] and "it/s" in match["rest"]
        if at is not None:
            self._begin_epoch(0 if self._first_epoch is None and bar.from_zero else at)
        if done < bar.done or at != bar.epoch:
            yield from self._settled(bar)
            bar.done, bar.waiting = -1, []
            bar.lags = False
        bar.epoch = at
        bar.offset = (at - (self._first_epoch or 0)) * total if at is not None else 0
        bar.total = total
        values = self._values_of_bar(match["rest"], closed=not tqdm or bool(match["end"]))
        if epochs:
            values = {name: value for name, value in values.items() if name not in self._inner_names}
        elif len(self._inner_names) < 1000:
            self._inner_names.update(values)
        if not nested and (not said or self._outer is None or self._outer.done >= (self._outer.total or 0)):
            self._outer = bar
        if bar is self._outer or self.progress is None:
            self.progress = Progress(done, total, _left(match))
        yield from self._repaint(bar, done, values, tqdm)

    def _repaint(self, bar: _Bar, done: float, values: dict[str, str], tqdm: bool) -> Iterator[Reading]:
        """A value stays on screen until the next: it belongs to the count at which it appeared, or (when the bar lags)
        to the one that the next repaint with a new count shows.
        """
        changed = {
            name: value
            for name, value in values.items()
            if (self._rare.get(name) != value if _rare(name) else done != bar.done or bar.values.get(name) != value)
        }
        self._rare.update((name, value) for name, value in changed.items() if _rare(name) and len(self._rare) < 1000)
        if done != bar.done:
            if bar.lags and values == bar.values:
                yield from self._settled(bar, done)
                changed = {}
            else:
                yield from self._settled(bar)
        if done == 0 and bar.done <= 0 and changed:
            if not tqdm:
                changed = {name: value for name, value in changed.items() if _rare(name)}
            elif values != bar.values:
                bar.lags = True
            else:
                changed = {}
        if changed:
            if (bar.lags or not tqdm) and len(bar.waiting) < _MOST_HELD:
                bar.waiting.append(changed)
            else:
                bar.waiting = [{**(bar.waiting[-1] if bar.waiting else {}), **changed}]
        bar.done, bar.values = done, values

    def _settled(self, bar: _Bar, now: float | None = None) -> Iterator[Reading]:
        """What waits for its step; `now` is the count that is known to belong to the last of it."""
        waiting, bar.waiting = bar.waiting, []
        for place, values in enumerate(waiting):
            done: float = bar.done
            if bar.lags:
                last = now if now is not None else bar.done + len(waiting)
                done = last - (len(waiting) - 1 - place)
            for name, value in values.items():
                newer = sum(name in others for others in waiting[place + 1 :]) if bar.from_zero else 0
                yield _reading(name, value, bar.at(name, done, newer), epoch=bar.epoch, total=bar.total)

    def _values_of_bar(self, rest: str, *, closed: bool) -> dict[str, str]:
        rest = rest.rstrip()
        values = {name: value for name, value in _pairs(rest).items() if name != "v_num"}
        if values and not closed and rest[-1:].isdigit():
            values.popitem()
        unfinished = _UNFINISHED.search(rest)
        self._unfinished = unfinished[1] if unfinished else ""
        return values

    def _begin_epoch(self, epoch: float) -> None:
        self._epoch = epoch
        if self._first_epoch is None:
            self._first_epoch = min(epoch, 1) if float(epoch).is_integer() else 0

    # -- lines ---------------------------------------------------------------------------------------------------------

    def _line(self, text: str) -> Iterator[Reading]:
        if self._unfinished and (alone := _ALONE.match(text)):
            name, self._unfinished = self._unfinished, ""
            yield from self._at_bar(name, alone[1])
            text = " " + text[alone.end() :]
            if unfinished := _UNFINISHED.search(text):
                self._unfinished = unfinished[1]
                return
        elif (unfinished := _UNFINISHED.fullmatch(text)) and text[:1] == " " and self._bars:
            self._unfinished = unfinished[1]
            return
        if self._box or text.startswith("| "):
            if row := _BOX_ROW.fullmatch(text):
                self._box_row(row)
                return
            yield from self._box_readings()
        if (readings := self._table_row(text)) is not None:
            yield from readings
            return
        if found := _EPOCH_LINE.fullmatch(text):
            self._begin_epoch(float(found[1]))
        elif found := _TRIAL.search(text):
            yield _reading("value", found[2], float(found[1]))
        elif found := _FOLD.search(text):
            for name, value in (("train", found[2]), ("test", found[3])):
                if value:
                    yield _reading(name, value, float(found[1]))
        else:
            yield from self._plain(text)

    def _plain(self, text: str) -> Iterator[Reading]:
        """`epoch 3: loss=0.1`, `{'loss': 0.1}`, and the like."""
        epoch, step = _EPOCH.search(text), _STEP.search(text)
        at: float | None = None
        total: float | None = None
        lead = ""
        own = float(epoch[1]) if epoch else None
        if found := _ROUND.match(text):
            at = float(found[1] or found[2])
            self.left = _remaining(text)
        elif found := _PAIR_OF_STEPS.match(text):
            own, at = float(found[1]), float(found[2])
        elif step:
            at, total = _count(step[1]), _count(step[2])
            if total and own is not None and at is not None:
                at += (own - min(own, self._first(own))) * total
        elif epoch and (bracket := _BRACKETS.match(text, epoch.end()) or _BATCHES.search(text)):
            at, total = _count(bracket["done"]), _count(bracket["total"])
            at = (at or 0) + ((own or 0) - self._first(own or 0)) * (total or 0)
        elif epoch:
            at, total = own, _count(epoch[2])
        elif (bracket := _BRACKETS.fullmatch(text)) and (epoch := re.fullmatch(r"(\w+): +(\d+) +", bracket["said"])):
            own, total = float(epoch[2]), _count(bracket["total"])
            at = (_count(bracket["done"]) or 0) + (own - self._first(own)) * (total or 0)
        elif found := _OTHER_SPLIT.match(text):
            at, total, lead = _count(found[2]), _count(found[3]), split_of(found[1])
        marked = at is not None
        dictionary = text.lstrip().startswith("{")
        pairs = _pairs(text)
        if marked:
            pairs = {**{match["name"]: match["value"] for match in _SPACED.finditer(text)}, **pairs}
        if epoch and epoch[0].endswith(" "):  # `Train: 0 [6/25]`
            pairs.pop(epoch[1], None)
        if dictionary:
            pairs.pop("step", None)
        else:
            settled = marked or self._step is not None or self._bars
            if not settled and _CODE.search(text):
                return
            wanted = [name for name in pairs if not _NO_METRIC.fullmatch(name) and (marked or _KNOWN.fullmatch(name))]
            pairs = {name: pairs[name] for name in wanted}
        if not pairs:
            return
        if dictionary and not step and self._outer is not None:
            # The Trainer of Hugging Face: only its bar says the step, and only its next repaint the right one.
            self._dictionary = pairs
            return
        elif marked and not (epoch and not step and self._outer):
            self._step = at
        elif at is None:
            at = self._step
        if not marked and not dictionary and text[:1] == " " and self._bars:
            for name, value in pairs.items():
                yield from self._at_bar(name, value)
            return
        for name, value in pairs.items():
            reading = _reading(name, value, at, epoch=own, total=total)
            yield msgspec.structs.replace(reading, split=reading.split or lead) if lead else reading
        for match in re.finditer(rf"([\w' ]{{1,80}}): {_NUMBER} \+ ({_NUMBER})", text):
            yield _reading(f"{match[1].strip()} stdv", match[2], at)

    def _first(self, epoch: float) -> float:
        if self._first_epoch is None:
            self._begin_epoch(epoch)
        return self._first_epoch or 0

    def _at_bar(self, name: str, value: str) -> Iterator[Reading]:
        """What Lightning and rich wrap to the rows below their bar."""
        bar = next((bar for bar in reversed(self._bars.values()) if bar.values), None) or next(
            reversed(self._bars.values()), None
        )
        at = bar.at(name, max(bar.done, 0)) if bar else self._step
        if _rare(name):
            if self._rare.get(name) == value:
                return
            self._rare[name] = value
        yield _reading(name, value, at, epoch=bar.epoch if bar else None, total=bar.total if bar else None)

    # -- tables --------------------------------------------------------------------------------------------------------

    def _table_row(self, text: str) -> list[Reading] | None:
        """The readings of a row; none of a header; None when it is neither."""
        stripped = text.strip()
        if stripped[:1] in ("│", "┃", "|"):
            cells = [cell.strip() for cell in _CELL_EDGE.split(stripped)[1:-1]]
        else:
            cells = re.split(r"\s{2,}|\t", stripped)
            if self._header and len(cells) != len(self._header):
                cells = stripped.split()
        if len(cells) < 2:
            return None
        lower = [cell.lower() for cell in cells]
        if any(word in _STEP_COLUMNS for word in lower) and all(_HEADER.fullmatch(cell) for cell in cells):
            self._header = cells
            return []
        if len(cells) != len(self._header):
            return None
        known = [word.lower() for word in self._header]
        place = next(known.index(word) for word in _STEP_COLUMNS if word in known)
        if not re.fullmatch(r"\d+", cells[place]):
            return None
        return [
            _reading(name, cell, float(cells[place]))
            for name, lower, cell in zip(self._header, known, cells, strict=True)
            if lower not in _STEP_COLUMNS and not _CLOCK.fullmatch(cell) and _ALONE.fullmatch(cell)
        ]

    def _box_row(self, row: re.Match[str]) -> None:
        name = row[2]
        if name.endswith("/") and not row[3]:
            self._section = name
        elif len(self._box) < _MOST_HELD and _ALONE.fullmatch(row[3]):
            self._box.append(((self._section if row[1] else "") + name, row[3]))

    def _box_readings(self) -> Iterator[Reading]:
        box, self._box, self._section = self._box, [], ""
        named = {name.rpartition("/")[2]: value for name, value in box}
        at = next((_count(named[name]) for name in _BOX_STEPS if name in named), None)
        for name, value in box:
            yield _reading(name, value, at)


def _reading(
    name: str, value: str, step: float | None, *, epoch: float | None = None, total: float | None = None
) -> Reading:
    return Reading(name, step, _number(value), split_of(name), epoch, total)


def _pairs(text: str) -> dict[str, str]:
    return {match["name"].strip(" '"): match["value"] for match in _PAIR.finditer(text)}


def split_of(name: str) -> str:
    """train, val or test, or nothing where the name does not say."""
    return next((split for pattern, split in _SPLITS if pattern.fullmatch(name)), "")


def _rare(name: str) -> bool:
    """Whether it is measured once in a while and stands beside a bar until the next time."""
    return split_of(name) in ("val", "test") or name.endswith(("_epoch", "_step"))


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def _count(text: str | None) -> float | None:
    if not text:
        return None
    scale = {"k": 1e3, "M": 1e6}.get(text[-1], 1)
    try:
        return float(text.rstrip("kM").replace(",", "")) * scale
    except ValueError:
        return None


def _left(match: re.Match[str]) -> float | None:
    if match.re is _TQDM:
        text = match["left"]
    else:
        found = _LEFT.search(match["rest"])
        if not found:
            return None
        text = found[1]
    seconds = 0.0
    for part in text.split(":"):
        if not part.isdigit():
            return None
        seconds = seconds * 60 + int(part)
    return seconds if math.isfinite(seconds) else None


def _remaining(text: str) -> float | None:
    found = _REMAINING.search(text.rstrip())
    if found is None:
        return None
    hours, minutes, rest, unit = found.groups()
    seconds = (_count(rest or "0") or 0) * {"us": 1e-6, "ms": 1e-3}.get(unit, 1)
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + seconds
