"""How a file stands before it is scanned: whether it can be looked at, its size and when it was changed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ssvid.errors import VideoError
from ssvid.video.location import file_state_of, is_file_path


def file_state(path: Path | str) -> tuple[str | None, int | None, int | None]:
    """Why a file cannot even be looked at, or None; its size; when it was changed, or what stands for that (see `ssvid.video.location`)."""
    if not is_file_path(path):
        try:
            return None, *file_state_of(path)
        except VideoError as error:
            return error.reason, None, None
    path = Path(path)
    try:
        found = os.stat(path)
    except OSError as error:
        return f"cannot be read: {_link_or_reason(path, error)}", None, None
    if not os.access(path, os.R_OK):
        # without size and time, so that it is scanned when the permissions have been mended
        return "may not be read; check its permissions", None, None
    return None, found.st_size, found.st_mtime_ns


def _link_or_reason(path: Path, error: OSError) -> str:
    if error.errno == errno.ENOENT and path.is_symlink():
        return f"it is a link to {os.readlink(path)}, which is not there"
    if error.errno == errno.ELOOP:
        return "it is a link that leads back to itself"
    return (error.strerror or str(error)).lower()
