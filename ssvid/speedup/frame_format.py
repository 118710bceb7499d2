"""Decoded frames made ready for an encoder without a detour over RGB: upright, with even sides, their colours as tagged."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from ssvid.video.orientation import Orientation

TAGS = ("colorspace", "color_range", "color_primaries", "color_trc")
UNKNOWN = (2, 0, 2, 2)  # FFmpeg's "unspecified" of each
BT601, LIMITED, FULL = 6, 1, 2
BT601_MATRIX = "itu601"
SQUARE = Fraction(1)


@dataclass(frozen=True)
class FrameFormat:
    """What all frames of a result share: even height and width in pixels, colour tags, the shape of a pixel."""

    height: int
    width: int
    tags: tuple[int, ...]
    pixel: Fraction

    @classmethod
    def of(cls, frame: av.VideoFrame, stream: av.VideoStream) -> FrameFormat:
        """The look of a result whose source begins with this frame: tags of the frame, else of the stream."""
        picture = prepare(frame)
        context = stream.codec_context
        of_frame, of_stream = (tuple(getattr(owner, tag) for tag in TAGS) for owner in (picture, context))
        tags = tuple(b if a == c else a for a, b, c in zip(of_frame, of_stream, UNKNOWN, strict=True))
        if _rgb(frame):
            tags = (BT601, LIMITED, *UNKNOWN[2:])
        elif frame.format.name.startswith("yuvj"):
            tags = (tags[0], FULL, *tags[2:])
        pixel = stream.sample_aspect_ratio or SQUARE  # 0: unknown
        return cls(picture.height, picture.width, tags, 1 / pixel if Orientation.of(frame).lying else pixel)

    def put_on(self, context: av.VideoCodecContext) -> None:
        """Set up an encoder for it."""
        context.height, context.width, context.pix_fmt = self.height, self.width, "yuv420p"
        context.sample_aspect_ratio = self.pixel
        for tag, value in zip(TAGS, self.tags, strict=True):
            setattr(context, tag, value)

    def apply(self, frame: av.VideoFrame) -> av.VideoFrame:
        """A decoded frame as the encoder wants it; a size that changes on the way is brought back to the first one."""
        picture = prepare(frame)
        if (picture.height, picture.width) != (self.height, self.width):
            picture = picture.reformat(width=self.width, height=self.height)
        for tag, value in zip(TAGS, self.tags, strict=True):
            setattr(picture, tag, value)
        picture.pict_type = 0  # the encoder chooses its own key frames
        return picture


def prepare(frame: av.VideoFrame) -> av.VideoFrame:
    """The frame as yuv420p, upright, an odd side made even by repeating its last row or column."""
    picture = frame.reformat(format="yuv420p", dst_colorspace=BT601_MATRIX if _rgb(frame) else None)
    orientation = Orientation.of(frame)
    if orientation == Orientation() and frame.height % 2 == 0 and frame.width % 2 == 0:
        return picture
    luma, *chroma = (orientation.apply(_plane(plane)) for plane in picture.planes)
    luma = np.pad(
        luma, ((0, luma.shape[0] % 2), (0, luma.shape[1] % 2)), mode="edge"
    )  # chroma planes are rounded up already
    packed = np.concatenate([plane.ravel() for plane in (luma, *chroma)])
    return av.VideoFrame.from_ndarray(packed.reshape(-1, luma.shape[1]), format="yuv420p")


def _plane(plane: av.video.plane.VideoPlane) -> np.ndarray:
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


def _rgb(frame: av.VideoFrame) -> bool:
    return frame.format.is_rgb or frame.format.has_palette
