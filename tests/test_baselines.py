"""The networks without weights, by hand."""

from __future__ import annotations

import pytest
import torch

from ssvid.evaluation.features import View, extract
from ssvid.zoo import clip_vector, count_parameters, create_model, list_models
from ssvid.zoo.encoders.baselines import BINS, GRID, SEGMENTS


def encode(name: str, pixels: torch.Tensor) -> torch.Tensor:
    """Clip vectors (B,D) of pixels (B,3,T,H,W) on 0..1."""
    return clip_vector(create_model(name)(pixels))


def test_they_are_listed_and_have_no_parameter():
    names = list_models("baseline_*")
    kinds = ["difference", "histogram", "hof", "hog", "hog_hof", "local", "mbh", "mean_frame", "patches"]
    assert names == [f"baseline_{kind}" for kind in kinds]
    assert all(count_parameters(create_model(name)) == 0 for name in names)
    assert all(not create_model(name).state_dict() for name in names)


def test_histogram_counts_colours():
    pixels = torch.zeros(1, 3, 2, 4, 4)
    pixels[:, 0] = 0.99  # red everywhere
    pixels[:, 1, 0, :2] = 0.5  # green in half of one of two frames
    shares = encode("baseline_histogram", pixels).view(3, BINS)
    expected = torch.zeros(3, BINS)
    expected[0, BINS - 1] = 1
    expected[1, 0], expected[1, BINS // 2] = 0.75, 0.25
    expected[2, 0] = 1
    torch.testing.assert_close(shares, expected)
    torch.testing.assert_close(
        encode("baseline_histogram", pixels.flip(-1)).view(3, BINS), shares
    )  # places say nothing


def test_mean_frame_is_the_mean_over_time():
    pixels = torch.rand(2, 3, 5, GRID, GRID, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(encode("baseline_mean_frame", pixels).view(2, 3, GRID, GRID), pixels.mean(2))
    large = pixels.repeat_interleave(2, 3).repeat_interleave(2, 4)
    torch.testing.assert_close(encode("baseline_mean_frame", large), encode("baseline_mean_frame", pixels))


def test_difference_tells_where_and_when_it_moves():
    pixels = torch.zeros(1, 3, 16, GRID, GRID)
    pixels[:, :, 9:, 3, 5] = 1  # one grey pixel appears at frame 9, in the third of four stretches of four frames
    maps = encode("baseline_difference", pixels).view(SEGMENTS, GRID, GRID)
    expected = torch.zeros(SEGMENTS, GRID, GRID)
    expected[2, 3, 5] = 1 / 4
    torch.testing.assert_close(maps, expected, atol=1e-5, rtol=0)
    assert encode("baseline_difference", pixels[:, :, :1]).abs().max() == 0  # a still does not move


@pytest.mark.parametrize("name", list_models("baseline_*"))
def test_features_of_videos(name, world_index, tmp_path):
    view = View(clips=1, frames=8, stride=100, size=48)
    features = extract(create_model(name), world_index.videos("test")[:4], view, workers=0, cache=tmp_path)[range(4)]
    assert features.shape == (4, 1, create_model(name).info.dim)
    assert features.std(0).max() > 0


def test_patches_are_the_colours_around_each_cell_of_frames_of_any_size():
    pixels = torch.rand(1, 3, 2, 21, 32)
    maps = create_model("baseline_patches")(pixels) / 2 + 0.5  # they are centred on mid-grey
    assert maps.shape == (1, 27, 2, 3, 4)
    middle = maps[0, :, 1, 1, 2].view(3, 9)[:, 4]  # the block in the middle of the cell of rows 8-15, columns 16-23
    torch.testing.assert_close(middle, pixels[0, :, 1, 10:14, 18:22].mean((1, 2)))
    beyond = maps[0, :, 0, 0, 0].view(3, 9)[
        :, 0
    ]  # two rows and columns of it lie outside, where what is at the border is repeated
    near = pixels[0, :, 0, :2, :2]
    expected = (9 * near[:, 0, 0] + 3 * near[:, 0, 1] + 3 * near[:, 1, 0] + near[:, 1, 1]) / 16
    torch.testing.assert_close(beyond, expected)
