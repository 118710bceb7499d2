"""Classifying a stream: every frame goes through the network once, and each step that comes out through a kept classifier.

What a step tells is about the frame `delay` frames ago; the answer to the newest frames comes after the last one. A network that cannot be
run so is run anew on each window, which `StreamAnswer.exact` says and which costs as many times as much as a window has frames.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ssvid.compute import resolve_device
from ssvid.errors import require
from ssvid.evaluation.features import View
from ssvid.evaluation.saved_head import SavedHead, load_head
from ssvid.streaming.frames import stream_frames
from ssvid.training.models import open_model
from ssvid.zoo.backbone import to_device
from ssvid.zoo.stream import PooledState, PooledStream, mean_of_last, open_stream


@dataclass(frozen=True)
class StreamAnswer:
    """What is told with one step of a stream.

    frame: number of the newest frame; time: its seconds. label, probability: of the likeliest class of this step alone. mean_label,
    mean_probability: of the mean over the last steps, which is the steadier. latency: seconds from the frame's coming to this answer.
    exact: whether the steps are those of a clip that is encoded as a whole.
    """

    frame: int
    time: float
    label: str
    probability: float
    mean_label: str
    mean_probability: float
    latency: float
    exact: bool

    def line(self) -> dict[str, Any]:
        """As a row of a table: rounded."""
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class StreamClassifier:
    """A network as it is run on a stream, the classifier of its vectors, how it is shown frames, and how many steps are averaged."""

    network: PooledStream
    head: SavedHead
    view: View
    window: int
    device: torch.device


def open_classifier(
    model: str | os.PathLike[str], classifier: str | os.PathLike[str], window: int = 16, device: str = "auto"
) -> StreamClassifier:
    """Open a model and the head that was kept with `ssvid transfer --save-head`.

    window: steps that are averaged, 0 for all since the beginning. Raises ConfigError or DataError with what does not fit.
    """
    require(0, window=window)
    head, found = load_head(classifier), open_model(model)
    head.fit_network(found.backbone)
    view, on = View(**head.about.get("view", {})), resolve_device(device)
    stream = open_stream(to_device(found.backbone, on).eval(), view.frames)
    return StreamClassifier(PooledStream(stream, 1, view.pool), head, view, window, on)


def stream(
    source: str | os.PathLike[str],
    model: str | os.PathLike[str],
    classifier: str | os.PathLike[str],
    *,
    window: int = 16,
    device: str = "auto",
) -> Iterator[StreamAnswer]:
    """Classify a video file or a camera frame by frame, as `ssvid stream` does; one answer for each step of the network, as it is due.

    source: a file, or a camera: its number, /dev/videoN or rtsp://. model: run folder, NAME or NAME@WEIGHTS. classifier: a head kept by
    `ssvid transfer --save-head`; frames are taken at the rate and size with which it was trained. window: steps averaged, 0 for all.
    Raises ConfigError for what does not fit together, DataError for what cannot be read.
    """
    return answers(open_classifier(model, classifier, window, device), source)


def answers(how: StreamClassifier, source: str | os.PathLike[str]) -> Iterator[StreamAnswer]:
    """The answers to a source. Those to the last frames come after it has ended."""
    state, told, frame, came = how.network.init_state(1, how.device), _Teller(how), None, 0.0
    for frame in stream_frames(source, how.view.size, how.view.stride, how.view.fps):
        came = time.perf_counter()
        picture = torch.from_numpy(frame.picture).to(how.device).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            vector, state = how.network.step(picture, state)
            if vector is not None:
                yield told.answer(vector, frame.number, frame.time, came)
    if frame is not None:
        with torch.inference_mode():
            for vector in how.network.flush(state):
                yield told.answer(vector, frame.number, frame.time, came)


class _Teller:
    """Puts vectors (1,D) into words, with the mean of the last."""

    def __init__(self, how: StreamClassifier) -> None:
        self.how, self.recent = how, PooledState(None)

    def answer(self, vector: Tensor, frame: int, seconds: float, came: float) -> StreamAnswer:
        mean, self.recent = mean_of_last(vector, self.recent, self.how.window)
        label, probability = self._best(vector)
        mean_label, mean_probability = self._best(mean)
        latency = time.perf_counter() - came
        return StreamAnswer(
            frame, seconds, label, probability, mean_label, mean_probability, latency, self.how.network.exact
        )

    def _best(self, vector: Tensor) -> tuple[str, float]:
        share, code = self.how.head.shares(vector)[0].max(0)
        return self.how.head.classes[int(code)], float(share)
