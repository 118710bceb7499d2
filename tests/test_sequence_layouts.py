"""Data sets for label propagation: what lies in the official trees is read, what is lost or wrong is said with the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from ssvid.data.layouts import SEQUENCE_LAYOUTS, read_layout, read_sequences
from ssvid.data.layouts.jhmdb import JOINTS
from ssvid.data.layouts.vip import PARTS
from ssvid.data.masks import write_mask
from ssvid.errors import ConfigError, DataError
from tests.videos import numbers, read_numbers, write_video

WIDTH, HEIGHT = 11, 8


def picture(path: Path, number: int, width: int = WIDTH) -> None:
    """A frame of one grey level."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, HEIGHT), (number, number, number)).save(path)


def mask_of(*ids: int, width: int = WIDTH) -> np.ndarray:
    """A mask in which each id has a column."""
    mask = np.zeros((HEIGHT, width), np.uint8)
    mask[:, : len(ids)] = ids
    return mask


def davis_tree(folder: Path, *names: str, frames: int = 4, ids: Sequence[int] = (1, 2)) -> Path:
    for k, name in enumerate(names):
        for t in range(frames):
            picture(folder / "JPEGImages" / "480p" / name / f"{t:05d}.jpg", 10 * k + t, WIDTH + k)
            write_mask(folder / "Annotations" / "480p" / name / f"{t:05d}.png", mask_of(*ids, width=WIDTH + k))
    return folder


def write_list(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}\r\n" for line in lines).encode())
    return path


def names(source: object) -> list[str]:
    return [sequence.name for sequence in read_sequences(str(source)).sequences]


def test_davis_2017(tmp_path):
    davis_tree(tmp_path, "bear", "camel", "dog")
    write_list(tmp_path / "ImageSets" / "2017" / "val.txt", "dog", "bear")
    write_list(tmp_path / "ImageSets" / "2017" / "train.txt", "camel")
    listing = read_sequences(f"davis:{tmp_path}")
    assert listing.title == "DAVIS 2017 val"
    assert listing.notes == ("val.txt names 2 sequences, officially 30",)
    dog, bear = listing.sequences  # in the order of the list
    assert (dog.name, dog.kind, len(dog.frames), list(dog.masks)) == ("dog", "masks", 4, [0, 1, 2, 3])
    pictures = dog.pictures([3, 1])
    assert pictures.shape == (2, HEIGHT, WIDTH + 2, 3)  # sequences differ in width
    assert abs(pictures[:, 0, 0, 0].astype(int) - [23, 21]).max() <= 1
    assert (dog.mask(2) == mask_of(1, 2, width=WIDTH + 2)).all()
    assert bear.mask(0).shape == (HEIGHT, WIDTH)
    assert names(f"davis@split=train:{tmp_path}") == ["camel"]
    with pytest.raises(DataError, match=r"2017/test-dev\.txt is missing; there are ImageSets/2017/train\.txt"):
        read_sequences(f"davis@split=test-dev:{tmp_path}")


def test_davis_2016_is_one_object(tmp_path):
    davis_tree(tmp_path, "bear", "camel", ids=(1, 3, 255))
    lines = [f"/JPEGImages/480p/camel/{t:05d}.jpg /Annotations/480p/camel/{t:05d}.png" for t in range(4)]
    write_list(tmp_path / "ImageSets" / "480p" / "val.txt", *lines)
    (camel,) = read_sequences(f"davis@2016:{tmp_path}").sequences
    assert camel.name == "camel"
    assert camel.mask(0)[0, :4].tolist() == [1, 1, 255, 0]
    write_list(tmp_path / "ImageSets" / "2016" / "val.txt", "bear")  # as in the release of 2017
    assert names(f"davis@2016:{tmp_path}") == ["bear"]
    with pytest.raises(ConfigError, match="2016 or 2017, not 2018"):
        read_sequences(f"davis@2018:{tmp_path}")


def test_binary_masks_and_a_tree_without_lists(tmp_path):
    davis_tree(tmp_path, "dog", "bear")
    for path in (tmp_path / "Annotations").rglob("*.png"):
        with Image.open(path) as image:
            ids = np.asarray(image)
        Image.fromarray((ids > 0).astype(np.uint8) * 255).save(path)
    listing = read_sequences(f"davis:{tmp_path}")
    assert [s.name for s in listing.sequences] == ["bear", "dog"]
    assert listing.notes == ("there are no ImageSets; all 2 sequences are taken",)
    assert np.unique(listing.sequences[0].mask(1)).tolist() == [0, 1]


