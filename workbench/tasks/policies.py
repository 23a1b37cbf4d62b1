"""Shared by the reinforcement learning tasks: policies in a room act in environments of the evaluator. Used by
evaluators (`tasks/rl…/evaluate/`). A question carries the observations of all episodes that are under way, an answer
one sampled action for each. The episodes come in another order each time: a policy is a function of what it sees, and
cannot remember an episode that it does not recognise.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.tasks.control_environments import Environment, Floats, State
from workbench.tasks.submission import Failure, Job, Scores

CHECKPOINTS = 5


@dataclass(frozen=True)
class Plan:
    """How much is evaluated."""

    seeds: int
    """Batches of episodes for each checkpoint."""
    episodes: int
    """In each batch."""
    frames: int
    """The most for one episode."""


def read_plan(job: Job, frames: int) -> Plan:
    """The plan in the task's dataset. The stand-in has fewer episodes."""
    found = json.loads((job.secret / "evaluation.json").read_text(encoding="utf-8"))
    return Plan(int(found["seeds"]), int(found["episodes"]), frames)


def score_policies(environment: Environment[Any], plan: Plan, job: Job) -> Scores:
    """Mean and standard deviation of the summed rewards of all episodes of all checkpoints.

    The standard error is that of the mean for these five checkpoints, not for five others trained alike.
    """
    sums = np.stack([_of_checkpoint(environment, plan, job, number) for number in range(CHECKPOINTS)])
    error = math.sqrt(float(np.mean(np.var(sums, axis=1, ddof=1))) / sums.size) if sums.shape[1] > 1 else 0.0
    return Scores(
        metrics={"Reward Mean": float(np.mean(sums)), "Reward Std": float(np.std(sums))}, standard_error=error
    )


def _of_checkpoint(environment: Environment[Any], plan: Plan, job: Job, number: int) -> Floats:
    """The summed reward of each episode."""
    dice = np.random.default_rng(job.random.getrandbits(128))
    state: State = environment.reset(plan.seeds * plan.episodes, dice)
    total = np.zeros(plan.seeds * plan.episodes)
    running = np.arange(total.size)
    for frame in range(plan.frames):
        if frame % 10 == 0:
            done = (number + frame / plan.frames) / CHECKPOINTS
            job.progress(done, f"checkpoint {number + 1} of {CHECKPOINTS}, {running.size:,} episodes")
        order = dice.permutation(running.size)
        running, state = running[order], state.take(order)
        try:
            actions = ask(environment, state, job, number)
        except Failure as error:
            error.message += f" (checkpoint {number + 1}, frame {frame + 1})"
            raise
        state, rewards, ended = environment.step(state, actions, dice)
        total[running] += rewards
        left = np.flatnonzero(~ended)
        running, state = running[left], state.take(left)
        if not running.size:
            break
    return total


def ask(environment: Environment[Any], state: State, job: Job, number: int) -> NDArray[Any]:
    """One action for each state, of the checkpoint of that number. Raises Failure."""
    seen = environment.observe(state)
    moves = environment.moves
    head = {
        "checkpoint": number,
        "seed": job.random.getrandbits(32),
        "shape": list(seen.shape),
        "form": "bits" if environment.binary else "float32",
        "action": "float32" if moves is None else "int32",
    }
    body = np.packbits(seen).tobytes() if environment.binary else seen.astype("<f4").tobytes()
    size = 4 * len(seen)
    answer = job.submission.send(json.dumps(head).encode() + b"\n" + body, size)
    if len(answer) != size:
        raise Failure("invalid", f"{len(answer):,} bytes came for {len(seen):,} actions of 4 bytes each")
    if moves is None:
        numbers = np.frombuffer(answer, "<f4")
        if not np.isfinite(numbers).all():
            raise Failure("invalid", f"an action is {numbers[~np.isfinite(numbers)][0]}, no finite number")
        return numbers
    chosen = np.frombuffer(answer, "<i4").astype(np.int64)
    outside = chosen[(chosen < 0) | (chosen >= moves)]
    if outside.size:
        raise Failure("invalid", f"an action is {outside[0]}; there are 0 to {moves - 1}")
    return chosen
