from __future__ import annotations

import csv
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ssvid.data import synthetic
from ssvid.data.contact_sheets import contact_sheet, moving_grid, save_animation
from ssvid.data.motions import BODIES, PEBBLES
from ssvid.data.synthetic import CLASSES, IRREVERSIBLE, SyntheticVideo, make_world, render_video
from ssvid.errors import ConfigError
from ssvid.video.writer import write_video

SCENES = 24
SMALL: dict[str, Any] = {"frames": 6, "size": 32, "per_class": 2, "test_share": 0.5}


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def many() -> tuple[list[SyntheticVideo], np.ndarray, np.ndarray]:
    """SCENES scenes played by every class, with class and scene numbers."""
    videos = [render_video(label, rng(5, scene), size=32, frames=64) for scene in range(SCENES) for label in CLASSES]
    return videos, np.tile(np.arange(len(CLASSES)), SCENES), np.repeat(np.arange(SCENES), len(CLASSES))


def probe(features: np.ndarray, classes: np.ndarray, scenes: np.ndarray) -> float:
    """Accuracy of a linear probe on scenes it was not fitted on."""
    # a rotation onto the principal axes leaves the solution as it is and saves most of the time
    model = make_pipeline(StandardScaler(), PCA(), LogisticRegression(C=0.01, tol=1e-2, max_iter=500))
    flat = features.reshape(len(features), -1)
    return float(np.mean(cross_val_predict(model, flat, classes, groups=scenes, cv=GroupKFold(4)) == classes))


def bound(number: int, chance: float = 1 / len(CLASSES)) -> float:
    """What guessing exceeds once in a thousand times, with room for the little a blurred picture truly shows."""
    return chance + 3.1 * np.sqrt(chance * (1 - chance) / number) + 0.02


def test_mean_frames_do_not_tell_the_class(many: tuple[list[SyntheticVideo], np.ndarray, np.ndarray]) -> None:
    videos, classes, scenes = many
    clips = np.stack([v.frames[s : s + 16] for v, s in zip(videos, rng(0).integers(0, 49, len(videos)), strict=True)])
    mean = clips.mean(axis=1).reshape(len(videos), 16, 2, 16, 2, 3).mean(axis=(2, 4))
    assert probe(mean, classes, scenes) < bound(len(videos))


