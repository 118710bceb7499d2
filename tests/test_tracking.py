"""Label propagation by hand: what each preset counts, how labels are made and read, and what is remembered."""

from __future__ import annotations

import math

import pytest
import torch

from ssvid.errors import ConfigError
from ssvid.tracking.labels import FrameGrid, labels_from_mask, labels_from_points, mask_from_labels, points_from_labels
from ssvid.tracking.memory import LabelledFrame, Memory
from ssvid.tracking.presets import PRESETS, find_preset
from ssvid.tracking.propagation import propagate


def remembered(number: int, similar: dict[int, float], size: tuple[int, int] = (1, 30)) -> LabelledFrame:
    """A frame whose cells have one feature, 0 where `similar` does not say, and whose label is the cell's own number."""
    cells = size[0] * size[1]
    features = torch.zeros(cells, 1)
    for cell, value in similar.items():
        features[cell] = value
    return LabelledFrame(number, features.view(*size, 1), torch.eye(cells).view(*size, cells))


def carried(preset, *frames: LabelledFrame) -> torch.Tensor:
    """How much the first cell of a frame that is 1 everywhere takes of each cell's label; similarity is thus the feature itself."""
    memory = Memory(preset.recent, preset.repeat_first)
    for frame in frames:
        memory.add(frame)
    return propagate(torch.ones_like(frames[0].features), memory, preset)[0, 0]


def test_crw_takes_the_largest_first_and_sees_the_first_frame_everywhere():
    preset = find_preset("crw", topk=2, recent=1)
    first = remembered(0, {20: 0.9})  # 20 cells away: only the first frame may
    last = remembered(1, {11: 0.8, 12: 1.0})  # 12 is not less than 12
    found = carried(preset, first, last)
    weight = 1 / (1 + math.exp(-0.1 / 0.05))
    assert found[20].item() == pytest.approx(weight)
    assert found[11].item() == pytest.approx(1 - weight)
    assert found.sum().item() == pytest.approx(1)


def test_crw_counts_the_first_frame_for_all_those_before_the_video():
    first = remembered(0, {3: 0.9, 5: 0.8})
    found = carried(
        find_preset("crw", topk=4, recent=3), first
    )  # four times cell 3, in the first frame and its three copies
    assert found[3].item() == pytest.approx(1)
    alone = carried(find_preset("crw", topk=4, recent=3, repeat_first=False), first)
    assert alone[5].item() > 0.1


def test_dino_looks_within_a_square_in_every_frame_and_keeps_ties():
    preset = find_preset("dino", topk=1, recent=1)
    size = (14, 14)
    corner, beyond = 12 * 14 + 12, 13 * 14
    first = remembered(0, {beyond: 1.0, corner: 0.7}, size)
    last = remembered(1, {5: 0.7, 6: 0.6}, size)
    found = carried(preset, first, last)
    assert found[corner].item() == pytest.approx(0.5)  # as similar as the one that counts
    assert found[5].item() == pytest.approx(0.5)
    assert found[beyond] == found[6] == 0
    two = carried(find_preset("dino", topk=3, recent=1), first, last)
    shares = torch.tensor([0.7, 0.7, 0.6]).div(0.1).softmax(0)
    torch.testing.assert_close(two[torch.tensor([corner, 5, 6])], shares)


def test_dinov3_looks_within_a_disc_with_its_edge():
    preset = find_preset("dinov3", topk=2, recent=1)
    corner, edge = 12 * 14 + 12, 12 * 14
    found = carried(preset, remembered(0, {corner: 1.0, edge: 0.5}, (14, 14)), remembered(1, {1: 0.9}, (14, 14)))
    shares = torch.tensor([0.9, 0.5]).div(0.2).softmax(0)
    torch.testing.assert_close(found[torch.tensor([1, edge, corner])], torch.tensor([*shares, 0]))


def test_timecycle_averages_frames_and_takes_the_largest_after_the_softmax():
    preset = find_preset("timecycle", topk=1, recent=1, repeat_first=False)
    first, last = remembered(0, {29: 0.2}), remembered(1, {3: 0.4})
    found = carried(preset, first, last)
    for cell, value in ((29, 0.2), (3, 0.4)):  # one of 30 cells of one of two frames; what the others had is lost
        top = math.exp(value * 512**0.5)
        assert found[cell].item() == pytest.approx(top / (top + 29) / 2, rel=1e-4)
    assert found.sum() < 1


def test_uvc_compares_plain_features_at_temperature_one():
    preset = find_preset("uvc", topk=2)
    assert not preset.normalize
    found = carried(preset, remembered(0, {0: math.log(2), 1: math.log(3)}, (1, 4)))
    torch.testing.assert_close(found, torch.tensor([2 / 7, 3 / 7, 0, 0]))


