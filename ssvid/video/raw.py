"""A raw training copy: every frame decoded once, kept as one array that is read by memory map.

For small collections that are read many times: nothing is left to decode, at 3 bytes a pixel and frame on disk.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ssvid.errors import VideoError
from ssvid.files import atomic
from ssvid.video.info import VideoInfo, short_side
from ssvid.video.location import Range, local_range
from ssvid.video.transcode import upright_frames

CODEC = "raw"  # as `VideoInfo.codec` names such a copy


def keep_raw(path: str | os.PathLike[str], target: str | os.PathLike[str], info: VideoInfo, size: int) -> VideoInfo:
    """Write `target` (npy): uint8 (T,H,W,3), short side `size` px or as it is where that is smaller; what the copy is.

    Raises VideoError when the video does not decode as `info` says.
    """
    height, width = short_side(info.height, info.width, min(size, info.height, info.width))
    with atomic(target) as temporary:
        kept = np.lib.format.open_memmap(temporary, "w+", np.uint8, (info.frames, height, width, 3))
        for number, frame in enumerate(upright_frames(os.fspath(path), height, width, info.frames)):
            kept[number] = frame
        kept.flush()
    return replace(
        info,
        path=str(target),
        height=height,
        width=width,
        codec=CODEC,
        container="npy",
        rotation=0,
        mirror=False,
        audio=False,
        seek=True,
        identity="",  # it says itself when it is not what the index knows
    )


def read_raw(path: str, indices: Sequence[int], height: int, width: int) -> np.ndarray:
    """Frames of a raw copy, a file or a member of a tar, uint8 (T,H,W,3). Raises VideoError where it is gone or is not one."""
    place = local_range(path)
    try:
        kept = np.load(path, mmap_mode="r", allow_pickle=False) if place is None else _mapped(place)
        frames = kept[np.asarray(indices)]
    except (OSError, ValueError, IndexError):
        raise VideoError(path, "is not the raw copy that the index knows; make the index anew") from None
    if frames.shape[1:3] == (height, width):
        result: np.ndarray = frames
        return result
    import torch

    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2)  # FFmpeg's scaler takes one frame at a time: 50 times as long
    scaled = torch.nn.functional.interpolate(pixels, (height, width), mode="bicubic", antialias=True)
    return scaled.permute(0, 2, 3, 1).contiguous().numpy()


def _mapped(place: Range) -> np.ndarray:
    """An array within a file, which numpy maps only where it begins the file. Raises ValueError where it is none."""
    with open(place.file, "rb") as file:
        file.seek(place.start)
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        return np.memmap(file, dtype, "r", file.tell(), shape)
