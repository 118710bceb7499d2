"""Arrays of a record that stay where they are stored until somebody asks for them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


class Stored(ABC):
    """Stands in a record for arrays that are kept elsewhere, and reads them by the names of the record's fields."""

    __slots__ = ()

    @abstractmethod
    def read(self, name: str) -> np.ndarray:
        """The array of a field."""


class _Array:
    """A field that gives an array, whether it holds one or its place."""

    def __init__(self, slot: Any, name: str) -> None:
        self.slot, self.name = slot, name

    def __get__(self, record: Any, owner: type | None = None) -> Any:
        if record is None:
            return self
        held = self.slot.__get__(record)
        return held.read(self.name) if isinstance(held, Stored) else held

    def __set__(self, record: Any, value: Any) -> None:
        self.slot.__set__(record, value)


def on_demand(*names: str) -> Callable[[type[T]], type[T]]:
    """Let these fields of a dataclass with slots hold either an array or a `Stored`, which is read whenever the field is.

    A record is pickled with what it holds: a place is not read for that. `dataclasses.replace` gives a record that holds its arrays.
    """

    def change(kind: type[T]) -> type[T]:
        for name in names:
            setattr(kind, name, _Array(getattr(kind, name), name))
        kind.__getstate__ = lambda self: [held(self, field.name) for field in fields(self)]  # type: ignore[attr-defined]
        return kind

    return change


def held(record: Any, name: str) -> Any:
    """What a field of a record holds: the value, or the `Stored` that stands for it."""
    field = vars(type(record))[name]
    return field.slot.__get__(record) if isinstance(field, _Array) else getattr(record, name)
