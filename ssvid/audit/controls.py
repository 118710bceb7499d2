"""Control videos: they hold no legitimate answer, only one cue that a trained task may have learnt to read.

Every control is a recipe for frames. The frames are drawn from a seed and written as a real video file, so that the codec acts on them as
on any other video. Where a cue has a direction, as a fade has, half of the videos run in each direction. Where a cue has a speed, the
speed is constant and log-uniform over many octaves. The same video backwards, or faster, is therefore as likely as the video itself, and
the speed of the cue says almost nothing about the rate at which a clip plays.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ssvid.audit import overlay_control
from ssvid.audit.overlay_control import draw_overlay, paste_overlay
from ssvid.audit.trends import border_growth, brightening, expansion
from ssvid.data.color import lab_to_rgb
from ssvid.data.loader import read_square
from ssvid.data.video_record import VideoRecord
from ssvid.errors import DataError
from ssvid.files import cache_folder
from ssvid.training.task import PretextTask
from ssvid.video.info import VideoInfo
from ssvid.video.shots import Shots
from ssvid.video.writer import write_video

# part of the cache key: after a change of a recipe the videos are made anew
RECIPES = zlib.crc32(Path(__file__).read_bytes() + Path(overlay_control.__file__).read_bytes())
MARGIN = 12  # frames more than the task needs, so that no clip begins at frame 0, which is a key frame
MOTION = 10.0  # grey levels a frame, noted in every record: a task with min_motion would refuse still videos

Array = np.ndarray
OVERLAY = "overlay"


@dataclass(frozen=True)
class ControlSpec:
    """What control videos must be to suit a task.

    frames: number of frames, played at `fps`. size: side in px. stills: videos of the data, whose middle frames are the still pictures.
    overlay: bool (h,w), where all of them have an overlay that changes, over the whole picture; None where they have none.
    """

    frames: int
    fps: float
    size: int
    stills: Sequence[VideoRecord] = ()
    overlay: Array | None = None


@dataclass(frozen=True)
class Control:
    """One kind of control videos.

    description: what its videos show.
    frames: recipe (rng, direction +1 or -1, still float (3,2S,2S) on 0..255, T, S) -> (T,S,S,3 or 1) on 0..255.
    sides: names of the two directions of the cue, +1 first; empty where it has none.
    octaves: range of the speed of the cue; 0 where it has none.
    trend: direction and strength of the cue in the grey frames (T,H,W) of any video, > 0 for the first side.
    general: whether every task gets the control; otherwise only tasks that declare it.
    encoding: arguments of `write_video`.
    """

    description: str
    frames: Callable[[np.random.Generator, int, Array, int, int], Array]
    sides: tuple[str, ...] = ()
    octaves: float = 0.0
    trend: Callable[[Array], float] | None = None
    general: bool = True
    encoding: Mapping[str, str | int] = field(default_factory=dict)


def pan(rng: np.random.Generator, direction: int, still: Array, T: int, S: int) -> Array:
    """A still picture under a straight pan and a steady zoom, one of them the stronger; direction +1 zooms in."""
    speed = _speed(rng, PAN_OCTAVES)
    zoom = speed * np.log(4) / T  # log growth a frame; the fastest zoom makes the picture four times as large
    reach = speed * S / 4 if rng.random() < 1 / 3 else rng.uniform(0, zoom * S / 2)  # px a frame
    turn, time = rng.uniform(0, 2 * np.pi), np.arange(T) - (T - 1) / 2
    width = 0.5 * np.exp(-direction * zoom * time)  # half the side of the visible part, in half sides of the still
    theta = np.zeros((T, 2, 3), np.float32)
    theta[:, 0, 0] = theta[:, 1, 1] = width
    theta[:, 0, 2], theta[:, 1, 2] = np.cos(turn) * reach * time / S, np.sin(turn) * reach * time / S
    grid = F.affine_grid(torch.from_numpy(theta), [T, 3, S, S], align_corners=False)
    picture = torch.from_numpy(still).expand(T, -1, -1, -1)
    return F.grid_sample(picture, grid, padding_mode="reflection", align_corners=False).permute(0, 2, 3, 1).numpy()


def fade(rng: np.random.Generator, direction: int, still: Array, T: int, S: int) -> Array:
    """Independent noise in every frame, under a mean brightness that rises (+1) or falls evenly."""
    depth = 180 * _speed(rng, FADE_OCTAVES)
    middle = 128 + rng.uniform(-0.5, 0.5) * (180 - depth)
    course = middle + direction * depth * np.linspace(-0.5, 0.5, T)
    return course[:, None, None, None] + rng.uniform(8, 20) * _noise(rng, T, S)


def bars(rng: np.random.Generator, direction: int, still: Array, T: int, S: int) -> Array:
    """Independent noise in every frame, between black bars that close (+1) or open evenly: at top and bottom, at the sides, or both."""
    width = 0.35 * _speed(rng, FADE_OCTAVES) * np.linspace(0, 1, T)[::direction]  # share of the side
    edge = (np.arange(S) + 0.5) / S
    open_ = np.clip(
        (np.minimum(edge, 1 - edge) - width[:, None]) * S + 0.5, 0, 1
    )  # (T,S); a bar may cover part of a pixel
    which = rng.integers(3)
    rows = open_ if which != 1 else np.ones_like(open_)
    columns = open_ if which != 0 else np.ones_like(open_)
    picture = rng.uniform(80, 170) + rng.uniform(15, 35) * _noise(rng, T, S)
    return picture * (rows[:, :, None] * columns[:, None, :])[..., None]


def noise(rng: np.random.Generator, direction: int, still: Array, T: int, S: int) -> Array:
    """Independent noise in every frame."""
    return rng.uniform(60, 190) + rng.uniform(15, 40) * _noise(rng, T, S)


def blocks(rng: np.random.Generator, direction: int, still: Array, T: int, S: int) -> Array:
    """Blocks of colour that stay in place, while the lightness of every pixel is drawn anew in every frame."""
    cells = int(rng.integers(3, 6))
    colour = rng.uniform(
        -40, 40, (2, cells, cells)
    )  # Lab's a and b; larger values leave the gamut at these lightnesses
    place = np.arange(S) * cells // S
    ab = np.broadcast_to(colour[:, None][:, :, place][..., place], (2, T, S, S))
    light = np.broadcast_to(60 + 4 * _noise(rng, T, S)[..., 0], (1, T, S, S))
    rgb = lab_to_rgb(torch.from_numpy(np.concatenate([light, ab])))
    return 255 * rgb.permute(1, 2, 3, 0).numpy()


def codec(rng: np.random.Generator, direction: int, still: Array, T: int, S: int) -> Array:
    """A still picture with new sensor noise in every frame, compressed hard: every order of the frames is equally likely."""
    picture = still[:, S // 2 : S // 2 + S, S // 2 : S // 2 + S].transpose(1, 2, 0)
    result: Array = picture + rng.uniform(3, 8) * rng.normal(size=(T, S, S, 3))
    return result


def overlay(rng: np.random.Generator, direction: int, still: Array, T: int, S: int) -> Array:
    """A still picture with new sensor noise in every frame, under a drawn clock or progress bar that runs forward (+1) or backward."""
    return draw_overlay(codec(rng, direction, still, T, S), rng, direction, _speed(rng, FADE_OCTAVES))


def blank(rng: np.random.Generator, direction: int, still: Array, T: int, S: int) -> Array:
    """One colour in all pixels of all frames."""
    return np.broadcast_to(rng.uniform(0, 255, 3), (T, S, S, 3))


PAN_OCTAVES, FADE_OCTAVES = 8.0, 6.0
CONTROLS: dict[str, Control] = {
    "pan": Control(
        "a still picture under a synthetic pan and zoom",
        pan,
        ("zooming in", "zooming out"),
        PAN_OCTAVES,
        expansion,
    ),
    "fade": Control(
        "independent noise under an even fade",
        fade,
        ("brightening", "darkening"),
        FADE_OCTAVES,
        brightening,
    ),
    "bars": Control(
        "independent noise between moving black bars",
        bars,
        ("closing", "opening"),
        FADE_OCTAVES,
        border_growth,
    ),
    OVERLAY: Control(
        "a still picture under a clock or progress bar, that of the held-out videos where they have one",
        overlay,
        ("running forward", "running backward"),
        FADE_OCTAVES,
    ),
    "noise": Control("frames of independent noise", noise),
    "codec": Control(
        "a still picture with new noise in every frame, compressed hard",
        codec,
        encoding={"crf": 34, "gop": 12, "bframes": 3},
    ),
    # lossless and without chroma subsampling: compression would leave faint blocks and borders that stay in place and can be matched
    "blank": Control("one colour in all pixels of all frames", blank, encoding={"crf": 0, "pix_fmt": "yuv444p"}),
    "blocks": Control(
        "blocks of colour that stay in place under independent noise in lightness", blocks, general=False
    ),
}


def control_spec(task: PretextTask, videos: Sequence[VideoRecord], overlay: Array | None = None) -> ControlSpec:
    """Rate, length and size of control videos that the task can use.

    videos: of the data; the controls play at their median rate, or faster where the task needs it, and take still pictures from them.
    overlay: where they all have one, as in `ControlSpec`.
    Raises DataError where no length up to 40 times the window of the task suits it.
    """
    fps = max(float(np.median([video.info.fps for video in videos])), task.fps or 0.0)
    least = int(np.ceil((task.test_window.length - 1) * fps / (task.fps or fps))) + 2
    reason = None
    for frames in np.unique(np.round(least * 1.25 ** np.arange(17)).astype(int)).tolist():
        reason = task.why_unusable(_record(0, "", ControlSpec(frames, fps, 16)))
        if reason is None:
            return ControlSpec(frames + MARGIN, fps, 2 * round(task.augment.decode_size / 2), videos, overlay)
    raise DataError(f"no control video can be made for {type(task).__name__}: {reason}")


def make_videos(
    name: str, spec: ControlSpec, count: int, advance: Callable[[], None] = lambda: None
) -> list[VideoRecord]:
    """`count` videos of a control, half of them in each direction, whose name is their label. Videos are kept in the cache folder.

    Every other pair shows a still picture from the data, the others a synthetic texture. advance: called after every video.
    """
    control = CONTROLS[name]
    records = []
    for number in range(count):
        side = number % len(control.sides) if control.sides else 0
        still = spec.stills[number // 2 % len(spec.stills)] if spec.stills and number // 2 % 2 else None
        origin = (still.path, still.info.identity, still.info.frames) if still else None
        key = json.dumps(
            [RECIPES, name, spec.frames, spec.fps, spec.size, number, origin, *_overlay_key(name, spec, number)]
        )
        path = cache_folder() / "controls" / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:20]}.mp4"
        if not path.exists():
            frames = _frames(name, spec, number, -1 if side else 1, still)
            write_frames(path, (frames + 0.5).clip(0, 255).astype(np.uint8), spec.fps, **control.encoding)
        records.append(_record(number, str(path), spec, control.sides[side] if control.sides else None))
        advance()
    return records


def _frames(name: str, spec: ControlSpec, number: int, direction: int, still: VideoRecord | None) -> Array:
    """The frames (T,S,S,3) of one video of a control."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), number])
    T, S = spec.frames, spec.size
    picture = _texture(rng, 2 * S) if still is None else _middle_frame(still, 2 * S)
    if name == OVERLAY and spec.overlay is not None:
        source = spec.stills[number // 2 % len(spec.stills)]
        return paste_overlay(codec(rng, direction, picture, T, S), direction, source, spec.overlay, spec.fps)
    return np.broadcast_to(CONTROLS[name].frames(rng, direction, picture, T, S), (T, S, S, 3))


def _overlay_key(name: str, spec: ControlSpec, number: int) -> list[str]:
    """What tells videos with an overlay of the data from others; nothing where none is shown."""
    if name != OVERLAY or spec.overlay is None:
        return []
    still = spec.stills[number // 2 % len(spec.stills)]
    return [hashlib.sha256(spec.overlay.tobytes()).hexdigest(), still.path, still.info.identity]


def write_frames(path: Path, frames: Array, fps: float, **encoding: str | int) -> None:
    """Write uint8 (T,H,W,C) as H.264, the same bytes on every machine with this encoder."""
    write_video(path, frames, fps, options={"preset": "veryfast", "threads": "1"}, **encoding)  # type: ignore[arg-type]


def _record(number: int, path: str, spec: ControlSpec, label: str | None = None) -> VideoRecord:
    """The record of a control video, made without a scan, which would find cuts, bars or no motion; tasks would refuse the video."""
    T, S = spec.frames, spec.size
    info = VideoInfo(
        path=path,
        frames=T,
        fps=spec.fps,
        duration=T / spec.fps,
        width=S,
        height=S,
        codec="h264",
        container="mov,mp4,m4a,3gp,3g2,mj2",
        rotation=0,
        audio=False,
        seek=False,  # read in order: right on every file, and as fast on one this short
        variable=False,
        times=np.arange(T) / spec.fps,
    )
    motion = np.full(T, MOTION, np.float32)
    motion[0] = 0
    return VideoRecord(number, info, Shots(motion, (), (0, 0, 0, 0), 0.0), label)


def _speed(rng: np.random.Generator, octaves: float) -> float:
    """Log-uniform on 2**-octaves .. 1."""
    return float(2.0 ** -rng.uniform(0, octaves))


def _noise(rng: np.random.Generator, T: int, S: int) -> Array:
    """Grey noise (T,S,S,1) of standard deviation 1, independent in every frame; the grains of a video measure 1, 2 or 4 px."""
    grain = int(rng.choice([1, 2, 4]))
    cells = -(-S // grain)
    return rng.normal(size=(T, cells, cells)).repeat(grain, 1).repeat(grain, 2)[:, :S, :S, None]


def _texture(rng: np.random.Generator, S: int) -> Array:
    """A random picture with the spectrum of photographs, detail at all scales: float32 (3,S,S) on 0..255."""
    waves = np.hypot(*np.meshgrid(np.fft.fftfreq(S), np.fft.fftfreq(S)))
    waves[0, 0] = np.inf
    fields = np.fft.ifft2(np.fft.fft2(rng.normal(size=(3, S, S))) / waves**1.3).real
    fields /= fields.std((1, 2), keepdims=True)
    mix = np.array([[1, 0.4, 0], [1, 0, 0], [1, 0, 0.4]])  # mostly lightness, some colour
    return np.clip(rng.uniform(100, 156) + 45 * np.tensordot(mix, fields, 1), 0, 255).astype(np.float32)


def _middle_frame(video: VideoRecord, S: int) -> Array:
    """The frame in the middle of a video: float32 (3,S,S) on 0..255."""
    frame = read_square(video, np.array([[video.info.frames // 2]]), S)[0, 0]
    result: Array = frame.transpose(2, 0, 1).astype(np.float32)
    return result
