"""One encoder of every family through the whole house by public calls: pretrained, audited, evaluated, searched and tracked with."""

from __future__ import annotations

import csv
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

import ssvid
from ssvid.data.index import Index
from ssvid.data.scanning import scan_videos
from ssvid.errors import ConfigError
from ssvid.evaluation import adapter
from ssvid.evaluation.adapter import Candidate, EvalContext
from ssvid.evaluation.features import View
from ssvid.evaluation.splits import Labelled, open_labelled
from ssvid.tracking.tracker import TrackedFrame
from ssvid.training.run import Run
from ssvid.zoo import list_models, model_info
from ssvid.zoo.info import POOLED

VIEW = View(clips=1, frames=8, stride=2, size=32)
QUICK = {
    "finetune": {"steps": 1, "batch": 2, "clips": 1},
    "linear": {"strengths": (0.01,)},
    "knn": {"neighbours": (1,)},
}
# of each family its first; a network without a weight to learn has no small one
OF_FAMILY = {model_info(name).family: name for name in reversed(list_models("*_tiny"))}


@pytest.fixture(scope="module")
def few(world, tmp_path_factory) -> Index:
    """Two classes of the motion world, three videos to train on and one to test on each."""
    with world.open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["label"] in ("translate", "rotate_left")]
    for row in rows:
        row["path"] = str(world.parent / row["path"])
    folder = tmp_path_factory.mktemp("few")
    with (folder / "few.csv").open("w") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    index = Index(folder / "few.sqlite", create=True)
    scan_videos([folder / "few.csv"], index, engine="local:1")
    return index


def pretrained(backbone: str, few: Index, out: Path) -> Run:
    """A run of one step: are three frames in order? A motion stream, which frames teach nothing, is asked of time's arrow."""
    asked = ("arrow_of_time", {}) if model_info(backbone).isolation == "motion" else ("frame_order", {"gap": 1})
    return ssvid.pretrain(
        asked[0], few.path, backbone=backbone, frames=8, size=32, steps=1, batch=2, workers=0, accelerator="cpu", out=str(out), **asked[1],
    )  # fmt: skip


@pytest.mark.parametrize("family", sorted(OF_FAMILY))
def test_a_run_of_every_family_is_used_everywhere(family, few, world_index, tmp_path):
    run = pretrained(OF_FAMILY[family], few, tmp_path / "run")
    report = ssvid.audit(run, [str(world_index.path)], videos=8, device="cpu")
    assert report.backbone == OF_FAMILY[family]
    assert {"blank", "noise", "fade"} <= {check.name for check in report.checks}
    assert all(0 <= score <= 100 for score in scores_of(run, open_labelled(str(few.path))).values())
    asked = few.videos()[3].path
    ssvid.build_collection(tmp_path / "collection", [few.path], run.path, device="cpu")
    assert [hit.path for hit in ssvid.retrieve(asked, tmp_path / "collection", k=1)] == [asked]
    if model_info(OF_FAMILY[family]).spatial_stride == POOLED:
        with pytest.raises(ConfigError, match="one vector a frame and no map"):
            first_frames(asked, run)
    else:
        first, *_, last = first_frames(asked, run)
        assert first.mask[8:24, 8:24].all()
        assert [0 <= confidence <= 1 for confidence in last.confidence.values()] == [True]  # random weights may lose it


def scores_of(run: Run, labelled: Labelled) -> dict[str, float]:
    """Accuracies of the run, without the rows that a table sets beside it."""
    candidate = Candidate("run", lambda: ssvid.load(run.path), True)
    context = EvalContext(labelled.videos, labelled.folds, VIEW, workers=0)
    return {
        name: next(adapter.run(name, candidate, replace(context, options=options))).value
        for name, options in QUICK.items()
    }


def first_frames(video: str, run: Run) -> list[TrackedFrame]:
    return list(islice(ssvid.track_video(video, model=run.path, box=(8, 8, 16, 16), device="cpu"), 3))
