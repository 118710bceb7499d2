"""Networks of transformers from the hub or a folder: `hf/MCG-NJU/videomae-base`, `hf/./my_folder` (extra `hf`).

Of videos: VideoMAE, ViViT, TimeSformer, V-JEPA 2 and VideoPrism (its vision model, which transformers 5 has), whose map is made of the
tokens of their last layer. Of images, per frame: DINOv2, DINOv3, ViT and other networks that give tokens of patches. `hf/NAME@pretrained`
loads the weights beside the configuration: model.safetensors of the hub or of the folder. They keep their own licences: those of VideoMAE,
for one, forbid commercial use.

Networks of videos take clips of the length and size that their configuration names, TimeSformer of any length.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from ssvid.errors import ConfigError
from ssvid.zoo.backbone import PerFrame
from ssvid.zoo.weights import bare

PREFIX = "hf/"
MODELS: dict[str, dict[str, Any]] = {"*": {"isolation": "still"}}

OF_VIDEOS = ("timesformer", "videomae", "videoprism_vision_model", "vivit", "vjepa2")
PIXEL_VALUES_VIDEOS = (
    "videoprism_vision_model",
    "vjepa2",
)  # what their input is called; that of the others, pixel_values
# ImageNet's, as these networks were trained with, and those that others were
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
OTHERS = {"vit": HALF, "vivit": HALF, "videoprism_vision_model": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))}


def describe(name: str) -> dict[str, Any]:
    """Fields of `hf/ID_OR_FOLDER`, from its configuration. Raises ConfigError where that or transformers is missing."""
    transformers = _transformers(name)
    config = _config(name)
    mean, std = OTHERS.get(config.model_type, (MEAN, STD))
    return {
        "description": f"{type(config).__name__.removesuffix('Config')} of {Path(name).name}",
        "frames": _frames(config) if config.model_type in OF_VIDEOS else 16,
        "size": _size(config),
        "mean": mean,
        "std": std,
        "source": f"transformers {transformers.__version__}",
        "licence": "Apache-2.0 (code)",
        "weights": {"pretrained": _address(name)},
    }


def build(name: str) -> nn.Module:
    """Trunk of a network of transformers: (B,3,T,H,W) -> (B,D,t,h,w)."""
    transformers = _transformers(name)
    config = _config(name)
    net = transformers.AutoModel.from_config(config)
    if config.model_type in OF_VIDEOS:
        return VideoTokens(net)
    return PerFrame(ImageTokens(net))


class VideoTokens(nn.Module):
    """The tokens of a video network of transformers as a map: (B,3,T,H,W) -> (B,D,t,h,w)."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        config = net.config
        self.frames = _frames(config)
        self.size = _size(config)
        self.patch = _patch(config)
        self.any_length = config.model_type == "timesformer"
        # TimeSformer keeps the frames of a patch together, the others the patches of a frame
        self.frames_last = config.model_type == "timesformer"
        self.words = {"skip_predictor": True} if config.model_type == "vjepa2" else {}
        self.input = "pixel_values_videos" if config.model_type in PIXEL_VALUES_VIDEOS else "pixel_values"

    def forward(self, x: Tensor) -> Tensor:
        """Encode clips; raises ConfigError for another length or size than the network's own."""
        T, H, W = x.shape[2:]
        if {H, W} != {self.size} or (self.frames != T and not self.any_length):
            raise ConfigError(f"the network takes clips of {self.frames} x {self.size} px, not {T} x {H} x {W}")
        tokens: Tensor = self.net(**{self.input: x.transpose(1, 2)}, **self.words).last_hidden_state
        long, down, across = self.patch
        t, h, w = T // long, H // down, W // across
        tokens = tokens[:, tokens.shape[1] - t * h * w :].transpose(
            1, 2
        )  # a class token comes first where there is one
        if self.frames_last:
            return torch.unflatten(tokens, 2, (h, w, t)).movedim(4, 2)
        return torch.unflatten(tokens, 2, (t, h, w))

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of the hub's file under the names that transformers gives them; see `_renamed`."""
        return _renamed(self.net, tensors)


class ImageTokens(nn.Module):
    """The tokens of an image network of transformers as a map: (N,3,H,W) -> (N,D,h,w)."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        self.patch = _patch(net.config)
        self.words = {"interpolate_pos_encoding": True} if net.config.model_type == "vit" else {}

    def forward(self, x: Tensor) -> Tensor:
        """Encode images; what is over of a patch at the right and below is left out."""
        _, down, across = self.patch
        h, w = x.shape[2] // down, x.shape[3] // across
        tokens: Tensor = self.net(pixel_values=x[:, :, : h * down, : w * across], **self.words).last_hidden_state
        return torch.unflatten(tokens[:, tokens.shape[1] - h * w :].transpose(1, 2), 2, (h, w))

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of the hub's file under the names that transformers gives them; see `_renamed`."""
        return _renamed(self.net, tensors)


def _renamed(net: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by the names of today's network: files keep those of the year they were written in, and transformers knows both.

    What the file lacks is lacking here too. A file of the network itself is left as it is.
    """
    own = {bare(name) for name in net.state_dict()}
    if own <= {bare(name) for name in tensors}:
        return tensors
    filled, report = type(net).from_pretrained(
        None, config=net.config, state_dict=dict(tensors), output_loading_info=True
    )
    return {name: tensor for name, tensor in filled.state_dict().items() if name not in report["missing_keys"]}


def _transformers(name: str) -> ModuleType:
    try:
        import transformers
    except ImportError as error:
        raise ConfigError(f"hf/{name} needs transformers, which is not installed; pip install 'ssvid[hf]'") from error
    module: ModuleType = transformers
    return module


def _config(name: str) -> Any:
    folder = Path(name).expanduser()
    try:
        config = _transformers(name).AutoConfig.from_pretrained(str(folder) if folder.is_dir() else name)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"hf/{name}: no configuration ({reason}); give a name of the hub where there is a network, or a folder with config.json"
        ) from error
    if not hasattr(config, "patch_size") and not hasattr(config, "tubelet_size"):
        raise ConfigError(
            f"hf/{name} is a {config.model_type}, which gives no tokens of patches; take a transformer of images or videos"
        )
    return config


def _frames(config: Any) -> int:
    return int(getattr(config, "num_frames", 0) or config.frames_per_clip)


def _size(config: Any) -> int:
    size = getattr(config, "image_size", 0) or config.crop_size
    return int(size if isinstance(size, int) else size[0])


def _patch(config: Any) -> tuple[int, int, int]:
    """Frames, rows and columns of pixels of a token."""
    tubelet = getattr(config, "tubelet_size", 1)
    if not isinstance(tubelet, int):
        return tuple(tubelet)
    patch = config.patch_size
    down, across = (patch, patch) if isinstance(patch, int) else patch
    return tubelet, down, across


def _address(name: str) -> str:
    """Where the weights are: a file of the folder, or an address of the hub."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return str(folder / "model.safetensors")
    return f"https://huggingface.co/{name}/resolve/main/model.safetensors"
