"""Measures of fairness: worked by hand, computed another way, and what must hold of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix

from recall_distortion.inference.questions.class_measures import class_measures
from recall_distortion.inference.questions.measures import measured
from recall_distortion.measures.calibration import calibration_error, class_errors
from recall_distortion.measures.distortion import split_halves
from recall_distortion.measures.networks import measure
from recall_distortion.measures.of_networks import MEASURES, _counts
from recall_distortion.tables.forgetting import BETTER, WORSE
from recall_distortion.tables.predictions import Predictions, Trained
from recall_distortion.tables.schema import COLUMNS
from recall_distortion.vocabulary import CONTROL, DENSE, RESEED, RETRAINED, Panel

CLASSES = 4
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(CLASSES), [20, 30, 40, 50]))
NAMED = {one.column.name: one for one in MEASURES}


def predictions(method: str, state: str, wrong: list[float], seed: int) -> Predictions:
    rng = np.random.default_rng(seed)
    shape = (6, len(LABELS))
    miss = rng.random(shape) < np.asarray(wrong)[LABELS]
    predicted = np.where(miss, rng.integers(0, CLASSES, shape), LABELS).astype(np.uint8)
    return Predictions(
        Panel("digits", "mlp", "usual"), method, "1" if method != "magnitude" else "2", state,
        list(range(6)), list("abcd"), LABELS, predicted, {Trained(): 6},
        (rng.random(shape) * 3).astype(np.float16),
        rng.uniform(0.25, 1, shape).astype(np.float16),
    )  # fmt: skip


@pytest.fixture
def dense() -> Predictions:
    return predictions(DENSE, DENSE, [0.3, 0.2, 0.2, 0.1], 1)


@pytest.fixture
def own() -> Predictions:
    return predictions("magnitude", RETRAINED, [0.6, 0.3, 0.2, 0.1], 2)


def values(name: str, own: Predictions, dense: Predictions) -> np.ndarray:
    return NAMED[name].values(own, dense)


def rates(of: Predictions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return accuracy [K], FPR and FNR [K, C] from each network's confusion matrix."""
    tables = np.array([confusion_matrix(LABELS, labels) for labels in of.predicted], float)
    right = np.diagonal(tables, axis1=1, axis2=2)
    true, named = tables.sum(axis=2), tables.sum(axis=1)
    return right.sum(1) / len(LABELS), (named - right) / (len(LABELS) - true), 1 - right / true


def test_gaps_and_errors_are_those_of_confusion_matrices(own, dense) -> None:
    (accuracy, fpr, fnr), (before, dense_fpr, dense_fnr) = rates(own), rates(dense)
    psi = (fnr - dense_fnr) - (before - accuracy)[:, None]
    np.testing.assert_allclose(values("max_psi", own, dense), psi.max(1))
    np.testing.assert_allclose(values("psi_range", own, dense), psi.max(1) - psi.min(1))
    a, b = (fpr - dense_fpr) / dense_fpr.mean(0), (fnr - dense_fnr) / dense_fnr.mean(0)
    cev = ((a - a.mean(1, keepdims=True)) ** 2 + (b - b.mean(1, keepdims=True)) ** 2).mean(1)
    np.testing.assert_allclose(values("cev", own, dense), cev)
    np.testing.assert_allclose(values("sde", own, dense), np.abs(a - b).mean(1) / np.sqrt(2))
    assert (values("cev_left_out", own, dense) == 0).all()


def test_a_class_without_errors_is_left_out_and_counted(own, dense) -> None:
    perfect = Predictions(**{**vars(dense), "predicted": np.where(LABELS == 3, 3, dense.predicted)})
    kept = np.array([c for c in range(CLASSES) if c != 3])
    (_, fpr, fnr), (_, dense_fpr, dense_fnr) = rates(own), rates(perfect)
    a = ((fpr - dense_fpr) / dense_fpr.mean(0))[:, kept]
    b = ((fnr - dense_fnr)[:, kept]) / dense_fnr.mean(0)[kept]
    np.testing.assert_allclose(values("sde", own, perfect), np.abs(a - b).mean(1) / np.sqrt(2))
    assert (values("cev_left_out", own, perfect) == 1).all()
    every = Predictions(**{**vars(dense), "predicted": np.tile(LABELS, (6, 1))})
    assert np.isnan(values("cev", own, every)).all()
    assert (values("cev_left_out", own, every) == CLASSES).all()


def test_nothing_changed_is_zero_in_all_that_compares(dense) -> None:
    for one in MEASURES:
        if one.relative:
            assert (one.values(dense, dense) == 0).all(), one.title


def test_the_crossfitted_maximum_is_taken_on_other_images(own, dense) -> None:
    found = []
    for half in split_halves(LABELS, _counts.SPLITS):
        psi = []
        for part in (half, ~half):
            lost = (dense.predicted == LABELS).astype(float) - (own.predicted == LABELS)
            of_class = [lost[:, part & (c == LABELS)].mean(1) for c in range(CLASSES)]
            psi.append(np.array(of_class).T - lost[:, part].mean(1)[:, None])
        for chosen, other in (psi, psi[::-1]):
            found.append(other[np.arange(6), chosen.argmax(1)])
    np.testing.assert_allclose(values("max_psi_crossfit", own, dense), np.mean(found, axis=0))


