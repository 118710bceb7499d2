"""Measures what a network is: its dim, strides, least clip, temporal receptive field, and whether it sees order.

    python -m ssvid.zoo.measure            # after a family or a head was added or changed: writes ssvid/zoo/facts.json
    python -m ssvid.zoo.measure "vgg*"     # measures these names only, and drops those that are gone

Shapes of encoders are worked out on the meta device, where nothing is computed. What a feature step sees is found by replacing frames of
a random clip and comparing bit by bit, with seeded random weights in double precision, in eval mode.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ssvid.errors import ConfigError
from ssvid.files import read_json, write_json
from ssvid.zoo.continual import continual
from ssvid.zoo.geometry import FACTS, HeadGeometry
from ssvid.zoo.info import POOLED, Geometry, Order
from ssvid.zoo.registry import ENCODERS, HEADS, RegistryEntry, catalogue

LENGTHS = (16, 32, 64, 128, 256)  # clips tried; a step that sees an end of the last is said to see the whole clip
STEPS = (16, 32, 64)  # maps tried on heads; what an LSTM keeps of a step a hundred steps ago is under the last bit
SIDE = 16  # px of these clips, where the network takes so few

Clip = Callable[[int], Tensor]  # a random clip, or map, of that many frames or steps


def measure_encoder(entry: RegistryEntry, options: dict[str, Any]) -> Geometry:
    """Geometry of an encoder under these options. torch's random state stays as it was.

    Raises ConfigError where its network does not take the clip of the stated frames and size.
    """
    frames, size = entry.fields["frames"], entry.fields["size"]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        with torch.device("meta"):
            trunk = entry.build(**options).eval()
            shape = shape_of(trunk, frames, size)
            if shape is None:
                raise ConfigError(f"{entry.name} does not take clips of its own frames={frames} and size={size}.")
            min_size = least(lambda side: shape_of(trunk, frames, side) is not None, size)
            min_frames = least(lambda T: shape_of(trunk, T, size) is not None, frames)
            T = 64 if shape_of(trunk, 64, size) else frames
            S = 256 if shape_of(trunk, T, 256) else size
            _, dim, t, h, _ = shape_of(trunk, T, S) or shape
            over_time = pace(lambda frames: (shape_of(trunk, frames, S) or (0, 0, 0))[2], min_frames, T) or stride(T, t)
            over_space = pace(lambda side: (shape_of(trunk, T, side) or (0, 0, 0, 0))[3], min_size, S) or stride(S, h)
        min_frames = max(min_frames, getattr(trunk, "min_frames", 1))  # a floor that the family states, with its reason
        side = max(SIDE, min_size)
        net = fresh(lambda: entry.build(**options))
        if not net(torch.rand(1, 3, frames, side, side, dtype=torch.double)).any():
            side *= 2  # a norm over space, as ConvNeXt has, leaves nothing of a map of one cell
        clip = lambda T: torch.rand(1, 3, T, side, side, dtype=torch.double)  # noqa: E731
        lengths = LENGTHS if T == 64 else (frames,)  # a network may take clips of its own length only
        rf, order = receptive_field(net, clip, min_frames, lengths), order_of(net, clip, min_frames, lengths[0])
        streams = streams_exactly(net, clip, min_frames, rf)
    return Geometry(dim, over_time, over_space, min_frames, min_size, rf, order, streams)


def measure_head(entry: RegistryEntry, options: dict[str, Any]) -> HeadGeometry:
    """Geometry of a head under these options, whatever the encoder. torch's random state stays as it was."""

    def out(dim: int, steps: int = 64, **changed: Any) -> tuple[int, ...] | None:
        try:
            head = entry.build(dim, **(options | changed)).eval()
        except ConfigError:  # the value does not fit the other options, as 24 heads of attention do not fit 8 channels
            return None
        return shape_of(head, steps, 4, channels=dim, device="cpu")

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        one, other = out(8), out(16)
        if one is None or other is None:
            raise ConfigError(f"{entry.name} does not take maps of 64 steps of 4 x 4 cells.")
        sizes = [
            name
            for name, option in entry.options.items()
            if option.annotation is int and (out(8, STEPS[0], **{name: 24}) or one)[1] == 24
        ]
        min_steps = least(lambda t: out(8, t) is not None, 64)
        net = fresh(lambda: entry.build(8, **options))
        clip = lambda t: torch.rand(32, 8, t, 2, 2, dtype=torch.double)  # noqa: E731  many, since a maximum shows one step of each
        over_time = stride(64, one[2])
        rf = None if over_time == POOLED else receptive_field(net, clip, min_steps, STEPS)
        order = order_of(net, clip, min_steps)
    return HeadGeometry(
        dim=one[1] if one[1] == other[1] else None,
        sized_by=sizes[0] if sizes else "",
        temporal_stride=over_time,
        pools_space=one[3] == 1,
        min_steps=min_steps,
        temporal_rf=rf,
        order=order,
        widening=other[1] // 16 if one[1] != other[1] else 1,
        streams=bool(getattr(net, "streams", False)),
    )


