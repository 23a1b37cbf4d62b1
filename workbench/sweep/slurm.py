"""A sweep as an array job of SLURM: each task of the array runs one session of the plan, by the same command."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path


def script(plan: Path, folder: Path, sessions: int, parallel: int) -> str:
    """The job script. What a site asks for (account, partition, GPUs, time) is the user's to add."""
    command = shlex.join([sys.executable, "-m", "workbench", "sweep", str(plan.absolute()), "--sessions", str(folder)])
    return f"""#!/bin/bash
#SBATCH --job-name=mlgym-sweep
#SBATCH --array=0-{sessions - 1}%{parallel}
#SBATCH --output={shlex.quote(str(folder))}/slurm-%A_%a.out
#SBATCH --signal=B:TERM@120
# Add what your site asks for: --partition, --time, --gres=gpu:1, --mem.
# SLURM sends TERM two minutes before the end: the session ends as interrupted, and goes on when the job is sent again.
mkdir -p {shlex.quote(str(folder))}
trap 'kill -TERM "$child"; wait "$child"' TERM
{command} --only "$SLURM_ARRAY_TASK_ID" --parallel 1 --json &
child=$!
wait "$child"
"""
