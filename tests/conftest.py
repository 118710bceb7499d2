"""Videos and indexes that many tests share, made once a session, and a cache that is nobody's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch  # noqa: F401  before any test imports decord, whose libnvblas breaks a torch that comes after it

from ssvid.data.index import Index
from ssvid.data.scanning import scan_videos
from ssvid.data.synthetic import make_world


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory):
    """Indexes and features of tests stay out of the user's cache."""
    patch = pytest.MonkeyPatch()
    patch.setenv("SSVID_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The list of a very small motion world: 4 videos a class, 40 frames of 48 px."""
    return make_world(tmp_path_factory.mktemp("world"), per_class=4, frames=40, size=48, seed=5, engine="local:1")


@pytest.fixture(scope="session")
def world_index(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Index:
    """That world, indexed."""
    index = Index(tmp_path_factory.mktemp("index") / "world.sqlite", create=True)
    scan_videos([world], index, engine="local:1")
    return index
