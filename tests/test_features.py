"""The feature engine: the same numbers whatever the batch, nothing computed twice, and a kill that costs one shard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from ssvid.data.augment import Augment
from ssvid.data.loader import read_square
from ssvid.evaluation.features import SHARD, View, encode, extract
from ssvid.zoo import create_model
from tests.labelled import stored

VIEW = View(clips=2, frames=8, stride=2, size=32)


def test_frozen_features_are_cached_by_their_weights(world_index, tmp_path):
    videos = world_index.videos("test")[:6]
    torch.manual_seed(0)
    backbone = create_model("s3dg_tiny").train()
    seen = []
    first = extract(backbone, videos, VIEW, workers=0, cache=tmp_path, progress=lambda *step: seen.append(step))
    assert first[range(6)].shape == (6, 2, backbone.info.dim)
    assert seen[-1] == ("features", 6, 6)
    assert backbone.training  # as it was
    again = extract(backbone, videos, VIEW, workers=0, cache=tmp_path, progress=lambda *step: seen.append(step))
    assert len(seen) == 6  # nothing was computed again
    np.testing.assert_array_equal(first[range(6)], again[range(6)])
    next(iter(backbone.parameters())).data.add_(1)
    changed = extract(backbone, videos, VIEW, workers=0, cache=tmp_path)
    assert not np.allclose(changed[range(6)], first[range(6)])


def test_an_option_that_changes_no_weight_still_changes_the_features(world_index, tmp_path):
    features = []
    for stride in (True, False):
        torch.manual_seed(0)
        backbone = create_model("s3dg_tiny", temporal_stride=stride)
        features.append(extract(backbone, world_index.videos()[:1], View(1, 16, 2, 32), workers=0, cache=tmp_path)[[0]])
    assert not np.array_equal(*features)


def test_a_feature_does_not_depend_on_its_neighbours_in_the_batch(world_index, tmp_path):
    videos = world_index.videos("test")[:5]
    backbone = create_model("r3d_18_tiny")
    one = extract(backbone, videos, VIEW, batch=1, workers=0, cache=tmp_path / "1")
    many = extract(backbone, videos, VIEW, batch=5, workers=0, cache=tmp_path / "5")
    np.testing.assert_allclose(one[range(5)], many[range(5)], atol=1e-4)


def test_feature_is_that_of_the_clips_by_hand(world_index, tmp_path):
    video = world_index.videos("test")[0]
    backbone = create_model("r3d_18_tiny").eval()
    feature = extract(backbone, [video], VIEW, workers=0, cache=tmp_path)[[0]][0]
    for clip, indices in enumerate(VIEW.indices(video)):
        frames = torch.from_numpy(read_square(video, indices[None], 32)[0]).permute(3, 0, 1, 2).float() / 255
        with torch.no_grad():
            expected = backbone(frames[None]).mean((2, 3, 4))[0].numpy()
        np.testing.assert_allclose(feature[clip], expected, atol=1e-4)
    assert Augment(size=32).centre(1, 1)["box"].tolist() == [[[0, 0, 1, 1]]]


def test_videos_with_unequal_numbers_of_clips_keep_their_order_and_their_values(world_index):
    videos = world_index.videos("test")[:4]
    backbone = create_model("r3d_18_tiny")
    counts = (2, 40, 1, 2)  # 40 are more than are encoded at once
    indices = [np.tile(VIEW.indices(video), (20, 1))[:count] for video, count in zip(videos, counts, strict=True)]
    found = list(encode(backbone, videos, indices, VIEW))
    assert [(position, vectors.shape) for position, vectors in found] == [
        (position, (count, backbone.info.dim)) for position, count in enumerate(counts)
    ]
    alone = next(encode(backbone, [videos[3]], [indices[3]], VIEW))[1]
    np.testing.assert_allclose(found[3][1], alone, atol=1e-4)
    np.testing.assert_allclose(found[1][1][0], found[1][1][38], atol=1e-4)  # the same clip, in another pass
    per_frame = next(encode(backbone, videos[:1], indices[:1], VIEW, per="frame"))[1]
    assert per_frame.shape == (2 * VIEW.frames, backbone.info.dim)


def test_means_and_rows_of_several_shards():
    vectors = np.random.default_rng(0).normal(size=(2 * SHARD + 3, 2, 4)).astype(np.float32)
    features = stored(vectors)
    np.testing.assert_array_equal(features.clip_means(), vectors.mean(1))
    chosen = [2 * SHARD + 2, 0, SHARD, 5]
    np.testing.assert_array_equal(features[chosen], vectors[chosen])
    some = stored(vectors[:3], np.array([7, 2, 4]))
    np.testing.assert_array_equal(some[[4, 7]], vectors[[2, 0]])
    np.testing.assert_array_equal(some.clip_means([4, 7]), vectors[[2, 0]].mean(1))
    np.testing.assert_array_equal(some.clip_means(), vectors[:3].mean(1))
    np.testing.assert_array_equal(features.clip_means(chosen), vectors[chosen].mean(1))
    with pytest.raises(KeyError):
        some.clip_means([3])


SCRIPT = """
import sys, time, torch
from pathlib import Path
from ssvid.data.index import Index
from ssvid.evaluation.features import View, extract
from ssvid.zoo import create_model
from dataclasses import replace
videos = Index(sys.argv[1]).videos()[:1]
videos = [replace(videos[0], id=number) for number in range(int(sys.argv[3]))]
torch.manual_seed(0)
backbone = create_model("r3d_18_tiny")
def report(what, done, total):
    print(done, flush=True)
    time.sleep(0.01)  # so that the kill finds it at work
extract(backbone, videos, View(1, 4, 1, 16), batch=8, workers=0, cache=Path(sys.argv[2]), progress=report)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_kill_loses_at_most_one_shard(world_index, tmp_path):
    count = 3 * SHARD
    command = [sys.executable, "-c", SCRIPT, str(world_index.path), str(tmp_path), str(count)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout:
            if int(line) >= SHARD + 8:
                process.kill()
                break
    assert process.returncode == -signal.SIGKILL
    whole = sorted(path for path in tmp_path.rglob("*.npy") if not path.name.startswith("."))
    assert len(whole) == 1
    written = whole[0].stat().st_mtime_ns
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=True, timeout=120
    ).stdout.split()
    assert int(done[0]) == SHARD + 1  # the first shard is not computed again
    assert int(done[-1]) == count
    assert whole[0].stat().st_mtime_ns == written