def test_presets_are_as_published():
    common = ("recent", "topk", "radius", "neighbourhood")
    settings = {name: tuple(getattr(preset, field) for field in common) for name, preset in PRESETS.items()}
    assert settings["crw"] == (20, 10, 12, "open_disc")
    assert settings["dino"] == (7, 5, 12, "square")
    assert settings["dinov3"] == (7, 5, 12, "disc")
    assert settings["timecycle"][:3] == settings["uvc"][:3] == (7, 5, None)
    assert [name for name, preset in PRESETS.items() if preset.min_max] == ["dino", "dinov3", "timecycle", "uvc"]
    sizes = {name: preset.frame_size(480, 854, 16) for name, preset in PRESETS.items()}
    assert sizes == {
        "crw": (480, 854),
        "dino": (480, 832),  # down to 64s
        "dinov3": (960, 1712),  # up to patches of 16
        "timecycle": (320, 320),
        "uvc": (480, 854),
    }


@pytest.mark.parametrize("settings", [{"topk": 0}, {"temperature": 0}, {"radius": -1}, {"reach": 3}])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ConfigError, match="a preset"):
        find_preset("crw", **settings)
    with pytest.raises(ConfigError, match="there are: crw"):
        find_preset("ccrw")


def test_masks_become_shares_of_the_pixels_around_a_cells_middle():
    mask = torch.zeros(4, 10, dtype=torch.uint8)
    mask[:, :2] = 3
    mask[:, 9] = 7
    grid = FrameGrid((4, 10), (4, 10), 4, (1, 3))  # the third cell reaches two pixels beyond the frame
    labels = labels_from_mask(mask, [3, 7], grid)
    expected = [[[0.5, 0.5, 0], [1, 0, 0], [0, 0, 1]]]  # middles at 1.5, 5.5 and 9.5, which is at the edge
    torch.testing.assert_close(labels, torch.tensor(expected, dtype=torch.float32))
    nearest = labels_from_mask(mask, [3, 7], grid, "nearest")
    assert nearest[0, 0].tolist() == [1, 0, 0]  # pixel 2
    assert nearest[0, 2].tolist() == [0, 0, 1]


@pytest.mark.parametrize(("frame", "work"), [((61, 83), (61, 83)), ((61, 83), (122, 166)), ((120, 90), (60, 45))])
def test_a_mask_comes_back_as_it_was(frame, work):
    grid = FrameGrid(frame, work, 4, (-(-work[0] // 4), -(-work[1] // 4)))
    mask = torch.zeros(frame, dtype=torch.uint8)
    mask[frame[0] // 4 : frame[0] // 2, frame[1] // 2 :] = 1  # up to the border, where cells reach beyond
    back = mask_from_labels(labels_from_mask(mask, [1], grid), grid)
    assert back.shape == frame
    union = ((back > 0) | (mask > 0)).sum()
    assert ((back > 0) & (mask > 0)).sum() / union > 0.85
    assert (back[frame[0] // 3, -1], back[frame[0] // 3, 0]) == (1, 0)


def test_stretching_each_object_raises_small_ones():
    labels = torch.tensor([[[0.6, 0.4], [1.0, 0.0]]])  # background wins everywhere
    grid = FrameGrid((1, 2), (1, 2), 1, (1, 2))
    assert mask_from_labels(labels, grid).tolist() == [[0, 0]]
    assert mask_from_labels(labels, grid, min_max=True).tolist() == [[1, 0]]
    never = torch.tensor([[[0.9, 0.0], [1.0, 0.0]]])
    assert mask_from_labels(never, grid, min_max=True).tolist() == [[0, 0]]  # what is nowhere stays nowhere


def test_points_are_read_between_cells():
    grid = FrameGrid((120, 160), (60, 80), 8, (8, 10))  # a cell is 16 px of the frame
    points = torch.tensor([[7.5, 7.5], [50.0, 61.0], [150.0, 100.0]])
    labels = labels_from_points(points, grid)
    assert labels[0, 0, 0] == 1
    assert (points_from_labels(labels, grid) - points).abs().max() < 4  # a quarter of a cell
    lost = points_from_labels(torch.zeros(8, 10, 1), grid)
    assert lost.isnan().all()
    by_hand = torch.zeros(8, 10, 1)
    by_hand[0, 0], by_hand[0, 1] = 3, 1  # a quarter of the way
    torch.testing.assert_close(points_from_labels(by_hand, grid), torch.tensor([[7.5 + 4, 7.5]]))


def test_memory_keeps_the_first_the_last_and_what_it_is_told_to():
    memory = Memory(2, long_term=(3,))
    for number in range(8):
        memory.add(remembered(number, {}), keep=number == 5)
    assert [frame.number for frame in memory.kept] == [0, 3, 5]
    assert [frame.number for frame in memory.recent] == [6, 7]
    memory.insert(1, 2)
    assert all(frame.labels.shape == (1, 30, 32) for frame in (*memory.kept, *memory.recent))
    assert memory.kept[0].labels[0, 4].nonzero().tolist() == [[6]]  # cell 4's own label has moved on
    none = Memory(0)
    none.add(remembered(0, {}))
    none.add(remembered(1, {}))
    assert [frame.number for frame in none.kept] == [0]
    assert not none.recent
