"""Accuracy beside distortion, by hand, by brute force, and where there is nothing to compare."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recall_distortion.inference.questions import tradeoff as module
from recall_distortion.inference.questions.slopes import slopes as slopes_of
from recall_distortion.system.errors import TableError
from recall_distortion.vocabulary import (
    CELL_STATE,
    COMPRESSED,
    CONTROL,
    DEINTENSIFICATION,
    DENSE,
    INCONCLUSIVE,
    INTENSIFICATION,
    RETRAINED,
)
from tests import synthetic

PRUNED = ("magnitude", 2.0, COMPRESSED)
FINE = ("magnitude", 2.0, RETRAINED)
ACCURACY = ["accuracy_change", "accuracy_low", "accuracy_high"]
OVER = ["accuracy_over_control", "over_control_low", "over_control_high"]


def table(study: dict[str, pd.DataFrame], level: float = 0.99) -> pd.DataFrame:
    """Return the question's table, and of each cell its slope and the verdict on that."""
    of_cells = slopes_of(study["networks"], level)
    found = module.tradeoff(study["recall"], study["networks"], of_cells, level)
    names = {"mean": "alpha", "verdict": "alpha_verdict"}
    return found.merge(of_cells[[*CELL_STATE, *names]].rename(columns=names), on=CELL_STATE)


def test_worked_by_hand() -> None:
    # Two classes of 100 images. Accuracies: dense 0.80 and 0.82, the control's 0.81 and 0.84,
    # pruned and fine-tuned 0.83 and 0.85: + 0.03 each against dense, + 0.02 and + 0.01 against the
    # control. Balances: dense +-0.1 and +-0.08, fine-tuned +-0.02 and +-0.04.
    study = synthetic.counted(
        {
            synthetic.DENSE: {0: [90, 70], 1: [90, 74]},
            synthetic.CONTROL: {0: [85, 77], 1: [86, 82]},
            FINE: {0: [85, 81], 1: [89, 81]},
        },
        [100, 100],
    )
    control, row = table(study, 0.95).to_dict("records")
    assert (row["n"], row["level"]) == (2, 0.95)
    assert row["accuracy_before"] == pytest.approx(0.81)
    assert row["accuracy_after"] == pytest.approx(0.84)
    assert [row[name] for name in ACCURACY] == pytest.approx([0.03, 0.03, 0.03])
    # mean 0.015, s = 0.01 / sqrt(2): half width 12.7062 (t, 1 df, 97.5 %) * s / sqrt(2) = 0.063531
    assert [row[name] for name in OVER] == pytest.approx([0.015, -0.048531, 0.078531], abs=1e-6)
    assert row["variance_before"] == pytest.approx((0.1**2 + 0.08**2) / 2)
    assert row["variance_after"] == pytest.approx((0.02**2 + 0.04**2) / 2)
    # alpha = (0.02 / 0.83) / (0.1 / 0.8) and (0.04 / 0.85) / (0.08 / 0.82)
    assert row["alpha"] == pytest.approx((0.19277108 + 0.48235294) / 2, abs=1e-8)
    assert (row["alpha_verdict"], row["note"]) == (INCONCLUSIVE, "")
    assert control["method"] == CONTROL
    assert np.isnan([control[name] for name in OVER]).all()
    assert control["accuracy_change"] == pytest.approx(0.015)


def test_against_scipy_on_a_study_with_lost_seeds() -> None:
    study = synthetic.random_study({"magnitude": [2, 4], "random": [2]}, seeds=9, classes=5)
    networks = study["networks"]
    networks = networks[~((networks["method"] == CONTROL) & networks["seed"].isin([1, 2]))]
    networks = networks[~((networks["method"] == "random") & (networks["seed"] == 5))]
    mixed = study["networks"] = networks.sample(frac=1, random_state=1)
    found = table(study)
    assert list(found.columns)[:-2] == module.COLUMNS
    compared = mixed[mixed["method"] != DENSE]
    cells = compared[["method", "ratio", "state"]].drop_duplicates().to_numpy().tolist()
    assert found[["method", "ratio", "state"]].to_numpy().tolist() == cells
    control = networks[networks["method"] == CONTROL].set_index("seed")["accuracy"]
    recall = study["recall"].assign(square=study["recall"]["balance"] ** 2)
    for row in found.to_dict("records"):
        own = (networks["method"] == row["method"]) & (networks["ratio"] == row["ratio"])
        cell = networks[own & (networks["state"] == row["state"])].set_index("seed")
        test = stats.ttest_rel(cell["accuracy"], cell["accuracy_before"])
        low, high = test.confidence_interval(0.99)
        assert (row["accuracy_low"], row["accuracy_high"]) == pytest.approx((low, high), rel=1e-9)
        moved = stats.sem(cell["accuracy"] - cell["accuracy_before"])
        assert (row["std_error"], row["df"]) == (pytest.approx(moved), len(cell) - 1)
        for name, state in (("variance_before", DENSE), ("variance_after", row["state"])):
            method = DENSE if state == DENSE else row["method"]
            chosen = (recall["method"] == method) & (recall["state"] == state)
            chosen &= recall["seed"].isin(cell.index)
            if state != DENSE:
                chosen &= recall["ratio"] == row["ratio"]
            # Every network has the same classes, so the mean of means is the mean.
            assert row[name] == pytest.approx(recall.loc[chosen, "square"].mean(), rel=1e-9)
        assert row["variance_change"] == row["variance_after"] - row["variance_before"]
        if row["method"] == CONTROL:
            continue
        both = cell.index.intersection(control.index)
        difference = cell.loc[both, "accuracy"] - control[both]
        assert (row["control_n"], row["control_accuracy"]) == (
            len(both), pytest.approx(control[both].mean()),
        )  # fmt: skip
        low, high = stats.ttest_1samp(difference, 0).confidence_interval(0.99)
        assert row["accuracy_over_control"] == pytest.approx(difference.mean(), rel=1e-9)
        assert (row["over_control_low"], row["over_control_high"]) == pytest.approx((low, high))
        pairs = 6 if row["method"] == "random" else 7
        assert row["note"] == f"against the control, {pairs} of 9 seeds make pairs"


