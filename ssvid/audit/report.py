"""The report of an audit in RUN/audit/: audit.md, audit.json, audit.png (accuracies and intervals), videos.png (frames of the videos)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssvid.audit.audit import LEVEL, Audit
from ssvid.audit.auditor import BIASED, SHORTCUT, SKIPPED, Accuracy, Check
from ssvid.evaluation.plots import ACCENT, INK, SOFT
from ssvid.files import write_json, write_text
from ssvid.training.visualize import sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADER = ["check", "verdict", "accuracy, %", "interval, %", "chance, %", "videos", "what it shows"]
VERDICTS = (
    "*shortcut*: accuracy is above chance on videos that hold no legitimate answer; or, on re-encoded held-out videos, more than half of "
    "the accuracy above chance is lost. *biased*: accuracy is above chance in one direction of a cue, but the held-out videos do not "
    "contain the cue, so it does not help on them; on videos that contain it, it would. *robust*: accuracy holds on re-encoded videos. "
    "*at chance*: the whole check is answered no better than by guessing. *skipped*: the task may legitimately solve the check, or the "
    f"videos do not suit it. All intervals hold together with a confidence of {LEVEL:.0%}: for a task without shortcuts, each end is "
    f"wrong with a probability of {1 - LEVEL:.2g} over the number of comparisons. Chance includes the most that knowing the speed of a "
    "cue can add."
)


def write(audit: Audit, folder: Path) -> None:
    """Write the four files into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "audit.md", markdown(audit))
    write_json(folder / "audit.json", facts(audit))
    figure(audit).savefig(folder / "audit.png", dpi=150)
    sheet(audit.samples).save(folder / "videos.png")


def facts(audit: Audit) -> dict[str, Any]:
    """The audit without its pictures, for JSON; accuracies lie on 0..1."""
    found = {key: value for key, value in vars(audit).items() if key != "samples"}
    for key in ("held_out", "other"):
        found[key] = found[key] and asdict(found[key])
    return found | {"level": LEVEL, "shortcuts": audit.shortcuts, "checks": [asdict(check) for check in audit.checks]}


def rows(audit: Audit) -> list[list[str]]:
    """The table as text: one row for each check and one for each direction of its cue."""
    lines = [["held-out videos", "", *_numbers(audit.held_out), "videos the task was not trained on, unchanged"]]
    if audit.other is not None:
        lines.append(["other videos", "", *_numbers(audit.other), f"of another origin: {audit.other_data}"])
    for check in audit.checks:
        shows = f"{check.description}; {check.reason}" if check.reason else check.description
        before = f"; {100 * check.before.accuracy:.1f} % before" if check.before else ""
        lines.append([check.name, check.verdict, *_numbers(check.score), shows + before])
        lines += [[f"- {side}", "", *_numbers(score), ""] for side, score in check.sides.items()]
    return lines


def markdown(audit: Audit) -> str:
    """The report as GitHub Markdown."""
    found = f"Shortcuts: {', '.join(audit.shortcuts)}." if audit.shortcuts else "No shortcut found."
    lines = [
        f"# Audit of {audit.task} on {audit.backbone}, step {audit.step}",
        "",
        f"{found} Run: {audit.run}. Held-out videos: {', '.join(audit.data)}.",
        "",
        *(
            "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
            for row in [HEADER, ["---"] * len(HEADER)]
        ),
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows(audit)),
        "",
        *(["## What to try", "", *(f"- {sentence}" for sentence in audit.diagnosis), ""] if audit.diagnosis else []),
        VERDICTS,
        "",
        "![accuracy on every check](audit.png)",
        "",
        "![the videos of every check](videos.png)",
    ]
    return "\n".join(lines) + "\n"


def figure(audit: Audit) -> Figure:
    """Accuracy and its interval for every check and every direction of its cue, with a mark at chance."""
    from matplotlib.figure import Figure

    lines: list[tuple[str, Accuracy, str]] = [("held-out videos", audit.held_out, INK)]
    if audit.other is not None:
        lines.append(("other videos", audit.other, INK))
    for check in audit.checks:
        if check.score is not None:
            lines.append((f"{check.name}: {check.verdict}", check.score, _color(check)))
            lines += [(f"{side}  ", score, SOFT) for side, score in check.sides.items()]
    drawn = Figure(figsize=(8, 1.2 + 0.28 * len(lines)), layout="constrained")
    axis = drawn.subplots()
    for place, (_, score, color) in enumerate(lines):
        axis.plot([100 * score.low, 100 * score.high], [place, place], color=color, lw=2, solid_capstyle="butt")
        axis.plot(100 * score.accuracy, place, "o", color=color, ms=5)
        axis.plot([100 * score.chance] * 2, [place - 0.4, place + 0.4], color=INK, lw=1, ls=":")
    axis.annotate("chance", (100 * lines[0][1].chance, -0.5), fontsize=8, ha="center", va="bottom", color=INK)
    axis.set_yticks(range(len(lines)), [name for name, _, _ in lines], fontsize=8)
    axis.set_ylim(len(lines) - 0.4, -1.2)
    axis.set_xlim(-2, 102)
    axis.set_xlabel("accuracy, %", fontsize=9)
    axis.set_title(f"Audit of {audit.task} on {audit.backbone}, step {audit.step}", fontsize=10, loc="left")
    axis.tick_params(labelsize=8, colors=INK)
    axis.spines[["top", "right"]].set_visible(False)
    return drawn


def _numbers(score: Accuracy | None) -> list[str]:
    if score is None:
        return ["", "", "", ""]
    ends = f"{100 * score.low:.1f} to {100 * score.high:.1f}"
    return [f"{100 * score.accuracy:.1f}", ends, f"{100 * score.chance:.1f}", str(score.n)]


def _color(check: Check) -> str:
    return {SHORTCUT: ACCENT, BIASED: "#c9962e", SKIPPED: SOFT}.get(check.verdict, "#3b7d6e")
