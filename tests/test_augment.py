"""What an augmentation does to pixels, by hand, and what shares a draw."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ssvid.data.augment import Augment, apply, crop_and_resize, recolor


def stacked(augment: Augment, rng: np.random.Generator, clips: int, frames: int) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(value)[None] for key, value in augment.draw(rng, clips, frames).items()}


def test_centre_view_is_the_frame_itself():
    frames = torch.randint(0, 256, (1, 2, 3, 16, 16, 3), dtype=torch.uint8)
    params = {key: torch.from_numpy(value)[None] for key, value in Augment(size=16).centre(2, 3).items()}
    out = apply(frames, params, 16)
    assert out.shape == (1, 2, 3, 3, 16, 16)
    torch.testing.assert_close(out, frames.permute(0, 1, 5, 2, 3, 4).float() / 255, atol=1e-5, rtol=0)


def test_crop_box_and_flip_by_hand():
    frame = torch.arange(64, dtype=torch.float32).view(1, 1, 1, 8, 8)
    right_half = crop_and_resize(frame, torch.tensor([[[0.5, 0.0, 0.5, 1.0]]]), 8)
    assert right_half[0, 0, 0, 0].min() >= 3.5
    flipped = crop_and_resize(frame, torch.tensor([[[0.0, 0.0, -1.0, 1.0]]]), 8)
    torch.testing.assert_close(flipped, frame.flip(-1))


def test_one_box_a_clip_is_the_same_as_that_box_for_every_frame():
    frames = torch.rand(2, 3, 3, 20, 20)
    box = torch.tensor([[0.1, -0.2, 0.6, 0.5], [0.0, 0.3, -0.7, 0.6]])[:, None].repeat(1, 3, 1)
    together = crop_and_resize(frames, box, 12)
    one_by_one = torch.stack([crop_and_resize(frames[:, [t]], box[:, [t]], 12)[:, 0] for t in range(3)], 1)
    torch.testing.assert_close(together, one_by_one)
    box[0, 1] += 0.05  # boxes that differ take the other way
    torch.testing.assert_close(crop_and_resize(frames, box, 12)[1], together[1])


def test_colors_by_hand():
    frame = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    bright = recolor(frame, torch.tensor([[1.5, 1.0, 1.0, 0.0]]))
    torch.testing.assert_close(bright[0, :, 0, 0], torch.tensor([0.3, 0.6, 0.9]))
    grey = recolor(frame, torch.tensor([[1.0, 1.0, 1.0, 1.0]]))
    luma = 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6
    torch.testing.assert_close(grey[0, :, 0, 0], torch.full((3,), luma))
    halved = frame.clone()
    halved[..., :2] = 0.0  # two columns black: the frame's mean is 0.2
    flat = recolor(halved, torch.tensor([[1.0, 0.5, 1.0, 0.0]]))
    torch.testing.assert_close(flat[0, :, 0, 0], torch.full((3,), 0.1))
    torch.testing.assert_close(flat[0, :, 0, 3], torch.tensor([0.2, 0.3, 0.4]))


@pytest.mark.parametrize(
    ("scope", "between_clips", "between_frames"), [("video", 1, 1), ("clip", 3, 1), ("frame", 3, 5)]
)
def test_scope_decides_what_shares_a_draw(scope, between_clips, between_frames):
    augment = Augment(size=8, jitter=0.4, crop_scope=scope, color_scope=scope)
    for values in augment.draw(np.random.default_rng(1), 3, 5).values():
        assert values.shape == (3, 5, 4)
        assert len(np.unique(values[:, 0], axis=0)) == between_clips
        assert len(np.unique(values[0], axis=0)) == between_frames


def test_boxes_lie_inside_the_frame_and_cover_the_asked_area():
    augment = Augment(size=8, area=(0.3, 0.6), ratio=(1.0, 1.0), crop_scope="frame")
    boxes = augment.draw(np.random.default_rng(0), 20, 50)["box"].reshape(-1, 4)
    half_w, half_h = np.abs(boxes[:, 2]), boxes[:, 3]
    assert (np.abs(boxes[:, 0]) + half_w <= 1 + 1e-6).all()
    assert (np.abs(boxes[:, 1]) + half_h <= 1 + 1e-6).all()
    area = half_w * half_h
    assert area.min() >= 0.3 - 1e-6
    assert area.max() <= 0.6 + 1e-6


def test_sizes_of_a_step_lie_between_and_reach_both_ends():
    augment = Augment(size=(32, 56))
    sizes = {augment.draw_size(np.random.default_rng(k)) for k in range(100)}
    assert sizes == {32, 48, 56}
    assert augment.decode_size >= 56


def test_shrinking_averages_rather_than_aliases():
    stripes = torch.zeros(1, 1, 1, 64, 64)
    stripes[..., ::2] = 1.0  # the finest stripes there are
    small = crop_and_resize(stripes, torch.tensor([[[0.0, 0.0, 1.0, 1.0]]]), 16)
    torch.testing.assert_close(small, torch.full_like(small, 0.5), atol=0.02, rtol=0)


def test_one_sample_looks_the_same_in_any_batch():
    augment = Augment(size=16, jitter=0.3, crop_scope="frame", color_scope="frame")
    frames = torch.randint(0, 256, (4, 1, 3, 24, 24, 3), dtype=torch.uint8)
    params = [stacked(augment, np.random.default_rng(k), 1, 3) for k in range(4)]
    together = apply(frames, {key: torch.cat([p[key] for p in params]) for key in params[0]}, 16)
    alone = apply(frames[2:3], params[2], 16)
    torch.testing.assert_close(together[2:3], alone)


@pytest.mark.parametrize("scope", ["video", "frame"])
def test_pixels_do_not_depend_on_the_number_of_threads(scope):
    """A worker has one thread, the loop many: a resumed run with other workers must see the same bits."""
    augment = Augment(size=24, jitter=0.3, grey=0.3, crop_scope=scope, color_scope=scope)
    frames = torch.randint(0, 256, (4, 1, 6, 40, 40, 3), dtype=torch.uint8)
    drawn = [stacked(augment, np.random.default_rng(k), 1, 6) for k in range(4)]
    params = {key: torch.cat([p[key] for p in drawn]) for key in drawn[0]}
    before, results = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(apply(frames, params, 24))
    torch.set_num_threads(before)
    assert torch.equal(*results)


def test_without_drift_nothing_changes_within_a_clip():
    for values in Augment(jitter=0.3).draw(np.random.default_rng(0), 2, 7).values():
        assert (values == values[:, :1]).all()


@pytest.mark.parametrize(("scope", "between_clips"), [("video", 1), ("clip", 2)])
def test_drift_moves_box_and_colours_evenly_and_inside_the_frame(scope, between_clips):
    augment = Augment(area=(0.3, 0.5), jitter=0.3, drift=1.0, crop_scope=scope, color_scope=scope)
    for seed in range(50):
        params = augment.draw(np.random.default_rng(seed), 2, 7)
        for values in params.values():
            assert values.shape == (2, 7, 4)
            np.testing.assert_allclose(np.diff(values, 2, axis=1), 0, atol=1e-6)
            assert len(np.unique(values[:, 3], axis=0)) == between_clips
            assert (np.ptp(values[..., :3], axis=1) > 0).all()
        box = np.abs(params["box"])
        assert (box[..., :2] + box[..., 2:] <= 1 + 1e-6).all()
        factors = params["color"][..., :3]
        assert factors.min() >= 0.7 - 1e-6
        assert factors.max() <= 1.3 + 1e-6


def test_drift_looks_the_same_played_backwards():
    augment = Augment(jitter=0.3, drift=0.4)
    drawn = [augment.draw(np.random.default_rng(seed), 1, 5) for seed in range(4000)]
    for name, column in (("box", 0), ("box", 3), ("color", 0)):
        first, last = np.array([[params[name][0, t, column] for t in (0, -1)] for params in drawn]).T
        way = last - first
        assert abs(way.mean()) < 4 * way.std() / 4000**0.5
        # neither end is spread more widely than the other, as the one that was drawn first would be
        spread = (first - first.mean()) ** 2 - (last - last.mean()) ** 2
        assert abs(spread.mean()) < 4 * spread.std() / 4000**0.5
        assert np.abs(way).max() < 0.4 * np.ptp(first) + 1e-6
