"""How objects of the motion world move: the classes of motion as functions of world time.

Nothing here knows pixels. Lengths are in frame sides (the frame is 1 x 1, x to the right, y down), times in seconds of the world clock,
angles in radians, clockwise as seen on the screen. Every class has a natural pace (one gravity for the whole world, a narrow spread of
speeds), so that its motion shows whether a video is played too fast or backwards.

The stage (places and sizes of all objects) is drawn without looking at the class; a class only decides which objects move and how.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

GRAVITY = 4.0  # frame sides / s^2
COMPACT, SPREAD = 0.115, 0.34  # radius of the heap of pebbles, packed and strewn
BODIES, PEBBLES = 3, 9
SPEEDS = (0.5, 2.5)  # slowest and fastest world clock of a video whose speed varies

Array = np.ndarray


@dataclass
class Poses:
    """Poses of every object over time: the first BODIES objects are large bodies, the others pebbles.

    Shapes: xy (T,N,2) frame sides, angle (T,N) radians, radius (T,N) frame sides, opacity (T,N) 0..1.
    """

    xy: Array
    angle: Array
    radius: Array
    opacity: Array

    def present(self) -> list[int]:
        """Bodies that are on stage at the first frame."""
        return [i for i in range(BODIES) if self.opacity[0, i] > 0]


Motion = Callable[[Poses, Array, np.random.Generator], Array]


def set_stage(rng: np.random.Generator) -> Poses:
    """All objects at rest, T=1: two or three bodies apart from each other, and a heap of pebbles somewhere between packed and strewn."""
    heap = rng.uniform(0.36, 0.64, 2)
    taken = [heap]
    for _ in range(BODIES):
        candidates = rng.uniform(0.14, 0.86, (4, 2))
        room = np.min(np.linalg.norm(candidates[:, None] - np.array(taken)[None], axis=-1), axis=1)
        taken.append(candidates[np.argmax(room)])
    # a sunflower head fills a disc evenly with any number of pebbles
    turn = np.arange(PEBBLES) * np.pi * (3 - np.sqrt(5)) + rng.uniform(0, 2 * np.pi)
    disc = np.sqrt((np.arange(PEBBLES) + 0.5) / PEBBLES)[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    disc += rng.normal(0, 0.07, disc.shape)
    disc -= disc.mean(axis=0)
    disc /= np.linalg.norm(disc, axis=-1).max()
    # packed about as often as a heap is before it is scattered or diffuses, else strewn as it is while it diffuses
    spread = COMPACT + (SPREAD - COMPACT) * np.sqrt(rng.uniform()) * (rng.random() < 0.6)
    xy = np.concatenate([np.array(taken[1:]), heap + spread * disc])
    radius = np.concatenate([_log_uniform(rng, 0.075, 0.155, BODIES), _log_uniform(rng, 0.028, 0.045, PEBBLES)])
    opacity = np.ones(BODIES + PEBBLES)
    opacity[BODIES - 1] = float(rng.random() < 0.5)
    angle = rng.uniform(0, 2 * np.pi, BODIES + PEBBLES)
    return Poses(xy[None], angle[None], radius[None], opacity[None])


def world_clock(rng: np.random.Generator, frames: int, fps: float, varying: bool) -> tuple[Array, Array]:
    """Speed (T,) of the world at every frame, and world time (T,) in seconds: time[0] = 0, time[k+1] - time[k] = speed[k] / fps.

    A varying speed holds a value for 0.5 to 1.2 s of film, then passes within 0.3 s to another that is 1.5 times
    faster or slower at least; values are log-uniform in SPEEDS.
    """
    speed = np.ones(frames)
    if varying:
        film = np.arange(frames) / fps
        low, span = np.log(SPEEDS[0]), np.log(SPEEDS[1] / SPEEDS[0])
        place = rng.uniform()
        log_speed = np.full(frames, low + span * place)
        change = rng.uniform(0.2, 0.8)
        while change < film[-1]:
            place = (place + rng.uniform(0.25, 0.75)) % 1  # never a change too small to be seen
            ramp = np.clip((film - change) / 0.3, 0, 1)
            log_speed += (low + span * place - log_speed) * ramp**2 * (3 - 2 * ramp)
            change += 0.3 + rng.uniform(0.5, 1.2)
        speed = np.exp(log_speed)
    return speed, np.concatenate([[0.0], np.cumsum(speed[:-1]) / fps])


def move(label: str, stage: Poses, time: Array, rng: np.random.Generator) -> tuple[Poses, Array]:
    """Play class `label` on `stage` at world times `time` (T,): the poses of all objects, and the phase (T,) 0..1 of the action.

    An action with an end (grow, shrink, bounce, collide_scatter, diffuse) has its own length L in world seconds and
    phase = clip((start + time) / L): a short video shows a part of it, a long one has rest before or after. The other classes go on for
    as long as the video does and phase = time / time[-1].
    """
    T = len(time)
    poses = Poses(*(np.repeat(a, T, axis=0) for a in (stage.xy, stage.angle, stage.radius, stage.opacity)))
    return poses, MOTIONS[label](poses, time, rng)


def _log_uniform(rng: np.random.Generator, low: float, high: float, number: int = 1) -> Array:
    return np.exp(rng.uniform(np.log(low), np.log(high), number))


def _near(rng: np.random.Generator, value: float, spread: float = 0.1) -> float:
    """The pace of nature: `value` up to a factor of about 1 +- spread."""
    return float(value * np.exp(rng.uniform(-spread, spread)))


def _heading(rng: np.random.Generator) -> Array:
    turn = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(turn), np.sin(turn)])


def _sign(rng: np.random.Generator) -> float:
    return float(rng.choice([-1.0, 1.0]))


def _actors(poses: Poses, rng: np.random.Generator) -> list[int]:
    """One or two of the bodies on stage."""
    return [int(i) for i in rng.permutation(poses.present())[: rng.integers(1, 3)]]


def _throughout(time: Array) -> Array:
    result: Array = time / max(time[-1], 1e-9)
    return result


def _part_of(length: float, time: Array, rng: np.random.Generator) -> Array:
    """Action time (T,) of a video that shows a random part of an action `length` seconds long, or rest around all of it."""
    slack = length - time[-1]
    result: Array = time + rng.uniform(min(slack, 0.0), max(slack, 0.0))
    return result


def _heap(poses: Poses) -> tuple[Array, Array]:
    """Middle (2,) of the pebbles, and their places (PEBBLES,2) in it, the outermost at distance 1."""
    pebbles = poses.xy[0, BODIES:]
    middle = pebbles.mean(axis=0)
    return middle, (pebbles - middle) / np.linalg.norm(pebbles - middle, axis=-1).max()


def _translate(poses: Poses, time: Array, rng: np.random.Generator) -> Array:
    margin = 0.25  # who leaves the frame comes back on the other side, unseen
    for i in _actors(poses, rng):
        # through the inner part of the frame at half-time, and along a diagonal rather than out of the frame at once
        middle = 0.5 + 0.6 * (poses.xy[0, i] - 0.5)
        pace = _near(rng, 0.38)
        heading = min((_heading(rng) for _ in range(3)), key=lambda h: np.abs(h).max())
        way = pace * (time - time[-1] / 2)[:, None] * heading
        poses.xy[:, i] = np.mod(middle + way + margin, 1 + 2 * margin) - margin
    return _throughout(time)


def _rotate(clockwise: float) -> Motion:
    def rotate(poses: Poses, time: Array, rng: np.random.Generator) -> Array:
        for i in _actors(poses, rng):
            poses.angle[:, i] += clockwise * 2 * np.pi * _near(rng, 0.45) * time
        return _throughout(time)

    return rotate


def _resize(direction: float) -> Motion:
    def resize(poses: Poses, time: Array, rng: np.random.Generator) -> Array:
        length, rate = 3.0, _near(rng, 0.32)
        phase = np.clip(_part_of(length, time, rng) / length, 0, 1)
        for i in _actors(poses, rng):
            # the size at half the way is the size at rest, which is drawn alike for all classes
            poses.radius[:, i] *= np.exp(direction * rate * length * (phase - 0.5))
        return phase

    return resize


def _bounce(poses: Poses, time: Array, rng: np.random.Generator) -> Array:
    """Let go from a height; every contact with the (unseen) floor keeps the share `kept` of the speed."""
    flights = 7
    height, kept = _near(rng, 0.42), _near(rng, 0.78, 0.04)
    launch = np.sqrt(2 * GRAVITY * height) * kept ** np.arange(flights)
    start = np.concatenate([[0.0], np.cumsum(2 * launch / GRAVITY)])
    fall = launch[0] / GRAVITY  # the first flight begins at its top
    length = float(start[-1] - fall)
    action = np.clip(_part_of(length, time, rng), 0, length)
    flight = np.clip(np.searchsorted(start, action + fall, side="right") - 1, 0, flights - 1)
    into = action + fall - start[flight]
    above = np.maximum(launch[flight] * into - GRAVITY * into**2 / 2, 0)
    for i in _actors(poses, rng):
        floor = np.clip(poses.xy[0, i, 1] + 0.2, 0.55, 0.95 - poses.radius[0, i])
        poses.xy[:, i, 0] += _sign(rng) * _near(rng, 0.07) * (action - length / 2)
        poses.xy[:, i, 1] = floor - above
    result: Array = action / length
    return result


def _pendulum(poses: Poses, time: Array, rng: np.random.Generator) -> Array:
    for i in _actors(poses, rng):
        rod, reach = _near(rng, 0.28), _near(rng, 0.8)
        swing = reach * np.cos(np.sqrt(GRAVITY / rod) * time + rng.uniform(0, 2 * np.pi))
        poses.xy[:, i] += rod * np.stack([np.sin(swing), np.cos(swing) - np.cos(reach / np.sqrt(2))], axis=-1)
        poses.angle[:, i] -= swing
    return _throughout(time)


def _orbit(poses: Poses, time: Array, rng: np.random.Generator) -> Array:
    for i in _actors(poses, rng):
        turn = _sign(rng) * 2 * np.pi * time / _near(rng, 1.6) + rng.uniform(0, 2 * np.pi)
        middle = np.clip(poses.xy[0, i], 0.3, 0.7)
        poses.xy[:, i] = middle + _near(rng, 0.2) * np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    return _throughout(time)


def _collide_scatter(poses: Poses, time: Array, rng: np.random.Generator) -> Array:
    """A body falls upon the packed heap of pebbles, which fly apart and are slowed down by friction."""
    friction, pull = 0.33, _near(rng, 1.5)  # s, frame sides / s^2
    hitter = int(rng.choice(poses.present()))
    middle, places = _heap(poses)
    pebbles = middle + COMPACT * places
    way = middle - poses.xy[0, hitter]
    run = float(max(np.linalg.norm(way) - COMPACT - poses.radius[0, hitter], 0.05))
    heading = way / np.linalg.norm(way)
    impact = float(np.sqrt(2 * run / pull))
    length = impact + 1.5
    action = np.clip(_part_of(length, time, rng), 0, length)

    speed = pull * impact
    before = pull * np.minimum(action, impact) ** 2 / 2
    glide = friction * (1 - np.exp(-np.maximum(action - impact, 0) / friction))
    poses.xy[:, hitter] = poses.xy[0, hitter] + (before + 0.35 * speed * glide)[:, None] * heading
    poses.angle[:, hitter] += _sign(rng) * 2.5 * glide
    for i, (home, place) in enumerate(zip(pebbles, places, strict=True), start=BODIES):
        late = 0.05 * (1 + place @ heading)  # the blow runs through the heap
        glide = friction * (1 - np.exp(-np.maximum(action - impact - late, 0) / friction))
        blow = min(speed, 1.1) * (0.5 * heading + 0.85 * place + rng.normal(0, 0.12, 2))
        poses.xy[:, i] = home + glide[:, None] * blow
    result: Array = action / length
    return result


def _diffuse(poses: Poses, time: Array, rng: np.random.Generator) -> Array:
    """The packed heap of pebbles spreads with the square root of time, every pebble trembling on its own."""
    length = _near(rng, 2.8)
    phase = np.clip(_part_of(length, time, rng) / length, 0, 1)
    middle, places = _heap(poses)
    spread = COMPACT + (SPREAD - COMPACT) * np.sqrt(phase)
    rate = 2 * np.pi * rng.uniform(0.5, 1.4, (2, PEBBLES, 2))
    start = rng.uniform(0, 2 * np.pi, (2, PEBBLES, 2))
    tremble = 0.012 * np.sin(rate * time[:, None, None, None] + start).sum(axis=1)
    poses.xy[:, BODIES:] = middle + spread[:, None, None] * places + tremble
    return phase


def _accelerate_brake(poses: Poses, time: Array, rng: np.random.Generator) -> Array:
    """Stroke after stroke: a kick of 0.1 s, then friction takes the speed away; the body stays around its place."""
    kick, friction = 0.1, 0.25
    for i in _actors(poses, rng):
        period = _near(rng, 1.2)
        clock = time / period + rng.uniform()
        stroke, into = clock.astype(int), (clock % 1) * period
        coast = kick / 2 + friction * (1 - np.exp(-np.maximum(into - kick, 0) / friction))
        whole = kick / 2 + friction * (1 - np.exp(-(period - kick) / friction))
        done = np.where(into < kick, into**2 / (2 * kick), coast) / whole
        stops = [poses.xy[0, i] + rng.uniform(0.1, 0.2) * _heading(rng)]
        for _ in range(stroke[-1] + 1):
            ends = [stops[-1] + _near(rng, 0.34) * _heading(rng) for _ in range(12)]
            stops.append(min(ends, key=lambda end: abs(np.linalg.norm(end - poses.xy[0, i]) - 0.17)))
        places = np.array(stops)
        poses.xy[:, i] = places[stroke] + done[:, None] * (places[stroke + 1] - places[stroke])
    return _throughout(time)


def _blink(poses: Poses, time: Array, rng: np.random.Generator) -> Array:
    # all three bodies are on stage, one of them half of the time: a single frame shows two or three, as it does for the other classes
    poses.opacity[:] = 1
    period, duty = _near(rng, 0.5), rng.uniform(0.4, 0.6)
    off_middle = np.abs((time / period + rng.uniform()) % 1 - 0.5)
    poses.opacity[:, rng.integers(BODIES)] = np.clip((duty / 2 - off_middle) * period / 0.04 + 0.5, 0, 1)
    return _throughout(time)


def _meet_part(poses: Poses, time: Array, rng: np.random.Generator) -> Array:
    first, second = (int(i) for i in rng.permutation(poses.present())[:2])
    a, b = poses.xy[0, first], poses.xy[0, second]
    middle, heading = (a + b) / 2, (b - a) / np.linalg.norm(b - a)
    touch = poses.radius[0, first] + poses.radius[0, second]
    apart = _near(rng, 0.34) * (1 + np.cos(2 * np.pi * (time / _near(rng, 1.6) + rng.uniform()))) / 2
    way = ((touch + apart) / 2)[:, None] * heading
    poses.xy[:, first], poses.xy[:, second] = middle - way, middle + way
    return _throughout(time)


MOTIONS: dict[str, Motion] = {
    "translate": _translate,
    "rotate_left": _rotate(-1.0),
    "rotate_right": _rotate(1.0),
    "grow": _resize(1.0),
    "shrink": _resize(-1.0),
    "bounce": _bounce,
    "pendulum": _pendulum,
    "orbit": _orbit,
    "collide_scatter": _collide_scatter,
    "diffuse": _diffuse,
    "accelerate_brake": _accelerate_brake,
    "blink": _blink,
    "meet_part": _meet_part,
}
CLASSES: tuple[str, ...] = tuple(MOTIONS)
IRREVERSIBLE: frozenset[str] = frozenset({"bounce", "collide_scatter", "diffuse", "accelerate_brake"})
# one of a pair, played backward, is the other: nothing but the order of frames tells which it is
ORDER_PAIRS: tuple[tuple[str, str], ...] = (("rotate_left", "rotate_right"), ("grow", "shrink"))
