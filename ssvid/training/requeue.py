"""A job that its scheduler stops and starts again: it goes on where it was, with the same command.

SLURM sends a signal before it ends a job (#SBATCH --signal=USR1@120), the run saves and puts its job back in the queue; SLURM and torchrun
say to the next attempt that it is one.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from ssvid.config import PretrainConfig

RESTARTS = ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT")  # how often a job, a process, was started again


def restarted(config: PretrainConfig) -> bool:
    """Whether this is another attempt at the run in config.out, which the first one began."""
    again = any(os.environ.get(name, "0") not in ("", "0") for name in RESTARTS)
    return again and (Path(config.out) / "config.yaml").is_file()


def requeue(config: PretrainConfig, number: int) -> str:
    """Put the SLURM job of this process back in the queue where it is to be; returns what is to be said of it, nothing outside of a job.

    number: of the signal that stopped the run. `scancel` sends SIGTERM too, so on that only config.requeue=always brings the job back.
    """
    job = job_id()
    wanted = config.requeue == "always" or (config.requeue == "auto" and number != signal.SIGTERM)
    if not job or not wanted:
        return ""
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=60, check=False)
        failure = done.stderr.strip() or f"exit code {done.returncode}" if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        failure = str(error)
    if failure:
        return f"; job {job} could not be put back in the queue ({failure}): submit it with sbatch --requeue, or once more by hand"
    return f"; job {job} is back in the queue"


def job_id() -> str:
    """The SLURM job this process belongs to, of an array its task; "" outside of one."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")