def receptive_field(net: nn.Module, clip: Clip, shortest: int, lengths: Sequence[int] = LENGTHS) -> int | None:
    """Frames that the middle step of the output sees; None where it sees one at an end of every clip."""
    for T in lengths:
        if shortest <= T and (seen := _seen_by_middle(net, clip(T), clip(T))) is not None:
            return seen
    return None


def _seen_by_middle(net: nn.Module, x: Tensor, other: Tensor) -> int | None:
    """Frames of x that the middle step sees, found by putting those of `other` in their place; None where it sees the first or last."""
    T, middle = x.shape[2], _middle(net, x)

    def seen(start: int, stop: int) -> bool:
        changed = x.clone()
        changed[:, :, start:stop] = other[:, :, start:stop]
        return not torch.equal(_middle(net, changed), middle)

    if seen(0, 1) or seen(T - 1, T):
        return None
    before = least(lambda stop: seen(0, stop), T) - 1
    return least(lambda start: not seen(start, T), T) - before


def order_of(net: nn.Module, clip: Clip, shortest: int, length: int = LENGTHS[0]) -> Order:
    """Whether the output averaged over time and space changes when the frames are played backward or shuffled."""
    x = clip(max(shortest, length))
    played = net(x).mean((2, 3, 4))
    for ticks in (torch.arange(x.shape[2]).flip(0), torch.randperm(x.shape[2])):
        if (net(x[:, :, ticks]).mean((2, 3, 4)) - played).abs().max() > 1e-9 * played.abs().max():
            return "aware"
    return "blind"


def streams_exactly(net: nn.Module, clip: Clip, shortest: int, rf: int | None) -> bool:
    """Whether a clip's map comes out frame by frame too: of a network that sees frames alone, or of one made continual."""
    if rf == 1:
        x = clip(3)
        return torch.allclose(net(x), torch.cat([net(frame) for frame in x.split(1, 2)], 2))
    steps = continual(net)
    if steps is None:
        return False
    x, state, given = clip(shortest + 3), None, []
    for frame in (*x.split(1, 2), None):
        out, state = steps.advance(frame, state, last=frame is None)
        given += [] if out is None else [out]
    made, maps = torch.cat(given, 2), net(x)
    return made.shape == maps.shape and torch.allclose(made, maps)


def fresh(build: Callable[[], nn.Module]) -> nn.Module:
    """The network with seeded weights, in eval mode and double precision.

    Norms whose scale begins at zero, as the last of residual blocks often does, are set to one: they would hide their branch.
    """
    torch.manual_seed(0)
    net = build().eval().double()
    for module in net.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, nn.Parameter) and weight.ndim == 1 and not weight.any():
            nn.init.ones_(weight)
    return net