def test_colours_and_single_frames_do_not_tell_the_class(
    many: tuple[list[SyntheticVideo], np.ndarray, np.ndarray],
) -> None:
    videos, classes, scenes = many
    frame = np.stack([v.frames[s] for v, s in zip(videos, rng(1).integers(0, 64, len(videos)), strict=True)])
    colours = np.stack([[np.bincount(f[..., c].ravel() // 16, minlength=16) for c in range(3)] for f in frame])
    assert probe(colours.astype(float), classes, scenes) < bound(len(videos))
    assert probe(frame.reshape(len(videos), 16, 2, 16, 2, 3).mean(axis=(2, 4)), classes, scenes) < bound(len(videos))


def motion_features(video: SyntheticVideo) -> list[float]:
    """How the three objects with the most to do move, by their centres and areas only."""
    centres = np.nan_to_num(video.centres)
    seen = ~np.isnan(video.centres[..., 0])
    step = np.diff(centres, axis=0) * (seen[1:] & seen[:-1])[..., None]
    speed = np.linalg.norm(step, axis=-1)
    change = np.diff(step, axis=0)
    turn = step[:-1, :, 0] * step[1:, :, 1] - step[:-1, :, 1] * step[1:, :, 0]
    area = np.array([np.bincount(m.ravel(), minlength=centres.shape[1] + 1)[1:] for m in video.masks], float)
    growth = np.log1p(area[-1]) - np.log1p(area[0])
    features = [
        growth.min(),
        growth.max(),
        np.abs(np.diff(seen.astype(int), axis=0)).sum(),
        speed[:, -PEBBLES:].mean(),
        speed[:20, -PEBBLES:].mean(),
    ]
    for k in np.argsort(-speed.max(axis=0))[:3]:
        features += [speed[:, k].mean(), speed[:, k].std(), np.abs(change[:, k]).mean(), np.abs(change[:, k]).max()]
        features += [*step[:, k].std(axis=0), *change[:, k].mean(axis=0), abs(turn[:, k].mean()), turn[:, k].std()]
    return [float(f) for f in features]


def test_time_does_tell_the_class(many: tuple[list[SyntheticVideo], np.ndarray, np.ndarray]) -> None:
    videos, classes, scenes = many
    known = probe(np.array([motion_features(v) for v in videos]), classes, scenes)
    maps = []
    for video in videos:
        change = np.abs(np.diff(video.frames.astype(np.float32), axis=0)).mean(axis=-1)
        maps.append(np.sort(change.mean(axis=0).ravel())[-256:])
    seen = probe(np.array(maps), classes, scenes)
    assert known > 0.6
    assert seen > 2 * bound(len(videos))


def test_one_scene_for_all_classes() -> None:
    first = {label: render_video(label, rng(3), frames=2, size=64) for label in CLASSES}
    still = np.median([v.frames[0] for v in first.values()], axis=0)
    for video in first.values():
        assert np.mean(np.abs(video.frames[0] - still).max(axis=-1) < 8) > 0.6


@pytest.mark.parametrize("label", CLASSES)
def test_render_is_deterministic_and_well_formed(label: str) -> None:
    for size in (32, 49, 128):
        video = render_video(label, rng(1, 2), frames=5, size=size)
        objects = video.centres.shape[1]
        assert video.frames.shape == (5, size, size, 3)
        assert video.frames.dtype == video.masks.dtype == np.uint8
        assert video.masks.shape == (5, size, size)
        assert video.masks.max() <= objects
        assert np.isfinite(video.phase).all()
        assert video.phase.min() >= 0
        assert video.phase.max() <= 1
        assert len({f.tobytes() for f in video.frames}) == 5
    again = render_video(label, rng(1, 2), frames=5, size=128)
    assert all(
        np.array_equal(getattr(video, k), getattr(again, k), equal_nan=k == "centres")
        for k in ("frames", "masks", "centres", "phase")
    )
    assert not np.array_equal(video.frames, render_video(label, rng(1, 3), frames=5, size=128).frames)


def test_size_does_not_change_the_scene_or_the_motion() -> None:
    small, large = (render_video("orbit", rng(8), frames=20, size=size) for size in (48, 96))
    shown = ~np.isnan(small.centres[..., 0]) & ~np.isnan(large.centres[..., 0])
    np.testing.assert_allclose((small.centres[shown] + 0.5) * 2, large.centres[shown] + 0.5, atol=1e-3)
    shrunk = large.frames.reshape(20, 48, 2, 48, 2, 3).mean(axis=(2, 4))
    assert np.mean(np.abs(shrunk - small.frames)) < 8


@pytest.mark.parametrize("label", CLASSES)
def test_masks_agree_with_centres(label: str) -> None:
    video = render_video(label, rng(4), size=128, frames=24)
    y, x = np.mgrid[:128, :128]
    checked = 0
    for mask, centres in zip(video.masks, video.centres, strict=True):
        for k, centre in enumerate(centres, start=1):
            part = mask == k
            assert part.any() == (not np.isnan(centre).any())
            # unoccluded: nothing else touches the object's box, nor does the frame's edge
            rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
            if not part.any() or min(rows[0], columns[0]) < 3 or max(rows[-1], columns[-1]) > 124:
                continue
            box = mask[rows[0] - 3 : rows[-1] + 4, columns[0] - 3 : columns[-1] + 4]
            if not np.isin(box, (0, k)).all():
                continue
            checked += 1
            assert np.hypot(x[part].mean() - centre[0], y[part].mean() - centre[1]) < 0.8
    assert checked >= 10


def test_blinking_objects_have_no_centre_while_off() -> None:
    video = render_video("blink", rng(0), size=64)
    hidden = np.isnan(video.centres[:, :BODIES, 0]).mean(axis=0)
    assert 0.25 < hidden.max() < 0.75


@pytest.mark.parametrize("label", CLASSES)
def test_phase_is_the_integral_of_speed(label: str) -> None:
    video = render_video(label, rng(6), size=16, frames=60, varying_speed=True)
    assert video.speed.min() >= 0.499
    assert video.speed.max() <= 2.501
    assert np.ptp(video.speed) > 0.1
    steps = np.diff(video.phase)
    moving = (video.phase[:-1] > 0) & (video.phase[1:] < 1)
    assert moving.sum() > 15
    rate = steps[moving] / video.speed[:-1][moving]
    np.testing.assert_allclose(rate, rate.mean(), rtol=1e-3)
    assert (steps >= 0).all()
    assert (render_video(label, rng(6), size=16, frames=4).speed == 1).all()


def test_world_clock_drives_the_motion() -> None:
    video = render_video("translate", rng(6), size=64, frames=60, varying_speed=True)
    step = np.linalg.norm(np.diff(video.centres, axis=0), axis=-1)
    mover = int(np.nanargmax(np.nanmedian(step, axis=0)))
    shown = ~np.isnan(step[:, mover]) & (step[:, mover] < 10)
    assert np.corrcoef(step[shown, mover], video.speed[:-1][shown])[0, 1] > 0.99


@pytest.mark.parametrize(("label", "turn"), [("rotate_left", -1), ("rotate_right", 1)])
def test_rotation_has_the_named_direction(label: str, turn: int) -> None:
    # the direction of a lengthy shape, from its second moments, turns by less than 90 degrees between frames
    for scene in range(40):
        video = render_video(label, rng(9, scene), size=96, frames=8)
        turns = [_lean(video.masks[t], k) for t in (0, 7) for k in (1, 2)]
        for before, after in ((turns[0], turns[2]), (turns[1], turns[3])):
            moved = (after[0] - before[0] + np.pi / 2) % np.pi - np.pi / 2
            if before[1] > 2 and abs(moved) > 0.3:
                assert np.sign(moved) == turn
                return
    pytest.fail("no lengthy shape rotated in 40 scenes")


def _lean(mask: np.ndarray, number: int) -> tuple[float, float]:
    """Direction (radians clockwise on the screen) and lengthiness of one object."""
    y, x = np.nonzero(mask == number)
    if len(x) < 20:
        return 0.0, 0.0
    xx, yy, xy = np.var(x), np.var(y), np.mean((x - x.mean()) * (y - y.mean()))
    root = np.hypot(xx - yy, 2 * xy)
    return float(np.arctan2(2 * xy, xx - yy) / 2), float((xx + yy + root) / (xx + yy - root))


@pytest.mark.parametrize("label", ["diffuse", "collide_scatter"])
def test_the_heap_only_ever_spreads(label: str) -> None:
    assert label in IRREVERSIBLE
    for scene in range(6):
        heap = render_video(label, rng(2, scene), size=32).centres[:, -PEBBLES:]
        seen = ~np.isnan(heap[[0, -1], :, 0]).any(axis=0)
        before, after = (np.std(heap[t][seen], axis=0).sum() for t in (0, -1))
        assert after > 1.15 * before


def test_bad_requests_are_refused() -> None:
    with pytest.raises(ConfigError, match="pendulum"):
        render_video("pendulums", rng(0))
    wrong: dict[str, Any]
    for wrong in ({"frames": 0}, {"size": 8}, {"fps": 0.0}):
        with pytest.raises(ConfigError, match="cannot render"):
            render_video("orbit", rng(0), **wrong)


def count_frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(
        tmp_path_factory.mktemp("world"), **SMALL, masks=True, davis=True, varying_speed=0.5, engine="local:1"
    )


def test_world_has_every_file(world: Path) -> None:
    table, folder = rows(world), world.parent
    assert list(table[0]) == ["path", "label", "split", "group"]
    assert len(table) == 2 * len(CLASSES)
    varying = set()
    for row in table:
        path = folder / row["path"]
        assert count_frames(path) == 6
        note = json.loads((folder / "annotations" / f"{path.stem}.json").read_text())
        assert (note["class"], note["split"], note["group"]) == (row["label"], row["split"], row["group"])
        assert len(note["speed"]) == len(note["phase"]) == len(note["centres"]) == 6
        assert note["varying_speed"] or set(note["speed"]) == {1.0}
        varying.add((note["group"], note["varying_speed"]))
        masks = sorted((folder / "masks" / path.stem).iterdir())
        assert [m.name for m in masks] == [f"{t:05d}.png" for t in range(6)]
        with Image.open(masks[0]) as image:
            assert image.mode == "P"
            assert image.getpalette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
            assert np.asarray(image).max() == len(note["centres"][0])
    assert len(varying) == 2  # a scene's clock is the same question for all its classes
    splits = {row["group"]: row["split"] for row in table}
    assert all(row["split"] == splits[row["group"]] for row in table)
    assert sorted(splits.values()) == ["test", "train"]


def test_davis_layout_numbers_the_objects_of_the_first_frame(world: Path) -> None:
    davis = world.parent / "davis"
    names = [(davis / "ImageSets" / "2017" / f).read_text().split() for f in ("train.txt", "val.txt")]
    assert [len(n) for n in names] == [len(CLASSES), len(CLASSES)]
    for name in names[0] + names[1]:
        masks = [np.asarray(Image.open(p)) for p in sorted((davis / "Annotations" / "480p" / name).iterdir())]
        assert len(masks) == len(list((davis / "JPEGImages" / "480p" / name).iterdir())) == 6
        first = np.unique(masks[0])
        assert list(first) == list(range(len(first)))
        assert max(m.max() for m in masks) == first[-1] >= 1


def test_larger_world_contains_the_smaller_and_processes_do_not_matter(world: Path, tmp_path: Path) -> None:
    options = SMALL | {"per_class": 3}
    other = make_world(tmp_path / "w", **options, varying_speed=0.5, engine="local:2")
    for row in rows(world):
        assert (other.parent / row["path"]).read_bytes() == (world.parent / row["path"]).read_bytes()
        assert row in rows(other)


def test_world_continues_where_it_stopped(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []

    def count(what: str, done: int, total: int) -> None:
        calls.append((done, total))

    def stop(what: str, done: int, total: int) -> None:
        calls.append((done, total))
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_world(tmp_path, **SMALL, progress=stop, engine="local:1")
    assert not (tmp_path / "videos.csv").exists()
    written = {p: p.stat().st_mtime_ns for p in tmp_path.glob("annotations/*.json")}
    assert len(written) == 5
    (tmp_path / "videos" / "translate" / "translate_0000.mp4").unlink()  # what is lost is made again
    make_world(tmp_path, **SMALL, progress=count, engine="local:1")
    assert calls[5][0] == 5
    assert calls[-1] == (26, 26)
    assert [p.stem for p, time in written.items() if p.stat().st_mtime_ns != time] == ["translate_0000"]
    assert (tmp_path / "videos" / "translate" / "translate_0000.mp4").exists()
    assert not list(tmp_path.rglob(".*"))

    calls.clear()
    make_world(tmp_path, **SMALL | {"per_class": 3}, progress=count, engine="local:1")
    assert len(calls) == len(CLASSES)


def test_world_refuses_other_options_and_foreign_folders(world: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"seed=0, asked 1.*another folder"):
        make_world(world.parent, **SMALL, masks=True, davis=True, varying_speed=0.5, seed=1)
    with pytest.raises(ConfigError, match="per_class=2, asked 1"):
        make_world(world.parent, **SMALL | {"per_class": 1}, masks=True, davis=True, varying_speed=0.5)
    (tmp_path / "holiday.mp4").write_bytes(b"x")
    with pytest.raises(ConfigError, match="not empty"):
        make_world(tmp_path, **SMALL)
    with pytest.raises(ConfigError, match="test_share"):
        make_world(tmp_path / "new", test_share=1.0)
    assert not (tmp_path / "new").exists()


def test_world_at_crf_0_loses_nothing_in_compression(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr(
        synthetic,
        "write_video",
        lambda path, frames, *a, **k: written.append((path, frames)) or write_video(path, frames, *a, **k),
    )
    make_world(tmp_path / "w", **SMALL | {"per_class": 1}, crf=0, engine="local:1")
    for path, frames in written:
        with av.open(str(path)) as container:
            read = [frame.to_ndarray() for frame in container.decode(video=0)]
        wanted = [
            av.VideoFrame.from_ndarray(frame, "rgb24").reformat(format="yuv420p").to_ndarray() for frame in frames
        ]
        np.testing.assert_array_equal(read, wanted)
    with pytest.raises(ConfigError, match="crf=0, asked 18"):
        make_world(tmp_path / "w", **SMALL | {"per_class": 1})


def test_world_made_before_crf_could_be_chosen_goes_on(tmp_path: Path) -> None:
    table = make_world(tmp_path / "w", **SMALL | {"per_class": 1})
    note = table.with_name("world.json")
    facts = json.loads(note.read_text())
    del facts["options"]["crf"]
    note.write_text(json.dumps(facts))
    assert len(rows(make_world(tmp_path / "w", **SMALL))) == 2 * len(CLASSES)


def test_gallery(tmp_path: Path) -> None:
    videos = [render_video(label, rng(1), frames=8, size=32) for label in CLASSES]
    sheet = contact_sheet(videos, columns=2, frames_shown=4, tile=40)
    assert sheet.dtype == np.uint8
    assert sheet.shape[0] >= 7 * 40
    grid = moving_grid(videos, columns=5, tile=40, step=2)
    assert grid.shape[0] == 4
    assert all((a != b).any() for a, b in pairwise(grid))
    for name in ("w.webp", "w.gif"):
        assert save_animation(tmp_path / name, grid) == (tmp_path / name).stat().st_size <= 1_500_000
        with Image.open(tmp_path / name) as image:
            assert image.n_frames == 4
    with pytest.raises(ConfigError, match="do not fit"):
        save_animation(tmp_path / "x.gif", grid, limit=100)
    with pytest.raises(ConfigError, match="webp"):
        save_animation(tmp_path / "x.avi", grid)
