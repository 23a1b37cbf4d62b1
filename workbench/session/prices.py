"""Known models and what their calls cost, from the table in `prices.yaml`, in US dollars.

An unknown model has no price (None).
"""

from __future__ import annotations

import datetime
import difflib
import functools
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any, TypeVar

import msgspec

from workbench.session.events import Usage

_MILLION = 1_000_000
_DATED = re.compile(r"(?:-(?:20\d{6}|20\d\d-\d\d-\d\d|latest|\d{3,4}))+$")
"""What a name may end in and still be the same model: a date, `latest`, or a revision (-001, -0613)."""


class Price(msgspec.Struct, frozen=True):
    """US dollars per million tokens."""

    input: float
    output: float
    cached: float
    """Input read from a cache."""
    cache_write: float
    """Input written to a cache."""

    def of(self, usage: Usage) -> float:
        """What that usage costs, in dollars."""
        plain = max(0, usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens)
        return (
            plain * self.input
            + usage.cached_tokens * self.cached
            + usage.cache_write_tokens * self.cache_write
            + usage.output_tokens * self.output
        ) / _MILLION


class LongPrice(Price, frozen=True):
    """The price of calls whose input has more than `above` tokens."""

    above: int = 0


class Entry(msgspec.Struct, frozen=True):
    """A model of the table."""

    name: str
    price: Price
    context: int | None = None
    """Tokens it can see, the answer included."""
    long_prompt: LongPrice | None = None
    """For the whole call when its input is longer than `above`."""

    def price_for(self, input_tokens: int) -> Price:
        """The price of a call with that many tokens of input."""
        if self.long_prompt is not None and input_tokens > self.long_prompt.above:
            return self.long_prompt
        return self.price


_Price = TypeVar("_Price", bound=Price)


@functools.cache
def _table() -> Mapping[str, Any]:
    import yaml

    text = resources.files(__package__).joinpath("prices.yaml").read_text(encoding="utf-8")
    table: Mapping[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return table


def known_models(provider: str = "") -> list[str]:
    """`provider:name` of all models of the table, or of one provider."""
    return [
        f"{owner}:{name}" for owner, models in _table()["models"].items() if provider in ("", owner) for name in models
    ]


def nearest_models(model: str, most: int = 3) -> list[str]:
    """Up to `most` known `provider:name` like `model`: of its provider, or of all when that is unknown or left out."""
    provider, colon, name = model.partition(":")
    known = known_models(provider) if colon else []
    if not known:
        name, known = model.rpartition(":")[2], known_models()
    by_name = {entry.partition(":")[2]: entry for entry in known}
    found = difflib.get_close_matches(name.lower(), by_name, n=most, cutoff=0.5)
    return [by_name[match] for match in found]


def find(model: str, on: datetime.date | None = None) -> Entry | None:
    """The entry of `provider:name`, with the prices of today or of the day `on`; None for an unknown model."""
    provider, _, name = model.partition(":")
    models = _table()["models"].get(provider, {})
    name = name.removeprefix("models/")
    for candidate in (name, _DATED.sub("", name)):
        if candidate in models:
            return _entry(candidate, models[candidate], on or datetime.date.today())
    return None


def _entry(name: str, row: Mapping[str, Any], on: datetime.date) -> Entry:
    values = dict(row)
    for begins, changed in sorted(values.pop("from", {}).items()):
        if on >= begins:
            values.update(changed)
    long = values.get("long_prompt")
    return Entry(name, _price(values, Price), values.get("context"), long and _price(long, LongPrice))


def _price(values: Mapping[str, Any], kind: type[_Price]) -> _Price:
    return msgspec.convert({"cached": values["input"], "cache_write": values["input"], **values}, kind)


def cost(usage: Usage, model: str, on: datetime.date | None = None) -> float | None:
    """What that usage of `provider:name` costs in dollars; None when its price is unknown."""
    entry = find(model, on)
    return None if entry is None else entry.price_for(usage.input_tokens).of(usage)


def worst_case(input_tokens: int, max_output: int, model: str, on: datetime.date | None = None) -> float | None:
    """The most that a call can cost in dollars: nothing of its input cached, all of it written to the cache, and the
    longest answer. None when the price is unknown.
    """
    entry = find(model, on)
    if entry is None:
        return None
    price = entry.price_for(input_tokens)
    return (input_tokens * max(price.input, price.cache_write) + max_output * price.output) / _MILLION


def context_window(model: str) -> int | None:
    """Tokens that the model can see, the answer included; None where it is not known."""
    entry = find(model)
    return None if entry is None else entry.context