def test_without_an_effect_the_crossfitted_maximum_is_not_raised() -> None:
    first, second = (predictions(DENSE, DENSE, [0.2] * 4, seed) for seed in (5, 6))
    many = {"max_psi": [], "max_psi_crossfit": []}
    for shift in range(40):
        other = predictions("magnitude", RETRAINED, [0.2] * 4, 100 + shift)
        for name in many:
            many[name] += values(name, other, first if shift % 2 else second).tolist()
    error = np.std(many["max_psi_crossfit"]) / np.sqrt(40)  # of six networks one dense population
    assert abs(np.mean(many["max_psi_crossfit"])) < 4 * error < np.mean(many["max_psi"])


def test_calibration_is_counted_bin_by_bin(own) -> None:
    probability = own.probability.astype(float)
    for k, found in enumerate(calibration_error(LABELS, own.predicted, own.probability)):
        total = 0.0
        for b in range(10):
            inside = (probability[k] > b / 10) & (probability[k] <= (b + 1) / 10)
            if inside.any():
                right = (own.predicted[k] == LABELS)[inside]
                total += inside.mean() * abs(probability[k][inside].mean() - right.mean())
        assert found == pytest.approx(total)
    by_class = class_errors(LABELS, own.predicted, own.probability, CLASSES)
    for c in range(CLASSES):
        one = own.predicted[0] == c
        expected = calibration_error(LABELS[one], own.predicted[:1, one], own.probability[:1, one])
        assert by_class[0, c] == pytest.approx(expected[0])


def test_what_needs_probabilities_or_losses_says_nothing_without(own, dense) -> None:
    bare = Predictions(**{**vars(own), "loss": None, "probability": None})
    for name in ("uncertainty", "calibration_error", "excess_loss_range"):
        assert np.isnan(values(name, bare, dense)).all()
    unknown = own.probability.copy()
    unknown[2, 3] = np.nan
    broken = Predictions(**{**vars(own), "probability": unknown})
    for name in ("uncertainty", "calibration_error"):
        assert np.flatnonzero(np.isnan(values(name, broken, dense))).tolist() == [2]
    assert np.isnan(class_errors(LABELS, own.predicted, unknown, CLASSES)[2]).all()


def test_loss_confidence_and_shares(own, dense) -> None:
    grown = own.loss.astype(float) - dense.loss
    spread = np.array([grown[:, c == LABELS].mean(axis=1) for c in range(CLASSES)]).T
    np.testing.assert_allclose(values("excess_loss_range", own, dense), np.ptp(spread, axis=1))
    np.testing.assert_allclose(
        values("uncertainty", own, dense), (own.probability < np.float16(0.9)).mean(1)
    )
    named = np.array([np.bincount(labels, minlength=CLASSES) for labels in own.predicted])
    shift = np.abs(named - np.bincount(LABELS)).sum(1) / 2 / len(LABELS)
    np.testing.assert_allclose(values("prediction_shift", own, dense), shift)


@pytest.fixture
def tables(own, dense) -> tuple[pd.DataFrame, pd.DataFrame]:
    control = predictions(CONTROL, RETRAINED, [0.3, 0.2, 0.2, 0.1], 3)
    return measure([dense, control, own], pd.DataFrame(columns=COLUMNS["sparsity"]), [], splits=2)


def test_a_cell_is_worse_or_better_than_the_control(tables) -> None:
    table = measured(tables[1])
    verdicts = table[table["method"] == "magnitude"].set_index("measure")
    assert verdicts.loc["range of excess gaps", "verdict"] == WORSE
    assert verdicts.loc["worst recall", "verdict"] == WORSE
    assert verdicts.loc["worst recall", "over_control"] < 0
    assert verdicts.loc["classes without errors", "verdict"] == ""
    assert not (table.loc[table["method"] == CONTROL, "verdict"].fillna("") != "").any()
    flipped = tables[1].assign(method=tables[1]["method"].replace(
        {"magnitude": CONTROL, CONTROL: "magnitude"}))  # fmt: skip
    flipped["ratio"] = np.where(flipped["method"] == "magnitude", 2.0, 1.0)
    back = measured(flipped).query("method == 'magnitude'").set_index("measure")
    assert back.loc["range of excess gaps", "verdict"] == BETTER


def test_classes_beside_dense_and_control(tables, own, dense) -> None:
    recall, _ = tables
    found = class_measures(recall).set_index(["method", "class"])
    named = np.array([np.bincount(labels, minlength=CLASSES) for labels in own.predicted])
    before = np.array([np.bincount(labels, minlength=CLASSES) for labels in dense.predicted])
    support = np.bincount(LABELS)
    for c in range(CLASSES):
        row = found.loc[("magnitude", str(c))]
        assert row["named_share_mean"] == pytest.approx((named[:, c] / support[c]).mean())
        change = ((named - before)[:, c] / support[c]).mean()
        assert row["named_share_change"] == pytest.approx(change)
        assert row["named_share_change_reference"] == pytest.approx(
            (before[:, c] / support[c]).mean()
        )
        assert np.isfinite(row["calibration_error_over_control"])
        pairs = ((before[1::2] - before[0::2])[:, c] / support[c]).mean()
        assert found.loc[(RESEED, str(c)), "named_share_change"] == pytest.approx(pairs)
