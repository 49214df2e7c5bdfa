"""Intervals against hand computation and scipy, and what they do with values that are missing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import synthetic
from scipy import stats

from recall_distortion.columns import INTERVAL_COLUMNS
from recall_distortion.errors import TableError
from recall_distortion.inference import intervals as module

CELL = ("digits", "mlp", "magnitude", 2.0)


def of(values: list[float]) -> pd.Series:
    table = pd.DataFrame({"alpha": values, "seed": range(len(values)), "state": "finetuned"})
    table[["dataset", "architecture", "method", "ratio"]] = CELL
    return module.intervals(table).iloc[0]


def test_worked_by_hand() -> None:
    # mean 1.3, s = 0.1, n = 3: half width 9.924843 (t, 2 df, 99.5 %) * 0.1 / sqrt(3) = 0.573011
    row = of([1.2, 1.3, 1.4])
    assert row["mean"] == pytest.approx(1.3)
    assert row["high"] - row["mean"] == pytest.approx(0.573011, abs=1e-6)
    assert row["mean"] - row["low"] == pytest.approx(0.573011, abs=1e-6)
    assert row["verdict"] == "inconclusive"


def test_against_scipy() -> None:
    means = {("digits", "mlp", "magnitude", float(r)): 0.8 + 0.02 * r for r in (2, 10, 50)}
    table = synthetic.alpha(means, seeds=30, sd=0.05)
    found = module.intervals(table, level=0.95)
    assert list(found.columns) == INTERVAL_COLUMNS
    for row in found.to_dict("records"):
        values = table.loc[table["ratio"] == row["ratio"], "alpha"]
        low, high = stats.ttest_1samp(values, 1).confidence_interval(0.95)
        assert (row["low"], row["high"]) == pytest.approx((low, high), rel=1e-12)
        assert (row["n"], row["level"], row["family_size"]) == (30, 0.95, 3)
    assert list(found["verdict"]) == ["de-intensification", "inconclusive", "intensification"]


def test_intervals_cover_at_their_level() -> None:
    generator = np.random.default_rng(3)
    samples = generator.normal(1, 0.2, (4000, 5))
    ends = np.array([module.interval(sample, 0.9)[1:] for sample in samples])
    covered = ((ends[:, 0] < 1) & (ends[:, 1] > 1)).mean()
    assert covered == pytest.approx(0.9, abs=4 * np.sqrt(0.9 * 0.1 / 4000))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_slope_that_is_not_finite_is_not_dropped(bad: float) -> None:
    row = of([1.5, bad, 1.6])
    assert row["n"] == 2
    assert np.isnan([row["mean"], row["low"], row["high"]]).all()
    assert row["verdict"] == ""
    why = "not finite (an accuracy of 0, or equal recalls before pruning)"
    assert row["note"] == f"1 of 3 slopes is {why}"
    assert of([bad, 1.0, bad])["note"] == f"2 of 3 slopes are {why}"
    assert of([bad])["note"] == f"1 of 1 slopes is {why}"


def test_one_replicate_has_a_mean_and_no_interval() -> None:
    row = of([1.5])
    assert (row["n"], row["mean"], row["verdict"]) == (1, 1.5, "")
    assert np.isnan([row["low"], row["high"]]).all()
    assert row["note"] == "one replicate: an interval needs two"
    assert of([1.5, 1.6])["note"] == ""


def test_equal_slopes_have_an_interval_of_no_width() -> None:
    row = of([1.1, 1.1, 1.1])
    assert (row["low"], row["mean"], row["high"]) == (1.1, 1.1, 1.1)
    assert row["verdict"] == "intensification"
    assert of([1.0, 1.0])["verdict"] == "inconclusive"


def test_family_is_counted_within_state_and_method() -> None:
    many = synthetic.alpha({("d", "a", "magnitude", float(r)): 1 for r in (2, 4, 10)})
    pruned = synthetic.alpha({("d", "a", "magnitude", 2.0): 1}, state="pruned")
    control = synthetic.alpha({("d", "a", "control", 1.0): 1})
    reseed = synthetic.alpha({("d", "a", "reseed", 1.0): 1}, state="dense")
    found = module.intervals(pd.concat([reseed, many, pruned, control], ignore_index=True))
    assert list(found["family_size"]) == [1, 3, 3, 3, 1, 1]


def test_a_verdict_of_a_difference_is_against_0() -> None:
    assert module.verdict(0.1, 0.2) == "de-intensification"
    assert module.verdict(0.1, 0.2, null=0) == "intensification"
    assert module.verdict(-0.1, 0.2, null=0) == "inconclusive"
    assert module.verdict(np.nan, np.nan, null=0) == ""


def test_errors_name_the_column_and_the_replicate() -> None:
    table = synthetic.alpha({CELL: 1.0})
    with pytest.raises(TableError, match="lacks the column alpha"):
        module.intervals(table.drop(columns="alpha"))
    with pytest.raises(TableError, match=r"more than one row.*seed=0"):
        module.intervals(pd.concat([table, table]))
    with pytest.raises(TableError, match="between 0 and 1"):
        module.intervals(table, level=99)
