"""Sound keeps its pitch and its place, whatever the speed does, in every mode and number of channels."""

from __future__ import annotations

import numpy as np
import pytest

from ssvid.speedup.plan import make_plan
from ssvid.speedup.render import render_plan
from ssvid.speedup.sound import encoder_layout, encoder_rate
from ssvid.speedup.time_stretch import as_tape, keep_pitch
from ssvid.video.sound import AudioReader, GuardedAudio, sound_streams
from tests.speedups import (
    RATE,
    clicks,
    curve_of,
    heard,
    onsets,
    pitch_of,
    tone,
    uneven_plan,
    write_custom_order,
    write_film,
    write_joined,
)


def reader(samples: np.ndarray):
    """`read` over an array, silence beyond its ends."""

    def read(start: int, stop: int) -> np.ndarray:
        out = np.zeros((len(samples), stop - start), np.float32)
        low, high = max(start, 0), min(stop, samples.shape[1])
        if low < high:
            out[:, low - start : high - start] = samples[:, low:high]
        return out

    return read


def stretched(way, samples: np.ndarray, speed: float) -> np.ndarray:
    length = round(samples.shape[1] / speed)
    blocks = list(way(reader(samples), lambda seconds: seconds * speed, length, RATE))
    out = np.concatenate(blocks, 1)
    assert out.shape == (len(samples), length)
    return out