def test_lists_of_others_name_paths_of_frames_and_masks(tmp_path):
    davis_tree(tmp_path / "data", "dog", "bear")
    line = "data/davis/JPEGImages/480p/{0} data/davis/Annotations/480p/{0}"
    path = write_list(tmp_path / "list.txt", line.format("dog"), "", line.format("cow"))
    listing = read_sequences(f"davis@lists={path}:{tmp_path / 'data'}")
    assert [s.name for s in listing.sequences] == ["dog"]
    assert listing.notes == ("1 of 2 sequences of list.txt are missing: cow",)
    write_list(path, line.format("cow"))
    with pytest.raises(DataError, match="not one of the 1 sequences"):
        read_sequences(f"davis@lists={path}:{tmp_path / 'data'}")
    with pytest.raises(DataError, match=r"nowhere\.txt is no file"):
        read_sequences(f"davis@lists=nowhere.txt:{tmp_path / 'data'}")


@pytest.mark.parametrize(
    "line", ["../secret", "..", "/secret", "x/JPEGImages/480p/../secret", "a/480p/dog a/480p/cow", "some/dog", "480p"]
)
def test_a_list_never_leaves_its_folder(tmp_path, line):
    davis_tree(tmp_path / "data", "dog")
    davis_tree(tmp_path / "data" / "JPEGImages", "secret")
    path = write_list(tmp_path / "list.txt", "dog", line)
    with pytest.raises(DataError, match=r"list\.txt, line 2: .* names no sequence"):
        read_sequences(f"davis@lists={path}:{tmp_path / 'data'}")


def test_what_is_wrong_in_a_davis_tree_is_named(tmp_path):
    frames, masks = (davis_tree(tmp_path, "dog") / kind / "480p" / "dog" for kind in ("JPEGImages", "Annotations"))

    def refused(message: str) -> None:
        with pytest.raises(DataError, match=message):
            read_sequences(f"davis:{tmp_path}")

    write_mask(masks / "00002.png", mask_of(1, width=WIDTH + 1))
    refused(r"dog/00002\.png is 12x8 and its frame 11x8")
    write_mask(masks / "00002.png", mask_of(1))
    write_mask(masks / "00000.png", mask_of(1, 3))
    refused(r"dog/00000\.png holds the ids 1, 3 and leaves out 2")
    write_mask(masks / "00000.png", mask_of())
    refused(r"dog/00000\.png shows no object")
    write_mask(masks / "00000.png", mask_of(1))
    (masks / "00002.png").unlink()
    refused(r"Annotations/480p/dog/00002\.png is missing")
    for name in ("00001.png", "00003.png"):
        (masks / name).unlink()
    (dog,) = read_sequences(f"davis:{tmp_path}").sequences  # as in test-dev
    assert list(dog.masks) == [0]
    with pytest.raises(DataError, match="dog: frame 1 has no mask"):
        dog.mask(1)
    write_mask(masks / "00007.png", mask_of(1))
    refused(r"dog/00007\.png has no frame: none of the 4 in .*JPEGImages/480p/dog is called 00007")
    (masks / "00007.png").unlink()
    picture(frames / "00001.png", 0)
    refused("frame 00001 twice")
    (frames / "00001.png").unlink()
    (frames / "00001.jpg").unlink()
    refused(r"JPEGImages/480p/dog/00001\.jpg is missing, a frame between others")
    picture(frames / "00001.jpg", 0)
    (frames / "00000.jpg").write_text("hello")
    refused(r"JPEGImages/480p/dog/00000\.jpg cannot be read")
    picture(frames / "00000.jpg", 0)
    (frames / "00003.jpg").write_text("hello")  # no mask is compared with it, so it is met when it is read
    (dog,) = read_sequences(f"davis:{tmp_path}").sequences
    with pytest.raises(DataError, match=r"dog/00003\.jpg cannot be read"):
        dog.pictures([0, 3])
    picture(frames / "00003.jpg", 0, WIDTH + 1)
    with pytest.raises(DataError, match=r"00003\.jpg is 12x8, .*00000\.jpg 11x8"):
        dog.pictures([0, 3])
    with pytest.raises(DataError, match=r"Annotations/720p is not there|JPEGImages/720p is not there"):
        read_sequences(f"davis@resolution=720p:{tmp_path}")


