"""Answers written to a file as they come, .csv or .json: memory does not grow with the stream."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

from ssvid.errors import ConfigError, SsvidError
from ssvid.files import atomic
from ssvid.streaming.classify import StreamAnswer

SUFFIXES = (".csv", ".json")


@contextmanager
def answer_file(path: Path) -> Iterator[Callable[[StreamAnswer], None]]:
    """A callable that adds an answer. The file, with all that was added, appears when the block ends, by Ctrl-C or a broken camera too.

    Raises ConfigError for a name of another kind.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{path}: answers are written as {' or '.join(SUFFIXES)}; give a name that ends so")
    interrupted: KeyboardInterrupt | SsvidError | None = None
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [field.name for field in fields(StreamAnswer)], lineterminator="\n")
        begun = False

        def add(answer: StreamAnswer) -> None:
            nonlocal begun
            if path.suffix == ".csv":
                table.writerow(answer.line())
            else:
                file.write((",\n" if begun else "[\n") + json.dumps(answer.line()))
            begun = True

        if path.suffix == ".csv":
            table.writeheader()
        try:
            yield add
        except (KeyboardInterrupt, SsvidError) as error:  # what is done is kept, and then it goes on its way
            interrupted = error
        if path.suffix == ".json":
            file.write("\n]\n" if begun else "[]\n")
    if interrupted is not None:
        raise interrupted
