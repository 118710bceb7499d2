"""Convolutional LSTMs and those that attend: beside torch's own cells, by hand, and as large as published."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ssvid.errors import ConfigError
from ssvid.zoo import count_parameters
from ssvid.zoo.recurrence import Attention, ConvGates, MeanStart
from tests.test_temporal_convolutions import macs, meta_head
from tests.test_temporal_recurrent import meta_parameters
from tests.test_zoo_heads import ENTRIES, build_head, maps


def as_cell(gates: ConvGates) -> nn.LSTMCell:
    """torch's cell with the weights of gates of one cell."""
    conv, hidden = gates.of_input, gates.of_hidden[0]
    cell = nn.LSTMCell(conv.in_channels, hidden.in_channels)
    cell.weight_ih.copy_(conv.weight[..., 0, 0])
    cell.weight_hh.copy_(hidden.weight[..., 0, 0])
    cell.bias_ih.copy_(conv.bias)
    nn.init.zeros_(cell.bias_hh)
    return cell


def run(cell: nn.LSTMCell, steps: list[Tensor]) -> Tensor:
    """Hidden states (B,H,t) of vectors (B,D)."""
    state, given = None, []
    for step in steps:
        state = cell(step, state)
        given.append(state[0])
    return torch.stack(given, 2)


# --- sizes ----------------------------------------------------------------------------------------------------------


def test_convlstm_is_as_large_and_costly_as_published() -> None:
    head = meta_head("convlstm", 512)
    assert count_parameters(head) / 1e6 == pytest.approx(18.876, rel=1e-4)
    steps = [macs(head, 512, t, 7, 7) for t in (3, 4)]
    assert (steps[1] - steps[0]) / 1e9 == pytest.approx(0.925, rel=1e-3)


def test_alstm_is_as_large_as_published() -> None:
    head = meta_head("alstm", 512)
    assert count_parameters(head.attend) / 1e6 == pytest.approx(0.525, rel=1e-3)
    assert count_parameters(head.gates) / 1e6 == pytest.approx(2.10, rel=1e-3)


def test_videolstm_is_as_large_as_published() -> None:
    head = meta_head("videolstm", 512, start="mean")
    assert count_parameters(head.lower) / 1e6 == pytest.approx(3.15, rel=1e-3)
    assert count_parameters(head) / 1e6 == pytest.approx(27.8, rel=1e-3)
    assert meta_parameters("videolstm", 1024, hidden=512, motion="half", start="mean") == count_parameters(head)


# --- by other means -------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_convlstm_of_one_cell_is_the_lstm_of_torch() -> None:
    head, x = build_head("convlstm", kernel=1), maps(5, side=1)
    torch.testing.assert_close(head(x)[..., 0, 0], run(as_cell(head.gates), list(x[..., 0, 0].unbind(2))))


@torch.no_grad()
def test_a_convlstm_sees_the_cells_around_one_more_ring_a_step() -> None:
    head, x = build_head("convlstm"), maps(3, side=9)
    other = x.clone()
    other[:, :, 0, 4, 4] += 1
    changed = (head(x) != head(other)).amax((0, 1))
    for step, reach in enumerate((1, 2, 3)):
        expected = torch.zeros(9, 9, dtype=torch.bool)
        expected[4 - reach : 5 + reach, 4 - reach : 5 + reach] = True
        assert torch.equal(changed[step], expected)


@torch.no_grad()
def test_a_start_is_told_from_the_mean_of_all_steps() -> None:
    x = maps(4)
    start = MeanStart(8, 6, 1).eval()
    hidden, cell = start(x)
    both = torch.tanh(
        torch.einsum("hd,bdyx->bhyx", start.conv.weight[..., 0, 0], x.mean(2)) + start.conv.bias[:, None, None]
    )
    torch.testing.assert_close(torch.cat([hidden, cell], 1), both)
    head = build_head("convlstm", start="mean")
    other = x.clone()
    other[:, :, 3] += 1  # the last step, which a start of zeros would not show in the first
    assert not torch.equal(head(x)[:, :, 0], head(other)[:, :, 0])


@torch.no_grad()
def test_attention_by_hand() -> None:
    attend = Attention(1, 1, 1)
    for parameter in attend.parameters():
        parameter.fill_(1)
    attend.of_input.bias.zero_()
    x = torch.tensor([[0.5, -0.5]]).view(1, 1, 1, 2)
    weights = attend(attend.project(x), torch.full((1, 1, 1, 1), 0.25))
    expected = torch.tensor([0.75, -0.25]).tanh().softmax(0)
    torch.testing.assert_close(weights.flatten(), expected)


@torch.no_grad()
def test_what_alstm_takes_is_the_weighted_sum_of_the_cells() -> None:
    head, x = build_head("alstm"), maps(4)
    weights = head.attention(x)
    torch.testing.assert_close(weights.sum((2, 3)), torch.ones(2, 4))
    seen = (weights[:, None] * x).sum((3, 4))
    torch.testing.assert_close(head(x)[..., 0, 0], run(as_cell(head.gates), list(seen.unbind(2))))


@torch.no_grad()
def test_where_cells_count_alike_conv_alstm_is_a_convlstm_of_their_share() -> None:
    head, plain = build_head("conv_alstm"), build_head("convlstm")
    nn.init.zeros_(head.attend.score.weight)
    plain.gates.load_state_dict(head.gates.state_dict())
    x = maps(4)
    torch.testing.assert_close(head.attention(x), torch.full((2, 4, 3, 3), 1 / 9))
    torch.testing.assert_close(head(x), plain(x / 9))


@torch.no_grad()
@pytest.mark.parametrize("name", ["alstm", "conv_alstm", "videolstm"])
def test_attention_follows_what_was_seen(name: str) -> None:
    head, x = build_head(name), maps(4)
    assert head.attention(x).shape == (2, 4, 3, 3)
    other = x.clone()
    other[:, :, 1, 0, 0] += 1
    changed = (head.attention(x) != head.attention(other)).amax((0, 2, 3)).tolist()
    assert changed == [False, True, True, True]


@torch.no_grad()
def test_videolstm_looks_where_its_motion_is() -> None:
    head = build_head("videolstm", 4, motion="half", hidden=3)
    nn.init.zeros_(head.attend.of_input.weight)  # what is seen has no say
    x = maps(3, 4)
    appearance, moving = x.clone(), x.clone()
    appearance[:, :2, 0] += 1
    moving[:, 2:, 0] += 1
    first = head.attention(x)[:, 0]
    assert torch.equal(head.attention(appearance)[:, 0], first)
    assert not torch.equal(head.attention(moving)[:, 0], first)
    assert not torch.equal(
        head.attention(appearance)[:, 1], head.attention(x)[:, 1]
    )  # what the upper one remembers comes down


@torch.no_grad()
def test_motion_is_the_change_from_the_step_before() -> None:
    x = maps(4)
    change = torch.cat([torch.zeros_like(x[:, :, :1]), x.diff(dim=2)], 2)
    for start in ("zeros", "mean"):
        one, other = (
            build_head("videolstm", start=start, hidden=8),
            build_head("videolstm", 16, start=start, hidden=8, motion="half"),
        )
        other.load_state_dict(one.state_dict())
        torch.testing.assert_close(other(torch.cat([x, change], 1)), one(x))


def test_an_odd_number_of_channels_has_no_half() -> None:
    with pytest.raises(ConfigError, match="7 channels have no half"):
        ENTRIES["videolstm"].build(7, motion="half")
