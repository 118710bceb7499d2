"""Encoding a video frame by frame as it comes in, with memory that does not grow.

    stream = open_stream(backbone)
    state = stream.init_state(batch, device)
    for frame in frames:                                # (B,C,H,W), colours on 0..1
        out, state = stream.step(frame, state)          # (B,D,h,w), None while nothing is due
    rest = stream.flush(state)                          # the steps that were still to come

The state is a value: `step` changes neither it nor the network, so that a stream can be forked, saved and compiled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import torch
from torch import Tensor

from ssvid.errors import ConfigError, require
from ssvid.zoo.backbone import Backbone, WithHead
from ssvid.zoo.continual import ContinualTrunk, continual
from ssvid.zoo.continual import State as Kept
from ssvid.zoo.recurrence import StepByStep
from ssvid.zoo.views import Pool, clip_vector

State = TypeVar("State")


class Stream(Protocol[State]):
    """A backbone as it is run on a stream.

    delay: frames after a frame until its step is given; 0 gives it at once. stride: frames from a step to the next, or from a window to
    the next. exact: whether the steps are those of the whole clip's map.
    """

    delay: int
    stride: int
    exact: bool

    def init_state(self, batch: int, device: torch.device) -> State:
        """The state before the first frame, of `batch` videos."""
        ...

    def step(self, frame: Tensor, state: State) -> tuple[Tensor | None, State]:
        """Take the next frame (B,C,H,W); the step (B,D,h,w) that is now due, None where none is, and the state after it."""
        ...

    def flush(self, state: State) -> list[Tensor]:
        """The steps (B,D,h,w) that are still to come, after the last frame."""
        ...


def open_stream(
    backbone: Backbone, window: int = 0, every: int = 1
) -> FrameStream | ContinualStream | HeadStream | WindowStream:
    """The way in which a backbone is run on a stream: exactly where it can be, else over a sliding window.

    window: frames of the window, 0 for as many as the network was designed for; every: frames between two steps. Both are of sliding
    windows only. The backbone should be in eval mode. Raises ConfigError for a window under `info.min_frames`.
    """
    info = backbone.info
    if info.streams and isinstance(backbone.trunk, WithHead):
        return HeadStream(backbone)
    if info.streams and info.temporal_rf == 1:
        return FrameStream(backbone)
    if info.streams:
        return ContinualStream(backbone)
    return WindowStream(backbone, window or info.frames, every)


class FrameStream:
    """An encoder of single frames: each gives its step at once, exactly that of the clip."""

    delay = 0
    stride = 1
    exact = True

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone

    def init_state(self, batch: int, device: torch.device) -> None:
        """There is none."""

    def step(self, frame: Tensor, state: None) -> tuple[Tensor | None, None]:
        """The step of this frame: (B,C,H,W) -> (B,D,h,w)."""
        maps: Tensor = self.backbone(frame.unsqueeze(2))
        return maps.squeeze(2), None

    def flush(self, state: None) -> list[Tensor]:
        """Nothing is left."""
        return []


class ContinualStream:
    """An encoder that convolves or pools over time: each layer keeps the last steps that it sees, and no step is computed twice.

    A step is given as soon as all frames that it sees have come, every `info.temporal_stride` frames; the last ones by `flush`. A video
    shorter than `info.min_frames` may give none.
    """

    exact = True

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.steps = ContinualTrunk(backbone.trunk)
        self.delay, self.stride = self.steps.delay, self.steps.stride

    def init_state(self, batch: int, device: torch.device) -> None:
        """Nothing is kept before the first frame."""

    def step(self, frame: Tensor, state: Kept | None) -> tuple[Tensor | None, Kept]:
        """Take a frame (B,C,H,W); the step (B,D,h,w) that is complete with it."""
        out, after = self.steps.advance(self.backbone.make_input(frame.unsqueeze(2)), state)
        return (None if out is None else out.squeeze(2)), after

    def flush(self, state: Kept | None) -> list[Tensor]:
        """The steps that see beyond the end of the clip."""
        out, _ = self.steps.advance(None, state, last=True)
        return [] if out is None else list(out.unbind(2))


class HeadState(NamedTuple):
    """What an encoder keeps of the frames, and the head of the steps."""

    encoder: Kept | None
    head: Any


class HeadStream:
    """An encoder and a head that takes its steps one by one.

    A head that gives a step for every step gives those of the clip's map. One that gives a single step for the whole clip gives, with
    each step of the encoder, what the clip up to that one would have given; None where that is too short.
    """

    exact = True

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.trunk = cast(WithHead, backbone.trunk)
        self.head = cast(StepByStep, self.trunk.temporal).stepwise()
        self.steps: ContinualTrunk | None = None  # of an encoder that sees frames alone there is nothing to keep
        if not self.trunk.levels:
            self.steps = continual(self.trunk.encoder)
        self.stride = self.steps.stride if self.steps else 1
        self.delay = (self.steps.delay if self.steps else 0) + self.head.delay * self.stride

    def init_state(self, batch: int, device: torch.device) -> HeadState:
        """Nothing is kept before the first frame."""
        return HeadState(None, None)

    def step(self, frame: Tensor, state: HeadState) -> tuple[Tensor | None, HeadState]:
        """Take a frame (B,C,H,W); the head's step (B,D,h,w)."""
        kept: Kept | None = None
        maps: Tensor | list[Tensor] | None
        x = self.backbone.make_input(frame.unsqueeze(2))
        if self.steps:
            maps, kept = self.steps.advance(x, state.encoder)
            if maps is None:
                return None, HeadState(kept, state.head)
        else:
            maps = self.trunk.encode(x)
        step = maps.squeeze(2) if isinstance(maps, Tensor) else [one.squeeze(2) for one in maps]
        out, after = self.head.step(step, state.head)
        return out, HeadState(kept, after)

    def flush(self, state: HeadState) -> list[Tensor]:
        """What the head gives of the encoder's last steps, and what it still has to give."""
        maps = self.steps.advance(None, state.encoder, last=True)[0] if self.steps else None
        given, head = [], state.head
        for step in maps.unbind(2) if maps is not None else ():
            out, head = self.head.step(step, head)
            given += [] if out is None else [out]
        return given + self.head.flush(head)


