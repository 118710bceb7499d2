"""Versions, commit and hardware, as noted with every result."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ssvid import __version__

PACKAGES = ("torch", "torchvision", "lightly", "decord2", "av", "numpy")


def environment() -> dict[str, Any]:
    """Versions of the packages that decide numbers, the commit of this source, device, cores and threads."""
    import torch  # a second that only this call should cost

    return {
        "ssvid": package_version("ssvid"),
        "python": platform.python_version(),
        "packages": {name: package_version(name) for name in PACKAGES},
        "commit": _commit(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def package_version(name: str) -> str:
    """Installed version of a package, '?' when it is not installed; of ssvid itself, that of the code which runs."""
    if name == "ssvid":
        return __version__
    try:
        return version(name)
    except PackageNotFoundError:
        return "?"


def _commit() -> str:
    """Commit of the source this runs from, with + when it was changed since; '' outside of a checkout."""
    here = Path(__file__).parent
    git = ["git", "-C", str(here)]
    try:
        commit = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit + ("+" if changed.stdout.strip() else "")
