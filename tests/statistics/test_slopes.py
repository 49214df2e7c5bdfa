"""The intervals of mean slopes by hand and by scipy, and what they do with what is missing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recall_distortion.inference.questions import slopes as module
from recall_distortion.system.errors import TableError
from recall_distortion.vocabulary import (
    COMPRESSED,
    CONTROL,
    DEINTENSIFICATION,
    DENSE,
    INCONCLUSIVE,
    INTENSIFICATION,
    RESEED,
    RETRAINED,
)
from tests import synthetic

CELL = ("digits", "mlp", "magnitude", 2.0)


def of(values: list[float]) -> pd.Series:
    return module.slopes(synthetic.networks({CELL: values})).iloc[0]


def test_worked_by_hand() -> None:
    # mean 1.3, s = 0.1, n = 3: half width 9.924843 (t, 2 df, 99.5 %) * 0.1 / sqrt(3) = 0.573011
    row = of([1.2, 1.3, 1.4])
    assert row["mean"] == pytest.approx(1.3)
    assert row["high"] - row["mean"] == pytest.approx(0.573011, abs=1e-6)
    assert row["mean"] - row["low"] == pytest.approx(0.573011, abs=1e-6)
    assert row["std_error"] == pytest.approx(0.1 / np.sqrt(3))
    assert (row["df"], row["verdict"]) == (2, INCONCLUSIVE)


def test_against_scipy() -> None:
    means = {("digits", "mlp", "magnitude", float(r)): 0.8 + 0.02 * r for r in (2, 10, 50)}
    table = synthetic.networks(means, seeds=30, sd=0.05)
    found = module.slopes(table, level=0.95)
    assert list(found.columns) == module.COLUMNS
    for row in found.to_dict("records"):
        values = table.loc[table["ratio"] == row["ratio"], "alpha"]
        test = stats.ttest_1samp(values, 1)
        low, high = test.confidence_interval(0.95)
        assert (row["low"], row["high"]) == pytest.approx((low, high), rel=1e-12)
        assert (row["n"], row["level"], row["family_size"]) == (30, 0.95, 3)
        assert row["df"] == test.df
        assert row["std_error"] == pytest.approx(stats.sem(values), rel=1e-12)
    assert list(found["verdict"]) == [DEINTENSIFICATION, INCONCLUSIVE, INTENSIFICATION]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_slope_that_is_not_finite_is_not_dropped(bad: float) -> None:
    row = of([1.5, bad, 1.6])
    assert (row["n"], row["nonfinite"]) == (2, 1)
    assert np.isnan(row[["mean", "low", "high", "std_error", "df"]].to_numpy(float)).all()
    assert row["verdict"] == ""
    why = "not finite (an accuracy of 0, or equal recalls before pruning)"
    assert row["note"] == f"1 of 3 slopes is {why}"
    assert of([bad, 1.0, bad])["note"] == f"2 of 3 slopes are {why}"
    assert of([bad])["note"] == f"1 of 1 slopes is {why}"


def test_one_replicate_has_a_mean_and_no_interval() -> None:
    row = of([1.5])
    assert (row["n"], row["mean"], row["verdict"]) == (1, 1.5, "")
    assert np.isnan(row[["low", "high", "std_error", "df"]].to_numpy(float)).all()
    assert row["note"] == "one replicate: an interval needs two"
    assert of([1.5, 1.6])["note"] == ""


def test_equal_slopes_have_an_interval_of_no_width() -> None:
    row = of([1.1, 1.1, 1.1])
    assert (row["low"], row["mean"], row["high"]) == (1.1, 1.1, 1.1)
    assert row["verdict"] == INTENSIFICATION
    assert of([1.0, 1.0])["verdict"] == INCONCLUSIVE


def test_family_is_counted_within_state_and_method() -> None:
    many = synthetic.networks({("d", "a", "magnitude", float(r)): 1 for r in (2, 4, 10)})
    pruned = synthetic.networks({("d", "a", "magnitude", 2.0): 1}, state=COMPRESSED)
    control = synthetic.networks({("d", "a", CONTROL, 1.0): 1})
    reseed = synthetic.networks({("d", "a", RESEED, 1.0): 1}, state=DENSE)
    found = module.slopes(pd.concat([reseed, many, pruned, control], ignore_index=True))
    assert list(found["family_size"]) == [1, 3, 3, 3, 1, 1]


def test_dense_networks_and_those_that_failed_have_no_slope() -> None:
    table = synthetic.networks({CELL: 1.0})
    lost = table.iloc[[0, 1]].assign(seed=[6, 7], alpha=np.nan, failure="the loss is nan")
    dense = synthetic.dense({CELL[:2]: 0.9})
    found = module.slopes(pd.concat([dense, table, lost], ignore_index=True))
    pd.testing.assert_frame_equal(found, module.slopes(table))
    assert found["state"].tolist() == [RETRAINED]
    nothing = module.slopes(pd.concat([dense, lost]))
    assert nothing.empty
    assert list(nothing.columns) == module.COLUMNS


def test_cross_fitted_slopes_of_networks_are_summed_up_by_their_median() -> None:
    table = synthetic.networks({CELL: [1.0, 1.1, 1.2, 1.3]})
    table["alpha_crossfit"] = [1.0, -900.0, np.nan, 1.4]
    assert module.slopes(table)["alpha_crossfit"].tolist() == [1.0]
    found = module.slopes(table.drop(columns="alpha_crossfit"))
    assert found["alpha_crossfit"].isna().all()


def test_errors_name_the_column_and_the_replicate() -> None:
    table = synthetic.networks({CELL: 1.0})
    with pytest.raises(TableError, match="lacks the column alpha"):
        module.slopes(table.drop(columns="alpha"))
    with pytest.raises(TableError, match=r"more than one row.*seed=0"):
        module.slopes(pd.concat([table, table]))
    with pytest.raises(TableError, match="between 0 and 1"):
        module.slopes(table, level=99)
