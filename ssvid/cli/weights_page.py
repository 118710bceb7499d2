"""The page of the weights that come with the package, made from their cards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ssvid.cli.catalogue import cell_text
from ssvid.evaluation.tables.captions import duration
from ssvid.zoo.cards import CORRESPONDENCE, MOTION, card_of
from ssvid.zoo.names import ModelName

USED_BY = {
    MOTION: "It sees flow, and so no colours and no textures. `ssvid retrieve index` and `ssvid transfer` take it where no model is named.",
    CORRESPONDENCE: "It sees frames one by one, in cells of 8 px. `ssvid track` takes it where no model is named.",
}


def weights_page() -> str:
    """What each of them was trained on, how it is shown a video, and what it is worth."""
    parts = [
        "# Weights that come with the package",
        "Small networks that were pretrained without labels, so that a first call needs no pretraining. `ssvid list weights` names those "
        "of other people too.",
    ]
    for name, words in USED_BY.items():
        card = card_of(ModelName.parse(name))
        facts = "".join(f"- **{what}:** {text}\n" for what, text in card_lines(card))
        parts += [f"## {name}", words, facts, "\n\n".join(_scores(card))]
    return "\n\n".join(parts) + "\n"


def card_lines(card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A card of the package's weights in words: (what, text)."""
    data, view = card["data"], card["view"]
    yield "task", f"{card['task']}, {_pairs(card['options'])}"
    yield "network", _pairs(card["backbone_options"])
    yield "data", f"{data['description']} {data['videos']:,} of them were long enough."
    yield (
        "training",
        f"{card['steps']:,} steps of {card['batch']} videos, {duration(card['seconds'][0])} on {card['hardware'][0]}",
    )
    yield "recipe", card["recipe"]
    yield (
        "shown a video",
        f"clips of {view['frames']} frames, stride {view['stride']}, {view['size']} px, {view['pool']}",
    )
    audit = card["audit"]
    if audit:
        shortcuts = ", ".join(audit["shortcuts"]) or "none"
        yield "audit", f"{len(audit['controls'])} controls; shortcuts: {shortcuts}"
    else:
        yield "audit", "none of this run; `ssvid audit` needs its checkpoint"
    yield "licence", card["licence"]


def _scores(card: Mapping[str, Any]) -> Iterator[str]:
    for table, columns in card["scores"].items():
        rows = list(dict.fromkeys(row for scores in columns.values() for row in scores))
        lines = [["percent", *rows], ["---"] * (len(rows) + 1)]
        lines += [[column, *(f"{scores[row]:.1f}" for row in rows)] for column, scores in columns.items()]
        yield f"From [results/{table}](results/{table}.md), means over its seeds:"
        yield "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _pairs(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={cell_text(value) or value}" for key, value in options.items())
