"""Training of five policies, one for each seed, within a time; python3 train.py --help says the options."""

import argparse
import json
import math
import pickle
import time
from pathlib import Path

import jax
import numpy as np
import yaml
from dotmap import DotMap
from ppo import PPO

WORKSPACE = Path(__file__).resolve().parent.parent
SEEDS = range(5)


def main(change=lambda config: {}):
    """`change` may alter the config, and returns further arguments of PPO."""
    started = time.monotonic()
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=25.0, help="for all five; what is not done then is written")
    parser.add_argument("--steps", type=int, help="for each policy, instead of the config's num_train_steps")
    options = parser.parse_args()

    config = DotMap(yaml.safe_load((WORKSPACE / "src" / "config.yaml").read_text())["train_config"])
    apply_budget(config, options.steps)
    trainer = PPO(config, **change(config))
    print(f"{config.env_name}: {trainer.updates:,} updates of {trainer.batch:,} steps on {jax.default_backend()}")
    (WORKSPACE / "checkpoints").mkdir(exist_ok=True)
    trained = yaml.safe_dump({"train_config": config.toDict()}, sort_keys=False)
    (WORKSPACE / "checkpoints" / "config.yaml").write_text(trained)
    said = [started]
    for seed in SEEDS:
        left = started + 60 * options.minutes - time.monotonic()

        def report(steps, total, mean, seed=seed):
            if time.monotonic() - said[0] > 5 or steps == total:
                said[0] = time.monotonic()
                reward = "no episode ended" if math.isnan(mean) else f"reward {mean:.2f}"
                print(f"{said[0] - started:6.0f} s  seed {seed}  {steps:,} of {total:,} steps  {reward}", flush=True)

        params = trainer.train(seed, time.monotonic() + left / (len(SEEDS) - seed), report)
        kept = {"network": jax.tree.map(np.asarray, params)}
        (WORKSPACE / "checkpoints" / f"config-{seed}.pkl").write_bytes(pickle.dumps(kept))
    print("wrote checkpoints/")


def apply_budget(config, steps):
    """data/budget.json says which share of the config's steps and environments is meant."""
    file = WORKSPACE / "data" / "budget.json"
    budget = json.loads(file.read_text()) if file.is_file() else {}
    config.num_train_steps = steps or int(config.num_train_steps * budget.get("steps", 1))
    config.num_train_envs = max(1, int(config.num_train_envs * budget.get("environments", 1)))
