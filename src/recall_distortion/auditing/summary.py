"""What ``summary.json`` of an audit holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion import __version__
from recall_distortion.auditing.comparison import BY_CLASS
from recall_distortion.auditing.decision import WITHIN, Finding, Limits, decided

#: Raised where a key is renamed, removed or means something else.
SCHEMA = 2
#: What candidates have a row of by what names it.
_NAMED = {"measures": "measure", "rare_classes": "slope"}


def summary(
    tables: Mapping[str, pd.DataFrame],
    *,
    test_set: Mapping[str, Any],
    level: float,
    warnings: Sequence[str],
    limits: Limits,
    every: Sequence[Finding],
    doubted: Collection[str],
) -> dict[str, Any]:
    """Return an audit's numbers as plain values, None where there is none (``auditing.schema``).

    ``every`` is what each limit says of each class of each candidate.
    """

    def decision(some: Sequence[Finding]) -> str | None:
        return decided(some, doubted) if limits.asked else None

    models = tables["models"].set_index("candidate")
    groups = tables["groups"]
    classes = groups[groups["grouping"] == BY_CLASS].drop(columns="grouping")
    return {
        "schema": SCHEMA,
        "version": __version__,
        "test_set": dict(test_set),
        "level": level,
        "warnings": list(warnings),
        "limits": vars(limits),
        "decision": decision(every),
        "findings": [_plain(vars(one)) for one in every if one.decision != WITHIN],
        "candidates": {
            name: {
                "decision": decision([one for one in every if one.candidate == name]),
                **_plain(models.loc[name].to_dict()),
                **_further(tables, name),
                "classes": _by(classes, name, "name"),
            }
            for name in models.index
        },
    }


def _further(tables: Mapping[str, pd.DataFrame], candidate: str) -> dict[str, Any]:
    """Return a candidate's row of the populations, and its measures and slopes by name."""
    found: dict[str, Any] = {}
    if "populations" in tables:
        rows = tables["populations"]
        (own,) = rows[rows["candidate"] == candidate].drop(columns="candidate").to_dict("records")
        found["populations"] = _plain(own)
    for table, name in _NAMED.items():
        if table in tables:
            found[table] = _by(tables[table], candidate, name)
    return found


def _by(table: pd.DataFrame, candidate: str, name: str) -> dict[str, dict[str, Any]]:
    rows = table[table["candidate"] == candidate].drop(columns="candidate")
    return {row.pop(name): _plain(row) for row in rows.to_dict("records")}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as JSON has them."""
    found = {}
    for key, value in values.items():
        value = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, float):
            value = value + 0.0 if np.isfinite(value) else None  # not -0
        found[key] = value
    return found
