"""A collection handed to Parquet, Lance and Qdrant: the same rows, which find the same there."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssvid.errors import ConfigError
from ssvid.search import export as exporting
from ssvid.search.building import build, remove
from ssvid.search.collection import Collection
from ssvid.search.export import export
from tests.footage import encoder, make_footage
from tests.test_cli import called


@pytest.fixture(scope="module")
def collection(tmp_path_factory) -> Collection:
    """One with a removed video, whose rows must not come along."""
    folder = tmp_path_factory.mktemp("export")
    footage = make_footage(folder)
    made = build(folder / "c", [footage], encoder("clip"))
    return remove(made, [folder / "0.mp4"])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(exporting, "AT_ONCE", 5)


def asked(collection: Collection) -> tuple[np.ndarray, list[tuple]]:
    """A query, and the exact search's whole order over segments, best first, as (path, start)."""
    vector = collection.vector(collection.index.videos()[2])
    rows = collection.rows.places(np.arange(len(collection.vectors)))
    order = sorted(rows, key=lambda place: -float(collection.vectors.array()[place] @ vector))
    return vector, [(rows[place].path, rows[place].start) for place in order]


def test_parquet(collection, tmp_path, monkeypatch, capsys):
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "deep" / "c.parquet"
    code, told, _ = called(
        monkeypatch, capsys, "retrieve", "export", str(collection.folder), "--to", "parquet", "-o", str(out)
    )
    assert code == 0
    assert told == f"{out}: {len(collection)} rows\n"
    table = parquet.read_table(out)
    assert table.column_names == ["path", "label", "group", "start", "end", "vector"]
    rows = table.to_pylist()
    assert len(rows) == len(collection) > 10
    assert {Path(row["path"]).name for row in rows} == {f"{number}.mp4" for number in range(1, 8)}
    assert rows[0]["label"] == "a"
    vector, best = asked(collection)
    vectors = np.array([row["vector"] for row in rows], np.float32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert [
        (rows[place]["path"], rows[place]["start"]) for place in np.argsort(-vectors @ vector, kind="stable")
    ] == best


LANCE = """
import json, sys
import lance
from ssvid.search import export as exporting
from ssvid.search.collection import Collection
folder, out, query = sys.argv[1], sys.argv[2], json.load(sys.stdin)
exporting.AT_ONCE = 5
counts = [exporting.export(Collection(folder), "lance", out) for _ in range(2)]  # the second takes the place of the first
data = lance.dataset(out)
found = data.to_table(nearest={"column": "vector", "q": query, "k": 4, "metric": "cosine"}).to_pylist()
print(json.dumps([counts, data.count_rows(), [[row["path"], row["start"]] for row in found]]))
"""


def with_lance(*arguments: str, given: str = "") -> subprocess.CompletedProcess:
    """In a process of its own: where lance was imported once, every later fork of the process warns, as Ray's beginning does."""
    return subprocess.run([sys.executable, *arguments], input=given, capture_output=True, text=True)


@pytest.mark.skipif(importlib.util.find_spec("lance") is None, reason="lance is not installed")
def test_lance(collection, tmp_path):
    out = tmp_path / "c.lance"
    vector, best = asked(collection)
    done = with_lance("-c", LANCE, str(collection.folder), str(out), given=json.dumps(vector.tolist()))
    assert done.returncode == 0, done.stderr
    counts, count, found = json.loads(done.stdout)
    assert counts == [len(collection)] * 2
    assert count == len(collection)
    assert [tuple(row) for row in found] == best[:4]
    assert [path.name for path in tmp_path.iterdir()] == ["c.lance"]
    (tmp_path / "mine").mkdir()
    arguments = ["retrieve", "export", str(collection.folder), "--to", "lance", "-o", str(tmp_path / "mine")]
    refused = with_lance("-m", "ssvid", *arguments)
    assert refused.returncode == 3
    assert "no Lance data set" in refused.stderr


def test_qdrant(collection, tmp_path):
    qdrant = pytest.importorskip("qdrant_client")
    for _ in range(2):
        assert export(collection, "qdrant", str(tmp_path / "q"), name="clips") == len(collection)
    client = qdrant.QdrantClient(path=str(tmp_path / "q"))
    assert client.count("clips").count == len(collection)
    vector, best = asked(collection)
    found = client.query_points("clips", vector.tolist(), limit=4).points
    assert [(point.payload["path"], point.payload["start"]) for point in found] == best[:4]
    client.close()


def test_what_cannot_be_is_told(collection, tmp_path):
    with pytest.raises(ConfigError, match="there are: parquet, lance, qdrant"):
        export(collection, "csv", "x")
    with pytest.raises(ConfigError, match="goes with --to qdrant"):
        export(collection, "parquet", str(tmp_path / "x"), name="n")
