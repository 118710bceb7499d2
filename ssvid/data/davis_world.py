"""The motion world in the layout of DAVIS: frames, masks and the exact centres of objects, for label propagation."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from ssvid.data.layouts.world import POINTS
from ssvid.data.masks import write_mask
from ssvid.data.motions import CLASSES
from ssvid.data.rendering import SyntheticVideo, render_video
from ssvid.errors import ConfigError
from ssvid.files import read_json, write_json, write_text
from ssvid.progress import Progress, silent

SMALLEST = 0.005  # share of the first frame an object needs to count as an object


def make_davis_world(
    folder: str | os.PathLike[str],
    *,
    sequences: int = len(CLASSES),
    frames: int = 40,
    size: int = 256,
    seed: int = 0,
    progress: Progress = silent,
) -> Path:
    """Write sequences of the motion world in the layout of DAVIS 2017, and return the folder davis/ that holds them.

    They are those of `make_world` with the same seed, size and frames, one class after the other, without its videos; `world:FOLDER`
    reads both. Sequence n depends on (seed, n, frames, size) only; called again it makes what is missing.

    Args:
        folder: where to; made if missing.
        sequences: how many, all in the list val.txt; may be raised in a later call.
        frames, size: of every sequence, as in `render_video`, at 30 frames a second.
        progress: called after every sequence.

    Raises:
        ConfigError: options out of range, or a folder that holds something else or a world made with other options.
    """
    if sequences < 1 or seed < 0:
        raise ConfigError(f"cannot make {sequences} sequences with seed {seed}; use sequences >= 1, seed >= 0")
    folder = Path(folder)
    _claim(folder, {"davis_sequences": {"frames": frames, "size": size, "seed": seed}})
    names = []
    for number in range(sequences):
        scene, label = number // len(CLASSES), CLASSES[number % len(CLASSES)]
        names.append(f"{label}_{scene:04d}")
        if not (folder / "davis" / "Points" / "480p" / names[-1] / POINTS).exists():  # written last
            rng = np.random.default_rng([seed, scene])
            rng.random()  # make_world draws here whether the speed varies
            write_sequence(folder / "davis", names[-1], render_video(label, rng, frames=frames, size=size))
        progress("rendering", number + 1, sequences)
    write_text(folder / "davis" / "ImageSets" / "2017" / "val.txt", "".join(f"{name}\n" for name in names))
    return folder / "davis"


def _claim(folder: Path, options: dict[str, dict[str, int]]) -> None:
    """Check that the folder is empty or holds the same sequences, and note the options in it."""
    note = folder / "world.json"
    if note.exists():
        try:
            found = read_json(note)["options"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{note} is damaged; remove {folder} or choose another folder") from error
        if found != options:
            raise ConfigError(
                f"{folder} holds a motion world made with {found}, asked {options}; use its options, or choose another folder"
            )
    elif folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty and holds no motion world; choose another folder")
    write_json(note, {"options": options})


def write_sequence(folder: Path, name: str, video: SyntheticVideo) -> None:
    """Write one video below a folder in the layout of DAVIS: JPEGImages, Annotations, and Points/480p/<name>/points.json.

    As in DAVIS, the first frame shows every object that counts, numbered without gaps; the others become background. The points are
    {"points": T lists of N [x, y]}, the centres of objects 1..N in pixels (the centre of the first pixel is 0, 0), null where no pixel of
    the object is seen.
    """
    share = np.bincount(video.masks[0].ravel(), minlength=256) / video.masks[0].size
    kept = [i for i in range(1, 256) if share[i] >= SMALLEST]
    renumber = np.zeros(256, np.uint8)
    renumber[kept] = np.arange(1, len(kept) + 1)
    with new_folder(folder / "JPEGImages" / "480p" / name) as new:
        for t, frame in enumerate(video.frames):
            Image.fromarray(frame).save(new / f"{t:05d}.jpg", quality=95)
    with new_folder(folder / "Annotations" / "480p" / name) as new:
        write_masks(new, renumber[video.masks])
    centres = video.centres[:, [i - 1 for i in kept]]
    points = [[None if np.isnan(x) else [round(float(x), 2), round(float(y), 2)] for x, y in row] for row in centres]
    write_text(folder / "Points" / "480p" / name / POINTS, json.dumps({"points": points}))


def write_masks(folder: Path, masks: np.ndarray) -> None:
    """Write ids (T,H,W) as indexed PNG, 00000.png and so on."""
    for t, mask in enumerate(masks):
        write_mask(folder / f"{t:05d}.png", mask)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder that appears under its name only when it is complete, and replaces what an interrupted run left there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield new
        new.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
