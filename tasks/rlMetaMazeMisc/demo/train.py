"""Longer stretches between updates, a higher rate that falls, and an entropy that costs less exploration at the end."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from training import main


def change(config):
    config.network_config = {"num_hidden_units": 64, "num_hidden_layers": 2}
    config.n_steps = 128
    config.num_train_envs = min(config.num_train_envs, 16)
    config.entropy_coeff = 0.02
    config.clip_eps = 0.2
    config.lr_begin, config.lr_end, config.lr_warmup = 0.002, 0.0005, 1.0
    return {}


if __name__ == "__main__":
    main(change)
