"""Clips a second of frozen features, seconds of a second probe, and how memory grows with the number of videos."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssvid.bench.timing import rates, row, textured_frames
from ssvid.data.index import Index
from ssvid.data.scanning import scan_videos
from ssvid.data.video_record import VideoRecord
from ssvid.evaluation import adapter
from ssvid.evaluation.adapter import Candidate, EvalContext
from ssvid.evaluation.features import View, extract
from ssvid.video.writer import write_video
from ssvid.zoo import create_model
from ssvid.zoo.backbone import Backbone

VIDEOS, FRAMES, BATCH = 16, 150, 8
VIEW = View(clips=3, frames=16, stride=2, size=112)
BACKBONE = "r3d_18_tiny"
SECONDS = 5.0  # that a probe after the first may take
FEW, MANY = 2_000, 10_000  # videos whose tables are compared in memory
WIDE = "baseline_difference"  # 9,216 numbers a clip, and no time for the network
CLIPS = 5


def bench_transfer(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Clips a second of frozen features: a bare loop of decord and the network, and ours on the same clips in the same process, then with
    a decoding worker beside; and the seconds of a probe when the features are there already."""
    index = Index(folder / "index.sqlite", create=True)
    for number in range(VIDEOS):
        write_video(folder / "v" / f"{number}.mp4", textured_frames(number, FRAMES), fps=30, gop=250, bframes=2, crf=23)
    scan_videos([folder / "v"], index)
    videos = index.videos()
    backbone = create_model(BACKBONE).eval()
    fresh = count()

    def ours(workers: int) -> float:
        began = time.perf_counter()
        extract(backbone, videos, VIEW, batch=BATCH, workers=workers, cache=folder / f"cache{next(fresh)}")
        return VIEW.clips * len(videos) / (time.perf_counter() - began)

    def bare() -> float:
        began = time.perf_counter()
        clips = sum(
            len(bare_features(backbone, videos[start : start + BATCH])) for start in range(0, len(videos), BATCH)
        )
        return clips / (time.perf_counter() - began)

    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - 1))  # a core is left to the worker on every side
    timed = rates({"bare": bare, "ours": partial(ours, 0), "worker": partial(ours, 1)}, rounds)
    torch.set_num_threads(threads)
    what = f"{VIEW.clips} x {VIEW.frames} frames of H.264 320x240, {BACKBONE} at {VIEW.size} px"
    return [
        row(
            f"frozen features in one process against bare decord and forward, {what}",
            timed["bare"],
            timed["ours"],
            0.9,
            "clips/s",
        ),
        row(f"the same with a decoding worker beside, {what}", timed["bare"], timed["worker"], None, "clips/s"),
        _second_probe(videos, backbone),
        _memory(folder),
    ]


def bare_features(backbone: Backbone, videos: Sequence[VideoRecord]) -> torch.Tensor:
    """What one would write by hand: (clips, D) of a batch of videos, resized while decoding, one crop, one forward pass."""
    import decord

    clips = []
    for video in videos:
        width = round(video.info.width * VIEW.size / video.info.height)
        reader = decord.VideoReader(video.path, width=width, height=VIEW.size, num_threads=1)
        indices = VIEW.indices(video)
        frames = torch.from_numpy(reader.get_batch(indices.ravel()).asnumpy())
        left = (width - VIEW.size) // 2
        square = frames[:, :, left : left + VIEW.size].unflatten(0, indices.shape).permute(0, 4, 1, 2, 3)
        clips.append(square.float() / 255)
    with torch.inference_mode():
        result: torch.Tensor = backbone(torch.cat(clips)).mean((2, 3, 4))
        return result


def _second_probe(videos: Sequence[VideoRecord], backbone: Backbone) -> dict[str, Any]:
    """Seconds of a linear probe with its features to be computed, and of the next one."""
    labelled = [replace(video, label="ab"[number // 2 % 2]) for number, video in enumerate(videos)]
    fold = (np.arange(0, len(videos), 2), np.arange(1, len(videos), 2))
    context = EvalContext(labelled, [fold], VIEW, workers=0)
    candidate, took = Candidate(BACKBONE, lambda: backbone, False), []
    for _ in range(2):
        began = time.perf_counter()
        list(adapter.run("linear", candidate, context))
        took.append(time.perf_counter() - began)
    return {
        "what": f"a linear probe on cached features against the first, which computed them, at most {SECONDS:.0f} s",
        "base": f"{took[0]:.2f} s",
        "ours": f"{took[1]:.2f} s",
        "ratio": round(took[0] / took[1], 3),
        "target": f"{SECONDS:.0f} s",
        "met": took[1] <= SECONDS,
    }


def _memory(folder: Path, few: int = FEW, many: int = MANY) -> dict[str, Any]:
    """How much more memory a table of many videos takes than one of few, beside what their pooled vectors take."""
    index = Index(folder / "small.sqlite", create=True)
    for number in range(4):
        write_video(
            folder / "small" / f"{number}.mp4",
            (frame[::4, ::4] for frame in textured_frames(number, 12)),
            fps=30,
            gop=12,
        )
    scan_videos([folder / "small"], index)
    grown = peak_memory(index.path, many) - peak_memory(index.path, few)
    pooled = (many - few) * create_model(WIDE).info.dim * 4 / 2**20
    return {
        "what": f"memory of a k-NN table of {many:,} videos less that of {few:,}, {CLIPS} clips of {WIDE} each, beside the pooled vectors",
        "base": f"{pooled:.0f} MiB",
        "ours": f"{grown:.0f} MiB",
        "ratio": f"{grown / pooled:.2f}",
        "target": "",
    }


def peak_memory(index: Path, videos: int, backbone: str = WIDE, clips: int = CLIPS) -> float:
    """MiB that a fresh process takes at most to extract features and evaluate them, for so many copies of an index's rows."""
    command = [sys.executable, "-c", MEASURED, str(index), str(videos), backbone, str(clips)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


MEASURED = """
import resource, sys
from dataclasses import replace
import numpy as np
from ssvid.data.index import Index
from ssvid.evaluation import adapter
from ssvid.evaluation.adapter import Candidate, EvalContext
from ssvid.evaluation.features import View
from ssvid.zoo import create_model
path, count, name, clips = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
rows = Index(path).videos()
videos = [replace(rows[n % len(rows)], id=n, label="ab"[n % 2]) for n in range(count)]
folds = [(np.arange(0, count // 2), np.arange(count // 2, count))]
context = EvalContext(videos, folds, View(clips, 4, 1, 24), workers=0)
list(adapter.run("knn", Candidate(name, lambda: create_model(name), False), context))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak / 2**20 if sys.platform == "darwin" else peak / 2**10)
"""