@pytest.mark.parametrize(
    ("counts", "improves"),
    [
        ([[86, 84], [87, 84], [86, 85]], "both"),
        ([[97, 67], [98, 68], [97, 66]], "accuracy"),
        ([[76, 74], [77, 74], [76, 75]], "balance"),
        ([[90, 68], [90, 70], [91, 69]], "neither"),
        ([[86, 84], [60, 60], [95, 60]], "neither"),
    ],
)
def test_what_a_cell_improves(counts: list[list[int]], improves: str) -> None:
    dense = {seed: [90, 70] for seed in range(3)}
    study = synthetic.counted({synthetic.DENSE: dense, FINE: dict(enumerate(counts))}, [100, 100])
    (row,) = table(study, 0.95).to_dict("records")
    assert row["improves"] == improves
    assert (row["accuracy_low"] > 0) == (improves in ("both", "accuracy"))
    assert (row["alpha_verdict"] == DEINTENSIFICATION) == (improves in ("both", "balance"))


@pytest.mark.parametrize(
    ("counts", "apart"), [([61, 79], False), ([45, 95], True)], ids=["closer", "further apart"]
)
def test_a_low_slope_with_recalls_further_apart_is_noted(counts: list[int], apart: bool) -> None:
    """Balances of +-0.1 turn round, to -+0.09 of an accuracy of 0.7 and to -+0.25."""
    dense = {seed: [90, 70] for seed in range(3)}
    fine = {seed: counts for seed in range(3)}
    (row,) = table(synthetic.counted({synthetic.DENSE: dense, FINE: fine}, [100, 100])).to_dict(
        "records"
    )
    assert (row["alpha"] < -1, row["alpha_verdict"]) == (True, DEINTENSIFICATION)
    assert (row["variance_after"] > row["variance_before"]) == apart
    assert ("further apart" in row["note"]) == apart
    assert row["improves"] == ("neither" if apart else "balance")


def test_before_fine_tuning_is_compared_with_the_finetuned_control() -> None:
    cells = {
        synthetic.DENSE: {0: [90, 70], 1: [90, 74]},
        synthetic.CONTROL: {0: [90, 80], 1: [90, 80]},
        PRUNED: {0: [50, 30], 1: [52, 30]},
    }
    found = table(synthetic.counted(cells, [100, 100])).set_index("state")
    assert found.loc[COMPRESSED, "accuracy_over_control"] == pytest.approx(0.405 - 0.85)


def test_one_seed_has_means_only() -> None:
    found = table(synthetic.random_study({"magnitude": [2]}, seeds=1))
    assert found[["accuracy_change", "alpha", "variance_after"]].notna().all(axis=None)
    assert found[["accuracy_low", "over_control_low"]].isna().all(axis=None)
    assert set(found["improves"]) == {""}
    assert found["note"].str.startswith("one replicate").all()


def test_without_a_control_the_note_says_so() -> None:
    found = table(synthetic.random_study({"magnitude": [2]}, control=False))
    assert found[OVER].isna().all(axis=None)
    assert found["note"].str.startswith("no control: nothing").all()
    assert found[ACCURACY].notna().all(axis=None)
    assert "" not in set(found["improves"])


def test_one_class_has_no_slope() -> None:
    found = table(synthetic.random_study({"magnitude": [2]}, classes=1))
    assert found["alpha"].isna().all()
    assert set(found["improves"]) == {""}
    assert found["note"].str.contains("slopes are not finite").all()
    assert (found[["variance_before", "variance_after"]] == 0).all(axis=None)


@pytest.mark.parametrize("counts", [[100, 0], [0, 0]], ids=["one class predicted", "accuracy 0"])
def test_a_collapsed_method(counts: list[int]) -> None:
    study = synthetic.random_study(
        {"magnitude": [2]}, seeds=5, classes=2, images=100, collapsed={FINE: counts}
    )
    found = table(study).set_index(["method", "state"])
    row = found.loc["magnitude", RETRAINED]
    accuracy = sum(counts) / 200
    assert row["accuracy_after"] == accuracy
    assert np.isfinite(row[[*ACCURACY, *OVER]].to_numpy(float)).all()
    assert row["variance_after"] == pytest.approx(accuracy**2)  # recalls 1 and 0 about 0.5
    if accuracy:
        assert (row["alpha_verdict"], row["improves"]) == (INTENSIFICATION, "neither")
    else:
        assert row["improves"] == ""
        assert row["note"].startswith("5 of 5 slopes are not finite")


def test_errors_name_the_column_and_the_replicate() -> None:
    study = synthetic.random_study({"magnitude": [2]})
    recall, networks = study["recall"], study["networks"]
    of_cells = slopes_of(networks)
    with pytest.raises(TableError, match="lacks the column balance"):
        module.tradeoff(recall.drop(columns="balance"), networks, of_cells)
    with pytest.raises(TableError, match="more than one row"):
        module.tradeoff(recall, pd.concat([networks, networks]), of_cells)
    with pytest.raises(TableError, match="between 0 and 1"):
        module.tradeoff(recall, networks, of_cells, level=99)
