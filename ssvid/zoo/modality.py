"""What a backbone is shown of a clip: its colours, the changes from frame to frame, or its optical flow.

A task that pretrains on changes or on flow leaves a backbone that knows nothing of colours. The backbone makes its modality itself, so
that tasks, probes, tables and search all hand it colours.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from ssvid.data.flow import flow_pictures


@runtime_checkable
class TakesFlow(Protocol):
    """A trunk that makes flow of the colours it is given, or is handed its pictures beside them, (B,6,T,H,W), the last frame's being any.

    flow_by: who works the flow out, a key of `ssvid.data.flow_estimators.ESTIMATORS`, where that is slow enough to be done once a video;
    None where it is not.
    """

    flow_by: str | None


def slow_flow(net: nn.Module) -> str | None:
    """Who works out the flow that a network takes, where that is slow; None where it takes none or makes it quickly."""
    return next((module.flow_by for module in net.modules() if isinstance(module, TakesFlow)), None)


def to_modality(name: str, pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Colours (B,3,T,H,W) on 0..1 as the input of a trunk.

    "rgb": normalised with mean and std (3,1,1,1), (B,3,T,H,W). "residual": differences of successive normalised frames, (B,3,T-1,H,W).
    "flow": pictures of the flow from each frame to the next in the order played, (B,3,T-1,H,W); see `flow_pictures`.
    """
    if name == "flow":
        return flow_pictures(pixels).to(pixels.dtype)
    # as torchvision rounds it: multiplying by 1/std is quicker, but a deep network then gives other maps than the library's; in place,
    # since one more block of memory cost AlexNet 6 % of its time
    normalised = pixels.sub(mean).div_(std)
    return normalised.diff(dim=2) if name == "residual" else normalised
