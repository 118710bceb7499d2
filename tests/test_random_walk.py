"""Return probabilities by hand, where homes are, and nets that walk home by place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pretext.random_walk import RandomWalk
from ssvid.errors import ConfigError
from ssvid.ops import palindrome_walks, patches
from ssvid.zoo import create_model, model_info
from tests.bare import BareBackbone

INFO = model_info("resnet18_tiny")
SMALL = {"size": 48, "patch": 16, "grid": 4}
WHOLE = torch.tensor([0.0, 0.0, 1.0, 1.0])


def unit_nodes(T: int, N: int, D: int = 4, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(2, T, N, D, generator=torch.Generator().manual_seed(seed)), dim=-1)


def softmax(x: np.ndarray) -> np.ndarray:
    weights = np.exp(x)
    return weights / weights.sum(1, keepdims=True)


def test_return_probabilities_of_a_graph_of_three_nodes():
    """Frame 1 turns the nodes of frame 0 by 90 degrees, frame 2 by 180: likenesses are 0, 1 and -1 and can be written down."""
    frame = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    frames = [frame, frame @ turn, frame @ turn @ turn]
    e = np.exp(1 / 0.5)
    first = np.array([[1, 1 / e, 1], [e, 1, 1 / e], [1, e, 1]])  # of frame 0 with frame 1, over the temperature of 0.5
    first /= first.sum(1, keepdims=True)
    nodes = torch.tensor(np.stack(frames), dtype=torch.float32)[None]
    away, ends = palindrome_walks.palindromes(nodes, nodes, temperature=0.5)
    np.testing.assert_allclose(away[0][0].exp(), first, rtol=1e-5)
    steps = {(s, t): softmax(frames[s] @ frames[t].T / 0.5) for s in range(3) for t in range(3)}
    np.testing.assert_allclose(first, steps[0, 1], rtol=1e-9)
    np.testing.assert_allclose(ends[0][0].exp(), steps[0, 1] @ steps[1, 0], rtol=1e-5)
    np.testing.assert_allclose(away[1][0].exp(), steps[0, 1] @ steps[1, 2], rtol=1e-5)
    np.testing.assert_allclose(ends[1][0].exp(), steps[0, 1] @ steps[1, 2] @ steps[2, 1] @ steps[1, 0], rtol=1e-5)


def test_the_way_back_is_walked_on_its_own_nodes():
    there, back = unit_nodes(3, 5), unit_nodes(3, 5, seed=1)
    _, ends = palindrome_walks.palindromes(there, back, 0.2)
    steps = [
        softmax(a @ b.T / 0.2)
        for a, b in zip(
            (there[0, 0].numpy(), there[0, 1].numpy(), there[0, 2].numpy(), back[0, 1].numpy()),
            (there[0, 1].numpy(), there[0, 2].numpy(), back[0, 1].numpy(), back[0, 0].numpy()),
            strict=True,
        )
    ]
    np.testing.assert_allclose(ends[1][0].exp(), np.linalg.multi_dot(steps), rtol=1e-4)


def test_the_walk_is_in_fp32_and_nothing_vanishes():
    nodes = unit_nodes(5, 6).requires_grad_()
    _, exact = palindrome_walks.palindromes(nodes.detach(), nodes.detach(), 0.07)
    with torch.autocast("cpu", torch.bfloat16):
        _, ends = palindrome_walks.palindromes(nodes.bfloat16(), nodes.bfloat16(), 0.07)
        _, full = palindrome_walks.palindromes(nodes, nodes, 0.07)
    assert ends[-1].dtype == torch.float32
    torch.testing.assert_close(full[-1], exact[-1])
    _, sharp = palindrome_walks.palindromes(
        nodes, nodes, 0.005
    )  # likenesses over 400 apart: exp leaves fp32 on both sides
    sharp[-1].diagonal(dim1=1, dim2=2).mean().backward()
    assert sharp[-1].isfinite().all()
    assert nodes.grad.isfinite().all()
    steps = [(nodes[:, s].double() @ nodes[:, t].double().transpose(1, 2) / 0.005).log_softmax(-1)
             for s, t in ((0, 1), (1, 2), (2, 3), (3, 4), (4, 3), (3, 2), (2, 1), (1, 0))]  # fmt: skip
    expected = steps[0]
    for step in steps[1:]:
        expected = torch.logsumexp(expected[:, :, :, None] + step[:, None], 2)
    sure = expected > -60
    torch.testing.assert_close(sharp[-1][sure].double(), expected[sure], rtol=1e-3, atol=1e-2)


def test_edges_are_dropped_by_independent_draws(monkeypatch):
    masks = []
    whole = palindrome_walks.step

    def spy(a, b, temperature, dropout):
        found = whole(a, b, temperature, dropout)
        torch.testing.assert_close(
            found.exp().sum(-1), torch.ones(found.shape[:2])
        )  # what is left shares what was dropped
        masks.append(found < -20)
        return found

    monkeypatch.setattr(palindrome_walks, "step", spy)
    nodes = F.normalize(torch.ones(4, 2, 40, 8), dim=-1)  # all alike: only dropped edges are improbable
    torch.manual_seed(0)
    _, ends = palindrome_walks.palindromes(nodes, nodes, 0.07, dropout=0.1)
    away, back = masks[0], masks[1].transpose(1, 2)
    assert away.float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert back.float().mean().item() == pytest.approx(0.1, abs=0.02)  # were it inherited, 0.19
    assert (away & back).float().mean().item() == pytest.approx(0.01, abs=0.01)
    assert ends[0].isfinite().all()
    lost = whole(nodes[:, 0], nodes[:, 1], 0.07, 1.0)  # a node that lost every edge
    torch.testing.assert_close(lost.exp(), torch.full_like(lost, 1 / 40))


def test_homes_by_hand():
    right_half = torch.tensor([0.5, 0.0, 0.5, 1.0])
    cell, inside = patches.same_place(WHOLE[None], right_half[None], 4)
    assert inside[0].view(4, 4).tolist() == [[False, False, True, True]] * 4
    # centres at 1/8 and 5/8 ... of the right half: columns 2 and 3 of the whole are its columns 1 and 3
    assert cell[0].view(4, 4)[:, 2:].tolist() == [[1, 3], [5, 7], [9, 11], [13, 15]]
    mirrored = torch.tensor([0.0, 0.0, -1.0, 1.0])
    cell, inside = patches.same_place(WHOLE[None], mirrored[None], 3)
    assert inside.all()
    assert cell[0].view(3, 3).tolist() == [[2, 1, 0], [5, 4, 3], [8, 7, 6]]
    nodes = torch.zeros(1, 2, 3, 16, 4)
    start, home, share = palindrome_walks.homes(torch.stack([WHOLE, right_half])[None, :, None], nodes)
    assert start[0].tolist() == list(range(16))
    assert home[0, 2].item() == 1
    assert share[0].view(4, 4)[0].tolist() == [0, 0, 0.125, 0.125]


def test_homes_are_where_the_content_went():
    """A picture whose colours are its coordinates: what a cell of the first cut shows, its home in the second shows too."""
    ramp = (torch.arange(64) + 0.5) / 32 - 1
    frame = torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64), torch.zeros(64, 64)])
    rng = np.random.default_rng(0)
    task = RandomWalk(create_model("resnet18_tiny"), graph="map")
    boxes = torch.from_numpy(np.stack([task.cut.draw(rng, 2, 1)["box"] for _ in range(8)]))
    views = patches.cut_twice(frame.expand(8, 1, -1, -1, -1), boxes)[:, :, 0]  # (8,2,3,64,64)
    centres = views.unflatten(-1, (8, 8)).unflatten(-3, (8, 8)).mean((-3, -1))  # of 8 x 8 cells
    first, second = centres[:, 0, :2].flatten(2), centres[:, 1, :2].flatten(2)  # (8,2,64)
    home, inside = patches.same_place(boxes[:, 0, 0], boxes[:, 1, 0], 8)
    there = second.gather(2, home[:, None].expand(-1, 2, -1))
    half_cell = boxes[:, 1, 0, 2:].abs()[:, :, None] / 8
    near = ((first - there).abs() <= half_cell + 0.03).all(1)
    assert 0.3 < inside.float().mean() < 0.9
    assert near[inside].all()
    assert near[~inside].float().mean() < 0.1  # some lie just outside


def test_patches_are_cut_from_the_lattice_and_each_on_its_own():
    frames = torch.rand(2, 3, 3, 48, 48)
    whole = WHOLE.expand(2, 3, 16, 4)
    found = patches.cut_patches(frames, whole, 16, 4)
    assert found.shape == (2, 3, 16, 3, 16, 16)
    torch.testing.assert_close(found[1, 2, 0], frames[1, 2, :, :16, :16], atol=1e-5, rtol=0)
    torch.testing.assert_close(found[0, 1, 6], frames[0, 1, :, 11:27, 21:37], atol=1e-5, rtol=0)  # of 0, 11, 21, 32
    torch.testing.assert_close(found[0, 0, 15], frames[0, 0, :, 32:, 32:], atol=1e-5, rtol=0)


def test_every_patch_and_every_frame_has_a_crop_of_its_own(world_index):
    video = world_index.videos("train")[0]
    task = RandomWalk(create_model("resnet18_tiny"), **SMALL)
    boxes = task.sample(video, np.random.default_rng(0)).target
    assert boxes.shape == (4, 16, 4)
    assert len(np.unique(boxes.reshape(-1, 4), axis=0)) == 64
    areas = np.prod(boxes[..., 2:], -1)
    assert 0.69 < areas.min() < areas.max() < 0.91
    assert (task.sample(video, np.random.default_rng(0), training=False).target == WHOLE.numpy()).all()
    frames = task.augment.draw(np.random.default_rng(0), 1, 4)["box"][0]
    assert len(np.unique(frames, axis=0)) == 4
    assert 0.79 < np.prod(np.abs(frames[:, 2:]), -1).min() < np.prod(np.abs(frames[:, 2:]), -1).max() < 0.96


class Content(BareBackbone):
    """The mean colour of a patch, or of a cell of 8 px."""

    info = INFO

    def encode(self, x):
        cells = F.avg_pool3d(x, (1, 8, 8))
        return F.pad(cells, (0, 0) * 3 + (0, INFO.dim - 3))


class Place(BareBackbone):
    """Where a cell lies in the picture it is given, and nothing of what that shows."""

    info = INFO

    def encode(self, x):
        N = x.shape[-1] // 8
        return torch.eye(N * N, INFO.dim).T.reshape(1, INFO.dim, 1, N, N).expand(len(x), -1, -1, -1, -1)


def ask(task: RandomWalk, clips: torch.Tensor, boxes: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    """The values of a task in test mode, with an even head, for boxes drawn as for training where none are given."""
    nn.init.eye_(task.head.weight)
    nn.init.zeros_(task.head.bias)
    if boxes is None:
        rng, T = np.random.default_rng(0), clips.shape[3]
        count = (2, T) if task.on_map else (T, task.grid**2)
        boxes = torch.from_numpy(np.stack([task.cut.draw(rng, *count)["box"] for _ in clips]))
    return task.eval()(clips, boxes)


def test_accuracy_and_loss_of_sure_walks():
    noise = torch.randn(2, 1, 3, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    still = F.interpolate(F.avg_pool3d(noise[:, 0], (1, 16, 16)), (1, 48, 48), mode="nearest")[:, None]
    clips = 20 * still.expand(-1, -1, -1, 4, -1, -1)
    task = RandomWalk(Content(), size=48, patch=16, grid=3, temperature=0.003)
    values = ask(task, clips, WHOLE.expand(2, 4, 9, 4))
    assert values["accuracy"].tolist() == [1.0, 1.0]
    assert values["loss"].item() < 0.2
    torch.testing.assert_close(values["chance"], torch.full((2,), 1 / 9))


def test_the_loss_is_the_mean_over_the_walks_from_the_shortest():
    clips = torch.randn(2, 1, 3, 4, 48, 48, generator=torch.Generator().manual_seed(0))
    boxes = WHOLE.expand(2, 4, 16, 4)
    losses = {s: ask(RandomWalk(Content(), shortest=s, **SMALL), clips, boxes)["loss"].item() for s in (1, 2, 3)}
    nodes = RandomWalk(Content(), **SMALL)
    nn.init.eye_(nodes.head.weight)
    nn.init.zeros_(nodes.head.bias)
    ways = nodes.nodes(clips, boxes)[:, 0]
    _, ends = palindrome_walks.palindromes(ways, ways, 0.07)
    single = [-end.diagonal(dim1=1, dim2=2).mean().item() for end in ends]
    for shortest, loss in losses.items():
        assert loss == pytest.approx(np.mean(single[shortest - 1 :]), rel=1e-5)


@pytest.mark.parametrize("backbone", ["resnet18_tiny", "r3d_18_tiny"])
def test_blank_frames_are_at_chance_on_patches(backbone):
    torch.manual_seed(0)
    net = create_model(backbone)
    net.train()(torch.randn(4, 3, 4, 32, 32))  # statistics under which its features are not all alike
    task = RandomWalk(net, **SMALL)
    clips = torch.randn(8, 1, 3, 1, 1, 1).expand(-1, -1, -1, 4, 48, 48)
    assert ask(task, clips)["accuracy"].mean().item() < 2 / 16


def test_a_net_that_reads_places_is_caught_on_the_map():
    clips = torch.zeros(64, 1, 3, 4, 48, 48)
    task = RandomWalk(Place(), size=48, graph="map")
    aligned = ask(task, clips, WHOLE.expand(64, 2, 4, 4))
    assert aligned["accuracy"].mean() == 1  # it walks home on nothing at all
    assert aligned["chance"].mean() == 1  # and that says so
    apart = ask(task, clips)
    assert apart["accuracy"].mean() < 0.2
    assert (apart["accuracy"] <= apart["chance"] + 1e-6).all()
    assert apart["chance"].mean() < 0.25


def test_blank_frames_are_at_chance_on_the_map():
    torch.manual_seed(0)
    net = create_model("resnet18_tiny")
    net.train()(torch.randn(4, 3, 4, 48, 48))
    values = ask(RandomWalk(net, size=48, graph="map"), torch.randn(64, 1, 3, 1, 1, 1).expand(-1, -1, -1, 4, 48, 48))
    assert values["accuracy"].mean() <= values["chance"].mean() + 0.03


def test_content_is_followed_on_the_map():
    """The guards leave the honest answer: coarse colours of a still picture are found again in the other cuts."""
    coarse = torch.randn(32, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    still = F.interpolate(coarse, (48, 48), mode="bilinear")[:, None, :, None].expand(-1, -1, -1, 4, -1, -1)
    task = RandomWalk(Content(), size=48, graph="map", temperature=0.01, frames=2)
    values = ask(task, 3 * still[:, :, :, :2])
    gain = values["accuracy"] - values["chance"]
    assert gain.mean() > 3 * gain.std() / len(gain) ** 0.5


@pytest.mark.parametrize("options", [{"graph": "edges"}, {"shortest": 4}, {"shortest": 0}, {"patch": 300}])
def test_what_cannot_be_walked_is_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        RandomWalk(create_model("resnet18_tiny"), **options)


def test_patches_under_the_least_of_the_backbone_are_refused():
    with pytest.raises(ConfigError, match="9"):
        RandomWalk(create_model("s3d_tiny"), size=32, patch=8, grid=3)
