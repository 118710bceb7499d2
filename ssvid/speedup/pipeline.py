"""The whole job for one video or many: curve, plan, rendering, page; results of earlier calls are used again."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ssvid.data.layouts.entries import VIDEO_SUFFIXES
from ssvid.errors import ConfigError, DataError
from ssvid.progress import Progress
from ssvid.speedup.curve import Curve, estimate_curve
from ssvid.speedup.models import SHIPPED
from ssvid.speedup.plan import FORMAT, SpeedPlan, file_identity, make_plan, read_json_object, read_plan, write_plan
from ssvid.speedup.render import render_plan
from ssvid.speedup.rendered import mark_of, read_mark, write_mark
from ssvid.speedup.schedule import TICKS
from ssvid.speedup.timeline import average_rate, is_timeline, segments, write_timeline
from ssvid.training.run_lock import locked_file
from ssvid.video.decode import check_file
from ssvid.video.location import is_address

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpeedupOptions:
    """What the user asks for; the fields are explained at `make_plan`, `estimate_curve` and `render_plan`."""

    speed: float | None = None
    duration: float | None = None
    min_speed: float = 1.0
    max_speed: float = 8.0
    smooth: float = 1.0
    objective: str = "exact"
    by: str = "model"
    model: str | None = None
    fit: bool = False
    audio: str = "keep-pitch"
    fps: float | None = None
    device: str = "auto"
    plan: Path | None = None  # read instead of planning: ours, a list of segments, or a v1 timeline

    def curve_options(self) -> dict[str, Any]:
        """What the curve depends on."""
        return {"by": self.by, "model": _model_mark(self.model) if self.by == "model" else None, "fit": self.fit}

    def plan_options(self) -> dict[str, Any]:
        """What the plan depends on."""
        names = ("speed", "duration", "min_speed", "max_speed", "smooth", "objective")
        return {**self.curve_options(), **{name: getattr(self, name) for name in names}}


def plan_file(out: Path) -> Path:
    """Where the plan of a result is kept."""
    return out.with_name(f"{out.name}.plan.json")


def plan_speedup(
    source: Path, out: Path, options: SpeedupOptions, progress: Progress | None = None, *, export: Path | None = None
) -> SpeedPlan:
    """The plan of a video, which is kept in OUT.plan.json.

    A plan that lies there for the same file and the same options is used again, with the segments that were added by hand. Of a plan with
    other options the curve is used again, because computing it takes most of the time. export: a v1 timeline to write.
    Raises VideoError for a video that cannot be used, ConfigError for options that cannot be met, DataError for an unreadable plan file.
    """
    plan = _make_or_read_plan(source, out, options, progress)
    if export is not None:
        write_timeline(plan, export)
    return plan


def speed_up(
    source: Path,
    out: Path,
    options: SpeedupOptions,
    progress: Progress | None = None,
    *,
    export: Path | None = None,
    html: Path | None = None,
    cam: bool = False,
) -> SpeedPlan:
    """The whole job: plan, render, export a timeline, write the page. Returns the plan; raises as `planned` and `render_plan` do.

    A result that lies there as it was rendered from the same plan is not rendered again, nor is its page written that is there.
    export: a v1 timeline to write. html: a page to write. cam: for the page, also render the activation map, to NAME.cam.mp4.
    Raises ConfigError also where another process is making the same result.
    """
    if out.suffix.lower() not in TICKS:
        raise ConfigError(f"{out}: cannot write this kind of file; name one of {', '.join(TICKS)}")
    busy = f"another process is making {out}; wait for it, or name another -o"
    with locked_file(out.with_name(f".{out.name}.lock"), busy):
        before = read_mark(plan_file(out))
        plan = plan_speedup(source, out, options, progress, export=export)
        fresh = before is None or before != mark_of(plan, out, options.fps, options.audio)
        if fresh:
            render_plan(plan, out, fps=options.fps, audio=options.audio, progress=progress)
        write_mark(plan_file(out), mark_of(plan, out, options.fps, options.audio))
        if html is not None and (fresh or not html.exists()):
            from ssvid.speedup.page import write_speedup_page

            shown = _map(source, out, options, progress) if cam else None
            write_speedup_page(plan, out, html, cam=shown, progress=progress)
    return plan


def speedup(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    export: str | os.PathLike[str] | None = None,
    html: str | os.PathLike[str] | None = None,
    cam: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> SpeedPlan:
    """Play a video faster where it stays natural, as `ssvid speedup` does; `ssvid.speedup` from Python.

    options: fields of `SpeedupOptions` (speed, duration, min_speed, max_speed, smooth, model, audio, device, ...). export, html, cam: as of
    `speed_up`. Returns the plan. Raises ConfigError, DataError or VideoError with what is wrong and what to do.
    """
    unknown = sorted(options.keys() - {field.name for field in fields(SpeedupOptions)})
    if unknown:
        raise ConfigError(
            f"speedup has no option {unknown[0]!r}; there are: {', '.join(f.name for f in fields(SpeedupOptions))}"
        )
    by_products = [None if path is None else Path(path) for path in (export, html)]
    chosen = SpeedupOptions(**options)
    return speed_up(_on_disk(source), Path(out), chosen, progress, export=by_products[0], html=by_products[1], cam=cam)


def result_paths(inputs: Sequence[str | os.PathLike[str]], out: Path | None) -> list[tuple[Path, Path]]:
    """(source, result) of every video; a folder stands for the videos in it.

    out: the result of a single file; a folder for several, where results keep the names of the sources. None: NAME.fast.mp4 beside them.
    Raises ConfigError where two results would have one path and for an address, DataError for a folder without videos.
    """
    sources: list[tuple[Path, Path]] = []  # with the path under the folder given
    given = [_on_disk(path) for path in inputs]
    for path in given:
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if _is_video(file))
            if not found:
                raise DataError(f"{path}: holds no video files")
            sources += [(file, file.relative_to(path)) for file in found]
        else:
            sources.append((path, Path(path.name)))
    single = len(given) == 1 and not given[0].is_dir()
    if single and out is not None and not out.is_dir():
        return [(sources[0][0], out)]
    pairs = [
        (source, source.with_name(f"{source.stem}.fast.mp4") if out is None else out / name.with_suffix(".mp4"))
        for source, name in sources
    ]
    taken: dict[Path, Path] = {}
    for source, result in pairs:
        other = taken.setdefault(result, source)
        if other != source:
            raise ConfigError(f"{other} and {source} would both become {result}; rename one, or do them one by one")
    return pairs


def _on_disk(path: str | os.PathLike[str]) -> Path:
    """A path of this machine. Raises ConfigError for an address: plan, page and a rendering that goes on name the file they are of."""
    if is_address(path):
        raise ConfigError(f"{path}: only a file on this machine can be sped up; fetch it first, then name the file")
    return Path(path)


def companion_path(path: Path | None, out: Path, several: bool, suffix: str) -> Path | None:
    """The file of a by-product: the given path, or for several videos a file named after the result in the given folder."""
    return path / f"{out.stem}{suffix}" if path is not None and several else path


def _make_or_read_plan(source: Path, out: Path, options: SpeedupOptions, progress: Progress | None) -> SpeedPlan:
    identity = _identity(source)
    if options.plan is not None:
        plan = _given(options.plan, source, identity)
        write_plan(plan, plan_file(out))
        return read_plan(plan_file(out))
    kept = _kept(plan_file(out), identity)
    if kept is not None and kept.options.get("options") == options.plan_options():
        return replace(kept, source=os.fspath(source))
    curve = (
        kept.curve if kept is not None and _same_curve(kept, options) else _estimate_curve(source, options, progress)
    )
    plan = make_plan(
        source,
        curve,
        speed=options.speed,
        duration=options.duration,
        min_speed=options.min_speed,
        max_speed=options.max_speed,
        smooth=options.smooth,
        objective=options.objective,
    )
    write_plan(replace(plan, options={"options": options.plan_options(), **plan.options}), plan_file(out))
    return read_plan(
        plan_file(out)
    )  # as a later call will read it, since parts of a rendering are matched by every digit


def _map(source: Path, out: Path, options: SpeedupOptions, progress: Progress | None) -> Path | None:
    """The activation map as a video; None, with a warning, where no shot is long enough for the model."""
    from ssvid.speedup.cam import render_cam

    path = out.with_name(f"{out.stem}.cam.mp4")
    try:
        render_cam(source, path, options.model, progress, options.device)
    except DataError as error:
        logger.warning("the page goes without the activation map: %s", error)
        return None
    return path


def _is_video(path: Path) -> bool:
    """Whether a file in a folder is a source: not hidden, no result of ours, no part of one."""
    inside = any(part.endswith(".parts") for part in path.parts[:-1])
    return (
        path.suffix.lower() in VIDEO_SUFFIXES
        and not path.name.startswith(".")
        and not path.stem.endswith((".fast", ".cam"))
        and not inside
    )


def _model_mark(model: str | None) -> str:
    """A text that changes with the model, and when the model is trained further."""
    folder = SHIPPED if model is None else Path(model)
    newest = max((file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()), default=0)
    return f"{'' if model is None else folder.resolve()} {newest}".strip()


def _identity(source: Path) -> str:
    return file_identity(check_file(source))


def _estimate_curve(source: Path, options: SpeedupOptions, progress: Progress | None) -> Curve:
    if options.by != "model":
        return estimate_curve(source, by=options.by, progress=progress)
    if not options.fit:
        return estimate_curve(source, model=options.model, device=options.device, progress=progress)

    from ssvid.speedup.adaptation import adapt_to_video

    return estimate_curve(
        source, model=adapt_to_video(source, options.model, progress=progress, device=options.device), progress=progress
    )


def _kept(path: Path, identity: str) -> SpeedPlan | None:
    """The plan of an earlier call, where it is one of this file."""
    try:
        plan = read_plan(path)
    except DataError:
        return None
    return plan if plan.identity == identity else None


def _same_curve(kept: SpeedPlan, options: SpeedupOptions) -> bool:
    before = kept.options.get("options", {})
    return all(before.get(name, "?") == value for name, value in options.curve_options().items())


def _given(path: Path, source: Path, identity: str) -> SpeedPlan:
    """A plan from a file of the user: one that we wrote, a bare {"segments": [[start_s, end_s, speed], ...]}, or a v1 timeline."""
    stored = read_json_object(path)
    if stored.get("format") == FORMAT:
        plan = read_plan(path)
        if plan.identity != identity:
            raise ConfigError(
                f"{path}: is the plan of another video ({plan.source}); leave out --plan to plan this one"
            )
        return replace(plan, source=os.fspath(source))
    if not is_timeline(stored) and "segments" not in stored:
        raise DataError(f'{path}: holds no plan; needed are "segments", a plan of ours or a v1 timeline')
    plain = make_plan(source, estimate_curve(source, by="constant"), speed=1)
    rows = segments(stored, average_rate(plain.source_edges), str(path)) if is_timeline(stored) else stored["segments"]
    return replace(plain.with_segments(rows), options={"plan": os.fspath(path)})
