"""A whole job of tracking: frames in, masks, points, an overlay and a page out; stopped, the same command goes on where it was."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ssvid.errors import ConfigError, DataError
from ssvid.files import atomic, read_json, write_json
from ssvid.progress import Progress, silent
from ssvid.tracking.checkpoint import Checkpoint, save_checkpoint
from ssvid.tracking.features import FrameEncoder, open_encoder
from ssvid.tracking.frames import FrameSource, open_frames
from ssvid.tracking.presets import Preset, find_preset
from ssvid.tracking.prompts import Box, MaskLike, PointsLike, make_prompts
from ssvid.tracking.rendering import overlay, write_mask
from ssvid.tracking.tracker import Prompt, TrackedFrame, Tracker
from ssvid.training.interrupts import Interrupts
from ssvid.video.location import is_address
from ssvid.video.writer import write_video
from ssvid.zoo.cards import CORRESPONDENCE

EVERY = 25  # frames from one checkpoint to the next
CHECKPOINT, ABOUT, RECORDS = "checkpoint.safetensors", "track.json", "frames.jsonl"
COLUMNS = ("frame", "seconds", "name", "x", "y", "confidence", "left", "top", "width", "height")


@dataclass(frozen=True)
class TrackResult:
    """What a job left in its folder.

    masks: folder of a palette PNG a frame, None where only points were tracked. rows: of every frame and object or point, see `COLUMNS`: x
    and y are a point's place or the middle of an object's pixels, the box is around these, all in pixels; None where it is not to be seen.
    """

    folder: Path
    masks: Path | None
    overlay: Path
    page: Path | None
    rows: list[dict[str, Any]]

    def summary(self) -> dict[str, Any]:
        """Frames, names, and mean confidence of each."""
        names = list(dict.fromkeys(row["name"] for row in self.rows))
        means = {
            name: float(np.mean([row["confidence"] for row in self.rows if row["name"] == name])) for name in names
        }
        return {"frames": len({row["frame"] for row in self.rows}), "confidence": means, "folder": str(self.folder)}


def track(
    video: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] = CORRESPONDENCE,
    mask: MaskLike | Sequence[MaskLike] = (),
    box: Box | Sequence[Box] = (),
    points: PointsLike | None = None,
    at: float | Sequence[float] = (),
    preset: str = "crw",
    layer: str = "",
    device: str = "auto",
    html: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
    **changes: Any,
) -> TrackResult:
    """Track objects or points through a video or a folder of frames, and write the result into the folder `out`.

    Args:
        video: a video file, or a folder of pictures.
        out: gets NAME/00000.png, ... in the layout of DAVIS, points.json, points.csv, overlay.mp4 and what is needed to go on.
        model: a run folder, a name or NAME@WEIGHTS; the default comes with the package.
        mask: a file or an array of ids; several for objects that appear later, each with its own time in `at`.
        box: x, y, width and height of an object in pixels, or several.
        points: x and y of points by name, or a JSON file of them.
        at: seconds of the frame that the mask, boxes or points are of.
        preset: crw, dino, dinov3, timecycle or uvc.
        layer: the part of the network whose output is compared, as layer3; "": the whole.
        device: as `ssvid.compute.resolve_device` takes it.
        html: also write a page.
        overwrite: begin anew where `out` holds another track.
        progress: told of the frames.
        changes: settings of the preset, as recent=7.

    Raises ConfigError, DataError or VideoError with what is wrong and what to do; what was done until then is kept.
    """
    source = open_frames(video)
    prompts = make_prompts(source, _listed(mask), _boxes(box), points, _listed(at))
    settings = find_preset(preset, **changes)
    encoder = open_encoder(model, layer, device)
    folder = Path(out)
    _claim(folder, source, prompts, encoder, settings, overwrite)
    _run(folder, source, prompts, Tracker(encoder, settings), progress)
    return _finish(folder, source, any(prompt.mask is not None for prompt in prompts.values()), html, progress)


def track_video(
    video: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] = CORRESPONDENCE,
    mask: MaskLike | Sequence[MaskLike] = (),
    box: Box | Sequence[Box] = (),
    points: PointsLike | None = None,
    at: float | Sequence[float] = (),
    preset: str = "crw",
    layer: str = "",
    device: str = "auto",
    **changes: Any,
) -> Iterator[TrackedFrame]:
    """The same, frame by frame as it is asked for, and nothing is written. Arguments and errors as of `track`."""
    source = open_frames(video)
    prompts = make_prompts(source, _listed(mask), _boxes(box), points, _listed(at))
    tracker = Tracker(open_encoder(model, layer, device), find_preset(preset, **changes))
    return _steps(source, prompts, tracker, min(prompts))


def _steps(
    source: FrameSource,
    prompts: Mapping[int, Prompt],
    tracker: Tracker,
    following: int,
    saved: Checkpoint | None = None,
) -> Iterator[TrackedFrame]:
    """Frames from `following` on; those that a checkpoint asks for are shown to the tracker again on the way."""
    again: dict[int, np.ndarray] = {}
    for number, frame in enumerate(source):
        if saved is not None and number in saved.numbers:
            again[number] = frame
        if number == following and saved is not None:
            saved.restore(tracker, again)
            again.clear()
        if number >= following:
            yield tracker.step(number, frame, prompts.get(number))


def _run(
    folder: Path, source: FrameSource, prompts: Mapping[int, Prompt], tracker: Tracker, progress: Progress
) -> None:
    """Track all frames that have not been tracked yet, and write masks and records as they come."""
    kept, records = folder / CHECKPOINT, folder / RECORDS
    saved = Checkpoint(kept) if kept.exists() else None
    first, total = min(prompts), len(source.times)
    following = first if saved is None else saved.following
    _keep_records(records, following)
    if following >= total:
        return
    state = None
    with _writing(records), records.open("a", encoding="utf-8") as lines, Interrupts() as signals:
        try:
            for tracked in _steps(source, prompts, tracker, following, saved):
                if tracker.objects:
                    write_mask(folder / source.name / f"{source.names[tracked.number]}.png", tracked.mask)
                lines.write(json.dumps(_record(tracked, source)) + "\n")
                lines.flush()
                following, state = tracked.number + 1, tracker.state()
                if (following - first) % EVERY == 0:
                    save_checkpoint(kept, state, following)
                progress("tracking", following - first, total - first)
                if signals.seen():
                    raise KeyboardInterrupt
        finally:
            if state is not None:  # that after the last frame of which everything was written
                save_checkpoint(kept, state, following)


def _finish(
    folder: Path, source: FrameSource, objects: bool, html: str | os.PathLike[str] | None, progress: Progress
) -> TrackResult:
    """Everything that is made of the finished masks and records."""
    records = [json.loads(line) for line in (folder / RECORDS).read_text(encoding="utf-8").splitlines()]
    rows = [
        {"frame": record["frame"], "seconds": record["seconds"], **row} for record in records for row in record["found"]
    ]
    masks = folder / source.name if objects else None
    with _writing(folder):
        write_json(folder / "points.json", {"video": source.path, "size": list(source.size), "frames": records})
        with atomic(folder / "points.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, COLUMNS)
            table.writeheader()
            table.writerows(rows)
    shown = folder / "overlay.mp4"
    times = source.times[records[0]["frame"] :][: len(records)]
    write_video(shown, _overlays(source, masks, records, progress), times=times, crf=20)
    result = TrackResult(folder, masks, shown, None if html is None else Path(html), rows)
    if result.page is not None:
        from ssvid.tracking.page import write_tracking_page

        write_tracking_page(result, source, records, result.page)
    return result


def _overlays(
    source: FrameSource, masks: Path | None, records: Sequence[dict[str, Any]], progress: Progress
) -> Iterator[np.ndarray]:
    first, count = records[0]["frame"], len(records)
    for number, frame in enumerate(source):
        if not 0 <= number - first < count:
            continue
        found = records[number - first]["found"]
        points = {row["name"]: (row["x"], row["y"]) for row in found if row["left"] is None and row["x"] is not None}
        if masks is None:
            mask = np.zeros(source.size, np.uint8)
        else:
            with Image.open(masks / f"{source.names[number]}.png") as picture:
                mask = np.array(picture)
            points = {}
        yield overlay(frame, mask, points, [row["name"] for row in found])
        progress("drawing", number - first + 1, count)


def _record(tracked: TrackedFrame, source: FrameSource) -> dict[str, Any]:
    """What is kept of a frame: a row for every object and point."""
    rows = []
    for name, confidence in tracked.confidence.items():
        place = _place(tracked.points[name]) if name in tracked.points else _extent(tracked.mask == int(name))
        rows.append({"name": name, **place, "confidence": round(confidence, 4)})
    return {"frame": tracked.number, "seconds": round(float(source.times[tracked.number]), 6), "found": rows}


def _place(point: tuple[float, float]) -> dict[str, float | None]:
    x, y = (round(value, 2) if np.isfinite(value) else None for value in point)
    return {"x": x, "y": y} | dict.fromkeys(COLUMNS[6:])


def _extent(pixels: np.ndarray) -> dict[str, float | None]:
    if not pixels.any():
        return dict.fromkeys(("x", "y", *COLUMNS[6:]))
    y, x = np.nonzero(pixels)
    left, top = int(x.min()), int(y.min())
    middle: dict[str, float | None] = {"x": round(float(x.mean()), 2), "y": round(float(y.mean()), 2)}
    return middle | {"left": left, "top": top, "width": int(x.max()) + 1 - left, "height": int(y.max()) + 1 - top}


def _claim(
    folder: Path,
    source: FrameSource,
    prompts: Mapping[int, Prompt],
    encoder: FrameEncoder,
    preset: Preset,
    overwrite: bool,
) -> None:
    """Make the folder, or see that what is in it is of the same job. Raises ConfigError where it is of another."""
    told = hashlib.sha256()
    for number, prompt in sorted(prompts.items()):
        told.update(f"{number} {sorted(prompt.points.items())}".encode())
        told.update(b"" if prompt.mask is None else prompt.mask.tobytes())
    about = {
        "video": source.path if is_address(source.path) else os.path.realpath(source.path),
        "frames": len(source.times),
        "size": list(source.size),
        "model": encoder.backbone.digest(encoder.name),
        "preset": asdict(preset),
        "prompts": told.hexdigest(),
    }
    known = folder / ABOUT
    if overwrite or not known.exists():
        with _writing(folder):
            for left in (CHECKPOINT, RECORDS):
                (folder / left).unlink(missing_ok=True)
            write_json(known, about)
    elif (other := read_json(known)) != about:
        differs = ", ".join(key for key in about if other.get(key) != about[key])
        raise ConfigError(f"{folder} holds another track (other {differs}); name another folder, or give --overwrite")


def _keep_records(path: Path, following: int) -> None:
    """Drop the records of frames that will be tracked again."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    kept = [line for line in lines if line.endswith("\n") and json.loads(line)["frame"] < following]
    with atomic(path) as temporary:
        temporary.write_text("".join(kept), encoding="utf-8")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn the system's errors about a place into ours."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{error.filename or path} cannot be written ({error.strerror or error}); "
            "make room or name another folder; the same command goes on from here"
        ) from error


def _listed(value: Any) -> list[Any]:
    return [value] if isinstance(value, str | os.PathLike | np.ndarray | float | int) else list(value)


def _boxes(box: Box | Sequence[Box]) -> list[Box]:
    values: Any = list(box)
    return [tuple(values)] if values and not isinstance(values[0], list | tuple) else values
