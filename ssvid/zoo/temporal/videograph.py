"""VideoGraph: a clip as a graph of latent concepts and how they follow one another (Hussein et al., arXiv:1905.05143).

Nodes are fixed random vectors. How much each step is like each node gives a map of nodes over time, in which every node has its own vector;
two layers mix channels, then times, then nodes, and pool both. The paper's steps are 64 segments of 8 frames, seen by I3D.

Nodes are averaged by fours before they are mixed, as in the paper's released settings, here as they are made, so that all nodes at all
times never stand in memory. Mixing nodes needs an order among them; it is the one in which they were drawn, and is saved with the weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.errors import ConfigError
from ssvid.zoo.recurrence import as_map

HEADS = {
    "videograph": {
        "description": "likeness to latent concepts over time, mixed over both, maximum, a layer",
        "source": "arXiv:1905.05143",
        "licence": "Apache-2.0",
    }
}

TOGETHER = 4  # nodes that are averaged


def build(name: str, dim: int, *, hidden: int = 0, nodes: int = 128) -> nn.Module:
    """Map to map, (B,dim,t,h,w) -> (B,hidden,1,1,1).

    hidden: size of the vector, 0 for that of the encoder's; the paper's 512. nodes: latent concepts, a multiple of 4, and 36 at least.

    Raises ConfigError for another number of nodes.
    """
    if nodes < 36 or nodes % TOGETHER:
        raise ConfigError(f"{name}: {nodes} nodes cannot be pooled by 4, 3 and 3; give a multiple of 4 from 36 on.")
    return VideoGraph(dim, hidden or dim, nodes)


class VideoGraph(nn.Module):
    """Likeness to nodes, graph embedding, a layer: (B,D,t,h,w) -> (B,H,1,1,1)."""

    def __init__(self, dim: int, hidden: int, nodes: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(nn.Conv3d(dim, dim, 1), nn.BatchNorm3d(dim), nn.LeakyReLU(0.2))
        self.attend = NodeAttention(dim, nodes)
        self.embed = nn.Sequential(GraphLayer(dim), GraphLayer(dim))
        self.out = nn.Sequential(nn.Dropout(0.25), nn.Linear(dim, hidden), nn.BatchNorm1d(hidden), nn.LeakyReLU(0.2))

    def forward(self, maps: Tensor) -> Tensor:
        """Compute."""
        steps = self.reduce(maps).amax((3, 4)).transpose(1, 2)
        graph = self.embed(self.attend(steps))
        return as_map(self.out(graph.mean(3).amax(2)))


class NodeAttention(nn.Module):
    """Every node's vector, weighed by how much a step is like it, nodes averaged by fours: (B,t,D) -> (B,D,t,N/4)."""

    def __init__(self, dim: int, nodes: int) -> None:
        super().__init__()
        self.nodes: Tensor
        self.register_buffer("nodes", torch.rand(nodes, dim))
        self.norm_nodes, self.norm_steps = nn.BatchNorm1d(dim), nn.BatchNorm1d(dim)
        self.key = nn.Linear(dim, dim)
        self.norm_likeness = nn.BatchNorm1d(nodes)
        self.norm_attention = nn.BatchNorm1d(nodes)
        self.norm = nn.BatchNorm2d(dim)

    def forward(self, steps: Tensor) -> Tensor:
        """Compute."""
        values = self.norm_nodes(self.nodes)
        attention = self.attention(steps, values).unflatten(2, (-1, TOGETHER))
        joined = torch.einsum("btgk,gkd->bdtg", attention, values.unflatten(0, (-1, TOGETHER))) / TOGETHER
        return F.leaky_relu(self.norm(joined), 0.2)

    def attention(self, steps: Tensor, values: Tensor) -> Tensor:
        """How much each step (B,t,D) is like each node (N,D): (B,t,N)."""
        batch = steps.shape[0]
        likeness = self.norm_steps(steps.flatten(0, 1)) @ self.key(values).t()
        weights = self.norm_attention(F.leaky_relu(self.norm_likeness(likeness), 0.2))
        return torch.unflatten(weights, 0, (batch, -1))


class GraphLayer(nn.Module):
    """Channels mixed, then times, then nodes, and a third of both kept: (B,D,t,N) -> (B,D,t//3,N//3); one time of fewer than three."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.channels = nn.Conv2d(dim, dim, 1)
        self.times = nn.Conv2d(dim, dim, (7, 1), padding=(3, 0), groups=dim)
        self.nodes = nn.Conv2d(dim, dim, (1, 7), padding=(0, 3), groups=dim)
        self.norm = nn.BatchNorm2d(dim)

    def forward(self, graph: Tensor) -> Tensor:
        """Compute."""
        mixed = F.leaky_relu(self.norm(self.nodes(self.times(self.channels(graph)))), 0.2)
        return F.max_pool2d(mixed, (min(3, mixed.shape[2]), 3))
