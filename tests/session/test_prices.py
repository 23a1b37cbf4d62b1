"""Bills worked out by hand, from the table's prices per million tokens."""

from __future__ import annotations

import datetime

import pytest

from workbench.session import prices
from workbench.session.events import Usage
from workbench.session.prices import context_window, cost, find, known_models, worst_case

BEFORE, AFTER = datetime.date(2026, 12, 31), datetime.date(2027, 1, 1)


@pytest.mark.parametrize(
    ("model", "usage", "dollars"),
    [
        # 10,000 in at 2.50, 2,000 out at 10
        ("openai:gpt-4o", Usage(input_tokens=10_000, output_tokens=2_000), 0.025 + 0.02),
        # 6,000 plain at 2.50, 4,000 cached at 1.25
        ("openai:gpt-4o-2024-08-06", Usage(input_tokens=10_000, cached_tokens=4_000), 0.015 + 0.005),
        # the first of its name was dearer: 5 and 15
        ("openai:gpt-4o-2024-05-13", Usage(input_tokens=1_000, output_tokens=1_000), 0.005 + 0.015),
        # reasoning is part of the 5,000 out at 4.40
        ("openai:o3-mini", Usage(input_tokens=1_000, output_tokens=5_000, reasoning_tokens=4_500), 0.0011 + 0.022),
        # 100 plain at 4, 50,000 cached at 0.20, 2,000 written at 5, 700 out at 20
        (
            "anthropic:claude-opus-5-5",
            Usage(input_tokens=52_100, cached_tokens=50_000, cache_write_tokens=2_000, output_tokens=700),
            0.0004 + 0.01 + 0.01 + 0.014,
        ),
        # 1,000 in at 1, 1,000 out at 5
        ("anthropic:claude-haiku-4-5-20251001", Usage(input_tokens=1_000, output_tokens=1_000), 0.006),
        # up to 100,000 in: 0.10 and 0.50; above, the whole call at 0.50 and 2.50
        ("anthropic:claude-haiku-5-5", Usage(input_tokens=100_000, output_tokens=1_000), 0.01 + 0.0005),
        ("anthropic:claude-haiku-5-5", Usage(input_tokens=100_001, output_tokens=1_000), 0.0500005 + 0.0025),
        ("gemini:gemini-2.5-pro", Usage(input_tokens=200_000, output_tokens=1_000), 0.25 + 0.01),
        # 150,000 plain at 2.50, 100,000 cached at 0.25, 1,000 out at 15
        (
            "gemini:gemini-2.5-pro",
            Usage(input_tokens=250_000, cached_tokens=100_000, output_tokens=1_000),
            0.375 + 0.025 + 0.015,
        ),
        ("gemini:models/gemini-2.0-flash-001", Usage(input_tokens=1_000_000), 0.10),
    ],
)
def test_bills(model: str, usage: Usage, dollars: float) -> None:
    assert cost(usage, model) == pytest.approx(dollars, rel=1e-9)


def test_prices_that_are_announced_begin_on_their_day() -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
    assert cost(usage, "gemini:gemini-3.8-flash", BEFORE) == pytest.approx(4.5)
    assert cost(usage, "gemini:gemini-3.8-flash", AFTER) == pytest.approx(9.0)


@pytest.mark.parametrize(
    "model",
    ["openai:gpt-4o-super", "openai:gpt-99", "anthropic:gpt-4o", "claude-opus-5", "nobody:x", "", "openai:",
     "anthropic:claude-mythos-5-2", "anthropic:claude-opus-5-5-fast"],
)  # fmt: skip
def test_an_unknown_name_has_no_price(model: str) -> None:
    """A longer name may be a dearer model: nothing but a date or a revision is taken off."""
    assert cost(Usage(input_tokens=5), model) is None
    assert worst_case(5, 5, model) is None and context_window(model) is None


def test_the_worst_case_has_nothing_cached() -> None:
    # 10,000 written to the cache at 3.75, 4,096 out at 15
    assert worst_case(10_000, 4_096, "anthropic:claude-sonnet-4-6") == pytest.approx(0.0375 + 0.06144)
    # above the limit of the short prompt: 300,000 at 5, 1,000 at 15
    assert worst_case(300_000, 1_000, "openai:gpt-6-sol") == pytest.approx(1.5 + 0.015)


@pytest.mark.parametrize("model", known_models())
def test_no_call_costs_more_than_its_worst_case(model: str) -> None:
    entry = find(model)
    assert entry is not None and entry.context and entry.context >= 4_096
    for tokens in (10, 50_000, 150_000, 250_000, 900_000):
        most = worst_case(tokens, 1_000, model)
        assert most is not None and most > 0
        for cached, written in ((0, 0), (tokens, 0), (0, tokens), (tokens // 2, tokens // 2)):
            usage = Usage(input_tokens=tokens, output_tokens=1_000, cached_tokens=cached, cache_write_tokens=written)
            price = cost(usage, model)
            assert price is not None and price <= most + 1e-12


@pytest.mark.parametrize("model", known_models())
def test_the_table_is_plausible(model: str) -> None:
    entry = find(model)
    assert entry is not None
    for price in filter(None, (entry.price, entry.long_prompt)):
        assert 0 < price.cached <= price.input <= price.cache_write <= 1.25 * price.input
        assert price.input < price.output <= 10 * price.input
    if entry.long_prompt:
        assert entry.long_prompt.input > entry.price.input and entry.long_prompt.above < (entry.context or 0)


def test_the_table_says_when_and_where_from() -> None:
    table = prices._table()
    assert table["date"] >= datetime.date(2026, 11, 20)
    assert table["sources"].keys() == {"openai", "anthropic", "gemini"}
    assert all(link.startswith("https://") for link in table["sources"].values())
