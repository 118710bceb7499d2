"""What is in the frames, as an image network that was trained on ImageNet has it: `objects/resnet50@imagenet1k`.

The scores of the 1000 classes of every frame (softmax), averaged by the view over time: a description of scenes and things that knows
nothing of motion, against which features of motion have to stand (Jain et al., CVPR 2015, "What do 15,000 object categories tell us
about classifying and localizing actions?"). Any classifier of torchvision with weights for ImageNet-1K. Without weights it is noise.
"""

from __future__ import annotations

from typing import Any

import torchvision
from torch import Tensor, nn

from ssvid.errors import ConfigError
from ssvid.zoo.backbone import PerFrame

PREFIX = "objects/"
MODELS: dict[str, dict[str, Any]] = {"*": {"frames": 16, "source": "torchvision.models", "licence": "BSD-3-Clause"}}


def describe(name: str) -> dict[str, Any]:
    """Fields of `objects/NAME`, from what torchvision says of its weights. Raises ConfigError for one without weights."""
    if name not in torchvision.models.list_models(torchvision.models):
        raise ConfigError(f"objects/{name}: torchvision has no image classifier {name!r}; take resnet50, vit_b_16 ...")
    weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    preset = weights.transforms()
    return {
        "description": f"Scores of ImageNet's 1000 classes per frame: torchvision's {name}",
        "size": preset.crop_size[0],
        "mean": tuple(preset.mean),
        "std": tuple(preset.std),
        "weights": {"imagenet1k": weights.url},
        "published": [
            [
                "ImageNet-1K",
                "supervised",
                "top-1",
                weights.meta["_metrics"]["ImageNet-1K"]["acc@1"],
                f"torchvision {weights.name}",
            ]
        ],
    }


def build(name: str) -> nn.Module:
    """Trunk of a classifier of torchvision, its head included: (B,3,T,H,W) -> (B,1000,T,1,1), each frame's scores, which sum to 1."""
    weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    # as torchvision builds it for these weights; auxiliary heads serve training only
    known = {"googlenet": {"transform_input": True}, "inception_v3": {"transform_input": True}}.get(name, {})
    extra = {"aux_logits": False, "init_weights": False} if known else {}
    return PerFrame(
        Scores(
            torchvision.models.get_model(
                name, weights=None, num_classes=len(weights.meta["categories"]), **known, **extra
            )
        )
    )


class Scores(nn.Module):
    """A classifier's probabilities as a map of one cell: (N,3,H,W) -> (N,K,1,1)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Classify images."""
        scores: Tensor = self.net(x).softmax(1)
        return scores[..., None, None]
