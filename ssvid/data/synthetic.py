"""The motion world: labelled videos we make ourselves, in which only time tells the classes apart.

Video number n of every class shows the same scene (background, shapes, colours, places, drift, all drawn from (seed, n)); the class
decides which objects move and how. So no single frame, colour or object count gives the class away, and videos of one scene (one `group`)
are always on the same side of the split. Masks, centres, the speed of the world clock and the progress of the action are known exactly.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ssvid.data.davis_world import new_folder, write_masks, write_sequence
from ssvid.data.distractors import DISTRACTORS, STEADY
from ssvid.data.motions import CLASSES, IRREVERSIBLE
from ssvid.data.rendering import SyntheticVideo, render_video
from ssvid.engine import map_tasks
from ssvid.errors import ConfigError
from ssvid.files import read_json, write_json, write_text
from ssvid.progress import Progress, silent
from ssvid.video.writer import write_video

__all__ = ["CLASSES", "IRREVERSIBLE", "SyntheticVideo", "make_world", "render_video"]

VERSION = 1  # goes up whenever the same seed gives other pixels


@dataclass(frozen=True)
class World:
    """The options a folder was made with; only per_class may grow later."""

    per_class: int
    frames: int
    size: int
    fps: float
    seed: int
    test_share: float
    varying_speed: float
    masks: bool
    davis: bool
    crf: int = 18  # this and what follows: also of a world that is older than the option
    distractors: float = 0.0
    classes: tuple[str, ...] = CLASSES
    version: int = VERSION

    def check(self) -> None:
        """Raises ConfigError where an option is out of range."""
        shares = 0 <= self.test_share < 1 and 0 <= self.varying_speed <= 1 and 0 <= self.distractors <= 1
        if self.per_class < 1 or self.seed < 0 or not (shares and 0 <= self.crf <= 51):
            raise ConfigError(
                "a motion world needs per_class >= 1, seed >= 0, 0 <= test_share < 1, 0 <= varying_speed <= 1, "
                "0 <= distractors <= 1 and 0 <= crf <= 51"
            )


@dataclass(frozen=True)
class WorldItem:
    """One video of a world: its class and its number in the class."""

    label: str
    number: int

    @property
    def name(self) -> str:
        """File name without extension."""
        return f"{self.label}_{self.number:04d}"

    def split(self, world: World) -> str:
        """Share test_share of the numbers, evenly spread, is test, whatever the size of the world."""
        before, after = (int(np.floor(n * world.test_share + 1e-9)) for n in (self.number, self.number + 1))
        return "test" if after > before else "train"


def make_world(
    folder: str | os.PathLike[str],
    *,
    per_class: int = 20,
    frames: int = 64,
    size: int = 128,
    fps: float = 30.0,
    seed: int = 0,
    test_share: float = 0.25,
    varying_speed: float = 0.0,
    masks: bool = False,
    davis: bool = False,
    crf: int = 18,
    distractors: float = 0.0,
    classes: Sequence[str] = CLASSES,
    progress: Progress = silent,
    engine: str = "local:1",
) -> Path:
    """Write a motion world and return the path of its list, `videos.csv` (header path,label,split,group; paths relative to it).

    It consists of videos/<class>/<name>.mp4, annotations/<name>.json, world.json (options and counts), and where asked for of masks/ and of
    davis/ in the layout of DAVIS 2017, with the objects' centres (see `davis_world.write_sequence`). Video n depends on (seed, class, n)
    and the options only, so a larger world contains the smaller one. Called again on the same folder it makes what is missing.

    Args:
        folder: where to; made if missing. per_class: videos a class; may be raised in a later call.
        frames, size, fps: of every video, as in `render_video`.
        seed: the scenes are drawn from (seed, number). test_share: share of them in the test split.
        varying_speed: share 0..1 of the scenes whose world clock changes its speed. Pretraining on speed needs 0, so that "normal speed"
            is true of every video; 1 tests adaptive speed.
        distractors: share 0..1 of the scenes with one case of `ssvid.data.distractors`; slow motion only where the clock varies.
        masks, davis: what else to write. crf: quality of H.264, 0..51, lower is better; 0 is lossless. classes: some of `CLASSES`.
        progress: called after every video.
        engine: where they are rendered, see `ssvid.engine`; of processes, no more than one for each 24 missing videos. They are spawned:
            guard a script of your own with `if __name__ == "__main__"`.

    Raises:
        ConfigError: options out of range, or a folder that holds something else or a world made with other options.
    """
    shares = float(test_share), float(varying_speed)
    world = World(per_class, frames, size, float(fps), seed, *shares, masks, davis, crf, distractors, _known(classes))
    world.check()
    folder = Path(folder)
    _claim(folder, world)
    items = [WorldItem(label, number) for label in world.classes for number in range(per_class)]
    missing = [item for item in items if not _finished(folder, item)]
    for done, _ in enumerate(map_tasks(partial(_make_video, folder, world), missing, engine), 1):
        progress("rendering", len(items) - len(missing) + done, len(items))
    return _write_lists(folder, world, items)


def _known(classes: Sequence[str]) -> tuple[str, ...]:
    """The classes in the order of `CLASSES`, each once. Raises ConfigError for an unknown one, and where there is none."""
    unknown = [name for name in classes if name not in CLASSES]
    if unknown or not classes:
        raise ConfigError(f"no class {', '.join(unknown) or 'given'}; the motion world has {', '.join(CLASSES)}")
    return tuple(name for name in CLASSES if name in classes)


def _claim(folder: Path, world: World) -> None:
    """Check that the folder is empty or holds the same world, and note the options in it."""
    note = folder / "world.json"
    if note.exists():
        try:
            old = read_json(note)["options"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{note} is damaged; remove {folder} or choose another folder") from error
        older = {"crf": World.crf, "distractors": World.distractors, "classes": CLASSES} | old
        old = older | {"classes": tuple(older["classes"])}
        other = [
            f"{k}={old.get(k)!r}, asked {v!r}" for k, v in asdict(world).items() if k != "per_class" and old.get(k) != v
        ]
        if old.get("per_class", 0) > world.per_class:
            other.append(f"per_class={old['per_class']}, asked {world.per_class}")
        if other:
            raise ConfigError(
                f"{folder} holds a motion world made with {'; '.join(other)}; use its options, or choose another folder"
            )
    elif folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty and holds no motion world; choose another folder")
    write_json(note, {"options": asdict(world)})


def _finished(folder: Path, item: WorldItem) -> bool:
    # the annotation is written last
    return (folder / "annotations" / f"{item.name}.json").exists() and _mp4(folder, item).exists()


def _mp4(folder: Path, item: WorldItem) -> Path:
    return folder / "videos" / item.label / f"{item.name}.mp4"


def _make_video(folder: Path, world: World, item: WorldItem) -> None:
    rng = np.random.default_rng([world.seed, item.number])
    varying = bool(rng.random() < world.varying_speed)
    case = _distractor(world, varying, rng)
    video = render_video(
        item.label,
        rng,
        frames=world.frames,
        size=world.size,
        fps=world.fps,
        varying_speed=varying,
        distractor=case,
    )
    video = replace(video, name=item.name)
    # one thread: the encoder's output must not depend on the machine
    write_video(_mp4(folder, item), video.frames, world.fps, codec="libx264", crf=world.crf, options={"threads": "1"})
    if world.masks:
        with new_folder(folder / "masks" / item.name) as new:
            write_masks(new, video.masks)
    if world.davis:
        write_sequence(folder / "davis", item.name, video)
    annotation = {
        "name": video.name,
        "class": video.label,
        "split": item.split(world),
        "group": _group(world, item),
        "seed": world.seed,
        "fps": world.fps,
        "varying_speed": varying,
        "distractor": case,
        "irreversible": video.label in IRREVERSIBLE,
        "speed": [round(float(v), 5) for v in video.speed],
        "phase": [round(float(v), 6) for v in video.phase],
        "centres": [
            [None if np.isnan(x) else [round(float(x), 2), round(float(y), 2)] for x, y in row] for row in video.centres
        ],
    }
    write_text(folder / "annotations" / f"{item.name}.json", json.dumps(annotation))


def _distractor(world: World, varying: bool, rng: np.random.Generator) -> str | None:
    """The case of a scene; nothing is drawn for a world without distractors, which keeps its pixels."""
    if not world.distractors or rng.random() >= world.distractors:
        return None
    return str(rng.choice(tuple(DISTRACTORS) if varying else STEADY))


def _group(world: World, item: WorldItem) -> str:
    return f"scene_{world.seed}_{item.number:04d}"


def _write_lists(folder: Path, world: World, items: list[WorldItem]) -> Path:
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["path", "label", "split", "group"])
    for item in items:
        rows.writerow(
            [_mp4(folder, item).relative_to(folder).as_posix(), item.label, item.split(world), _group(world, item)]
        )
    write_text(folder / "videos.csv", table.getvalue())
    splits = [item.split(world) for item in items]
    if world.davis:
        for split, file in (("train", "train.txt"), ("test", "val.txt")):
            names = [item.name for item, s in zip(items, splits, strict=True) if s == split]
            write_text(folder / "davis" / "ImageSets" / "2017" / file, "".join(f"{name}\n" for name in names))
    counts = {
        "videos": len(items),
        "classes": len(world.classes),
        "train": splits.count("train"),
        "test": splits.count("test"),
    }
    write_json(folder / "world.json", {"options": asdict(world), "counts": counts, "classes": list(world.classes)})
    return folder / "videos.csv"
