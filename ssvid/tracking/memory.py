"""What a tracker remembers: features and soft labels of the first frame, of the last few, and of any that are to be kept for ever.

Nothing is computed twice, and the memory's size depends on the context, not on the length of the video.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class LabelledFrame(NamedTuple):
    """A frame whose labels are known. number: from 0. features: (h,w,D). labels: (h,w,C), how much each cell shows of each label."""

    number: int
    features: Tensor
    labels: Tensor


class Memory:
    """The context of the next frame.

    Args:
        recent: last frames that are held.
        repeat_first: the first frame stands in for those before the video, so that there are always `recent`.
        long_term: numbers of the frames that are kept for ever, beside the first.
    """

    def __init__(self, recent: int, repeat_first: bool = False, long_term: Sequence[int] = ()) -> None:
        self.kept: list[LabelledFrame] = []
        self.recent: deque[LabelledFrame] = deque(maxlen=recent)
        self.repeat_first = repeat_first
        self.long_term = frozenset(long_term)

    def add(self, frame: LabelledFrame, keep: bool = False) -> None:
        """Remember a frame as the newest. keep: for ever, as one whose labels were given; the first always is.

        A kept frame is not among the recent ones too, except where it is repeated before the video.
        """
        first = not self.kept
        if first and self.repeat_first:
            self.recent.extend([frame] * (self.recent.maxlen or 0))  # the same tensors, so this takes no memory
        if first or keep or frame.number in self.long_term:
            self.kept.append(frame)
        elif self.recent.maxlen:
            self.recent.append(frame)

    def insert(self, place: int, channels: int) -> None:
        """Make room for labels that appear later, at that place among the channels: frames from before show nothing of them."""
        self.kept = [_wide(frame, place, channels) for frame in self.kept]
        self.recent = deque((_wide(frame, place, channels) for frame in self.recent), self.recent.maxlen)


def _wide(frame: LabelledFrame, place: int, channels: int) -> LabelledFrame:
    before, after = frame.labels[..., :place], frame.labels[..., place:]
    none = frame.labels.new_zeros(*frame.labels.shape[:2], channels)
    return frame._replace(labels=torch.cat([before, none, after], -1))
