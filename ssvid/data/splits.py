"""What may be trained on and what is held out: one answer for pretraining, audits, surveys, transfer and retrieval.

Splits are train, val, test and unused; lists and folders may spell them otherwise (`ssvid.data.layouts.entries.SPLITS`). A video that its
data set leaves out (unused) takes no part anywhere. One without a split is trained on beside those of train, unless its group is held out.
Data of which no video has a split are all one: trained on and, by whoever asks for held-out videos, looked at as a whole, which the caller
has to say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Sequence

from ssvid.data.layouts import UNUSED
from ssvid.data.video_record import VideoRecord
from ssvid.errors import DataError

HELD_OUT = ("test", "val")  # the first of them that there is


def held_out_split(videos: Sequence[VideoRecord]) -> str | None:
    """The split that is held out: test, else val; None where the videos have neither."""
    found = {video.split for video in videos}
    return next((split for split in HELD_OUT if split in found), None)


def held_out(videos: Sequence[VideoRecord], trained: str = "auto") -> list[VideoRecord]:
    """The held-out videos: those of test, else of val, else, where no video has a split, all.

    trained: the split that was trained on, as `training_part` takes it.
    Raises DataError where there are training videos and none beside them, and where held-out ones were trained on.
    """
    split = held_out_split(videos)
    if split is None:
        count = sum(video.split == "train" for video in videos)
        if count:
            raise DataError(f"all {count} videos with a split are for training; add some of the split test or val")
        return [video for video in videos if video.split != UNUSED]
    if trained in ("all", split):
        raise DataError(f"the {split} videos were trained on (split={trained}), so none is held out; name other videos")
    return [video for video in videos if video.split == split]


def has_own_split(videos: Sequence[VideoRecord]) -> bool:
    """Whether some videos are for training and others are held out."""
    return held_out_split(videos) is not None and any(video.split == "train" for video in videos)


def training_part(videos: Sequence[VideoRecord], split: str = "auto") -> list[VideoRecord]:
    """The videos to train on. split: one by its name; "all" for every video, tested ones too; "auto" for those of train and those without
    a split, as where a data set with a split and a folder without one are in one index: never what is held out, nor a video without a
    split whose group is.

    Raises DataError where none is left, and says why.
    """
    chosen = [video for video, reason in zip(videos, _reasons(videos, split), strict=True) if reason is None]
    if not chosen:
        counts = ", ".join(
            f"{sum(video.split == name for video in videos):,} {name or 'without a split'}"
            for name in dict.fromkeys(video.split for video in videos)
        )
        raise DataError(
            f"no video to train on in the split {split!r} ({counts}); split=all trains on every video, held out or not"
        )
    return chosen


def not_trained_on(videos: Sequence[VideoRecord], split: str = "auto") -> dict[str, int]:
    """How many videos `training_part` leaves out, by the reason."""
    return dict(Counter(reason for reason in _reasons(videos, split) if reason is not None))


def _reasons(videos: Sequence[VideoRecord], split: str) -> Iterator[str | None]:
    """Why each video is not trained on; None for one that is."""
    if split == "all":
        yield from (None for _ in videos)
    elif split != "auto":
        yield from (None if video.split == split else f"not of the split {split!r}" for video in videos)
    else:
        tested = {video.group for video in videos if video.split in HELD_OUT} - {None}
        yield from (_reason(video, tested) for video in videos)


def _reason(video: VideoRecord, tested: Container[str | None]) -> str | None:
    if video.split == "train":
        return None
    if video.split is None:
        return "without a split, of a group that is held out" if video.group in tested else None
    if video.split in HELD_OUT:
        return f"held out ({video.split})"
    return "left out by its data set (unused)" if video.split == UNUSED else f"of the split {video.split!r}"
