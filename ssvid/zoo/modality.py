"""What a backbone is shown of a clip: its colours, the changes from frame to frame, or its optical flow.

A task that pretrains on changes or on flow leaves a backbone that knows nothing of colours; it carries its input along, so that probes,
tables and search to_modality it what it was trained on.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ssvid.data.flow import flow_pictures


def residual(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Changes from frame to frame, normalised clips (B,3,T,H,W) -> (B,3,T-1,H,W)."""
    return x.diff(dim=2)


def flow(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Flow of the frames as played as pictures, normalised clips (B,3,T,H,W) -> (B,3,T-1,H,W); see `flow_pictures`."""
    shape = (3, 1, 1, 1)
    return flow_pictures((x * std.view(shape) + mean.view(shape)).clamp(0, 1)).to(x.dtype)


INPUTS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"residual": residual, "flow": flow}


def to_modality(name: str, x: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Clips (B,3,T,H,W), normalised with mean and std, as the input `name` shows them; "rgb" as they are."""
    if name == "rgb":
        return x
    return INPUTS[name](x, torch.tensor(mean).to(x), torch.tensor(std).to(x))
