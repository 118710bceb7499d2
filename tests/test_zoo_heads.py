"""The contract of every temporal head on one image network and one 3-D network: a head is tested by being registered."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pretext.arrow_of_time import ArrowOfTime
from ssvid.errors import ConfigError
from ssvid.zoo import clip_vector, create_model, load_weights, model_info
from ssvid.zoo.geometry import HeadGeometry, head_geometry
from ssvid.zoo.info import POOLED
from ssvid.zoo.measure import measure_head, other_values
from ssvid.zoo.registry import HEADS, catalogue
from ssvid.zoo.stream import HeadStream, WindowStream, open_stream
from tests import zoo_contract as contract
from tests.zoo_contract import build, clip

CPU = torch.device("cpu")
ENTRIES = catalogue(HEADS)
VARIANTS = [
    (name, changed)
    for name, entry in ENTRIES.items()
    for changed in ({}, *({option: value} for option, value in other_values(entry)))
]


def facts_of(name: str, changed: dict[str, Any]) -> HeadGeometry:
    """What is known of a head with these options."""
    return head_geometry(ENTRIES[name], ENTRIES[name].settings(changed))


STREAMED = [variant for variant in VARIANTS if facts_of(*variant).streams]

CHANGE_ONLY = {"rank_pooling"}  # of a frame that stands still, they show nothing
every_variant = pytest.mark.parametrize(("name", "changed"), VARIANTS, ids=str)
every_headed = pytest.mark.parametrize(
    "model", [f"{encoder}+{name}" for name in ENTRIES for encoder in ("resnet18_tiny", "r3d_18_tiny")]
)


def prefixed(name: str, changed: dict[str, Any]) -> dict[str, Any]:
    """Options of a head as a model with it takes them."""
    return {f"{name}_{option}": value for option, value in changed.items()}


def build_head(name: str, dim: int = 8, **changed: Any) -> nn.Module:
    """A head alone, seeded, in eval mode."""
    torch.manual_seed(0)
    entry = ENTRIES[name]
    return entry.build(dim, **entry.settings(changed)).eval()


def maps(t: int, dim: int = 8, side: int = 3, seed: int = 0) -> Tensor:
    return torch.randn(2, dim, t, side, side, generator=torch.Generator().manual_seed(seed))


# --- the contract ---------------------------------------------------------------------------------------------------


@every_headed
def test_a_head_keeps_the_contract(model: str) -> None:
    contract.check_info(model)
    contract.check_names(model)
    frame_by_frame = model.startswith("resnet")  # on which clips are quick to encode
    contract.check_shapes(model, {}, odd_only=not frame_by_frame)
    contract.check_minimum(model, {})
    if frame_by_frame:
        contract.check_evaluation(model, {})


@pytest.mark.parametrize("name", ENTRIES)
def test_every_parameter_learns(name: str) -> None:
    """Over a 3-D network, that is seen in a step of arrow_of_time below."""
    contract.check_learning(f"resnet18_tiny+{name}", {})


@pytest.mark.parametrize("mode", ["replicate", "static"])
@pytest.mark.parametrize("name", [name for name in ENTRIES if name not in CHANGE_ONLY])
def test_an_isolated_step_sees_its_frame_only(name: str, mode: str) -> None:
    contract.check_isolation(f"resnet18_tiny+{name}", {}, mode)


@pytest.mark.parametrize(("name", "changed"), [v for v in VARIANTS if facts_of(*v) != facts_of(v[0], {})], ids=str)
def test_facts_that_an_option_changes_are_measured_again(name: str, changed: dict[str, Any]) -> None:
    """Those of heads without options are in test_zoo_measure; shapes and order with every option, below."""
    assert measure_head(ENTRIES[name], ENTRIES[name].settings(changed)) == facts_of(name, changed)


@every_variant
def test_every_option_keeps_shapes_and_learns(name: str, changed: dict[str, Any]) -> None:
    info = model_info(f"resnet18_tiny+{name}", **prefixed(name, changed))
    t = max(8, info.min_frames)
    head = build_head(name, 64, **changed).train()
    x = maps(t, 64, 4).requires_grad_()
    out = head(x)
    assert out.shape[:2] == (2, info.dim)
    assert out.shape[2] == -(-t // info.temporal_stride)
    assert out.shape[3:] == ((4, 4) if info.spatial_stride != POOLED else (1, 1))
    if out.requires_grad:  # a solver outside torch gives no gradient
        out.square().mean().backward()
        for parameter_name, parameter in head.named_parameters():
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.abs().sum() > 0, parameter_name


# --- order ----------------------------------------------------------------------------------------------------------


@every_variant
@torch.no_grad()
def test_a_head_knows_the_order_of_steps_only_where_it_says_so(name: str, changed: dict[str, Any]) -> None:
    backbone = build(f"resnet18_tiny+{name}", **prefixed(name, changed))
    x = clip(2, 9, 32).sigmoid()
    played = clip_vector(backbone(x))
    for steps in (torch.arange(9).flip(0), torch.tensor([3, 8, 1, 0, 6, 2, 7, 5, 4])):
        shuffled = clip_vector(backbone(x[:, :, steps]))
        same = bool((shuffled - played).abs().max() < 1e-9 * played.abs().max())
        assert same == (backbone.info.order == "blind")


@every_headed
def test_arrow_of_time_takes_a_step_or_refuses_what_is_blind(model: str) -> None:
    info = model_info(model)
    if info.order == "blind":
        with pytest.raises(ConfigError, match=r"the same in any order.*add a head that sees order"):
            ArrowOfTime.check(info)
        return
    ArrowOfTime.check(info)
    torch.manual_seed(0)
    task = ArrowOfTime(create_model(model), frames=8, size=32)
    optimizer = torch.optim.SGD(task.parameters(), 0.1)
    loss = task(torch.rand(4, 1, 3, 8, 32, 32), torch.tensor([[0.0, 1.0]] * 4))["loss"]
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    for name, parameter in task.named_parameters():
        assert parameter.isfinite().all(), name
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


# --- weights and precision ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENTRIES)
@torch.no_grad()
def test_what_is_saved_is_loaded_again(name: str, tmp_path) -> None:
    file = tmp_path / "weights.safetensors"
    one = create_model(f"resnet18_tiny+{name}").eval()
    save_file({key: tensor.contiguous() for key, tensor in one.state_dict().items()}, file)
    other = create_model(f"resnet18_tiny+{name}").eval()
    loaded = load_weights(other, file)
    assert not loaded.unused
    assert not loaded.fresh
    x = torch.rand(1, 3, 8, 32, 32)
    assert torch.equal(one(x), other(x))


@pytest.mark.parametrize("name", ENTRIES)
def test_half_precision_gives_nearly_the_same(name: str) -> None:
    torch.manual_seed(0)
    backbone = create_model(f"resnet18_tiny+{name}").eval()
    x = torch.rand(2, 3, 8, 32, 32)
    exact = backbone(x)
    with torch.autocast("cpu", torch.bfloat16):
        rough = backbone(x)
        rough.float().square().mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in backbone.parameters())
    assert nn.functional.cosine_similarity(rough.float().flatten(), exact.flatten(), 0) > 0.98


# --- streams --------------------------------------------------------------------------------------------------------


def stream(head: Any, x: Tensor) -> tuple[list[Tensor | None], list[Tensor]]:
    """What each step of a map gives, and what comes after the last."""
    head, state, given = head.stepwise(), None, []
    for step in x.unbind(2):
        out, state = head.step(step, state)
        given.append(out)
    return given, head.flush(state)


@pytest.mark.parametrize(("name", "changed"), STREAMED, ids=str)
@torch.no_grad()
def test_a_stream_gives_what_the_whole_map_gives(name: str, changed: dict[str, Any]) -> None:
    head, facts = build_head(name, **changed), facts_of(name, changed)
    longest = 3 * (facts.temporal_rf or 4)
    lengths = (33,) if facts.temporal_stride == POOLED else range(1, longest + 1, 1 if longest < 20 else 4)
    for t in lengths:
        given, rest = stream(head, maps(t))
        again, _ = stream(head, maps(t))
        assert all((a is None and b is None) or torch.equal(a, b) for a, b in zip(given, again, strict=True))
        if facts.temporal_stride == POOLED:  # one step for the clip: after each step, what the clip so far would give
            assert rest == []
            for n, out in enumerate(given, 1):
                assert (out is None) == (n < facts.min_steps)
                if out is not None:
                    torch.testing.assert_close(out, head(maps(t)[:, :, :n]).squeeze(2), rtol=1e-4, atol=1e-4)
        else:
            steps = [out for out in given if out is not None] + rest
            torch.testing.assert_close(torch.stack(steps, 2), head(maps(t)), rtol=1e-4, atol=1e-4)


def numbers_in(state: Any) -> int:
    """How many numbers a state holds."""
    if isinstance(state, Tensor):
        return state.numel()
    if isinstance(state, dict):
        return sum(map(numbers_in, state.values()))
    return sum(map(numbers_in, state)) if isinstance(state, tuple) else 1


@pytest.mark.parametrize(("name", "changed"), STREAMED, ids=str)
@torch.no_grad()
def test_memory_of_a_stream_does_not_grow(name: str, changed: dict[str, Any]) -> None:
    head, state, held = build_head(name, **changed).stepwise(), None, []
    for step in maps(160).unbind(2):
        state = head.step(step, state)[1]
        held.append(numbers_in(state))
    assert max(held[96:112]) == max(held[144:])  # layers that halve time keep a step more or less


@pytest.mark.parametrize("name", sorted({name for name, _ in STREAMED}))
@torch.no_grad()
def test_two_videos_stream_side_by_side_through_one_network(name: str) -> None:
    backbone = create_model(f"resnet18_tiny+{name}").eval()
    runner = open_stream(backbone)
    assert isinstance(runner, HeadStream)
    assert (runner.exact, backbone.info.streams) == (True, True)
    assert runner.delay == (5 if name == "local_pooling" else 0)
    clips = [clip(1, 6, 32, seed).sigmoid().float() for seed in (1, 2)]
    alone = []
    for x in clips:
        state, given = runner.init_state(1, CPU), []
        for frame in x.unbind(2):
            out, state = runner.step(frame, state)
            given.append(out)
        alone.append((given, runner.flush(state)))
    states, woven = [runner.init_state(1, CPU) for _ in clips], [[], []]
    for frames in zip(*(x.unbind(2) for x in clips), strict=True):
        for i, frame in enumerate(frames):
            out, states[i] = runner.step(frame, states[i])
            woven[i].append(out)
    for (given, rest), other, state, x in zip(alone, woven, states, clips, strict=True):
        assert all((a is None and b is None) or torch.equal(a, b) for a, b in zip(given, other, strict=True))
        steps = [out for out in other if out is not None] + runner.flush(state)
        torch.testing.assert_close(steps[-1], backbone(x)[:, :, -1], rtol=1e-4, atol=1e-4)
        assert len(rest) == len(runner.flush(state))
        one, other = (runner.step(x[:, :, 0], state)[0] for _ in range(2))  # the state before is as it was
        assert (one is None and other is None) or torch.equal(one, other)


@pytest.mark.parametrize("name", [name for name in ENTRIES if (name, {}) not in STREAMED])
def test_what_cannot_stream_exactly_goes_over_windows(name: str) -> None:
    assert isinstance(open_stream(create_model(f"resnet18_tiny+{name}")), WindowStream)


def test_a_head_over_a_network_that_sees_whole_clips_goes_over_windows() -> None:
    for model, options in (
        ("s3dg_tiny+lstm", {}),
        ("r3d_18_tiny+gru_rcn", {}),
        ("resnet18_tiny+lstm", {"input": "residual"}),
    ):
        backbone = create_model(model, **options)
        assert not backbone.info.streams
        assert isinstance(open_stream(backbone), WindowStream)
