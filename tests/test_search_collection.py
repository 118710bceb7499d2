"""Collections that are asked: what they find, in what order, and what they refuse."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from ssvid.errors import ConfigError, DataError, VideoError
from ssvid.search import ann
from ssvid.search.building import build
from ssvid.search.collection import Collection
from ssvid.search.encode import open_encoder
from ssvid.search.near_duplicates import make_copies
from ssvid.video.writer import write_video
from tests.footage import COUNT, FPS, FRAMES, VIEW, encoder, make_footage, names, panning
from tests.refused import refused


@pytest.fixture(scope="module")
def footage(tmp_path_factory) -> Path:
    return make_footage(tmp_path_factory.mktemp("footage"))


@pytest.fixture(scope="module")
def videos(footage, tmp_path_factory) -> Collection:
    return build(tmp_path_factory.mktemp("videos") / "c", [footage], encoder())


@pytest.fixture(scope="module")
def clips(footage, tmp_path_factory) -> Collection:
    return build(tmp_path_factory.mktemp("clips") / "c", [footage], encoder("clip"))


# --- asking -------------------------------------------------------------------------------------------------------------


def test_a_video_finds_itself_and_then_the_nearest_as_brute_force_has_it(videos, footage):
    hits = videos.query(footage.parent / "3.mp4", k=COUNT)
    assert names(hits)[0] == "3"
    assert hits[0].score == pytest.approx(1, abs=1e-5)
    assert (hits[0].label, hits[0].group, hits[0].start) == ("b", "group 2", 0)
    assert hits[0].end == pytest.approx(FRAMES / FPS)
    array = np.asarray(videos.vectors.array())
    order = np.argsort(-(array @ array[3]), kind="stable")
    assert names(hits) == [str(position) for position in order]
    assert names(videos.query(str(footage.parent / "3.mp4"), k=2)) == [str(position) for position in order[:2]]


def test_the_query_and_its_group_can_be_left_out(videos, footage):
    path = footage.parent / "3.mp4"  # in one group with 4
    everyone = names(videos.query(path, k=COUNT))
    assert names(videos.query(path, k=COUNT, exclude_self=True)) == [name for name in everyone if name != "3"]
    assert names(videos.query(path, k=COUNT, group=True)) == [name for name in everyone if name not in "34"]


def test_leaving_out_does_not_cost_answers(clips, footage):
    assert len(clips.query(footage.parent / "0.mp4", k=10, exclude_self=True)) == 10


def test_clips_tell_the_seconds_and_do_not_overlap(clips, footage):
    hits = clips.query(footage.parent / "5.mp4", at=(0.5, 1.0), k=8)
    assert names(hits)[0] == "5"
    assert abs((hits[0].start + hits[0].end) / 2 - 0.75) < 0.2
    same = sorted(hit.start for hit in hits if Path(hit.path).stem == "5")
    assert len(same) > 1
    assert min(np.diff(same)) >= 0.45


def test_a_vector_can_be_asked_with(videos, footage):
    raw = np.concatenate([vectors for _, vectors, _ in videos.encoder.encode(videos.index.videos())])
    assert names(videos.query(raw[6], k=1)) == ["6"]
    with pytest.raises(ConfigError, match="vectors of 3 numbers"):
        videos.query(np.ones(3))
    with pytest.raises(ConfigError, match="no file"):
        videos.query(raw[6], exclude_self=True)


def test_frames_find_the_frame(footage, tmp_path):
    collection = build(tmp_path / "c", [footage], encoder("frame"))
    hit = collection.query(footage.parent / "2.mp4", at=(0.8, 0.8), k=1)[0]
    assert names([hit]) == ["2"]
    assert hit.start - 0.04 <= 0.8 <= hit.end + 0.04
    assert hit.score > 0.99


def test_approximate_kinds_answer_as_exact_search(footage, tmp_path, monkeypatch):
    monkeypatch.setattr(ann, "TRAINABLE", 10)
    exact = build(tmp_path / "exact", [footage], encoder("frame", "baseline_histogram"), kind="exact")
    graph = build(tmp_path / "graph", [footage], encoder("frame", "baseline_histogram"), kind="hnsw")
    assert (exact.facts().kind, graph.facts().kind) == ("exact", "hnsw")
    assert graph.nearest.covered == len(graph) == len(exact)
    assert graph.facts().index_bytes > 0
    for number in range(3):
        path = footage.parent / f"{number}.mp4"
        assert names(graph.query(path, k=5)) == names(exact.query(path, k=5))


def test_copies_are_found_first(videos, clips, tmp_path):
    records = videos.index.videos()
    copies = make_copies(records, tmp_path)
    assert [(copy.info.width, copy.info.frames) for copy in copies] == [(38, FRAMES)] * COUNT
    for collection in (videos, clips):
        found = [names(collection.query(copy, k=1))[0] for copy in copies]
        assert found == [Path(record.path).stem for record in records]


def test_the_moments_of_a_video(clips, tmp_path):
    forth = list(panning(90, 31))
    write_video(tmp_path / "swing.mp4", [*forth, *forth[-2:0:-1], *forth], fps=FPS)  # right, left, right: period 2 s
    moments = clips.within(tmp_path / "swing.mp4", (0.2, 0.7), k=2)
    best = moments.hits[0]
    assert abs((best.start + best.end) / 2 - 1.55) < 0.2 or abs((best.start + best.end) / 2 - 2.45) < 0.2
    assert best.score > 0.9
    assert np.allclose(moments.similarity.diagonal(), 1, atol=1e-5)
    assert np.allclose(moments.similarity, moments.similarity.T, atol=1e-5)
    assert len(moments.spans) == len(moments.similarity)


def test_moments_of_a_member_are_its_own_rows(clips, footage):
    record = clips.record(footage.parent / "1.mp4")
    moments = clips.within(record, (0.0, 0.5), k=3)
    held = clips.vectors.array()[clips.rows.positions([record.id])]
    assert np.allclose(moments.similarity, held @ held.T, atol=1e-5)
    assert all(hit.start >= 0.5 - 1e-6 for hit in moments.hits)


def test_concatenated_clips_know_the_order_of_its_clips(footage, tmp_path):
    collection = build(tmp_path / "c", [footage], encoder("concat"))
    video = collection.record(footage.parent / "2.mp4")
    clips = encoder("clip").view.clips
    one, many = (encoder(unit, fps=30.0).query_vectors(video) for unit in ("concat", "video"))
    assert one.shape == (1, clips * many.shape[1]) == (1, collection.manifest["dim"])
    assert one.reshape(clips, -1).mean(0) == pytest.approx(many[0], abs=1e-5)
    assert names(collection.query(video, k=1)) == ["2"]
    forward = one.reshape(clips, -1)
    scores = [collection.query(order.reshape(1, -1), k=1)[0].score for order in (forward, forward[::-1])]
    assert scores[0] > scores[1] + 1e-3
    with pytest.raises(ConfigError, match="whole videos"):
        collection.within(video)


def test_other_weights_are_refused(videos, footage):
    for other in (encoder(model="baseline_histogram", fps=30.0), encoder(stride=3, fps=30.0)):
        with pytest.raises(DataError, match="other weights or another view"):
            Collection(videos.folder, other)
        with pytest.raises(DataError, match="other weights or another view"):
            build(videos.folder, [footage], other)
    with pytest.raises(DataError, match="units of a video, not of a clip"):
        build(videos.folder, [footage], encoder("clip"))


def test_random_weights_of_another_seed_are_other_weights():
    import torch

    one, same = (open_encoder("resnet18_tiny", "video", VIEW) for _ in range(2))
    other = open_encoder("resnet18_tiny", "video", VIEW)
    with torch.no_grad():
        next(other.backbone.parameters()).view(-1)[0] += 1e-3
    assert one.key == same.key != other.key


def test_what_is_no_collection_is_told(tmp_path):
    with pytest.raises(DataError, match="ssvid retrieve index"):
        Collection(tmp_path)
    with pytest.raises(ConfigError, match="no index kind"):
        build(tmp_path / "c", [], encoder(), kind="flat")


def test_group_and_moments_need_what_they_need(videos, tmp_path):
    write_video(tmp_path / "lone.mp4", panning(3), fps=FPS)
    with pytest.raises(DataError, match="has no group"):
        videos.query(tmp_path / "lone.mp4", group=True)
    with pytest.raises(ConfigError, match="--unit clip"):
        videos.within(tmp_path / "lone.mp4")


# --- stretches and hard queries -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "frames", "fps"),
    [
        ("short", list(panning(2, 3)), 30),
        ("slow", list(panning(2))[::3], 10),
        ("portrait", list(panning(2, height=128, width=64)), 30),
        ("still", list(panning(2, step=0)), 30),
    ],
)
def test_hard_queries_are_answered(name, frames, fps, videos, clips, tmp_path):
    write_video(tmp_path / f"{name}.mp4", frames, fps=fps)
    for collection in (videos, clips):
        hits = collection.query(tmp_path / f"{name}.mp4", k=3)
        assert len(hits) == 3
        if name in ("short", "slow"):
            assert names(hits)[0] == "2"


def test_a_query_in_which_the_model_sees_nothing_is_told(footage, tmp_path):
    collection = build(tmp_path / "c", [footage], encoder(model="baseline_difference"))
    write_video(tmp_path / "still.mp4", np.full((30, 64, 64, 3), 128, np.uint8), fps=30)
    with pytest.raises(DataError, match="nothing but zeros"):
        collection.query(tmp_path / "still.mp4")


def test_a_collection_that_may_only_be_read_answers(videos, footage, tmp_path):
    folder = tmp_path / "c"
    shutil.copytree(videos.folder, folder)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}
    assert names(Collection(folder).query(footage.parent / "3.mp4", k=1)) == ["3"]
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()} == before
    code = (
        "from ssvid.search.collection import Collection; import sys; c = Collection(sys.argv[1]); "
        "print(c.query(sys.argv[2], k=1)[0].path)"
    )
    for path in (*folder.iterdir(), folder):
        path.chmod(0o555 if path == folder else 0o444)
    try:
        answer = refused("-c", code, folder, footage.parent / "3.mp4")
    finally:
        folder.chmod(0o755)
    assert answer[:2] == (0, f"{footage.parent / '3.mp4'}\n"), answer[2]


def test_a_folder_is_no_query(videos, footage):
    with pytest.raises(VideoError, match="is a folder, not a video file"):
        videos.query(footage.parent)
