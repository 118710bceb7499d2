"""Templates of Something-Something by their words: what is done, and which two are told apart by the order of frames alone.

A template is a sentence with "something" in place of the objects (Goyal et al., arXiv 1706.04261). Its verb says what is done: "Pushing
something from left to right" and "Pushing something off of something" are both pushing. Two templates that differ in a word and its
opposite, as "Moving something up" and "Moving something down", show the same hands, things and places, so that only the order of frames
tells which it is: they test whether a network sees time (Ghodrati, Gavves and Snoek, BMVC 2018, ask for templates for that reason).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

# the first beginning of each row that applies counts: "up" stands in "upwards" too
OPPOSITES = (
    ("from left to right", "from right to left"),
    ("closer to", "away from"),
    ("upwards", "downwards"),
    ("up", "down"),
    ("left", "right"),
    ("opening", "closing"),
    ("folding", "unfolding"),
    ("covering something with something", "uncovering something"),
    ("approaching something", "moving away from something"),
    ("putting something into something", "taking something out of something"),
    ("putting something and something on the table", "removing something and something from the table"),
)
OBJECTS = {"something", "nothing"}


def verb_of(template: str) -> str:
    """What is done: the first word on -ing that is no object, in lower case; the first word where there is none."""
    words = re.findall(r"[a-z]+", template.lower())
    return next(
        (word for word in words if word.endswith("ing") and word not in OBJECTS), words[0] if words else template
    )


def order_pairs(templates: Collection[str]) -> list[tuple[str, str]]:
    """The pairs of templates that differ in one of `OPPOSITES`, each once, sorted."""
    named = {_plain(template): template for template in templates}
    found = {
        tuple(sorted((template, named[other])))
        for plain, template in named.items()
        for other in _opposites(plain)
        if other in named
    }
    return sorted((one, other) for one, other in found)


def _opposites(template: str) -> Iterator[str]:
    """The template with a word and its opposite exchanged, for every row of `OPPOSITES` that it holds."""
    for pair in OPPOSITES:
        for word, other in (pair, pair[::-1]):
            changed = re.sub(rf"\b{word}\b", other, template)
            if changed != template:
                yield changed


def _plain(template: str) -> str:
    return " ".join(template.lower().split())
