"""All eight ways of turning a picture are shown as the display matrix says, at random or in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ssvid.video.guard import Guard
from ssvid.video.orientation import Orientation
from ssvid.video.reader import Video
from ssvid.video.scan import scan
from ssvid.video.transcode import transcode
from ssvid.video.writer import write_video
from tests.videos import HEIGHT, WIDTH, numbers

# x' = a x + c y, y' = b x + d y, with y downwards, and how numpy does it
MATRICES = {
    (1, 0, 0, 1): lambda shown: shown,
    (-1, 0, 0, 1): lambda shown: shown[:, ::-1],
    (1, 0, 0, -1): lambda shown: shown[::-1],
    (-1, 0, 0, -1): lambda shown: shown[::-1, ::-1],
    (0, 1, 1, 0): lambda shown: shown.swapaxes(0, 1),
    (0, 1, -1, 0): lambda shown: shown.swapaxes(0, 1)[:, ::-1],
    (0, -1, 1, 0): lambda shown: shown.swapaxes(0, 1)[::-1],
    (0, -1, -1, 0): lambda shown: shown.swapaxes(0, 1)[::-1, ::-1],
}


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    with Guard() as guard:
        yield guard


def with_matrix(path: Path, a: float, b: float, c: float, d: float) -> Path:
    """Write a matrix into the track header of an mp4."""
    data = path.read_bytes()
    start = data.index(b"tkhd") + 4 + 40  # behind version, times, number, duration, layer, volume
    values = (a, b, 0, c, d, 0, 0, 0, 1 << 14)
    matrix = b"".join(round(value * 65536).to_bytes(4, "big", signed=True) for value in values)
    path.write_bytes(data[:start] + matrix + data[start + 36 :])
    return path


@pytest.mark.parametrize("matrix", MATRICES)
def test_a_picture_is_shown_as_its_matrix_says(guard: Guard, tmp_path: Path, matrix: tuple[int, ...]) -> None:
    write_video(tmp_path / "plain.mp4", numbers(8))
    (tmp_path / "turned.mp4").write_bytes((tmp_path / "plain.mp4").read_bytes())
    path = with_matrix(tmp_path / "turned.mp4", *matrix)
    plain = Video(tmp_path / "plain.mp4", scan(tmp_path / "plain.mp4", guard=guard)[0]).frames([5])[0]
    info, _ = scan(path, guard=guard)
    wanted = MATRICES[matrix](plain)
    assert (info.height, info.width) == wanted.shape[:2]
    for seek in {info.seek, False}:
        frames = Video(path, replace(info, seek=seek)).frames([5])
        assert np.abs(frames[0].astype(int) - wanted).mean() < 2, seek
    transcode(path, tmp_path / "copy.mp4", info, min(HEIGHT, WIDTH))
    copy, _ = scan(tmp_path / "copy.mp4", guard=guard)
    shown = Video(copy.path, copy).frames([5], wanted.shape[:2])[0]
    assert np.abs(shown.astype(int) - wanted).mean() < 12


def test_an_angle_between_the_quarters_counts_as_none(guard: Guard, tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", numbers(4))
    half = 0.5**0.5
    assert scan(with_matrix(tmp_path / "a.mp4", half, half, -half, half), guard=guard)[0].orientation == Orientation()
    assert scan(with_matrix(tmp_path / "a.mp4", 0, 0, 0, 0), guard=guard)[0].orientation == Orientation()


def test_filters_do_what_arrays_do() -> None:
    picture = np.arange(12).reshape(3, 4)
    turned = Orientation(90, mirror=True)
    assert turned.lying
    assert np.array_equal(turned.apply(picture), picture.T)
    assert turned.filters == [("transpose", "clock"), ("hflip", "")]
