"""Two streams on any image network: `two_stream/resnet18`, one for colours and one for motion (Simonyan and Zisserman, NeurIPS 2014).

The streams are joined late, by the mean of their maps or side by side, or by a convolution over space and time and a pool
(Feichtenhofer et al., CVPR 2016, arXiv:1604.06573). Motion is the flow from each frame to the next, as a picture without the camera's
motion, or their difference; the last frame has the motion of the one before. Flow is our own (`ssvid.data.flow`), DIS or RAFT.

With a window of frames, as ten in the paper, the motion of all of them enters the second stream together, and the first one sees the
frame in their middle. `ssvid.zoo.encoders.fused_streams` has the networks of two papers that are made so.

Weights for images fit both streams, as flow networks have been started from them since arXiv:1507.02159: `two_stream/resnet18@imagenet1k`.
A first layer that takes a stack of fields gets the mean of its kernels over the colours, for every channel.

Flow by DIS or RAFT costs as much as the networks or more: fine-tuning works it out once a video (`ssvid.data.flow_cache`), frozen features
are kept altogether. A pretext task changes which frames follow one another, so there it is worked out for every clip.

A frame that stands still has no motion, so tasks that encode frames alone could teach the motion stream nothing and refuse two streams.
"""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ssvid.data.flow import flow_pictures
from ssvid.data.flow_estimators import ESTIMATORS, SLOW
from ssvid.errors import ConfigError
from ssvid.zoo.backbone import PerFrame
from ssvid.zoo.encoders.early_fusion import image_network
from ssvid.zoo.registry import ENCODERS, find
from ssvid.zoo.weights import bare

PREFIX = "two_stream/"
MODELS: dict[str, dict[str, Any]] = {"*": {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}}


def describe(name: str) -> dict[str, Any]:
    """Fields of `two_stream/NAME`: colours come in as they are, since flow is taken from them. Raises ConfigError for an unknown one."""
    fields = dict(find(ENCODERS, name).fields)
    for own in ("published", "mean", "std"):
        fields.pop(own, None)
    about = f"Colours and motion: {fields['description']}"
    return fields | {"description": about, "isolation": "motion"}


def build(
    name: str,
    *,
    fusion: Literal["mean", "concat", "conv"] = "mean",
    motion: Literal["flow", "dis", "raft", "difference"] = "flow",
    window: int = 1,
) -> nn.Module:
    """Trunk of two image networks: (B,3,T,H,W), colours on 0..1, -> (B,D',t,h,w).

    Args:
        name: an encoder of single frames.
        fusion: "mean" of the streams' maps, D' = D; "concat", D' = 2 D; "conv", a 3 x 3 x 3 convolution of both and a pool that halves
            time and space, D' = D.
        motion: what the second stream is shown: pictures of the flow (our own, OpenCV's DIS, or RAFT), or the difference of normalised
            frames.
        window: frames a step. With more than one, the second stream takes their motion in one stack, of flow x and y alone.

    Raises ConfigError for a network that is not of single frames, and for a window under 1.
    """
    if window < 1:
        raise ConfigError(f"two_stream/{name} has windows of at least 1 frame, not {window}")
    entry = find(ENCODERS, name)
    colours, moving = (PerFrame(image_network(entry, "two_stream")) for _ in range(2))
    join = ConvFusion(_channels(colours)) if fusion == "conv" else MeanFusion() if fusion == "mean" else nn.Identity()
    return TwoStream(colours, moving, entry.fields["mean"], entry.fields["std"], join, motion, window)


