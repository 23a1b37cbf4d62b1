"""Smaller batches and a higher rate learn more from the same number of frames; a smaller network is quicker, too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from training import main


def change(config):
    config.network_config = {"num_hidden_units": 128, "num_hidden_layers": 2}
    config.num_train_envs = min(config.num_train_envs, 16)
    config.n_steps = 64
    config.n_minibatch = 4
    config.gamma = 0.99
    config.lr_begin, config.lr_end, config.lr_warmup = 0.002, 0.0005, 1.0
    return {}


if __name__ == "__main__":
    main(change)
