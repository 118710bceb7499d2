"""Rooms that share their name with a command, as `ssvid.audit` and `ssvid.speedup` do, and are calls from Python too."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class CallableRoom(ModuleType):
    """A package that can be called: `ssvid.audit(run)` calls the function that `calls` names as "module:function".

    Importing a part of a room binds the room's module to the name in `ssvid`, so a plain function of that name would be lost then.
    """

    calls: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function of the room returns."""
        module, _, function = self.calls.partition(":")
        return getattr(importlib.import_module(module), function)(*args, **kwargs)


def make_callable(room: str, calls: str) -> None:
    """Let the module `room` be called, which calls the function "module:function"; imported on the first call."""
    module = sys.modules[room]
    module.__class__ = CallableRoom
    module.calls = calls  # type: ignore[attr-defined]
