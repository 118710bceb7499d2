"""Training copies of neighbouring videos in one tar, for file systems that dislike a file a video.

A tar is written whole or not at all, by one worker: a lost one costs its tar, and the same call writes the same bytes again. Frames are
read where they lie in it.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ssvid.errors import VideoError
from ssvid.files import atomic
from ssvid.video.guard import Guard
from ssvid.video.identity import identify
from ssvid.video.info import VideoInfo

CopyJob = tuple[int, str, str, VideoInfo, int]  # id, path, file of the copy, what the video is, short side
Made = list[tuple[int, str, VideoInfo | VideoError]]  # id, path, the copy or why there is none


def shard_jobs(jobs: Sequence[CopyJob], size: int) -> list[tuple[Any, ...]]:
    """Jobs of up to `size` neighbouring copies: (first id, tar, their jobs). The name of a tar is that of all that lies in it."""
    found = []
    for start in range(0, len(jobs), size):
        some = list(jobs[start : start + size])
        digest = hashlib.sha256("\0".join(os.path.basename(target) for _, _, target, _, _ in some).encode())
        tar = Path(some[0][2]).parent / f"copies-{digest.hexdigest()[:16]}.tar"
        found.append((some[0][0], str(tar), some))
    return found


def write_copies(
    make: Callable[[Guard, tuple[Any, ...], float], VideoInfo],
    guard: Guard,
    tar: str,
    jobs: Sequence[CopyJob],
    limit: float,
) -> Made:
    """Make copies by `make` and put them into one tar; a video whose copy fails is left out of it, with the reason."""
    made: Made = []
    with (
        tempfile.TemporaryDirectory(dir=Path(tar).parent, prefix=".copies-") as folder,
        atomic(tar) as temporary,
        tarfile.open(temporary, "w") as out,
    ):
        for id, path, target, info, size in jobs:
            file = Path(folder) / os.path.basename(target)
            try:
                copy = make(guard, (id, path, str(file), info, size), limit)
            except VideoError as error:
                made.append((id, path, error))
                continue
            _add(out, file)
            file.unlink()
            made.append((id, path, replace(copy, path=f"{tar}/{file.name}")))
    return [(id, path, _identified(copy)) for id, path, copy in made]


def _add(out: tarfile.TarFile, file: Path) -> None:
    """Add a file with nothing of its time and owner, so that the same copies make the same tar."""
    about = tarfile.TarInfo(file.name)
    about.size = file.stat().st_size
    with file.open("rb") as content:
        out.addfile(about, content)


def _identified(copy: VideoInfo | VideoError) -> VideoInfo | VideoError:
    """A copy that is compared when it is read, as it lies in its tar."""
    return replace(copy, identity=identify(copy.path)) if isinstance(copy, VideoInfo) and copy.identity else copy
