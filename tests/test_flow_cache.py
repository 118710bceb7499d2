"""Flow is worked out once a video, is the same kept or not, and moves with the frames that are cropped and mirrored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ssvid.data.augment import Augment
from ssvid.data.flow import as_pictures, optical_flow
from ssvid.data.flow_cache import FlowCache, cropped, usual_gap
from ssvid.data.flow_estimators import ESTIMATORS
from ssvid.data.frame_cache import FrameCache
from ssvid.data.index import Index
from ssvid.data.loader import SamplePlan
from ssvid.data.scanning import scan_videos
from ssvid.evaluation import adapter
from ssvid.evaluation.adapter import Candidate, EvalContext
from ssvid.evaluation.features import View
from ssvid.video.writer import write_video
from ssvid.zoo import create_model
from ssvid.zoo.modality import slow_flow

SIDE = 24
LENGTHS = (6, 9, 12)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Six textures that move to the right or to the left by 1 px a frame, of 6, 9 and 12 frames, 24 x 24 px."""
    folder = tmp_path_factory.mktemp("moving")
    rng = np.random.default_rng(0)
    for number in range(6):
        texture = np.kron(rng.integers(40, 216, (6, 16)), np.ones((4, 4)))
        step = 1 if number % 2 else -1
        frames = [np.roll(texture, step * t, 1)[:, 16 : 16 + SIDE] for t in range(LENGTHS[number // 2])]
        pixels = np.repeat(np.stack(frames)[..., None], 3, -1).astype(np.uint8)
        write_video(folder / ("right" if number % 2 else "left") / f"{number}.mp4", pixels)
    index = Index(folder / "index.sqlite", create=True)
    scan_videos([folder], index, engine="local:1")
    return index.videos()


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Number of frames of every clip that flow was worked out for, by an estimator in place of DIS."""
    seen: list[int] = []

    def estimator(clips):
        seen.append(clips.shape[2])
        return optical_flow(clips)

    monkeypatch.setitem(ESTIMATORS, "dis", estimator)
    monkeypatch.setenv("SSVID_CACHE", str(tmp_path))
    return seen


def batch_of(flow_cache: FlowCache, indices: np.ndarray, params: dict[str, np.ndarray], size: int):
    """Clips beside their flow, of the second and the fourth video."""
    videos = flow_cache.frame_cache.videos
    plans = [SamplePlan(videos[n], n, indices, np.array(n), params, 0.5, size) for n in (1, 3)]
    (batch,) = flow_cache.frame_cache.batches([plans], torch.device("cpu"))
    return flow_cache.beside(plans, batch)


def test_kept_flow_is_that_which_is_not_kept_and_is_worked_out_once_a_video(videos, calls):
    frames, told = FrameCache(videos, SIDE), []
    kept = FlowCache(frames, "dis", [2] * 6, progress=lambda *given: told.append(given))
    assert kept.kept is not None
    assert calls == [2] * sum(video.info.frames - 2 for video in videos)
    assert told[-1] == ("flow", 6, 6)
    calls.clear()
    indices = np.array([[0, 2, 4, 5], [1, 3, 5, 5]])  # the last pairs are none that is kept
    params = Augment(16, flip=1.0).draw(np.random.default_rng(0), 2, 4)
    ours = batch_of(FlowCache(frames, "dis", [2] * 6), indices, params, 16)  # read from the disk
    assert calls == [2] * 4
    assert ours.clips.shape == (2, 2, 6, 4, 16, 16)
    for fresh in (
        FlowCache(frames, "dis", [2] * 6, limit=0),
        FlowCache(FrameCache(videos, SIDE, limit=0), "dis", [2] * 6),
    ):
        assert fresh.kept is None
        assert torch.equal(batch_of(fresh, indices, params, 16).clips, ours.clips)


def test_flow_of_whole_frames_is_what_the_network_would_make_of_them(videos, calls):
    clips = batch_of(
        FlowCache(FrameCache(videos, SIDE), "dis", [1] * 6), np.arange(5)[None], Augment().centre(1, 5), SIDE
    ).clips
    colours, pictures = clips[:, 0].split(3, 1)
    expected = as_pictures(optical_flow(colours))
    torch.testing.assert_close(pictures[:, :, :4], expected, atol=2e-3, rtol=1e-2)  # of half precision
    assert torch.equal(pictures[:, :, 4], pictures[:, :, 3])
    net = create_model("two_stream_tiny", motion="dis").eval()
    assert slow_flow(net) == "dis"
    with torch.no_grad():
        torch.testing.assert_close(net(clips[:, 0], made=True), net(colours), atol=1e-2, rtol=1e-2)
        assert not torch.allclose(net(torch.cat([colours, -pictures], 1), made=True), net(colours), atol=1e-2)
    assert slow_flow(create_model("two_stream_tiny", motion="flow")) is None
    assert slow_flow(create_model("r3d_18_tiny", input="flow")) is None


def test_flow_is_cut_and_mirrored_with_the_frames():
    flow = torch.zeros(2, 3, 2, 8, 8)
    flow[:, :, 0], flow[:, :, 1] = 1.0, 2.0
    flow[:, :, :, :, 4:] *= 10  # the right half
    box = torch.tensor(
        [[0.5, 0.0, 0.5, 1.0], [0.5, 0.0, -0.5, 0.5]]
    )  # the right half; the same, mirrored, and less high
    right, mirrored = cropped(flow, box, 16)
    assert right.shape == (2, 3, 16, 16)
    torch.testing.assert_close(
        right[:, 1, 8, 8], torch.tensor([10.0 * 4, 20.0 * 2])
    )  # 4 px across become 16, 8 down 16
    torch.testing.assert_close(mirrored[:, 1, 8, 8], torch.tensor([-10.0 * 4, 20.0 * 4]))


def test_fine_tuning_works_flow_out_once_a_video(videos, calls):
    view = View(clips=1, frames=8, stride=1, size=16)
    folds = [(np.arange(4), np.array([4, 5]))]
    context = EvalContext(videos, folds, view, workers=0, options={"epochs": 6, "batch": 4, "clips": 2})
    model = Candidate("two streams", lambda: create_model("two_stream_tiny", motion="dis"), False)
    (score,) = adapter.run("finetune", model, context)
    assert 0 <= score.value <= 100
    whole = sum(video.info.frames - 1 for video in videos)
    repeated = (
        6 * 7
    )  # frames of the videos of 6 are shown twice in clips of 8: at most so many pairs of unkept frames an epoch
    assert whole <= len(calls) <= whole + 2 * repeated
    calls.clear()
    list(adapter.run("finetune", model, replace(context, seed=1)))
    assert len(calls) <= 2 * repeated


def test_the_gap_that_is_kept_is_the_one_that_clips_have(videos):
    assert [usual_gap(np.array(clip)) for clip in ([[0, 2, 4, 7]], [[3]], [[0, 0, 0, 1]])] == [2, 1, 1]
    view = View(clips=2, frames=4, stride=1, fps=videos[5].info.fps / 2)
    assert usual_gap(view.indices(videos[5])) == 2  # ticks of the clock, not frames
