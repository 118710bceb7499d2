"""Memory that a process has freed and uses again. In processes of their own, since what one has freed before counts."""

import ctypes
import os
import subprocess
import sys

import pytest

from ssvid.compute import LIMITS

pytestmark = pytest.mark.skipif(not hasattr(ctypes.pythonapi, "mallopt"), reason="glibc alone has such limits")

SCRIPT = """
import resource
import numpy as np
from ssvid.compute import keep_freed_memory

def pages_mapped():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(64 * 2**20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

of_itself = [pages_mapped() for _ in range(2)][1]
keep_freed_memory()
kept = [pages_mapped() for _ in range(2)][1]
print(of_itself, kept)
"""


def pages_mapped(**limits: str) -> list[int]:
    """How often the system gave a page while a block was filled that is as large as one freed before: of itself, and kept."""
    env = {name: value for name, value in os.environ.items() if name not in LIMITS} | limits
    told = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True).stdout
    return [int(word) for word in told.split()]


def test_a_block_that_was_freed_is_used_again():
    of_itself, kept = pages_mapped()
    assert of_itself > 16
    assert kept <= 16


def test_limits_of_the_environment_stay():
    _, kept = pages_mapped(MALLOC_TRIM_THRESHOLD_="131072")
    assert kept > 16
