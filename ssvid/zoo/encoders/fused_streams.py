"""Two streams that a convolution over space and time joins, colours of a frame and the flow around it: networks of two papers.

`two_stream_vgg16` is that of Feichtenhofer et al. (CVPR 2016, arXiv:1604.06573): two VGG-16 are joined after their last convolution.
`two_stream_inception` is the 3D-Fused network of Carreira and Zisserman (CVPR 2017, arXiv:1705.07750): two Inceptions, joined before their
last pool. Both see five frames, ten apart, and the ten flow fields around each, which are a clip of fifty frames here; longer and shorter
ones have a step for every ten.

The pool after the convolution takes every second step. In the first paper it spans all five, and there the motion stream has a classifier
of its own too; the second paper prints no stride of it. The classifiers and their linear layers are left to a head.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from ssvid.data.flow_estimators import ESTIMATORS
from ssvid.errors import ConfigError
from ssvid.zoo.backbone import PerFrame
from ssvid.zoo.encoders.two_stream import ConvFusion, TwoStream
from ssvid.zoo.registry import ENCODERS, find

MODELS = {
    "*": {
        "frames": 50,
        "size": 224,
        # colours come in as they are, since flow is taken from them
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
        "isolation": "motion",
        "licence": "Apache-2.0, the image networks BSD-3-Clause",
    },
    "two_stream_vgg16": {
        "description": "Two VGG-16 of colours and of ten flow fields, fused by a 3-D convolution after conv5",
        "source": "CVPR 2016, written here on torchvision.models",
        "published": [["UCF101", "two ImageNet networks, mean of three splits", "top-1", 92.5, "arXiv:1604.06573"]],
        "weights": {"imagenet1k": "https://download.pytorch.org/models/vgg16-397923af.pth"},
    },
    "two_stream_inception": {
        "description": "3D-Fused: two Inceptions of colours and of ten flow fields, fused by a 3-D convolution",
        "source": "CVPR 2017, written here on torchvision.models",
        "published": [["Kinetics-400", "supervised, from ImageNet", "top-1", 67.2, "arXiv:1705.07750"]],
        "weights": {"imagenet1k": "https://download.pytorch.org/models/googlenet-1378be20.pth"},
    },
    "two_stream_tiny": {
        "description": "Small two streams of colours and of four differences, for tests and laptops",
        "source": "written here",
        "frames": 16,
        "size": 48,
    },
}

FIELDS = 10  # of flow, around each frame


def build(name: str, *, motion: str = "") -> nn.Module:
    """Trunk of one of `MODELS`: (B,3,T,H,W), colours on 0..1, -> (B,D,t,h,w).

    motion: who works the flow out: "flow" is our own, "dis" OpenCV's DIS (extra `flow`), "raft" RAFT with its weights; "difference" is
        that of normalised frames. By default flow, and the difference, which costs nothing, for the small network.
    Raises ConfigError for another one.
    """
    motion = motion or ("difference" if name == "two_stream_tiny" else "flow")
    if motion not in (*ESTIMATORS, "difference"):
        raise ConfigError(f"{name}: motion={motion!r} is not one of {', '.join(ESTIMATORS)}, difference")
    if name == "two_stream_vgg16":
        return _fused("vgg16", ConvFusion(512, shares=(0.25, 0.75)), motion, FIELDS, output_stride=16)
    if name == "two_stream_inception":
        return _fused("googlenet", ConvFusion(1024, 512, kernel=3), motion, FIELDS)
    return _fused("vgg_tiny", ConvFusion(48), motion, 4, output_stride=8)


def _fused(image: str, join: nn.Module, motion: str, fields: int, **options: Any) -> TwoStream:
    entry = find(ENCODERS, image)
    colours, moving = (entry.build(**options) for _ in range(2))
    assert isinstance(colours, PerFrame)
    assert isinstance(moving, PerFrame)
    return TwoStream(colours, moving, entry.fields["mean"], entry.fields["std"], join, motion, fields)
