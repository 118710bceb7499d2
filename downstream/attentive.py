"""The attentive probe of V-JEPA 2 (arXiv 2506.09985): a learnt query attends to all tokens of a frozen backbone.

The tokens of a video are the cells of the feature maps of its clips. A grid of heads, one for each learning rate and weight decay, is
trained side by side on the same batches. Which one is taken is decided on training videos that were held out, never on the test; that one
is then trained again on all training videos.

The tokens of a fold are held in memory, so what they take is reckoned before anything is decoded, and refused over `gigabytes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from lightly.utils.scheduler import cosine_schedule
from torch import Tensor, nn

from ssvid.errors import ConfigError
from ssvid.evaluation.adapter import Candidate, EvalContext, Score
from ssvid.evaluation.features import View
from ssvid.evaluation.folds import accuracy, features_by_fold
from ssvid.evaluation.inner_folds import groups_of, inner_folds, labels_of
from ssvid.progress import Progress
from ssvid.zoo.info import BackboneInfo

COPIES = 5  # of a fold's tokens at most at once: read, reordered, centred, scaled, and the test videos' beside them
# numbers kept for backward for each number of a batch: by cross-attention, by a block of self-attention
KEPT, KEPT_A_BLOCK = 5, 35

PROTOCOLS = {
    "attentive": {
        "summary": "Attentive probe, small: one block of cross-attention on the feature maps",
        "after": "V-JEPA 2 (arXiv 2506.09985)",
        "differs": "1 block of 4 heads and a grid of 6; the grid's best is chosen on held-out training videos, where V-JEPA 2 reports "
        "the best on the validation set; not comparable to linear: it sees where and when",
        "trains": "head",
    },
    "attentive_vjepa2": {
        "summary": "Attentive probe as V-JEPA 2 has it: 4 blocks, 16 heads, a grid of 20",
        "after": "V-JEPA 2 (arXiv 2506.09985), configs/eval/vitl/ssv2.yaml",
        "differs": "chosen on held-out training videos; one centre crop of each of 2 clips, where it takes three; no augmentation, as the "
        "features are computed once",
        "trains": "head",
        "function": "attentive",
        "defaults": {
            "depth": 4,
            "heads": 16,
            "epochs": 20,
            "batch": 128,
            "rates": (5e-3, 3e-3, 1e-3, 3e-4, 1e-4),
            "decays": (0.01, 0.1, 0.4, 0.8),
            "gigabytes": 64.0,
        },
    },
}


class AttentiveHead(nn.Module):
    """`depth` - 1 blocks of self-attention, one of cross-attention from a learnt query, and a linear layer: (B,N,D) -> logits (B,K)."""

    def __init__(self, dim: int, classes: int, depth: int, heads: int) -> None:
        super().__init__()
        block = partial(nn.TransformerEncoderLayer, dim, heads, 4 * dim, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.Sequential(*(block() for _ in range(depth - 1)))
        self.query = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.before, self.after = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.linear = nn.Linear(dim, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits."""
        tokens = self.before(self.blocks(tokens))
        query = self.query.expand(len(tokens), -1, -1)
        seen = query + self.attention(query, tokens, tokens, need_weights=False)[0]
        result: Tensor = self.linear((seen + self.mlp(self.after(seen)))[:, 0])
        return result


