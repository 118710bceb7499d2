"""Which source frame is shown when: the plan in ticks of the result's container."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ssvid.errors import ConfigError
from ssvid.speedup.plan import SpeedPlan
from ssvid.video.writer import TICK

TICKS = {".mp4": TICK, ".mov": TICK, ".mkv": Fraction(1, 1000), ".webm": Fraction(1, 1000)}
CODECS = {".webm": "libvpx-vp9"}


@dataclass(frozen=True, eq=False)
class Schedule:
    """Frames of a result.

    Attributes:
        frames: int64 (N,), source frames, never falling; repeated or left out at a constant rate.
        ticks: int64 (N+1,), when each appears, from 0, strictly rising, and the end.
        tick: seconds of a tick.
        codec: FFmpeg's name of the video encoder.
    """

    frames: np.ndarray
    ticks: np.ndarray
    tick: Fraction
    codec: str

    @property
    def rate(self) -> Fraction:
        """Mean frames a second."""
        return (len(self.frames) / (int(self.ticks[-1]) * self.tick)).limit_denominator(1001)


def schedule(plan: SpeedPlan, suffix: str, fps: float | None = None) -> Schedule:
    """The frames of a plan.

    Args:
        plan: the plan.
        suffix: of the result, which names its container: .mp4, .mov, .mkv or .webm.
        fps: None: every frame is shown, at a variable rate (only those are left out that the container's ticks cannot tell
            apart, beyond 1000 frames a second in .mkv and .webm). A number: at this constant rate, frame k shows what the plan shows
            at k / fps.

    Raises:
        ConfigError: a container that is not written, an impossible rate.
    """
    suffix = suffix.lower()
    if suffix not in TICKS:
        raise ConfigError(f"cannot write {suffix or 'a file without extension'}; name a file {', '.join(TICKS)}")
    tick, codec = TICKS[suffix], CODECS.get(suffix, "libx264")
    if fps is None:
        ticks = np.rint(plan.edges / float(tick)).astype(np.int64)
        seen = np.flatnonzero(np.diff(ticks) > 0)
        if len(seen) == 0:
            raise ConfigError(f"a result of {plan.length:.6f} s is too short for a frame; ask for a lower speed")
        return Schedule(seen, np.append(ticks[seen], ticks[-1]), tick, codec)
    if not 0 < fps <= 1000:
        raise ConfigError(f"frames a second must be above 0 and at most 1000, not {fps:g}")
    rate = Fraction(fps).limit_denominator(1001)
    count = max(1, round(plan.length * rate))
    moments = (np.arange(count) + 1e-6) / float(rate)  # a moment on an edge shows the frame that appears there
    frames = np.searchsorted(plan.edges, moments, side="right") - 1
    ticks = np.rint(np.arange(count + 1) / float(rate * tick)).astype(np.int64)
    return Schedule(np.clip(frames, 0, len(plan.pace) - 1).astype(np.int64), ticks, tick, codec)
