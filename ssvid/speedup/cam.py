"""The space-time activation map of a trained task, drawn over the video: where does the decision come from?

SpeedNet's map is its linear layer applied before the maximum over space (arXiv 2004.06130, supplement). It is sharp, but its cells do not
add up to the answer, because only the largest cell of each channel counts there. The mean of arrow_of_time's map is its answer.
Red speaks for "sped up" (or "backward"), blue against it; where the map is weak, the video shows through.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from torch import Tensor, nn

from ssvid.compute import resolve_device
from ssvid.data.augment import Augment
from ssvid.errors import ConfigError, DataError
from ssvid.progress import Progress, silent
from ssvid.speedup.calibration import calibration_of
from ssvid.speedup.models import device_of, load_model
from ssvid.speedup.windows import WindowCutter, durations_of, evaluation_size, small_tensors
from ssvid.training.run import Run
from ssvid.training.validate import trained_task
from ssvid.video.info import VideoInfo
from ssvid.video.scan import scan
from ssvid.video.shots import Shots
from ssvid.video.transcode import upright_frames
from ssvid.video.writer import write_video
from ssvid.zoo.backbone import Backbone, to_device

COLORS = "coolwarm"
OPAQUE = 0.65  # of the strongest places
FULL = 0.9  # quantile of the strengths from which the colour is full, since a few moments are many times as strong as the rest


class ActivationMapModel(Protocol):
    """A task with a map: clips (B,V,C,T,h,w) -> (B,V,t,h',w'), of T frames `stride` ticks of its clock apart."""

    window_length: int
    fps: float | None
    augment: Augment
    backbone: Backbone

    def cam(self, clips: Tensor) -> Tensor:
        """Where the decision comes from."""
        ...


def render_cam(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    model: str | os.PathLike[str] | ActivationMapModel | None = None,
    progress: Progress | None = None,
    device: str = "auto",
) -> None:
    """Write a video with its activation map drawn over it to `out`: the same frames at the same times, without sound.

    model: a run folder of a task that has a map (speednet, arrow_of_time) or such a task; None: the shipped SpeedNet. Shots shorter
    than a window are left plain.
    Raises VideoError for a file that cannot be used, ConfigError for a task without a map, DataError where every shot is too short.
    """
    progress = progress or silent
    task = (
        cast(ActivationMapModel, model)
        if isinstance(model, nn.Module)
        else load_map_model(cast("str | None", model), device)
    )
    info, shots = scan(path)
    maps = frame_maps(task, info, replace(shots, bars=(0, 0, 0, 0)), progress)
    timing = {"times": info.times} if info.variable else {"fps": info.fps}
    write_video(out, overlaid(info, maps, progress), **timing)


def load_map_model(source: str | os.PathLike[str] | None, device: str = "auto") -> ActivationMapModel:
    """The trained task of a run that has a map; the shipped SpeedNet for None. Raises ConfigError for a task without one."""
    if source is None or not (Path(source) / "config.yaml").is_file():
        return cast(ActivationMapModel, load_model(source, device))
    task = trained_task(Run(source))
    if not hasattr(task, "cam"):
        raise ConfigError(f"{type(task).__name__} has no activation map; name a run of speednet or arrow_of_time")
    return cast(ActivationMapModel, to_device(task, resolve_device(device)))


def frame_maps(task: ActivationMapModel, info: VideoInfo, shots: Shots, progress: Progress) -> np.ndarray:
    """The map (T,h,w) of every frame: the mean over the half-overlapping windows it lies in, NaN where there is none."""
    durations = durations_of(info)
    clock = min(task.fps or info.fps, info.fps) / getattr(task, "stride", 1)
    length = (
        (task.window_length - 1) // task.stride + 1
        if hasattr(task, "stride")
        else cast(int, getattr(task, "frames", 0))
    )
    cutter: WindowCutter[Tensor] = WindowCutter(
        info.times, durations, shots.cuts, [1.0], clock, length, max(1, length // 2)
    )
    total, count = np.zeros(0), np.zeros(info.frames)
    for window in cutter.cut(small_tensors(info, shots, evaluation_size(task.augment), progress)):
        with torch.inference_mode():
            clip = torch.stack(window.frames, 1)[None, None].to(device_of(task))
            seen = calibration_of(task).apply(task.cam(clip)[0, 0].float().cpu().numpy())  # (t,h,w)
        if not len(total):
            total = np.zeros((info.frames, *seen.shape[1:]))
        numbers = np.arange(window.numbers[0], window.numbers[-1] + 1)
        ticks = np.searchsorted(window.numbers, numbers, side="right") - 1  # on screen at each of these frames
        total[numbers] += seen[ticks * len(seen) // length]
        count[numbers] += 1
    if not count.any():
        raise DataError(f"{info.path}: no shot is as long as a window of {length / clock:.2f} s; take a longer video")
    return _held(total / np.where(count, count, np.nan)[:, None, None], (0, *shots.cuts))


def _held(maps: np.ndarray, starts: tuple[int, ...]) -> np.ndarray:
    """Give frames of a shot after its last window the last map."""
    for start, end in zip(starts, (*starts[1:], len(maps)), strict=True):
        known = start + np.flatnonzero(~np.isnan(maps[start:end, 0, 0]))
        if len(known):
            maps[known[-1] + 1 : end] = maps[known[-1]]
    return maps


def overlaid(info: VideoInfo, maps: np.ndarray, progress: Progress) -> Iterator[np.ndarray]:
    """Every frame of a video, uint8 (H,W,3), with its map (h,w) in colours over it."""
    strength = np.abs(maps[np.isfinite(maps)])
    scale = max(float(np.quantile(strength, FULL)), 1e-6)
    palette = colormaps[COLORS]
    frames = upright_frames(info.path, info.height, info.width, info.frames)
    for number, (frame, field) in enumerate(zip(frames, maps, strict=True), 1):
        progress("drawing", number, info.frames)
        if np.isnan(field).any():
            yield frame
            continue
        push = np.clip(field / scale, -1, 1)
        large = F.interpolate(torch.from_numpy(push)[None, None], frame.shape[:2], mode="bilinear")[0, 0].numpy()
        color = palette((large + 1) / 2)[..., :3] * 255
        alpha = (OPAQUE * np.abs(large))[..., None]
        yield (frame * (1 - alpha) + color * alpha + 0.5).astype(np.uint8)
