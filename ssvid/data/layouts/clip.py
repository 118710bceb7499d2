"""One clip of a user's own, with masks beside it."""

from __future__ import annotations

from pathlib import Path

from ssvid.data.layouts.entries import videos_below
from ssvid.data.layouts.sequences import (
    PICTURES,
    LabelledSequence,
    SequenceListing,
    check_no_gap,
    files_in,
    masks_of,
    masks_of_pictures,
)
from ssvid.errors import DataError, some


def clip(folder: Path) -> SequenceListing:
    """One clip of your own: FOLDER holds a video, or a folder frames/ of pictures, and masks/ with a PNG for its frames.

    A mask has the name of its frame's picture, or the number of its frame in the video, from 00000. There is a mask for
    every frame, or for the first alone. Raises DataError where files are missing or masks cannot be used.
    """
    masks = folder / "masks"
    if (folder / "frames").is_dir():
        files = files_in(folder / "frames", PICTURES)
        check_no_gap(files)
        sequence = LabelledSequence(folder.name, "masks", tuple(files), masks_of_pictures(files, masks))
    else:
        videos = [path for path in videos_below(folder) if path.parent == folder]
        if len(videos) != 1:
            found = f"{len(videos)} videos ({some([path.name for path in videos])})" if videos else "no video"
            raise DataError(f"{folder} holds {found} and no folder frames/; put one of them beside masks/")
        from ssvid.video.reader import Video  # decoders, which a list of layouts does not need

        video = Video(videos[0])
        names, size = [f"{n:05d}" for n in range(len(video))], (video.info.width, video.info.height)
        sequence = LabelledSequence(folder.name, "masks", video, masks_of(names, masks, video.path, lambda _: size))
    sequence.check_first_mask()
    return SequenceListing([sequence], folder.name)
