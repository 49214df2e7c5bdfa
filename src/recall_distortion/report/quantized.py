"""What the page says of quantized networks, each read against 1 and beside what was quantized."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from recall_distortion.inference.questions.summary_items import NONE
from recall_distortion.report import style
from recall_distortion.report.answer import BASES
from recall_distortion.report.numbers import STUDY, numbers
from recall_distortion.report.phrases import interval, join, percents
from recall_distortion.report.tables import ReportTables
from recall_distortion.tables.parts import CROSSFIT
from recall_distortion.tables.study import of_panel
from recall_distortion.vocabulary import CELL, CELL_STATE, DENSE, VERDICTS, format_ratio

#: What stands beside the others as their negative control.
NEGATIVE = "float16"


def quantized_facts(data: ReportTables) -> dict[str, Any] | None:
    """Return what the page says of a study's quantized networks; None where there are none."""
    if not data.quantizers:
        return None
    found = numbers(data, STUDY, "quantized")
    cells = _cells(data)
    panels = []
    for panel in data.panels:
        rows = [_row(row) for row in of_panel(cells, panel).to_dict("records")]
        if rows:
            panels.append({"name": data.title(panel), "where": data.place(panel), "rows": rows})
    retrained = [style.plain(name) for name in cells["origin"].unique() if name != DENSE]
    return {
        "of_dense": found.count("dense/cells"),
        "verdicts": {word: found.count(f"dense/{word}") for word in VERDICTS},
        "none": found.count(f"dense/{NONE}"),
        "panels": panels,
        "negative": NEGATIVE if NEGATIVE in data.quantizers else "",
        "origins": join(retrained),
        "against_origin": {word: found.count(f"origin/{word}") for word in VERDICTS},
        "of_origins": found.count("origin/cells"),
        "level": percents(cells["level"]),
    }


def _cells(data: ReportTables) -> pd.DataFrame:
    """Return a row a quantized cell, by its method in the order of ``data.quantizers``."""
    led = data.leading[data.leading["method"].isin(data.quantizers)]
    # Those are from the control, of which quantized networks have none.
    led = led.drop(columns=["difference", "verdict", "reading"])
    networks = data.networks.drop_duplicates(CELL)[[*CELL, "origin", "origin_ratio"]]
    table = led.merge(networks, on=CELL, how="left")
    beside = data.view("quantized").rename(columns={"verdict": "origin_verdict"})
    names = ["difference", "low", "high", "crossfit_difference", "crossfit_low", "crossfit_high"]
    beside = beside[[*CELL_STATE, "basis", *names, "origin_verdict"]]
    table = table.merge(beside, on=CELL_STATE, how="left", suffixes=("", "_origin"))
    sizes = ["bits", "bytes", "mean_ratio", "zeros"]
    table = table.merge(data.view("sparsity")[[*CELL_STATE, *sizes]], on=CELL_STATE, how="left")
    changes = ["accuracy_change", "accuracy_low", "accuracy_high"]
    table = table.merge(data.view("tradeoff")[[*CELL_STATE, *changes]], on=CELL_STATE, how="left")
    order = table["method"].map(data.quantizers.index)
    return table.iloc[order.argsort(kind="stable")]


def _row(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a cell as words and numbers; ``difference`` is empty of dense networks."""
    known = math.isfinite(row["alpha_low"]) and math.isfinite(row["alpha_high"])
    look = style.look(row["alpha_verdict"] if known else "")
    of_dense = row["origin"] == DENSE
    cell = {
        "method": style.plain(row["method"]),
        "ratio": format_ratio(row["ratio"]),
        "origin": style.plain(row["origin"])
        + ("" if of_dense else f" at {format_ratio(row['origin_ratio'])}"),
        "bits": style.number(row["bits"], 0),
        "realised": style.number(row["mean_ratio"]),
        "bytes": style.number(row["bytes"], 0),
        "zeros": style.number(row["zeros"], 0),
        "kind": look.kind,
        "sign": look.sign,
        "verdict": look.words or "no verdict",
        "alpha": style.number(row["alpha"], 3),
        "interval": interval(row["alpha_low"], row["alpha_high"], 3),
        "title": "; ".join(
            filter(None, [BASES.get(row["basis"], ""), f"n = {row['n']:g}", row["note"]])
        ),
        "accuracy": f"{style.signed(100 * row['accuracy_change'])} ("
        + (_points(row) or "no interval")
        + ")",
        "difference": "",
    }
    return cell if of_dense else cell | _difference(row)


def _points(row: Mapping[Any, Any]) -> str:
    """Return the interval of a change in accuracy in points; "" without one."""
    ends = [100 * row[f"accuracy_{end}"] for end in ("low", "high")]
    return interval(*ends, signed=True) if all(map(math.isfinite, ends)) else ""


def _difference(row: Mapping[Any, Any]) -> dict[str, str]:
    start = "crossfit_" if row["basis_origin"] == CROSSFIT else ""
    low, high = row[f"{start}low"], row[f"{start}high"]
    known = math.isfinite(low) and math.isfinite(high)
    look = style.look(row["origin_verdict"] if known else "")
    return {
        "difference": style.signed(row[f"{start}difference"], 3),
        "difference_interval": interval(low, high, 3, signed=True),
        "difference_sign": look.sign,
        "difference_verdict": look.words or "no verdict",
        "difference_kind": look.kind,
    }
