"""The retrieval table: R@k and mAP of runs and models by protocols that rank videos, beside random init and chance."""

from __future__ import annotations

import numpy as np

from ssvid.data.scanning import open_data
from ssvid.errors import ConfigError
from ssvid.evaluation.adapter import find_protocol
from ssvid.evaluation.splits import Labelled, name_of, open_labelled
from ssvid.evaluation.tables.request import TableRequest
from ssvid.evaluation.tables.table import Kind, Table
from ssvid.evaluation.tables.table_spec import compute, describe, make_spec, tabulate, without_draws
from ssvid.progress import Log, Progress

DEFAULT = ("video",)
KINDS = (Kind.FIXED, Kind.RANDOM, Kind.WEIGHTS, Kind.PRETRAINED)  # nothing is trained with labels


def retrieval(request: TableRequest, progress: Progress | None = None, log: Log | None = None) -> Table:
    """The retrieval table; cells that the request's file holds are not computed again.

    The data need no labels where no protocol does. progress: called inside a job. log: gets a line of text for every job.
    Raises ConfigError for unknown names and options and for protocols that do not rank videos, DataError for runs and data that cannot be
    used, Interrupted after Ctrl-C.
    """
    protocols = [find_protocol(name) for name in request.protocols or DEFAULT]
    for protocol in protocols:
        if not protocol.ranks:
            raise ConfigError(
                f"{protocol.name} is no protocol of retrieval; see: ssvid transfer --protocol {protocol.name}"
            )
    opener = open_labelled if any(protocol.needs_labels for protocol in protocols) else open_unlabelled
    names = [protocol.name for protocol in protocols]
    spec = without_draws(make_spec(request, names, progress, KINDS, opener))
    results = compute(spec, request, progress, log)
    table, columns = tabulate(spec, results)
    describe(table, spec, results, columns, "Retrieval on", "Cosine neighbours; R@k and mAP in percent.")
    table.notes += [f"{protocol.name}: {protocol.differs}." for protocol in spec.protocols.values()]
    return table


def open_unlabelled(source: str, progress: Progress | None = None) -> Labelled:
    """All videos of a source in one fold, for protocols that need no label."""
    index = open_data([source], progress)
    videos = index.videos()
    every = np.arange(len(videos))
    return Labelled(name_of(source), source, videos, [(every, every)], index.flip, tuple(index.notes))
