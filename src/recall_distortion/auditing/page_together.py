"""What the page of an audit says of networks together, of classes tested, of further measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.auditing.rare_classes import BESIDE, PER_TENFOLD
from recall_distortion.report import style

#: Classes and images that are shown at once, of many.
SHOWN, PIES_SHOWN = 20, 100
#: The tests by their columns, as the page calls them, and what each holds a class against.
_TESTS = {
    "control": ("paired, less control’s", "the control"),
    "paired": ("paired", "before"),
    "own": ("Welch, own accuracy", "before"),
    "published": ("Welch, as published", "before"),
}
_LOSES_GAINS = {"loses": "▼", "gains": "▲"}


def together(tables: Mapping[str, pd.DataFrame], candidate: str) -> dict[str, Any] | None:
    """Return what several networks say together of a candidate; None where there is one network."""
    if "populations" not in tables:
        return None
    (row,) = _own(tables["populations"], candidate).to_dict("records")
    classes = _own(tables["class_tests"], candidate)
    pies = _own(tables["pies"], candidate)
    pies = pies[pies["is_pie"]]
    images = int(classes["images"].sum())
    return {
        "pies": _whole(row["pies"]),
        "images": f"{images:,}",
        "share": style.percent(row["share"], 2),
        "ties": f"{_whole(row['least'])} to {_whole(row['largest'])}",
        "control": _control(row),
        "halves": _halves(row),
        "note": "" if pd.isna(row["note"]) else row["note"],
        "right": _right(row),
        "modes": [style.percent(row[f"{side}_mode_right"]) for side in ("before", "after")]
        if row["pies"]
        else None,
        "tests": _tests(row),
        "expected": style.number(row["expected"], 1),
        "classes": _classes(classes),
        "rows": [_image(one) for one in pies.head(PIES_SHOWN).to_dict("records")],
        "more": len(pies) > PIES_SHOWN,
    }


def _own(table: pd.DataFrame, candidate: str) -> pd.DataFrame:
    return table[table["candidate"] == candidate]


def _whole(value: float) -> str:
    return style.number(value, 0)


def _control(row: Mapping[str, Any]) -> dict[str, str] | None:
    if not np.isfinite(row["control"]):
        return None
    return {
        "pies": _whole(row["control"]),
        "over": style.signed(row["over_control"], 0),
        "p": style.p_value(row["p"]),
        "reading": row["reading"],
    }


def _halves(row: Mapping[str, Any]) -> dict[str, str] | None:
    """Return how halves of the networks before differ, and as few after from others before."""
    if not np.isfinite(row["reseed_at_fewer_median"]):
        return None
    found = {"networks": _whole(row["fewer"])}
    for name, start in (("without", "reseed_at_fewer"), ("own", "unpaired_at_fewer")):
        median, low, high = (_whole(row[f"{start}_{end}"]) for end in ("median", "low", "high"))
        found |= {name: median, f"{name}_range": f"{low} to {high}"}
    return found


def _right(row: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    sets = {
        "pies": "these images",
        "others": "all others",
        "null": "the control’s" if np.isfinite(row["control"]) else "those of the halves",
    }
    return [
        (title, style.percent(row[f"before_on_{name}"]), style.percent(row[f"after_on_{name}"]))
        for name, title in sets.items()
        if np.isfinite(row[f"before_on_{name}"])
    ]


def _tests(row: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "name": name,
            "against": against,
            "moved": _whole(row[f"{test}_moved"]),
            "adjusted": _whole(row[f"{test}_adjusted"]),
            "reseed": _whole(row.get(f"reseed_{test}_moved", np.nan)),
        }
        for test, (name, against) in _TESTS.items()
        if np.isfinite(row[f"{test}_moved"])
    ]


def _classes(rows: pd.DataFrame) -> dict[str, Any]:
    """Return the classes by the change that leads: less the control's, or that from before."""
    leads = "control" if rows["control_change"].notna().any() else "paired"
    ordered = rows.sort_values(f"{leads}_change", kind="stable").to_dict("records")
    many = len(ordered) > 2 * SHOWN
    found = [
        {
            "name": style.label(row["name"], 60),
            "pies": _whole(row["pies"]),
            "control_pies": _whole(row["control_pies"]),
            "change": _points(row[f"{leads}_change"]),
            "sign": _LOSES_GAINS.get(row[f"{leads}_verdict"], "○"),
            "p": [style.p_value(row[f"{test}_p_adjusted"]) for test in _TESTS],
            "hidden": many and SHOWN <= place < len(ordered) - SHOWN,
        }
        for place, row in enumerate(ordered)
    ]
    return {"rows": found, "many": many, "shown": 2 * SHOWN, "leads": _TESTS[leads][0],
            "tests": [name for name, _ in _TESTS.values()]}  # fmt: skip


