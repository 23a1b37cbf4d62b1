"""MetaMaze-misc: the rewards that five policies collect, in environments of our own."""

from __future__ import annotations

from workbench.tasks.control_environments import MetaMaze
from workbench.tasks.policies import read_plan, score_policies
from workbench.tasks.submission import Job, Scores

FRAMES = 199
"""The most for one episode."""


def evaluate(job: Job) -> Scores:
    """Mean and standard deviation of the summed rewards."""
    return score_policies(MetaMaze(), read_plan(job, FRAMES), job)