def attentive(
    candidate: Candidate,
    context: EvalContext,
    *,
    depth: int = 1,
    heads: int = 4,
    clips: int = 2,
    epochs: int = 15,
    batch: int = 8,
    rates: tuple[float, ...] = (1e-2, 3e-3, 1e-3),
    decays: tuple[float, ...] = (0.01, 0.4),
    gigabytes: float = 8.0,
) -> Iterator[Score]:
    """One score. gigabytes: of memory that the tokens may take.

    Raises ConfigError where the heads do not divide the backbone's channels, and where the tokens take more memory than that.
    """
    name, progress = context.protocol, context.progress
    info = candidate.backbone(0).info
    dim = info.dim
    if heads < 1 or dim % heads:
        raise ConfigError(f"{name}: {heads} heads do not divide the {dim} channels of the backbone; set {name}.heads")
    view = replace(context.view, clips=clips, pool="none")
    _check_memory(candidate.name, context, info, view, depth, batch, gigabytes)
    features = list(features_by_fold(candidate, context, view))
    labels = labels_of(context.videos)

    def predict(fold: int, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        what = f"{name} {candidate.name}, fold {fold + 1} of {len(context.folds)}"
        return attend(
            tokens_of(features[fold][train], dim),
            labels[train],
            tokens_of(features[fold][test], dim),
            groups_of(context.videos, train),
            context.seed,
            depth=depth,
            heads=heads,
            epochs=epochs,
            batch=batch,
            rates=rates,
            decays=decays,
            device=context.device,
            progress=progress,
            what=what,
        )

    yield accuracy(name, context, predict)


def _check_memory(
    model: str, context: EvalContext, info: BackboneInfo, view: View, depth: int, batch: int, gigabytes: float
) -> None:
    name = context.protocol
    most = max(len(train) + len(test) for train, test in context.folds)
    needed = memory_needed(info, view, most, depth, batch)
    if needed > 1e9 * gigabytes:
        raise ConfigError(
            f"{name}: the feature maps of {model} have {view.clips * cells_of(info, view)} cells of {info.dim} channels a video, which "
            f"takes about {needed / 1e9:.3g} GB for {most} videos, more than {name}.gigabytes={gigabytes:g}: take a smaller --size, "
            f"fewer --frames, a smaller {name}.clips or {name}.batch, fewer videos, or raise {name}.gigabytes"
        )


def cells_of(info: BackboneInfo, view: View) -> int:
    """Cells t*h*w of the map of one clip, from the backbone's strides."""
    return -(-view.frames // info.temporal_stride) * (-(-view.size // info.spatial_stride)) ** 2


def memory_needed(info: BackboneInfo, view: View, videos: int, depth: int, batch: int) -> float:
    """Bytes that the tokens of `videos` videos and the training of one head on them take, about; known before a frame is decoded."""
    numbers = view.clips * cells_of(info, view) * info.dim  # of a video
    return 4.0 * numbers * (COPIES * videos + (KEPT + KEPT_A_BLOCK * (depth - 1)) * min(batch, videos))


def tokens_of(features: np.ndarray, dim: int) -> np.ndarray:
    """Flat maps (n,clips,D*t*h*w) as token sets (n,clips*t*h*w,D)."""
    result: np.ndarray = features.reshape(*features.shape[:2], dim, -1).swapaxes(2, 3).reshape(len(features), -1, dim)
    return result


def attend(
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    groups: np.ndarray | None,
    seed: int = 0,
    *,
    depth: int,
    heads: int,
    epochs: int,
    batch: int,
    rates: tuple[float, ...],
    decays: tuple[float, ...],
    device: str = "cpu",
    progress: Progress | None = None,
    what: str = "attentive probe",
) -> np.ndarray:
    """Labels predicted for the token sets `test` (m,N,D) by the best head of the grid rates x decays, trained on `train` (n,N,D).

    The grid is compared on the first of the inner folds of the training videos; where they are too few for one, its middle is taken.
    progress: called with (what, rounds done, rounds in all) of the two: the grid, then the head that was chosen.
    """
    classes, codes = np.unique(labels, return_inverse=True)
    middle, scale = train.mean((0, 1)), train.std((0, 1)) + 1e-6
    known, answers = torch.from_numpy((train - middle) / scale), torch.from_numpy(codes)
    fit = partial(_fit, size=(depth, heads, len(classes)), epochs=epochs, batch=batch, seed=seed, device=device)
    grid = list(product(rates, decays))
    chosen = len(grid) // 2
    folds = inner_folds(labels, groups, seed) if len(grid) > 1 else []
    if folds:
        seen, held_out = (torch.from_numpy(part) for part in folds[0])
        right = [
            (_logits(head, known[held_out], device).argmax(1) == answers[held_out]).sum().item()
            for head in fit(known[seen], answers[seen], grid)
        ]
        chosen = int(np.argmax(right))
    if progress:
        progress(what, 1, 2)
    head = fit(known, answers, [grid[chosen]])[0]
    if progress:
        progress(what, 2, 2)
    result: np.ndarray = classes[_logits(head, torch.from_numpy((test - middle) / scale), device).argmax(1).numpy()]
    return result


def _fit(
    tokens: Tensor,
    answers: Tensor,
    grid: Sequence[tuple[float, float]],
    size: tuple[int, int, int],
    epochs: int,
    batch: int,
    seed: int,
    device: str,
) -> list[AttentiveHead]:
    """A head for every (learning rate, weight decay) of the grid, all from the same start and on the same batches. size: depth, heads,
    classes."""
    depth, heads, classes = size
    trained = []
    with torch.random.fork_rng(devices=[]):
        for _ in grid:
            torch.manual_seed(seed)
            trained.append(AttentiveHead(tokens.shape[2], classes, depth, heads).to(device))
    optimizers = [
        torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=decay)
        for head, (rate, decay) in zip(trained, grid, strict=True)
    ]
    generator = torch.Generator().manual_seed(seed)
    batches = -(-len(tokens) // batch)
    for step in range(epochs * batches):
        if step % batches == 0:
            order = torch.randperm(len(tokens), generator=generator).tensor_split(batches)
        chosen = order[step % batches]
        shown, wanted = tokens[chosen].to(device), answers[chosen].to(device)
        for head, optimizer, (rate, _) in zip(trained, optimizers, grid, strict=True):
            optimizer.param_groups[0]["lr"] = cosine_schedule(step, epochs * batches, rate, 0.0)
            optimizer.zero_grad()
            F.cross_entropy(head(shown), wanted).backward()
            optimizer.step()
    return [head.eval() for head in trained]


def _logits(head: AttentiveHead, tokens: Tensor, device: str) -> Tensor:
    """Logits (n,K) of many token sets, on the CPU."""
    with torch.inference_mode():
        return torch.cat([head(part.to(device)).cpu() for part in tokens.split(64)])
