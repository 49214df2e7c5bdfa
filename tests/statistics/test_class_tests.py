"""Tests of classes: the published one, and those of pairs, held against scipy's and by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from recall_distortion.inference.questions.class_tests import class_tests
from recall_distortion.inference.statistics.columns import paired, welch
from recall_distortion.vocabulary import COMPRESSED, CONTROL, DENSE, RESEED, RETRAINED
from tests import synthetic

CELL = ("magnitude", 2.0, RETRAINED)


@pytest.fixture(scope="module")
def recall() -> pd.DataFrame:
    return synthetic.random_study({"magnitude": [2, 10]}, seeds=7, classes=4)["recall"]


def arrays(recall: pd.DataFrame, method: str, ratio: float, state: str):
    own = recall[(recall["method"] == method) & (recall["state"] == state)]
    own = own[own["ratio"] == ratio].sort_values(["seed", "class"])
    table = own.pivot(index="seed", columns="class", values="recall")
    return table, own.groupby("seed")["accuracy"].first()


def test_each_is_what_scipy_says(recall: pd.DataFrame) -> None:
    found, counts = class_tests(recall)
    keys = ["method", "ratio", "state"]
    rows = found.set_index(keys).sort_index().loc[CELL].reset_index()
    after, accuracy = arrays(recall, *CELL)
    before, dense_accuracy = arrays(recall, DENSE, 1.0, DENSE)
    control, control_accuracy = arrays(recall, CONTROL, 1.0, RETRAINED)
    own = after.sub(accuracy, axis=0)
    expected = {
        "published": stats.ttest_ind(
            after - accuracy.mean(), before - dense_accuracy.mean(), equal_var=False
        ),
        "own": stats.ttest_ind(own, before.sub(dense_accuracy, axis=0), equal_var=False),
        "paired": stats.ttest_rel(own, before.sub(dense_accuracy, axis=0)),
        "control": stats.ttest_rel(own, control.sub(control_accuracy, axis=0)),
    }
    count = counts.set_index(keys).loc[[CELL]].iloc[0]
    assert count["expected"] == pytest.approx(0.2)
    for name, result in expected.items():
        np.testing.assert_allclose(rows[f"{name}_p"], result.pvalue, rtol=1e-9)
        np.testing.assert_allclose(rows[f"{name}_df"], result.df)
        holm = multipletests(result.pvalue, method="holm")[1]
        np.testing.assert_allclose(rows[f"{name}_p_adjusted"], holm, rtol=1e-9)
        assert count[f"{name}_moved"] == (result.pvalue <= 0.05).sum()
        assert count[f"{name}_adjusted"] == (holm <= 0.05).sum()
    moved = own - control.sub(control_accuracy, axis=0)
    np.testing.assert_allclose(rows["control_change"], moved.mean(), atol=1e-12)


def test_reseed_and_states_without_a_control(recall: pd.DataFrame) -> None:
    found, _ = class_tests(recall)
    reseed = found[found["method"] == RESEED]
    before, accuracy = arrays(recall, DENSE, 1.0, DENSE)
    balance = before.sub(accuracy, axis=0)
    result = stats.ttest_rel(balance.loc[[1, 3, 5]], balance.loc[[0, 2, 4]])
    np.testing.assert_allclose(reseed["paired_p"], result.pvalue, rtol=1e-9)
    assert found.loc[found["state"] == COMPRESSED, "control_p"].isna().all()
    assert found.loc[found["method"] == CONTROL, "control_p"].isna().all()


def test_the_order_of_rows_and_lost_networks_change_nothing_else(recall: pd.DataFrame) -> None:
    lost = (recall["method"] == CONTROL) & (recall["seed"] == 2)
    found = class_tests(recall[~lost].sample(frac=1, random_state=0))[0]
    keys = ["method", "ratio", "state"]
    row = found.set_index(keys).sort_index().loc[CELL].iloc[0]
    assert row["control_n"] == 6
    assert row["paired_n"] == 7


def test_networks_that_all_agree_are_held_against_their_exchanges() -> None:
    """scipy's p is NaN there, or hangs on how the mean of equal numbers rounds."""
    same = np.full((5, 1), 0.1)
    assert paired(same - same).p == 1
    assert paired(same).p == 2 / 2**5  # of signs, all as they are or all turned
    assert welch(same, same).p == 1
    assert welch(same + 0.1, same).p == pytest.approx(2 / 252)  # of 10 networks 5 in a side
    assert np.isnan(paired(same[:1]).p)
    assert np.isnan(welch(same[:1], same).p)
    assert np.isnan(paired(np.array([[0.1], [np.nan]])).p)


@pytest.mark.slow
def test_pairs_see_what_welch_does_not_and_both_keep_their_level() -> None:
    """Networks of one seed share most of what sets seeds apart; class 0 moves by half of that."""
    rng = np.random.default_rng(0)
    seen = {name: np.zeros(2) for name in ("own", "paired")}
    for _ in range(400):
        shared = rng.normal(0, 0.02, (15, 2))
        before = shared + rng.normal(0, 0.005, shared.shape)
        after = shared + rng.normal(0, 0.005, shared.shape)
        after[:, 0] += 0.01
        seen["own"] += welch(after, before).p <= 0.05
        seen["paired"] += paired(after - before).p <= 0.05
    # Of 400 true nulls 20 are expected below 0.05 and at most 33 in 99.9 % of such runs.
    assert seen["own"][1] <= 33
    assert seen["paired"][1] <= 33
    assert seen["paired"][0] > 390 > 200 > seen["own"][0]
