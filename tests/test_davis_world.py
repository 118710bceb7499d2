"""The motion world in the layout of DAVIS: its masks are numbered as DAVIS does, its points lie in them, and both worlds are one."""

from __future__ import annotations

import numpy as np
import pytest

from ssvid.data.davis_world import make_davis_world
from ssvid.data.layouts import read_sequences
from ssvid.data.motions import CLASSES
from ssvid.data.synthetic import make_world
from ssvid.errors import ConfigError, DataError

SMALL = {"frames": 5, "size": 64, "seed": 3}


def test_sequences_are_read_with_masks_and_centres(tmp_path):
    make_davis_world(tmp_path, sequences=15, **SMALL)
    listing = read_sequences(f"world:{tmp_path}")
    assert listing.title == "motion world val"
    assert [s.name for s in listing.sequences] == [f"{c}_0000" for c in CLASSES] + [f"{c}_0001" for c in CLASSES[:2]]
    inside = 0
    for sequence in listing.sequences:
        ids = np.stack([sequence.mask(t) for t in range(5)])
        count = int(ids[0].max())
        assert sequence.points.shape == (5, count, 2)
        for t, n in np.ndindex(5, count):
            seen = (ids[t] == n + 1).any()
            assert seen != np.isnan(sequence.points[t, n]).any()
            x, y = np.nan_to_num(sequence.points[t, n], nan=-1).round().astype(int)
            inside += bool(0 <= x < 64 and 0 <= y < 64 and ids[t, y, x] == n + 1)
    assert inside >= 0.8 * sum(s.points[..., 0].size for s in listing.sequences)  # others may lie in front of a centre
    assert [s.name for s in read_sequences(f"davis:{tmp_path / 'davis'}").sequences] == [
        s.name for s in listing.sequences
    ]


def test_it_is_the_world_of_make_world_and_goes_on_where_it_stopped(tmp_path):
    make_world(tmp_path / "videos", per_class=1, davis=True, test_share=0, engine="local:1", **SMALL)
    told = []
    short = make_davis_world(tmp_path / "short", sequences=2, **SMALL)
    lost = short / "Points" / "480p" / f"{CLASSES[0]}_0000" / "points.json"
    whole = {path: path.read_bytes() for path in short.rglob("*.*")}
    lost.unlink()
    kept = {path: path.stat().st_mtime_ns for path in short.rglob(f"{CLASSES[1]}_0000/*")}
    make_davis_world(tmp_path / "short", sequences=3, progress=lambda *now: told.append(now), **SMALL)
    assert told == [("rendering", n, 3) for n in (1, 2, 3)]
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    for path, content in whole.items():
        if path.name != "val.txt":
            assert path.read_bytes() == content
            assert (tmp_path / "videos" / "davis" / path.relative_to(short)).read_bytes() == content
    assert len(read_sequences(f"world@train:{tmp_path / 'videos'}").sequences) == len(CLASSES)
    assert len(read_sequences(f"world:{tmp_path / 'short'}").sequences) == 3


def test_other_options_and_foreign_folders_are_refused(tmp_path):
    make_davis_world(tmp_path / "a", sequences=1, **SMALL)
    with pytest.raises(ConfigError, match="another folder"):
        make_davis_world(tmp_path / "a", sequences=1, **SMALL | {"size": 48})
    with pytest.raises(ConfigError, match="not empty"):
        make_davis_world(tmp_path, sequences=1, **SMALL)
    with pytest.raises(ConfigError, match="another folder"):
        make_world(tmp_path / "a", per_class=1, engine="local:1", **SMALL)
    with pytest.raises(ConfigError, match="sequences >= 1"):
        make_davis_world(tmp_path / "b", sequences=0)
    with pytest.raises(DataError, match="make-world"):
        read_sequences(f"world:{tmp_path}")
    next((tmp_path / "a").rglob("points.json")).unlink()
    with pytest.raises(DataError, match=r"points\.json is missing; make the world again"):
        read_sequences(f"world:{tmp_path / 'a'}")
