"""The three games: their rules, their published baselines, and what the demo strategies reach. All in full length."""

from __future__ import annotations

import random
import sys
from types import ModuleType
from typing import Any

import pytest

from workbench.scoring.evaluation import evaluate
from workbench.scoring.evaluator import load_evaluator
from workbench.scoring.seeds import UnpredictableRandom, derive, evaluation_key
from workbench.scoring.submission_server import decode, encode
from workbench.tasks.catalogue import find_task
from workbench.tasks.games import BadMove, mean_and_error
from workbench.tasks.submission import Job, Scores, Submission

PUBLISHED = {"battleOfSexes": 1.0226699, "prisonersDilemma": 2.3716302, "blotto": -0.2479700}
DEMO = {"battleOfSexes": (1.42, 1.46), "prisonersDilemma": (2.5, 2.8), "blotto": (0.2, 0.3)}


def reaches_the_published(name: str, score: float | None, error: float | None) -> None:
    assert score is not None and error is not None
    assert 0.001 < error < 0.01 and abs(score - PUBLISHED[name]) < 4 * error, (score, error)


async def test_the_starter_reaches_the_published_baseline_in_a_room() -> None:
    task = find_task("battleOfSexes")
    found = await evaluate(task, task.baseline_submission(), seed=1)
    assert found.verdict == "ok", found
    reaches_the_published(task.id, found.score, found.standard_error)


class Asked(Submission):
    """A strategy asked as in a room, without its process: a room takes most of the time of a game."""

    def __init__(self, source: str) -> None:
        module: dict[str, Any] = {}
        exec(source, module)
        self._strategy = module["row_strategy"]
        self._history: list[tuple[Any, Any]] = []

    def ask(self, question: str) -> str:
        moves = [decode(move) for move in question.encode().split()] if question != "new" else []
        self._history = [*self._history, (moves[0], moves[1])] if moves else []
        return encode(self._strategy(self._history[:])).decode()


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_starter_reaches_the_published_baseline(name: str) -> None:
    scores = judged(name, Asked((find_task(name).baseline_submission() or b"").decode()))
    reaches_the_published(name, scores.metrics["Score"], scores.standard_error)


def judged(name: str, submission: Submission) -> Scores:
    """What the game's evaluator makes of a submission."""
    task = find_task(name)
    judge = load_evaluator(task.folder, task.spec.evaluate.file, task.spec.evaluate.function)
    return judge(Job([submission], UnpredictableRandom(b"demo"), "test", task.folder, lambda fraction, text: None))


class Demo(Submission):
    """A demo strategy asked without a process: none of them looks at the history."""

    def __init__(self, source: str) -> None:
        module: dict[str, Any] = {}
        exec(source, module)
        self._answer = encode(module["row_strategy"]([])).decode()

    def ask(self, question: str) -> str:
        return self._answer


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_demo_beats_the_baseline(name: str) -> None:
    scores = judged(name, Demo(find_task(name).demo() or ""))
    low, high = DEMO[name]
    assert low <= scores.metrics["Score"] <= high, scores


def rules(name: str) -> ModuleType:
    """The module of a game's rules."""
    task = find_task(name)
    load_evaluator(task.folder, task.spec.evaluate.file, task.spec.evaluate.function)
    return sys.modules["evaluator"]


def test_the_friend_follows_the_opening() -> None:
    column, dice = rules("battleOfSexes").column, random.Random(1)
    assert column([], dice) == 1
    for opening in (0, 1):
        moves = [column([(opening, 1), (1 - opening, 0)], dice) for _ in range(4000)]
        assert abs(moves.count(opening) / 4000 - 0.8) < 0.03


@pytest.mark.parametrize(
    ("rule", "answers"),
    # With no history; then after rows 0, 1, 11, 10, with the column player having played 0 throughout.
    [
        ("tit_for_tat", [0, 0, 1, 1, 0]),
        ("always_cooperate", [0, 0, 0, 0, 0]),
        ("always_defect", [1, 1, 1, 1, 1]),
        ("grim", [0, 0, 1, 1, 1]),
        ("pavlov", [0, 0, 1, 1, 0]),
        ("tit_for_two_tats", [0, 0, 0, 1, 0]),
        ("suspicious_tit_for_tat", [1, 0, 1, 1, 0]),
        ("forgiving", [0, 0, 1, 0, 0]),
    ],
)
def test_rules_of_the_prisoner(rule: str, answers: list[int]) -> None:
    play = getattr(rules("prisonersDilemma"), rule)
    histories = [[(int(row), 0) for row in rows] for rows in ("", "0", "1", "11", "10")]
    assert [play(history, random.Random(1)) for history in histories] == answers


