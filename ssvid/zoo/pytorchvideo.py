"""The networks of pytorchvideo as trunks: the library's own head pools a fixed size and ends in a softmax, so it is left out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from torch import Tensor, nn

with warnings.catch_warnings():
    # what it imports compiles a loss by torch.jit.script, of which torch warns
    warnings.simplefilter("ignore", FutureWarning)
    from fvcore.nn.squeeze_excitation import SqueezeExcitation
    from pytorchvideo.models.csn import create_csn
    from pytorchvideo.models.net import Net
    from pytorchvideo.models.r2plus1d import create_r2plus1d
    from pytorchvideo.models.resnet import create_bottleneck_block, create_res_stage, create_resnet
    from pytorchvideo.models.slowfast import create_slowfast
    from pytorchvideo.models.stem import create_res_basic_stem
    from pytorchvideo.models.x3d import create_x3d

__all__ = [
    "Blocks",
    "Net",
    "SqueezeExcitation",
    "create_bottleneck_block",
    "create_csn",
    "create_r2plus1d",
    "create_res_basic_stem",
    "create_res_stage",
    "create_resnet",
    "create_slowfast",
    "create_x3d",
]


class Blocks(nn.Module):
    """Blocks one after the other, under the names of pytorchvideo's networks, so that its weights load: (B,3,T,H,W) -> (B,D,t,h,w).

    The library begins the last norm of each residual block at zero, which lets no gradient into the block; here all begin at one.
    """

    def __init__(self, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm3d):
                nn.init.ones_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        for block in self.blocks:
            x = block(x)
        return x
