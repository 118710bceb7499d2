"""Boxes over time from maps: a square that is known is found where and when it is there, and what cannot tell where is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from ssvid.data.masks import write_mask
from ssvid.errors import ConfigError, DataError
from ssvid.evaluation.metrics.tubes import (
    box_overlap,
    moving_objects,
    stretch_overlap,
    tube_of_masks,
    tube_overlap,
    tubes_of_action,
)
from ssvid.evaluation.saved_head import SavedHead, load_head
from ssvid.tracking.class_maps import class_maps
from ssvid.tracking.localise import localise
from ssvid.tracking.tubes import TubeOptions, active_stretches, boxes_of, find_tubes, smoothed
from ssvid.video.reader import Video
from ssvid.video.writer import write_video
from ssvid.zoo import create_model
from ssvid.zoo.views import clip_vector

FRAMES, SIDE, SQUARE, FPS = 32, 64, 20, 10
SHOWN = range(8, 24)  # frames in which the square is there
COLOURS = '''
"""Colours, averaged over 8 px: a network whose maps are known."""
from torch import nn

MODELS = {"colours": {"description": "colours", "frames": 8, "size": 32, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0),
                      "source": "here", "licence": "Apache-2.0"}}


class Colours(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(__import__("torch").ones(1))

    def forward(self, x):
        return nn.functional.avg_pool3d(x, (1, 8, 8)) * self.scale


def build(name):
    return Colours()
'''


@pytest.fixture(scope="module")
def square(tmp_path_factory):
    """A red square that moves over grey in the middle of a video: folder with video, masks, network, and classifier of red and blue."""
    folder = tmp_path_factory.mktemp("square")
    frames = np.full((FRAMES, SIDE, SIDE, 3), 90, np.uint8)
    masks = np.zeros((FRAMES, SIDE, SIDE), np.uint8)
    masks[:, 50:60, 2:12] = 1  # something that stands still
    for t in SHOWN:
        left = 2 + 2 * (t - SHOWN.start)
        frames[t, 16 : 16 + SQUARE, left : left + SQUARE] = (230, 30, 30)
        masks[t, 16 : 16 + SQUARE, left : left + SQUARE] = 2
    write_video(folder / "square.mp4", frames, FPS, codec="libx264", crf=10)
    (folder / "masks").mkdir()
    for t, mask in enumerate(masks):
        write_mask(folder / "masks" / f"{t:05d}.png", mask)
    (folder / "colours.py").write_text(COLOURS)
    weight = torch.tensor([[8.0, -4, -4], [-4, -4, 8]])
    SavedHead(weight, torch.zeros(2), ("red", "blue")).save(folder / "red.safetensors")
    return folder


def test_overlaps_are_intersections_over_unions():
    one, other = np.array([0.0, 0, 2, 2]), np.array([1.0, 0, 3, 2])
    assert box_overlap(one, other) == pytest.approx(1 / 3)
    assert box_overlap(one, np.full(4, np.nan)) == 0
    tube, late = np.stack([one, one, one * np.nan]), np.stack([one * np.nan, one, one])
    assert tube_overlap(tube, late) == pytest.approx(1 / 3)
    assert tube_overlap(tube, tube) == 1
    assert stretch_overlap((0, 2), (1, 4)) == pytest.approx(1 / 4)


def test_the_object_that_moves_is_the_one_that_is_looked_for(square):
    masks = np.stack([np.array(Image.open(path)) for path in sorted((square / "masks").glob("*.png"))])
    assert moving_objects(masks) == [2]
    (tube,) = tubes_of_action(masks)
    assert np.flatnonzero(~np.isnan(tube[:, 0])).tolist() == list(SHOWN)
    assert tube[SHOWN.start].tolist() == [2, 16, 2 + SQUARE, 16 + SQUARE]


def test_an_action_of_several_objects_is_each_of_them_or_all():
    masks = np.zeros((4, 20, 20), np.uint8)
    masks[:, 0:3, 0:3] = 9  # at rest
    for t in range(4):
        masks[t, 5:8, 2 + t : 5 + t], masks[t, 15:18, 10 - t : 13 - t] = 1, 2
    assert moving_objects(masks) == [1, 2]
    first, second, both = tubes_of_action(masks)
    np.testing.assert_array_equal(first, tube_of_masks(masks, [1]))
    assert second[1].tolist() == [9, 15, 12, 18]
    assert both[0].tolist() == [2, 5, 13, 18]


def blob(places: list[tuple[int, int]], height: int = 6, width: int = 8) -> np.ndarray:
    maps = np.zeros((len(places), height, width))
    for t, (row, column) in enumerate(places):
        maps[t, row : row + 2, column : column + 2] = 1
    return maps


def test_boxes_that_overlap_are_one_tube_and_others_two():
    steady = blob([(2, 1), (2, 1), (2, 2), (2, 2)])
    (tube,) = find_tubes(steady, (60, 80), [(0, 4)], 10, TubeOptions(shortest=0.1))
    assert tube.frames.tolist() == [0, 1, 2, 3]
    left, top, right, bottom = tube.boxes[0]
    assert (left, top, right, bottom) == pytest.approx((10, 20, 30, 40), abs=6)
    jumping = blob([(0, 0), (0, 0), (4, 6), (4, 6)])
    assert len(find_tubes(jumping, (60, 80), [(0, 4)], 10, TubeOptions(shortest=0.1))) == 2
    assert find_tubes(jumping, (60, 80), [(0, 4)], 10, TubeOptions(shortest=0.5)) == []


def test_a_map_without_a_place_gives_no_box():
    assert len(boxes_of(np.ones((4, 4)), (32, 32), 0.5)[0]) == 0


def test_smoothing_bridges_a_flicker():
    maps = blob([(2, 2)] * 10)
    maps[5] = blob([(2, 6)])[0]
    options = TubeOptions(smooth=0.2, shortest=0.0)
    (first, *_) = find_tubes(smoothed(maps, 10, options), (60, 80), [(0, 10)], 10, options)
    assert first.frames.tolist() == list(range(10))


def test_the_action_is_where_the_strength_is():
    strength = np.array([0.1, 0.1, 0.9, 1.0, 0.2, 0.8, 0.1])
    assert active_stretches(strength, TubeOptions()) == [(2, 4), (5, 6)]
    assert active_stretches(np.ones(5), TubeOptions()) == [(0, 5)]


@pytest.mark.parametrize("normalise", [False, True])
def test_the_mean_of_a_class_map_is_the_score_of_the_class(square, normalise):
    backbone = create_model("resnet18_tiny").eval()
    weight = torch.randn(2, backbone.info.dim, generator=torch.Generator().manual_seed(0))
    head = SavedHead(weight, torch.zeros(2), ("red", "blue"), normalise)
    source = Video(square / "square.mp4")
    view = {"frames": FRAMES, "stride": 1, "size": 32}
    found = class_maps(source, backbone, head, "blue", view, lambda *told: None)
    clip = torch.from_numpy(source.frames(range(FRAMES), 32)).permute(3, 0, 1, 2)[None].float() / 255
    with torch.inference_mode():
        vector = clip_vector(backbone(clip))
        expected = (vector / vector.norm() if normalise else vector) @ weight[1]
    assert found.maps.mean() == pytest.approx(float(expected), abs=1e-4)
    assert found.maps.shape == (FRAMES, 4, 4)


def test_the_square_is_found_where_and_when_it_is(square, tmp_path):
    found = localise(
        square / "square.mp4",
        f"{square / 'colours.py'}:colours",
        tmp_path,
        classifier=square / "red.safetensors",
        size=64,
        masks=square / "masks",
        options=TubeOptions(smooth=0.0),
    )
    assert found["class"] == "red"
    assert found["tube_iou"] > 0.5
    assert found["box_iou"] >= found["tube_iou"]  # the tube may be in too few frames or in too many
    assert found["whole_frame_iou"] == pytest.approx(len(SHOWN) * SQUARE**2 / (FRAMES * SIDE**2))
    there = found["tubes"][0]["frames"]
    shown = sum(frame in SHOWN for frame in there)
    assert found["whole_frame_box_iou"] == pytest.approx(shown * SQUARE**2 / (len(there) * SIDE**2))
    (stretch,) = found["stretches"]
    true = (SHOWN.start / FPS, SHOWN.stop / FPS)
    assert stretch_overlap((stretch["start"], stretch["end"]), true) > 0.7
    assert json.loads((tmp_path / "localised.json").read_text()) == found
    overlay = Video(tmp_path / "overlay.mp4")
    assert overlay.info.frames == FRAMES
    plain, drawn = (one.frames([16]).astype(int)[0] for one in (Video(square / "square.mp4"), overlay))
    left, top, right, bottom = found["tubes"][0]["boxes"][8]
    inside = np.abs(plain - drawn)[int(top) : int(bottom), int(left) : int(right)]
    assert inside.mean() > 2 * np.abs(plain - drawn)[:10].mean()


@pytest.mark.parametrize("head", ["alstm", "conv_alstm", "videolstm"])
def test_heads_that_attend_say_where(square, tmp_path, head):
    found = localise(square / "square.mp4", f"resnet18_tiny+{head}", tmp_path, size=32)
    assert found["class"] is None
    assert found["stretches"]
    assert (tmp_path / "overlay.mp4").exists()


def test_what_cannot_tell_where_is_refused(square, tmp_path):
    video, red = square / "square.mp4", square / "red.safetensors"
    with pytest.raises(ConfigError, match="no attention to show"):
        localise(video, "resnet18_tiny+lstm", tmp_path, size=32)
    with pytest.raises(DataError, match="takes vectors of 3 numbers"):
        localise(video, "resnet18_tiny", tmp_path, classifier=red, size=32)
    SavedHead(torch.zeros(1, 64), torch.zeros(1), ("a",)).save(tmp_path / "one.safetensors")
    with pytest.raises(ConfigError, match="one cell a frame"):
        localise(video, "resnet18_tiny+lstm", tmp_path, classifier=tmp_path / "one.safetensors", size=32)
    with pytest.raises(ConfigError, match="no class 'green'"):
        localise(video, f"{square / 'colours.py'}:colours", tmp_path, classifier=red, label="green", size=32)
    with pytest.raises(DataError, match="cannot be read"):
        load_head(video)
    with pytest.raises(DataError, match="holds 0 masks"):
        localise(video, f"{square / 'colours.py'}:colours", tmp_path, classifier=red, size=64, masks=tmp_path)
