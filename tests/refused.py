"""Files and disks that refuse: commands run under permissions that bind, root included, and under a limit of what may be written."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DROP, OVERRIDE, SEARCH = 24, 1, 2  # of prctl: take a capability away for good; those that let root pass by permissions


def _bind() -> None:
    """In the child: let permissions bind root too."""
    if os.geteuid() == 0:
        for capability in (OVERRIDE, SEARCH):
            ctypes.CDLL(None).prctl(DROP, capability, 0, 0, 0)


def ssvid(*arguments: str | Path, most: int | None = None) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `ssvid ARGUMENTS` where permissions bind; `most` as of `refused`."""
    return refused("-m", "ssvid", *arguments, most=most)


def refused(*arguments: str | Path, most: int | None = None) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `python ARGUMENTS` where permissions bind. most: bytes a file may have, as on a full disk."""
    if sys.platform != "linux":
        pytest.skip("needs Linux")

    def prepare() -> None:
        _bind()
        if most is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=prepare,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()