@pytest.mark.parametrize("speed", [0.5, 1.3, 2.0, 5.0, 8.0])
def test_a_tone_stays_at_its_pitch(speed):
    out = stretched(keep_pitch, tone(8), speed)[0]
    middle = out[RATE // 10 : -RATE // 10]
    pitch, share = pitch_of(middle, RATE)
    assert pitch == pytest.approx(440, abs=2)
    assert share > 0.99, "no beats, no clicks"
    assert np.sqrt((middle**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.03)


@pytest.mark.parametrize("way", [keep_pitch, as_tape])
def test_speed_one_changes_nothing(way):
    sound = np.random.default_rng(0).normal(0, 0.2, (2, RATE)).astype(np.float32)
    assert np.abs(stretched(way, sound, 1.0) - sound)[:, 100:-100].max() < 1e-5


def test_as_tape_the_pitch_rises_and_what_would_fold_back_is_gone():
    assert pitch_of(stretched(as_tape, tone(4), 2.0)[0], RATE)[0] == pytest.approx(880, abs=2)
    assert np.abs(stretched(as_tape, tone(4, 6000), 2.0))[:, 100:-100].max() < 0.02  # 12 kHz does not fit into 16 kHz


def test_channels_of_opposite_phase_stay_so():
    both = np.concatenate([tone(3), -tone(3)])
    out = stretched(keep_pitch, both, 1.7)
    assert np.abs(out[0] + out[1]).max() < 1e-5
    assert np.abs(out[0]).max() > 0.4


def test_silence_stays_silence_and_sound_after_it_in_place():
    sound = np.concatenate([np.zeros((1, 2 * RATE), np.float32), tone(2)], 1)
    out = stretched(keep_pitch, sound, 2.0)[0]
    assert np.abs(out[: int(0.97 * RATE)]).max() == 0
    assert onsets(out, RATE)[0] == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_click_track_stays_in_sync_over_a_changing_speed(tmp_path, suffix):
    source = write_film(tmp_path / "a.mkv", frames=600, sounds=[clicks(20)], rate=RATE, size=(32, 40))
    plan = uneven_plan(source, 600)
    assert plan.speed.max() / plan.speed.min() > 2
    out = render_plan(plan, tmp_path / f"o{suffix}")
    samples, rate, start = heard(out)
    found = onsets(samples[0], rate) + start
    expected = plan.to_result(np.arange(0.5, 19.9, 0.5))
    distance = np.abs(found[:, None] - expected)
    assert distance.min(1).max() < 0.04, "nothing is heard elsewhere"
    alone = np.diff(expected, prepend=-1) > 0.2  # the others run into one another where the film is fastest
    assert (distance.min(0)[alone] < 0.04).mean() > 0.9


def test_every_stream_is_kept_with_its_language_and_starts_where_it_did(tmp_path):
    sounds = [tone(4), tone(4, 660)]
    source = write_film(tmp_path / "a.mp4", frames=150, sounds=sounds, offset=0.5)
    out = render_plan(uneven_plan(source, 150), tmp_path / "o.mp4")
    plan = uneven_plan(source, 150)
    import av

    with av.open(str(out)) as container:
        assert [stream.metadata["language"] for stream in container.streams.audio] == ["deu", "fra"]
    for number, pitch in enumerate((440, 660)):
        samples, rate, start = heard(out, number)
        assert onsets(samples[0], rate)[0] + start == pytest.approx(plan.to_result(np.array([0.5]))[0], abs=0.04)
        assert pitch_of(samples[0, rate : 2 * rate], rate)[0] == pytest.approx(pitch, abs=3)
        assert samples.shape[1] / rate == pytest.approx(plan.length, abs=0.1)


@pytest.mark.parametrize(
    ("layout", "channels", "kept"),
    [("mono", 1, "mono"), ("stereo", 2, "stereo"), ("quad", 4, "stereo"), ("5.1", 6, "5.1"), ("7.1", 8, "7.1")],
)
def test_channels_are_kept(tmp_path, layout, channels, kept):
    import av

    sound = np.concatenate([tone(1.3, 300 + 100 * channel, 48000) for channel in range(channels)])
    codec = "pcm_s16le" if channels in (4, 8) else "aac"
    source = write_film(tmp_path / "a.mov", frames=40, sounds=[sound], rate=48000, layout=layout, codec=codec)
    out = render_plan(make_plan(source, curve_of(np.arange(40) / 30), speed=1), tmp_path / "o.mp4")
    with av.open(str(out)) as container:
        assert container.streams.audio[0].layout.name == kept
        assert container.streams.audio[0].rate == 48000
    track = AudioReader(str(out), 0, 0.0, 48000, kept)
    samples = track.read(9600, 48000)
    track.close()
    found = [pitch_of(channel, 48000)[0] for channel in samples]
    if kept == layout:
        wanted = [300 + 100 * channel for channel in range(channels)]
        heard_well = [channel for channel in range(channels) if channel != 3]  # the LFE has no high tones
        assert [found[channel] for channel in heard_well] == pytest.approx(
            [wanted[channel] for channel in heard_well], abs=3
        )


@pytest.mark.parametrize(
    ("rate", "codec", "taken"),
    [
        (22254, "aac", 22050),
        (37800, "aac", 32000),
        (11127, "aac", 11025),
        (4000, "aac", 7350),
        (192000, "aac", 96000),
        (44100, "aac", 44100),
        (44100, "libopus", 48000),
    ],
)
def test_the_nearest_rate_of_the_encoder(rate, codec, taken):
    assert encoder_rate(rate, codec) == taken


@pytest.mark.parametrize(
    ("positions", "codec", "layout"),
    [
        ("FC", "aac", "mono"),
        ("FL", "aac", "mono"),
        ("DL DR", "aac", "stereo"),
        ("FL FR FC LFE SL SR", "aac", "5.1"),
        ("FL FR FC LFE SL SR BL BR", "aac", "7.1"),
        ("FL FR LFE", "aac", "stereo"),
        ("FL FR BL BR", "aac", "stereo"),
        ("FL FR BL BR", "libopus", "quad"),
        ("FL FR SL SR", "libopus", "quad"),
        ("FL FR FC LFE BC SL SR", "libopus", "6.1"),
        ("NONE NONE NONE NONE NONE NONE NONE NONE NONE", "aac", "stereo"),
    ],
)
def test_the_largest_layout_whose_channels_are_there(positions, codec, layout):
    assert encoder_layout(tuple(positions.split()), codec) == layout


@pytest.mark.parametrize("rate", [22254, 37800])
def test_rates_that_the_encoder_lacks(tmp_path, rate):
    sound = clicks(2, rate=rate)
    source = write_film(tmp_path / "a.mov", frames=60, sounds=[sound], rate=rate, codec="pcm_s16le")
    out = render_plan(make_plan(source, curve_of(np.arange(60) / 30), speed=1), tmp_path / "o.mp4")
    samples, taken, start = heard(out)
    assert taken == encoder_rate(rate, "aac")
    assert onsets(samples[0], taken) + start == pytest.approx([0.5, 1.0, 1.5], abs=0.03)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_channels_in_a_custom_order(tmp_path, suffix):
    source = write_custom_order(tmp_path / "a.mov")
    assert set(sound_streams(str(source))[0].positions) == {"FC", "FLC", "FRC", "FL", "FR", "SL", "SR", "LFE"}
    out = render_plan(make_plan(source, curve_of(np.arange(60) / 30), speed=1), tmp_path / f"o{suffix}")
    samples, rate, start = heard(out)
    sound = samples[0] if samples.shape[0] > 1 else samples[0, ::6]
    assert onsets(sound, rate) + start == pytest.approx([0.5, 1.0, 1.5], abs=0.03)


@pytest.mark.parametrize(
    ("first", "then"), [((44100, "mono"), (44100, "stereo")), ((48000, "stereo"), (44100, "mono"))]
)
def test_layout_and_rate_that_change_on_the_way(tmp_path, first, then):
    import av

    parts = []
    for (rate, layout), pitch in zip((first, then), (440, 880), strict=True):
        channels = av.AudioLayout(layout).nb_channels
        sound = tone(2, pitch, rate, channels)
        parts.append(tmp_path / f"{pitch}.mkv")
        write_film(parts[-1], frames=2, sounds=[sound], rate=rate, layout=layout, codec="mp2")
    film = write_film(tmp_path / "film.mkv", frames=120)
    source = write_joined(tmp_path / "a.mkv", parts, "audio", film)
    out = render_plan(make_plan(source, curve_of(np.arange(120) / 30), speed=1), tmp_path / "o.mp4")
    samples, rate, _ = heard(out)
    assert (rate, len(samples)) == (first[0], 1 if first[1] == "mono" else 2)
    for second, pitch in ((0.5, 440), (2.6, 880)):
        piece = samples[0, round(second * rate) : round((second + 1) * rate)]
        assert pitch_of(piece, rate)[0] == pytest.approx(pitch, abs=3)


def test_a_stream_that_does_not_decode_is_left_out_and_told_of(tmp_path, caplog):
    import av

    source = write_film(tmp_path / "a.mkv", frames=30, sounds=[tone(1), tone(1)])
    with av.open(str(source)) as whole, av.open(str(tmp_path / "b.mkv"), "w") as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in whole.streams}
        for packet in whole.demux():
            if packet.dts is not None:
                stamps = (packet.pts, packet.dts, packet.duration, packet.time_base)
                spoiled = av.Packet(b"\x15" * 40) if packet.stream_index == 1 else packet
                spoiled.pts, spoiled.dts, spoiled.duration, spoiled.time_base = stamps
                spoiled.stream = streams[packet.stream_index]
                out.mux(spoiled)
    result = render_plan(uneven_plan(tmp_path / "b.mkv", 30), tmp_path / "o.mp4")
    with av.open(str(result)) as container:
        assert len(container.streams.audio) == 1
    assert "sound stream 1 is left out" in caplog.text


def test_where_decoding_ends_silence_stands_in_with_one_warning(tmp_path, caplog):
    source = write_film(tmp_path / "a.mp4", frames=30, sounds=[tone(1)])
    track = GuardedAudio(str(source), 0, 0.0, RATE, "mono")
    assert np.abs(track.read(0, RATE)).max() > 0.4
    source.write_bytes(b"")
    track.close()
    gone = GuardedAudio(str(source), 0, 0.0, RATE, "mono")
    assert np.abs(gone.read(-RATE, RATE)).max() == 0
    assert gone.read(5 * RATE, 9 * RATE).shape == (1, 4 * RATE)
    gone.close()
    assert caplog.text.count("silence stands in") == 1


@pytest.mark.parametrize("seconds", [0.7, 4.0])
def test_sound_lasts_as_long_as_the_picture(tmp_path, seconds):
    source = write_film(tmp_path / "a.mp4", frames=60, sounds=[tone(seconds)])
    out = render_plan(uneven_plan(source, 60), tmp_path / "o.mp4")
    samples, rate, _ = heard(out)
    assert samples.shape[1] / rate == pytest.approx(1.0, abs=0.1)
    assert (np.abs(samples[0, int(0.8 * rate) : int(0.95 * rate)]).max() > 0.1) == (seconds > 1)


def test_sound_with_holes_in_its_time_stamps_keeps_its_places(tmp_path):
    import av

    source = write_film(tmp_path / "a.mkv", frames=120, sounds=[clicks(4)])
    with av.open(str(source)) as whole, av.open(str(tmp_path / "b.mkv"), "w") as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in whole.streams}
        for packet in whole.demux():
            torn = (
                packet.stream.type == "audio" and packet.dts is not None and 1.6 < packet.pts * packet.time_base < 2.4
            )
            if packet.dts is not None and not torn:
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    track = AudioReader(str(tmp_path / "b.mkv"), 0, 0.0, RATE, "mono")
    found = onsets(
        np.concatenate([track.read(start, start + RATE // 2) for start in range(0, 4 * RATE, RATE // 2)], 1)[0], RATE
    )
    track.close()
    assert found == pytest.approx([0.5, 1.0, 1.5, 2.5, 3.0, 3.5], abs=0.03)
