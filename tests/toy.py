"""A backbone without batch norm, given by its path: what two processes compute does not depend on who sits beside whom."""

from __future__ import annotations

from torch import nn

MODELS = {
    "toy": {
        "description": "two 3-D convolutions without batch norm",
        "frames": 8,
        "size": 32,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.25, 0.25, 0.25),
        "source": "here",
        "licence": "Apache-2.0",
    }
}


def build(name: str) -> nn.Module:
    """The trunk."""
    return nn.Sequential(
        nn.Conv3d(3, 8, 3, stride=(1, 2, 2), padding=1),
        nn.ReLU(),
        nn.Conv3d(8, 8, 3, stride=(1, 2, 2), padding=1),
        nn.ReLU(),
    )
