"""What a run that is gone on with must have kept, so that its card and its numbers are those of one run: its settings and its videos."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from ssvid.config import RESUMABLE, PretrainConfig
from ssvid.data.video_record import VideoRecord
from ssvid.errors import ConfigError, DataError
from ssvid.training.run import Run
from ssvid.training.run_paths import absolute, located
from ssvid.video.identity import contents


def resumed_config(config: PretrainConfig) -> PretrainConfig:
    """The settings under which the run in config.out goes on: its own, with what may change as `config` has it.

    The data may be named otherwise, for an index that was moved; `check_data` sees to it that they are the same videos.
    Raises ConfigError where another setting differs, DataError where there is no run.
    """
    run = Run(config.out)
    stored = run.config
    given = located(absolute(config), run.started, run.path)
    kept = [name for name in asdict(stored) if name not in (*RESUMABLE, "out", "data")]
    for name in kept:
        before, now = getattr(stored, name), getattr(given, name)
        if json.dumps(before) != json.dumps(now):
            raise ConfigError(
                f"{config.out} was started with {name}={before}, not {now}; a resumed run keeps its settings (only {', '.join(RESUMABLE)} "
                "may change), so name another -o, or --overwrite"
            )
    return replace(stored, out=config.out, data=given.data, **{name: getattr(config, name) for name in RESUMABLE})


def data_mark(videos: Sequence[VideoRecord]) -> dict[str, Any]:
    """What identifies the videos of a run, in their order, wherever their folder lies: their number and a digest."""
    digest = hashlib.sha256()
    for video in videos:
        source = video.source
        content = contents(video.info.identity)
        row = (
            os.path.basename(video.path),
            video.label,
            video.group,
            video.info.frames,
            content,
            source.height,
            source.width,
        )
        digest.update(json.dumps(row).encode())
    return {"videos": len(videos), "digest": digest.hexdigest()[:12]}


def check_data(run: Run, before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> None:
    """Raise DataError where a run that has begun would go on with other videos. before: the mark of its own, None where it has none. now:
    that of the videos there are."""
    if before is not None and dict(before) != dict(now):
        what = (
            f"{before['videos']} videos then, {now['videos']} now"
            if before["videos"] != now["videos"]
            else f"{now['videos']} videos, but not the same ones or in another order"
        )
        raise DataError(
            f"the data of {run.path} have changed since it began: {what}; bring them back (or name where they are with --data), or start "
            "again with --overwrite"
        )
