"""Does the planned speed follow the true one? Measured on motion-world videos with a known clock and on the authors' clip and its curve.

The numbers are Spearman's rank correlations over the frames of a video: for V by the network alone, by mean motion alone and by both, which
is the default, and for the speed planned from V. Where the world runs slow, the plan should run fast. The same is asked of videos with
distractors, in which mean motion changes for other reasons than the clock: one row a case, beside the same videos without any.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.stats import spearmanr

from ssvid.data.distractors import DISTRACTORS
from ssvid.data.synthetic import CLASSES, render_video
from ssvid.environment import environment
from ssvid.errors import DataError
from ssvid.files import read_json, write_json, write_text
from ssvid.progress import Progress
from ssvid.speedup.curve import Curve, Scanned, estimate_curve
from ssvid.speedup.models import CARD, SHIPPED, SpeedModel, load_model
from ssvid.speedup.solver import plan_pace
from ssvid.video.scan import scan
from ssvid.video.writer import write_video

ENDING = (
    "grow",
    "shrink",
    "bounce",
    "collide_scatter",
    "diffuse",
)  # come to rest, and rest has no speed; see motions.move
MOVING = tuple(name for name in CLASSES if name not in ENDING)
FRAMES, SIZE, RATE = 240, 80, 30.0  # of a world video: frames, px, frames a second
SPEED, SMOOTH = 2.0, 0.3  # of a plan; a world clock keeps its speed for 0.5 to 1.2 s
# of x264, so that one video is always the same file: threads share out rows as they come, and its macroblock tree reads memory that nobody
# wrote where the width is no multiple of 64 px
SAME_BYTES = {"threads": "1", "x264-params": "mbtree=0"}
AUTHORS_SMOOTH = 9  # frames
POOL, POOL_CURVE = "speednet_pool-orig.mp4", "pool_authors_speed_curve.csv"
BAR = 0.7
COLUMNS = tuple(f"{by} {what}" for by in ("both", "network", "motion") for what in ("V", "plan"))


def write_report(
    out: str | os.PathLike[str],
    model: str | os.PathLike[str] | None,
    videos: int,
    seed: int,
    clips: str | os.PathLike[str] | None,
    progress: Progress,
    device: str = "auto",
    distracted: int = 0,
) -> str:
    """Write OUT.md and OUT.json and return the former. clips: the folder with the authors' clip, None without it. distracted: videos a
    distractor, 0 leaves that table out.

    Raises DataError where that folder does not hold it.
    """
    task = load_model(model, device)
    rows = world_rows(task, videos, seed, progress)
    cases = case_rows(task, distracted, seed, progress) if distracted else []
    pool = None if clips is None else pool_row(task, Path(clips))
    name = "shipped" if model is None else Path(model).name
    facts = {"model": name, "seed": seed, "world": rows, "distractors": cases, "pool": pool}
    out = Path(out)
    write_json(out.with_suffix(".json"), facts | {"environment": environment()})
    text = agreement_markdown(rows, cases, pool, name, seed) + calibration_line(model)
    write_text(out.with_suffix(".md"), text)
    return text


def world_rows(task: SpeedModel, videos: int, seed: int, progress: Progress) -> list[dict[str, Any]]:
    """One row a video of the motion world with a changing speed: class, and the agreement of V and plan with the true speed, by curve."""
    rows = []
    for number in range(videos):
        progress("motion world", number, videos)
        rows.append({"video": number, "class": MOVING[number % len(MOVING)]} | video_row(task, number, seed, None))
    progress("motion world", videos, videos)
    return rows


def case_rows(task: SpeedModel, videos: int, seed: int, progress: Progress) -> list[dict[str, Any]]:
    """One row a distractor, first without any: its name, and of as many videos the mean agreement of V and plan, by curve."""
    cases = [None, *DISTRACTORS]
    rows = []
    for number, case in enumerate(cases):
        progress("distractors", number, len(cases))
        found = [video_row(task, video, seed, case) for video in range(videos)]
        means = {name: round(float(np.mean([row[name] for row in found])), 3) for name in found[0]}
        rows.append({"case": case or "none", "videos": videos} | means)
    progress("distractors", len(cases), len(cases))
    return rows


def video_row(task: SpeedModel, number: int, seed: int, distractor: str | None) -> dict[str, float]:
    """Agreement of V and plan with the true speed, by curve, for one video of the motion world whose clock changes."""
    label, rng = MOVING[number % len(MOVING)], np.random.default_rng([seed, number])
    video = render_video(label, rng, frames=FRAMES, size=SIZE, fps=RATE, varying_speed=True, distractor=distractor)
    row: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        write_video(path, video.frames, RATE, options=SAME_BYTES)
        for by, curve in three_curves(path, task, scan(path)).items():
            row[f"{by} V"] = agreement(curve.natural, 1 / video.speed)
            row[f"{by} plan"] = agreement(planned_speed(curve), 1 / video.speed)
    return row


def three_curves(path: Path, task: SpeedModel, scanned: Scanned) -> dict[str, Curve]:
    """The curve by both, which is the default, by the network alone and by motion alone."""
    both = estimate_curve(path, model=task, scanned=scanned)
    motion = estimate_curve(path, by="motion", scanned=scanned)
    return {"both": both, "network": replace(both, natural=both.network), "motion": motion}


def planned_speed(curve: Curve, speed: float = SPEED, smooth: float = SMOOTH) -> np.ndarray:
    """Speed (T,) of the plan that makes a video last 1/speed of its time."""
    length = float(curve.durations.sum()) / speed
    return 1 / plan_pace(curve.natural, curve.durations, length, smooth=smooth, cuts=curve.cuts)


def agreement(found: np.ndarray, true: np.ndarray) -> float:
    """Spearman's rank correlation, 0 where one of the two is the same everywhere."""
    if np.ptp(found) == 0 or np.ptp(true) == 0:
        return 0.0
    return round(float(spearmanr(found, true)[0]), 3)


