"""NetVLAD with context gating (Miech et al., arXiv:1706.06905; NetVLAD: Arandjelovic et al., CVPR 2016, arXiv:1511.07247).

Every cell of every step is a descriptor, as in ActionVLAD (arXiv:1704.02895). Each is shared out among clusters, what it lies off their
centres is summed up, and a layer makes a vector of the sums, whose channels a gate weighs against one another. Channels are kept where
time is not: sums do not know the order of what they add up, so a clip has the same vector in any order. The assignment has no part in the
centres, and batch norm is in the place of its biases.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.zoo.recurrence import StepByStep, as_map, check_positive

HEADS = {
    "netvlad": {
        "description": "NetVLAD over all cells of all steps, context gating; blind to order",
        "source": "arXiv:1706.06905",
        "licence": "Apache-2.0",
    }
}


def build(
    name: str,
    dim: int,
    *,
    hidden: int = 0,
    clusters: int = 64,
    gating: bool = True,
    residual: bool = True,
) -> nn.Module:
    """Map to map, (B,dim,t,h,w) -> (B,hidden,1,1,1).

    hidden: size of the vector, 0 for that of the encoder's; the paper's 1024. clusters: the paper's best 256. gating: whether channels are
    weighed by a gate. residual: False sums the descriptors themselves (NetRVLAD), not what they lie off the centres.
    """
    check_positive(name, clusters=clusters)
    return NetVLAD(dim, hidden or dim, clusters, gating, residual)


State = tuple[Tensor, Tensor]  # sums over descriptors: of shares times descriptors (B,K,D), and of shares (B,K)


class NetVLAD(StepByStep):
    """Residuals of descriptors to clusters, summed: (B,D,t,h,w) -> (B,H,1,1,1)."""

    def __init__(self, dim: int, hidden: int, clusters: int, gating: bool, residual: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim)
        self.assign = nn.Linear(dim, clusters, bias=False)
        self.assign_norm = nn.BatchNorm1d(clusters)
        nn.init.normal_(self.assign.weight, std=1 / math.sqrt(dim))
        self.centres = nn.Parameter(torch.randn(clusters, dim) / math.sqrt(dim)) if residual else None
        self.layer = nn.Linear(clusters * dim, hidden, bias=False)
        nn.init.normal_(self.layer.weight, std=1 / math.sqrt(clusters))
        self.gate = ContextGate(hidden) if gating else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """Compute."""
        return as_map(self.read(self.sums(maps.flatten(2))))

    def sums(self, descriptors: Tensor) -> State:
        """What is summed over descriptors (B,D,N)."""
        batch, _, number = descriptors.shape
        x = self.norm(descriptors.transpose(1, 2).flatten(0, 1))
        shares = self.assign_norm(self.assign(x)).softmax(1).unflatten(0, (batch, number))
        return torch.einsum("bnk,bnd->bkd", shares, x.unflatten(0, (batch, number)).to(shares)), shares.sum(1)

    def read(self, sums: State) -> Tensor:
        """The vector (B,H) of sums."""
        weighted, shares = sums
        off = weighted if self.centres is None else weighted - shares[..., None] * self.centres
        vlad = F.normalize(F.normalize(off, dim=2).flatten(1), dim=1)
        out: Tensor = self.gate(self.layer(vlad))
        return out

    def step(self, maps: Tensor, state: State | None) -> tuple[Tensor, State]:
        """The next step of a stream."""
        weighted, shares = self.sums(maps.flatten(2))
        if state is not None:
            weighted, shares = state[0] + weighted, state[1] + shares
        return self.read((weighted, shares))[..., None, None], (weighted, shares)


class ContextGate(nn.Module):
    """Each channel times what all of them say of it, 0..1: (B,H) -> (B,H)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.layer = nn.Linear(size, size, bias=False)
        self.norm = nn.BatchNorm1d(size)
        nn.init.normal_(self.layer.weight, std=1 / math.sqrt(size))

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        out: Tensor = x * self.norm(self.layer(x)).sigmoid()
        return out
