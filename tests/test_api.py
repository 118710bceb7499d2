"""The jobs from Python: what the commands do, by calls."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models.video import r3d_18

import ssvid
from ssvid.errors import ConfigError, DataError
from tests.speedups import write_film

VIEW = {"clips": 1, "frames": 8, "stride": 2, "size": 32}


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> str:
    """Weights of a network under torchvision's names."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "r3d.safetensors"
    save_file(r3d_18(weights=None).state_dict(), path)
    return f"r3d_18@{path}"


def test_a_transfer_row_of_weights_that_others_trained(world_index, published, tmp_path):
    settings = {"protocols": ["knn"], "view": VIEW, "seeds": 1, "out": tmp_path / "t", "device": "cpu"}
    lines = []
    rows = ssvid.transfer(
        [published], [world_index.path], log=lines.append, options=["finetune.steps=1", "finetune.batch=2"], **settings
    ).table.rows
    assert [row.name for row in rows] == ["random init", "supervised", "r3d_18@r3d.safetensors"]
    assert all(row.scores["knn"] for row in rows)
    assert "r3d.safetensors: weights that others trained" in (tmp_path / "t.md").read_text()
    assert len(lines) == 3
    ssvid.transfer(
        [published], [world_index.path], log=lines.append, options=["finetune.steps=1", "finetune.batch=2"], **settings
    )
    assert "3 of 3" in lines[3]  # nothing is computed again


def test_weights_that_cannot_be_read_end_the_table_at_once(world_index, tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nothing")
    with pytest.raises(DataError, match="broken"):
        ssvid.transfer([f"r3d_18@{broken}"], [world_index.path], out=tmp_path / "t")
    with pytest.raises(ConfigError, match="r3d_81"):
        ssvid.transfer(["r3d_81"], [world_index.path], out=tmp_path / "t")


def test_a_collection_is_built_and_asked(world_index, tmp_path):
    ssvid.build_collection(tmp_path / "c", [world_index.path], "resnet18_tiny", unit="video", device="cpu")
    video = world_index.videos()[3]
    hits = ssvid.retrieve(video.path, tmp_path / "c", k=3)
    assert len(hits) == 3
    assert hits[0].path == video.path
    assert ssvid.retrieve(video.path, tmp_path / "c", k=3, exclude_self=True)[0].path != video.path


def test_a_video_is_sped_up(tmp_path):
    write_film(tmp_path / "in.mp4", frames=60)
    plan = ssvid.speedup(tmp_path / "in.mp4", tmp_path / "out.mp4", speed=2, by="constant")
    assert plan.length == pytest.approx(1.0, abs=0.05)
    assert (tmp_path / "out.mp4").is_file()
    with pytest.raises(ConfigError, match="no option 'sped'"):
        ssvid.speedup(tmp_path / "in.mp4", tmp_path / "out.mp4", sped=2)


def test_rooms_stay_calls_when_their_parts_are_imported(tmp_path):
    import ssvid.audit.controls
    import ssvid.speedup.plan

    assert ssvid.audit.controls.CONTROLS
    with pytest.raises(DataError, match="not a run folder"):
        ssvid.audit(tmp_path)
