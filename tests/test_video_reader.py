"""Every kind of file gives back the frames that were painted into it, by number, time, window and size."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from ssvid.errors import VideoError
from ssvid.video.guard import Guard
from ssvid.video.random_access import DecordFile
from ssvid.video.reader import Video, VideoInfo, probe, short_side
from ssvid.video.writer import write_video
from tests.videos import is_upright, numbers, read_number, read_numbers, uneven_times


@dataclass(frozen=True)
class Kind:
    """One kind of file: how it is written, and what the reader must find."""

    name: str
    codec: str
    options: dict = field(default_factory=dict)
    count: int = 60
    size: tuple[int, int] = (96, 160)
    fps: float = 30.0
    uneven: bool = False
    tick: float = 1e-6

    @property
    def times(self) -> np.ndarray:
        return uneven_times(self.count) if self.uneven else np.arange(self.count) / self.fps

    def write(self, folder: Path) -> Path:
        path = folder / self.name
        rate = {"times": self.times} if self.uneven else {"fps": self.fps}
        write_video(path, numbers(self.count, *self.size), codec=self.codec, **rate, **self.options)
        return path


KINDS = [
    Kind("h264.mp4", "libx264", {"bframes": 3, "gop": 25}),
    Kind("h264.mkv", "libx264", {"bframes": 3, "gop": 25}, tick=0.0011),
    Kind("h264.mov", "libx264", {"bframes": 0, "gop": 12}, fps=30000 / 1001),
    Kind("mpeg4_b.avi", "mpeg4", {"bframes": 2, "gop": 12}),
    Kind("mpeg4.avi", "mpeg4", {"bframes": 0, "gop": 12}, fps=25),
    Kind("h264_b.avi", "libx264", {"bframes": 3, "gop": 25}, count=120),
    Kind("uneven.mp4", "libx264", {"bframes": 3, "gop": 25}, uneven=True),
    Kind("uneven.mkv", "libx264", {"bframes": 2}, uneven=True, tick=0.0011),
    Kind("turned90.mp4", "libx264", {"rotation": 90}),
    Kind("turned180.mp4", "libx264", {"rotation": 180}),
    Kind("turned270.mov", "libx264", {"rotation": 270, "bframes": 2}),
    Kind("single.mp4", "libx264", count=1),
    Kind("pair.avi", "mpeg4", count=2),
    Kind("animation.gif", "gif", fps=25, count=30, tick=0.0101),
    Kind("vp9.webm", "libvpx-vp9", {"gop": 20, "options": {"cpu-used": "8", "deadline": "realtime"}}, tick=0.0011),
    Kind("av1.mp4", "libsvtav1", {"options": {"preset": "8"}}, count=40),
    Kind("hevc.mp4", "libx265", {"bframes": 3, "options": {"preset": "ultrafast"}}, count=40),
    Kind("tenbit.mp4", "libx265", {"pix_fmt": "yuv420p10le", "options": {"preset": "ultrafast"}}, count=20),
    Kind("odd.mp4", "libx264", {"pix_fmt": "yuv444p", "bframes": 2}, size=(97, 131)),
    Kind("odd.webm", "libvpx-vp9", {"pix_fmt": "yuv444p"}, size=(73, 111), count=20, tick=0.0011),
    Kind("narrow.mp4", "libx264", {"bframes": 2}, size=(144, 96)),
    Kind("tiny.mp4", "libx264", size=(32, 48)),
]


@dataclass(frozen=True)
class Made:
    kind: Kind
    video: Video

    @property
    def turned(self) -> bool:
        return "turned" in self.kind.name


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    with Guard() as guard:
        yield guard


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def made(request: pytest.FixtureRequest, guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Made:
    kind: Kind = request.param
    path = kind.write(tmp_path_factory.mktemp("kind"))
    return Made(kind, Video(path, probe(path, guard=guard)))


def shown(made: Made, frames: np.ndarray) -> np.ndarray:
    """The frames as they were painted: a rotated file was painted lying and is read standing."""
    turn = made.video.info.rotation // 90 if made.turned else 0
    return np.rot90(frames, turn, axes=(1, 2))


def test_info(made: Made) -> None:
    kind, info = made.kind, made.video.info
    assert len(made.video) == info.frames == kind.count
    assert info.variable == kind.uneven
    if not kind.uneven and kind.count > 1:
        assert info.fps == pytest.approx(kind.fps, rel=1e-6)
    height, width = kind.size
    lying = info.rotation in (90, 270)
    assert (info.height, info.width) == ((width, height) if lying else (height, width))
    assert info.rotation == kind.options.get("rotation", 0)
    assert not info.audio


def test_times(made: Made) -> None:
    times = made.video.times
    assert times.dtype == np.float64
    assert times[0] == 0
    assert (np.diff(times) > 0).all()
    np.testing.assert_allclose(times, made.kind.times, atol=made.kind.tick)
    stays = made.video.info.duration - times[-1]
    if made.kind.uneven:  # no container keeps the time of the last frame reliably
        assert 0 < stays <= 0.101
    else:
        assert stays == pytest.approx(1 / made.kind.fps, rel=0.01)


def test_random_frames_one_by_one(made: Made) -> None:
    rng = np.random.default_rng(0)
    for index in [0, made.kind.count - 1, *rng.integers(0, made.kind.count, 6).tolist()]:
        frames = made.video.frames([index])
        assert frames.dtype == np.uint8
        assert frames.shape == (1, made.video.info.height, made.video.info.width, 3)
        assert read_numbers(shown(made, frames)) == [index]


def test_windows(made: Made) -> None:
    rng = np.random.default_rng(1)
    for _ in range(3):
        start = int(rng.integers(0, max(1, made.kind.count - 16)))
        window = list(range(start, min(start + 16, made.kind.count)))
        assert read_numbers(shown(made, made.video.frames(window))) == window


def test_any_order_with_repeats(made: Made) -> None:
    asked = np.random.default_rng(2).integers(0, made.kind.count, 12)
    assert read_numbers(shown(made, made.video.frames(asked))) == asked.tolist()


def test_at_seconds(made: Made) -> None:
    times = made.video.times
    between = np.append((times[:-1] + times[1:]) / 2, times[-1])
    some = np.linspace(0, made.kind.count - 1, 5).round().astype(int)
    assert read_numbers(shown(made, made.video.at(between[some]))) == some.tolist()
    assert made.video.index_at(times).tolist() == list(range(made.kind.count))


def test_sizes(made: Made) -> None:
    asked = [made.kind.count - 1, made.kind.count // 2]
    for size in (24, 32, 48, 64, 72, 96, 112):
        frames = made.video.frames(asked, size)
        assert min(frames.shape[1:3]) == size
        assert frames.shape[1:3] == short_side(made.video.info.height, made.video.info.width, size)
        assert read_numbers(shown(made, frames)) == asked
    for height, width in ((48, 48), (72, 72), (96, 96), (80, 144), (50, 77)):
        frames = made.video.frames(asked, (height, width))
        assert frames.shape[1:3] == (height, width)
        assert read_numbers(shown(made, frames)) == asked


def test_both_ways_of_reading_give_the_same_pixels(made: Made) -> None:
    if not made.video.info.seek:
        pytest.skip("random access is wrong on this kind of file, which another test holds")
    asked = [0, made.kind.count // 2]
    in_order = Video(made.video.path, replace(made.video.info, seek=False))
    for size in (None, 48, 72, 61, (96, 96), (40, 144)):
        difference = np.abs(made.video.frames(asked, size).astype(int) - in_order.frames(asked, size))
        assert difference.mean() < 0.5, size


def test_up_is_up(made: Made) -> None:
    if made.kind.count == 1 or "gif" in made.kind.name:
        pytest.skip("the strip needs colour")
    painted = shown(made, made.video.frames([1]))
    assert is_upright(painted[0])
    assert not is_upright(painted[0, ::-1])


@pytest.mark.parametrize("name", ["mpeg4_b.avi", "h264_b.avi"])
def test_random_access_is_distrusted_where_it_is_wrong(guard: Guard, tmp_path: Path, name: str) -> None:
    kind = next(kind for kind in KINDS if kind.name == name)
    info = probe(kind.write(tmp_path), guard=guard)
    assert wrong_by_decord(info, range(5, 55, 7)), "decord reads this kind right now: the check and this test can go"
    assert not info.seek


def wrong_by_decord(info: VideoInfo, asked: Iterable[int]) -> list[int]:
    """Frames that come wrong from decord, or not at all, each from a fresh reader."""
    wrong = []
    for index in asked:
        try:
            with DecordFile(info.path, info.height, info.width) as file:
                wrong += [] if read_numbers(np.stack(list(file.frames([index])))) == [index] else [index]
        except VideoError:
            wrong.append(index)
    return wrong


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "uneven.mp4", "turned90.mp4", "vp9.webm", "mpeg4.avi"])
def test_random_access_is_trusted_where_it_is_right(guard: Guard, tmp_path: Path, name: str) -> None:
    kind = next(kind for kind in KINDS if kind.name == name)
    assert probe(kind.write(tmp_path), guard=guard).seek


@pytest.fixture
def video(tmp_path: Path) -> Video:
    write_video(tmp_path / "a.mp4", numbers(30), fps=30)
    return Video(tmp_path / "a.mp4")


def test_wrong_indices_name_the_file_and_its_length(video: Video) -> None:
    for wrong in ([30], [-1], [0, 99]):
        with pytest.raises(IndexError, match=r"a\.mp4.*30 frames"):
            video.frames(wrong)
    with pytest.raises(TypeError, match="integers"):
        video.frames([0.5])
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(IndexError, match=r"a\.mp4.*lasts 1\.000 s"):
            video.at(wrong)
    with pytest.raises(ValueError, match="1 pixel or more"):
        video.frames([0], 0)
    with pytest.raises(ValueError, match="1 pixel or more"):
        video.frames([0], (10, -1))


def test_end_of_the_video_is_its_last_frame(video: Video) -> None:
    assert read_numbers(video.at([0, video.info.duration])) == [0, 29]
    # 0.1 * 3 is a little more than 0.3, and 0.7 a little less than frame 21's time
    assert video.index_at([0.1 * 3, 0.7]).tolist() == [9, 21]


def test_nothing_asked_is_nothing_read(video: Video) -> None:
    assert video.frames([], 48).shape == (0, 48, 80, 3)


def test_it_is_probed_once_and_only_when_needed(video: Video, monkeypatch: pytest.MonkeyPatch) -> None:
    from ssvid.video import reader

    calls = []
    monkeypatch.setattr(reader, "probe", lambda path: calls.append(path) or probe(path))
    assert not calls
    assert (len(video), video.fps) == (30, 30.0)
    video.frames([3])
    assert len(calls) == 1


def _read(video: Video, index: int) -> int:
    return read_number(video.frames([index])[0])


def test_it_pickles_and_is_shared_by_forked_workers(video: Video) -> None:
    assert _read(video, 4) == 4
    again = pickle.loads(pickle.dumps(video))
    assert _read(again, 7) == 7
    assert np.array_equal(again.times, video.times)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.starmap_async(_read, [(video, index) for index in range(12)]).get(60) == list(range(12))


@pytest.mark.parametrize("seek", [True, False])
def test_a_file_that_changed_is_told_with_the_remedy(tmp_path: Path, seek: bool) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, numbers(30))
    info: VideoInfo = replace(probe(path), seek=seek)
    write_video(path, (255 - frame for frame in numbers(30)))
    with pytest.raises(VideoError, match=r"a\.mp4: has changed since it was indexed.*ssvid index"):
        Video(path, info).frames([3])
    path.unlink()
    with pytest.raises(VideoError, match=r"a\.mp4: no such file.*moved or deleted.*ssvid index"):
        Video(path, info).frames([3])


def test_a_file_that_was_only_touched_or_copied_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, numbers(30))
    info = probe(path)
    os.utime(path, (1, 1))
    assert read_numbers(Video(path, info).frames([3])) == [3]


@pytest.mark.parametrize("seek", [True, False])
def test_frames_that_are_not_there_are_named_where_a_file_is_not_compared(tmp_path: Path, seek: bool) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, numbers(30))
    info: VideoInfo = replace(probe(path), seek=seek, identity="")
    write_video(path, numbers(10))
    with pytest.raises(VideoError, match=r"a\.mp4: frame 20.*index"):
        Video(path, info).frames([3, 20, 25])


def test_a_read_at_random_that_fails_is_done_in_order_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = Kind("h264_b.avi", "libx264", {"bframes": 3, "gop": 25}).write(tmp_path)
    video = Video(path, replace(probe(path), seek=True))
    for _ in range(3):
        assert read_numbers(video.frames([7, 50])) == [7, 50]
    assert [record.message.count("read in order instead") for record in caplog.records] == [1]


def test_short_side_keeps_the_aspect() -> None:
    assert short_side(240, 320, 120) == (120, 160)
    assert short_side(320, 240, 120) == (160, 120)
    assert short_side(1080, 1920, 64) == (64, 114)
    assert short_side(10, 4000, 1) == (1, 400)


def test_torch_computes_after_a_video_was_read_first(tmp_path):
    path = tmp_path / "numbered.mp4"
    write_video(path, numbers(12))
    code = (
        f"import ssvid; video = ssvid.Video({str(path)!r}); assert video.info.seek; video.frames([0, 3]);"
        "import torch; torch.nn.Linear(8, 8)(torch.ones(2, 8))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
