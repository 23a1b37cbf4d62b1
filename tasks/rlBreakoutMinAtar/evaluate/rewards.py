"""Breakout-MinAtar: the rewards that five policies collect, in environments of our own."""

from __future__ import annotations

from workbench.tasks.control_environments import Breakout
from workbench.tasks.policies import read_plan, score_policies
from workbench.tasks.submission import Job, Scores

FRAMES = 999
"""The most for one episode."""


def evaluate(job: Job) -> Scores:
    """Mean and standard deviation of the summed rewards."""
    return score_policies(Breakout(), read_plan(job, FRAMES), job)
