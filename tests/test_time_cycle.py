"""Places, matches and the routes of the cycles, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pretext.time_cycle import LONG, MATCHES, SKIP, TimeCycle
from ssvid.ops import patch_tracking
from ssvid.zoo import create_model, model_info
from tests.bare import BareBackbone

INFO = model_info("resnet18_tiny")


def ramp(side: int) -> torch.Tensor:
    """A picture (1,2,side,side) whose colours are x and y on -1..1."""
    axis = (torch.arange(side) + 0.5) / side * 2 - 1
    return torch.stack([axis.expand(side, side), axis[:, None].expand(side, side)])[None]


def test_a_patch_is_cut_out_where_its_place_says():
    patch = patch_tracking.cut_patch(ramp(90), torch.tensor([[0.2, -0.4, 0.0]]), 30)
    torch.testing.assert_close(patch.mean((2, 3)), torch.tensor([[0.2, -0.4]]), atol=1e-4, rtol=0)
    half = (1 - 1 / 30) / 3  # to the middle of the outermost pixel
    assert patch[0, 0, :, 0].mean().item() == pytest.approx(0.2 - half, abs=1e-4)
    assert patch[0, 1, 0].mean().item() == pytest.approx(-0.4 - half, abs=1e-4)
    turned = patch_tracking.cut_patch(
        ramp(90), torch.tensor([[0.0, 0.0, math.pi / 2]]), 30
    )  # its right is the frame's down
    assert turned[0, 1, :, -1].mean().item() == pytest.approx(half, abs=1e-4)
    assert turned[0, 0, -1].mean().item() == pytest.approx(-half, abs=1e-4)


def test_the_distance_is_that_of_the_points():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 20, 3, generator=generator) * 2 - 1
    points = (patch_tracking.points(a, 200) - patch_tracking.points(b, 200)).square().sum(-1).mean((1, 2))
    torch.testing.assert_close(patch_tracking.distance(a, b), points, rtol=1e-3, atol=1e-4)
    shift = torch.tensor([[0.3, -0.4, 0.0]])
    assert patch_tracking.distance(shift, torch.zeros(1, 3)).item() == pytest.approx(0.25)


def test_a_hit_is_less_than_a_quarter_of_the_side_away():
    truth = torch.zeros(3, 3)
    answer = torch.tensor([[0.16, 0.0, 1.0], [0.12, 0.12, 0.0], [0.0, -0.17, 0.0]])
    assert patch_tracking.hit(answer, truth).tolist() == [1, 0, 0]


def test_patches_are_taken_where_something_moves():
    now, later = torch.zeros(2, 400, 3, 48, 48)
    later[:, :, 30:38, 6:14] = 1.0
    draws = torch.rand(400, 4, generator=torch.Generator().manual_seed(0))
    place = patch_tracking.lively(now, later, draws)
    assert place[:, :2].abs().max() <= 2 / 3
    middle = torch.tensor([10 / 24 - 1, 34 / 24 - 1])
    assert ((place[:, :2] - middle).abs().amax(1) < 0.75).all()  # within reach of the motion
    assert (place[:, :2].mean(0) - middle).abs().max() < 0.2
    assert place[:, 2].abs().max() <= math.pi / 4
    assert place[:, 2].std().item() == pytest.approx(math.pi / 4 / 3**0.5, rel=0.1)
    assert torch.equal(place, patch_tracking.lively(now, later, draws))
    everywhere = patch_tracking.lively(now, later.fill_(1.0), draws)  # all alike: any ten of the 49
    assert everywhere.isfinite().all()


def test_matches_count_where_the_place_puts_them():
    place = torch.tensor([[0.0, 0.0, 0.0]])
    match = torch.zeros(1, 3, 3, 9, 9)
    for i in range(3):
        for j in range(3):
            match[0, i, j, 3 + i, 3 + j] = 1.0  # the middle third of the frame, cell by cell
    assert patch_tracking.explained(match, place).item() == pytest.approx(1.0)
    one_off = patch_tracking.explained(match, torch.tensor([[2 / 9, 0.0, 0.0]])).item()
    assert one_off == pytest.approx(math.exp(-0.5), rel=1e-4)
    assert patch_tracking.explained(match, torch.tensor([[0.66, 0.66, 0.0]])).item() < 0.02


def test_a_match_by_hand():
    patch = torch.tensor([[3.0, 0.0]]).view(1, 2, 1, 1)
    frame = torch.tensor([[1.0, 0.0, 0.5], [0.0, 2.0, 0.5]]).view(1, 2, 1, 3)
    weights = np.exp(np.array([1.0, 0.0, 2**-0.5]) / 0.5)
    with torch.autocast("cpu", torch.bfloat16):
        found = patch_tracking.match(patch, frame, 0.5)
    np.testing.assert_allclose(found.flatten(), weights / weights.sum(), rtol=1e-5)


class Pixels(BareBackbone):
    """Cells of 2 px: their colours, and those of their neighbours."""

    info = model_info("resnet18_tiny")

    def encode(self, x):
        B, T = x.shape[0], x.shape[2]
        cells = F.avg_pool2d(x.transpose(1, 2).flatten(0, 1), 8)
        around = F.unfold(cells, 3, padding=1).view(B * T, 27, *cells.shape[2:])
        return F.pad(around, (0, 0) * 2 + (0, INFO.dim - 27)).unflatten(0, (B, T)).transpose(1, 2)


class Middle(nn.Module):
    """A tracker that answers the middle of the matches."""

    def forward(self, match):  # (B,h*w,p,p)
        side = round(match.shape[1] ** 0.5)
        axis = (torch.arange(side) + 0.5) / side * 2 - 1
        cells = torch.stack([axis.repeat(side), axis.repeat_interleave(side), torch.zeros(side * side)], 1)
        return torch.einsum("bnij,nd->bijd", match, cells).mean((1, 2))


def tracked(clips: torch.Tensor, draws: torch.Tensor, context: int = 3) -> tuple[TimeCycle, dict[str, torch.Tensor]]:
    task = TimeCycle(
        Pixels(), context=context, size=clips.shape[-1], dim=INFO.dim, temperature=0.01, patches=draws.shape[1]
    )
    task.tracker = Middle()
    # both signs of a feature, as the embedding's rectifier drops one
    eye = torch.eye(INFO.dim // 2, INFO.dim)
    task.embed.weight.data = torch.cat([eye, -eye])
    nn.init.zeros_(task.embed.bias)
    return task, task.eval()(clips, draws)


def still(videos: int) -> torch.Tensor:
    """Still pictures of soft spots (B,1,3,5,144,144); a flicker in the last frame alone says that all of it moves."""
    spots = torch.randn(videos, 3, 14, 14, generator=torch.Generator().manual_seed(0))
    picture = F.interpolate(spots, (144, 144), mode="bilinear", align_corners=False)
    return picture[:, None, :, None].repeat(1, 1, 1, 5, 1, 1)


def upright(videos: int, patches: int = 1) -> torch.Tensor:
    draws = torch.rand(videos, patches, 4, generator=torch.Generator().manual_seed(1))
    draws[..., 3] = 0.5
    return draws


def test_what_can_be_followed_comes_back():
    clips = still(8)
    task, values = tracked(clips, upright(8))
    assert values["accuracy"].mean() > 0.8
    assert values["skip_accuracy"].mean() > 0.8
    moved = clips.clone()
    for time in range(3):  # the frames of the context show it elsewhere, the target as before
        moved[:, :, :, time] = clips[:, :, :, time].roll((16 * time - 8, 8), (-2, -1))
    truth, patch, maps = task.start(moved[:, 0], upright(8))
    found = task.follow(patch, maps, [2, 1, 0, 1, 2, 3])
    offsets = torch.stack([place - truth for place, _ in found])[:, :, :2].median(1).values * 72
    expected = torch.tensor([[8.0, 24.0], [8, 8], [8, -8], [8, 8], [8, 24], [0, 0]])
    assert (offsets - expected).abs().max() < 8


def test_the_loss_is_that_of_all_cycles(monkeypatch):
    """Routes and weights, from a tracker that is asked once for every step and answers with its number."""
    clips, draws = still(1), upright(1)
    task = TimeCycle(Pixels(), context=3, size=144, dim=INFO.dim)
    routes = []

    def follow(patch, maps, route):
        routes.append(list(route))
        place = torch.full((1, 3), 0.1 * len(route), requires_grad=True)
        return [(place, torch.tensor([0.25]))] * len(route)

    monkeypatch.setattr(task, "follow", follow)
    values = task(clips, draws)
    assert routes == [[2, 3], [2, 1, 2, 3], [2, 1, 0, 1, 2, 3], [2, 3], [1, 3], [0, 3]]
    truth, _, _ = task.start(clips[:, 0], draws)
    off = [patch_tracking.distance(torch.full((1, 3), 0.1 * length), truth).item() for length in (2, 4, 6)]
    expected = MATCHES * 0.75 + LONG * np.mean(off) + SKIP * off[0]
    assert values["loss"].item() == pytest.approx(expected, rel=1e-5)


def test_chance_is_the_middle_and_several_patches_of_a_video_count_alike():
    clips, draws = still(4), upright(4, patches=5)
    task, values = tracked(clips, draws)
    truth, _, _ = task.start(clips[:, 0], draws)
    near = (truth[:, :2].norm(dim=1) < 1 / 6).float().view(4, 5).mean(1)
    torch.testing.assert_close(values["chance"], near)
    assert values["accuracy"].shape == (4,)


@pytest.mark.parametrize("backbone", ["resnet18_tiny", "r3d_18_tiny"])
def test_blank_frames_tell_no_place(backbone):
    torch.manual_seed(0)
    task = TimeCycle(create_model(backbone), size=48, dim=32)
    clips = torch.randn(8, 1, 3, 6, 48, 48)
    task.train()(clips, torch.rand(8, 1, 4))  # statistics
    blank = torch.full((8, 1, 3, 6, 48, 48), 0.7)
    truth, patch, maps = task.eval().start(blank[:, 0], torch.rand(8, 1, 4))
    assert truth[:, :2].std() > 0.1
    for place, _ in task.follow(patch, maps, [3, 2, 3, 4]):
        assert place.std(0).max() < 1e-4  # one answer to all, wherever the patch was


def test_places_follow_matches_and_not_matches_places(monkeypatch):
    fixed, whole = [], patch_tracking.explained

    def spy(match, place):
        fixed.append(not match.requires_grad and place.requires_grad)
        return whole(match, place)

    monkeypatch.setattr(patch_tracking, "explained", spy)
    task = TimeCycle(create_model("resnet18_tiny"), size=48, dim=32)
    task(torch.randn(2, 1, 3, 6, 48, 48), torch.rand(2, 1, 4))
    assert len(fixed) == 2 + 4 + 6 + 8 + 4 * 2
    assert all(fixed)


def test_the_backbone_rests_at_first_and_a_resumed_run_counts_on():
    task = TimeCycle(create_model("resnet18_tiny"), size=48, dim=32, frozen=2)

    def learns() -> bool:
        task.zero_grad()
        task(torch.randn(2, 1, 3, 6, 48, 48), torch.rand(2, 1, 4))["loss"].backward()
        assert task.embed.weight.grad.abs().sum() > 0
        # zero and not None: distributed training waits for the gradient of every parameter
        return bool(sum(p.grad.abs().sum() for p in task.backbone.parameters()) > 0)

    assert not learns()
    task.eval()(torch.randn(2, 1, 3, 6, 48, 48), torch.rand(2, 1, 4))  # a look at held-out videos is no step
    again = TimeCycle(create_model("resnet18_tiny"), size=48, dim=32, frozen=2)
    again.load_state_dict(task.state_dict())
    task = again
    assert not learns()
    assert learns()


def test_frames_of_a_sample(world_index):
    task = TimeCycle(create_model("resnet18_tiny"), fps=None, gap=3, ahead=7)
    clips = task.sample(world_index.videos("train")[0], np.random.default_rng(0))
    assert np.diff(clips.indices).tolist() == [[3, 3, 3, 7, 1]]
    assert clips.target.shape == (1, 4)
    same = task.sample(world_index.videos("train")[0], np.random.default_rng(0), training=False)
    assert (same.target >= 0).all()
    assert (same.target < 1).all()
