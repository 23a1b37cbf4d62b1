"""Shared by the game tasks: two players, some rounds, many games, and the mean payoff of the row player. Used by the
evaluators of tasks (`tasks/<id>/evaluate/`), in the evaluator's process. The row player is the submission.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from workbench.tasks.submission import Failure, Job, Scores

M = TypeVar("M")
History = list[tuple[M, M]]
"""Earlier rounds of this game: (row move, column move)."""


class BadMove(ValueError):
    """The row player's answer is no move of this game."""


@dataclass(frozen=True)
class Game(Generic[M]):
    """The rules of a repeated game."""

    expected: str
    """What `row_strategy` must return, for messages: "0 or 1"."""
    read: Callable[[str], M]
    """A move from the submission's text (integers joined by commas). Raises BadMove with what is wrong."""
    write: Callable[[M], str]
    column: Callable[[History[M], random.Random], M]
    """The opponent's move, given the history."""
    payoff: Callable[[M, M], float]
    """What the row player gets for (row move, column move)."""
    rounds: int = 10
    games: int = 10_000


def play(game: Game[M], job: Job) -> Scores:
    """Play all games, in order, against the submission.

    `Score` is the mean payoff per round; its standard error is taken over games, which are independent for a submission
    that remembers nothing between them.
    """
    ask = job.submission.ask
    read, write, column, payoff, dice = game.read, game.write, game.column, game.payoff, job.random
    means: list[float] = []
    job.progress(0.0, f"playing {game.games:,} games")
    for number in range(1, game.games + 1):
        history: History[M] = []
        question = "new"
        total = 0.0
        for turn in range(1, game.rounds + 1):
            opposite = column(history[:], dice)
            try:
                move = read(ask(question))
            except BadMove as error:
                raise Failure(
                    "invalid", f"row_strategy must return {game.expected}; {error}{_at(number, turn)}"
                ) from None
            except Failure as error:
                error.message += _at(number, turn)
                raise
            total += payoff(move, opposite)
            history.append((move, opposite))
            question = f"{write(move)} {write(opposite)}"
        means.append(total / game.rounds)
        if number % 250 == 0:
            job.progress(number / game.games, f"playing {game.games:,} games")
    mean, error_of_mean = mean_and_error(means)
    return Scores(metrics={"Score": mean}, standard_error=error_of_mean)


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and its standard error (0 for a single value)."""
    count = len(values)
    mean = math.fsum(values) / count
    if count < 2:
        return mean, 0.0
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    return mean, math.sqrt(variance / count)


def matrix_game(
    payoffs: dict[tuple[int, int], float],
    column: Callable[[History[int], random.Random], int],
    expected: str = "0 or 1",
) -> Game[int]:
    """A game with the moves 0 and 1 and the row player's payoffs by (row, column)."""
    moves = {"0": 0, "1": 1}

    def read(text: str) -> int:
        try:
            return moves[text]
        except KeyError:
            raise BadMove(f"it returned {describe(text)}") from None

    return Game(
        expected=expected,
        read=read,
        write=str,
        column=column,
        payoff=lambda row, opposite: payoffs[row, opposite],
    )


def describe(answer: str) -> str:
    """The submission's answer in words: a number, a list, or its description of something that is neither."""
    if answer.startswith("? "):
        return answer[2:]
    return f"[{answer.replace(',', ', ')}]" if "," in answer else answer


def _at(game: int, turn: int) -> str:
    return f" (game {game:,}, round {turn})"
