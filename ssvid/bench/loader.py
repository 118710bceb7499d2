"""Clips a second of the loader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ssvid.bench.timing import rates, row, steady, textured_frames
from ssvid.data.index import Index
from ssvid.data.loader import SamplePlan, load
from ssvid.data.scanning import scan_videos, write_training_copies
from ssvid.data.video_record import VideoRecord
from ssvid.video.writer import write_video

CLIP, SIDE, CLIPS = 16, 112, 96  # frames, px and number of the loader's clips


def bench_loader(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Clips a second: a bare decord loop, our loader with one worker on the same windows, and on training copies."""
    index = Index(folder / "index.sqlite", create=True)
    for number in range(4):
        write_video(folder / "v" / f"{number}.mp4", textured_frames(number, 600), fps=30, gop=250, bframes=2, crf=23)
    scan_videos([folder / "v"], index)
    originals = index.videos()
    write_training_copies(index, folder / "copies")
    copies = index.videos()
    rng = np.random.default_rng(0)
    plans = [_window(originals, number % len(originals), rng) for number in range(CLIPS)]
    copied = [replace(plan, video=copies[plan.position]) for plan in plans]
    timed = rates(
        {
            "bare": lambda: steady(bare_decord(plan) for plan in plans),
            "ours": lambda: steady(len(batch.clips) for batch in load(_chunks(plans), SIDE, workers=1)),
            "copies": lambda: steady(len(batch.clips) for batch in load(_chunks(copied), SIDE, workers=1)),
        },
        rounds,
    )
    return [
        row(
            "our loader, one worker, against a bare decord loop (H.264 320x240, GOP 250)",
            timed["bare"],
            timed["ours"],
            0.9,
            "clips/s",
        ),
        row("training copies against the originals", timed["ours"], timed["copies"], 4.0, "clips/s"),
    ]


def bare_decord(plan: SamplePlan) -> int:
    """What one would write by hand: a fresh reader a window, one thread, resized while decoding."""
    import decord

    info = plan.video.info
    width = round(info.width * SIDE / info.height)
    reader = decord.VideoReader(info.path, width=width, height=SIDE, num_threads=1)
    return len(reader.get_batch(plan.indices.ravel()).asnumpy()) // CLIP


def _window(videos: Sequence[VideoRecord], position: int, rng: np.random.Generator) -> SamplePlan:
    start = int(rng.integers(videos[position].info.frames - CLIP))
    return SamplePlan(
        videos[position], position, np.arange(start, start + CLIP)[None], np.zeros(0, np.float32), {}, 0.5, SIDE
    )


def _chunks(plans: Sequence[SamplePlan]) -> list[list[SamplePlan]]:
    return [list(plans[start : start + 8]) for start in range(0, len(plans), 8)]
