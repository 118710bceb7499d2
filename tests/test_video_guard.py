from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ssvid.errors import VideoError
from ssvid.video.guard import GIB, Guard, heartbeat


def double(path: str, number: int) -> tuple[str, int, int]:
    return path, 2 * number, os.getpid()


def hang(path: str) -> None:
    time.sleep(1000)


def hang_holding_the_lock(path: str) -> None:
    # PyDLL keeps the interpreter's lock, as a decoder does that spins in native code
    ctypes.PyDLL(None).sleep(1000)


def leave(path: str) -> None:
    os._exit(7)


def crash(path: str) -> None:
    os.abort()


def segfault(path: str) -> None:
    ctypes.string_at(0)


def hog(path: str) -> int:
    return len(bytearray(3 * GIB))


_kept = []


def keep(path: str, size: int) -> int:
    _kept.append(bytearray(size))
    return os.getpid()


def refuse(path: str) -> None:
    raise VideoError(path, "has a reason")


def fail(path: str) -> None:
    raise KeyError("thing")


def shout(path: str) -> str:
    os.write(1, b"noise on stdout\n")
    os.write(2, b"noise on stderr\n")
    return "done"


def slow_but_alive(path: str) -> str:
    for _ in range(12):
        time.sleep(0.25)
        heartbeat()
    return "done"


def test_result_comes_back_and_the_child_is_kept() -> None:
    with Guard() as guard:
        first, second = guard.run(double, "a.mp4", 21), guard.run(double, "b.mp4", 4)
    assert first[:2] == (os.path.abspath("a.mp4"), 42)
    assert second[:2] == (os.path.abspath("b.mp4"), 8)
    assert first[2] == second[2] != os.getpid()


@pytest.mark.parametrize("function", [hang, hang_holding_the_lock])
def test_a_hang_is_ended_and_the_guard_goes_on(function: object) -> None:
    with Guard() as guard:
        with pytest.raises(VideoError, match=r"a\.mp4: gave no result in 1 s"):
            guard.run(function, "a.mp4", limit=1)
        assert guard.run(double, "b.mp4", 1)[1] == 2


def test_a_stall_is_ended_but_slow_progress_is_not() -> None:
    with Guard() as guard:
        assert guard.run(slow_but_alive, "a.mp4", limit=60, stall=2) == "done"
        with pytest.raises(VideoError, match="gave no result"):
            guard.run(hang, "a.mp4", limit=60, stall=0.5)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (leave, "crashed its decoder.*exit status 7"),
        (crash, "crashed its decoder.*SIGABRT"),
        (segfault, "crashed its decoder.*SIGSEGV"),
    ],
)
def test_a_crash_is_a_video_error_and_the_guard_goes_on(function: object, words: str) -> None:
    with Guard() as guard:
        with pytest.raises(VideoError, match=rf"a\.mp4: {words}"):
            guard.run(function, "a.mp4")
        assert guard.run(double, "b.mp4", 1)[1] == 2


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
def test_memory_is_limited() -> None:
    with Guard(memory=2 * GIB) as guard, pytest.raises(VideoError, match="memory"):
        guard.run(hog, "a.mp4")


@pytest.mark.skipif(sys.platform != "linux", reason="the system tells the memory of a process on Linux only")
def test_a_child_that_keeps_much_memory_is_replaced() -> None:
    with Guard(memory=2 * GIB) as guard:
        first = guard.run(keep, "a.mp4", 100 << 20)
        assert guard.run(double, "b.mp4", 1)[2] == first
        assert guard.run(keep, "c.mp4", 17 * GIB // 10) == first
        assert guard.run(double, "d.mp4", 1)[2] != first


def test_errors_keep_their_reason() -> None:
    with Guard() as guard:
        with pytest.raises(VideoError, match=r"^a\.mp4: has a reason$"):
            guard.run(refuse, "a.mp4")
        with pytest.raises(VideoError, match=r"KeyError: 'thing'"):
            guard.run(fail, "a.mp4")


def test_native_noise_is_silenced(capfd: pytest.CaptureFixture[str]) -> None:
    with Guard() as guard:
        assert guard.run(shout, "a.mp4") == "done"
    assert capfd.readouterr() == ("", "")


def test_scripts_need_no_main_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "print('once')\n"
        "from ssvid.video.reader import probe\n"
        "from ssvid.video.writer import write_video\n"
        "import numpy as np\n"
        "write_video('a.mp4', np.zeros((4, 32, 32, 3), np.uint8))\n"
        "print(probe('a.mp4').frames)\n"
    )
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["once", "4"]


def test_no_child_is_left_behind() -> None:
    with Guard() as guard:
        pid = guard.run(double, "a.mp4", 1)[2]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_import_of_a_decoder_is_no_stall(tmp_path, monkeypatch) -> None:
    """On a busy machine it takes longer than a decoder may be silent, and the first videos of a scan would count as bad."""
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(1.5)\ndef work(path):\n    return path\n")
    monkeypatch.syspath_prepend(tmp_path)
    from slow_to_import import work

    with Guard() as guard:
        assert guard.run(work, "/a.mp4", limit=60, stall=0.5) == "/a.mp4"
