"""The result shows the planned frames at the planned times, from and into every container, and goes on where it was stopped."""

from __future__ import annotations

import os
from fractions import Fraction

import av
import numpy as np
import pytest

from ssvid.errors import ConfigError, DataError, VideoError
from ssvid.speedup import segment_encoder as parts_module
from ssvid.speedup.curve import estimate_curve
from ssvid.speedup.frame_format import prepare
from ssvid.speedup.plan import make_plan
from ssvid.speedup.render import parts_folder, render_plan
from ssvid.video.reader import Video, probe
from ssvid.video.writer import write_video
from tests.speedups import curve_of, shown, tone, uneven, uneven_plan, write_film, write_joined
from tests.videos import is_upright, numbers, read_numbers, uneven_times


@pytest.fixture
def film(tmp_path):
    return write_film(tmp_path / "a.mp4", frames=90)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_every_frame_is_shown_at_its_planned_time(film, tmp_path, suffix):
    plan = uneven_plan(film, 90)
    out = render_plan(plan, tmp_path / f"o{suffix}")
    seen = shown(out)
    assert [number for _, number in seen] == list(range(90))
    assert [time for time, _ in seen] == pytest.approx(plan.edges[:-1], abs=0.001)
    with av.open(str(out)) as container:
        assert container.duration / av.time_base == pytest.approx(plan.length, abs=0.034)
    assert sorted(os.listdir(tmp_path)) == ["a.mp4", f"o{suffix}"], "nothing else is left"


def test_constant_rate(film, tmp_path):
    plan = uneven_plan(film, 90)
    out = render_plan(plan, tmp_path / "o.mp4", fps=25)
    info = probe(out)
    assert not info.variable
    assert info.fps == 25
    numbers_shown = [number for _, number in shown(out)]
    assert numbers_shown == [
        int(np.searchsorted(plan.edges, k / 25 + 1e-6, side="right")) - 1 for k in range(len(numbers_shown))
    ]


OLD_MUXER = pytest.mark.xfail(  # the newest PyAV for Python 3.10 is 17
    int(av.__version__.split(".")[0]) < 18,
    reason="Matroska of this PyAV has no rate in its header, only times",
    strict=False,
)


@pytest.mark.parametrize("suffix", [".mp4", pytest.param(".mkv", marks=OLD_MUXER), ".webm"])
@pytest.mark.parametrize(
    ("asked", "rate"), [(30, Fraction(30)), (29.97, Fraction(30000, 1001)), (25, Fraction(25)), (None, Fraction(60))]
)
def test_a_constant_rate_is_exact(film, tmp_path, suffix, asked, rate):
    plan = uneven_plan(film, 90) if asked else make_plan(film, curve_of(np.arange(90) / 30), speed=2)
    out = render_plan(plan, tmp_path / f"o{suffix}", fps=asked)
    with av.open(str(out)) as container:
        assert container.streams.video[0].average_rate == rate
    info = probe(out)
    assert not info.variable
    assert info.times == pytest.approx(np.arange(info.frames) / float(rate), abs=0.0006)


def test_times_that_a_container_rounded_are_even_again(tmp_path):
    source = write_film(tmp_path / "a.mkv", frames=60, fps=60)
    out = render_plan(make_plan(source, curve_of(probe(source).times), speed=1), tmp_path / "o.mp4")
    with av.open(str(out)) as container:
        assert container.streams.video[0].average_rate == 60


def test_variable_rate_source_is_planned_in_seconds(tmp_path):
    times = uneven_times(80)
    write_video(tmp_path / "a.mp4", numbers(80), times=times)
    plan = make_plan(tmp_path / "a.mp4", curve_of(times), speed=2)
    assert np.allclose(plan.speed, 2)
    seen = shown(render_plan(plan, tmp_path / "o.mp4"))
    assert [time for time, _ in seen] == pytest.approx(times / 2, abs=1e-4)


def test_a_time_lapse_is_sped_up_and_times_that_no_file_can_hold_are_told(tmp_path):
    hourly, lost = 3600.0 * np.arange(10), 1e7 * np.arange(10)
    source = tmp_path / "a.mp4"
    write_video(source, numbers(10), times=hourly)
    seen = shown(render_plan(make_plan(source, curve_of(hourly), speed=2), tmp_path / "o.mp4"))
    assert [time for time, _ in seen] == pytest.approx(hourly / 2, abs=1e-3)
    with pytest.raises(DataError, match=r"a.mp4: a frame would be shown for 1389 hours; its times are damaged"):
        render_plan(make_plan(source, curve_of(lost), speed=2), tmp_path / "o.mp4", fps=30)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_rotated_and_odd_sized_sources_stand_upright(tmp_path, turn, suffix):
    write_video(tmp_path / "a.mp4", numbers(12, 97, 161), rotation=turn, pix_fmt="yuv444p")
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].width == 161
    source = Video(tmp_path / "a.mp4")
    out = Video(render_plan(uneven_plan(tmp_path / "a.mp4", 12), tmp_path / f"o{suffix}"))
    assert (out.info.height, out.info.width) == (source.info.height + 1, source.info.width + 1)
    assert out.info.rotation == 0
    before, after = source.frames(range(12)), out.frames(range(12))[:, : source.info.height, : source.info.width]
    assert np.abs(before.astype(int) - after).mean() < 4
    if turn == 0:
        assert is_upright(after[0])
        assert read_numbers(after) == list(range(12))


