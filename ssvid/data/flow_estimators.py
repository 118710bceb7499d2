"""Optical flow by others, in place of our own: OpenCV's DIS (Kroeger et al., ECCV 2016, extra `flow`) and RAFT (Teed and Deng, ECCV 2020).

Both take and give what `ssvid.data.flow.optical_flow` does. DIS runs on the CPU, frame by frame. RAFT is torchvision's small network with
its weights, downloaded into torch's folder of checkpoints where they are not at hand; it was trained on rendered scenes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.data.flow import LUMA, full_precision, optical_flow
from ssvid.errors import ConfigError, DataError

DIS_LEAST = 16  # px, below which it finds nothing
RAFT_LEAST, RAFT_MULTIPLE = 128, 8  # px
RAFT_UPDATES = 12


def dis_flow(clips: Tensor) -> Tensor:
    """Flow from each frame to the next by OpenCV's DIS, its medium preset: colours (B,3,T,H,W) on 0..1 -> (B,2,T-1,H,W), in px.

    Raises ConfigError where OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise ConfigError("flow by DIS needs OpenCV, which is not installed; pip install 'ssvid[flow]'") from error
    if clips.device.type == "meta":
        return _nothing(clips)
    frames = _enlarged(clips, DIS_LEAST, 1)
    grey = torch.einsum("bcthw,c->bthw", frames, frames.new_tensor(LUMA)).mul(255).round().byte().cpu().numpy()
    matcher: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = [[matcher.calc(first, second, None) for first, second in pairwise(clip)] for clip in grey]
    return _back(torch.from_numpy(np.array(flow)).movedim(-1, 1).to(clips.device), clips)


def raft_flow(clips: Tensor) -> Tensor:
    """Flow from each frame to the next by RAFT: colours (B,3,T,H,W) on 0..1 -> (B,2,T-1,H,W), in px.

    Raises DataError where its weights are neither at hand nor to be had.
    """
    if clips.device.type == "meta":
        return _nothing(clips)
    with torch.no_grad(), full_precision(clips.device.type):
        frames = _enlarged(clips, RAFT_LEAST, RAFT_MULTIPLE) * 2 - 1
        first, second = (part.transpose(1, 2).flatten(0, 1) for part in (frames[:, :, :-1], frames[:, :, 1:]))
        flow: Tensor = _raft(str(clips.device))(first, second, num_flow_updates=RAFT_UPDATES)[-1]
        return _back(flow.unflatten(0, (len(clips), -1)).transpose(1, 2), clips)


@cache
def _raft(device: str) -> nn.Module:
    """One network a device; it belongs to no backbone, and is saved with none."""
    from torchvision.models.optical_flow import Raft_Small_Weights, raft_small

    url = Raft_Small_Weights.C_T_V2.url
    folder = f"{torch.hub.get_dir()}/checkpoints"
    try:
        tensors = torch.hub.load_state_dict_from_url(
            url, folder, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError) as error:
        raise DataError(f"the weights of RAFT cannot be downloaded ({error}); put {url} into {folder}") from error
    with torch.random.fork_rng(devices=[]):  # of its fresh weights, which are replaced
        net = raft_small()
    net.load_state_dict(tensors)
    frozen: nn.Module = net.eval().requires_grad_(False).to(device)
    return frozen


def _enlarged(clips: Tensor, least: int, multiple: int) -> Tensor:
    """Frames in single precision, of `least` px a side at least and of sides that are multiples."""
    sides = [max(least, -(-side // multiple) * multiple) for side in clips.shape[3:]]
    T = clips.shape[2]
    return F.interpolate(clips.float(), (T, *sides), mode="trilinear", align_corners=False).clamp(0, 1)


def _back(flow: Tensor, clips: Tensor) -> Tensor:
    """Flow (B,2,T-1,h,w) of enlarged frames at the size of the clip's, in its px."""
    H, W = clips.shape[3:]
    scale = flow.new_tensor([W / flow.shape[-1], H / flow.shape[-2]]).view(2, 1, 1, 1)
    return F.interpolate(flow, (flow.shape[2], H, W), mode="trilinear", align_corners=False) * scale


def _nothing(clips: Tensor) -> Tensor:
    B, _, T, H, W = clips.shape
    return clips.new_zeros(B, 2, T - 1, H, W)


ESTIMATORS: dict[str, Callable[[Tensor], Tensor]] = {"flow": optical_flow, "dis": dis_flow, "raft": raft_flow}
SLOW = ("dis", "raft")  # what costs as much as a network, or more
