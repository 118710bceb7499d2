"""Carrying soft labels from frames that have them to the next one, along the largest affinities of their features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ssvid.ops.local_affinity import Largest, largest_affinities
from ssvid.tracking.memory import LabelledFrame, Memory
from ssvid.tracking.presets import Preset


def propagate(features: Tensor, memory: Memory, preset: Preset) -> Tensor:
    """Soft labels (h,w,C) of a frame with features (h,w,D), out of those remembered.

    Each cell takes the labels of the cells of the context that it is most like, weighted by how alike they are, see `Preset`.
    """
    kept, recent = list(memory.kept), list(memory.recent)
    if preset.radius is None or preset.kept_everywhere:
        everywhere, nearby = (kept + recent, []) if preset.radius is None else (kept, recent)
    else:
        everywhere, nearby = [], kept + recent
    if not preset.per_frame:
        return _carry(features, everywhere, nearby, preset)
    carried = [_carry(features, [frame], [], preset) for frame in everywhere]
    carried += [_carry(features, [], [frame], preset) for frame in nearby]
    return torch.stack(carried).mean(0)


def _carry(
    features: Tensor, everywhere: Sequence[LabelledFrame], nearby: Sequence[LabelledFrame], preset: Preset
) -> Tensor:
    h, w, _ = features.shape
    labels = torch.cat([frame.labels.flatten(0, 1) for frame in (*everywhere, *nearby)])
    before = preset.softmax == "before"

    def carry(part: Largest) -> tuple[Tensor, Tensor]:
        weights = (part.logits - part.total[:, None]).exp() if before else part.logits.softmax(1)
        return part.cells, torch.einsum("nk,nkc->nc", weights, labels[part.keys])

    carried = labels.new_empty(h * w, labels.shape[1])
    for cells, found in largest_affinities(
        features,
        [frame.features for frame in nearby],
        [frame.features for frame in everywhere],
        topk=preset.topk,
        temperature=preset.temperature,
        radius=preset.radius or 0,
        neighbourhood=preset.neighbourhood,
        ties=preset.ties,
        total=before,
        then=carry,
    ):
        carried[cells] = found
    return carried.view(h, w, -1)
