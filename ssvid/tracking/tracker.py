"""Tracking frame by frame: objects, parts and points that are given in some frames are found in all that follow."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ssvid.errors import ConfigError, DataError
from ssvid.tracking.features import FrameEncoder
from ssvid.tracking.labels import FrameGrid, labels_from_mask, labels_from_points, mask_from_labels, points_from_labels
from ssvid.tracking.memory import LabelledFrame, Memory
from ssvid.tracking.presets import PRESETS, Preset
from ssvid.tracking.propagation import propagate

Point = tuple[float, float]  # x, y in pixels of the frame


@dataclass(frozen=True)
class Prompt:
    """What is known of a frame.

    mask: ids of objects or parts, uint8 (H,W), 0 where none of them is; objects that it leaves out stay as they are tracked.
    points: x, y of named points.
    """

    mask: np.ndarray | None = None
    points: Mapping[str, Point] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """What was found in a frame.

    number: from 0. mask: ids, uint8 (H,W). points: x, y in pixels, NaN for one that is lost. confidence: 0..1 of every object and point,
    0 for one that is not to be seen: how far the labels in its pixels agree; for a point, the largest label relative to the one given.
    labels: (h,w,C), the soft labels behind.
    """

    number: int
    mask: np.ndarray
    points: dict[str, Point]
    confidence: dict[str, float]
    labels: Tensor


class TrackerState(NamedTuple):
    """What a tracker knows between two frames; a value, so that it can be kept while the tracker goes on."""

    kept: tuple[LabelledFrame, ...]
    recent: tuple[LabelledFrame, ...]
    objects: tuple[int, ...]
    points: tuple[str, ...]
    peaks: Mapping[str, float]


class Tracker:
    """Carries labels from frame to frame; memory is that of the context.

    Args:
        encoder: gives the features.
        preset: how labels are propagated.
        long_term: numbers of frames that stay in the context for ever, beside the first and those with a prompt.
    """

    def __init__(self, encoder: FrameEncoder, preset: Preset = PRESETS["crw"], long_term: Sequence[int] = ()) -> None:
        self.encoder, self.preset = encoder, preset
        self.memory = Memory(preset.recent, preset.repeat_first, long_term)
        self.objects: list[int] = []  # ids, in the order of their channels
        self.points: list[str] = []
        self.peaks: dict[str, float] = {}  # largest label of each point as it was given
        self.grid: FrameGrid | None = None

    def step(self, number: int, frame: np.ndarray, prompt: Prompt | None = None) -> TrackedFrame:
        """Find everything in the next frame, uint8 (H,W,3); the first needs a prompt.

        Raises DataError for a frame of another size than the first, ConfigError for a prompt that does not fit.
        """
        features, grid = self.encode(number, frame), self._grid(number, frame)
        if prompt is None and not self.memory.kept:
            raise ConfigError("nothing to track: the first frame needs a mask, a box or points")
        labels = propagate(features, self.memory, self.preset) if self.memory.kept else self._nothing(grid)
        if prompt is not None:
            labels = self._prompted(labels, prompt, grid)
        self.memory.add(LabelledFrame(number, features, labels), keep=prompt is not None)
        return self._read(number, labels, grid, prompt)

    def state(self) -> TrackerState:
        """What is known now."""
        memory = self.memory
        return TrackerState(
            tuple(memory.kept), tuple(memory.recent), tuple(self.objects), tuple(self.points), dict(self.peaks)
        )

    def set_state(self, state: TrackerState) -> None:
        """Go on from what was known."""
        self.memory.kept = list(state.kept)
        self.memory.recent = deque(state.recent, self.memory.recent.maxlen)
        self.objects, self.points, self.peaks = list(state.objects), list(state.points), dict(state.peaks)

    def encode(self, number: int, frame: np.ndarray) -> Tensor:
        """Features (h,w,D) of a frame, uint8 (H,W,3). Raises DataError for one of another size than the first."""
        return self.encoder(frame, self._grid(number, frame), self.preset.normalize)

    def _grid(self, number: int, frame: np.ndarray) -> FrameGrid:
        size = (frame.shape[0], frame.shape[1])
        if self.grid is None:
            self.grid = self.encoder.grid(size, self.preset)
        if self.grid.frame != size:
            (h, w), (first_h, first_w) = size, self.grid.frame
            raise DataError(f"frame {number} is {w}x{h} px, the first one {first_w}x{first_h}; all must have one size")
        return self.grid

    def _nothing(self, grid: FrameGrid) -> Tensor:
        background = torch.zeros(*grid.cells, 1 + len(self.objects) + len(self.points), device=self.encoder.device)
        background[..., 0] = 1
        return background

    def _prompted(self, labels: Tensor, prompt: Prompt, grid: FrameGrid) -> Tensor:
        """The labels with what a prompt says in place of what was found; new objects and points get channels."""
        if prompt.mask is not None:
            ids = [int(number) for number in np.unique(prompt.mask) if number]
            labels = self._with_objects(labels, [number for number in ids if number not in self.objects])
            mask = torch.from_numpy(prompt.mask).to(labels.device)
            given = labels_from_mask(mask, ids, grid, self.preset.shrink)
            channels = [1 + self.objects.index(number) for number in ids]
            masks = labels[..., : 1 + len(self.objects)].clone()
            masks[..., 0] += masks[..., channels].sum(-1)
            masks[..., channels] = 0
            masks *= given[..., :1]
            masks[..., channels] = given[..., 1:]
            labels = torch.cat([masks, labels[..., 1 + len(self.objects) :]], -1)
        if prompt.points:
            labels = self._with_points(labels, [name for name in prompt.points if name not in self.points])
            places = torch.tensor(list(prompt.points.values()), dtype=torch.float32, device=labels.device)
            heat = labels_from_points(places, grid)
            for name, one in zip(prompt.points, heat.unbind(-1), strict=True):
                labels[..., 1 + len(self.objects) + self.points.index(name)] = one
                self.peaks[name] = float(one.max())
        return labels

    def _with_objects(self, labels: Tensor, new: list[int]) -> Tensor:
        """Channels for new objects, after those of the objects so far, here and in the memory."""
        if not new:
            return labels
        place = 1 + len(self.objects)
        self.objects += new
        self.memory.insert(place, len(new))
        return torch.cat([labels[..., :place], labels.new_zeros(*labels.shape[:2], len(new)), labels[..., place:]], -1)

    def _with_points(self, labels: Tensor, new: list[str]) -> Tensor:
        self.points += new
        self.memory.insert(labels.shape[-1], len(new))
        return torch.cat([labels, labels.new_zeros(*labels.shape[:2], len(new))], -1)

    def _read(self, number: int, labels: Tensor, grid: FrameGrid, prompt: Prompt | None) -> TrackedFrame:
        """What the labels say in pixels; what was given stays as given."""
        count = 1 + len(self.objects)
        winner = mask_from_labels(labels[..., :count], grid, self.preset.enlarge, self.preset.min_max)
        mask = np.array([0, *self.objects], np.uint8)[winner.cpu().numpy()]
        where = points_from_labels(labels[..., count:], grid).tolist()
        points = {name: (x, y) for name, (x, y) in zip(self.points, where, strict=True)}
        if prompt is not None:
            points |= prompt.points
            if prompt.mask is not None:
                mask[np.isin(mask, np.unique(prompt.mask))] = 0
                mask[prompt.mask > 0] = prompt.mask[prompt.mask > 0]
        return TrackedFrame(number, mask, points, self._confidence(labels, mask, grid), labels)

    def _confidence(self, labels: Tensor, mask: np.ndarray, grid: FrameGrid) -> dict[str, float]:
        ids = torch.from_numpy(mask).to(labels.device)
        here = labels_from_mask(ids, self.objects, grid)[..., 1:]  # share of each cell that was given to each object
        objects = labels[..., 1 : 1 + len(self.objects)]
        agreed = (here * objects).sum((0, 1)) / here.sum((0, 1)).clamp(min=1e-6)
        confidence = dict(
            zip(map(str, self.objects), agreed.clamp(max=1).tolist(), strict=True)
        )  # rounding can exceed 1
        peaks = labels[..., 1 + len(self.objects) :].amax((0, 1)).tolist()
        return confidence | {
            name: min(1.0, peak / max(self.peaks[name], 1e-6)) for name, peak in zip(self.points, peaks, strict=True)
        }


def track_frames(
    frames: Iterable[np.ndarray],
    prompts: Mapping[int, Prompt],
    encoder: FrameEncoder,
    preset: Preset = PRESETS["crw"],
    long_term: Sequence[int] = (),
) -> Iterator[TrackedFrame]:
    """What is found in each of the frames, uint8 (H,W,3), one by one as they are asked for.

    prompts: what is known, by the number of the frame; frames before the first of these are passed over. Raises as `Tracker.step` does.
    """
    tracker = Tracker(encoder, preset, long_term)
    first = min(prompts, default=0)
    for number, frame in enumerate(frames):
        if number >= first:
            yield tracker.step(number, frame, prompts.get(number))
