"""LSTM and GRU heads: what comes out is what torch's cells give, and as large as the papers'."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ssvid.errors import ConfigError
from ssvid.zoo import count_parameters
from tests.test_zoo_heads import ENTRIES, build_head, maps


def meta_parameters(name: str, dim: int, **options) -> int:
    with torch.device("meta"):
        return count_parameters(ENTRIES[name].build(dim, **options))


@pytest.mark.parametrize(
    ("name", "dim", "options", "millions"),
    [
        ("lstm", 4096, {"hidden": 256}, 4.458),
        ("lstm", 4096, {"hidden": 512, "layers": 5}, 17.85),
        ("lstm", 1024, {"hidden": 512, "layers": 5}, 11.55),
        ("gru", 4096, {"hidden": 256}, 4.458 * 3 / 4),
    ],
)
def test_size_is_the_published_one(name: str, dim: int, options: dict, millions: float) -> None:
    assert meta_parameters(name, dim, **options) / 1e6 == pytest.approx(millions, rel=1e-3)


@torch.no_grad()
def test_lstm_by_hand() -> None:
    head = build_head("lstm", 1, hidden=1)
    for parameter in head.parameters():
        parameter.fill_(0.5)
    x = torch.tensor([1.0, -2.0]).view(1, 1, 2, 1, 1)
    sigmoid, tanh = torch.sigmoid, torch.tanh

    def gate(value: float, hidden: Tensor) -> Tensor:
        return torch.tensor(0.5 * value + 0.5 + 0.5) + 0.5 * hidden

    hidden = cell = torch.tensor(0.0)
    expected = []
    for value in (1.0, -2.0):
        z = gate(value, hidden)
        cell = sigmoid(z) * cell + sigmoid(z) * tanh(z)
        hidden = sigmoid(z) * tanh(cell)
        expected.append(hidden)
    torch.testing.assert_close(head(x).flatten(), torch.stack(expected))


@pytest.mark.parametrize("name", ["lstm", "gru"])
@torch.no_grad()
def test_many_to_one_is_the_last_of_many_to_many(name: str) -> None:
    x = maps(5)
    every, last = build_head(name, hidden=6), build_head(name, hidden=6, returns="last")
    assert every(x).shape == (2, 6, 5, 1, 1)
    assert torch.equal(last(x), every(x)[:, :, -1:])
    torch.testing.assert_close(every(x), every(x.mean((3, 4), keepdim=True)))


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_a_state_has_seen_the_steps_before_it(name: str) -> None:
    head, x = build_head(name), maps(6)
    other = x.clone()
    other[:, :, 3] += 1
    changed = (head(x) != head(other)).amax((0, 1, 3, 4))
    assert changed.tolist() == [False] * 3 + [True] * 3


def test_no_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match="lstm: layers is 0"):
        ENTRIES["lstm"].build(8, layers=0)
