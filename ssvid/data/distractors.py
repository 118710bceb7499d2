"""What makes apparent motion lie about speed: nine cases that add, hide or scale motion while the clock of the motion world runs on.

Mean motion takes all of it for speed; whoever knows how things move need not. How strong a distractor is changes over the film by a clock
of its own, drawn like the world's and independent of it. Paces are wide, so that none of them tells whether a film is sped up.

| case | what it does |
|---|---|
| depth | the objects come near and go far: larger and more pixels a second at one speed |
| crowd | passers-by come and go, who move by the world's clock like the rest |
| shake, pan, zoom | the camera moves, in seconds of the film |
| lights | soft lamps blink |
| dark | little light and the noise of the sensor, now more, now less |
| cuts | other scenes with the same class of motion, under the same clock |
| slow_motion | stretches slowed two to four times by repeated or blended frames: the true speed is lower there |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ssvid.data.camera import CameraPath
from ssvid.data.motions import SPEEDS, Poses, world_clock
from ssvid.data.scene import Array, Scene, make_scene

WALKERS = 12
MARGIN = 0.3  # frame sides that a camera may see beyond the frame, on each side
SHOT = (0.8, 2.0)  # shortest and longest shot, s

Stage = Callable[[Poses, Scene, Array, Array, np.random.Generator], tuple[Poses, Scene]]
Camera = Callable[[Array, Array, np.random.Generator], CameraPath]
Light = Callable[[Array, Array, Array, np.random.Generator], Array]


@dataclass(frozen=True)
class Distractor:
    """One case: what it changes of the poses and looks of the objects, the camera, the finished pictures, the shots, the film's time."""

    stage: Stage | None = None
    camera: Camera | None = None
    light: Light | None = None
    shots: bool = False
    slow: bool = False


def strength_over(rng: np.random.Generator, frames: int, fps: float) -> Array:
    """Strength (T,) 0..1 of a distractor: the log of a varying clock that has nothing to do with the world's."""
    speed, _ = world_clock(rng, frames, fps, varying=True)
    result: Array = np.log(speed / SPEEDS[0]) / np.log(SPEEDS[1] / SPEEDS[0])
    return result


def shot_starts(rng: np.random.Generator, frames: int, fps: float) -> list[int]:
    """First frames of the shots of a film with cuts, 0 among them."""
    starts = [0]
    while (start := starts[-1] + max(1, round(rng.uniform(*SHOT) * fps))) < frames:
        starts.append(start)
    return starts


def slowed_positions(rng: np.random.Generator, strength: Array) -> tuple[Array, Array]:
    """Position (T,) in the footage, in its frames, that every frame of the film shows, and the pace (T,) of the footage, 1 or less.

    Where a distractor is strong the footage runs at 1/2, 1/3 or 1/4 of its speed.
    """
    pace = np.where(strength > 0.5, 1 / rng.integers(2, 5), 1.0)
    return np.concatenate([[0.0], np.cumsum(pace[:-1])]), pace


def _depth(poses: Poses, scene: Scene, time: Array, strength: Array, rng: np.random.Generator) -> tuple[Poses, Scene]:
    near = 0.5 * 3.4**strength  # 0.5 to 1.7 times the size
    middle = poses.xy.mean(axis=0)
    xy = middle + near[:, None, None] * (poses.xy - middle)
    return replace(poses, xy=xy, radius=poses.radius * near[:, None]), scene


def _crowd(poses: Poses, scene: Scene, time: Array, strength: Array, rng: np.random.Generator) -> tuple[Poses, Scene]:
    margin = 0.15  # who leaves the frame comes back on the other side, unseen
    heading = rng.choice([-1.0, 1.0], WALKERS) * rng.uniform(0.2, 0.5, WALKERS)
    lane = rng.uniform(0.05, 0.95, WALKERS)
    step = np.abs(np.sin(np.pi * 1.8 * time[:, None] + rng.uniform(0, np.pi, WALKERS)))  # two steps in about a second
    x = np.mod(rng.uniform(0, 1, WALKERS) + heading * time[:, None] + margin, 1 + 2 * margin) - margin
    xy = np.stack([x, lane - 0.02 * step], axis=-1)
    # one walker after the other is there when the crowd grows
    seen = np.clip((strength[:, None] * (WALKERS + 1) - np.arange(WALKERS)), 0, 1)
    radius = np.broadcast_to(rng.uniform(0.05, 0.08, WALKERS), x.shape)
    added = (xy, np.zeros_like(x), radius, seen)
    joined = (
        np.concatenate([old, new], axis=1)
        for old, new in zip((poses.xy, poses.angle, poses.radius, poses.opacity), added, strict=True)
    )
    looks = make_scene(rng, 16, WALKERS, 0).looks
    order = np.append(scene.order, len(scene.looks) + np.arange(WALKERS))
    return Poses(*joined), replace(scene, looks=scene.looks + looks, order=order)


