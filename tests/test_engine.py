"""Engines: the same tasks with the same results in processes and on Ray, where workers and machines may be lost."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssvid.data.index import Index
from ssvid.data.scanning import scan_videos
from ssvid.engine import check_engine, executor, local_processes
from ssvid.errors import ConfigError, SsvidError, VideoError
from ssvid.evaluation.tables.request import TableRequest
from ssvid.evaluation.tables.transfer import transfer
from ssvid.video.writer import write_video
from tests.engine_tasks import always_killed, broken, killed, product, waits_for

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: ssvid[ray]")


def until(found: Callable[[], Any], seconds: float = 180) -> Any:
    """What is found, as soon as it is."""
    end = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return result


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def moving(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (6, 32, 32, 3), np.uint8)


def rows(index: Index) -> list[tuple]:
    usable = [(v.path, v.info.identity, v.info.frames, v.shots.motion.tolist()) for v in index.videos()]
    return [*usable, *((bad.path, bad.reason) for bad in index.bad())]


def started(tries: int = 3):
    """Ray's machines give up where their agents do not start within some seconds, as on a busy machine: then it begins anew."""
    from ray.cluster_utils import Cluster

    made = Cluster()
    try:
        made.add_node(num_cpus=1, include_dashboard=False)
        made.second = made.add_node(num_cpus=1)
    except Exception:  # Ray raises this kind itself
        made.shutdown()
        if tries == 1:
            raise
        return started(tries - 1)
    return made


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster of two machines with one core each, both this one."""
    made = started()
    os.environ["RAY_ADDRESS"] = made.address
    yield made
    del os.environ["RAY_ADDRESS"]
    made.shutdown()


def check_tasks(engine: str, folder: Path, monkeypatch) -> None:
    with executor(engine) as pool:
        monkeypatch.chdir(folder)  # and not before: workers look for modules where the engine was opened
        assert list(pool.map(product, range(3), [5] * 3)) == [(5 * n, "1", str(folder)) for n in range(3)]
        with pytest.raises(VideoError, match=r"a.mp4.*is broken") as caught:
            pool.submit(broken, "a.mp4").result()
        assert caught.value.reason == "is broken"


def test_tasks_of_processes_have_one_thread_and_the_folder_of_the_command(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    check_tasks("local:2", tmp_path, monkeypatch)
    assert "OMP_NUM_THREADS" not in os.environ


@needs_ray
def test_tasks_of_ray_have_one_thread_and_the_folder_of_the_command(tmp_path, monkeypatch, cluster):
    check_tasks("ray", tmp_path, monkeypatch)


@needs_ray
def test_a_killed_worker_costs_its_task_and_no_more(tmp_path, cluster):
    with executor("ray") as pool:
        others = [pool.submit(product, n, 2) for n in range(4)]
        assert pool.submit(killed, tmp_path).result() == 1
        assert [one.result()[0] for one in others] == [0, 2, 4, 6]


@needs_ray
def test_an_index_is_the_same_on_every_engine(tmp_path, cluster):
    clips = tmp_path / "v"
    clips.mkdir()
    for number in range(3):
        write_video(clips / f"{number}.mp4", moving(number), 10)
    (clips / "bad.mp4").write_bytes(b"no video")
    here, there = (Index(tmp_path / f"{name}.sqlite", create=True) for name in ("here", "there"))
    assert scan_videos([clips], here, engine="local:1") == scan_videos([clips], there, engine="ray")
    assert rows(there) == rows(here)


@needs_ray
def test_a_table_is_the_same_on_every_engine(tmp_path, world_index, cluster):
    request = TableRequest(
        ["baseline_histogram", "baseline_difference"],
        [str(world_index.path)],
        ["knn"],
        view={"clips": 1, "frames": 4, "stride": 2, "size": 24},
        seeds=1,
        workers=0,
        device="cpu",
        out=tmp_path / "here",
    )
    here = transfer(request).table
    there = transfer(replace(request, engine="ray", out=tmp_path / "there")).table
    assert [row.scores for row in there.rows] == [row.scores for row in here.rows]


@needs_ray
def test_a_lost_machine_costs_its_tasks_and_no_more(tmp_path, cluster):
    go = tmp_path / "go"
    with executor("ray") as pool:
        tasks = [pool.submit(waits_for, go) for _ in range(4)]
        lost = until(lambda: list(tmp_path.glob(f"{cluster.second.node_id}-*")))[0]
        until(lambda: list(tmp_path.glob(f"{cluster.head_node.node_id}-*")))  # one has begun on each machine
        cluster.remove_node(cluster.second)
        until(lambda: not alive(int(lost.name.rpartition("-")[2])))  # or it would still see the file
        go.touch()
        assert {task.result(timeout=120) for task in tasks} == {cluster.head_node.node_id}


def test_a_task_that_always_kills_its_process_is_told():
    with executor("local:1") as pool, pytest.raises(BrokenExecutor):
        pool.submit(always_killed).result()


def test_who_does_not_look_after_lost_processes_hears_what_to_do():
    with pytest.raises(SsvidError, match=r"ended from outside.*--engine local:1"), executor("local:1") as pool:
        pool.submit(always_killed).result()


def test_names_of_engines():
    assert local_processes("local:3") == 3
    assert local_processes("local") == os.cpu_count()
    for wrong in ("local:0", "local:", "ray:", "ray://", "ray://host", "dask", ""):
        with pytest.raises(ConfigError, match="use local:N, ray"):
            check_engine(wrong)
