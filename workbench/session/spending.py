"""What model calls have cost, for a step, an author, or a whole session."""

from __future__ import annotations

import msgspec

from workbench.session.events import Usage

MOST_COST = 1e12
"""Sums stay below it, whatever a log says: infinity is no JSON."""


class Spending(msgspec.Struct):
    """Sums over model calls."""

    calls: int = 0
    cost: float = 0.0
    """US dollars, of the calls whose price is known."""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    """Of the input: read from the provider's cache."""
    reasoning_tokens: int = 0
    """Of the output: spent on reasoning."""
    unpriced_tokens: int = 0
    """Of input and output: those of calls whose price is unknown."""

    def add(self, usage: Usage) -> None:
        """One more call."""
        self.calls += 1
        self.cost = min(self.cost + (usage.cost or 0.0), MOST_COST)
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        self.cached_tokens += usage.cached_tokens
        self.reasoning_tokens += usage.reasoning_tokens
        if usage.cost is None:
            self.unpriced_tokens += usage.input_tokens + usage.output_tokens

    def add_all(self, other: Spending) -> None:
        """All calls of another sum."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.cost = min(self.cost, MOST_COST)

    @property
    def known(self) -> bool:
        """Whether `cost` is all of it."""
        return not self.unpriced_tokens

    def as_dict(self) -> dict[str, object]:
        """For JSON: `cost` is null where the price of a call is unknown, and where there was no call."""
        return {
            "cost": self.cost if self.known and self.calls else None,
            "calls": self.calls,
            "tokens": {
                "input": self.input_tokens,
                "output": self.output_tokens,
                "cached": self.cached_tokens,
                "reasoning": self.reasoning_tokens,
            },
        }
