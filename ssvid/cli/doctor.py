"""Checks of this installation: versions, devices, and a round trip of every codec through the writer and the reader."""

from __future__ import annotations

import os
import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ssvid.errors import SsvidError
from ssvid.files import cache_folder
from ssvid.video.reader import Video
from ssvid.video.writer import write_video

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "H.264 mp4": ("a.mp4", {}),
    "H.264 mkv": ("b.mkv", {}),
    "MPEG-4 AVI with B-frames": ("c.avi", {"codec": "mpeg4", "bframes": 2}),
    "HEVC": ("d.mp4", {"codec": "libx265"}),
    "VP9": ("e.webm", {}),
    "AV1": ("f.mkv", {"codec": "libsvtav1"}),
    "GIF": ("g.gif", {}),
}


def check_installation() -> dict[str, Any]:
    """Findings by name; "problems" lists what does not work and is empty when everything does."""
    import torch

    from ssvid.environment import package_version

    problems: list[str] = []
    packages = ("torch", "torchvision", "pytorchvideo", "lightly", "decord2", "av", "faiss-cpu", "scikit-learn")
    report: dict[str, Any] = {"ssvid": package_version("ssvid"), "python": platform.python_version()}
    report |= {name: package_version(name) for name in packages}
    problems += [f"{name} is not installed; install ssvid again with pip" for name in packages if report[name] == "?"]
    if package_version("decord") != "?":
        problems.append(
            "decord and decord2 are both installed and share one import name: pip uninstall decord decord2, then install ssvid"
        )
    report["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    report["cores"] = os.cpu_count()
    report["cache"] = str(cache_folder())
    for kind, (name, options) in KINDS.items():
        report[kind] = _round_trip(name, options)
        if report[kind].startswith("failed"):
            problems.append(f"{kind}: {report[kind]}")
    report["problems"] = problems
    return report


def _round_trip(name: str, options: dict[str, Any]) -> str:
    """Write twenty frames that grow brighter, read some of them back, and describe the outcome."""
    frames = np.arange(20, dtype=np.uint8)[:, None, None, None] * 12 + np.zeros((1, 64, 64, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        try:
            write_video(path, frames, **options)
            video = Video(path)
            wanted = np.array([17, 3, 11])
            levels = video.frames(wanted).mean((1, 2, 3))
        except SsvidError as error:
            return f"failed: {error}"
    if len(video) != len(frames) or np.abs(levels - wanted * 12).max() > 6:
        return f"failed: {len(video)} of 20 frames, levels {levels.round()} instead of {wanted * 12}"
    return "right, random access" if video.info.seek else "right, read in order"
