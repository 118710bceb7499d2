"""What an installation can suffer from: facts about it, and what each of them means for a user.

The facts are gathered in one place and judged in another, so that the judgement can be tested without a broken machine.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement

from ssvid.environment import package_version
from ssvid.errors import DataError
from ssvid.files import cache_folder

PACKAGES = ("torch", "torchvision", "pytorchvideo", "lightly", "decord2", "av", "faiss-cpu", "scikit-learn")
SHARED_MEMORY = 512 * 2**20  # bytes: a few batches of a few workers
NVIDIA = "0x10de"  # vendor of a PCI device


@dataclass(frozen=True)
class Installation:
    """versions by package, "?" for one that is absent; decord is looked for besides.

    torch_wanted: what torchvision asks of torch, "" where it says nothing. torchvision_fault: why it cannot be imported.
    openmp: prefixes and files of the OpenMP runtimes of this process. cache: the cache folder. cache_writable: whether files can be
    written there. shared_memory: free bytes of /dev/shm, None where there is none. cuda_build: the CUDA that torch was built for, "" for
    none. cuda: whether a device answers. nvidia: whether the machine has one. index_fault: what is wrong with an index.
    """

    versions: dict[str, str]
    torch_wanted: str = ""
    torchvision_fault: str = ""
    openmp: dict[str, list[str]] = field(default_factory=dict)
    cache: Path = Path()
    cache_writable: bool = True
    shared_memory: int | None = None
    cuda_build: str = ""
    cuda: bool = False
    nvidia: bool = False
    index_fault: str = ""
    platform: str = sys.platform


def look(index: Path | None = None) -> Installation:
    """The facts of this installation. Imports torch, torchvision, faiss and the decoders, as a job does."""
    import torch

    fault = _torchvision_fault()
    from threadpoolctl import threadpool_info

    import ssvid.search.ann  # noqa: F401  for the OpenMP runtime of faiss

    openmp: dict[str, list[str]] = {}
    for library in threadpool_info():
        if library["user_api"] == "openmp":
            openmp.setdefault(library["prefix"], []).append(library["filepath"])
    shared = Path("/dev/shm")
    vendors = Path("/sys/bus/pci/devices").glob("*/vendor")
    return Installation(
        {name: package_version(name) for name in (*PACKAGES, "decord")},
        _torch_wanted(),
        fault,
        openmp,
        cache_folder(),
        _writable(cache_folder()),
        shutil.disk_usage(shared).free if shared.is_dir() else None,
        torch.version.cuda or "",
        torch.cuda.is_available(),
        any(vendor.read_text().strip() == NVIDIA for vendor in vendors),
        _index_fault(index),
    )


def problems(found: Installation) -> list[str]:
    """What does not work, each with its remedy."""
    told = [
        f"{name} is not installed; install ssvid again with pip" for name in PACKAGES if found.versions[name] == "?"
    ]
    if found.versions["decord"] != "?" and found.versions["decord2"] != "?":
        told.append(
            "decord and decord2 are both installed and share one import name: pip uninstall decord decord2, then install ssvid"
        )
    torch = found.versions["torch"].partition("+")[0]
    unlike = bool(found.torch_wanted) and not Requirement(found.torch_wanted).specifier.contains(
        torch, prereleases=True
    )
    if found.torchvision_fault or unlike:
        why = found.torchvision_fault or f"it wants {found.torch_wanted}"
        told.append(
            f"torchvision {found.versions['torchvision']} does not fit torch {found.versions['torch']} ({why}); install both together: "
            "pip install --force-reinstall torch torchvision"
        )
    if len(found.openmp) > 1 or (found.platform == "darwin" and sum(map(len, found.openmp.values())) > 1):
        told.append(
            f"two OpenMP runtimes are loaded ({', '.join(sorted(found.openmp))}), which crash or slow each other down; install torch, "
            "faiss and scikit-learn from one source, all by pip or all by conda"
        )
    if not found.cache_writable:
        told.append(f"no file can be written in the cache folder {found.cache}; set SSVID_CACHE to a folder of yours")
    return [*told, found.index_fault] if found.index_fault else told


def notes(found: Installation) -> list[str]:
    """What works and could be better."""
    told = []
    if found.shared_memory is not None and found.shared_memory < SHARED_MEMORY:
        told.append(
            f"/dev/shm has {found.shared_memory / 2**20:.0f} MiB free, so decoding processes may end with a bus error; use workers=0, or "
            "give a container more (docker run --shm-size=2g)"
        )
    if found.cuda_build and found.nvidia and not found.cuda:
        told.append(
            f"torch was built for CUDA {found.cuda_build} and finds no driver for the NVIDIA device here, so the CPU is used; install the "
            "driver, or a torch for the one that is there"
        )
    if not found.cuda_build and found.nvidia:
        told.append("there is an NVIDIA device, and torch was built without CUDA; install torch with CUDA to use it")
    return told


def _torchvision_fault() -> str:
    try:
        import torch
        from torchvision.ops import nms

        nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except (ImportError, RuntimeError, AttributeError) as error:
        return str(error).partition("\n")[0]
    return ""


def _torch_wanted() -> str:
    try:
        wanted = [Requirement(text) for text in requires("torchvision") or ()]
    except PackageNotFoundError:
        return ""
    return next((str(one) for one in wanted if one.name == "torch"), "")


def _writable(folder: Path) -> bool:
    """Whether a file can be written in a folder, or in the nearest one above that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _index_fault(path: Path | None) -> str:
    if path is None:
        return ""
    from ssvid.data.index import Index
    from ssvid.video.location import is_file_path

    try:
        named = [video.path for video in Index(path).videos() if is_file_path(video.path)]
    except DataError as error:
        return str(error)
    gone = sum(not os.path.exists(name) for name in named)
    return f"{path}: {gone} of {len(named)} videos are not there; see: ssvid check-index {path}" if gone else ""
