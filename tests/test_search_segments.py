"""Segments: which seconds of a video a row stands for, and what is said of a query that is hard to answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ssvid.errors import DataError
from ssvid.evaluation.features import View
from ssvid.search.encode import query_indices, remarks, resolve_span, video_segments
from tests.test_sampling import even, record

VIEW = View(clips=3, frames=8, stride=2, size=32)


def test_windows_cover_a_video_and_overlap_by_half():
    video, view = even(100), replace(VIEW, fps=25.0)
    indices, rows, spans = video_segments(video, view, "clip")
    assert indices[0, 0] == 0
    assert indices[-1, -1] == 99
    assert rows.tolist() == list(range(len(indices)))
    assert (np.diff(indices[:-1, 0]) == 8).all()  # a window spans 15 frames
    assert spans[0].tolist() == pytest.approx([0, 15 / 25])
    indices, rows, spans = video_segments(video, view, "frame")
    frames = indices.ravel()[rows]
    assert (np.diff(frames) > 0).all()  # every frame once
    assert set(range(0, 96, 2)) | {99} <= set(frames)
    assert spans[:, 0].tolist() == pytest.approx((frames / 25).tolist())


def test_the_same_seconds_at_any_rate():
    view = replace(VIEW, fps=20.0)
    spans = [video_segments(even(int(rate * 4), rate), view, "clip").spans for rate in (20.0, 40.0, 10.0)]
    assert len({len(one) for one in spans}) == 1
    assert np.allclose(spans[0][:, 0], spans[1][:, 0], atol=0.051)
    assert np.allclose(spans[0][:, 0], spans[2][:, 0], atol=0.101)


def test_a_moment_means_the_clip_around_it_and_the_outside_is_told():
    video, view = even(100), replace(VIEW, fps=25.0)
    assert resolve_span(video, view, (2.0, 2.0)) == pytest.approx((1.7, 2.3))
    assert query_indices(video, view, "clip", (2.0, 2.0)).shape == (1, 8)
    with pytest.raises(DataError, match=r"lasts 4.00 s; there is nothing at 5-6 s"):
        resolve_span(video, view, (5.0, 6.0))


def test_hard_queries_are_told():
    view = replace(VIEW, fps=25.0)
    assert remarks(even(100), view) == []
    assert "lasts 0.12 s and a clip 0.60 s" in remarks(even(3), view)[0]
    assert "10 frames a second" in remarks(even(50, 10.0), view)[0]
    upright = even(100)
    assert "portrait" in remarks(replace(upright, info=replace(upright.info, width=64, height=128)), view)[0]
    still = record(np.arange(50) / 25, motion=np.zeros(50, np.float32))
    assert "nothing moves" in remarks(still, view)[0]
