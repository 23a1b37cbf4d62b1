"""The goal is hardly ever found by chance, so I pay for energy on the way there (as a potential, which leaves the best
policy as it is), scale the velocity up to the size of the position, and train with episodes as long as those of the
evaluation."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

import jax.numpy as jnp
from training import main


def energy(observation):
    position, velocity = observation[..., 0], observation[..., 1]
    return 60_000 * (0.5 * velocity**2 + 0.0025 / 3 * jnp.sin(3 * position))


def change(config):
    config.env_params = {"max_steps_in_episode": 200}
    config.network_config = {"num_hidden_units": 64, "num_hidden_layers": 2, "scale": [2.0, 40.0]}
    config.num_train_envs = min(config.num_train_envs, 32)
    config.n_steps = 64
    config.entropy_coeff = 0.0
    config.epoch_ppo, config.gamma = 10, 0.995
    config.lr_begin = config.lr_end = 0.001

    def reward_of(before, action, after, reward):
        # At the goal the next episode has begun already.
        helped = reward + jnp.where(reward > 50, 0.0, energy(after) - energy(before))
        return helped / 20

    return {"reward_of": reward_of}


if __name__ == "__main__":
    main(change)
