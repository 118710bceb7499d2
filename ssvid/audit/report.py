"""The report of an audit: RUN/audit/ with audit.md, audit.json, audit.png (accuracies and intervals) and videos.png (what was shown)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssvid.audit.audit import LEVEL, Audit
from ssvid.audit.auditor import BIASED, SHORTCUT, SKIPPED, Check, Score
from ssvid.evaluation.plots import ACCENT, INK, SOFT
from ssvid.files import write_json, write_text
from ssvid.training.visualize import sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADER = ["check", "verdict", "accuracy, %", "interval, %", "chance, %", "videos", "what it shows"]
HOW = (
    "*beaten*: certainly above chance where no honest answer is left, or, on held-out videos written again, more than half of what it "
    "had above chance is certainly lost. *swayed*: a cue with a direction decides the answer, but the held-out videos do not offer that "
    "cue, so it is no way to answer them; on videos that do, it would be. Intervals hold for all verdicts together with a certainty of "
    f"{LEVEL:.0%}: each end is wrong for an honest task with a probability of {1 - LEVEL:.2g} over the number of comparisons. Chance "
    "allows for what knowing the speed of a cue can gain at most."
)


def write(audit: Audit, folder: Path) -> None:
    """Write the four files into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "audit.md", markdown(audit))
    write_json(folder / "audit.json", facts(audit))
    figure(audit).savefig(folder / "audit.png", dpi=150)
    sheet(audit.samples).save(folder / "videos.png")


def facts(audit: Audit) -> dict[str, Any]:
    """Everything but the pictures, for JSON; accuracies on 0..1."""
    made = {key: value for key, value in vars(audit).items() if key != "samples"}
    for key in ("held_out", "other"):
        made[key] = made[key] and asdict(made[key])
    return made | {"level": LEVEL, "shortcut": audit.shortcuts, "checks": [asdict(check) for check in audit.checks]}


def rows(audit: Audit) -> list[list[str]]:
    """The table as text, a line a check and one a side."""
    lines = [["held-out videos", "", *_numbers(audit.held_out), "videos the task was not trained on, as they are"]]
    if audit.other is not None:
        lines.append(["other videos", "", *_numbers(audit.other), f"of another origin: {audit.other_data}"])
    for check in audit.checks:
        said = f"{check.about}; {check.reason}" if check.reason else check.about
        before = f"; {100 * check.before.accuracy:.1f} % before" if check.before else ""
        lines.append([check.name, check.verdict, *_numbers(check.score), said + before])
        lines += [[f"- {side}", "", *_numbers(score), ""] for side, score in check.sides.items()]
    return lines


def markdown(audit: Audit) -> str:
    """The report as GitHub Markdown."""
    found = f"Beaten: {', '.join(audit.shortcuts)}." if audit.shortcuts else "No control was beaten."
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
        HOW,
        "",
        "![accuracy on every check](audit.png)",
        "",
        "![the videos of every check](videos.png)",
    ]
    return "\n".join(lines) + "\n"


def figure(audit: Audit) -> Figure:
    """Accuracy with its interval for every check and side, and a mark at chance."""
    from matplotlib.figure import Figure

    lines: list[tuple[str, Score, str]] = [("held-out videos", audit.held_out, INK)]
    if audit.other is not None:
        lines.append(("other videos", audit.other, INK))
    for check in audit.checks:
        if check.score is not None:
            lines.append((f"{check.name}: {check.verdict}", check.score, _color(check)))
            lines += [(f"{side}  ", score, SOFT) for side, score in check.sides.items()]
    made = Figure(figsize=(8, 1.2 + 0.28 * len(lines)), layout="constrained")
    axis = made.subplots()
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
    return made


def _numbers(score: Score | None) -> list[str]:
    if score is None:
        return ["", "", "", ""]
    ends = f"{100 * score.low:.1f} to {100 * score.high:.1f}"
    return [f"{100 * score.accuracy:.1f}", ends, f"{100 * score.chance:.1f}", str(score.n)]


def _color(check: Check) -> str:
    return {SHORTCUT: ACCENT, BIASED: "#c9962e", SKIPPED: SOFT}.get(check.verdict, "#3b7d6e")