@pytest.mark.parametrize("full", [False, True])
def test_colour_tags_are_kept(tmp_path, full):
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=30, options={"crf": "10"})
        context = stream.codec_context
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        context.colorspace, context.color_primaries, context.color_trc = 9, 9, 16
        context.color_range = 2 if full else 1
        context.sample_aspect_ratio = Fraction(4, 3)
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((72, 64), 250 if full else 120, np.uint8), format="yuv420p")
            frame.pts, frame.color_range = number, 2 if full else 1
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    result = render_plan(uneven_plan(tmp_path / "a.mp4", 10), tmp_path / "o.mp4")
    with av.open(str(result)) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        assert (frame.colorspace, frame.color_primaries, frame.color_trc) == (9, 9, 16)
        assert frame.color_range == (2 if full else 1)
        assert stream.sample_aspect_ratio == Fraction(4, 3)
        assert abs(int(frame.to_ndarray()[:48].mean()) - (250 if full else 120)) <= 2


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix"),
    [
        ("libx264rgb", "bgr24", ".mkv"),
        ("png", "rgb24", ".mov"),
        ("png", "rgba", ".mov"),
        ("ffv1", "gbrp10le", ".mkv"),
        ("ffv1", "bgra", ".avi"),
        ("libvpx-vp9", "gbrp", ".webm"),
        ("qtrle", "rgb24", ".mov"),
    ],
)
def test_greys_of_rgb_sources_stay_as_they_are(tmp_path, codec, pix_fmt, suffix):
    grey = np.repeat(np.repeat(np.array([0, 64, 192, 255], np.uint8), 16)[None, :, None], 48, 0).repeat(3, 2)
    source = tmp_path / f"a{suffix}"
    with av.open(str(source), "w") as out:
        stream = out.add_stream(codec, rate=30)
        stream.height, stream.width, stream.pix_fmt = 48, 64, pix_fmt
        stream.codec_context.color_range = 2
        for number in range(4):
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.color_range = number, 2
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    times = np.arange(4) / 30
    result = Video(render_plan(make_plan(source, curve_of(times), speed=1), tmp_path / "o.mp4")).frames([0])[0]
    seen = [result[24, 16 * place + 8].mean() for place in range(4)]
    assert seen == pytest.approx([0, 64, 192, 255], abs=6)


@pytest.mark.parametrize("matrix", [3, 8, 14])
def test_a_matrix_that_the_scaler_does_not_know_is_kept(matrix):
    frame = av.VideoFrame.from_ndarray(np.full((3, 48, 64), 90, np.uint8), format="yuv444p", channel_last=False)
    frame.colorspace = matrix
    ready = prepare(frame)
    assert (ready.format.name, ready.colorspace, frame.colorspace) == ("yuv420p", matrix, matrix)
    assert set(np.unique(ready.to_ndarray())) == {90}


@pytest.mark.parametrize(
    ("sizes", "kept", "shown_at"),
    [
        ([(48, 80), (96, 160)], (96, 160), (0, 160)),  # the larger one
        ([(96, 160), (160, 96)], (96, 160), (51, 109)),  # turned: bars at the sides
    ],
)
def test_a_size_that_changes_keeps_the_aspect(tmp_path, sizes, kept, shown_at):
    parts = [tmp_path / f"{number}.webm" for number in range(2)]
    for path, (height, width) in zip(parts, sizes, strict=True):
        picture = np.full((6, height, width, 3), 200, np.uint8)
        write_video(path, picture, codec="libvpx")
    source = write_joined(tmp_path / "a.webm", parts, "video")
    out = Video(render_plan(make_plan(source, estimate_curve(source, by="constant"), speed=1), tmp_path / "o.mp4"))
    assert (out.info.height, out.info.width) == kept
    first, last = out.frames([0, 11])
    assert first.min() > 180
    bright = np.flatnonzero(last[48, :, 0] > 100)
    assert (bright[0], bright[-1] + 1) == pytest.approx(shown_at, abs=2)
    assert last[:, shown_at[0] + 4 : shown_at[1] - 4].min() > 150


