"""Render a plan: the picture in parts, the sound, subtitles and chapters, joined in one file."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import av

from ssvid.errors import ConfigError, DataError
from ssvid.files import atomic
from ssvid.progress import Progress, silent
from ssvid.speedup.plan import SpeedPlan, file_identity
from ssvid.speedup.result_file import ResultFile
from ssvid.speedup.schedule import schedule
from ssvid.speedup.segment_encoder import SegmentEncoder
from ssvid.speedup.sound import MODES
from ssvid.video.decode import open_video

AUDIO = (*MODES, "mute")


def parts_folder(out: Path) -> Path:
    """Where the parts of a result lie while it is made."""
    return out.with_name(f"{out.name}.parts")


def render_plan(
    plan: SpeedPlan,
    out: str | os.PathLike[str],
    *,
    fps: float | None = None,
    audio: str = "keep-pitch",
    progress: Progress | None = None,
) -> Path:
    """Render a plan; the file appears under its name when it is complete.

    Its beginning is written first, to be thrown away: what its container does not take is known before the picture is encoded.
    Stopped half-way, what was encoded stays in OUT.parts, and the next call with the same plan goes on from there.

    Args:
        plan: the plan.
        out: result; .mp4, .mov and .mkv hold H.264 and AAC, .webm VP9 and Opus.
        fps: constant rate, frames a second; None: every frame of the source, at a variable rate.
        audio: keep-pitch, pitch (it rises with the speed) or mute. Sound lasts as long as the picture.
        progress: called with (what, done, of how many).

    Raises:
        ConfigError: an unknown container or sound mode, or the source itself as result.
        DataError: the source is another file than was planned, or the result cannot be written.
        VideoError: the source cannot be decoded.
    """
    out, progress = Path(out), progress or silent
    if audio not in AUDIO:
        raise ConfigError(f"there is no sound mode {audio!r}; there are {', '.join(AUDIO)}")
    if out.exists() and os.path.exists(plan.source) and out.samefile(plan.source):
        raise ConfigError(f"{out}: is the source itself; name another file with -o")
    suffix = out.suffix.lower()
    frames = schedule(plan, suffix, fps)
    if file_identity(plan.source) != plan.identity:
        raise DataError(f"{plan.source}: has changed since it was planned; plan it again, without --plan")
    try:
        parts = SegmentEncoder(parts_folder(out), plan.source, plan.identity, frames, suffix, plan.curve.size)
        with open_video(plan.source)[0] as source, closing(ResultFile(plan, source, parts, suffix, audio)) as result:
            result.rehearse()
            parts.encode(lambda done, total: progress("rendering", done, total))
            with atomic(out) as temporary:
                for done, _ in enumerate(result.write(temporary), start=1):
                    progress("joining with sound", done, len(frames.frames))
    except (OSError, av.error.FFmpegError) as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}") from error
    parts.remove()
    return out
