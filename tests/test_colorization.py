"""Lab by known values, the quantizer, and the pointer's copy by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pretext.colorization import EPS, Colorization
from ssvid.data.augment import apply
from ssvid.data.color import lab_to_rgb, rgb_to_lab
from ssvid.errors import ConfigError
from ssvid.ops.color_quantizer import ColorQuantizer
from ssvid.zoo import create_model, model_info
from tests.bare import BareBackbone

INFO = model_info("resnet18_tiny")
LAB = {  # as tables and every colour library give them, for the white of D65
    (1, 1, 1): (100.0, 0.0, 0.0),
    (0, 0, 0): (0.0, 0.0, 0.0),
    (0.5, 0.5, 0.5): (53.389, 0.0, 0.0),
    (1, 0, 0): (53.241, 80.092, 67.203),
    (0, 1, 0): (87.735, -86.183, 83.179),
    (0, 0, 1): (32.297, 79.188, -107.860),
    (1, 1, 0): (97.139, -21.554, 94.478),
}


def paint(*colors: tuple[float, ...], side: int = 4) -> torch.Tensor:
    """One frame a colour: (1,3,T,side,side)."""
    return torch.tensor(colors).T.reshape(1, 3, -1, 1, 1).expand(-1, -1, -1, side, side).clone()


def pixels(frames: torch.Tensor) -> torch.Tensor:
    """Colours (B,3,T,H,W) as the clips that a task is given."""
    return frames.unsqueeze(1)


class Light(BareBackbone):
    """Every pixel is a cell, and its features are its channels."""

    info = INFO

    def encode(self, x):
        self.seen = x
        return nn.functional.pad(self.seen, (0, 0) * 3 + (0, INFO.dim - 3))


@pytest.mark.parametrize(("rgb", "lab"), LAB.items())
def test_lab_of_known_colours_and_back(rgb, lab):
    frame = torch.tensor(rgb, dtype=torch.float32).view(3, 1, 1, 1)
    found = rgb_to_lab(frame)
    assert found.flatten().tolist() == pytest.approx(lab, abs=0.01)
    assert lab_to_rgb(found).flatten().tolist() == pytest.approx(rgb, abs=1e-4)


def test_lab_is_batched_and_survives_mixed_precision():
    frames = torch.rand(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    whole = rgb_to_lab(frames)
    torch.testing.assert_close(lab_to_rgb(whole), frames, atol=1e-4, rtol=0)
    torch.testing.assert_close(whole[1, :, 2:3], rgb_to_lab(frames[1, :, 2:3]))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(rgb_to_lab(frames), whole)


def test_the_palette_finds_the_colours_of_the_data_and_is_saved():
    colors = [(0.8, 0.2, 0.2), (0.2, 0.7, 0.3), (0.3, 0.3, 0.8)]
    frames = paint(*colors)
    quantizer = ColorQuantizer(3, "grey")
    quantizer.fit(frames)
    expected = rgb_to_lab(frames)[0, 1:, :, 0, 0].T
    assert torch.cdist(expected, quantizer.centres[0]).amin(1).max() < 1e-3
    assert quantizer.classes(frames, (2, 2)).unique().numel() == 3
    again = ColorQuantizer(3, "grey")
    again.load_state_dict(quantizer.state_dict())
    assert torch.equal(again.centres, quantizer.centres)
    painted = quantizer.paint(frames, quantizer.classes(frames, (2, 2)))
    torch.testing.assert_close(painted, frames, atol=1e-3, rtol=0)


def test_what_is_hidden_is_gone_and_what_is_not_stays():
    frames = paint((0.6, 0.4, 0.5), (0.4, 0.5, 0.45))
    light, a, b = rgb_to_lab(frames).unbind(1)
    grey = ColorQuantizer(4, "grey").hide(frames)
    assert (grey.amax(1) - grey.amin(1)).max() < 1e-4
    torch.testing.assert_close(rgb_to_lab(grey)[:, 0], light, atol=0.01, rtol=0)
    dropout = ColorQuantizer(4, "lab_dropout")
    for way, kept in enumerate((torch.stack([light, 0 * a, b], 1), torch.stack([light, a, 0 * b], 1))):
        torch.testing.assert_close(rgb_to_lab(dropout.hide(frames, way)), kept, atol=0.01, rtol=0)
        assert (dropout.centres[way][:, 1 - way] == 0).all()  # what can be seen is not asked for
    with pytest.raises(ConfigError, match="lab_dropout"):
        ColorQuantizer(4, "sepia")


def test_colours_are_sub_sampled_not_mixed():
    board = torch.tensor([[0.9, 0.1], [0.1, 0.9]]).repeat(4, 4)
    frames = torch.stack([board, board.flip(1), torch.full_like(board, 0.5)]).view(1, 3, 1, 8, 8)
    quantizer = ColorQuantizer(2, "grey")
    quantizer.fit(frames)
    corners = quantizer.classes(frames, (8, 8))[..., ::2, ::2]
    assert torch.equal(quantizer.classes(frames, (4, 4)), corners)


def make_task(frames: torch.Tensor, **options) -> Colorization:
    task = Colorization(Light(), references=frames.shape[2] - 1, colors=2, dim=1, **options)
    task.prepare(pixels(frames))
    nn.init.zeros_(task.head.weight)
    nn.init.zeros_(task.head.bias)
    task.head.weight.data[0, 0] = 10.0  # the embedding of a cell is ten times its grey
    return task


def test_the_copy_by_hand():
    # two references of one colour each, and a target of the first: red is lighter
    frames = paint((0.9, 0.3, 0.3), (0.1, 0.2, 0.5), (0.9, 0.3, 0.3), side=1)
    task = make_task(frames)
    task.head.weight.data[0, 0] = 2.0
    grey = task.quantizer.hide(frames)[0, 0, :, 0, 0].double()
    f = 2 * grey.numpy()
    for train, temperature in ((True, 1.0), (False, 0.5)):
        values = task.train(train)(pixels(frames), torch.zeros(1, 0))
        weights = np.exp(f[2] * f[:2] / temperature)
        copied = weights[0] / weights.sum()
        assert values["loss"].item() == pytest.approx(-np.log(copied + EPS), rel=1e-3)
        assert values["accuracy"].tolist() == [1.0]
    assert task.backbone.seen.shape == (3, 3, 1, 1, 1)  # a frame a time
    assert (task.backbone.seen.amax(1) - task.backbone.seen.amin(1)).max() < 1e-4  # in grey


def test_a_sure_and_right_pointer_has_no_loss():
    """A second softmax of the copied probabilities would leave log(1 + 1/e) = 0.31."""
    frames = paint((0.95, 0.6, 0.6), (0.05, 0.02, 0.1), (0.95, 0.6, 0.6), side=1)
    task = make_task(frames)
    task.head.weight.data *= 10
    assert task(pixels(frames), torch.zeros(1, 0))["loss"].item() < 1e-3


def test_chance_is_the_commonest_colour_of_the_references():
    red, blue = (0.9, 0.3, 0.3), (0.1, 0.2, 0.5)
    target = paint(red)
    target[..., :1] = torch.tensor(blue).view(1, 3, 1, 1, 1)  # a quarter of it is blue
    frames = torch.cat([paint(red, blue, red), target], 2)
    assert make_task(frames)(pixels(frames), torch.zeros(1, 0))["chance"].tolist() == [0.75]
    frames = torch.cat([paint(blue, blue, red), target], 2)
    assert make_task(frames)(pixels(frames), torch.zeros(1, 0))["chance"].tolist() == [0.25]


class Place(BareBackbone):
    """Knows where a cell is and nothing of what it shows."""

    info = INFO

    def encode(self, x):
        N = x.shape[-1] // 8
        return torch.eye(N * N, INFO.dim).T.reshape(1, INFO.dim, 1, N, N).expand(len(x), -1, -1, -1, -1)


def test_a_place_does_not_tell_a_colour():
    """Colours that stay where they are: a network that reads places has them all, unless each frame is cropped on its own."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (32, 8, 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    still = torch.from_numpy(blocks)[:, None, None].expand(-1, 1, 4, -1, -1, -1)
    task = Colorization(Place(), size=64).eval()
    nn.init.eye_(task.head.weight)
    task.head.weight.data *= 10
    found = []
    for params in ([task.augment.centre(1, 4)] * 32, [task.augment.draw(rng, 1, 4) for _ in range(32)]):
        stacked = {key: torch.from_numpy(np.stack([one[key] for one in params])) for key in params[0]}
        clips = apply(still, stacked, 64)
        task.prepare(clips)
        found.append(task(clips, torch.zeros(32, 0))["accuracy"].mean().item())
    assert found[0] > 0.9
    assert found[1] < 0.4


def test_references_come_first_at_even_gaps(world_index):
    video = world_index.videos("train")[0]
    task = Colorization(create_model("resnet18_tiny"), fps=None, gap=5)
    for seed in range(5):
        indices = task.sample(video, np.random.default_rng(seed)).indices
        assert np.diff(indices).tolist() == [[5, 5, 5]]
    drawn = task.augment.draw(np.random.default_rng(0), 1, 4)["box"][0]
    assert len({tuple(box) for box in drawn.round(4).tolist()}) == 4
