"""What a shell is offered while a command is typed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

MAIN = "import sys; sys.argv = ['ssvid']; from ssvid.cli import main; main(); sys.exit('torch' in sys.modules)"


def offered(words: str, folder) -> list[str]:
    """What bash is told to offer after these words, the last of them begun."""
    environment = os.environ | {
        "_SSVID_COMPLETE": "complete_bash",
        "COMP_WORDS": f"ssvid {words}",
        "COMP_CWORD": str(len(words.split(" "))),
    }
    done = subprocess.run(
        [sys.executable, "-c", MAIN], env=environment, capture_output=True, text=True, check=True, cwd=folder
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("pretrain arr", ["arrow_of_time"]),
        ("pretrain dpc --backbone r2plus1d_18_", ["r2plus1d_18_paper", "r2plus1d_18_tiny"]),
        ("transfer --protocol finetune_s", ["finetune_severe", "finetune_slowfast"]),
        ("show r3d_18_small@", ["r3d_18_small@pace"]),
        ("show resnet18+ls", ["resnet18+lstm"]),
        ("transfer runs/sp", ["runs/speednet-s0/", "runs/speednet-s1/"]),
    ],
)
def test_names_and_runs_are_completed(words, wanted, tmp_path):
    for name in ("speednet-s0", "speednet-s1", "pace-s0", ".cache"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    assert offered(words, tmp_path) == wanted