def jhmdb_tree(folder: Path, *videos: str, frames: int = 3) -> Path:
    for video in videos:
        positions = np.zeros((2, len(JOINTS), frames))
        positions[0] = 1 + np.arange(frames)
        positions[1] = 11.5
        (folder / "joint_positions" / video).mkdir(parents=True)
        savemat(folder / "joint_positions" / video / "joint_positions.mat", {"pos_img": positions})
        for t in range(frames):
            picture(folder / "Rename_Images" / video / f"{t + 1:05d}.png", t)
    return folder


def test_jhmdb(tmp_path):
    jhmdb_tree(tmp_path, "catch/#20_[a]_b", "catch/c", "run/d")
    write_list(tmp_path / "splits" / "catch_test_split1.txt", "#20_[a]_b.avi 2", "c.avi 1 ")
    write_list(tmp_path / "splits" / "run_test_split1.txt", "d.avi 2", "e.avi 2")
    listing = read_sequences(f"jhmdb:{tmp_path}")
    assert listing.title == "JHMDB split 1 test"
    assert listing.notes == (
        "splits names 3 sequences, officially 268",
        "1 of 3 sequences of splits are missing: run/e",
    )
    first = listing.sequences[0]
    assert (first.name, first.kind, len(first.frames), first.masks) == ("catch/#20_[a]_b", "joints", 3, {})
    assert first.points.shape == (3, 15, 2)
    assert first.points[:, 4].tolist() == [[0, 10.5], [1, 10.5], [2, 10.5]]  # from 0, not from 1
    assert names(f"jhmdb@1,part=train:{tmp_path}") == ["catch/c"]
    with pytest.raises(DataError, match="no split files"):
        read_sequences(f"jhmdb@2:{tmp_path}")
    with pytest.raises(ConfigError, match="splits 1, 2, 3"):
        read_sequences(f"jhmdb@4:{tmp_path}")
    write_list(tmp_path / "splits" / "run_test_split1.txt", "../d 2")
    with pytest.raises(DataError, match=r"run_test_split1\.txt, line 1"):
        read_sequences(f"jhmdb:{tmp_path}")


def test_jhmdb_without_splits_and_with_lists_of_others(tmp_path):
    jhmdb_tree(tmp_path, "run/d", "catch/c")
    assert names(f"jhmdb:{tmp_path}") == ["catch/c", "run/d"]
    line = "x/joint_positions/run/d/joint_positions.mat x/Rename_Images/run/d"
    for order in (line, " ".join(reversed(line.split())), "run/d"):
        assert names(f"jhmdb@lists={write_list(tmp_path / 'l.txt', order)}:{tmp_path}") == ["run/d"]
    for order in ("d", "run/..", "x/Rename_Images/run"):
        with pytest.raises(DataError, match="names no sequence"):
            read_sequences(f"jhmdb@lists={write_list(tmp_path / 'l.txt', order)}:{tmp_path}")


def test_frames_and_joints_of_jhmdb_fit(tmp_path):
    frames = jhmdb_tree(tmp_path, "run/d") / "Rename_Images" / "run" / "d"
    picture(frames / "00004.png", 3)
    listing = read_sequences(f"jhmdb:{tmp_path}")
    assert len(listing.sequences[0].frames) == 3
    assert "run/d: 1 of 4 frames have no joints and are left out" in listing.notes
    for name in ("00004.png", "00003.png"):
        (frames / name).unlink()
    with pytest.raises(DataError, match=r"2 frames, .* the joints of 3"):
        read_sequences(f"jhmdb:{tmp_path}")
    joints = tmp_path / "joint_positions" / "run" / "d" / "joint_positions.mat"
    for content, message in (({"pos_world": 1}, "pos_img"), ({"pos_img": np.ones((2, 13, 3))}, r"\(2, 13, 3\)")):
        savemat(joints, content)
        with pytest.raises(DataError, match=message):
            read_sequences(f"jhmdb:{tmp_path}")
    joints.write_text("hello, this is no MATLAB file at all, and long enough to be read as a header of one. " * 3)
    with pytest.raises(DataError, match=r"joint_positions\.mat holds no joint positions"):
        read_sequences(f"jhmdb:{tmp_path}")
    joints.unlink()
    with pytest.raises(DataError, match=r"joint_positions\.mat is missing"):
        read_sequences(f"jhmdb:{tmp_path}")
    with pytest.raises(DataError, match="Rename_Images is not there"):
        read_sequences(f"jhmdb:{tmp_path / 'joint_positions'}")


