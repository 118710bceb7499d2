"""Processes side by side: one thread a process, the environment left as it was, and no process that outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from ssvid.engine import executor


def setting() -> str:
    return os.environ["OMP_NUM_THREADS"]


@pytest.mark.parametrize("before", [None, "3"])
def test_every_process_has_one_thread_and_the_parent_keeps_its_own(before, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if before:
        monkeypatch.setenv("OMP_NUM_THREADS", before)
    with executor("local:1") as pool:
        assert pool.submit(setting).result() == "1"
    assert os.environ.get("OMP_NUM_THREADS") == before


PARENT = """
import os, time
from ssvid.engine import executor
if __name__ == "__main__":
    with executor("local:1") as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


def test_a_process_ends_when_its_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
        try:
            parent.communicate(timeout=20)  # ends when nobody holds the pipe any more
        except subprocess.TimeoutExpired:
            os.kill(child, signal.SIGKILL)
            pytest.fail("the process went on alone")