class TwoStream(nn.Module):
    """Two encoders, of colours and of motion, and what joins their maps: (B,3,T,H,W) on 0..1 -> (B,D',t,h,w).

    mean, std: of the colours. join: (B,2D,T//window,h,w), the maps side by side, to the map that comes out. motion: "flow", "dis", "raft"
    or "difference". window: frames a step; windows lie side by side, and frames over at the end are left out.
    """

    def __init__(
        self,
        colours: PerFrame,
        moving: PerFrame,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        join: nn.Module,
        motion: str = "flow",
        window: int = 1,
    ) -> None:
        super().__init__()
        self.colours = colours
        self.moving = moving
        self.motion = motion
        self.flow_by = motion if motion in SLOW else None
        self.window = window
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1, 1), persistent=False)
        self.join = join
        self.first = next(name for name, module in moving.net.named_modules() if isinstance(module, nn.Conv2d))
        if window > 1:
            self._take_stacks((3 if motion == "difference" else 2) * window)

    def forward(self, x: Tensor) -> Tensor:
        """Encode clips of at least two frames and one window; (B,6,T,H,W) has pictures of their flow too, as `_change` would make them.

        Raises ConfigError for shorter ones.
        """
        T, L = x.shape[2], self.window
        if max(2, L) > T:
            raise ConfigError(f"motion is seen in at least {max(2, L)} frames, not {T}")
        middles = x[:, :3, L // 2 :: L][:, :, : T // L]
        maps = self.colours((middles - self.mean) / self.std), self.moving(self._stacked(self._change(x)))
        joined: Tensor = self.join(torch.cat(maps, 1))
        return joined

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of the image network for both streams; what joins them stays as it is. Those of a network of two streams stay."""
        theirs = {bare(name): name for name in tensors}
        state = self.state_dict()
        ours = {name: bare(name.partition(".net.")[2]) for name in state if ".net." in name}
        taken = {name: theirs[bare_name] for name, bare_name in ours.items() if bare_name in theirs}
        rest = {name: tensor for name, tensor in tensors.items() if name not in set(taken.values())}
        adapted = {name: self._widened(name, tensors[given]) for name, given in taken.items()}
        joins = {name: tensor for name, tensor in state.items() if taken and name.startswith("join.")}
        return joins | rest | adapted

    def _change(self, x: Tensor) -> Tensor:
        """Motion from each frame to the next, of the last one that of the one before: (B,3 or 6,T,H,W) -> (B,2 or 3,T,H,W)."""
        if self.motion == "difference":
            change = ((x - self.mean) / self.std).diff(dim=2)
        else:
            made = x.shape[1] == 6
            change = x[:, 3:, :-1] if made else flow_pictures(x, ESTIMATORS[self.motion]).to(x.dtype)
            if self.window > 1:
                change = change[:, :2]  # the third channel, the length, is of a picture
        return torch.cat([change, change[:, :, -1:]], 2)

    def _stacked(self, change: Tensor) -> Tensor:
        """The motion of every window as channels, field by field (x, y, x, y ...): (B,c,T,H,W) -> (B,window*c,T//window,H,W)."""
        L = self.window
        windows = torch.unflatten(change[:, :, : change.shape[2] // L * L], 2, (-1, L))  # (B,c,t,L,H,W)
        return windows.movedim(3, 1).flatten(1, 2)

    def _take_stacks(self, channels: int) -> None:
        """Make the first layer of the motion stream take that many channels, with fresh kernels on the scale of the ones before."""
        conv = self.moving.net.get_submodule(self.first)
        assert isinstance(conv, nn.Conv2d)
        out, before, *kernel = conv.weight.shape
        spread = conv.weight.detach().std() * (before / channels) ** 0.5
        conv.in_channels = channels
        conv.weight = nn.Parameter(torch.randn(out, channels, *kernel) * spread)

    def _widened(self, name: str, tensor: Tensor) -> Tensor:
        """A tensor of the image network as this one's of that name."""
        wanted = self.state_dict()[name].shape
        if name != f"moving.net.{self.first}.weight" or tensor.shape == wanted:
            return tensor
        return tensor.mean(1, keepdim=True).expand(-1, wanted[1], -1, -1)


class MeanFusion(nn.Module):
    """The mean of two maps side by side: (B,2D,T,h,w) -> (B,D,T,h,w)."""

    def forward(self, x: Tensor) -> Tensor:
        """Join."""
        return torch.unflatten(x, 1, (2, -1)).mean(1)


class ConvFusion(nn.Module):
    """A 3 x 3 x 3 convolution of two maps side by side, and a pool: (B,2D,T,h,w) -> (B,D',ceil(T/2),ceil(h/2),ceil(w/2)).

    It begins as the smoothed sum of the two streams, a Gaussian with a deviation of one cell, as the paper's does, each with its share.

    Args:
        dim: D.
        out: D', by default D. With another number it begins with random kernels.
        shares: of the first and of the second map.
        kernel: cells and steps of the pool, which takes every second; 2 or an odd number.
    """

    def __init__(
        self, dim: int, out: int | None = None, shares: tuple[float, float] = (0.5, 0.5), kernel: int = 2
    ) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2 * dim, out or dim, 3, padding=1)
        self.pool = nn.MaxPool3d(kernel, 2, padding=(kernel - 1) // 2, ceil_mode=kernel == 2)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]
        if out not in (None, dim):
            nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
            return
        bell = torch.exp(-(torch.arange(3) - 1.0).square() / 2)
        bell = bell / bell.sum()
        blur = bell[:, None, None] * bell[:, None] * bell
        with torch.no_grad():
            taken = torch.cat([share * torch.eye(dim) for share in shares], 1)
            self.conv.weight.copy_(taken[:, :, None, None, None] * blur)

    def forward(self, x: Tensor) -> Tensor:
        """Join."""
        out: Tensor = self.pool(self.conv(x).relu())
        return out


def _channels(trunk: nn.Module) -> int:
    """Channels of a network's map, found without computing."""
    with torch.no_grad():
        return int(copy.deepcopy(trunk).to("meta").eval()(torch.empty(1, 3, 1, 64, 64, device="meta")).shape[1])
