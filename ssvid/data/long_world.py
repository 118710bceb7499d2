"""The motion world for minutes: complex actions, made of sub-actions in a loose order.

A complex action (Hussein et al., Timeception, arXiv:1812.01289) takes minutes and consists of simple ones: which they are and, loosely, in
what order they come tells what it is, and how long each takes does not. Here the sub-actions are motions of the motion world, played one
after another on one stage. A class is an order of three of four motions; every three have two classes, one the other's reverse. So
whoever pools over time can tell which three motions there are, and is right in half of the videos; the rest only order tells.
"""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import asdict, dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np

from ssvid.data.motions import BODIES, PEBBLES, Poses, move, set_stage
from ssvid.data.rendering import paint_frames
from ssvid.data.scene import make_scene
from ssvid.engine import map_tasks
from ssvid.errors import ConfigError
from ssvid.files import read_json, write_json, write_text
from ssvid.progress import Progress, silent
from ssvid.video.writer import write_video

SUB_ACTIONS = ("bounce", "collide_scatter", "diffuse", "orbit")
TOGETHER = 3  # sub-actions of a class
LONG_CLASSES: tuple[str, ...] = tuple(
    "-".join(order) for chosen in combinations(SUB_ACTIONS, TOGETHER) for order in (chosen, chosen[::-1])
)
UNORDERED = 2  # classes of the same sub-actions
PLAY = 3.2  # seconds that a motion is played before the next begins
LEAST = 0.15  # share of the video that a sub-action takes at least
FAITHFUL = 0.8  # share of the plays that keep to the order; the others are of any sub-action of the class
VERSION = 1  # goes up whenever the same seed gives other pixels


@dataclass(frozen=True)
class LongWorld:
    """The options a folder was made with."""

    per_class: int
    minutes: float
    size: int
    fps: float
    seed: int
    test_share: float
    version: int = VERSION

    @property
    def play(self) -> int:
        """Frames that a motion is played."""
        return max(1, round(PLAY * self.fps))

    @property
    def plays(self) -> int:
        """Motions that a video plays one after another."""
        return max(TOGETHER, round(60 * self.minutes * self.fps / self.play))


def make_long_world(
    folder: str | os.PathLike[str],
    *,
    per_class: int = 16,
    minutes: float = 5.0,
    size: int = 32,
    fps: float = 5.0,
    seed: int = 0,
    test_share: float = 0.25,
    progress: Progress = silent,
    engine: str = "local:1",
) -> Path:
    """Write a world of long videos and return the path of its list, `videos.csv` (header path,label,split,group).

    It consists of videos/<class>/<name>.mp4, annotations/<name>.json with the sub-actions in their order, each with its start and end in
    seconds, and world.json. Called again on the same folder it makes what is missing.

    per_class: videos of each of the eight `LONG_CLASSES`. minutes, size, fps: of every video, side in px. test_share: of the videos.
    engine: as `make_world` takes it.
    Raises ConfigError for options out of range, and for a folder that holds something else.
    """
    world = LongWorld(per_class, float(minutes), size, float(fps), seed, float(test_share))
    if per_class < 1 or minutes <= 0 or size < 16 or fps <= 0 or seed < 0 or not 0 <= test_share < 1:
        raise ConfigError(
            "a long world needs per_class >= 1, minutes > 0, size >= 16, fps > 0, seed >= 0 and 0 <= test_share < 1"
        )
    folder = Path(folder)
    _claim(folder, world)
    items = [(label, number) for number in range(per_class) for label in LONG_CLASSES]
    missing = [item for item in items if not _annotation(folder, *item).exists()]
    for done, _ in enumerate(map_tasks(partial(_make_video, folder, world), missing, engine), 1):
        progress("rendering", len(items) - len(missing) + done, len(items))
    return _write_list(folder, world, items)


def order_of_plays(label: str, plays: int, rng: np.random.Generator) -> list[str]:
    """The motions of a video of a class, one a play: each sub-action for a share of its own, the order kept loosely."""
    actions = label.split("-")
    shares = LEAST + (1 - LEAST * len(actions)) * rng.dirichlet(np.ones(len(actions)))
    ends = np.cumsum(shares)[:-1]
    stage = np.searchsorted(ends, (np.arange(plays) + 0.5) / plays)
    strays = rng.random(plays) >= FAITHFUL
    return [actions[rng.integers(len(actions)) if stray else now] for now, stray in zip(stage, strays, strict=True)]


def render_long(label: str, world: LongWorld, rng: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    """Frames uint8 (T,size,size,3) of one video, and the motion of each of its plays."""
    stage, scene = set_stage(rng), make_scene(rng, world.size, BODIES, PEBBLES)
    motions = order_of_plays(label, world.plays, rng)
    clock = np.arange(world.play) / world.fps
    parts = []
    for number, motion in enumerate(motions):
        poses: Poses = move(motion, stage, clock, rng)[0]
        parts.append(paint_frames(scene, poses, number * PLAY + clock, world.size)[0])
    return np.concatenate(parts), motions


def _make_video(folder: Path, world: LongWorld, item: tuple[str, int]) -> None:
    label, number = item
    rng = np.random.default_rng([world.seed, number, LONG_CLASSES.index(label)])
    frames, motions = render_long(label, world, rng)
    write_video(_mp4(folder, label, number), frames, world.fps, codec="libx264", crf=18, options={"threads": "1"})
    seconds = world.play / world.fps
    parts = [
        {"action": motion, "start": round(n * seconds, 3), "end": round((n + 1) * seconds, 3)}
        for n, motion in enumerate(motions)
    ]
    annotation = {"name": _name(label, number), "class": label, "split": _split(world, number), "parts": parts}
    write_text(_annotation(folder, label, number), json.dumps(annotation))  # last: who has one is finished


def _name(label: str, number: int) -> str:
    return f"{label}_{number:04d}"


def _mp4(folder: Path, label: str, number: int) -> Path:
    return folder / "videos" / label / f"{_name(label, number)}.mp4"


def _annotation(folder: Path, label: str, number: int) -> Path:
    return folder / "annotations" / f"{_name(label, number)}.json"


def _split(world: LongWorld, number: int) -> str:
    before, after = (int(np.floor(n * world.test_share + 1e-9)) for n in (number, number + 1))
    return "test" if after > before else "train"


def _claim(folder: Path, world: LongWorld) -> None:
    note = folder / "world.json"
    if note.exists():
        old = read_json(note).get("options", {})
        if {**old, "per_class": 0} != {**asdict(world), "per_class": 0} or old["per_class"] > world.per_class:
            raise ConfigError(f"{folder} holds a world made with {old}; use its options, or choose another folder")
    elif folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty and holds no long world; choose another folder")
    write_json(note, {"options": asdict(world)})


def _write_list(folder: Path, world: LongWorld, items: list[tuple[str, int]]) -> Path:
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["path", "label", "split", "group"])
    for label, number in items:
        path = _mp4(folder, label, number).relative_to(folder).as_posix()
        rows.writerow([path, label, _split(world, number), _name(label, number)])
    write_text(folder / "videos.csv", table.getvalue())
    return folder / "videos.csv"
