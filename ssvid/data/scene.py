"""The appearance of the motion world: backgrounds, shapes, colours, and the drawing of one frame, independent of class and time.

Shapes are star-shaped: an outline r(angle) in a table, from which coverage (anti-aliased), surface pattern, shading and a soft shadow
are computed in the shape's own box only. Coordinates are free of the resolution, so a seed gives the same scene at any frame size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LIGHTER = 0.63  # share of objects lighter than the background
TILE = 2  # the background repeats after this many frame sides
TABLE = 720  # entries of an outline
WAVES = 32  # the finest background noise has this many waves per tile
BACKGROUNDS = ("gradient", "cloud", "marble", "stripes", "checks", "dots")
PATTERNS = ("plain", "stripes", "checks", "dots", "halves", "rings", "pinwheel")
OUTLINES = ("ellipse", "box", "triangle", "square", "pentagon", "star", "flower", "cross", "gear")

Array = np.ndarray


@dataclass(frozen=True)
class ObjectStyle:
    """What one object looks like: outline (TABLE,) with mean square 1, its slope factor (TABLE,) (cosine of the angle between the
    outline's normal and the ray), surface pattern with its frequency, and two colours (2,3) RGB 0..255.
    """

    outline: Array
    slope: Array
    pattern: str
    waves: float
    colours: Array


@dataclass(frozen=True)
class Scene:
    """Background tile (S,S,3) float32 0..255 that repeats, its drift (2,) in frame sides per second, and the looks of all objects."""

    tile: Array
    drift: Array
    looks: tuple[ObjectStyle, ...]
    order: Array


def oklch(lightness: Array | float, chroma: Array | float, hue: Array | float) -> Array:
    """sRGB 0..255 of OKLCH colours (lightness 0..1, chroma about 0..0.3, hue in radians), clipped to the gamut (B. Ottosson, 2020)."""
    L, a, b = np.broadcast_arrays(lightness, chroma * np.cos(hue), chroma * np.sin(hue))
    l_ = (L + 0.3963377774 * a + 0.2158037573 * b) ** 3
    m_ = (L - 0.1055613458 * a - 0.0638541728 * b) ** 3
    s_ = (L - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = np.stack(
        [
            4.0767416621 * l_ - 3.3077115913 * m_ + 0.2309699292 * s_,
            -1.2684380046 * l_ + 2.6097574011 * m_ - 0.3413193965 * s_,
            -0.0041960863 * l_ - 0.7034186147 * m_ + 1.7076147010 * s_,
        ],
        axis=-1,
    ).clip(0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (255 * curved).astype(np.float32)


def make_scene(rng: np.random.Generator, size: int, bodies: int, pebbles: int) -> Scene:
    """A random background and random looks of `bodies` patterned shapes and `pebbles` small discs, for frames of `size` pixels."""
    base = rng.uniform(0.42, 0.78)
    hue = rng.uniform(0, 2 * np.pi)
    tile = _background(rng, TILE * size, base, hue)
    accent = hue + rng.choice([1.0, -1.0]) * rng.uniform(0.6 * np.pi, 1.1 * np.pi)
    looks = [_object_style(rng, base, accent + rng.normal(0, 0.5), False) for _ in range(bodies)]
    stone = accent + rng.normal(0, 0.8)
    looks += [_object_style(rng, base, stone + rng.normal(0, 0.25), True) for _ in range(pebbles)]
    turn, speed = rng.uniform(0, 2 * np.pi), 0.01 * 8 ** rng.uniform()
    drift = speed * np.array([np.cos(turn), np.sin(turn)])
    return Scene(tile, drift, tuple(looks), rng.permutation(bodies + pebbles))


def _noise(rng: np.random.Generator, side: int, softness: float) -> Array:
    """Periodic smooth noise (side,side), mean 0, deviation 1; the same waves whatever the side."""
    k = np.fft.fftfreq(2 * WAVES, 1 / (2 * WAVES)).astype(int)
    waves = rng.normal(size=(2 * WAVES, 2 * WAVES)) + 1j * rng.normal(size=(2 * WAVES, 2 * WAVES))
    waves *= (1 + np.hypot(*np.meshgrid(k, k)) ** 2 / 9) ** (-softness / 2)
    waves[0, 0] = 0
    kept = np.flatnonzero(np.abs(k) < min(WAVES, side // 2))
    spectrum = np.zeros((side, side), complex)
    spectrum[np.ix_(k[kept], k[kept])] = waves[np.ix_(kept, kept)]
    field = np.fft.ifft2(spectrum).real
    result: Array = field / field.std()
    return result


def _background(rng: np.random.Generator, side: int, base: float, hue: float) -> Array:
    kind = str(rng.choice(BACKGROUNDS))
    y, x = np.meshgrid(*[(np.arange(side) + 0.5) * 2 * np.pi / side] * 2, indexing="ij")
    soft = _noise(rng, side, 4.0)
    p, q = (int(v) for v in rng.permutation([int(rng.integers(3, 8)), int(rng.integers(-6, 7))]))
    cells, lean = int(rng.integers(5, 10)), int(rng.integers(0, 4))
    edge = 6.0
    if kind == "gradient":
        field = np.sin(x * np.sign(q or 1) + 1.0 + 0.5 * soft) + np.sin(y + 0.4 * soft)
    elif kind == "cloud":
        field = 0.9 * _noise(rng, side, 2.6)
    elif kind == "marble":
        field = np.sin(p * x + q * y + 1.3 * soft) * 1.2
    elif kind == "stripes":
        field = np.tanh(edge * np.sin(p * x + q * y) / 2)
    elif kind == "checks":
        field = np.tanh(edge * np.sin(cells * x + lean * y) * np.sin(cells * y - lean * x))
    else:
        field = np.tanh(edge * (np.cos(cells * x + lean * y) + np.cos(cells * y - lean * x) - 0.9) / 2)
    mix = 1 / (1 + np.exp(-1.4 * field))
    contrast, chroma = rng.uniform(0.04, 0.1), rng.uniform(0.03, 0.09) * base / 0.65
    shade = base + contrast * (mix - 0.5) * 2 + 0.02 * soft
    # from its own generator: what is drawn after it must not depend on the size
    grain = 0.008 * np.random.default_rng(rng.integers(2**63)).normal(size=(side, side))
    return oklch(shade + grain, chroma, hue + 0.9 * (mix - 0.5) + 0.15 * soft)


def _object_style(rng: np.random.Generator, base: float, hue: float, pebble: bool) -> ObjectStyle:
    outline = np.ones(TABLE) if pebble else _outline(str(rng.choice(OUTLINES)))
    slope = 1 / np.sqrt(1 + (np.gradient(np.pad(outline, 1, mode="wrap"))[1:-1] * TABLE / (2 * np.pi) / outline) ** 2)
    pattern = "plain" if pebble else str(rng.choice(PATTERNS))
    # lighter or darker than the background; as shadows darken, the lighter ones are more, so that on average nothing shows
    sign = 1.0 if rng.random() < LIGHTER else -1.0
    lightness = np.clip(base + sign * rng.uniform(0.22, 0.36), 0.28, 0.95)
    second = np.clip(lightness + rng.choice([-1.0, 1.0]) * rng.uniform(0.14, 0.22), 0.28, 0.97)
    chroma = rng.uniform(0.08, 0.15, 2)
    colours = oklch(np.array([lightness, second]), chroma, hue + np.array([0.0, rng.normal(0, 0.5)]))
    return ObjectStyle(outline.astype(np.float32), slope.astype(np.float32), pattern, rng.uniform(4.0, 6.5), colours)


def _outline(kind: str) -> Array:
    """r(angle) (TABLE,) of a shape with its centroid at 0, corners rounded, scaled to the area of the unit disc."""
    angle = (np.arange(TABLE) + 0.5) * 2 * np.pi / TABLE
    c, s = np.abs(np.cos(angle)), np.abs(np.sin(angle))
    if kind == "ellipse":
        r = 1 / np.hypot(c / 1.35, s / 0.75)
    elif kind == "box":
        r = np.minimum(1.3 / c, 0.7 / s)
    elif kind == "cross":
        r = np.maximum(np.minimum(1 / c, 0.36 / s), np.minimum(0.36 / c, 1 / s))
    elif kind == "flower":
        r = 1 + 0.2 * np.cos(6 * angle)
    elif kind == "gear":
        r = 1 + 0.11 * np.tanh(3 * np.sin(8 * angle))
    elif kind == "star":
        r = 1 / (0.72 + 0.55 * np.abs((angle * 5 / (2 * np.pi)) % 1 - 0.5) * 2)
    else:
        sides = {"triangle": 3, "square": 4, "pentagon": 5}[kind]
        r = 1 / np.cos(angle % (2 * np.pi / sides) - np.pi / sides)
    bell = np.exp(-0.5 * (np.fft.fftfreq(TABLE, 1 / TABLE) / 26) ** 2)  # corners rounded over about 2 degrees
    r = np.fft.ifft(np.fft.fft(r) * bell).real
    result: Array = r / np.sqrt(np.mean(r**2))
    return result


def background_at(scene: Scene, size: int, time: float) -> Array:
    """The background (size,size,3) float32 after `time` seconds of drift, with sub-pixel accuracy."""
    side = scene.tile.shape[0]
    dx, dy = scene.drift * time * size
    x0, y0 = int(np.floor(dx)), int(np.floor(dy))
    fx, fy = np.float32(dx - x0), np.float32(dy - y0)
    rows, columns = (np.arange(size + 1) + y0) % side, (np.arange(size + 1) + x0) % side
    part = scene.tile[rows[:, None], columns]
    part = part[:-1] + fy * (part[1:] - part[:-1])
    result: Array = part[:, :-1] + fx * (part[:, 1:] - part[:, :-1])
    return result


@dataclass(frozen=True)
class Sprite:
    """One object drawn in its box: top-left pixel, coverage (h,w), colour (h,w,3), and the strength of its shadow (h,w)."""

    left: int
    top: int
    cover: Array
    colour: Array
    shadow: Array


def draw_sprite(look: ObjectStyle, x: float, y: float, radius: float, angle: float, size: int) -> Sprite:
    """Rasterise one object; x, y, radius in pixels (the centre of the first pixel is 0), angle in radians, for frames of `size` px."""
    blur = 0.035 * size + 0.5
    reach = radius * float(look.outline.max()) + blur + 1
    left, top = int(np.floor(x - reach)), int(np.floor(y - reach))
    dx = np.arange(left, int(np.ceil(x + reach)) + 1, dtype=np.float32)[None] - np.float32(x)
    dy = np.arange(top, int(np.ceil(y + reach)) + 1, dtype=np.float32)[:, None] - np.float32(y)
    distance = np.sqrt(dx * dx + dy * dy)
    turn = np.arctan2(dy, dx) - np.float32(angle)
    entry = (turn * np.float32(TABLE / (2 * np.pi))).astype(np.int32) % TABLE
    outside = (distance - np.float32(radius) * look.outline[entry]) * look.slope[entry]  # signed pixels from the edge
    cover = np.clip(0.5 - outside, 0, 1)
    shadow = 0.3 * np.clip(0.5 - outside / (2 * blur), 0, 1) ** 2

    mix = _surface(look, distance / np.float32(radius), turn, radius)
    light = (
        1.04
        - np.float32(0.16 / radius) * (dx + dy)
        - 0.22 * np.clip(1 + outside / (0.35 * np.float32(radius)), 0, 1) ** 2
    )
    colour = (look.colours[0] + mix[..., None] * (look.colours[1] - look.colours[0])) * light[..., None]
    return Sprite(left, top, cover, np.clip(colour, 0, 255), shadow)


def _surface(look: ObjectStyle, rho: Array, turn: Array, radius: float) -> Array:
    """Share of the second colour (h,w) 0..1 at polar places of the shape's own frame; edges about one pixel soft."""
    if look.pattern == "plain":
        return np.clip(0.25 * rho, 0, 1)
    u, v, k = rho * np.cos(turn), rho * np.sin(turn), np.float32(look.waves)
    if look.pattern == "stripes":
        wave = np.sin(k * u)
    elif look.pattern == "checks":
        wave = np.sin(k * u) * np.sin(k * v) * 1.5
    elif look.pattern == "dots":
        wave = np.cos(k * 1.2 * u) + np.cos(k * 1.2 * v) - 0.7
    elif look.pattern == "halves":
        wave = k * v
    elif look.pattern == "rings":
        wave = np.sin(k * rho)
    else:
        wave = np.sin(4 * turn) * rho * k / 2
    result: Array = np.clip(0.5 + wave * np.float32(max(radius / look.waves, 0.7)), 0, 1)
    return result


def paint(canvas: Array, mask: Array, sprite: Sprite, opacity: float, number: int) -> None:
    """Put a sprite and its shadow on canvas (H,W,3) float32 and its number into mask (H,W) where it covers at least half, in place."""
    size = canvas.shape[0]
    cast = max(1, round(0.018 * size))
    for shift, is_shadow in ((cast, True), (0, False)):
        y0, x0 = sprite.top + shift, sprite.left + shift
        h, w = sprite.cover.shape
        inside = (slice(max(0, -y0), max(0, min(h, size - y0))), slice(max(0, -x0), max(0, min(w, size - x0))))
        if inside[0].start >= inside[0].stop or inside[1].start >= inside[1].stop:
            continue
        place = (slice(y0 + inside[0].start, y0 + inside[0].stop), slice(x0 + inside[1].start, x0 + inside[1].stop))
        if is_shadow:
            canvas[place] *= 1 - np.float32(opacity) * sprite.shadow[inside][..., None]
        else:
            cover = np.float32(opacity) * sprite.cover[inside]
            canvas[place] += cover[..., None] * (sprite.colour[inside] - canvas[place])
            mask[place][cover >= 0.5] = number