class PooledState(NamedTuple):
    """What a stream keeps, and the vectors (B,D) of its last steps; or their sum so far and how many they are."""

    stream: Any
    recent: tuple[Tensor, ...] = ()
    number: int = 0


class PooledStream:
    """Vectors of the clip so far, of any stream: the mean over its last steps of what each step is over space.

    steps: how many are averaged, 0 for all since the beginning. More than a clip has that the network was trained with is the extended
    receptive field of continual networks: a longer look back for nothing but the memory of its vectors, without retraining (Hedegaard and
    Iosifidis, ECCV 2022, arXiv:2106.00050). pool: how a step becomes a vector, see `ssvid.zoo.views`.
    """

    def __init__(self, stream: Stream[Any], steps: int = 0, pool: Pool = "mean") -> None:
        require(0, steps=steps)
        if pool not in ("mean", "max_space_mean_time"):
            raise ConfigError(
                f"vectors pooled by {pool} are of whole clips, and no mean of steps; use mean or max_space_mean_time"
            )
        self.stream, self.steps, self.pool = stream, steps, pool
        self.delay, self.stride, self.exact = stream.delay, stream.stride, stream.exact

    def init_state(self, batch: int, device: torch.device) -> PooledState:
        """Nothing has come."""
        return PooledState(self.stream.init_state(batch, device))

    def step(self, frame: Tensor, state: PooledState) -> tuple[Tensor | None, PooledState]:
        """Take a frame (B,C,H,W); the vector (B,D) of the clip so far where a step is due with it."""
        out, kept = self.stream.step(frame, state.stream)
        return self._add(out, state._replace(stream=kept))

    def flush(self, state: PooledState) -> list[Tensor]:
        """The vectors (B,D) with each of the steps that were still to come."""
        given = []
        for out in self.stream.flush(state.stream):
            vector, state = self._add(out, state)
            given += [] if vector is None else [vector]
        return given

    def _add(self, out: Tensor | None, state: PooledState) -> tuple[Tensor | None, PooledState]:
        return (
            (None, state) if out is None else mean_of_last(clip_vector(out.unsqueeze(2), self.pool), state, self.steps)
        )


def mean_of_last(vector: Tensor, state: PooledState, steps: int) -> tuple[Tensor, PooledState]:
    """The mean of a vector and those before it, of `steps` in all, or of all that came where that is 0; and what is kept of them."""
    recent, number = (*state.recent, vector), state.number + 1
    if steps:
        recent = recent[-steps:]
        return torch.stack(recent).mean(0), state._replace(recent=recent, number=number)
    total = torch.stack(recent).sum(0)
    return total / number, state._replace(recent=(total,), number=number)


@dataclass(frozen=True)
class WindowState:
    """The last frames (B,C,T,H,W), None before the first, and how many have come."""

    frames: Tensor | None
    count: int


class WindowStream:
    """Any backbone, run anew on the last `window` frames every `every` frames; a step is the mean over time of that map.

    It costs the whole window each time, and it is not exact: the network takes each window for a clip of its own, with its own borders.
    The step that belongs to a frame is that of the window with this frame in its middle.
    """

    exact = False

    def __init__(self, backbone: Backbone, window: int, every: int = 1) -> None:
        if window < backbone.info.min_frames or every < 1:
            raise ConfigError(
                f"{backbone.info.name} needs windows of at least {backbone.info.min_frames} frames, not {window}, and every >= 1"
            )
        self.backbone, self.window, self.every = backbone, window, every
        self.delay, self.stride = window // 2, every

    def init_state(self, batch: int, device: torch.device) -> WindowState:
        """No frame has come."""
        return WindowState(None, 0)

    def step(self, frame: Tensor, state: WindowState) -> tuple[Tensor | None, WindowState]:
        """Take a frame (B,C,H,W); the window's step (B,D,h,w) once it is full, every `every` frames."""
        last = frame.unsqueeze(2)
        frames = last if state.frames is None else torch.cat([state.frames, last], 2)[:, :, -self.window :]
        after = WindowState(frames, state.count + 1)
        due = after.count >= self.window and (after.count - self.window) % self.every == 0
        return (self._encode(frames) if due else None), after

    def flush(self, state: WindowState) -> list[Tensor]:
        """One step of a video shorter than the window, its last frame repeated; else nothing, since the last full window has been given."""
        if state.frames is None or state.count >= self.window:
            return []
        missing = self.window - state.frames.shape[2]
        return [self._encode(torch.cat([state.frames, state.frames[:, :, -1:].expand(-1, -1, missing, -1, -1)], 2))]

    def _encode(self, frames: Tensor) -> Tensor:
        maps: Tensor = self.backbone(frames)
        return maps.mean(2)