def pool_row(task: SpeedModel, folder: Path) -> dict[str, float]:
    """How V follows the speed curve that the authors' own adaptive clip has, both smoothed over nine frames."""
    try:
        with (folder / POOL_CURVE).open(newline="") as file:
            cells = [row["implied_speed_to_next"] for row in csv.DictReader(file)]
    except (OSError, KeyError) as error:
        raise DataError(f"{folder} holds no {POOL_CURVE} of the authors' clip ({error}); leave out --clips") from error
    known = np.array([cell != "" for cell in cells])
    authors = uniform_filter1d([float(cell) for cell in cells if cell], AUTHORS_SMOOTH)
    curves = three_curves(folder / POOL, task, scan(folder / POOL))
    return {
        by: agreement(uniform_filter1d(curve.natural[known], AUTHORS_SMOOTH), authors) for by, curve in curves.items()
    }


def agreement_markdown(
    rows: Sequence[dict[str, Any]],
    cases: Sequence[dict[str, Any]],
    pool: dict[str, float] | None,
    model: str,
    seed: int,
) -> str:
    """The results as a Markdown page."""
    means = {name: float(np.mean([row[name] for row in rows])) for name in COLUMNS}
    lines = [
        "### Does the planned speed follow the true one?",
        "",
        f"Spearman over the frames of a video. {len(rows)} videos of the motion world (seed {seed}, {FRAMES} frames at {RATE:g} fps), "
        f"whose clock runs at 0.5 to 2.5 times its speed; classes that come to rest are left out. Model: {model}. The bar is {BAR} for its "
        f"plan (twice the speed, smoothed over {SMOOTH} s).",
        "",
        *_table("class", [(row["class"], row) for row in rows]),
        "| " + " | ".join(["**mean**", *(f"**{means[name]:.3f}**" for name in COLUMNS)]) + " |",
    ]
    if cases:
        lines += [
            "",
            "### And where mean motion changes for other reasons?",
            "",
            f"The mean of {cases[0]['videos']} such videos a case, always the same motions under the same clock; `ssvid.data.distractors` "
            "says what each case adds.",
            "",
            *_table("distractor", [(row["case"].replace("_", " "), row) for row in cases]),
        ]
    if pool is not None:
        lines += [
            "",
            f"The authors' clip `pool`, V against their published curve, over {AUTHORS_SMOOTH} frames: both {pool['both']:.3f}, "
            f"network {pool['network']:.3f}, motion {pool['motion']:.3f}.",
        ]
    return "\n".join(lines) + "\n"


def calibration_line(model: str | os.PathLike[str] | None) -> str:
    """What the model's card says of its calibration: the share of normal video that is called sped up."""
    card = Path(SHIPPED if model is None else model) / CARD
    told = (read_json(card) if card.is_file() else {}).get("calibration")
    if told is None:
        return "\nThe model is not calibrated: its probabilities are those of training, where every other clip is sped up.\n"
    return (
        f"\nCalibration (offset {told['offset']:g}, temperature {told['temperature']:g}): of {told['windows']:,} held-out windows of "
        f"real video, {told['normal']:g} % of those at normal speed are called sped up (meant are {told['nominal']:g}; "
        f"{told['normal before']:g} without it), and {told['twice']:g} % of those at twice the speed ({told['twice before']:g} "
        "without). Each half of the videos was asked with what was fitted on the other.\n"
    )


def _table(first: str, rows: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    """Lines of a Markdown table with the agreement of every row."""
    head = ["| " + " | ".join([first, *COLUMNS]) + " |", "| " + " | ".join(["---"] * (1 + len(COLUMNS))) + " |"]
    return head + ["| " + " | ".join([name, *(f"{row[what]:.2f}" for what in COLUMNS)]) + " |" for name, row in rows]