def _pan(film: Array, strength: Array, rng: np.random.Generator) -> CameraPath:
    way = _to_and_fro(_travelled(film, 0.05, 0.9, strength) + rng.uniform(0, 4 * MARGIN), MARGIN)
    turn = rng.uniform(-0.5, 0.5)  # cameras pan along the horizon more or less
    return CameraPath(way * np.cos(turn), way * np.sin(turn), np.ones(len(film)))


def _zoom(film: Array, strength: Array, rng: np.random.Generator) -> CameraPath:
    most = np.log(1 + 2 * MARGIN) * 0.9
    scale = np.exp(_to_and_fro(_travelled(film, 0.05, 1.0, strength) + rng.uniform(0, 4 * most), most))
    return CameraPath(np.zeros(len(film)), np.zeros(len(film)), scale)


def _shake(film: Array, strength: Array, rng: np.random.Generator) -> CameraPath:
    rate, start = rng.uniform(2, 7, (4, 2)), rng.uniform(0, 2 * np.pi, (4, 2))
    wobble = np.sin(2 * np.pi * rate * film[:, None, None] + start).mean(axis=1)  # (T,2)
    x, y = (0.06 * strength[:, None] * wobble).T
    return CameraPath(x, y, np.ones(len(film)))


def _lights(pictures: Array, film: Array, strength: Array, rng: np.random.Generator) -> Array:
    size, lamps = pictures.shape[1], 3
    rows, columns = np.meshgrid(*[(np.arange(size) + 0.5) / size] * 2, indexing="ij")
    place, reach = rng.uniform(0.1, 0.9, (lamps, 2)), rng.uniform(0.12, 0.3, lamps)
    glow = np.exp(-((rows - place[:, :1, None]) ** 2 + (columns - place[:, 1:, None]) ** 2) / reach[:, None, None] ** 2)
    rate, start = 0.8 * 8 ** rng.uniform(size=lamps), rng.uniform(size=lamps)  # 0.8 to 6.4 Hz
    lit = ((film[:, None] * rate + start) % 1 < 0.5) * strength[:, None]  # (T,lamps)
    return _as_pictures(pictures + 110 * np.einsum("tl,lhw->thw", lit, glow)[..., None])


def _dark(pictures: Array, film: Array, strength: Array, rng: np.random.Generator) -> Array:
    noise = rng.standard_normal(pictures.shape, np.float32)
    return _as_pictures(0.3 * pictures + (2 * 10**strength)[:, None, None, None] * noise)


def _as_pictures(values: Array) -> Array:
    result: Array = (np.clip(values, 0, 255) + 0.5).astype(np.uint8)
    return result


def _travelled(film: Array, least: float, most: float, strength: Array) -> Array:
    """Way (T,) after moving from `least` to `most` a second, as the strength says."""
    pace = least * (most / least) ** strength
    result: Array = np.concatenate([[0.0], np.cumsum(pace[:-1] * np.diff(film))])
    return result


def _to_and_fro(way: Array, most: float) -> Array:
    """The same pace between -most and most: the direction turns at both ends."""
    result: Array = most - np.abs((way % (4 * most)) - 2 * most)
    return result


DISTRACTORS: dict[str, Distractor] = {
    "depth": Distractor(stage=_depth),
    "crowd": Distractor(stage=_crowd),
    "shake": Distractor(camera=_shake),
    "pan": Distractor(camera=_pan),
    "zoom": Distractor(camera=_zoom),
    "lights": Distractor(light=_lights),
    "dark": Distractor(light=_dark),
    "cuts": Distractor(shots=True),
    "slow_motion": Distractor(slow=True),
}
STEADY = tuple(name for name, case in DISTRACTORS.items() if not case.slow)  # that leave normal speed normal
