"""Finer maps of an image network: what it would shrink beyond a given stride is shrunk no more."""

from __future__ import annotations

from torch import nn


def limit_stride(net: nn.Module, most: int) -> None:
    """Keep the strides of a network until their product is `most` and drop those that follow, in place; no weight changes.

    The network is a chain: its strided convolutions and pools follow one another in the order of `modules()`, with none in a side branch.
    A convolution that loses its stride is computed at every cell, one with an even kernel at every second place so that it has a middle;
    a pool with an even kernel becomes the identity, one with an odd kernel stays a maximum. Weights fit as before, though each later
    kernel covers less of the picture (no dilation, as in walks on patches, arXiv:2006.14613).
    """
    reached = 1
    for module in net.modules():
        if not isinstance(module, nn.Conv2d | nn.MaxPool2d):
            continue
        stride = _first(module.stride)
        if stride > 1 and reached >= most:
            _keep_size(module)
        else:
            reached *= stride


def _keep_size(module: nn.Conv2d | nn.MaxPool2d) -> None:
    kernel = _first(module.kernel_size)
    if isinstance(module, nn.Conv2d):
        module.stride = (1, 1)
        if kernel % 2 == 0:  # spread, so that it has a middle
            module.dilation = (2, 2)
        module.padding = ((kernel - 1) * module.dilation[0] // 2,) * 2
    else:
        module.kernel_size = kernel if kernel % 2 else 1
        module.padding = kernel // 2 if kernel % 2 else 0
        module.stride = 1


def _first(size: int | tuple[int, ...]) -> int:
    return size if isinstance(size, int) else size[0]