def test_the_mixed_rule_of_the_prisoner() -> None:
    mixed, dice = rules("prisonersDilemma").mixed, random.Random(1)
    assert mixed([], dice) == 1
    ones = sum(mixed([(0, 1)], dice) for _ in range(6000)) / 6000
    assert abs(ones - (1 / 6 + 0.4 + 0.1)) < 0.03
    assert len(rules("prisonersDilemma").RULES) == 11


def test_blotto() -> None:
    game = rules("blotto")
    dice = random.Random(1)
    for _ in range(500):
        soldiers = game.column([], dice)
        assert len(soldiers) == 6 and sum(soldiers) == 120 and min(soldiers) >= 0
    assert game.payoff([120, 0, 0, 0, 0, 0], [20] * 6) == -1
    assert game.payoff([21, 21, 0, 20, 20, 20], [20, 20, 20, 20, 20, 20]) == 1
    assert game.payoff([20] * 6, [20] * 6) == 0
    assert game.read("0,0,0,0,0,120") == [0, 0, 0, 0, 0, 120] and game.read("0,0,0,0,0,0") == [0] * 6
    for wrong in ("20,20,20,20,20,21", "20,20,20,20,20", "-1,0,0,0,0,0", "7", "? None (NoneType)", ""):
        with pytest.raises(BadMove, match="it returned"):
            game.read(wrong)


def test_what_a_strategy_may_return() -> None:
    numpy = pytest.importorskip("numpy")
    for zero in (0, False, 0.0, numpy.int64(0), numpy.bool_(False), numpy.float64(0), numpy.array(0), numpy.uint8(0)):
        assert encode(zero) == b"0", repr(zero)
    for soldiers in (
        [1, 2],
        (1.0, 2.0),
        numpy.array([1, 2]),
        numpy.array([1.0, 2.0]),
        [True, numpy.int8(2)],
        range(1, 3),
    ):
        assert encode(soldiers) == b"1,2", repr(soldiers)
    for wrong in (
        None,
        "1",
        b"1",
        {1: 2},
        {1},
        [],
        [1, None],
        [[1]],
        0.5,
        numpy.array([1.5]),
        numpy.nan,
        1j,
        object,
    ):
        assert encode(wrong).startswith(b"? "), repr(wrong)
    assert encode(-(10**5000)) == encode(10**9) == encode(1e300) == b"1000000000"


def test_mean_and_error() -> None:
    assert mean_and_error([1.0]) == (1.0, 0.0)
    mean, error = mean_and_error([0.0, 2.0, 0.0, 2.0])
    assert mean == 1.0 and abs(error - (4 / 3 / 4) ** 0.5) < 1e-12


def test_the_dice() -> None:
    one, same, other = (UnpredictableRandom(key) for key in (b"a", b"a", b"b"))
    drawn = [one.random() for _ in range(9000)]
    assert drawn == [same.random() for _ in range(9000)] != [other.random() for _ in range(9000)]
    assert all(0 <= value < 1 for value in drawn) and abs(sum(drawn) / 9000 - 0.5) < 0.02
    counts = [0] * 6
    for _ in range(6000):
        counts[one.randrange(6)] += 1
    assert min(counts) > 850 and 0 <= one.getrandbits(128) < 1 << 128 and one.getrandbits(0) == 0


def test_keys_hang_on_everything() -> None:
    keys = {
        evaluation_key(seed, secret, task, digest)
        for seed in (1, 2)
        for secret in (None, b"", b"s")
        for task in ("a", "b")
        for digest in ("00", "01")
    }
    assert len(keys) == 24
    key = keys.pop()
    assert derive(key, "submission") != derive(key, "evaluator")
