"""Going on where tracking stopped: the soft labels of the context are kept on disk; its features are computed anew, which is exact."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ssvid.errors import DataError
from ssvid.files import atomic
from ssvid.tracking.memory import LabelledFrame
from ssvid.tracking.tracker import Tracker, TrackerState

STATED = ("objects", "points", "peaks")  # what of a tracker's state is written as it is


def save_checkpoint(path: Path, state: TrackerState, following: int) -> None:
    """Write what a tracker knows before it is shown the frame of number `following`."""
    labels = {str(frame.number): frame.labels.contiguous() for frame in (*state.kept, *state.recent)}
    numbers = {name: [frame.number for frame in getattr(state, name)] for name in ("kept", "recent")}
    about = {"following": following, **numbers, **{name: getattr(state, name) for name in STATED}}
    with atomic(path) as temporary:
        save_file(labels, temporary, {"tracker": json.dumps(about)})


class Checkpoint:
    """What `save_checkpoint` wrote. following: the next frame. numbers: the frames that it needs to be shown again."""

    def __init__(self, path: Path) -> None:
        try:
            with safe_open(path, "pt") as file:
                self.about = json.loads(file.metadata()["tracker"])
                self.labels = {int(name): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} cannot be read ({error}); remove it, and tracking begins anew") from error
        self.following: int = self.about["following"]
        self.numbers = frozenset(self.labels)

    def restore(self, tracker: Tracker, frames: Mapping[int, np.ndarray]) -> None:
        """Bring a new tracker to where the other was; frames: those of `numbers`."""
        known = {
            number: LabelledFrame(number, tracker.encode(number, frame), self.labels[number].to(tracker.encoder.device))
            for number, frame in frames.items()
        }
        kept, recent = (tuple(known[number] for number in self.about[name]) for name in ("kept", "recent"))
        tracker.set_state(TrackerState(kept, recent, **{name: self.about[name] for name in STATED}))
