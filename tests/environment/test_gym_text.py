"""Texts of the environments: whatever a command prints, it is in the observation space; and the default reward."""

from __future__ import annotations

import ctypes
import multiprocessing
from copy import deepcopy
from typing import Any

import pytest
from gymnasium.vector.utils.shared_memory import (
    create_shared_memory,
    read_from_shared_memory,
    write_to_shared_memory,
)
from hypothesis import given
from hypothesis import strategies as st

from workbench.gym.reward import NEXT_TO_ZERO, Outcome, improvement
from workbench.gym.text_space import ALPHABET, TextSpace, fitted
from workbench.session.events import Direction, Metric, ScoreRecorded

SMALL = TextSpace(100)


@given(st.text(st.characters(), max_size=300))
def test_any_text_fits(text: str) -> None:
    assert SMALL.contains(fitted(text, 100))


@given(st.text(ALPHABET, max_size=100))
def test_a_text_that_fits_stays_as_it_is(text: str) -> None:
    assert fitted(text, 100) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Größe: 5 µm → ½ █▌\t|\n", "Größe: 5 µm → ½ █▌\t|\n"),
        ("中 \U0001f600 \x1b \r \ud800", "<U+4E2D> <U+1F600> <U+001B> <U+000D> <U+D800>"),
        ("", ""),
    ],
)
def test_other_characters_are_written_as_their_code_points(text: str, expected: str) -> None:
    assert fitted(text, 100) == expected


def test_of_a_long_text_head_and_tail_are_kept() -> None:
    shown = fitted("a" * 1000 + "\n" + "b" * 1000, 300)
    assert shown.startswith("a" * 100) and shown.endswith("b" * 100) and "characters, 1 lines left out" in shown
    assert 250 < len(shown) <= 300
    assert fitted("abcdef" * 99, 6) == "abcdef"


def test_the_alphabet_never_changes() -> None:
    assert (len(ALPHABET), ALPHABET[0], ALPHABET[2], ALPHABET[-1]) == (1661, "\t", " ", "\ufffd")
    assert sorted(ALPHABET) == list(ALPHABET)


def test_texts_in_shared_memory_are_those_of_now() -> None:
    memory: Any = create_shared_memory(SMALL, 2, multiprocessing)
    texts: Any = read_from_shared_memory(SMALL, memory, 2)
    for index, text in enumerate(("first é", "second\n")):
        write_to_shared_memory(SMALL, index, text, memory)  # type: ignore[arg-type]
    assert list(texts) == ["first é", "second\n"] and texts[1] == "second\n"
    copy = deepcopy(texts)
    write_to_shared_memory(SMALL, 0, "", memory)  # type: ignore[arg-type]
    assert tuple(texts) == ("", "second\n") and copy == ("first é", "second\n")
    assert texts[0:2] == ("", "second\n") and repr(texts) == "('', 'second\\n')"
    assert ctypes.sizeof(memory.get_obj()) == 2 * 100 * 4


def outcome(
    *scores: float | None, before: float | None = None, baseline: float | None = None, direction: Direction = "maximize"
) -> Outcome:
    return Outcome(
        metric=Metric(name="Score", direction=direction, baseline=baseline),
        before=before,
        scores=tuple(ScoreRecorded(step=1, score=score) for score in scores),
        exit_code=0,
        refused=False,
        terminated=False,
        truncated=False,
        steps=1,
    )


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (outcome(), 0.0),
        (outcome(None, before=3.0), 0.0),
        (outcome(3.0, baseline=2.0), 0.5),
        (outcome(3.0, None, baseline=2.0), 0.5),
        (outcome(3.0, 4.0, baseline=2.0), 1.0),
        (outcome(3.0, baseline=2.0, before=4.0), -0.5),
        (outcome(3.0, baseline=-2.0), 2.5),
        (outcome(30.0, baseline=40.0, direction="minimize"), 0.25),
        (outcome(50.0, baseline=40.0, before=30.0, direction="minimize"), -0.5),
        (outcome(3.0, baseline=0.0), 3.0),
        (outcome(3.0), 3.0),
    ],
)
def test_improvement(case: Outcome, expected: float) -> None:
    assert improvement(case) == pytest.approx(expected)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(-1e3, 1e3))
def test_rewards_add_up_to_the_last_score(scores: list[float], baseline: float) -> None:
    befores = [None, *scores[:-1]]
    total = sum(improvement(outcome(now, before=b, baseline=baseline)) for now, b in zip(scores, befores, strict=True))
    expected = improvement(outcome(scores[-1], baseline=baseline))
    size = abs(baseline) if abs(baseline) > NEXT_TO_ZERO else 1.0
    assert total == pytest.approx(expected, rel=1e-6, abs=1e-3 * (1 + len(scores)) / size)