def _points(share: float) -> str:
    return style.signed(100 * share, 1)


def _image(row: Mapping[str, Any]) -> dict[str, str]:
    before, after = (style.label(row[side]) or "no answer" for side in ("before", "after"))
    return {
        "image": style.label(row["image"], 30),
        "class": style.label(row["class"]),
        "before": f"{before}, {style.percent(row['agreement_before'], 0)}",
        "after": f"{after}, {style.percent(row['agreement_after'], 0)}",
    }


def rare(tables: Mapping[str, pd.DataFrame], candidate: str) -> dict[str, Any] | None:
    """Return whether rare classes lose more; None where nobody counted training images."""
    if "rare_classes" not in tables:
        return None
    rows = _own(tables["rare_classes"], candidate).set_index("slope")
    has_control = bool(rows["over_control"].notna().any())
    return {
        "sentence": _rare(rows.loc[PER_TENFOLD], has_control),
        "beside": _rare(rows.loc[BESIDE], has_control),
        "has_control": has_control,
        "rows": [
            {
                "slope": slope,
                **{name: _points(row[name]) for name in ("after", "control", "over_control")},
                "after_ends": _ends(row, "after"),
                "over_control_ends": _ends(row, "over_control"),
                "p": style.p_value(row["p"]),
            }
            for slope, row in rows.iterrows()
        ],
    }


def _rare(row: pd.Series, has_control: bool) -> str:
    """Return in words whether rare classes lose more, by the interval."""
    of = "over_control" if has_control else "after"
    if not np.isfinite([row[f"{of}_low"], row[f"{of}_high"]]).all():
        return "not known"
    if row[f"{of}_low"] > 0:
        return f"rare classes lose more, {_points(row[of])} points"
    if row[f"{of}_high"] < 0:
        return f"rare classes lose less, {_points(row[of])} points"
    return f"it cannot be told, {_points(row[of])} points ({_ends(row, of)})"


def _ends(row: pd.Series, of: str) -> str:
    low, high = row[f"{of}_low"], row[f"{of}_high"]
    return f"{_points(low)} to {_points(high)}" if np.isfinite([low, high]).all() else ""


def further(tables: Mapping[str, pd.DataFrame], candidate: str) -> dict[str, Any] | None:
    """Return what the page shows of a candidate's further measures; None where there is none."""
    if "measures" not in tables:
        return None
    own = _own(tables["measures"], candidate)
    if own.empty:
        return None
    return {
        "rows": [_measure(row) for row in own.to_dict("records")],
        "has_control": bool(own["control"].notna().any()),
        "has_reseed": "reseed" in own,
        "notes": _notes(own),
    }


def _notes(own: pd.DataFrame) -> Sequence[str]:
    """Return each note once, with the measures that it is of."""
    noted = own[own["note"] != ""]
    return [
        f"{', '.join(rows['measure'])}: {note}" for note, rows in noted.groupby("note", sort=False)
    ]


def _measure(row: Mapping[str, Any]) -> dict[str, str]:
    found = {name: style.number(row[name], 4) for name in ("before", "after", "control")}
    found |= {name: style.signed(row[name], 4) for name in ("change", "over_control")}
    for name in ("after", "change", "over_control"):
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        form = style.number if name == "after" else style.signed
        known = np.isfinite([low, high]).all()
        found[f"{name}_ends"] = f"{form(low, 4)} to {form(high, 4)}" if known else ""
    return found | {
        "measure": row["measure"],
        "reseed": style.number(row.get("reseed", np.nan), 4),
    }
