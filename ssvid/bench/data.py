"""What an index costs as it grows: seconds, memory and bytes handed to a loader's worker from 1,000 to 1,000,000 videos.

A few videos are made and scanned; the rows of the rest are copies of theirs, without files. Every size is measured in a process of its own,
as a rank of a training would be: memory is what it grows by, beyond Python, the libraries and the network. Seconds are of the processor,
and of the clock in brackets, which on a busy machine tells of the others.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ssvid.bench.rows import copy_video
from ssvid.bench.timing import textured_frames
from ssvid.data.index import Index
from ssvid.data.scanning import scan_videos
from ssvid.errors import SsvidError
from ssvid.video.writer import write_video

SIZES = (1_000, 10_000, 100_000, 1_000_000)
MADE, FRAMES, FPS = 4, 100, 25.0  # videos that are scanned, and their frames
TESTED = 1000  # one in so many is of the split test
SECONDS, MEMORY = 20.0, 2000.0  # the targets for what there is one of in a run: s, MB
MARK, FEW, HANDED, KNOWN, STEP = 10.0, 2.0, 1.0, 0.1, 0.2  # for the rest: s, s, MB, s, s

_CHILD = """
import json, os, pickle, sys, time
from ssvid.config import PretrainConfig
from ssvid.data.loader import ClipReader
from ssvid.data.scanning import open_data
from ssvid.training.build import build_task
from ssvid.training.resuming import data_mark
from ssvid.training.sampler import PlanSampler
from ssvid.training.videos import training_videos

def cost(act):
    pages, cpu, clock = resident(), time.process_time(), time.perf_counter()
    result = act()
    return result, [time.process_time() - cpu, time.perf_counter() - clock, (resident() - pages) / 1e6]

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

path, known, what = sys.argv[1:]
config = PretrainConfig(task="speednet", backbone="s3dg_tiny", data=[path], batch=32, steps=100)

def one():
    return open_data([path]).videos(paths=[known])[0].info.times.sum()

def every():
    return open_data([path]).videos()

def tested():
    return open_data([path]).videos("test")

def start():
    index = open_data([path])
    notes, (videos, _) = index.notes, training_videos(task, index, config.split)
    sampler = PlanSampler(task, videos, config)
    return videos, sampler, sampler.plans(0)

if what == "read":
    found = {"one": cost(one)[1], "tested": cost(tested)[1], "every": cost(every)[1]}
else:
    task = build_task(config)
    (videos, sampler, plans), found = cost(start)
    found = {"start": found, "handed": [0, 0, len(pickle.dumps((ClipReader(task.augment.decode_size), plans))) / 1e6]}
    found |= {"step": cost(lambda: sampler.plans(1))[1], "mark": cost(lambda: data_mark(videos))[1]}
print(json.dumps(found))
"""

Cost = tuple[float, float, float]  # seconds of the processor, seconds of the clock, MB


def bench_data(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """A row for everything that grows with an index. rounds: one is timed, whatever it says, as rows are made by the hundred thousand."""
    for number in range(MADE):
        frames = (frame[:64, :96] for frame in textured_frames(number, FRAMES))
        write_video(folder / "v" / f"{number}.mp4", frames, fps=FPS)
    costs: list[dict[str, Cost]] = []
    for size in SIZES:
        index = large_index(folder, size)
        costs.append(_measured(index, "read") | _measured(index, "start"))
        index.path.unlink()
    found = {key: [cost[key] for cost in costs] for key in costs[0]}
    return [
        _row("an index opened, and all its videos", found["every"], SECONDS, MEMORY),
        _row(f"one in {TESTED} of them, by their split", found["tested"], FEW, None),
        _row("`ssvid pretrain` up to the first step: videos chosen, clips drawn", found["start"], SECONDS, MEMORY),
        _row("the plans of the next step", found["step"], STEP, None),
        _row("the mark of a run's videos, once a run", found["mark"], MARK, None),
        _row("handed to a spawned worker with a batch of 32", found["handed"], None, HANDED),
        _row("one known video, and its times", found["one"], KNOWN, None),
    ]


def large_index(folder: Path, size: int) -> Index:
    """An index of `size` videos, of which those in folder/v are there."""
    index = Index(folder / f"{size}.sqlite", create=True)
    scan_videos([folder / "v"], index, engine="local:1")
    with index.database() as database:
        for id in range(1, MADE + 1):
            names = (f"a class with a name {number % 400}/{id}-{number:08d}.mp4" for number in range(size // MADE - 1))
            copy_video(database, id, [str(folder / name) for name in names])
        query = "UPDATE videos SET split = CASE WHEN id % ? = 0 THEN 'test' ELSE 'train' END"
        database.execute(query, (TESTED,))
    return index


def _measured(index: Index, what: str) -> dict[str, Cost]:
    """What a fresh process takes."""
    command = [sys.executable, "-c", _CHILD, str(index.path), index.videos(paths=_first(index))[0].path, what]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SsvidError(f"the measured process failed: {done.stderr.strip().splitlines()[-1]}")
    result: dict[str, Cost] = json.loads(done.stdout.splitlines()[-1])
    return result


def _first(index: Index) -> list[str]:
    return [str(index.path.parent / "v" / "0.mp4")]


def _row(what: str, costs: list[Cost], seconds: float | None, memory: float | None) -> dict[str, Any]:
    """A line; its ratio is of the largest index to the one before, which is ten times smaller: of seconds, or of bytes where none count."""
    shown, targets, met = [], [], True
    for cpu, clock, megabytes in costs:
        times = f"{cpu:.3g} s ({clock:.3g} s)" if seconds else ""
        shown.append(", ".join(filter(None, (times, f"{megabytes:.3g} MB" if memory else ""))))
    if seconds:
        targets.append(f"under {seconds:g} s")
        met &= costs[-1][0] <= seconds
    if memory:
        targets.append(f"under {memory:g} MB")
        met &= costs[-1][2] <= memory
    of = 0 if seconds else 2
    sizes = {f"{size:,} videos": text for size, text in zip(SIZES, shown, strict=True)}
    ratio = round(costs[-1][of] / costs[-2][of], 2)
    return {"what": what, **sizes, "ratio": ratio, "target": " and ".join(targets), "met": met}
