"""One video of the motion world: a stage and a scene drawn blind to the class, a motion played on it, every frame painted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssvid.data.motions import BODIES, CLASSES, PEBBLES, Poses, move, set_stage, world_clock
from ssvid.data.scene import Array, Scene, Sprite, background_at, draw_sprite, make_scene, paint
from ssvid.errors import ConfigError


@dataclass(frozen=True)
class SyntheticVideo:
    """One video of the motion world with everything that is known about it.

    frames: uint8 (T,H,W,3) RGB. masks: uint8 (T,H,W), 0 background, 1..N objects, the one in front where they overlap.
    centres: float32 (T,N,2) x, y in pixels (the centre of the first pixel is 0, 0), NaN where no pixel of the object is seen.
    speed: float32 (T,) speed of the world clock, 1 = normal. phase: float32 (T,) 0..1 progress of the action (see motions.move).
    """

    frames: np.ndarray
    masks: np.ndarray
    centres: np.ndarray
    speed: np.ndarray
    phase: np.ndarray
    label: str
    name: str


def render_video(
    label: str,
    rng: np.random.Generator,
    *,
    frames: int = 64,
    size: int = 128,
    fps: float = 30.0,
    varying_speed: bool = False,
) -> SyntheticVideo:
    """Make one video of class `label`, `frames` frames of size x size pixels.

    Generators in the same state give the same scene for every class, and the same scene and motion at every size. With varying_speed the
    world clock runs at a changing speed between 0.5 and 2.5, else at 1.

    Raises:
        ConfigError: an unknown class, less than one frame, a side below 16 px, or fps that is not positive.
    """
    if label not in CLASSES:
        raise ConfigError(f"no class {label!r} in the motion world; choose one of {', '.join(CLASSES)}")
    if frames < 1 or size < 16 or fps <= 0:
        raise ConfigError(
            f"cannot render {frames} frames of {size} px at {fps} fps; use frames >= 1, size >= 16, fps > 0"
        )
    seed_stage, seed_scene, seed_motion = rng.integers(2**63, size=3)
    stage = set_stage(np.random.default_rng(seed_stage))
    scene = make_scene(np.random.default_rng(seed_scene), size, BODIES, PEBBLES)
    own = np.random.default_rng([seed_motion, CLASSES.index(label)])
    speed, time = world_clock(own, frames, fps, varying_speed)
    poses, phase = move(label, stage, time, own)

    pictures, masks, centres = paint_frames(scene, poses, time, size)
    return SyntheticVideo(pictures, masks, centres, speed.astype(np.float32), phase.astype(np.float32), label, label)


def paint_frames(scene: Scene, poses: Poses, time: Array, size: int) -> tuple[Array, Array, Array]:
    """Pictures (T,H,W,3), masks (T,H,W) and centres (T,N,2) of `SyntheticVideo`, for the seconds (T,) of the world clock."""
    frames = len(time)
    order = [i for i in scene.order if poses.opacity[:, i].max() > 0]  # back to front
    number = {i: k + 1 for k, i in enumerate(sorted(order))}
    pictures = np.empty((frames, size, size, 3), np.uint8)
    masks = np.zeros((frames, size, size), np.uint8)
    centres = np.full((frames, len(order), 2), np.nan, np.float32)
    drawn: dict[int, tuple[tuple[float, float, float, float], Sprite]] = {}
    for t in range(frames):
        canvas = background_at(scene, size, time[t])
        for i in order:
            if poses.opacity[t, i] == 0:
                continue
            x, y = poses.xy[t, i] * size - 0.5
            pose = (x, y, poses.radius[t, i] * size, poses.angle[t, i])
            if i not in drawn or drawn[i][0] != pose:  # an object that stands still is drawn once
                drawn[i] = pose, draw_sprite(scene.looks[i], *pose, size)
            paint(canvas, masks[t], drawn[i][1], poses.opacity[t, i], number[i])
            centres[t, number[i] - 1] = x, y
        pictures[t] = (np.clip(canvas, 0, 255) + 0.5).astype(np.uint8)
        seen = np.bincount(masks[t].ravel(), minlength=len(order) + 1)[1:] > 0
        centres[t, ~seen] = np.nan
    return pictures, masks, centres
