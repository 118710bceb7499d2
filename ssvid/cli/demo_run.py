"""The whole pipeline in one call: make a world, index it, pretrain, probe, write a page. `ssvid demo` calls `demo`."""

from __future__ import annotations

import time
from pathlib import Path

from ssvid.cli import console
from ssvid.config import PretrainConfig
from ssvid.data.contact_sheets import moving_grid, one_of_each
from ssvid.data.index import Index
from ssvid.data.scanning import scan_videos
from ssvid.data.synthetic import CLASSES, make_world
from ssvid.evaluation.page import Page
from ssvid.evaluation.plots import learning_curves, score_figure
from ssvid.evaluation.tables.request import TableRequest
from ssvid.evaluation.tables.table import Table, write
from ssvid.evaluation.tables.transfer import transfer
from ssvid.plugins import load_task
from ssvid.training.fit import pretrain
from ssvid.training.run import Run
from ssvid.training.validate import validate
from ssvid.video.writer import write_video

PER_CLASS, FRAMES, SIZE = 24, 64, 64  # videos a class, frames a video, px
TASK, BACKBONE = "speednet", "s3dg_tiny"


def demo(out: Path, *, steps: int = 600, seed: int = 0) -> tuple[Path, Table]:
    """Run the demo in the folder `out` (an earlier one there is replaced) and return its page and the table on it."""
    began = time.perf_counter()
    chance = load_task(TASK).chance
    console.log(f"1/4 making {PER_CLASS * len(CLASSES)} videos of the motion world in {out / 'world'}")
    with console.counting() as progress:
        listing = make_world(
            out / "world",
            per_class=PER_CLASS,
            frames=FRAMES,
            size=SIZE,
            seed=seed,
            engine="local",
            progress=progress,
        )
        console.log("2/4 indexing them")
        index = Index(out / "world.sqlite", create=True)
        scan_videos([listing], index, progress=progress)
    config = PretrainConfig(
        task=TASK,
        backbone=BACKBONE,
        data=[str(index.path)],
        out=str(out / "run"),
        steps=steps,
        batch=16,
        lr=3e-3,
        channels_last=True,
        seed=seed,
        options={"frames": 12, "size": (32, 48)},
    )
    console.log(f"3/4 pretraining {BACKBONE} with {TASK}, {steps} steps, no labels")
    with console.training(steps, chance) as report:
        run = pretrain(config, overwrite=True, report=report)
    held_out = validate(run, index.videos("test"))
    console.log("4/4 probing the frozen features for the motion classes")
    table = _probe(out, run, index)
    table.title = "Motion classes from frozen features (synthetic data)"
    write(table, out / "transfer")
    page = write_demo_page(out, run, table, held_out, chance, time.perf_counter() - began)
    return page, table


def _probe(out: Path, run: Run, index: Index) -> Table:
    """The transfer table of the run on the labels of the world."""
    request = TableRequest(
        [str(run.path)],
        [str(index.path)],
        protocols=("linear", "knn"),
        options=["finetune.epochs=4"],
        view={"clips": 3, "frames": 16, "stride": 3},
        seeds=2,
        out=out / "transfer",
        command="ssvid demo",
    )
    with console.counting() as progress:
        return transfer(request, progress).table


def write_demo_page(
    out: Path, run: Run, table: Table, held_out: dict[str, tuple[float, float]], chance: float, seconds: float
) -> Path:
    """Write the page: the data, the training curves, the transfer table, and what to do next."""
    config = run.config
    page = Page("ssvid demo: time as the teacher")
    page.text(
        f"{PER_CLASS * len(CLASSES)} videos were made, a small network ({config.backbone}) learnt without labels to tell whether a clip "
        f"plays at its normal speed or sped up ({config.task}), and its frozen features were then asked which motion a video shows. "
        f"All of it took {seconds / 60:.1f} minutes on this machine."
    )
    page.heading("The motion world")
    movie = out / "world.mp4"
    write_video(movie, moving_grid(one_of_each(config.seed), columns=5, tile=96, step=1), fps=30)
    page.video(movie, "One video of every class. A single frame does not tell the class; only time does.")
    page.heading("Pretraining")
    accuracy, error = held_out["accuracy"]
    page.text(
        f"On the held-out videos {100 * accuracy:.1f} % (standard error {100 * error:.1f}) of single clips are classified correctly; "
        f"guessing gives {100 * chance:.0f} %."
    )
    curves = learning_curves(run.metrics(), chance, f"{config.task} on {config.backbone}, seed {config.seed}")
    page.figure(curves, f"Training loss and accuracy, means over {config.log_every} steps of {config.batch} videos.")
    page.heading("Transfer")
    page.table(table)
    page.figure(score_figure(table), "Held-out videos; bars are means, whiskers the spread, the dashed line is chance.")
    page.heading("Next steps")
    page.text("With your own videos: `ssvid pretrain speednet --data VIDEOS --backbone s3dg_tiny steps=2000`")
    page.text("Then: `ssvid transfer runs/speednet-s3dg_tiny-s0 --data LABELLED_VIDEOS`")
    return page.write(out / "index.html")
