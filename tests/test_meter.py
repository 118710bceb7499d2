"""A log line says what share of the time went to waiting for video, how fast the loop runs, and the means since the last line."""

from __future__ import annotations

import time

import pytest
import torch
from lightning_fabric import Fabric

from ssvid.training.meter import Meter


def line_after(meter: Meter, waits: list[float], work: float) -> dict[str, float]:
    """The log line of a loop whose source takes `waits` seconds a batch and whose steps take `work` seconds each."""

    def source():
        for wait in waits:
            time.sleep(wait)
            yield wait

    for seen in meter.waiting(source()):
        meter.add({"loss": torch.tensor(seen)})
        time.sleep(work)
    return meter.line(Fabric(accelerator="cpu", devices=1))


def test_wait_is_the_share_of_the_time_that_the_source_took():
    meter = Meter(batch=4)
    slow = line_after(meter, [0.06] * 5, work=0.02)
    assert slow["wait"] == pytest.approx(0.75, abs=0.12)
    quick = line_after(meter, [0.0] * 5, work=0.04)  # the wait before the last line is forgotten
    assert quick["wait"] < 0.1
    equal = line_after(meter, [0.03] * 6, work=0.03)
    assert equal["wait"] == pytest.approx(0.5, abs=0.12)


def test_a_line_has_the_means_and_the_speed_since_the_last_one():
    meter = Meter(batch=4)
    line_after(meter, [0.5], work=0.0)
    line = line_after(meter, [0.01, 0.03], work=0.03)
    assert line["loss"] == pytest.approx(0.02, abs=1e-6)
    assert 4 * 2 / 0.3 < line["clips_per_second"] <= 4 * 2 / 0.1
