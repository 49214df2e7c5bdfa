"""From files of predictions to the tables of recall and of networks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from recall_distortion.measures.networks import further, measure
from recall_distortion.measures.of_weights import with_measured
from recall_distortion.measures.stability import stability
from recall_distortion.system.errors import TableError
from recall_distortion.system.logs import warn
from recall_distortion.tables.files import earlier_tables, read_table, write_table
from recall_distortion.tables.predictions import Predictions, read_all
from recall_distortion.tables.schema import (
    COLUMNS,
    COUNTED,
    DENSE_MULTIPLY_ADDS,
    EMPTIED,
    QUANTIZED,
    Column,
)
from recall_distortion.vocabulary import NETWORK, PANEL, Panel

_FURTHER = [*QUANTIZED, *EMPTIED, *COUNTED, DENSE_MULTIPLY_ADDS]


def write_measures(
    predictions: Iterable[str | Path],
    sparsity: Iterable[str | Path],
    recall_csv: str | Path,
    networks_csv: str | Path,
    *,
    splits: int = 20,
    curvature: Iterable[str | Path] = (),
    dead_units: Iterable[str | Path] = (),
    mask_overlap: Iterable[str | Path] = (),
    events: Iterable[str | Path] = (),
    events_csv: str | Path | None = None,
) -> None:
    """Write the tables recall, networks and events of a study from its files of predictions.

    ``sparsity`` are the tables that pruning jobs write beside their networks, ``events`` those of
    what they removed meanwhile, ``curvature``, ``dead_units`` and ``mask_overlap`` those of the
    jobs that measure these. Without ``events_csv`` events are not written.
    """
    parts, failures = read_all(predictions)
    # All that can be damaged is read before anything is written.
    known: set[tuple[str, ...]] = {(*part.panel, part.method) for part in parts}
    rows = [_of_methods(path, "sparsity", known, _FURTHER) for path in sparsity]
    of_jobs = [_of_methods(path, "job_events", known) for path in events]
    sparsities = pd.concat(rows) if rows else pd.DataFrame(columns=COLUMNS["sparsity"])
    measured = [
        _measured(curvature, "curvature", parts),
        _measured(dead_units, "dead_units", parts),
        _measured(mask_overlap, "mask_overlap", parts),
    ]
    recall, networks = measure(parts, sparsities, failures, splits=splits)
    for table in measured:
        if table is not None:
            networks = with_measured(networks, table)
    removals, networks = stability(
        parts,
        pd.concat(of_jobs) if of_jobs else pd.DataFrame(columns=COLUMNS["job_events"]),
        networks,
    )
    write_table(recall_csv, "recall", recall)
    if events_csv is not None:
        write_table(events_csv, "events", removals)
    write_table(networks_csv, "networks", networks, further(networks))
    if old := earlier_tables(Path(recall_csv).parent):
        warn(
            f"{Path(recall_csv).parent} still holds {', '.join(old)} of an earlier version, which "
            "nothing reads or writes any more; delete them. docs/tables.md says where their "
            "numbers stand now"
        )


def _measured(
    paths: Iterable[str | Path], name: str, parts: Iterable[Predictions]
) -> pd.DataFrame | None:
    """Return tables of a name as one, of networks that have predictions; None for none."""
    known = {
        (*part.panel, part.method, float(part.ratio), part.state, seed)
        for part in parts
        for seed in part.seeds
    }
    tables = []
    for path in paths:
        table = read_table(path, name)
        for line, key in enumerate(table[NETWORK].itertuples(index=False, name=None), start=2):
            if key not in known:
                raise TableError(
                    f"{path}, line {line}: the network has no predictions; "
                    "delete the file and run the study again"
                )
        tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else None


def _of_methods(
    path: str | Path, name: str, known: set[tuple[str, ...]], further: Sequence[Column] = ()
) -> pd.DataFrame:
    """Return a block's table; ``known`` are networks and methods with predictions."""
    table = read_table(path, name, further=further)
    for line, row in enumerate(table.to_dict("records"), start=2):
        panel = Panel(*(row[key] for key in PANEL))
        if (*panel, row["method"]) not in known:
            raise TableError(
                f"{path}, line {line}: {row['method']} of {panel} has no predictions; "
                "delete the file and run the study again"
            )
    return table
