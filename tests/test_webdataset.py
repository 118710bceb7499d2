"""Tars of samples as data: named, labelled and read where they lie."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ssvid.cli import app
from ssvid.data.index import Index
from ssvid.data.index_files import check_files, move_index
from ssvid.data.layouts import place_of, read_layout
from ssvid.data.scanning import scan_videos
from ssvid.errors import DataError, VideoError
from ssvid.video.reader import Video
from ssvid.video.writer import write_video
from tests.served import served
from tests.videos import numbers, read_numbers


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SSVID_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "remote"


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[bytes]:
    """Videos of 10, 11, 12 and 13 frames."""
    folder = tmp_path_factory.mktemp("clips")
    for count in range(10, 14):
        write_video(folder / f"{count}.mp4", numbers(count))
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def pack(path: Path, members: dict[str, bytes], mode: str = "w") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))


@pytest.fixture
def shards(clips, tmp_path) -> Path:
    folder = tmp_path / "shards"
    pack(folder / "train-000.tar", {"a.cls": b"run", "a.mp4": clips[0], "b.mp4": clips[1], "b.cls": b"jump\n"})
    pack(folder / "train-001.tar", {"deep/c.mp4": clips[2], "deep/c.json": b'{"label": 3}', "x.jpg": b"picture"})
    pack(folder / "val-000.tar", {"d.txt": b"run", "d.mp4": clips[3]})
    return folder


def scanned(source: object, path: Path) -> Index:
    index = Index(path, create=True)
    scan_videos([str(source)], index, engine="local:1")
    return index


EXPECTED = [
    ("train-000.tar/a.mp4", "run", "train", 10),
    ("train-000.tar/b.mp4", "jump", "train", 11),
    ("train-001.tar/deep/c.mp4", "3", "train", 12),
    ("val-000.tar/d.mp4", "run", "val", 13),
]


def rows(index: Index, start: object) -> list[tuple[str, str | None, str | None, int]]:
    found = [(video.path, video.label, video.split, video.info.frames) for video in index.videos()]
    return [(path.removeprefix(f"{start}/"), *rest) for path, *rest in found]


def test_videos_are_read_in_their_tars(shards, tmp_path, cache):
    index = scanned(f"webdataset:{shards}", tmp_path / "i.sqlite")
    assert rows(index, shards.resolve()) == EXPECTED
    CliRunner().invoke(app, ["cache", "clear", "remote"])
    video = index.videos()[3]
    assert read_numbers(Video(video.path, video.info).frames([1, 12])) == [1, 12]
    assert not list(cache.glob("*.mp4"))  # it was read in its place


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_tars_behind_an_address(shards, tmp_path, scheme, cache):
    """By ranges of bytes where the server knows them; one that does not, as this of http, is asked for the whole tar, once."""
    with served(shards) as server:
        base = server.url if scheme == "http" else f"file://{shards}"
        index = scanned(f"webdataset:{base}", tmp_path / "i.sqlite")
        assert rows(index, base) == EXPECTED
        wholes = [path for path in cache.iterdir() if path.suffix == ".tar"]
        assert len(wholes) == (3 if scheme == "http" else 0)


def test_patterns_name_tars(shards, monkeypatch):
    def names(source: str) -> list[str]:
        return [Path(entry.path).name for entry in read_layout(source).entries]

    assert names(f"webdataset:{shards}/train-{{000..001}}.tar") == ["a.mp4", "b.mp4", "c.mp4"]
    assert names(f"webdataset:{shards}/train-*.tar") == ["a.mp4", "b.mp4", "c.mp4"]
    assert names(f"webdataset:file://{shards}/*-000.tar") == ["a.mp4", "b.mp4", "d.mp4"]
    assert names(f"webdataset:{shards}/val-000.tar") == ["d.mp4"]
    assert place_of("webdataset:s3://bucket/a.tar") == ("webdataset:s3://bucket/a.tar", "")
    with pytest.raises(DataError, match=r"train-{000..002}.tar|train-002.tar does not exist"):
        names(f"webdataset:{shards}/train-{{000..002}}.tar")


def test_a_class_may_be_asked_of_one_member(shards):
    listing = read_layout(f"webdataset@label=cls:{shards}")
    assert [entry.label for entry in listing.entries] == ["run", "jump", None, None]
    assert listing.notes == ("2 of 4 videos have no class in .cls",)
    with pytest.raises(DataError, match="no label 'jpg'; labels are cls, json, txt"):
        read_layout(f"webdataset@label=jpg:{shards}")


def test_what_the_webdataset_package_writes(clips, tmp_path):
    writer = pytest.importorskip("webdataset").TarWriter
    with writer(str(tmp_path / "train-000000.tar")) as sink:
        for number, clip in enumerate(clips):
            sink.write(
                {"__key__": f"sample{number:03d}", "mp4": clip, "cls": number, "json": {"label": f"class {number}"}}
            )
    entries = read_layout(f"webdataset:{tmp_path}").entries
    assert [(Path(entry.path).name, entry.label) for entry in entries] == [
        (f"sample{n:03d}.mp4", f"{n}") for n in range(4)
    ]
    assert len(Video(entries[2].path)) == 12


def test_a_tar_that_was_written_anew(shards, clips, tmp_path):
    index = scanned(f"webdataset:{shards}", tmp_path / "i.sqlite")
    pack(shards / "train-000.tar", {"new.mp4": clips[3], "a.mp4": clips[0], "b.mp4": clips[3]})
    found = check_files(index)  # the same content at another place in the tar is the same video
    assert [Path(path).name for path in found.changed] == ["b.mp4"]
    assert not found.gone
    (shards / "train-001.tar").unlink()
    assert [Path(path).name for path in check_files(index).gone] == ["c.mp4"]
    scan_videos([f"webdataset:{shards}"], index, engine="local:1")
    assert sorted(video.info.frames for video in index.videos()) == [10, 13, 13, 13]


def test_an_index_moves_with_its_tars(shards, tmp_path):
    index = scanned(f"webdataset:{shards}", tmp_path / "i.sqlite")
    there = shards.rename(tmp_path / "elsewhere")
    assert move_index(index, shards, there) == 4
    assert not check_files(index)
    assert len(Video(index.videos()[0].path)) == 10


def test_what_cannot_be_read_is_told(shards, clips, tmp_path):
    pack(tmp_path / "packed" / "a.tar", {"a.mp4": clips[0]}, "w:gz")
    with pytest.raises(VideoError, match=r"a\.tar: is not a tar that can be read in place .*do not compress it"):
        read_layout(f"webdataset:{tmp_path}/packed")
    with pytest.raises(VideoError, match=r"train-000\.tar/none\.mp4: no such file in the tar"):
        Video(f"{shards}/train-000.tar/none.mp4").info  # noqa: B018
    pack(tmp_path / "json" / "a.tar", {"a.mp4": clips[0], "a.json": b"{"})
    with pytest.raises(DataError, match=r"the .json beside .*a.mp4 is not JSON"):
        read_layout(f"webdataset:{tmp_path}/json")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds no tar"):
        read_layout(f"webdataset:{tmp_path}/none")
    cut = tmp_path / "cut" / "a.tar"
    cut.parent.mkdir()
    cut.write_bytes((shards / "train-000.tar").read_bytes()[: 512 * 4])
    with pytest.raises(DataError, match=r"a\.tar"):
        Video(read_layout(f"webdataset:{cut.parent}").entries[0].path).info  # noqa: B018


def test_a_folder_that_is_named_like_a_tar_is_a_folder(clips, tmp_path):
    (tmp_path / "old.tar").mkdir()
    (tmp_path / "old.tar" / "a.mp4").write_bytes(clips[0])
    index = scanned(tmp_path, tmp_path / "i.sqlite")
    assert [(video.label, video.info.frames) for video in index.videos()] == [("old.tar", 10)]


def test_the_command_takes_them(shards, tmp_path):
    result = CliRunner().invoke(
        app, ["index", f"webdataset:{shards}", "-o", str(tmp_path / "i.sqlite"), "--engine", "local:1", "--json"]
    )
    assert result.exit_code == 0
    assert json.loads(result.stdout)["usable"] == 4
    assert np.array_equal(sorted(row[3] for row in rows(Index(tmp_path / "i.sqlite"), "")), [10, 11, 12, 13])
