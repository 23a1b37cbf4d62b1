"""Reinforcement learning environments in numpy, many at once, which behave as gymnax's environments of these names.
Used by evaluators (`tasks/rl…/evaluate/`) through `policies`, in the evaluator's process: so neither the rules nor the
rewards are within a submission's reach. A state is a dataclass of arrays whose first axis counts the environments.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Whole = NDArray[np.signedinteger[Any]]
Flags = NDArray[np.bool_]
S = TypeVar("S", bound="State")


@dataclass(frozen=True)
class State:
    """The state of as many environments as its arrays have rows."""

    def take(self: S, rows: Whole) -> S:
        """Those of the given rows."""
        return replace(self, **{part.name: getattr(self, part.name)[rows] for part in fields(self)})


class Environment(Generic[S]):
    """The rules of one environment, for any number of states at once."""

    name: ClassVar[str]
    shape: ClassVar[tuple[int, ...]]
    """The shape of one observation."""
    binary: ClassVar[bool] = False
    """Whether observations are of zeros and ones."""
    moves: ClassVar[int | None] = None
    """How many actions there are (0, 1, …); None where an action is a number of any size."""

    @abstractmethod
    def reset(self, count: int, dice: np.random.Generator) -> S:
        """States at the beginning of an episode."""

    @abstractmethod
    def observe(self, state: S) -> NDArray[Any]:
        """What a policy sees: float32, or bool where `binary`."""

    @abstractmethod
    def step(self, state: S, actions: NDArray[Any], dice: np.random.Generator) -> tuple[S, Floats, Flags]:
        """The states after one action each, the rewards, and which episodes ended by the rules.

        Environments have longer time limits than evaluations, which therefore count the frames themselves.
        """


@dataclass(frozen=True)
class CarState(State):
    """The state of MountainCar."""

    position: Floats
    velocity: Floats


class MountainCar(Environment[CarState]):
    """MountainCarContinuous-v0: an engine too weak for the hill, a goal on top of it, a price for each push."""

    name = "MountainCarContinuous-v0"
    shape = (2,)
    LEFT, RIGHT, GOAL, FASTEST = np.float32(-1.2), np.float32(0.6), np.float32(0.45), np.float32(0.07)
    POWER, GRAVITY = np.float32(0.0015), np.float32(0.0025)

    def reset(self, count: int, dice: np.random.Generator) -> CarState:
        position = dice.uniform(-0.6, -0.4, count).astype(np.float32)
        return CarState(position, np.zeros(count, np.float32))

    def observe(self, state: CarState) -> NDArray[Any]:
        return np.stack([state.position, state.velocity], axis=1)

    def step(self, state: CarState, actions: NDArray[Any], dice: np.random.Generator) -> tuple[CarState, Floats, Flags]:
        push = np.clip(actions, np.float32(-1), np.float32(1))
        velocity = state.velocity + push * self.POWER - np.cos(np.float32(3) * state.position) * self.GRAVITY
        velocity = np.clip(velocity, -self.FASTEST, self.FASTEST)
        position = np.clip(state.position + velocity, self.LEFT, self.RIGHT)
        arrived = position >= self.GOAL
        velocity = np.where(arrived & (velocity < 0), np.float32(0), velocity)
        # Paid for as it was asked for, beyond the engine's power, too; 64 bits hold the square of any 32-bit number.
        rewards = -0.1 * actions.astype(np.float64) ** 2 + 100.0 * (arrived & (velocity >= 0))
        return CarState(position, velocity), rewards, arrived & (velocity >= 0)


@dataclass(frozen=True)
class BreakoutState(State):
    """The state of Breakout. Directions: 0 up left, 1 up right, 2 down right, 3 down left."""

    x: Whole
    y: Whole
    direction: Whole
    last_x: Whole
    last_y: Whole
    paddle: Whole
    bricks: Flags
    """10 rows of 10."""
    struck: Flags
    """Whether the ball was in a brick in the frame before: it then breaks no other."""


class Breakout(Environment[BreakoutState]):
    """Breakout-MinAtar: a ball that flies diagonally, a paddle of one cell, three rows of bricks, one point each."""

    name = "Breakout-MinAtar"
    shape = (10, 10, 4)
    binary = True
    moves = 3
    SIZE = 10
    TURNED_BY_SIDES = np.array([1, 0, 3, 2])
    TURNED_BY_TOP = np.array([3, 2, 1, 0])
    TURNED_BACK = np.array([2, 3, 0, 1])
    RIGHTWARDS = np.array([-1, 1, 1, -1])
    DOWNWARDS = np.array([-1, -1, 1, 1])

    def reset(self, count: int, dice: np.random.Generator) -> BreakoutState:
        right = dice.integers(0, 2, count)
        x, y = 9 * right, np.full(count, 3)
        bricks = np.zeros((count, self.SIZE, self.SIZE), np.bool_)
        bricks[:, 1:4] = True
        return BreakoutState(x, y, 2 + right, x, y, np.full(count, 4), bricks, np.zeros(count, np.bool_))

    def observe(self, state: BreakoutState) -> NDArray[Any]:
        rows = np.arange(len(state.x))
        seen = np.zeros((len(rows), *self.shape), np.bool_)
        seen[rows, self.SIZE - 1, state.paddle, 0] = True
        seen[rows, state.y, state.x, 1] = True
        seen[rows, state.last_y, state.last_x, 2] = True
        seen[..., 3] = state.bricks
        return seen

    def step(
        self, state: BreakoutState, actions: NDArray[Any], dice: np.random.Generator
    ) -> tuple[BreakoutState, Floats, Flags]:
        rows, last = np.arange(len(state.x)), self.SIZE - 1
        paddle = np.clip(state.paddle + (actions == 2) - (actions == 1), 0, last)
        x = state.x + self.RIGHTWARDS[state.direction]
        y = state.y + self.DOWNWARDS[state.direction]
        direction = np.where((x < 0) | (x > last), self.TURNED_BY_SIDES[state.direction], state.direction)
        x = np.clip(x, 0, last)

        above = y < 0
        y = np.where(above, 0, y)
        direction = np.where(above, self.TURNED_BY_TOP[direction], direction)

        inside = ~above & state.bricks[rows, y, x]
        breaks = inside & ~state.struck
        bricks = state.bricks.copy()
        bricks[rows[breaks], y[breaks], x[breaks]] = False
        y = np.where(breaks, state.y, y)
        direction = np.where(breaks, self.TURNED_BY_TOP[direction], direction)

        low = ~inside & (y == last)
        cleared = low & ~bricks.any(axis=(1, 2))
        bricks[cleared, 1:4] = True
        # The paddle is met where the ball was, or else where it comes to.
        met = low & (state.x == paddle)
        direction = np.where(met, self.TURNED_BY_TOP[direction], direction)
        met_late = low & ~met & (x == paddle)
        direction = np.where(met_late, self.TURNED_BACK[direction], direction)
        y = np.where(met | met_late, state.y, y)
        after = BreakoutState(x, y, direction, state.x, state.y, paddle, bricks, inside)
        return after, breaks.astype(np.float64), low & ~met & ~met_late


@dataclass(frozen=True)
class MazeState(State):
    """The state of MetaMaze. Positions are row and column."""

    position: Whole
    goal: Whole
    last_action: Whole
    last_reward: Floats
    time: Floats


class MetaMaze(Environment[MazeState]):
    """MetaMaze-misc: a maze seen through a window of 3×3 cells; who finds the goal is put somewhere, to find it again.

    Only being put on the goal itself ends an episode before its time.
    """

    name = "MetaMaze-misc"
    shape = (15,)
    moves = 4
    SIZE = 9
    REWARD = 10.0
    STEPS = np.array([[-1, 0], [0, 1], [1, 0], [0, -1]])

    def __init__(self) -> None:
        free = np.zeros((self.SIZE + 2, self.SIZE + 2), np.bool_)
        free[1:-1:2, 1:-1] = True
        free[1:-1, 1:-1:2] = True
        self.free = free
        self.cells = np.argwhere(free)
        window = np.argwhere(np.ones((3, 3), np.bool_)) - 1
        self._window = window[:, 0], window[:, 1]

    def reset(self, count: int, dice: np.random.Generator) -> MazeState:
        goal = self.cells[dice.integers(0, len(self.cells), count)]
        centre = np.full((count, 2), (self.SIZE + 1) // 2)
        nothing = np.zeros(count, np.float32)
        return MazeState(centre, goal, np.zeros(count, np.int64), nothing, nothing)

    def observe(self, state: MazeState) -> NDArray[Any]:
        down, right = self._window
        walls = ~self.free[state.position[:, :1] + down, state.position[:, 1:] + right]
        action = state.last_action[:, None] == np.arange(4)
        return np.hstack([walls, action, state.last_reward[:, None], state.time[:, None]]).astype(np.float32)

    def step(
        self, state: MazeState, actions: NDArray[Any], dice: np.random.Generator
    ) -> tuple[MazeState, Floats, Flags]:
        wanted = state.position + self.STEPS[actions]
        position = np.where(self.free[wanted[:, 0], wanted[:, 1], None], wanted, state.position)
        found = (position == state.goal).all(axis=1)
        anywhere = self.cells[dice.integers(0, len(self.cells), len(found))]
        position = np.where(found[:, None], anywhere, position)
        rewards = self.REWARD * found
        after = MazeState(position, state.goal, actions, rewards.astype(np.float32), state.time + np.float32(1))
        return after, rewards, (position == state.goal).all(axis=1)
