"""Tracking objects and points through made-up videos, with backbones of all kinds and frames of any size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import ssvid
from ssvid.errors import ConfigError, DataError
from ssvid.ops.local_affinity import TILE
from ssvid.tracking.features import FrameEncoder, open_encoder
from ssvid.tracking.presets import find_preset
from ssvid.tracking.tracker import Prompt, Tracker, track_frames
from ssvid.video.writer import write_video
from ssvid.zoo import create_model
from tests.videos import texture

SIDE = 24  # px of an object
PRESET = find_preset("crw", recent=3, topk=3)


def scene(places: list[list[tuple[int, int] | None]], height: int = 77, width: int = 115) -> tuple[list, list]:
    """Frames and masks of objects with textures of their own; `places` has the top left of each in each frame, None where it is away."""
    ground = texture(0, 8 * (height // 8 + 1), 8 * (width // 8 + 1))[:height, :width]
    frames, masks = [], []
    for now in places:
        frame, mask = ground.copy(), np.zeros((height, width), np.uint8)
        for number, place in enumerate(now, start=1):
            if place is not None:
                box = np.s_[place[0] : place[0] + SIDE, place[1] : place[1] + SIDE]
                frame[box], mask[box] = texture(number, SIDE, SIDE), number
        frames.append(frame)
        masks.append(mask)
    return frames, masks


def overlap(found: np.ndarray, truth: np.ndarray, number: int = 1) -> float:
    return float(((found == number) & (truth == number)).sum() / max(1, ((found == number) | (truth == number)).sum()))


@pytest.fixture(scope="module")
def encoder() -> FrameEncoder:
    return FrameEncoder(create_model("baseline_patches"))


def test_objects_are_followed_and_confidence_says_so(encoder):
    frames, masks = scene([[(8, 8 + 8 * t), (40, 80 - 8 * t)] for t in range(8)])
    tracked = list(track_frames(frames, {0: Prompt(masks[0])}, encoder, PRESET))
    assert [frame.number for frame in tracked] == list(range(8))
    assert np.array_equal(tracked[0].mask, masks[0])  # as given
    for frame, mask in zip(tracked, masks, strict=True):
        assert min(overlap(frame.mask, mask, number) for number in (1, 2)) > 0.55  # patches of colours mix at borders
        assert frame.mask.dtype == np.uint8
        assert min(frame.confidence.values()) > 0.7
    assert overlap(masks[0], masks[-1]) == 0  # and they did move


def test_an_object_may_appear_later_leave_and_come_back(encoder):
    here, there = (8, 8), (40, 64)
    places = [
        [here, None],
        [here, None],
        [here, there],
        [here, None],
        [here, None],
        [here, None],
        [here, None],
        [here, there],
    ]
    frames, masks = scene(places)
    later = np.where(masks[2] == 2, 9, 0).astype(
        np.uint8
    )  # says nothing of the first object, which stays as it is tracked
    tracked = list(track_frames(frames, {0: Prompt(masks[0]), 2: Prompt(later)}, encoder, PRESET))
    assert [overlap(frame.mask, mask) > 0.8 for frame, mask in zip(tracked, masks, strict=True)] == [True] * 8
    seen = [int((frame.mask == 9).sum()) for frame in tracked]
    assert seen[0] == seen[1] == 0 == sum(seen[3:7])  # the recent frames of the last have forgotten it
    assert overlap(tracked[7].mask // 9, masks[7] // 2) > 0.6  # the frame in which it was given has not
    assert tracked[7].confidence["9"] > 0.7
    assert tracked[4].confidence["9"] == 0


def test_points_are_followed_between_cells(encoder):
    frames, masks = scene([[(8 + 8 * t, 24)] for t in range(5)])
    prompt = Prompt(masks[0], {"middle": (36.0, 20.0)})
    last = list(track_frames(frames, {0: prompt}, encoder, PRESET))[-1]
    assert last.points["middle"] == pytest.approx((36, 20 + 32), abs=2.5)
    assert overlap(last.mask, masks[-1]) > 0.8  # masks beside points
    assert 0.5 < last.confidence["middle"] <= 1


def test_frames_before_the_first_prompt_are_passed_over(encoder):
    frames, masks = scene([[(8, 8)]] * 4)
    assert [f.number for f in track_frames(frames, {2: Prompt(masks[2])}, encoder, PRESET)] == [2, 3]
    with pytest.raises(ConfigError, match="nothing to track"):
        next(track_frames(frames, {}, encoder, PRESET))
    with pytest.raises(DataError, match="frame 1 is 100x77 px, the first one 115x77"):
        list(track_frames([frames[0], frames[1][:, :100]], {0: Prompt(masks[0])}, encoder, PRESET))


@pytest.mark.parametrize("name", ["crw", "dino", "dinov3", "timecycle", "uvc"])
def test_every_preset_follows(name, encoder):
    frames, masks = scene([[(8, 8 + 8 * t)] for t in range(3)], 64, 96)
    small = {"short_side": 64} if find_preset(name).short_side else {}
    if name == "uvc":
        small["normalize"] = True  # of plain colours the brightest are the most alike
    preset = find_preset(name, **small, **({"squash": 96} if name == "timecycle" else {}))
    last = list(track_frames(frames, {0: Prompt(masks[0])}, encoder, preset))[-1]
    assert last.mask.shape == (64, 96)
    assert overlap(last.mask, masks[-1]) > 0.4  # where it was, it overlaps with a fifth


@pytest.mark.parametrize("name", ["resnet18_tiny", "r3d_18_tiny", "s3dg_tiny", "r2plus1d_18_tiny"])
@pytest.mark.parametrize("size", [(33, 70), (96, 47)])
def test_any_backbone_with_maps_takes_frames_of_any_size(name, size):
    encoder = open_encoder(name, device="cpu")
    grid = encoder.grid(size, PRESET)
    assert grid.cells == tuple(-(-side // encoder.stride) for side in size)
    features = encoder(texture(1, 96, 96)[: size[0], : size[1]], grid)
    assert features.shape[:2] == grid.cells
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(grid.cells))


def test_a_layer_is_where_the_network_stops():
    encoder = open_encoder("resnet18", "layer3", device="cpu")
    assert encoder.stride == 8  # of the option that the family offers, in place of 16
    called = []
    encoder.backbone.trunk.net.layer4.register_forward_hook(lambda *_: called.append(1))
    features = encoder(texture(1, 40, 64), encoder.grid((40, 64), PRESET))
    assert features.shape == (5, 8, 256)
    assert not called
    assert open_encoder("resnet18", device="cpu").stride == 8
    with pytest.raises(ConfigError, match=r"has no layer 'layer9'; it has: conv1, .*layer4"):
        open_encoder("resnet18", "layer9", device="cpu")


def test_an_opened_encoder_leaves_torchs_random_state_alone():
    before = torch.random.get_rng_state()
    first = open_encoder("resnet18", "layer1", device="cpu")
    assert torch.equal(before, torch.random.get_rng_state())
    frame = texture(1, 32, 32)
    again = open_encoder("resnet18", "layer1", device="cpu")
    assert torch.equal(first(frame, first.grid((32, 32), PRESET)), again(frame, again.grid((32, 32), PRESET)))


def test_backbones_that_cannot_track_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="gives one vector a frame and no map"):
        FrameEncoder(create_model("baseline_mean_frame"))
    with pytest.raises(ConfigError, match="input=rgb"):
        FrameEncoder(create_model("resnet18_tiny", input="residual"))
    weights = create_model("resnet18_tiny").state_dict()
    next(iter(weights.values()))[0] = torch.nan
    save_file(weights, tmp_path / "broken.safetensors")
    with pytest.raises(DataError, match=r"broken\.safetensors: its weights are not finite"):
        open_encoder(f"resnet18_tiny@{tmp_path / 'broken.safetensors'}")


def test_a_step_depends_on_no_more_than_the_context(encoder):
    """What a long video needs no more memory for, and what makes it right to go on from a checkpoint."""
    frames, masks = scene([[(8, 8 + 4 * t)] for t in range(9)])
    tracker = Tracker(encoder, PRESET)
    for number, frame in enumerate(frames):
        tracker.step(number, frame, Prompt(masks[0]) if number == 0 else None)
        assert len(tracker.memory.kept) == 1
        assert len(tracker.memory.recent) == 3
    assert tracker.grid.cells[1] > TILE  # more than one tile


def test_the_door_of_the_package_gives_frames_one_by_one(tmp_path):
    frames, masks = scene([[(8, 8 + 8 * t)] for t in range(4)], 78, 116)
    write_video(tmp_path / "v.mp4", frames, fps=10)
    stream = ssvid.track_video(tmp_path / "v.mp4", model="baseline_patches", mask=masks[1], at=0.1, recent=2)
    found = next(stream)
    assert found.number == 1
    assert np.array_equal(found.mask, masks[1])
    assert [frame.number for frame in stream] == [2, 3]
    with pytest.raises(DataError, match="the mask is 115x78 px, the frames are 116x78"):
        ssvid.track_video(tmp_path / "v.mp4", model="baseline_patches", mask=masks[1][:, :115])
