"""Memory that a process has freed and uses again."""

import ctypes
import resource

import numpy as np
import pytest

from ssvid.compute import keep_freed_memory

BLOCK = 64 * 2**20  # bytes
GLIBC_LARGEST = 32 * 2**20  # what glibc keeps by itself

pytestmark = pytest.mark.skipif(not hasattr(ctypes.pythonapi, "mallopt"), reason="glibc alone has such limits")


def pages_mapped() -> int:
    """How often the system had to give a page while a block was filled that is as large as one freed before."""
    np.ones(BLOCK, np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(BLOCK, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.fixture(autouse=True)
def _own_limits(monkeypatch):
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    keep_freed_memory(GLIBC_LARGEST)
    yield
    keep_freed_memory()


def test_a_block_that_was_freed_is_used_again():
    assert pages_mapped() > 16
    keep_freed_memory()
    assert pages_mapped() <= 16


def test_limits_of_the_environment_stay(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    keep_freed_memory()
    assert pages_mapped() > 16
