"""Writes transitions of gymnax's environments to a file: `python record.py TARGET.npz EPISODES FRAMES SEED`.

Needs jax, numpy and gymnax. `transitions.npz` beside this file is what it wrote for 3 episodes, 500 frames, seed 1.
For each environment: the parts of the state before, the action, the parts of the state after, reward, end, observation
after, and the index of the cell that a maze's policy would be put on.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import gymnax  # type: ignore[import-not-found, unused-ignore]
import jax  # type: ignore[import-not-found, unused-ignore]
import jax.numpy as jnp  # type: ignore[import-not-found, unused-ignore]
import numpy as np

warnings.simplefilter("ignore")


def act(name: str, obs: Any, key: Any) -> Any:
    """Mostly random; the paddle often follows the ball, so that bricks are cleared, and the car often swings up."""
    often, other = jax.random.split(key)
    if name == "MountainCarContinuous-v0":
        push = jnp.where(jax.random.bernoulli(often, 0.7), jnp.sign(obs[1]), 0.0)
        return push + 0.8 * jax.random.normal(other)
    if name == "MetaMaze-misc":
        return jax.random.randint(other, (), 0, 4)
    ball, trail, paddle = (jnp.argmax(obs[:, :, part].max(axis=0)) for part in (1, 2, 0))
    wanted = ball + jnp.sign(ball - trail)
    follow = jnp.where(wanted < paddle, 1, jnp.where(wanted > paddle, 2, 0))
    return jnp.where(jax.random.bernoulli(often, 0.99), follow, jax.random.randint(other, (), 0, 3))


def record(name: str, episodes: int, frames: int, key: Any) -> dict[str, np.ndarray[Any, Any]]:
    env, params = gymnax.make(name)
    cells = getattr(env, "coords", jnp.zeros((1, 2)))

    def one(carry: Any, key: Any) -> Any:
        state, obs = carry
        key_act, key_step, key_reset = jax.random.split(key, 3)
        action = act(name, obs, key_act)
        seen, after, reward, done, _ = env.step_env(key_step, state, action, params)
        cell = jax.random.randint(key_step, (), 0, cells.shape[0])  # as the environment draws it
        fresh, begun = env.reset_env(key_reset, params)
        kept = jax.tree.map(lambda new, old: jnp.where(done, new, old), (begun, fresh), (after, seen))
        what = {"before": vars(state), "after": vars(after), "action": action, "reward": reward, "done": done}
        return kept, {**what, "observation": seen, "cell": cell}

    def episode(key: Any) -> Any:
        first, rest = jax.random.split(key)
        obs, state = env.reset_env(first, params)
        typed = jax.tree.map(jnp.asarray, state)
        # The states of a scan must keep their types, which a step may change.
        shape = jax.eval_shape(lambda: env.step_env(rest, typed, act(name, obs, rest), params)[1])
        typed = jax.tree.map(lambda value, like: value.astype(like.dtype), typed, shape)
        return jax.lax.scan(one, (typed, obs), jax.random.split(rest, frames))[1]

    found = jax.jit(jax.vmap(episode))(jax.random.split(key, episodes))
    flat = {f"{name}/{part}": found[part] for part in ("action", "reward", "done", "observation", "cell")}
    for when in ("before", "after"):
        flat |= {f"{name}/{when}/{part}": value for part, value in found[when].items()}
    return {part: np.asarray(value).reshape(episodes * frames, *value.shape[2:]) for part, value in flat.items()}


def main(target: str, episodes: int, frames: int, seed: int) -> None:
    recorded: dict[str, Any] = {}
    names = ("MountainCarContinuous-v0", "Breakout-MinAtar", "MetaMaze-misc")
    for name, key in zip(names, jax.random.split(jax.random.PRNGKey(seed), 3), strict=True):
        for part, value in record(name, episodes, frames, key).items():
            exact = value.size and np.array_equal(value, value.astype(np.int8))
            recorded[part] = value.astype(np.int8) if exact else value
    np.savez_compressed(target, **recorded)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]))
