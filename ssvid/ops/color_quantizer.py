"""Colours as classes: which of a frame's colours are hidden from the network, and as what they are asked for."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssvid.data.color import lab_to_rgb, rgb_to_lab
from ssvid.errors import ConfigError

HIDDEN = {"grey": [(1, 1)], "lab_dropout": [(1, 0), (0, 1)]}  # which of Lab's a and b; one pair for each way of hiding
PIXELS = 50_000  # that k-means sees


class ColorQuantizer(nn.Module):
    """K classes of the hidden colours, for each of P ways of hiding; a buffer, so they are saved with a run.

    colors: K. input: "grey" hides a and b; "lab_dropout" hides one of them (P = 2), in Lab since the channels of RGB tell each other
    (MAST, arXiv 2002.07793). Until `fit`, the classes are hues on a circle. Raises ConfigError for another input.
    """

    def __init__(self, colors: int, input: str) -> None:
        super().__init__()
        if input not in HIDDEN:
            raise ConfigError(f"input={input!r} is not one of {', '.join(HIDDEN)}")
        self.hidden: Tensor
        self.centres: Tensor
        self.register_buffer("hidden", torch.tensor(HIDDEN[input], dtype=torch.float32), persistent=False)  # (P,2)
        hues = torch.arange(colors) * 2 * torch.pi / colors
        self.register_buffer("centres", 30 * torch.stack([hues.cos(), hues.sin()], 1) * self.hidden[:, None])  # (P,K,2)

    def fit(self, rgb: Tensor) -> None:
        """Put the classes where k-means finds them in frames (...,3,T,H,W) on 0..1."""
        from sklearn.cluster import KMeans  # half a second that only this call should cost

        ab = rgb_to_lab(rgb).movedim(-4, 0)[1:].flatten(1).T.cpu()
        ab = ab[torch.randperm(len(ab), generator=torch.Generator().manual_seed(0))[:PIXELS]]
        for centres, hidden in zip(self.centres, self.hidden.cpu(), strict=True):
            means = KMeans(len(centres), n_init=3, random_state=0).fit((ab * hidden).numpy())
            centres.copy_(torch.from_numpy(means.cluster_centers_))

    def hide(self, rgb: Tensor, way: int = 0) -> Tensor:
        """Frames (...,3,T,H,W) on 0..1 without the hidden colours; grey where both are."""
        return lab_to_rgb(self._without(rgb_to_lab(rgb), way))

    def classes(self, rgb: Tensor, cells: tuple[int, int], way: int = 0) -> Tensor:
        """The class of each of h x w cells, by the pixel it is centred on: (B,3,T,H,W) -> (B,T,h,w)."""
        pixels = F.interpolate(rgb, (rgb.shape[2], *cells), mode="nearest")
        ab = rgb_to_lab(pixels)[:, 1:].movedim(1, -1) * self.hidden[way]
        return torch.cdist(ab.flatten(0, -2), self.centres[way]).argmin(-1).view(ab.shape[:-1])

    def paint(self, rgb: Tensor, classes: Tensor, way: int = 0) -> Tensor:
        """Frames (B,3,T,H,W) with the hidden colours replaced by those of the classes (B,T,h,w) of their cells."""
        ab = F.interpolate(self.centres[way][classes].movedim(-1, 1), rgb.shape[2:], mode="nearest")
        return lab_to_rgb(self._without(rgb_to_lab(rgb), way) + F.pad(ab, (0, 0) * 3 + (1, 0)))

    def _without(self, lab: Tensor, way: int) -> Tensor:
        return lab * F.pad(1 - self.hidden[way], (1, 0), value=1.0).view(3, 1, 1, 1)
