"""Two streams on any image network: `two_stream/resnet18`, one for colours and one for motion (Simonyan and Zisserman, NeurIPS 2014).

The streams are joined late, by the mean of their maps or side by side, or by a convolution over space and time and a pool
(Feichtenhofer et al., CVPR 2016, arXiv:1604.06573). Motion is the flow from each frame to the next, as a picture without the camera's
motion, or their difference; the last frame has the motion of the one before. Flow is our own (`ssvid.data.flow`), DIS or RAFT. Weights
for images fit both streams, as flow networks have been started from them since arXiv:1507.02159: `two_stream/resnet18@imagenet1k`.

A frame that stands still has no motion, so tasks that encode frames alone teach the motion stream nothing.
"""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ssvid.data.flow import flow_pictures, optical_flow
from ssvid.data.flow_estimators import dis_flow, raft_flow
from ssvid.errors import ConfigError
from ssvid.zoo.backbone import PerFrame
from ssvid.zoo.encoders.early_fusion import image_network
from ssvid.zoo.registry import ENCODERS, find
from ssvid.zoo.weights import bare

PREFIX = "two_stream/"
MODELS: dict[str, dict[str, Any]] = {"*": {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}}

ESTIMATORS = {"flow": optical_flow, "dis": dis_flow, "raft": raft_flow}


def describe(name: str) -> dict[str, Any]:
    """Fields of `two_stream/NAME`: colours come in as they are, since flow is taken from them. Raises ConfigError for an unknown one."""
    fields = dict(find(ENCODERS, name).fields)
    for own in ("published", "mean", "std"):
        fields.pop(own, None)
    return fields | {"description": f"Colours and motion: {fields['description']}", "streams": False}


def build(
    name: str,
    *,
    fusion: Literal["mean", "concat", "conv"] = "mean",
    motion: Literal["flow", "dis", "raft", "difference"] = "flow",
) -> nn.Module:
    """Trunk of two image networks: (B,3,T,H,W), colours on 0..1, -> (B,D',t,h,w).

    Args:
        name: an encoder of single frames.
        fusion: "mean" of the streams' maps, D' = D; "concat", D' = 2 D; "conv", a 3 x 3 x 3 convolution of both and a pool that halves
            time and space, D' = D.
        motion: what the second stream is shown: pictures of the flow (our own, OpenCV's DIS, or RAFT), or the difference of normalised
            frames.

    Raises ConfigError for a network that is not of single frames.
    """
    entry = find(ENCODERS, name)
    colours, moving = (PerFrame(image_network(entry, "two_stream")) for _ in range(2))
    return TwoStream(colours, moving, entry.fields["mean"], entry.fields["std"], fusion, motion)


class TwoStream(nn.Module):
    """Two encoders, of colours and of motion, and what joins their maps: (B,3,T,H,W) on 0..1 -> (B,D',t,h,w)."""

    def __init__(
        self,
        colours: PerFrame,
        moving: PerFrame,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        fusion: str,
        motion: str,
    ) -> None:
        super().__init__()
        self.colours = colours
        self.moving = moving
        self.motion = motion
        self.fusion = fusion
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1, 1), persistent=False)
        if fusion == "conv":
            self.join = ConvFusion(_channels(colours))

    def forward(self, x: Tensor) -> Tensor:
        """Encode clips of at least two frames."""
        if x.shape[2] < 2:
            raise ConfigError(f"motion is seen in at least 2 frames, not {x.shape[2]}")
        normalised = (x - self.mean) / self.std
        flow = ESTIMATORS.get(self.motion)
        change = flow_pictures(x, flow).to(x.dtype) if flow else normalised.diff(dim=2)
        maps = self.colours(normalised), self.moving(torch.cat([change, change[:, :, -1:]], 2))
        if self.fusion == "mean":
            mean: Tensor = (maps[0] + maps[1]) / 2
            return mean
        both = torch.cat(maps, 1)
        joined: Tensor = self.join(both) if self.fusion == "conv" else both
        return joined

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of the image network for both streams; those of a network of two streams stay."""
        theirs = {bare(name): name for name in tensors}
        ours = {name: bare(name.partition(".net.")[2]) for name in self.state_dict() if ".net." in name}
        used = {theirs[bare_name] for bare_name in ours.values() if bare_name in theirs}
        rest = {name: tensor for name, tensor in tensors.items() if name not in used}
        return rest | {name: tensors[theirs[bare_name]] for name, bare_name in ours.items() if bare_name in theirs}


class ConvFusion(nn.Module):
    """A 3 x 3 x 3 convolution of two maps side by side, and a pool: (B,2D,T,h,w) -> (B,D,ceil(T/2),ceil(h/2),ceil(w/2)).

    It begins as the smoothed mean of the two streams, a Gaussian with a deviation of one cell, as the paper's does up to the streams'
    shares.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2 * dim, dim, 3, padding=1)
        self.pool = nn.MaxPool3d(2, 2, ceil_mode=True)
        bell = torch.exp(-(torch.arange(3) - 1.0).square() / 2)
        bell = bell / bell.sum()
        blur = bell[:, None, None] * bell[:, None] * bell
        with torch.no_grad():
            share = torch.cat([torch.eye(dim), torch.eye(dim)], 1) / 2
            self.conv.weight.copy_(share[:, :, None, None, None] * blur)
            self.conv.bias.zero_()  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        """Join."""
        out: Tensor = self.pool(self.conv(x).relu())
        return out


def _channels(trunk: nn.Module) -> int:
    """Channels of a network's map, found without computing."""
    with torch.no_grad():
        return int(copy.deepcopy(trunk).to("meta").eval()(torch.empty(1, 3, 1, 64, 64, device="meta")).shape[1])
