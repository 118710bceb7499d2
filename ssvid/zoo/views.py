"""Views of a backbone: one vector a clip, one vector a frame, and maps whose steps saw one frame only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import adaptive_avg_pool3d

from ssvid.errors import ConfigError
from ssvid.zoo.backbone import Backbone

Pool = Literal["mean", "max_space_mean_time", "mean_std", "grid", "none"]
Mode = Literal["replicate", "microclip", "static"]

GRID = (2, 3, 3)  # parts of a clip in time, down and across

_POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda features: features.mean((2, 3, 4)),
    # a still background looks alike at every speed, so the fastest region of a frame decides (SpeedNet, arXiv:2004.06130)
    "max_space_mean_time": lambda features: features.amax((3, 4)).mean(2),
    # twice as long: what is seen, and how much each channel changes; the second half is all that an image network knows of time
    "mean_std": lambda features: torch.cat([features.mean((2, 3, 4)), features.mean((3, 4)).std(2, unbiased=False)], 1),
    # where and when it is: people who stand left and right of each other differ from a crowd in the middle
    "grid": lambda features: adaptive_avg_pool3d(features, GRID).flatten(1),
    # the whole map, for a head that looks at its cells itself
    "none": lambda features: features.flatten(1),
}


def clip_vector(features: Tensor, pool: Pool = "mean") -> Tensor:
    """One vector a clip: (B,D,t,h,w) -> (B,D); (B,2D) for the pool mean_std, (B,18D) for grid, the means of 2 x 3 x 3 parts
    of the clip, (B,D*t*h*w) for none.

    Raises ConfigError for an unknown pool.
    """
    if pool not in _POOLS:
        raise ConfigError(f"Unknown pool {pool!r}. Use one of {', '.join(_POOLS)}.")
    return _POOLS[pool](features)


def frame_vectors(backbone: Backbone, x: Tensor) -> Tensor:
    """One vector a frame, averaged over space and aligned to the input frames: clips (B,3,T,H,W) -> (B,T,D).

    Step i of a map with temporal stride s stands for frames s*i to s*i + s-1, so its centre is frame s*(i + 1/2) - 1/2;
    frames between two centres are interpolated linearly, those outside take the nearest step. A 3-D backbone lets each
    vector see `info.temporal_rf` frames: use `isolated_maps` where that would give the answer away.
    """
    steps: Tensor = backbone(x).mean((3, 4)).transpose(1, 2)
    T, t = x.shape[2], steps.shape[1]
    if t == T:
        return steps
    stride = backbone.info.temporal_stride
    position = ((torch.arange(T, device=x.device) + 0.5) / stride - 0.5).clamp(0, t - 1)
    before = position.long()
    after = (before + 1).clamp(max=t - 1)
    return torch.lerp(steps[:, before], steps[:, after], (position - before).to(steps.dtype)[:, None])


def isolated_maps(backbone: Backbone, x: Tensor, mode: Mode = "replicate", k: int = 8) -> Tensor:
    """Feature maps whose step t saw frame t only: clips (B,3,T,H,W) -> (B,D,T,h,w).

    A 3-D trunk mixes frames, and tasks that compare frames (walks, colour propagation, frame order) are then solved by
    that leak. Here every step is its own item of the batch. What the trunk is shown in place of a real clip is the mode:

    - "replicate": the frame stands still for ever. Where `info.isolation` is "fold", each temporal kernel acts as the sum of its taps,
      and all taps learn; where it is "still", the frame is played for `info.frames` frames. For pretraining.
    - "static": the frame stands still for `info.min_frames` frames between zeros, as padding has it. For evaluation only:
      at one frame, the side taps of temporal kernels meet nothing but zeros and get no gradient.
    - "microclip": step t is the `k` real frames from t*k on, and the result has T/k steps. Learns real motion.

    A backbone that is shown changes or flow would see nothing of a frame that stands still, so in the first two modes its step t sees the
    pair of frames t and t+1, whose change it is shown as it is shown a frame else; the last step sees the last pair again.

    "replicate" and "static" encode B*T clips of `info.min_frames` frames, "microclip" B*T/k clips of k frames; against the
    native map this costs 1 for image networks and mc3_18, 2 for r3d_18 and 6 for s3d (T=16). While training, batch norm
    still shares its statistics among the steps, as it does among all items of a batch.

    Raises ConfigError for an unknown mode, where k does not divide T or is under `info.min_frames`, and for one frame where pairs are seen.
    """
    info = backbone.info
    if mode == "microclip":
        maps: Tensor = backbone(_microclips(backbone, x, k))
    elif mode in ("replicate", "static"):
        still = mode == "replicate" and info.isolation == "still"
        kernels = {} if still or mode == "static" else _still_kernels(backbone)
        alone = _changes_alone(backbone, x) if info.pairs else x.transpose(1, 2).flatten(0, 1).unsqueeze(2)
        clips = alone.expand(-1, -1, info.frames if still else info.min_frames - info.pairs, -1, -1)
        maps = functional_call(backbone, kernels, (clips,), {"made": True} if info.pairs else {})
    else:
        raise ConfigError(f"Unknown isolation mode {mode!r}. Use replicate, static or microclip.")
    return torch.unflatten(maps.mean(2), 0, (x.shape[0], -1)).transpose(1, 2)


def _microclips(backbone: Backbone, x: Tensor, k: int) -> Tensor:
    """Clips (B,C,T,H,W) cut into clips of k frames, (B*T/k,C,k,H,W)."""
    B, C, T, H, W = x.shape
    if k < backbone.info.min_frames or T % k:
        raise ConfigError(
            f"microclip takes steps of k={k} frames from {T}: k must divide that and be at least "
            f"{backbone.info.min_frames} for {backbone.info.name}. Change k or the clip's length."
        )
    return x.reshape(B, C, T // k, k, H, W).transpose(1, 2).flatten(0, 1)


def _changes_alone(backbone: Backbone, x: Tensor) -> Tensor:
    """What each frame's pair with the next one gives as input, the last pair once more: clips (B,C,T,H,W) -> (B*T,C,1,H,W)."""
    T = x.shape[2]
    if T < 2:
        raise ConfigError(f"{backbone.info.name} is shown changes between frames and needs 2 of them, not {T}.")
    start = torch.arange(T, device=x.device).clamp(max=T - 2)
    pairs = torch.stack([x[:, :, start], x[:, :, start + 1]], 3)  # (B,C,T,2,H,W)
    return backbone.make_input(pairs.transpose(1, 2).flatten(0, 1))


def _still_kernels(backbone: nn.Module) -> dict[str, Tensor]:
    """Weights under which a short still clip is encoded as one that never began nor ends, by parameter name.

    On frames that are all alike a temporal kernel is the sum of its taps. We put that sum on the one tap that never falls on
    padding, so no zero enters whatever the length, and the gradient of the sum reaches every tap. This needs no code in any
    family, unlike padding by replication, and no clip as long as the receptive field.
    """
    folded = {}
    for name, module in backbone.named_modules():
        if isinstance(module, nn.Conv3d) and module.kernel_size[0] > 1:
            tap = _first_padding(module) // module.dilation[0]
            weight = module.weight
            place = torch.zeros(weight.shape[2], dtype=weight.dtype, device=weight.device)
            place[tap] = 1
            folded[f"{name}.weight"] = weight.sum(2, keepdim=True) * place.view(-1, 1, 1)
    return folded


def _first_padding(conv: nn.Conv3d) -> int:
    """Frames of padding before the clip."""
    if conv.padding == "same":
        return conv.dilation[0] * (conv.kernel_size[0] - 1) // 2
    return 0 if conv.padding == "valid" else int(conv.padding[0])
