"""Which source frame is shown when: the plan in ticks of the result's container."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ssvid.errors import ConfigError, DataError
from ssvid.speedup.plan import SpeedPlan
from ssvid.video.writer import TICK

TICKS = {".mp4": TICK, ".mov": TICK, ".mkv": Fraction(1, 1000), ".webm": Fraction(1, 1000)}
CODECS = {".webm": "libvpx-vp9"}
MOST = 1000  # frames a second
SOME = 4  # edges, from which a rate can be told
LONGEST = 12 * 3600.0  # s that a frame is shown; the 32 bits of an mp4 end soon after
DENOMINATORS = (1, 2, 4, 10, 100, 1001)  # of rates, the plainest first
EXACT = 1e-5  # s
ROUNDED = 0.0011  # s by which the times of evenly spaced frames stray: many containers round them to milliseconds


@dataclass(frozen=True, eq=False)
class Schedule:
    """Frames of a result.

    Attributes:
        frames: int64 (N,), source frames, never falling; repeated or left out at a constant rate.
        ticks: int64 (N+1,), when each appears, from 0, strictly rising, and the end.
        tick: seconds of a tick.
        codec: FFmpeg's name of the video encoder.
        constant: frames a second of a constant rate, whose tick is one frame; None: the rate varies.
    """

    frames: np.ndarray
    ticks: np.ndarray
    tick: Fraction
    codec: str
    constant: Fraction | None = None

    @property
    def rate(self) -> Fraction:
        """Mean frames a second."""
        seconds = int(self.ticks[-1]) * self.tick / len(self.frames)  # of a frame: minutes in a time lapse
        return 1 / seconds.limit_denominator(1001) if seconds > 1 else (1 / seconds).limit_denominator(1001)


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
        DataError: a frame that would be shown for more than half a day, as damaged times have it.
    """
    suffix = suffix.lower()
    if suffix not in TICKS:
        raise ConfigError(f"cannot write {suffix or 'a file without extension'}; name a file {', '.join(TICKS)}")
    if (longest := float(np.diff(plan.edges).max(initial=0))) > LONGEST:
        raise DataError(
            f"{plan.source}: a frame would be shown for {longest / 3600:.0f} hours; its times are damaged, or ask for a higher speed"
        )
    tick, codec = TICKS[suffix], CODECS.get(suffix, "libx264")
    if fps is None:
        ticks = np.rint(plan.edges / float(tick)).astype(np.int64)
        seen = np.flatnonzero(np.diff(ticks) > 0)
        if len(seen) == 0:
            raise ConfigError(f"a result of {plan.length:.6f} s is too short for a frame; ask for a lower speed")
        even = _even_rate(plan.edges)
        if even is None:
            return Schedule(seen, np.append(ticks[seen], ticks[-1]), tick, codec)
        return Schedule(np.arange(len(plan.pace)), np.arange(len(plan.edges)), 1 / even, codec, even)
    if not 0 < fps <= MOST:
        raise ConfigError(f"frames a second must be above 0 and at most 1000, not {fps:g}")
    rate = _named_rate(fps)
    count = max(1, round(plan.length * rate))
    moments = (np.arange(count) + 1e-6) / float(rate)  # a moment on an edge shows the frame that appears there
    frames = np.searchsorted(plan.edges, moments, side="right") - 1
    return Schedule(
        np.clip(frames, 0, len(plan.pace) - 1).astype(np.int64), np.arange(count + 1), 1 / rate, codec, rate
    )


def _named_rate(fps: float) -> Fraction:
    """A rate as a fraction: 29.97 and 23.976 mean 30000/1001 and 24000/1001, as cameras and editors count."""
    whole = Fraction(round(fps * 1001 / 1000) * 1000, 1001)
    return (
        whole
        if abs(float(whole) - fps) < 0.005 and abs(fps - round(fps)) > 1e-6
        else Fraction(fps).limit_denominator(1001)
    )


def _even_rate(edges: np.ndarray) -> Fraction | None:
    """The rate of frames that all last equally long, as far as containers of milliseconds can tell; None where they do not."""
    if len(edges) < SOME:
        return None
    mean = (len(edges) - 1) / float(edges[-1])
    rates = [Fraction(mean).limit_denominator(most) for most in DENOMINATORS] + [_named_rate(mean)]
    errors = {rate: float(np.abs(edges - np.arange(len(edges)) / float(rate)).max()) for rate in rates if rate}
    exact = [rate for rate in errors if errors[rate] < EXACT]
    near = [rate for rate in errors if errors[rate] < ROUNDED]
    return next((rate for rate in (*exact, *near) if rate <= MOST), None)
