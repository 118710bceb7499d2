"""ssvid bench scale: the same work is compared by what comes out, not only by its seconds."""

from __future__ import annotations

from ssvid.bench import scale


def test_engines_are_compared_by_their_results(tmp_path, monkeypatch):
    monkeypatch.setenv("SSVID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(scale, "FRAMES", 20)
    monkeypatch.setattr(scale, "VIDEOS", 8)
    monkeypatch.setattr(scale, "VIEW", scale.View(clips=1, frames=4, stride=2, size=32))
    source = scale.make_videos(tmp_path / "v", 8)
    known = [tmp_path / "cache" / kind / "known" for kind in ("cells", "features")]
    for file in known:
        file.parent.mkdir(parents=True)
        file.touch()
    rows = scale.compare(tmp_path, source, {"one": "local:1", "another": "local:1"}, 8)
    assert [row["what"].rpartition(" of 8")[0] for row in rows] == list(scale.WORK)
    assert all(row["same"] for row in rows)
    assert not any(file.exists() for file in known)  # else the engines after the first had nothing to do
    monkeypatch.setitem(scale.WORK, "an index", lambda place, source, engine: place.name)
    row = scale.compare(tmp_path / "again", source, {"one": "local:1", "another": "local:1"}, 8)[0]
    assert (row["same"], row["met"]) == (False, False)
