"""Any image network of timm, applied to every frame alone: `timm/resnet50.a1_in1k`, `timm/vit_small_patch14_dinov2` (extra `timm`).

Weights are those that timm knows by tag, as `timm/resnet50@a1_in1k`, or a file. Which maps a network gives at which stride is measured
when it is first used. Only networks that give their last map (`forward_intermediates`) can be taken, which nearly all do.
"""

from __future__ import annotations

import difflib
from types import ModuleType
from typing import Any, Literal

from torch import Tensor, nn

from ssvid.errors import ConfigError
from ssvid.zoo.backbone import PerFrame

PREFIX = "timm/"
MODELS: dict[str, dict[str, Any]] = {"*": {"frames": 16}}


def describe(name: str) -> dict[str, Any]:
    """Fields of `timm/NAME`, as timm states them. Raises ConfigError where timm is not installed and for a name that it does not know."""
    timm = _timm(name)
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        raise ConfigError(f"timm has no model {name!r}" + (f"; did you mean {', '.join(close)}?" if close else ""))
    cfg = timm.get_pretrained_cfg(name) or timm.get_pretrained_cfg(architecture)
    return {
        "description": f"timm's {name} per frame",
        "size": cfg.input_size[1],
        "mean": tuple(cfg.mean),
        "std": tuple(cfg.std),
        "source": f"timm {timm.__version__}",
        "licence": cfg.license or "Apache-2.0",
        "weights": _weights(timm, architecture),
    }


def build(name: str, *, output_stride: Literal[32, 16, 8] = 32) -> nn.Module:
    """Trunk of a network of timm: (B,3,T,H,W) -> (B,D,T,h,w).

    output_stride: largest stride of the map's cells. Raises ConfigError for one that timm cannot give the network.
    """
    timm = _timm(name)
    wishes: dict[str, Any] = {} if output_stride == 32 else {"output_stride": output_stride}
    for sizes in (
        {"dynamic_img_size": True},
        {},
    ):  # of transformers, whose positions are then interpolated; others do not know the word
        try:
            net = timm.create_model(name, pretrained=False, num_classes=0, **wishes, **sizes)
        except TypeError as error:
            unknown = error
        except (NotImplementedError, ValueError, RuntimeError, AssertionError) as error:
            raise ConfigError(f"timm/{name} cannot be built so: {error}") from error
        else:
            return PerFrame(LastMap(net, name))
    raise ConfigError(f"timm/{name} cannot be built so: {unknown}")


class LastMap(nn.Module):
    """The last map of a network of timm: (N,3,H,W) -> (N,D,h,w). What is over of a patch at the right and below is left out."""

    def __init__(self, net: nn.Module, name: str) -> None:
        super().__init__()
        if not hasattr(net, "forward_intermediates"):
            raise ConfigError(f"timm/{name} gives no map (it has no forward_intermediates); take another network")
        self.net: Any = net
        patch = getattr(getattr(net, "patch_embed", None), "patch_size", 1)
        self.patch: tuple[int, int] = (patch, patch) if isinstance(patch, int) else tuple(patch)

    def forward(self, x: Tensor) -> Tensor:
        """Encode images."""
        down, across = self.patch
        x = x[:, :, : x.shape[2] // down * down, : x.shape[3] // across * across]
        maps: list[Tensor] = self.net.forward_intermediates(x, indices=1, norm=True, intermediates_only=True)
        return maps[-1]


def _timm(name: str) -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise ConfigError(f"timm/{name} needs timm, which is not installed; pip install 'ssvid[timm]'") from error
    module: ModuleType = timm
    return module


def _weights(timm: ModuleType, architecture: str) -> dict[str, str]:
    """Address of the weights of every tag."""
    found = {}
    for full in timm.list_pretrained(f"{architecture}.*"):
        cfg = timm.get_pretrained_cfg(full)
        if cfg.hf_hub_id:
            found[full.partition(".")[2]] = f"https://huggingface.co/{cfg.hf_hub_id}/resolve/main/model.safetensors"
        elif cfg.url:
            found[full.partition(".")[2]] = cfg.url
    return found
