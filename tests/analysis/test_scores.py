"""Ratios, profiles, AUP and ranks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.analysis.rows import row
from workbench.analysis.scores import (
    HONEST,
    MLGYM,
    Measure,
    Rules,
    aup,
    borda,
    bradley_terry,
    largest_tau,
    profile,
    rank_table,
    ratios,
    tabulate,
)

UP, DOWN = Measure("Score", True, 2.0), Measure("Loss", False, 4.0)
NAN = math.nan


def _ratios(*tasks: list[float], measures: list[Measure], rules: Rules = HONEST) -> list[list[float]]:
    found: list[list[float]] = np.round(ratios(np.array(tasks), measures, rules), 6).tolist()
    return found


def test_a_ratio_says_how_many_times_worse_than_the_best() -> None:
    assert _ratios([4.0, 8.0, 2.0], measures=[UP]) == [[2.0, 1.0, 4.0]]
    assert _ratios([1.0, 2.0, 4.0], measures=[DOWN]) == [[1.0, 2.0, 4.0]]


def test_what_is_missing_or_worse_than_the_baseline_is_penalized() -> None:
    assert _ratios([8.0, NAN, 1.0, 2.0], measures=[UP]) == [[1.0, 4.2, 4.2, 4.0]]
    assert _ratios([8.0, NAN, 2.0], measures=[UP], rules=Rules(epsilon=1.0)) == [[1.0, 8.0, 4.0]]


def test_scores_below_zero_compare_by_their_distance_to_the_best() -> None:
    games = Measure("Score", True, -0.25)
    assert _ratios([0.25, 0.0, -0.25], measures=[games]) == [[1.0, 1.5, 2.0]]
    # By MLGym's rule of signs a baseline below zero is itself infeasible.
    assert _ratios([0.25, 0.05, -0.25], measures=[games], rules=MLGYM) == [[1.0, 5.0, 5.25]]


def test_a_task_that_nobody_scored_tells_nobody_apart() -> None:
    assert _ratios([NAN, NAN], measures=[Measure("Score", True, None)]) == [[1.05, 1.05]]


def test_a_profile_is_the_share_of_tasks_within_a_ratio() -> None:
    assert profile(np.array([1.0, 10.0]), np.array([0.0, 0.5, 1.0])).tolist() == [0.5, 0.5, 1.0]


def test_the_area_is_exact_and_a_fine_sum_agrees() -> None:
    table = np.array([[1.0, 10.0], [10.0, 10.0]])
    assert aup(table, 2.0).tolist() == [1.5, 1.0]
    assert aup(table, 2.0, Rules(points=200_001)) == pytest.approx([1.5, 1.0], abs=1e-4)


def test_the_axis_ends_where_every_profile_has_reached_one() -> None:
    table = np.array([[1.0, 25.3 * 1.05]])
    assert largest_tau([table]) == 1.5
    assert largest_tau([table], MLGYM) == 1.5
    assert largest_tau([np.ones((2, 2))]) == 0.1
    assert largest_tau([table], Rules(largest_tau=3.0)) == 3.0


def test_equal_scores_and_missing_ones_share_their_ranks() -> None:
    runs = [
        row("game", "a", attempts=[3.0]), row("game", "b", attempts=[3.0]), row("game", "c"),
        row("game", "d", attempts=[5.0], baseline=1.0), row("game", "e"),
    ]  # fmt: skip
    scores = tabulate(runs, "best", "abcde", ["game"])
    ranks = rank_table(scores)
    assert ranks.tolist() == [[2.5, 2.5, 5.5, 1.0, 5.5, 4.0]]
    assert borda(ranks).tolist() == [3.5, 3.5, 0.5, 5.0, 0.5, 2.0]


def test_strengths_follow_the_ranks() -> None:
    pytest.importorskip("choix")
    strengths = bradley_terry(np.array([[1.0, 2.0, 3.0], [1.0, 3.0, 2.0], [2.0, 1.0, 3.0]]))
    assert strengths is not None and strengths[0] > strengths[1] > strengths[2]
    alike = bradley_terry(np.array([[1.5, 1.5]]))
    assert alike is not None and alike.tolist() == [0.0, 0.0]


def test_a_cell_is_the_best_of_the_runs_and_the_last_cell_the_best_of_the_last_scores() -> None:
    runs = [row("game", "a", 0, attempts=[5.0, 1.0]), row("game", "a", 1, attempts=[3.0, 2.0]), row("game", "a", 2)]
    assert tabulate(runs, "best", "a", ["game"]).value("game", "a") == 5.0
    assert tabulate(runs, "last", "a", ["game"]).value("game", "a") == 2.0


def test_a_number_that_is_none_is_no_score() -> None:
    runs = [row("game", "a", best=math.inf), row("game", "b", best=NAN)]
    assert not tabulate(runs, "best", "ab", ["game"]).values


_score = st.floats(0.1, 1000) | st.just(NAN)


@given(st.lists(st.lists(_score, min_size=4, max_size=4), min_size=1, max_size=5), st.floats(0.01, 100), st.booleans())
def test_the_unit_of_a_metric_changes_no_ratio(tasks: list[list[float]], unit: float, up: bool) -> None:
    values = np.array(tasks)
    plain = ratios(values, [Measure("m", up, row[-1] if math.isfinite(row[-1]) else None) for row in tasks])
    scaled = [Measure("m", up, row[-1] * unit if math.isfinite(row[-1]) else None) for row in tasks]
    # A score that equals the baseline may fall to either side of it by rounding: leave those out.
    alike = np.isclose(values, values[:, -1:]) & (np.arange(4) < 3)
    if not alike.any():
        np.testing.assert_allclose(ratios(values * unit, scaled), plain, rtol=1e-9)


@given(st.lists(st.lists(_score, min_size=3, max_size=3), min_size=1, max_size=5), st.permutations(range(3)))
def test_the_order_of_competitors_changes_no_area(tasks: list[list[float]], order: list[int]) -> None:
    values, measures = np.array(tasks), [Measure("m", True, None)] * len(tasks)
    np.testing.assert_allclose(aup(ratios(values[:, order], measures), 2.0), aup(ratios(values, measures), 2.0)[order])


@given(st.lists(st.lists(st.floats(-1e6, 1e6) | st.just(NAN), min_size=3, max_size=3), min_size=1, max_size=4))
def test_no_ratio_is_below_one_or_without_value(tasks: list[list[float]]) -> None:
    for rules in (HONEST, MLGYM):
        table = ratios(np.array(tasks), [Measure("m", True, None)] * len(tasks), rules)
        assert np.isfinite(table).all() and (rules is MLGYM or (table >= 1 - 1e-12).all())
