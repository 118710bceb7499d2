"""A whole job of localisation: a video in, tubes as JSON and an overlay video out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ssvid.data.masks import read_mask
from ssvid.errors import DataError
from ssvid.evaluation.metrics.tubes import box_overlap, tube_overlap, tubes_of_action
from ssvid.evaluation.saved_head import load_head
from ssvid.files import write_json
from ssvid.progress import Progress, silent
from ssvid.tracking.class_maps import VideoMaps, attention_maps, class_maps
from ssvid.tracking.rendering import colours, overlay
from ssvid.tracking.tubes import LocatedTube, TubeOptions, active_stretches, find_tubes, smoothed
from ssvid.training.models import open_model
from ssvid.video.reader import Video
from ssvid.video.transcode import upright_frames
from ssvid.video.writer import write_video

FRAMES, STRIDE, SIZE = 16, 2, 112  # of a clip, where the run's card does not say


@dataclass(frozen=True)
class Localisation:
    """What was found in a video of T frames. tubes: the strongest first. stretches: frames [start, end) of the action."""

    maps: VideoMaps
    stretches: list[tuple[int, int]]
    tubes: list[LocatedTube]


def localise(
    video: str | os.PathLike[str],
    model: str,
    out: Path,
    *,
    classifier: str | os.PathLike[str] | None = None,
    label: str = "",
    size: int | None = None,
    masks: Path | None = None,
    options: TubeOptions | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Write OUT/localised.json and OUT/overlay.mp4, and return what the JSON says.

    model: a run folder or a name. classifier: a file that `ssvid transfer --save-head` wrote; None: the attention of the model's head.
    label: a class of the classifier, "" for the likeliest. size: short side at which frames are shown, px; None: as in training. masks:
    folder of palette PNGs of the frames, as `ssvid make-world --masks` writes; the strongest tube is compared with what moves.
    Raises ConfigError for a model that cannot tell where, DataError for files that are missing or do not fit.
    """
    loaded, source = open_model(model), Video(video)
    view = {"frames": FRAMES, "stride": STRIDE, "size": SIZE, **loaded.view, **({"size": size} if size else {})}
    found = (
        attention_maps(source, loaded.backbone, view, progress)
        if classifier is None
        else class_maps(source, loaded.backbone, load_head(classifier), label, view, progress)
    )
    chosen = options or TubeOptions()
    place = localised(found, (source.info.height, source.info.width), source.info.fps, chosen)
    facts = {"video": Path(video).name, "model": str(loaded.name.architecture), "options": asdict(chosen)} | described(
        place, source
    )
    if masks is not None:
        facts |= overlaps_with_masks(place.tubes, read_masks(masks, source))
    out.mkdir(parents=True, exist_ok=True)
    timing = {"times": source.info.times} if source.info.variable else {"fps": source.info.fps}
    write_video(out / "overlay.mp4", drawn(source, place, progress), **timing)
    write_json(out / "localised.json", facts)
    return facts


def localised(found: VideoMaps, size: tuple[int, int], fps: float, options: TubeOptions) -> Localisation:
    """Tubes of maps in frames of `size` (height, width)."""
    maps = smoothed(found.maps, fps, options)
    stretches = active_stretches(smoothed(found.strength, fps, options), options)
    return Localisation(found, stretches, find_tubes(maps, size, stretches, fps, options))


def described(place: Localisation, source: Video) -> dict[str, Any]:
    """What the JSON says of a localisation: seconds, and boxes left, top, right, bottom in px."""
    times = source.info.times
    ends = np.append(times[1:], source.info.duration)

    def seconds(start: int, end: int) -> dict[str, float]:
        return {"start": round(float(times[start]), 3), "end": round(float(ends[end - 1]), 3)}

    return {
        "class": place.maps.label or None,
        "score": place.maps.score,
        "stretches": [seconds(start, end) for start, end in place.stretches],
        "tubes": [
            {
                "score": round(tube.score, 3),
                **seconds(tube.frames[0], tube.frames[-1] + 1),
                "frames": tube.frames.tolist(),
                "boxes": tube.boxes[tube.frames].tolist(),
            }
            for tube in place.tubes
        ],
    }


def read_masks(folder: Path, source: Video) -> np.ndarray:
    """Masks (T,H,W) of a video's frames, in the order of their names. Raises DataError where they do not fit it."""
    files = sorted(folder.glob("*.png"))
    if len(files) != source.info.frames:
        raise DataError(
            f"{folder} holds {len(files)} masks and {source.path} has {source.info.frames} frames; give the video's own"
        )
    masks = np.stack([read_mask(file) for file in files])
    if masks.shape[1:] != (source.info.height, source.info.width) or not masks.any():
        raise DataError(
            f"{folder}: masks of {masks.shape[2]} x {masks.shape[1]} px, without an object or of another size than the video"
        )
    return masks


def overlaps_with_masks(tubes: Sequence[LocatedTube], masks: np.ndarray) -> dict[str, float]:
    """tube_iou: overlap of the strongest tube with what moves, an object or all that do, whichever fits better; 0 without a tube.
    box_iou: the same in the frames that the tube is in, so of where alone and not of when. whole_frame_iou and whole_frame_box_iou: both
    of a box around every whole frame, which an answer that means something has to beat."""
    truths = tubes_of_action(masks)
    T, height, width = masks.shape
    whole = np.tile([0.0, 0.0, width, height], (T, 1))
    found, there = (tubes[0].boxes, tubes[0].frames) if tubes else (np.full((T, 4), np.nan), np.arange(T))

    def boxes_overlap(boxes: np.ndarray) -> float:
        return max(float(box_overlap(boxes[there], truth[there]).mean()) for truth in truths)

    return {
        "tube_iou": max(tube_overlap(found, truth) for truth in truths),
        "box_iou": boxes_overlap(found),
        "whole_frame_iou": max(tube_overlap(whole, truth) for truth in truths),
        "whole_frame_box_iou": boxes_overlap(whole),
    }


def drawn(source: Video, place: Localisation, progress: Progress) -> Iterator[np.ndarray]:
    """Every frame with the boxes of its tubes, each tube in a colour of its own; outside the action it is paler."""
    info = source.info
    active = {t for start, end in place.stretches for t in range(start, end)}
    pen_width = max(1, round(min(info.height, info.width) / 100))
    for t, frame in enumerate(upright_frames(info.path, info.height, info.width, info.frames)):
        filled = np.zeros(frame.shape[:2], np.uint8)
        boxes = {
            n: tube.boxes[t] for n, tube in enumerate(place.tubes, 1) if n < 256 and not np.isnan(tube.boxes[t, 0])
        }
        for n, (left, top, right, bottom) in reversed(boxes.items()):
            filled[int(top) : int(bottom), int(left) : int(right)] = n
        picture = Image.fromarray(overlay(frame if t in active else frame // 2 + 100, filled, {}, []))
        pen = ImageDraw.Draw(picture)
        for n, (left, top, right, bottom) in boxes.items():
            colour = tuple(colours()[n].tolist())
            pen.rectangle((left, top, right - 1, bottom - 1), outline=colour, width=pen_width)
        progress("drawing", t + 1, info.frames)
        yield np.asarray(picture)
