"""One video of the motion world: a stage and a scene drawn blind to the class, a motion played on it, every frame painted.

With a distractor (`ssvid.data.distractors`) the pictures also hold apparent motion that the world's clock does not explain.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ssvid.data.camera import look
from ssvid.data.distractors import DISTRACTORS, MARGIN, Distractor, shot_starts, slowed_positions, strength_over
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


@dataclass(frozen=True)
class Take:
    """What is played: class, the world clock's speed and time (T,), size in px, frames a second, a distractor and its strength (T,)."""

    label: str
    speed: Array
    time: Array
    size: int
    fps: float
    case: Distractor
    strength: Array

    def part(self, start: int, end: int) -> Take:
        """Frames `start` to `end` of it."""
        here = slice(start, end)
        return replace(self, speed=self.speed[here], time=self.time[here], strength=self.strength[here])


def render_video(
    label: str,
    rng: np.random.Generator,
    *,
    frames: int = 64,
    size: int = 128,
    fps: float = 30.0,
    varying_speed: bool = False,
    distractor: str | None = None,
) -> SyntheticVideo:
    """Make one video of class `label`, `frames` frames of size x size pixels.

    Generators in the same state give the same scene for every class, and the same scene and motion at every size. With varying_speed the
    world clock runs at a changing speed between 0.5 and 2.5, else at 1. distractor: a case of `ssvid.data.distractors`; the clock is that
    of the same video without it, but for slow_motion, which slows it further.

    Raises:
        ConfigError: an unknown class or distractor, less than one frame, a side below 16 px, or fps that is not positive.
    """
    if label not in CLASSES:
        raise ConfigError(f"no class {label!r} in the motion world; choose one of {', '.join(CLASSES)}")
    if distractor is not None and distractor not in DISTRACTORS:
        raise ConfigError(f"no distractor {distractor!r} in the motion world; choose one of {', '.join(DISTRACTORS)}")
    if frames < 1 or size < 16 or fps <= 0:
        raise ConfigError(
            f"cannot render {frames} frames of {size} px at {fps} fps; use frames >= 1, size >= 16, fps > 0"
        )
    seeds = [int(seed) for seed in rng.integers(2**63, size=3)]
    own = np.random.default_rng([seeds[2], CLASSES.index(label)])
    speed, time = world_clock(own, frames, fps, varying_speed)
    if distractor is None:
        return _shoot(Take(label, speed, time, size, fps, Distractor(), np.zeros(frames)), seeds, own, rng)
    odd = np.random.default_rng(rng.integers(2**63))
    take = Take(label, speed, time, size, fps, DISTRACTORS[distractor], strength_over(odd, frames, fps))
    if take.case.shots:
        return _several_shots(take, seeds, own, odd)
    video = _shoot(take, seeds, own, odd)
    return _slowed(video, take.strength, odd) if take.case.slow else video


def _shoot(take: Take, seeds: list[int], own: np.random.Generator, odd: np.random.Generator) -> SyntheticVideo:
    """One shot: seeds of stage and scene, generators of the motion and of the distractor."""
    stage = set_stage(np.random.default_rng(seeds[0]))
    wide = take.size + 2 * round(MARGIN * take.size) if take.case.camera else take.size
    scene = make_scene(np.random.default_rng(seeds[1]), wide, BODIES, PEBBLES)
    poses, phase = move(take.label, stage, take.time, own)
    if take.case.stage:
        poses, scene = take.case.stage(poses, scene, take.time, take.strength, odd)
    pictures, masks, centres = paint_frames(scene, poses, take.time, wide)
    film = np.arange(len(take.time)) / take.fps
    if take.case.camera:
        path = take.case.camera(film, take.strength, odd)
        pictures, masks, centres = look(path, pictures, masks, centres, take.size)
    if take.case.light:
        pictures = take.case.light(pictures, film, take.strength, odd)
    speed = take.speed.astype(np.float32)
    return SyntheticVideo(pictures, masks, centres, speed, phase.astype(np.float32), take.label, take.label)


def _several_shots(take: Take, seeds: list[int], own: np.random.Generator, odd: np.random.Generator) -> SyntheticVideo:
    """Scene after scene of one class of motion, cut together, while the world's clock runs on; the first is that of `seeds`."""
    starts = shot_starts(odd, len(take.time), take.fps)
    shots = []
    for start, end in zip(starts, [*starts[1:], len(take.time)], strict=True):
        shots.append(
            _shoot(take.part(start, end), seeds if start == 0 else odd.integers(2**63, size=2).tolist(), own, odd)
        )
    most = max(shot.centres.shape[1] for shot in shots)
    room = [((0, 0), (0, most - shot.centres.shape[1]), (0, 0)) for shot in shots]
    centres = [np.pad(shot.centres, pad, constant_values=np.nan) for shot, pad in zip(shots, room, strict=True)]
    frames, masks, speed, phase = (
        np.concatenate([getattr(shot, name) for shot in shots]) for name in ("frames", "masks", "speed", "phase")
    )
    return SyntheticVideo(frames, masks, np.concatenate(centres), speed, phase, take.label, take.label)


def _slowed(video: SyntheticVideo, strength: Array, odd: np.random.Generator) -> SyntheticVideo:
    """The video as slow-motion footage where a distractor is strong; frames between frames are repeated, or blended."""
    position, pace = slowed_positions(odd, strength)
    shown = position.astype(int)
    following = np.minimum(shown + 1, len(shown) - 1)
    share = (position - shown)[:, None, None, None] * float(odd.random() < 0.5)
    frames = (1 - share) * video.frames[shown] + share * video.frames[following]
    return replace(
        video,
        frames=(frames + 0.5).astype(np.uint8),
        masks=video.masks[shown],
        centres=video.centres[shown],
        speed=(video.speed[shown] * pace).astype(np.float32),
        phase=video.phase[shown],
    )


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
