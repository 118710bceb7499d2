"""Pictures of a batch: rows of frames under their captions."""

from __future__ import annotations

import numpy as np
import torch

from ssvid.training.visualize import MARGIN, sheet


def test_a_caption_longer_than_its_frames_is_whole():
    frames = torch.zeros(3, 2, 32, 32)
    short, long = (np.asarray(sheet([(caption, frames)])) for caption in ("asked", "asked and answered, " * 9))
    assert long.shape[1] > 2 * short.shape[1]
    assert (long[:, -MARGIN // 2 :] == 255).all()  # nothing is cut off at the edge
    assert long.shape[0] == short.shape[0]
