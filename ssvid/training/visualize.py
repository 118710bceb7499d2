"""One batch as a picture: what the task was asked and what it answered, so that a person can look."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ssvid.data.loader import Batch
from ssvid.training.task import CaptionedFrames, PretextTask

MOST_FRAMES, MOST_ROWS, SIDE, LINE, MARGIN = 12, 24, 96, 18, 8  # the last three in px


def draw(task: PretextTask, batch: Batch, path: Path) -> None:
    """Write the task's rows for a batch (clips already augmented) as a PNG; the task's mode and weights stay as they are."""
    training = task.training
    task.eval()
    with torch.no_grad():
        rows = [(caption, frames.float().cpu()) for caption, frames in task.visualize(batch.clips, batch.target)]
    task.train(training)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet(rows[:MOST_ROWS]).save(path)


def sheet(rows: list[CaptionedFrames]) -> Image.Image:
    """Rows of captioned frames, (C,T,H,W) on 0..1 each, one under the other; long rows are thinned evenly."""
    strips = [(caption, _strip(frames)) for caption, frames in rows]
    font = ImageFont.load_default(12)
    wide = [max(strip.shape[1], math.ceil(font.getlength(caption))) for caption, strip in strips]
    width = max(wide, default=SIDE) + 2 * MARGIN
    height = sum(strip.shape[0] + LINE + MARGIN for _, strip in strips) + MARGIN
    picture = Image.new("RGB", (width, height), "white")
    pen, top = ImageDraw.Draw(picture), MARGIN
    for caption, strip in strips:
        pen.text((MARGIN, top), caption, fill="black", font=font)
        picture.paste(Image.fromarray(strip), (MARGIN, top + LINE))
        top += strip.shape[0] + LINE + MARGIN
    return picture


def _strip(frames: torch.Tensor) -> np.ndarray:
    """Frames side by side, SIDE px high with a gap of 2 px: (C,T,H,W) on 0..1 -> uint8 (SIDE,W,3)."""
    T = frames.shape[1]
    chosen = frames[:, torch.linspace(0, T - 1, min(T, MOST_FRAMES)).round().long()]
    scale = SIDE / chosen.shape[2]
    size = (SIDE, max(1, round(chosen.shape[3] * scale)))
    large = torch.nn.functional.interpolate(chosen.transpose(0, 1), size, mode="nearest")
    large = torch.nn.functional.pad(large, (0, 2), value=1.0)  # (T,C,SIDE,W+2)
    pixels = (large.clamp(0, 1) * 255).round().byte().permute(2, 0, 3, 1)
    return pixels.reshape(SIDE, -1, 3).numpy()
