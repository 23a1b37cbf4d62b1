"""The environments of the reinforcement learning tasks, against transitions of gymnax's own, one by one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.isolation.bwrap import python_inside
from workbench.tasks.catalogue import find_task
from workbench.tasks.control_environments import (
    Breakout,
    BreakoutState,
    CarState,
    Environment,
    MazeState,
    MetaMaze,
    MountainCar,
)
from workbench.tasks.packages import installed_for

Recorded = Mapping[str, NDArray[Any]]
GYMNAX = Path(__file__).with_name("gymnax")


def car(parts: Recorded) -> CarState:
    return CarState(parts["position"], parts["velocity"])


def breakout(parts: Recorded) -> BreakoutState:
    names = ("ball_x", "ball_y", "ball_dir", "last_x", "last_y", "pos")
    x, y, direction, last_x, last_y, paddle = (parts[name].astype(np.int64) for name in names)
    bricks, struck = (parts[name].astype(np.bool_) for name in ("brick_map", "strike"))
    return BreakoutState(x, y, direction, last_x, last_y, paddle, bricks, struck)


def maze(parts: Recorded) -> MazeState:
    position, goal, action = (parts[name].astype(np.int64) for name in ("pos", "goal", "last_action"))
    reward, time = (parts[name].astype(np.float32) for name in ("last_reward", "time"))
    return MazeState(position, goal, action, reward, time)


CASES: list[tuple[Environment[Any], Callable[[Recorded], Any]]] = [
    (MountainCar(), car),
    (Breakout(), breakout),
    (MetaMaze(), maze),
]
EACH = pytest.mark.parametrize(("environment", "state_of"), CASES, ids=[case[0].name for case in CASES])


class Drawn(np.random.Generator):
    """Dice that were thrown before."""

    def __init__(self, drawn: NDArray[Any]) -> None:
        super().__init__(np.random.PCG64(0))
        self.drawn = drawn

    def integers(self, *_: Any, **__: Any) -> Any:
        return self.drawn


def compare(environment: Environment[Any], state_of: Callable[[Recorded], Any], recorded: Recorded) -> int:
    """How many transitions were compared; nothing may differ by more than the rounding of 32-bit numbers."""

    def part(name: str) -> Recorded:
        start = f"{environment.name}/{name}"
        return {key.removeprefix(start).removeprefix("/"): recorded[key] for key in recorded if key.startswith(start)}

    def same(got: NDArray[Any], wanted: NDArray[Any], what: str) -> None:
        np.testing.assert_allclose(
            got.astype(np.float64), wanted.astype(np.float64), rtol=1e-5, atol=2e-7, err_msg=what
        )

    before, wanted = state_of(part("before/")), state_of(part("after/"))
    actions = part("action")[""]
    actions = actions if environment.moves is None else actions.astype(np.int64)
    after, rewards, done = environment.step(before, actions, Drawn(part("cell")[""]))
    for name, value in vars(wanted).items():
        same(getattr(after, name), value, name)
    same(rewards, part("reward")[""], "reward")
    in_time = part("after/time")[""] < (999 if environment.moves is None else 200 if environment.moves == 4 else 1000)
    same(done[in_time], part("done")[""][in_time], "done")
    same(environment.observe(after), part("observation")[""], "observation")
    assert environment.observe(after).shape[1:] == environment.shape
    return len(done)


@EACH
def test_recorded_transitions(environment: Environment[Any], state_of: Callable[[Recorded], Any]) -> None:
    with np.load(GYMNAX / "transitions.npz") as recorded:
        assert compare(environment, state_of, dict(recorded)) == 1500


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """New transitions, of gymnax itself."""
    packages = installed_for(find_task("rlBreakoutMinAtar"), "local", "")
    target = tmp_path_factory.mktemp("gymnax") / "fresh.npz"
    seed = int.from_bytes(os.urandom(2), "big")
    subprocess.run(
        [python_inside()[0], str(GYMNAX / "record.py"), str(target), "40", "500", str(seed)],
        env={
            "PYTHONPATH": str(packages),
            "PATH": os.environ["PATH"],
            "OMP_NUM_THREADS": "1",
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_backend_optimization_level=0",  # most of the time goes into translating
        },
        check=True,
        capture_output=True,
    )
    with np.load(target) as recorded:
        return dict(recorded)


@pytest.mark.packages("rlBreakoutMinAtar")
@EACH
def test_fresh_transitions(environment: Environment[Any], state_of: Callable[[Recorded], Any], fresh: Recorded) -> None:
    assert compare(environment, state_of, fresh) == 20_000


@EACH
def test_where_episodes_begin(environment: Environment[Any], state_of: Callable[[Recorded], Any]) -> None:
    begun = environment.reset(4000, np.random.default_rng(1))
    seen = environment.observe(begun)
    assert seen.shape == (4000, *environment.shape)
    with np.load(GYMNAX / "transitions.npz") as recorded:
        first = {
            name: recorded[f"{environment.name}/before/{name}"][recorded[f"{environment.name}/before/time"] == 0]
            for name in (key.rpartition("/")[2] for key in recorded if key.startswith(f"{environment.name}/before/"))
        }
    if isinstance(begun, CarState):
        assert -0.6 <= begun.position.min() < -0.59 and -0.41 < begun.position.max() <= -0.4
        assert not begun.velocity.any()
        return
    if isinstance(begun, MazeState):
        assert np.bincount(begun.goal @ [11, 1]).max() < 110 and len(np.unique(begun.goal, axis=0)) == 65
        begun = begun.take(np.flatnonzero((begun.goal == first["goal"][0]).all(axis=1)))
        seen = environment.observe(begun)
    one, other = environment.observe(begun), environment.observe(state_of(first))
    assert {row.tobytes() for row in other.astype(seen.dtype)} <= {row.tobytes() for row in one}


def test_put_on_the_goal_an_episode_ends() -> None:
    environment = MetaMaze()
    corner = np.array([[1, 1], [1, 1], [1, 1]])
    nothing = np.zeros(3, np.float32)
    state = MazeState(corner, np.array([[1, 2], [1, 2], [2, 1]]), np.zeros(3, np.int64), nothing, nothing)
    goal = int(np.flatnonzero((environment.cells == [1, 2]).all(axis=1))[0])
    after, rewards, done = environment.step(state, np.array([1, 1, 0]), Drawn(np.array([goal, goal + 1, goal])))
    assert rewards.tolist() == [10, 10, 0] and done.tolist() == [True, False, False]
    assert after.position.tolist() == [[1, 2], [1, 3], [1, 1]]


def test_a_push_of_any_size_has_its_price() -> None:
    environment = MountainCar()
    state = environment.reset(3, np.random.default_rng(1))
    _, rewards, _ = environment.step(state, np.array([0, 2, 3e38], np.float32), np.random.default_rng(1))
    assert rewards[0] == 0 and rewards[1] == pytest.approx(-0.4) and np.isfinite(rewards[2]) and rewards[2] < -1e75
