"""Damaged files through index, read and speed-up: nothing may crash, hang or show a frame that decoding in order does not."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np

from ssvid.bench.reader import whole_in_order, wrong_frames
from ssvid.bench.reader_files import RATE, frames, make_files
from ssvid.data.index import Index
from ssvid.data.scanning import scan_videos
from ssvid.errors import VideoError
from ssvid.speedup.on_engine import SpeedupJob
from ssvid.speedup.pipeline import SpeedupOptions
from ssvid.video.guard import GIB, Guard
from ssvid.video.info import VideoInfo
from ssvid.video.reader import Video

logger = logging.getLogger(__name__)

MUTANTS = 40  # a round
COUNT = 50  # frames of a file, two groups of pictures
LIMIT = 20.0  # seconds that a file may take to be scanned
READ_LIMIT = 60.0  # to be read, by a child that first loads its libraries
SPEEDUP_LIMIT = 120.0  # and to be sped up, likewise
HUNG, UNEXPECTED = "gave no result", "decoding failed"  # how a guard words a hang, and an error that nobody foresaw
SOUND = {"film.mp4": "aac", "film.mkv": "libopus", "film.avi": "mp2", "film.ts": "ac3", "film.mov": "pcm_s16le"}
SOUND_RATE = 48000
BOX = 8  # bytes: length and name
OUTCOMES = ("mutants", "refused", "read", "sped up", "not sped up", "slow", "wrong", "failed")


def bench_fuzz(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """40 mutants a round: what became of them, by mutation.

    refused: the index says why. read: every frame and 8 alone, all right. sped up, or not sped up: a message says why. slow: stopped by
    the limit. wrong: frames differ. failed: a crash, or an error that no user should see.
    """
    files = [path for paths in make_files(folder / "made", COUNT).values() for path in paths]
    files += [_film(folder / "made" / name, codec) for name, codec in SOUND.items()]
    outcomes: dict[str, Counter[str]] = {name: Counter(mutants=0) for name in MUTATIONS}
    with Guard() as guard, Guard(memory=4 * 6 * GIB) as other:  # the latter starts guarded children itself
        for number in range(rounds):
            for path, outcome in _round(guard, other, files, folder / str(number), number * MUTANTS):
                name = _mutation(int(path.stem.split("_")[0]))
                outcomes[name].update(["mutants", *outcome])
    rows = [{"mutation": name, **{kind: count[kind] for kind in OUTCOMES}} for name, count in outcomes.items()]
    return [*rows, {"mutation": "all", **{kind: sum(row[kind] for row in rows) for kind in OUTCOMES}}]


def _mutation(seed: int) -> str:
    return list(MUTATIONS)[seed % len(MUTATIONS)]


def _round(
    guard: Guard, other: Guard, files: Sequence[Path], folder: Path, first: int
) -> list[tuple[Path, tuple[str, ...]]]:
    """Mutants of the seeds from `first` on, indexed together, each then read and sped up: (mutant, outcomes)."""
    folder.mkdir()
    for seed in range(first, first + MUTANTS):
        rng = np.random.default_rng(seed)
        source = files[int(rng.integers(len(files)))]
        data = MUTATIONS[_mutation(seed)](source.read_bytes(), rng)
        (folder / f"{seed}_{source.name}").write_bytes(data)
    index = Index(folder.with_suffix(".sqlite"), create=True)
    scan_videos([folder], index, limit=LIMIT)
    found = [(Path(bad.path), _refused(bad.path, bad.reason)) for bad in index.bad()]
    for record in index.videos():
        path = Path(record.path)
        found.append((path, (_read_outcome(guard, path, record.info), _speedup_outcome(other, path))))
    for path, _ in found:
        path.unlink()
    return found


def _refused(path: str, reason: str) -> tuple[str, ...]:
    if HUNG not in reason and UNEXPECTED not in reason:
        return ("refused",)
    logger.warning("%s: index: %s", Path(path).name, reason)
    return ("slow" if HUNG in reason else "failed",)


def _read_outcome(guard: Guard, path: Path, info: VideoInfo) -> str:
    asked = np.unique(np.random.default_rng(0).integers(0, info.frames, 8)).tolist()
    try:
        wrong = guard.run(_read, path, info, asked, limit=READ_LIMIT)
    except VideoError as error:
        logger.warning("%s: read: %s", path.name, error.reason)
        return "slow" if HUNG in error.reason else "failed"
    if wrong:
        logger.warning("%s: read: %s wrong frames", path.name, wrong)
    return "wrong" if wrong else "read"


def _speedup_outcome(guard: Guard, path: Path) -> str:
    try:
        reason = guard.run(_speed_up, path, limit=SPEEDUP_LIMIT)
    except VideoError as error:  # not a file passed over, but the end of the job
        logger.warning("%s: speedup: %s", path.name, error.reason)
        return "slow" if HUNG in error.reason else "failed"
    if UNEXPECTED not in reason and HUNG not in reason:
        return "not sped up" if reason else "sped up"
    logger.warning("%s: speedup: %s", path.name, reason)
    return "slow" if HUNG in reason else "failed"


def _read(path: str, info: VideoInfo, asked: list[int]) -> int:
    """Wrong frames of reads of one frame, and of all frames; runs in a child."""
    truth = whole_in_order(info)
    video = Video(path, info)
    requests = [*([number] for number in asked), asked, list(range(info.frames))]
    return sum(wrong_frames(truth, request, video.frames(request, truth.size)) for request in requests)


def _speed_up(path: str) -> str:
    """Why a folder job passes over the file, empty where it does not; runs in a child."""
    out = Path(path).with_suffix(".fast.mp4")
    options = SpeedupOptions(speed=2, by="constant")
    try:
        done = SpeedupJob(Path(path), out, options).summary()
    finally:
        for left in out.parent.glob(
            f"{out.name}*"
        ):  # the output, or the folder of the parts that a second call would go on from
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    return done if isinstance(done, str) else ""


def _film(path: Path, codec: str) -> Path:
    """Frames beside a tone."""
    with av.open(str(path), "w") as container:
        video = cast(av.VideoStream, container.add_stream("libx264", rate=RATE, options={"g": "25"}))
        sound = cast(av.AudioStream, container.add_stream(codec, rate=SOUND_RATE, layout="stereo"))
        for number, picture in enumerate(frames(COUNT)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            if not number:
                video.width, video.height, video.pix_fmt = frame.width, frame.height, "yuv420p"
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for start in range(0, SOUND_RATE * COUNT // RATE, 960):
            wave = 0.3 * np.sin(np.arange(start, start + 960) * 2 * np.pi * 440 / SOUND_RATE)
            tone = av.AudioFrame.from_ndarray(
                np.repeat(wave, 2)[None].astype(np.float32), format="flt", layout="stereo"
            )
            tone.sample_rate, tone.pts, tone.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
            container.mux(sound.encode(tone))
        container.mux(sound.encode(None))
    return path


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    changed = np.frombuffer(data, np.uint8).copy()
    places = rng.integers(0, len(changed), int(rng.integers(1, 20)))
    changed[places] = rng.integers(0, 256, len(places))
    return bytes(changed)


def _flip_head(data: bytes, rng: np.random.Generator) -> bytes:
    """Changes where containers keep their tables."""
    end = min(len(data), 2000)
    return _flip(data[:end], rng) + data[end:] if rng.random() < 0.5 else data[:-end] + _flip(data[-end:], rng)


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(1, len(data)))]


def _drop(data: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(0, len(data)))
    return data[:start] + data[start + int(rng.integers(1, 3000)) :]


def _shuffle(data: bytes, rng: np.random.Generator) -> bytes:
    """The boxes of an mp4 in another order, those of its index too; of other containers, two parts swapped."""
    boxes = _boxes(data)
    if not boxes:
        first, second, third, fourth = sorted(rng.integers(0, len(data), 4).tolist())
        return data[:first] + data[third:fourth] + data[second:third] + data[first:second] + data[fourth:]
    if rng.random() < 0.5:
        inside = int(rng.choice([place for place, box in enumerate(boxes) if box[4:BOX] in (b"moov", b"moof")]))
        inner = _boxes(boxes[inside][BOX:])
        boxes[inside] = boxes[inside][:BOX] + b"".join(inner[place] for place in rng.permutation(len(inner)))
    else:
        boxes = [boxes[place] for place in rng.permutation(len(boxes))]
    return b"".join(boxes)


def _boxes(data: bytes) -> list[bytes]:
    """The boxes that make up all of the data, else none."""
    boxes, start = [], 0
    while start < len(data):
        length = int.from_bytes(data[start : start + 4], "big")
        if length < BOX or start + length > len(data) or not data[start + 4 : start + BOX].isalnum():
            return []
        boxes.append(data[start : start + length])
        start += length
    return boxes


def _join(data: bytes, rng: np.random.Generator) -> bytes:
    return data + data[int(rng.integers(0, len(data))) :]


MUTATIONS: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "bytes changed": _flip,
    "bytes of head or tail changed": _flip_head,
    "cut": _cut,
    "a piece left out": _drop,
    "boxes or pieces shuffled": _shuffle,
    "a part joined behind": _join,
}
