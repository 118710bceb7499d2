"""Checks of this installation: versions, devices, and a round trip of every codec through the writer and the reader."""

from __future__ import annotations

import os
import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ssvid import __version__
from ssvid.cli.installation import PACKAGES, look, notes, problems
from ssvid.errors import SsvidError
from ssvid.video.reader import Video
from ssvid.video.writer import write_video

os.environ.setdefault("SVT_LOG", "1")  # errors only: the AV1 encoder else tells its whole configuration

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "H.264 mp4": ("a.mp4", {}),
    "H.264 mkv": ("b.mkv", {}),
    "MPEG-4 AVI with B-frames": ("c.avi", {"codec": "mpeg4", "bframes": 2}),
    "HEVC": ("d.mp4", {"codec": "libx265"}),
    "VP9": ("e.webm", {}),
    "AV1": ("f.mkv", {"codec": "libsvtav1"}),
    "GIF": ("g.gif", {}),
}


def check_installation(index: Path | None = None) -> dict[str, Any]:
    """Findings by name. "problems" lists what does not work, with the remedy, and is empty when all does; "notes" what could be better.

    index: an index file to look at as well.
    """
    found = look(index)
    report: dict[str, Any] = {"ssvid": __version__, "python": platform.python_version()}
    report |= {name: found.versions[name] for name in PACKAGES}
    report |= {"platform": platform.platform(), "device": _device(), "cores": os.cpu_count(), "cache": str(found.cache)}
    told = problems(found)
    for kind, (name, options) in KINDS.items():
        report[kind] = _round_trip(name, options)
        if report[kind].startswith("failed"):
            told.append(f"{kind}: {report[kind]}")
    return report | {"notes": notes(found), "problems": told}


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


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