class _ShapesAlone(TorchFunctionMode):
    """Leaves out layers that change no shape and refuse none: on the meta device each is a score of operations of Python."""

    SKIPPED = frozenset({F.batch_norm, F.relu, F.gelu, torch.relu, torch.relu_})

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """The first argument as it is, or what the function makes of all."""
        return args[0] if args and func in self.SKIPPED else func(*args, **(kwargs or {}))


def shape_of(net: nn.Module, frames: int, size: int, channels: int = 3, device: str = "meta") -> tuple[int, ...] | None:
    """Shape of the output for (1,channels,frames,size,size); None where the network refuses it.

    Heads are small, and run on a CPU: on the meta device an LSTM is taken to pieces, one operation after another.
    """
    try:
        with _ShapesAlone():
            shape = tuple(net(torch.ones(1, channels, frames, size, size, device=device)).shape)
    except (RuntimeError, ValueError, IndexError, AssertionError, ConfigError):
        return None
    return shape if 0 not in shape else None


def least(holds: Callable[[int], bool], known: int) -> int:
    """The least number from 1 on for which something holds that holds for `known` and all between."""
    low, high = 0, known
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def pace(made: Callable[[int], int], shortest: int, longest: int) -> int:
    """Frames or pixels from one step or cell to the next, between the lengths that give the first and the last; 0 where that is unknown.

    It is exact where layers pad nothing, so that a map has fewer cells than the frame has strides (AlexNet, windows of frames).
    """
    few, many = made(shortest), made(longest)
    return round((least(lambda n: made(n) >= many, longest) - shortest) / (many - few)) if few < many else 0


def stride(given: int, made: int) -> int:
    """Input frames or pixels per step or cell."""
    return POOLED if made == 1 else round(given / made)


def _middle(net: nn.Module, x: Tensor) -> Tensor:
    maps: Tensor = net(x)
    return maps[:, :, maps.shape[2] // 2]


def measured(entry: RegistryEntry, measure: Callable[[RegistryEntry, dict[str, Any]], Any]) -> dict[str, Any]:
    """What facts.json keeps of one entry: its geometry, and what each value of each option changes, the other options left alone."""
    usual = entry.settings({})
    geometry = asdict(measure(entry, usual))
    changes = {}
    for option, value in other_values(entry):
        changed = asdict(measure(entry, usual | {option: value}))
        changes[f"{option}={value}"] = {key: changed[key] for key in changed if changed[key] != geometry[key]}
    return {"geometry": geometry, "changes": {key: change for key, change in changes.items() if change}}


def other_values(entry: RegistryEntry) -> Iterator[tuple[str, Any]]:
    """Every option that has few values (bool, Literal), with each of those that are not its default."""
    for name, option in entry.options.items():
        values = (True, False) if option.annotation is bool else get_args(option.annotation)
        if option.annotation is bool or "Literal" in str(option.annotation):
            yield from ((name, value) for value in values if value != option.default)


def main(patterns: Sequence[str]) -> None:
    """Measure the encoders and heads of the package whose names match one of these shell patterns, all without any; write facts.json."""
    facts: dict[str, dict[str, Any]] = read_json(FACTS) if patterns else {"encoders": {}, "heads": {}}
    for kind, key, measure in ((ENCODERS, "encoders", measure_encoder), (HEADS, "heads", measure_head)):
        # those of other packages are measured when they are used
        ours = {name: entry for name, entry in catalogue(kind).items() if entry.path.is_relative_to(FACTS.parent)}
        for name in sorted(ours):
            if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns):
                facts[key][name] = measured(ours[name], measure)
                sys.stdout.write(f"{name}: {facts[key][name]['geometry']}\n")
                sys.stdout.flush()
        facts[key] = {name: facts[key][name] for name in sorted(facts[key].keys() & ours.keys())}
    write_json(FACTS, facts)


if __name__ == "__main__":
    main(sys.argv[1:])
