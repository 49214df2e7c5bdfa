"""Cells that are trained differently: compared by what each is beyond its own control."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recall_distortion.inference.notes import NO_OWN_CONTROL, TRAINED_APART
from recall_distortion.inference.questions import contrasts
from tests import synthetic

PLACE = ("digits", "mlp")
ARMS = {"rounds": "control_iterative", "rewound": "control_rewind", "again": "control_rewind"}
# What a training does by itself, and what pruning adds at each ratio.
TRAINING = {
    ("control", 1.0): 0.9,
    ("control_rewind", 1.0): 1.1,
    ("control_iterative", 2.0): 0.8,
    ("control_iterative", 4.0): 0.6,
}
ADDED = {2.0: 0.0, 4.0: 0.3}


def at(method: str, ratio: float) -> tuple[str, float]:
    arm = ARMS.get(method, "control")
    return arm, ratio if arm == "control_iterative" else 1.0


def table(seeds: int = 30) -> pd.DataFrame:
    """Return networks of four methods that all add the same to what their training does."""
    means = {(*PLACE, *cell): mean for cell, mean in TRAINING.items()}
    for method in ("once", *ARMS):
        for ratio, added in ADDED.items():
            means[*PLACE, method, ratio] = TRAINING[at(method, ratio)] + added
    found = synthetic.networks(means, seeds=seeds, sd=0.05)
    return found.assign(control=[ARMS.get(method, "") for method in found["method"]])


def slopes(networks: pd.DataFrame, method: str, ratio: float) -> pd.Series:
    chosen = (networks["method"] == method) & (networks["ratio"] == ratio)
    return networks[chosen].set_index("seed")["alpha"]


def asked(networks: pd.DataFrame, question: str) -> list[dict]:
    found = contrasts.tests(networks, {})
    return found[found["question"] == question].to_dict("records")


def expected(networks: pd.DataFrame, left: tuple[str, float], right: tuple[str, float]):
    """Return the differences by seed, and whether they are of effects."""
    moved = slopes(networks, *left) - slopes(networks, *right)
    own, other = at(*left), at(*right)
    if own == other:
        return moved, False
    return moved - slopes(networks, *own) + slopes(networks, *other), True


def check(row: dict, moved: pd.Series, apart: bool) -> None:
    moved = moved.dropna()
    assert row["estimate"] == pytest.approx(moved.mean(), abs=1e-12)
    tested = stats.ttest_1samp(moved, 0, alternative=row["alternative"])
    assert row["p"] == pytest.approx(tested.pvalue, rel=1e-6, abs=1e-13)
    assert (TRAINED_APART in row["note"]) == apart


def test_methods_are_compared_beyond_their_controls():
    networks = table()
    rows = asked(networks, "method")
    assert len(rows) == 2 * 6
    for row in rows:
        moved, apart = expected(networks, (row["left"], row["ratio"]), (row["right"], row["ratio"]))
        assert apart == ({row["left"], row["right"]} != {"rewound", "again"})
        check(row, moved, apart)
        # All add the same; their slopes as they are lie up to 0.5 apart.
        assert abs(row["estimate"]) < 0.1
        assert row["p_adjusted"] > 0.01
    raw = slopes(networks, "rounds", 4.0) - slopes(networks, "rewound", 4.0)
    assert raw.mean() < -0.4


def test_ratios_of_rounds_are_compared_beyond_the_controls_of_their_rounds():
    networks = table()
    rows = {row["method"]: row for row in asked(networks, "ratio")}
    assert set(rows) == {"once", *ARMS}
    for method, row in rows.items():
        moved, apart = expected(networks, (method, 2.0), (method, 4.0))
        assert apart == (method == "rounds")
        check(row, moved, apart)
        assert row["estimate"] == pytest.approx(-0.3, abs=0.1)
        assert row["p_adjusted"] < 1e-6


def test_seeds_without_all_four_networks_make_no_pair():
    networks = table()
    lost = (networks["method"] == "control_rewind") & (networks["seed"] < 3)
    networks = networks[~lost]
    row = next(r for r in asked(networks, "method") if (r["left"], r["right"]) == ("once", "again"))
    check(row, *expected(networks, ("once", 2.0), ("again", 2.0)))
    assert row["n_left"] == 27
    assert "27 of 30 seeds make pairs" in row["note"]


def test_without_a_control_what_is_trained_apart_is_not_compared():
    networks = table()
    networks = networks[networks["method"] != "control_rewind"]
    for row in asked(networks, "method"):
        sides = {row["left"], row["right"]}
        missing = len(sides & {"rewound", "again"}) == 1
        assert (row["note"] == NO_OWN_CONTROL) == missing
        assert np.isnan(row["p"]) == np.isnan(row["estimate"]) == missing
