"""A layer that looks over time, run on a clip piece by piece: it keeps the last steps that it was given, not the whole clip.

    out, tail = window.advance(layer, piece, None)              # the first piece
    out, tail = window.advance(layer, piece, tail)              # ... what is now due, None where nothing is
    out, _ = window.advance(layer, None, tail, last=True)       # after the last one: what the end of the clip still gives

The steps of all `out` one after the other are those of the whole clip, its borders too (continual convolutions: Hedegaard and Iosifidis,
ECCV 2022, arXiv:2106.00050). A tail is a value that nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Layer = Callable[[Tensor], Tensor]


class Tail(NamedTuple):
    """What is kept of a clip: the steps (B,D,1,h,w) that windows to come see, the last step that came, and how many to come none sees, and
    whether a window has been complete."""

    steps: tuple[Tensor, ...]
    newest: Tensor
    skip: int = 0
    begun: bool = False


@dataclass(frozen=True)
class TimeWindow:
    """How a layer looks over time: step j of what it gives sees the steps j * stride - before + i * dilation, for i under `kernel`.

    before, after: steps outside of the clip that are seen; fill: their value, or "replicate" for the clip's first and last step.
    ceil: the end of the clip may cut the last window, as in pools that round sizes up; "first": it may where this is the only one.
    """

    kernel: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0
    fill: float | Literal["replicate"] = 0.0
    ceil: bool | Literal["first"] = False

    @property
    def span(self) -> int:
        """Steps from the first to the last that a window sees."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def delay(self) -> int:
        """Steps that have to come after the one that a window stands for."""
        return max(0, self.span - 1 - self.before)

    def advance(
        self, layer: Layer, x: Tensor | None, tail: Tail | None, last: bool = False
    ) -> tuple[Tensor | None, Tail | None]:
        """Take a piece (B,D,n,h,w), or None, and the tail before it, None at the start; what is due (B,D',m,h',w'), and the tail after it.

        layer: computes windows that lie within what it is given. last: the clip ends with this piece.
        """
        steps = () if x is None else x.split(1, 2)
        if tail is None:
            if not steps:
                return None, None  # nothing has come yet
            tail = Tail((self._outside(steps[0]),) * self.before, steps[0])
        newest = steps[-1] if steps else tail.newest
        steps = tail.steps + steps + ((self._outside(newest),) * self.after if last else ())
        skip = max(0, tail.skip - len(steps))
        steps = steps[tail.skip :]
        due = max(0, (len(steps) - self.span) // self.stride + 1)
        whole = [layer(torch.cat(steps[: (due - 1) * self.stride + self.span], 2))] if due else []
        rest = steps[due * self.stride :]
        # where steps are left that no window has seen; but a window has to begin within the clip
        begun = tail.begun or due > 0
        may_cut = not begun if self.ceil == "first" else self.ceil
        if last and may_cut and len(rest) > max(self.span - self.stride, self.after):
            whole.append(layer(torch.cat(rest, 2)))
        after = Tail(rest, newest, skip + max(0, due * self.stride - len(steps)), begun)
        return (torch.cat(whole, 2) if whole else None), after

    def _outside(self, step: Tensor) -> Tensor:
        return step if self.fill == "replicate" else step.new_full((), self.fill).expand_as(step)


def window_of(module: nn.Module) -> tuple[TimeWindow, Layer] | None:
    """How a convolution or pool looks over time, and the layer without its padding over time; None for other modules.

    A module of another class that looks over time gives the two by a method `over_time`.
    """
    own = getattr(module, "over_time", None)
    if own is not None:
        made: tuple[TimeWindow, Layer] = own()
        return made
    if isinstance(module, nn.Conv3d) and type(module).forward is nn.Conv3d.forward and module.padding_mode == "zeros":
        return None if isinstance(module.padding, str) else convolution(module)
    if type(module) is nn.MaxPool3d and not module.return_indices:
        return _max_pool(module)
    if type(module) is nn.AvgPool3d and module.divisor_override is None:
        return _average_pool(module)
    return None


def convolution(conv: nn.Conv3d, fill: float | Literal["replicate"] = 0.0) -> tuple[TimeWindow, Layer]:
    """A convolution, with steps of that value outside of the clip."""
    size, rows, columns = (int(size) for size in conv.padding)
    window = TimeWindow(conv.kernel_size[0], conv.stride[0], conv.dilation[0], size, size, fill)

    def layer(x: Tensor) -> Tensor:
        if x.shape[2] == window.span and conv.groups == 1:
            # a single step is a picture with the channels of all its frames: on a CPU the same in half the time and less
            picture, weight = x[:, :, :: window.dilation].flatten(1, 2), conv.weight.flatten(1, 2)
            out = F.conv2d(picture, weight, conv.bias, conv.stride[1:], (rows, columns), conv.dilation[1:])
            return out.unsqueeze(2)
        return F.conv3d(x, conv.weight, conv.bias, conv.stride, (0, rows, columns), conv.dilation, conv.groups)

    return window, layer


def _max_pool(pool: nn.MaxPool3d) -> tuple[TimeWindow, Layer]:
    kernel, stride, padding, dilation = (
        _triple(size) for size in (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
    )
    window = TimeWindow(kernel[0], stride[0], dilation[0], padding[0], padding[0], -torch.inf, pool.ceil_mode)

    def layer(x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, 0, 0, max(0, window.span - x.shape[2])), value=-torch.inf)
        return F.max_pool3d(x, kernel, stride, (0, *padding[1:]), dilation, pool.ceil_mode)

    return window, layer


def _average_pool(pool: nn.AvgPool3d) -> tuple[TimeWindow, Layer] | None:
    kernel, stride, padding = (_triple(size) for size in (pool.kernel_size, pool.stride, pool.padding))
    if padding[0] and not pool.count_include_pad:
        return None

    def layer(x: Tensor) -> Tensor:
        cut = min(kernel[0], x.shape[2])
        return F.avg_pool3d(x, (cut, *kernel[1:]), stride, (0, *padding[1:]), pool.ceil_mode, pool.count_include_pad)

    return TimeWindow(kernel[0], stride[0], 1, padding[0], padding[0], 0.0, pool.ceil_mode), layer


def every(stride: int) -> tuple[TimeWindow, Layer]:
    """One step in so many, the first to begin with."""
    return TimeWindow(1, stride), lambda x: x[:, :, ::stride]


def _triple(size: Any) -> tuple[int, int, int]:
    made: tuple[int, int, int] = (size, size, size) if isinstance(size, int) else tuple(size)
    return made