def test_title_and_chapters_go_along(tmp_path):
    source = write_film(tmp_path / "a.mkv", frames=90, sounds=[tone(3)], metadata={"title": "A film"})
    with av.open(str(source)) as whole, av.open(str(tmp_path / "b.mkv"), "w") as marked:
        marked.metadata["title"] = whole.metadata["title"]
        marked.set_chapters(
            [{"id": 0, "start": 1000, "end": 2000, "time_base": Fraction(1, 1000), "metadata": {"title": "Two"}}]
        )
        streams = {stream.index: marked.add_stream_from_template(stream) for stream in whole.streams}
        for packet in whole.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                marked.mux(packet)
    plan = uneven_plan(tmp_path / "b.mkv", 90)
    with av.open(str(render_plan(plan, tmp_path / "o.mkv"))) as container:
        assert container.metadata["title"] == "A film"
        (chapter,) = container.chapters()
        times = [float(chapter[end] * chapter["time_base"]) for end in ("start", "end")]
        assert times == pytest.approx(plan.to_result(np.array([1, 2])), abs=0.002)
        assert chapter["metadata"]["title"] == "Two"


@pytest.mark.parametrize(("frames", "speed"), [(1, 2.0), (2, 2.0), (3, 1.0), (30, 8.0)])
def test_the_shortest_videos(tmp_path, frames, speed):
    source = write_film(tmp_path / "a.mp4", frames=frames, sounds=[tone(frames / 30)])
    plan = make_plan(source, uneven(frames), speed=speed)
    for suffix in (".mp4", ".mkv"):
        seen = shown(render_plan(plan, tmp_path / f"o{suffix}"))
        assert [number for _, number in seen] == list(range(frames))


@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt"),
    [
        (".mp4", "libx265", "yuv420p"),
        (".mp4", "libx265", "yuv420p10le"),
        (".mkv", "libsvtav1", "yuv420p"),
        (".webm", "libvpx-vp9", "yuv420p"),
        (".avi", "mpeg4", "yuv420p"),
        (".gif", "gif", "rgb8"),
    ],
)
def test_sources_of_other_kinds(tmp_path, suffix, codec, pix_fmt):
    source = tmp_path / f"a{suffix}"
    write_video(source, numbers(24), fps=25, codec=codec, pix_fmt=pix_fmt)
    info = probe(source)
    seen = shown(render_plan(make_plan(source, curve_of(info.times), speed=2), tmp_path / "o.mp4"))
    assert [number for _, number in seen] == list(range(24))


def test_a_stopped_rendering_goes_on(film, tmp_path, monkeypatch):
    monkeypatch.setattr(parts_module, "PART", 0.4)
    plan = uneven_plan(film, 90)
    whole = render_plan(plan, tmp_path / "whole.mp4")

    def stop(what, done, total):
        if done == 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_plan(plan, tmp_path / "o.mp4", progress=stop)
    assert not (tmp_path / "o.mp4").exists()
    kept = sorted(parts_folder(tmp_path / "o.mp4").glob("0*.mp4"))
    assert len(kept) >= 1
    made = [path.stat().st_mtime_ns for path in kept]
    counts: list[int] = []

    def again(what, done, total):
        counts.append(done)
        if done == total:
            assert [path.stat().st_mtime_ns for path in kept] == made, "what was there is not made again"

    out = render_plan(plan, tmp_path / "o.mp4", progress=again)
    assert counts[0] > 1
    assert shown(out) == shown(whole)
    assert not parts_folder(out).exists()


def test_parts_of_another_plan_are_not_taken(film, tmp_path, monkeypatch):
    monkeypatch.setattr(parts_module, "PART", 0.4)

    def stop(what, done, total):
        if done == 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_plan(uneven_plan(film, 90), tmp_path / "o.mp4", progress=stop)
    plan = uneven_plan(film, 90, speed=3)
    seen = shown(render_plan(plan, tmp_path / "o.mp4"))
    assert [time for time, _ in seen] == pytest.approx(plan.edges[:-1], abs=0.001)


def test_wrong_wishes_and_changed_sources_are_told(film, tmp_path):
    plan = uneven_plan(film, 90)
    with pytest.raises(ConfigError, match="source itself"):
        render_plan(plan, film)
    with pytest.raises(ConfigError, match=r"\.webm"):
        render_plan(plan, tmp_path / "o.avi")
    with pytest.raises(ConfigError, match="no sound mode"):
        render_plan(plan, tmp_path / "o.mp4", audio="loud")
    with pytest.raises(VideoError, match="ends after 90 frames"):
        render_plan(uneven_plan(film, 120), tmp_path / "o.mp4")
    with open(film, "ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match="has changed"):
        render_plan(plan, tmp_path / "o.mp4")
