"""The speed-up: whole jobs beside the length of their clip, the share of every stage, memory by length, and the planning alone."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ssvid.bench.timing import textured_frames
from ssvid.speedup.solver import plan_pace
from ssvid.video.writer import write_video

FPS, LOOP = 30, 300  # frames a second; frames after which the clip repeats; they are encoded once
MINUTE, TEN = 60, 600  # seconds of the clips
PLANNED = 100_000  # frames
MEMORY, PLAN_TARGET = 1.2, 1.0

# Runs in a process of its own, so that its peak of memory is its own.
JOB = """
import json, resource, sys, time
from pathlib import Path
from ssvid.speedup.pipeline import SpeedupOptions, plan_speedup
from ssvid.speedup.render import render_plan
source, out, by = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
spent, last = {}, [time.perf_counter()]
def report(what, done, total):
    now = time.perf_counter()
    spent[what] = spent.get(what, 0.0) + now - last[0]
    last[0] = now
began = last[0]
plan = plan_speedup(source, out, SpeedupOptions(by=by), report)
evidence = time.perf_counter() - began
last[0] = time.perf_counter()
render_plan(plan, out, progress=report)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps({"all": time.perf_counter() - began, "evidence and plan": evidence, "peak": peak,
                  "picture": spent.get("rendering", 0.0), "sound and joining": spent.get("joining with sound", 0.0)}))
"""


def bench_speedup(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """A minute of 320x240 with sound at twice the speed: at most its own length; memory at ten minutes; planning 100,000 frames."""
    by = "model" if _has_model() else "motion"
    clips = {seconds: _clip(folder / f"{seconds}.mp4", seconds) for seconds in (MINUTE, TEN)}
    runs = [_job(clips[MINUTE], folder / "o.mp4", by) for _ in range(rounds)]
    whole = statistics.median(run["all"] for run in runs)
    rows = [
        _row(
            f"whole job of a minute, by {by}, against its length", f"{MINUTE} s", f"{whole:.1f} s", whole / MINUTE, 1.0
        )
    ]
    for stage in ("evidence and plan", "picture", "sound and joining"):
        share = statistics.median(run[stage] / run["all"] for run in runs)
        spent = statistics.median(run[stage] for run in runs)
        rows.append(_row(f"share of {stage}", f"{whole:.1f} s", f"{spent:.1f} s", share, None))
    small = statistics.median(run["peak"] for run in runs)
    large = _job(clips[TEN], folder / "o.mp4", by)["peak"]
    rows.append(_row("peak memory, ten minutes against one", _mib(small), _mib(large), large / small, MEMORY))
    spent = statistics.median(_planning(seed) for seed in range(rounds))
    rows.append(_row(f"planning {PLANNED:,} frames, against a second", "1 s", f"{spent:.2f} s", spent, PLAN_TARGET))
    return rows


def _row(what: str, base: str, ours: str, ratio: float, target: float | None) -> dict[str, Any]:
    """A line; the ratio shall be at most the target."""
    met = "" if target is None else ratio <= target
    return {"what": what, "base": base, "ours": ours, "ratio": round(ratio, 3), "target": target or "", "met": met}


def _mib(size: float) -> str:
    return f"{size / 2**20:.0f} MiB"


def _clip(path: Path, seconds: int) -> Path:
    """A clip with a tone of half the volume, stereo at 44.1 kHz; packets are copied over and over, because only decoding is timed."""
    import av

    loop = path.with_name("loop.mp4")
    if not loop.exists():
        write_video(loop, textured_frames(0, LOOP), fps=FPS, crf=23, gop=LOOP, bframes=0)
    with av.open(str(loop)) as source:
        packets = [bytes(packet) for packet in source.demux(video=0) if packet.size]
        with av.open(str(path), "w") as out:
            video = out.add_stream_from_template(source.streams.video[0])
            sound = out.add_stream("aac", rate=44100, layout="stereo")
            for second in range(seconds):
                for number in range(second * FPS, (second + 1) * FPS):
                    packet = av.Packet(packets[number % LOOP])
                    packet.stream, packet.time_base = video, Fraction(1, FPS)
                    packet.pts = packet.dts = number
                    packet.duration, packet.is_keyframe = 1, number % LOOP == 0
                    out.mux(packet)
                moments = np.arange(second * 44100, (second + 1) * 44100) / 44100
                wave = np.sin(2 * np.pi * 440 * moments).astype(np.float32)[None].repeat(2, 0) / 2
                frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="stereo")
                frame.sample_rate, frame.pts = 44100, second * 44100
                out.mux(sound.encode(frame))
            out.mux(sound.encode(None))
    return path


def _job(clip: Path, out: Path, by: str) -> dict[str, float]:
    for left in (out, out.with_name(f"{out.name}.plan.json")):
        left.unlink(missing_ok=True)
    command = [sys.executable, "-c", JOB, str(clip), str(out), by]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _planning(seed: int) -> float:
    natural = np.exp(1 + np.sin(np.arange(PLANNED) / 90) + np.random.default_rng(seed).normal(0, 0.3, PLANNED)).clip(
        1, 8
    )
    durations = np.full(PLANNED, 1 / FPS)
    began = time.perf_counter()
    plan_pace(natural, durations, durations.sum() / 2, cuts=range(500, PLANNED, 500))
    return time.perf_counter() - began


def _has_model() -> bool:
    """Whether a model came with the package."""
    from ssvid.errors import SsvidError
    from ssvid.speedup.models import load_model

    try:
        load_model(None)
    except (SsvidError, OSError):
        return False
    return True
