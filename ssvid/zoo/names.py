"""Names of models: `<encoder>[+<temporal>][@<weights>]`, as "r3d_18", "resnet18+lstm", "r3d_18@kinetics400", "timm/resnet50@FILE"."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import quote

from ssvid.errors import ConfigError

_GRAMMAR = re.compile(r"(?P<encoder>[^+@]+)(?:\+(?P<temporal>[^+@]+))?(?:@(?P<weights>.+))?", re.DOTALL)


@dataclass(frozen=True)
class ModelName:
    """A model by its parts. `str()` gives the name back.

    encoder: a registered name, or path/to/file.py:name. temporal: a head over its feature map, likewise, "" for none.
    weights: what the weights are read from, see `ssvid.zoo.weights`, "" for random ones. The paths of encoder and head contain
    neither "+" nor "@"; that of the weights may.
    """

    encoder: str
    temporal: str = ""
    weights: str = ""

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Raises ConfigError for a text that is no name."""
        match = _GRAMMAR.fullmatch(text)
        if match is None:
            raise ConfigError(
                f"{text!r} is not a model's name; it is ENCODER, ENCODER+HEAD, ENCODER@WEIGHTS or ENCODER+HEAD@WEIGHTS, as resnet18+lstm"
            )
        return cls(match["encoder"], match["temporal"] or "", match["weights"] or "")

    def __str__(self) -> str:
        return self.architecture + (f"@{self.weights}" if self.weights else "")

    @property
    def architecture(self) -> str:
        """The name without its weights."""
        return self.encoder + (f"+{self.temporal}" if self.temporal else "")

    @property
    def slug(self) -> str:
        """The name for files and addresses: letters, digits and `+@_-.=` only, and no two names share one.

        Every other character is written as the hexadecimal digits of its UTF-8 bytes, each after "=": "timm/x" is "timm=2Fx".
        It is percent-encoding with another sign, since a link to a file with "%" in its name has to be encoded once more.
        """
        return quote(os.fsencode(str(self)), safe="+@").replace("~", "%7E").replace("%", "=")