def test_vip(tmp_path):
    for name, shown in (("videos1", (1, 13)), ("videos2", (19, 2)), ("videos3", ())):
        for t in (1, 26, 51):  # one frame in 25
            picture(tmp_path / "Images" / name / f"{t:012d}.jpg", t)
            write_mask(tmp_path / "Annotations" / "Category_ids" / name / f"{t:012d}.png", mask_of(*shown))
    assert names(f"vip:{tmp_path}") == ["videos1", "videos2", "videos3"]
    write_list(tmp_path / "lists" / "val_videos.txt", "videos2", "videos1")
    write_list(tmp_path / "lists" / "train_videos.txt", "videos3/000000000001", "videos3/000000000026")
    listing = read_sequences(f"vip:{tmp_path}")
    assert (listing.title, listing.classes) == ("VIP val", len(PARTS))
    assert listing.classes == 20
    first = listing.sequences[0]
    assert (first.name, first.kind, len(first.frames)) == ("videos2", "parts", 3)
    assert first.mask(1)[0, :3].tolist() == [19, 2, 0]  # ids are classes: they leave numbers out
    path = write_list(tmp_path / "l.txt", "data/VIP/Images/videos3 data/VIP/Annotations/Category_ids/videos3")
    assert names(f"vip@lists={path}:{tmp_path}") == ["videos3"]  # a frame without parts is one too
    with pytest.raises(DataError, match="no list with test in its name"):
        read_sequences(f"vip@test:{tmp_path}")
    (tmp_path / "Annotations" / "Category_ids" / "videos2" / f"{26:012d}.png").unlink()
    with pytest.raises(DataError, match=r"videos2/000000000026\.png is missing"):
        read_sequences(f"vip:{tmp_path}")


def test_a_clip_of_pictures_or_a_video(tmp_path):
    pictures, video = tmp_path / "pictures", tmp_path / "film"
    for name in ("a", "b"):
        picture(pictures / "frames" / f"{name}.jpg", 0)
    write_mask(pictures / "masks" / "a.png", mask_of(1))
    (sequence,) = read_sequences(f"clip:{pictures}").sequences
    assert (sequence.name, len(sequence.frames), list(sequence.masks)) == ("pictures", 2, [0])

    write_mask(pictures / "masks" / "a.png", mask_of(2))
    with pytest.raises(DataError, match=r"a\.png holds the ids 2 and leaves out 1"):
        read_sequences(f"clip:{pictures}")

    video.mkdir()
    write_video(video / "film.mp4", numbers(5, 32, 48))
    ids = np.ones((32, 48), np.uint8)
    for t in range(5):
        write_mask(video / "masks" / f"{t:05d}.png", ids)
    (sequence,) = read_sequences(f"clip:{video}").sequences
    assert (len(sequence.frames), list(sequence.masks)) == (5, [0, 1, 2, 3, 4])
    assert read_numbers(sequence.pictures([4, 2])) == [4, 2]
    write_mask(video / "masks" / "00005.png", ids)
    with pytest.raises(DataError, match=r"00005\.png has no frame: none of the 5 in .*film\.mp4.*another video"):
        read_sequences(f"clip:{video}")
    (video / "masks" / "00005.png").unlink()
    write_mask(video / "masks" / "00003.png", ids.T)
    with pytest.raises(DataError, match=r"00003\.png is 32x48 and its frame 48x32"):
        read_sequences(f"clip:{video}")
    (video / "film.mp4").unlink()
    with pytest.raises(DataError, match="no video and no folder frames/"):
        read_sequences(f"clip:{video}")


def test_wrong_names_are_told(tmp_path):
    davis_tree(tmp_path, "dog")
    for source, message in (
        (f"davs:{tmp_path}", "Did you mean davis"),
        (str(tmp_path), "write LAYOUT:FOLDER"),
        (f"ucf101:{tmp_path}", "names no layout of sequences"),
        (f"davis@fold=2:{tmp_path}", "no option 'fold'"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_sequences(source)
    with pytest.raises(DataError, match="is not a folder"):
        read_sequences(f"davis:{tmp_path / 'nowhere'}")
    with pytest.raises(ConfigError, match="davis holds sequences for label propagation"):
        read_layout(f"davis:{tmp_path}")


def test_layouts_of_sequences_describe_themselves_in_one_line():
    for name, layout in SEQUENCE_LAYOUTS.items():
        line = (layout.__doc__ or "").partition("\n")[0]
        assert line.endswith("."), name
        assert len(line) < 140, name
