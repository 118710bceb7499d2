"""Decoded frames made ready for an encoder without a detour over RGB: upright, with even sides, their colours as tagged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np

from ssvid.video.orientation import Orientation

TAGS = ("colorspace", "color_range", "color_primaries", "color_trc")
UNKNOWN = (2, 0, 2, 2)  # FFmpeg's "unspecified" of each
BT601, LIMITED, FULL = 6, 1, 2
BT601_MATRIX = "itu601"
BLACK = {LIMITED: 16, FULL: 0}  # luma
GREY = 128  # chroma without colour
SQUARE = Fraction(1)
CLOSE = 2  # pixels by which a picture may be stretched rather than given bars


@dataclass(frozen=True)
class FrameFormat:
    """What all frames of a result share: even height and width in pixels, colour tags, the shape of a pixel."""

    height: int
    width: int
    tags: tuple[int, ...]
    pixel: Fraction

    @classmethod
    def of(cls, frame: av.VideoFrame, stream: av.VideoStream, size: tuple[int, int] | None = None) -> FrameFormat:
        """The look of a result whose source begins with this frame: tags of the frame, else of the stream.

        size: (height, width) in pixels as shown, for a source whose pictures change size; None: this frame's.
        """
        picture = prepare(frame)
        context = stream.codec_context
        of_frame, of_stream = (tuple(getattr(owner, tag) for tag in TAGS) for owner in (picture, context))
        tags = tuple(b if a == c else a for a, b, c in zip(of_frame, of_stream, UNKNOWN, strict=True))
        if _rgb(frame):
            tags = (BT601, LIMITED, *UNKNOWN[2:])
        elif frame.format.name.startswith("yuvj"):
            tags = (tags[0], FULL, *tags[2:])
        pixel = stream.sample_aspect_ratio or SQUARE  # 0: unknown
        height, width = (side + side % 2 for side in size or (picture.height, picture.width))
        return cls(height, width, tags, 1 / pixel if Orientation.of(frame).lying else pixel)

    def put_on(self, context: av.VideoCodecContext) -> None:
        """Set up an encoder for it."""
        context.height, context.width, context.pix_fmt = self.height, self.width, "yuv420p"
        context.sample_aspect_ratio = self.pixel
        for tag, value in zip(TAGS, self.tags, strict=True):
            setattr(context, tag, value)

    def apply(self, frame: av.VideoFrame) -> av.VideoFrame:
        """A decoded frame as the encoder wants it; one of another size is scaled to fit, with black bars where its aspect differs."""
        picture = self._fitted(prepare(frame))
        for tag, value in zip(TAGS, self.tags, strict=True):
            setattr(picture, tag, value)
        picture.pict_type = 0  # the encoder chooses its own key frames
        return picture

    def _fitted(self, picture: av.VideoFrame) -> av.VideoFrame:
        if (picture.height, picture.width) == (self.height, self.width):
            return picture
        scale = min(self.height / picture.height, self.width / picture.width)
        height, width = (max(2, 2 * round(scale * side / 2)) for side in (picture.height, picture.width))
        if self.height - height <= CLOSE and self.width - width <= CLOSE:
            return _scaled(picture, self.height, self.width)
        planes = []
        for number, plane in enumerate(_scaled(picture, height, width).planes):
            share = 1 if number == 0 else 2  # chroma planes have half the sides
            canvas = np.full((self.height // share, self.width // share), GREY, np.uint8)
            if number == 0:
                canvas[:] = BLACK[FULL if self.tags[1] == FULL else LIMITED]
            top, left = (
                2 * ((whole - part) // 4) // share for whole, part in ((self.height, height), (self.width, width))
            )
            canvas[top : top + height // share, left : left + width // share] = _plane(plane)
            planes.append(canvas)
        return _packed(planes)


def prepare(frame: av.VideoFrame) -> av.VideoFrame:
    """The frame as yuv420p, upright, an odd side made even by repeating its last row or column."""
    picture, orientation = _converted(frame), Orientation.of(frame)
    if orientation == Orientation() and frame.height % 2 == 0 and frame.width % 2 == 0:
        return picture
    luma, *chroma = (orientation.apply(_plane(plane)) for plane in picture.planes)
    luma = np.pad(
        luma, ((0, luma.shape[0] % 2), (0, luma.shape[1] % 2)), mode="edge"
    )  # chroma planes are rounded up already
    return _packed([luma, *chroma])


def _converted(frame: av.VideoFrame) -> av.VideoFrame:
    if _rgb(frame):
        # the ranges are named because a frame tagged as full would stay full, while a result of RGB is tagged as limited
        return frame.reformat(
            format="yuv420p", dst_colorspace=BT601_MATRIX, src_color_range=FULL, dst_color_range=LIMITED
        )
    return _untouched_matrix(frame, format="yuv420p")


def _untouched_matrix(frame: av.VideoFrame, **wanted: Any) -> av.VideoFrame:
    """The frame in another format or size, its colours as they are: the scaler refuses matrices that it could not convert."""
    matrix, frame.colorspace = frame.colorspace, UNKNOWN[0]
    try:
        changed = frame.reformat(**wanted)
    finally:
        frame.colorspace = matrix
    changed.colorspace = matrix
    return changed


def _scaled(picture: av.VideoFrame, height: int, width: int) -> av.VideoFrame:
    return _untouched_matrix(picture, height=height, width=width)


def _plane(plane: av.video.plane.VideoPlane) -> np.ndarray:
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


def _packed(planes: Sequence[np.ndarray]) -> av.VideoFrame:
    """A yuv420p frame of its three planes."""
    together = np.concatenate([plane.ravel() for plane in planes])
    return av.VideoFrame.from_ndarray(together.reshape(-1, planes[0].shape[1]), format="yuv420p")


def _rgb(frame: av.VideoFrame) -> bool:
    return frame.format.is_rgb or frame.format.has_palette
