"""Slopes without a class: by hand, by least squares, and where nothing is left to compare."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recall_distortion.inference.questions import influence as module
from recall_distortion.inference.questions.influence import CHANGES, KEEPS
from recall_distortion.inference.questions.slopes import slopes as slopes_of
from recall_distortion.inference.statistics.intervals import verdict
from recall_distortion.system.errors import TableError
from recall_distortion.vocabulary import (
    CONTROL,
    DEINTENSIFICATION,
    DENSE,
    INTENSIFICATION,
    RESEED,
    RETRAINED,
)
from tests import synthetic

FINE = ("magnitude", 2.0, RETRAINED)


def table(study: dict[str, pd.DataFrame], level: float = 0.99) -> pd.DataFrame:
    return module.influence(study["recall"], slopes_of(study["networks"], level), level)


def test_the_papers_worked_example() -> None:
    """Recalls 0.9 and 0.7 become 0.7 and 0.5: each class alone has the slope 4/3 of both."""
    before, after = np.array([[1 / 8, -1 / 8]]), np.array([[1 / 6, -1 / 6]])
    assert module.slopes_without(before, after) == pytest.approx(np.full((1, 2), 4 / 3))
    study = synthetic.counted({synthetic.DENSE: {0: [9, 7]}, FINE: {0: [7, 5]}}, [10, 10])
    found = table(study)
    assert list(found["mean"]) == pytest.approx([4 / 3, 4 / 3])
    assert list(slopes_of(study["networks"])["mean"]) == pytest.approx([4 / 3])


def test_worked_by_hand_with_three_classes() -> None:
    # x = (2, -1, -1), y = (3, -3, 0): slope 9/6; without each class 3/2, 6/5 and 9/5.
    before, after = np.array([[2.0, -1, -1]]), np.array([[3.0, -3, 0]])
    assert module.slopes_without(before, after) == pytest.approx(np.array([[1.5, 1.2, 1.8]]))


def test_a_dominant_class_does_not_cancel_the_others() -> None:
    """The total less the class would leave nothing but rounding of the slope 3 of the others."""
    before, after = np.array([[1e9, 1e-3, -1e-3]]), np.array([[1e9, 3e-3, -3e-3]])
    assert module.slopes_without(before, after)[0, 0] == pytest.approx(3, rel=1e-12)


def test_against_least_squares() -> None:
    study = synthetic.random_study({"magnitude": [2, 4], "random": [10]}, seeds=7, classes=5)
    found = table(study, 0.95)
    assert list(found.columns) == module.COLUMNS
    cells = [(CONTROL, 1.0), ("magnitude", 2.0), ("magnitude", 4.0), ("random", 10.0)]
    assert found[["method", "ratio"]].apply(tuple, axis=1).tolist() == [
        cell for cell in cells for _ in range(5)
    ]
    assert set(found["state"]) == {RETRAINED}
    assert list(found["class"]) == list(range(5)) * 4
    assert list(found["class_name"]) == [f"class {c}" for c in range(5)] * 4
    recall = study["recall"]
    dense = recall[recall["state"] == DENSE]
    of_cells = slopes_of(study["networks"], 0.95).set_index(["method", "ratio", "state"])
    for row in found.to_dict("records"):
        own = (recall["method"] == row["method"]) & (recall["ratio"] == row["ratio"])
        own &= recall["state"] == RETRAINED
        slopes, whole = [], []
        for seed in range(7):
            x = dense[dense["seed"] == seed].set_index("class")["normalized_balance"]
            y = recall[own & (recall["seed"] == seed)].set_index("class")["normalized_balance"]
            for fits, kept in ((slopes, x.index != row["class"]), (whole, x.index >= 0)):
                fitted, *_ = np.linalg.lstsq(x[kept].to_numpy()[:, None], y[kept], rcond=None)
                fits.append(fitted[0])
        low, high = stats.ttest_1samp(slopes, 1).confidence_interval(0.95)
        assert row["mean"] == pytest.approx(np.mean(slopes), rel=1e-9)
        assert (row["low"], row["high"]) == pytest.approx((low, high), rel=1e-9)
        assert row["verdict"] == verdict(low, high)
        low_all, high_all = stats.ttest_1samp(whole, 1).confidence_interval(0.95)
        of_all = of_cells.loc[(row["method"], row["ratio"], RETRAINED)]
        assert of_all["mean"] == pytest.approx(np.mean(whole), rel=1e-9)
        assert of_all["verdict"] == verdict(low_all, high_all)
        assert row["changes"] == (CHANGES if row["verdict"] != of_all["verdict"] else KEEPS)
        assert (row["n"], row["level"], row["df"]) == (7, 0.95, 6)
        assert row["std_error"] == pytest.approx(stats.sem(slopes), rel=1e-9)


def test_a_verdict_that_hangs_on_one_class() -> None:
    # Balances of 4, -3, -2, 1 units become 6, -2, -3, -1: slope 35/30, but 11/14 without the first.
    units = dict(enumerate((19, 20, 21, 20, 19, 21)))
    dense = {seed: [880, 740, 760, 820] for seed in units}
    fine = {s: [800 + 6 * u, 800 - 2 * u, 800 - 3 * u, 800 - u] for s, u in units.items()}
    study = synthetic.counted({synthetic.DENSE: dense, FINE: fine}, [1000] * 4)
    found, of_all = table(study), slopes_of(study["networks"])
    assert list(found["mean"]) == pytest.approx([11 / 14, 29 / 21, 29 / 26, 36 / 29])
    assert list(of_all["mean"]) == pytest.approx([35 / 30])
    assert list(of_all["verdict"]) == [INTENSIFICATION]
    assert list(found["verdict"]) == [DEINTENSIFICATION, *[INTENSIFICATION] * 3]
    assert list(found["changes"]) == [CHANGES, KEEPS, KEEPS, KEEPS]


def test_other_states_and_baselines_are_left_out() -> None:
    study = synthetic.random_study({"magnitude": [2]})
    networks = study["networks"]
    reseed = networks[networks["method"] == CONTROL].assign(method=RESEED, state=DENSE)
    study["networks"] = pd.concat([networks, reseed])
    found = table(study)
    assert set(found["method"]) == {CONTROL, "magnitude"}
    assert set(found["state"]) == {RETRAINED}


def test_names_of_classes_and_order_of_seeds_are_kept() -> None:
    study = synthetic.random_study({"magnitude": [2]}, names=["b", "NA", "a", "1"])
    expected = table(study)
    assert list(expected["class_name"]) == ["b", "NA", "a", "1"] * 2
    first = study["recall"]["method"] != DENSE
    shuffled = pd.concat([study["recall"][first], study["recall"][~first]])
    shuffled = shuffled.sort_values("seed", ascending=False, kind="stable")
    pd.testing.assert_frame_equal(
        table({**study, "recall": shuffled}).sort_values(["method", "class"], ignore_index=True),
        expected.sort_values(["method", "class"], ignore_index=True),
    )


def test_one_seed_has_means_only() -> None:
    found = table(synthetic.random_study({"magnitude": [2]}, seeds=1))
    assert found["mean"].notna().all()
    assert found[["low", "high"]].isna().all(axis=None)
    assert set(found["changes"]) == {""}
    assert set(found["n"]) == {1}


def test_one_class_leaves_nothing() -> None:
    found = table(synthetic.random_study({"magnitude": [2]}, classes=1))
    assert len(found) == 2
    assert found[["mean", "low", "high"]].isna().all(axis=None)
    assert set(found["changes"]) == {""}
    assert set(found["n"]) == {0}


@pytest.mark.parametrize("counts", [[0, 100, 0], [0, 0, 0]], ids=["one class", "accuracy 0"])
def test_a_collapsed_method(counts: list[int]) -> None:
    study = synthetic.random_study(
        {"magnitude": [2]},
        seeds=5,
        classes=3,
        images=100,
        control=False,
        collapsed={FINE: counts},
    )
    found = table(study)
    assert len(found) == 3
    if sum(counts):
        assert np.isfinite(found[["mean", "low", "high"]].to_numpy()).all()
        # Balances are 2 for the class predicted and -1 for the others, whose own slopes are left.
        assert found.loc[1, "mean"] == pytest.approx(slope_of_others(study["recall"]))
    else:
        assert found["mean"].isna().all()
        assert set(found["n"]) == {0}
        assert set(found["changes"]) == {""}


def slope_of_others(recall: pd.DataFrame) -> float:
    dense = recall[recall["method"] == DENSE]
    x = dense.pivot(index="seed", columns="class", values="recall").to_numpy()
    x = (x / x.mean(1, keepdims=True) - 1)[:, [0, 2]]
    return float((-x.sum(1) / (x**2).sum(1)).mean())


def test_no_dense_networks_no_rows() -> None:
    study = synthetic.random_study({"magnitude": [2]})
    study["recall"] = study["recall"][study["recall"]["state"] != DENSE]
    found = table(study)
    assert found.empty
    assert list(found.columns) == module.COLUMNS


def test_errors_name_the_column_and_the_class() -> None:
    study = synthetic.random_study({"magnitude": [2]})
    recall, of_cells = study["recall"], slopes_of(study["networks"])
    with pytest.raises(TableError, match="lacks the column normalized_balance"):
        module.influence(recall.drop(columns="normalized_balance"), of_cells)
    with pytest.raises(TableError, match=r"more than one row.*class=0"):
        module.influence(pd.concat([recall, recall]), of_cells)
    with pytest.raises(TableError, match="between 0 and 1"):
        module.influence(recall, of_cells, level=99)
