"""The tracking table: how far features alone carry the labels of a first frame, beside random weights and copying that frame."""

from __future__ import annotations

from dataclasses import replace

from ssvid.errors import ConfigError
from ssvid.evaluation.adapter import find_protocol
from ssvid.evaluation.sequences import is_sequence_source, protocol_for
from ssvid.evaluation.tables import captions
from ssvid.evaluation.tables.request import TableRequest
from ssvid.evaluation.tables.table import Kind, Table
from ssvid.evaluation.tables.table_spec import compute, describe, make_spec, tabulate, without_draws
from ssvid.progress import Log, Progress

KINDS = (Kind.FIXED, Kind.RANDOM, Kind.WEIGHTS, Kind.PRETRAINED)  # nothing is trained with labels


def tracking(request: TableRequest, progress: Progress | None = None, log: Log | None = None) -> Table:
    """The tracking table; cells that the request's file holds are not computed again.

    Each data set is evaluated by the protocol of its layout where the request names none. progress: called inside a job. log: gets a line
    of text for every job.
    Raises ConfigError for unknown names and options and for data of videos, DataError for runs and data that cannot be used, Interrupted
    after Ctrl-C.
    """
    for source in request.data:
        if not is_sequence_source(source):
            raise ConfigError(f"{source}: tracking is evaluated on sequences with masks or joints, as davis:FOLDER")
    names = request.protocols or list(dict.fromkeys(protocol_for(source) for source in request.data))
    for name in names:
        if find_protocol(name).takes == "videos":
            raise ConfigError(f"{name} is no protocol of tracking; see: ssvid transfer --protocol {name}")
    spec = without_draws(make_spec(request, names, progress, KINDS))
    spec = replace(spec, by_layout=not request.protocols)
    results = compute(spec, request, progress, log)
    table, columns = tabulate(spec, results)
    describe(table, spec, results, columns, "Tracking on", captions.CARRIED)
    return table
