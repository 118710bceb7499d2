"""Label propagation: the labels of a sequence's first frame are carried through it by the features alone, and compared with the truth.

Nothing is trained. Beside every score stands what copying the labels of the first frame gives: where things move slowly that is a lot, and
a score says something only above it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from ssvid.data.layouts import LabelledSequence
from ssvid.errors import DataError
from ssvid.evaluation.adapter import Candidate, EvalContext, Score, find_protocol
from ssvid.evaluation.metrics import ConfusionMatrix, davis_scores, davis_summary, normalized_distances, pck
from ssvid.tracking.features import frame_encoder
from ssvid.tracking.presets import Preset, find_preset
from ssvid.tracking.tracker import Prompt, TrackedFrame, track_frames

PROTOCOLS = {
    "davis": {
        "summary": "Masks of the first frame's objects: J&F, J and F",
        "after": "DAVIS 2017 (arXiv 1704.00675); the option preset says whose propagation",
        "differs": "objects are averaged over all sequences, first and last frames left out, as in the official code",
        "trains": "nothing",
        "takes": "masks",
        "function": "label_propagation",
        "defaults": {"preset": "dino"},
    },
    "world": {
        "summary": "Masks of the motion world's objects: J&F, J and F",
        "after": "ours, by the measures of DAVIS 2017 (arXiv 1704.00675)",
        "differs": "synthetic: every object has a texture of its own; its small frames are enlarged to the 480 px of DAVIS",
        "trains": "nothing",
        "takes": "masks",
        "function": "label_propagation",
        "defaults": {"recent": 7, "short_side": 480},
    },
    "jhmdb": {
        "summary": "Joints of the first frame: PCK@0.1 and PCK@0.2",
        "after": "JHMDB as Contrastive Random Walk evaluates it (arXiv 2006.14613)",
        "differs": "joints are read out between the cells, as a weighted mean",
        "trains": "nothing",
        "takes": "joints",
        "function": "label_propagation",
        "defaults": {"recent": 7},
    },
    "vip": {
        "summary": "Body parts of the first frame: mIoU",
        "after": "VIP as Contrastive Random Walk evaluates it (arXiv 2006.14613)",
        "differs": "one confusion matrix over all annotated frames but the first",
        "trains": "nothing",
        "takes": "parts",
        "function": "label_propagation",
        "defaults": {"recent": 7},
    },
}

AT_ONCE = 16  # frames read at a time


def label_propagation(
    candidate: Candidate,
    context: EvalContext,
    *,
    preset: Literal["crw", "dino", "dinov3", "timecycle", "uvc"] = "crw",
    layer: str = "",
    recent: int | None = None,
    topk: int | None = None,
    radius: float | None = None,
    temperature: float | None = None,
    short_side: int | None = None,
) -> Iterator[Score]:
    """The scores of the protocol, each with that of copying the first frame's labels as its chance.

    preset: whose propagation, see `ssvid.tracking.presets`. layer: the part of the network whose output is compared, "" for the whole.
    The other options are settings of the preset; None leaves its own.
    Raises DataError where the data set holds no sequences with what the protocol compares.
    """
    kind = find_protocol(context.protocol).takes
    sequences = [sequence for sequence in context.sequences if sequence.kind == kind]
    if not sequences:
        raise DataError(f"{context.protocol} needs sequences with {kind}, as {context.protocol}:FOLDER")
    changes = {"recent": recent, "topk": topk, "radius": radius, "temperature": temperature, "short_side": short_side}
    settings = find_preset(preset, **{name: value for name, value in changes.items() if value is not None})
    tracked = _track_all(candidate, context, sequences, settings, layer)
    compare = {"masks": _compare_masks, "joints": _compare_joints, "parts": _compare_parts}[kind]
    for name, value, copied in compare(sequences, tracked):
        yield Score(f"{context.protocol} {name}", value, copied, {})


def _track_all(
    candidate: Candidate, context: EvalContext, sequences: Sequence[LabelledSequence], preset: Preset, layer: str
) -> Iterator[list[TrackedFrame]]:
    """What is found in every frame of each sequence, from the labels of its first."""
    encoder = frame_encoder(candidate.backbone(0), layer, context.device)
    total, done = sum(len(sequence.frames) for sequence in sequences), 0
    for sequence in sequences:
        found = []
        for frame in track_frames(_pictures(sequence), {0: _first_labels(sequence)}, encoder, preset):
            found.append(frame)
            done += 1
            if context.progress:
                context.progress(f"tracking with {candidate.name}", done, total)
        yield found


def _pictures(sequence: LabelledSequence) -> Iterator[np.ndarray]:
    for start in range(0, len(sequence.frames), AT_ONCE):
        yield from sequence.pictures(range(start, min(start + AT_ONCE, len(sequence.frames))))


def _first_labels(sequence: LabelledSequence) -> Prompt:
    """The labels of the first frame; joints are named by their number, those out of sight are left out."""
    if sequence.points is None or sequence.kind != "joints":
        return Prompt(mask=sequence.mask(0))
    first = sequence.points[0]
    return Prompt(points={str(n): (x, y) for n, (x, y) in enumerate(first.tolist()) if not np.isnan([x, y]).any()})


def _compare_masks(
    sequences: Sequence[LabelledSequence], tracked: Iterator[list[TrackedFrame]]
) -> Iterator[tuple[str, float, float]]:
    """(name, percent, percent of copying the first frame) of the measures of DAVIS."""
    found, copied = [], []
    for sequence, frames in zip(sequences, tracked, strict=True):
        if missing := len(frames) - len(sequence.masks):
            raise DataError(
                f"{sequence.name} has no mask in {missing} of {len(frames)} frames; J and F need one in each"
            )
        truth = [sequence.mask(number) for number in range(len(frames))]
        found.append(davis_scores([frame.mask for frame in frames], truth))
        copied.append(davis_scores([truth[0]] * len(truth), truth))
    scores, floor = davis_summary(found), davis_summary(copied)
    for name, key in (("J&F", "J&F"), ("J", "J mean"), ("F", "F mean")):
        yield name, 100 * scores[key], 100 * floor[key]


def _compare_joints(
    sequences: Sequence[LabelledSequence], tracked: Iterator[list[TrackedFrame]]
) -> Iterator[tuple[str, float, float]]:
    found, copied = [], []
    for sequence, frames in zip(sequences, tracked, strict=True):
        assert sequence.points is not None  # joints are what the sequence is of
        joints, lost = range(sequence.points.shape[1]), (np.nan, np.nan)
        places = np.array([[frame.points.get(str(joint), lost) for joint in joints] for frame in frames])
        found.append(normalized_distances(places, sequence.points))
        copied.append(normalized_distances(np.repeat(sequence.points[:1], len(frames), 0), sequence.points))
    for threshold in (0.1, 0.2):
        yield (
            f"PCK@{threshold}",
            pck(found, [threshold])[threshold].mean,
            pck(copied, [threshold])[threshold].mean,
        )


def _compare_parts(
    sequences: Sequence[LabelledSequence], tracked: Iterator[list[TrackedFrame]]
) -> Iterator[tuple[str, float, float]]:
    found, copied = ConfusionMatrix(256), ConfusionMatrix(256)  # classes that are nowhere do not count
    for sequence, frames in zip(sequences, tracked, strict=True):
        first = sequence.mask(0)
        for number in sorted(sequence.masks.keys() - {0}):
            found.add(frames[number].mask, sequence.mask(number))
            copied.add(first, sequence.mask(number))
    yield "mIoU", 100 * found.mean_iou(), 100 * copied.mean_iou()
