"""Label propagation as a protocol: a square is followed by its colours, beside the first frame copied; tables hold both."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ssvid.data.davis_world import make_davis_world
from ssvid.data.layouts import LabelledSequence
from ssvid.data.masks import write_mask
from ssvid.errors import ConfigError, DataError
from ssvid.evaluation import adapter
from ssvid.evaluation.adapter import Candidate, EvalContext
from ssvid.evaluation.features import View
from ssvid.evaluation.sequences import open_sequences
from ssvid.evaluation.tables.request import TableRequest
from ssvid.evaluation.tables.table_spec import COPIED
from ssvid.evaluation.tables.tracking import tracking
from ssvid.evaluation.tables.transfer import default_protocols, transfer
from ssvid.zoo import create_model

FRAMES, SIDE, STEP = 5, 64, 8

SCORES = ("J&F", "J", "F")


@pytest.fixture(scope="module")
def square(tmp_path_factory):
    """A red square that goes 8 px a frame to the right over noise: frames, masks, and its corner as a joint."""
    folder, rng = tmp_path_factory.mktemp("square"), np.random.default_rng(0)
    ground = rng.integers(0, 90, (SIDE, SIDE, 3), np.uint8)
    frames, masks, points = [], {}, np.zeros((FRAMES, 2, 2))
    for t in range(FRAMES):
        left = 8 + STEP * t
        picture, mask = ground.copy(), np.zeros((SIDE, SIDE), np.uint8)
        picture[16:40, left : left + 16] = (250, 30, 20)
        mask[16:40, left : left + 16] = 1
        frames.append(folder / f"{t}.png")
        Image.fromarray(picture).save(frames[-1])
        masks[t] = folder / f"mask{t}.png"
        write_mask(masks[t], mask)
        points[t] = [[left + 8, 28], [left + 8, 20]]
    return frames, masks, points


def scores(protocol, sequences, **options):
    context = EvalContext([], [], View(), options=options, sequences=sequences)
    candidate = Candidate("patches", lambda: create_model("baseline_patches"), False)
    return {score.name: score for score in adapter.run(protocol, candidate, context)}


def test_masks_are_followed_and_stand_beside_the_first_copied(square):
    frames, masks, _ = square
    found = scores("davis", [LabelledSequence("s", "masks", tuple(frames), masks)])
    assert list(found) == ["davis J&F", "davis J", "davis F"]
    # copied: of 16 px, 8, 0 and 0 stay in frames 1, 2, 3; 8 of the 24 that are covered are in both
    assert found["davis J"].chance == pytest.approx(100 * (8 / 24) / 3)
    assert found["davis J"].value > 80
    assert found["davis J&F"].value == pytest.approx((found["davis J"].value + found["davis F"].value) / 2)


def test_joints_are_followed(square):
    frames, _, points = square
    found = scores("jhmdb", [LabelledSequence("s", "joints", tuple(frames), {}, points)], topk=3)
    assert list(found) == ["jhmdb PCK@0.1", "jhmdb PCK@0.2"]
    assert found["jhmdb PCK@0.2"].chance == 0


def test_parts_are_compared_in_the_annotated_frames_but_the_first(square):
    frames, masks, _ = square
    found = scores("vip", [LabelledSequence("s", "parts", tuple(frames), {0: masks[0], 3: masks[3]})])
    square_cells, ground = 16 * 24, SIDE * SIDE - 2 * 16 * 24
    assert found["vip mIoU"].chance == pytest.approx(100 * (0 + ground / (ground + 2 * square_cells)) / 2)
    assert found["vip mIoU"].value > 80


def test_what_does_not_fit_is_said(square):
    frames, masks, _ = square
    with pytest.raises(DataError, match="davis needs sequences with masks, as davis:FOLDER"):
        scores("davis", [])
    with pytest.raises(DataError, match="no mask in 4 of 5 frames"):
        scores("davis", [LabelledSequence("s", "masks", tuple(frames), {0: masks[0]})])
    with pytest.raises(ConfigError, match="radius"):
        scores("davis", [LabelledSequence("s", "masks", tuple(frames), masks)], radius=-2.0)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    make_davis_world(folder, sequences=2, frames=4, size=48, seed=1)
    return folder


def test_the_table_has_the_copied_frame_and_random_weights_as_rows(world, tmp_path):
    request = TableRequest(
        ["baseline_patches", "resnet18_tiny"], [f"world:{world}"], seeds=2, out=tmp_path / "tracking", workers=0
    )
    table = tracking(request)
    rows = {row.name: row for row in table.rows}
    assert list(rows) == [COPIED, "baseline_patches", "random init"]
    assert list(table.chance) == ["world J&F", "world J", "world F"]
    assert set(table.chance.values()) == {None}
    assert len(rows["random init"].scores["world J"]) == 2
    assert len(rows["baseline_patches"].scores["world J"]) == 1  # nothing is drawn
    cell = json.loads((tmp_path / "tracking.cells.jsonl").read_text().splitlines()[0])
    assert rows[COPIED].scores["world J&F"] == [cell["scores"][0]["chance"]]
    assert "2 sequences with masks, 8 frames. Synthetic data" in table.markdown()


def test_a_changed_mask_changes_the_key(world):
    before = open_sequences(f"world:{world}").fingerprint
    file = next((world / "davis" / "Annotations").rglob("*.png"))
    write_mask(file, np.zeros((48, 48), np.uint8))
    assert open_sequences(f"world:{world}").fingerprint != before


def test_protocols_and_data_must_fit_each_other(world, labelled_folder):
    data = [f"world:{world}"]
    assert default_protocols(data) == ["world"]
    assert default_protocols([*data, str(labelled_folder)]) == ["linear", "knn", "few", "world"]
    with pytest.raises(ConfigError, match="linear takes videos; name such a data set"):
        transfer(TableRequest(["baseline_patches"], data, protocols=["linear", "world"]))
    with pytest.raises(ConfigError, match="holds masks, which none of linear takes"):
        transfer(TableRequest(["baseline_patches"], data, protocols=["linear"]))
    with pytest.raises(ConfigError, match="tracking is evaluated on sequences"):
        tracking(TableRequest(["baseline_patches"], [str(labelled_folder)]))


@pytest.fixture(scope="module")
def labelled_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("videos")


def test_each_data_set_has_the_protocol_of_its_layout_unless_others_are_named(world, tmp_path):
    clip = tmp_path / "wave"
    name = next((world / "davis" / "JPEGImages" / "480p").iterdir()).name
    shutil.copytree(world / "davis" / "JPEGImages" / "480p" / name, clip / "frames")
    shutil.copytree(world / "davis" / "Annotations" / "480p" / name, clip / "masks")
    request = TableRequest(["baseline_patches"], [f"world:{world}", f"clip:{clip}"], out=tmp_path / "t", workers=0)
    scores = [
        f"{data}: {protocol} {score}" for data, protocol in (("world", "world"), ("wave", "davis")) for score in SCORES
    ]
    assert sorted(tracking(request).chance) == sorted(scores)
    named = replace(request, protocols=["world"], out=tmp_path / "named")
    assert sorted(tracking(named).chance) == sorted(
        f"{data}: world {score}" for data in ("world", "wave") for score in SCORES
    )
