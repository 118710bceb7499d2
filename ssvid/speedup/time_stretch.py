"""Sound at a changing speed: with the pitch kept, or resampled as a tape would be.

Keeping the pitch is WSOLA (Verhelst and Roelands, ICASSP 1993): windows of the source are added up at half-window steps, each taken
near the place that the plan names for that moment of the result, where it continues the window before it best. Every window is
placed anew, so the error of sync is at most REACH anywhere, however long the file. FFmpeg's atempo is the same method, but goes
wrong by seconds where its tempo is changed on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

Read = Callable[
    [int, int], np.ndarray
]  # samples [start, stop) of the source, float32 (C,n), silence where there is none
Place = Callable[[np.ndarray], np.ndarray]  # seconds of the result -> seconds of the source

STEP = 0.020  # s, half a window: 40 ms hold a few periods of a voice, and are short enough to follow it
REACH = 0.012  # s to either side: together more than a period of 42 Hz, the lowest sound that keeps its phase
NEARNESS = 0.05  # how much likeness (0..1) a window at the edge of the reach must win, so that silence stays in place
LOBES = 8  # zero crossings of the resampling kernel to either side
BLOCK = 1024  # samples resampled at once, at one cutoff


def keep_pitch(read: Read, place: Place, length: int, rate: int) -> Iterator[np.ndarray]:
    """`length` samples of the result in blocks (C,n) float32, at `rate` samples a second; `read` is asked ever later places."""
    step, reach = round(STEP * rate), round(REACH * rate)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(2 * step) + 0.5) / (2 * step)).astype(np.float32)
    tail: np.ndarray | None = None  # the second half of the window before, already faded out
    at = 0
    for number in range(-(-length // step) + 1):
        centre = int(np.rint(place(np.array([number * step / rate]))[0] * rate))
        wanted = centre - step
        if tail is not None:
            continuation = read(at + step, at + 3 * step)
            wanted += _best_shift(continuation, read(wanted - reach, wanted + reach + 2 * step), reach)
        at = wanted
        piece = read(at, at + 2 * step) * window
        if tail is not None:
            done = (number - 1) * step
            yield (tail + piece[:, :step])[:, : length - done]
        tail = piece[:, step:]


def as_tape(read: Read, place: Place, length: int, rate: int) -> Iterator[np.ndarray]:
    """The same interface; the pitch rises with the speed. A windowed sinc whose cutoff falls with the speed, against aliases."""
    for start in range(0, length, BLOCK):
        stop = min(start + BLOCK, length)
        where = place(np.arange(start, stop + 1) / rate) * rate
        speed = max(1.0, float(where[-1] - where[0]) / (stop - start))
        where = where[:-1]
        half = int(np.ceil(LOBES * speed))
        first = int(np.floor(where[0])) - half
        samples = read(first, int(np.floor(where[-1])) + half + 2)
        taps = np.floor(where).astype(np.int64)[:, None] + np.arange(-half + 1, half + 1)
        distance = (taps - where[:, None]) / speed
        kernel = np.sinc(distance) * np.cos(np.pi * np.clip(distance / LOBES, -1, 1) / 2) ** 2 / speed
        yield np.einsum("cnk,nk->cn", samples[:, taps - first], kernel.astype(np.float32))


def _best_shift(continuation: np.ndarray, region: np.ndarray, reach: int) -> int:
    """Where in a region (C, n + 2 reach) a piece (C,n) is found best: samples from the middle, by normalised correlation.

    Channels are compared each by itself: in their sum a stereo pair of opposite phase would be silence.
    """
    count, size = 2 * reach + 1, next_fast_len(region.shape[1], real=True)
    spectrum = rfft(region, size) * np.conj(rfft(continuation, size))
    match = irfft(spectrum, size)[:, :count].sum(0)
    energy = np.concatenate([[0.0], np.cumsum((region.astype(np.float64) ** 2).sum(0))])
    here = energy[continuation.shape[1] :][:count] - energy[:count]
    own = float((continuation.astype(np.float64) ** 2).sum())
    shifts = np.arange(-reach, reach + 1)
    likeness = match / np.sqrt(np.maximum(here * own, 1e-12)) - NEARNESS * (shifts / max(reach, 1)) ** 2
    return int(shifts[np.argmax(likeness)])
