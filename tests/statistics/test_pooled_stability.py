"""The pooled slope's rules of stability and of narrowness, where the truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pooled_studies import MAGNITUDE, PLAIN, nothing, of, study

from recall_distortion import vocabulary as words
from recall_distortion.inference.questions.pooled import (
    NEVER_NAMED,
    ONE_EACH,
    pooled,
)
from tests.synthetic import CONTROL, DENSE, drawn, pictured

TRUTH = 1.3


def of_known_balances(images: int, seeds: int = 300) -> tuple[pd.Series, float, float]:
    """Return the pooled row, the naive slope's expected attenuation, the jackknife's error.

    The true dense balances of ten classes have sd 0.05, accuracies are 0.85 and 0.75.
    """
    rng = np.random.default_rng(11)
    labels = np.repeat(np.arange(10), images)
    balances = rng.normal(0, 0.05, (seeds, 10))
    balances -= balances.mean(1, keepdims=True)
    networks = {
        DENSE: drawn(rng, labels, 0.85, balances),
        MAGNITUDE: drawn(rng, labels, 0.75, TRUTH * balances),
    }
    made = pictured(labels, networks, splits=20)
    recalls = 0.85 * (1 + balances)
    # Centred at the accuracy, the balances lose one of ten classes' worth of error.
    noise = 0.9 * (recalls * (1 - recalls)).sum() / (images * 0.85**2)
    attenuation = (balances**2).sum() / ((balances**2).sum() + noise)
    after = made["networks"][made["networks"]["method"] != words.DENSE]
    numerator, denominator = (
        after[c].to_numpy() for c in ("crossfit_numerator", "crossfit_denominator")
    )
    left_out = (numerator.sum() - numerator) / (denominator.sum() - denominator)
    error = float(np.sqrt((seeds - 1) * left_out.var()))
    return of(pooled(**made), MAGNITUDE), float(attenuation), error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("images", "marked"), [(50, (0.9, 1.0)), (200, (0.2, 0.7)), (1000, (0.0, 0.03))]
)
def test_unstable_slopes_are_marked_and_the_pooled_one_is_unbiased(
    images: int, marked: tuple[float, float]
) -> None:
    """The sampling error per class is 0.06, 0.03 and 0.013, against 0.05 of true balances.

    Over 20, 10 and 3 such studies the cross-fitted slope over the truth was 0.988 ± 0.011,
    0.998 ± 0.004 and 0.998 ± 0.002, the plain one's 0.41, 0.74 and 0.93.
    """
    row, attenuation, error = of_known_balances(images)
    assert marked[0] <= row["unstable"] / row["n"] <= marked[1]
    assert abs(row["alpha_crossfit"] - TRUTH) < 4 * error
    assert error < {50: 0.1, 200: 0.04, 1000: 0.02}[images]
    assert row["crossfit_low"] < TRUTH < row["crossfit_high"]
    # Given the attenuation, the plain slope's error is no larger than the cross-fitted one's.
    assert abs(row["alpha"] - attenuation * TRUTH) < 4 * error * attenuation
    assert row["reliability"] == pytest.approx(attenuation, abs=0.05)
    assert row["reliability"] == pytest.approx(row["alpha"] / row["alpha_crossfit"], rel=1e-9) or (
        abs(row["alpha"] / row["reliability"] - TRUTH) < 8 * error
    )


def test_balances_of_nothing_but_error_have_no_crossfitted_interval() -> None:
    """Equal true recalls: the pooled denominator is about zero, and its quotient means nothing."""
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(10), 100)
    equal = np.zeros((12, 10))
    networks = {cell: drawn(rng, labels, 0.9, equal) for cell in (DENSE, MAGNITUDE)}
    row = of(pooled(**pictured(labels, networks)), MAGNITUDE)
    assert row["unstable"] > 6
    assert nothing(row, "crossfit_low", "crossfit_high")
    assert row["crossfit_verdict"] == ""
    assert "cannot be distinguished from zero either" in row["note"]
    assert not nothing(row, *PLAIN)


def dominated(big: int, seeds: int = 12):
    """Return a study in which but few dense networks have balances to speak of."""
    rng = np.random.default_rng(7)
    labels = np.repeat(np.arange(4), 100)
    balances = np.where(np.arange(seeds)[:, None] < big, [[-0.2, -0.1, 0.1, 0.2]], 0.0)
    networks = {DENSE: drawn(rng, labels, 0.8, balances)}
    for seed in range(big, seeds):  # the same number of errors in every class, or one more in one
        right = np.ones(400, bool)
        for c in range(4):
            right[rng.choice(np.flatnonzero(labels == c), 5, replace=False)] = False
        networks[DENSE][seed] = right
    for cell in (CONTROL, MAGNITUDE):
        networks[cell] = drawn(rng, labels, 0.75, np.tile([-0.2, -0.1, 0.1, 0.2], (seeds, 1)))
    return labels, networks


@pytest.mark.parametrize("big", [1, 2, 4])
def test_few_networks_with_balances_have_no_interval_of_either_kind(big: int) -> None:
    """The halves of a test set differ where the whole is equal, and tell as little."""
    row = of(pooled(**pictured(*dominated(big))), MAGNITUDE)
    assert nothing(row, "low", "high", "crossfit_low", "crossfit_high")
    assert row["crossfit_verdict"] == ""
    assert np.isfinite(row["alpha"])
    assert "fewer than 5 replicates have balances before pruning" in row["note"]


def test_one_network_that_has_nearly_all_balances_gives_no_interval() -> None:
    labels, networks = dominated(1)
    for seed in range(1, 12):  # one image tells the classes apart
        networks[DENSE][seed][np.flatnonzero(~networks[DENSE][seed])[0]] = True
    row = of(pooled(**pictured(labels, networks)), MAGNITUDE)
    assert nothing(row, "low", "high", "crossfit_low", "crossfit_high")
    assert "fewer than 2 effective replicates" in row["note"]


def test_each_network_carried_by_a_class_of_its_own_is_narrow() -> None:
    labels = np.repeat(np.arange(10), 40)
    rng = np.random.default_rng(8)
    networks = {}
    for cell in (DENSE, CONTROL, MAGNITUDE):
        networks[cell] = {seed: (rng.random(400) < 0.97) & (labels != seed) for seed in range(8)}
    row = of(pooled(**pictured(labels, networks)), MAGNITUDE)
    assert row["effective_classes"] > 4
    assert row["median_effective_classes"] < 1.5
    assert row["narrow"] == ONE_EACH
    assert "most networks' slopes rest on one class, but not the same one in all" in row["note"]


def test_an_unnamed_class_among_many_effective_ones_is_called_that() -> None:
    labels, networks = study()
    made = pictured(labels, networks)
    never = (made["recall"]["method"] == words.DENSE) & (made["recall"]["class"] == 1)
    made["recall"].loc[never, "predicted"] = 0
    row = of(pooled(**made), MAGNITUDE)
    assert row["effective_classes"] > 2
    assert (row["leading_class"], row["unnamed"], row["narrow"]) == (
        "class 1",
        1,
        NEVER_NAMED,
    )
    assert "no dense network ever predicts class 1" in row["note"]
    assert "rests on few" not in row["note"]


def test_two_effective_classes_are_enough_whatever_rounding_makes_of_them() -> None:
    rng = np.random.default_rng(9)
    for m, d in ((50, 7), (45, 11), (37, 3)):
        counts = np.array([m + d, m - d, m, m])
        labels = np.repeat(np.arange(4), 60)
        right = np.concatenate([np.arange(60) < count for count in counts])
        networks = {cell: {s: right.copy() for s in range(6)} for cell in (DENSE, CONTROL)}
        networks[MAGNITUDE] = drawn(rng, labels, 0.7, np.zeros((6, 4)))
        row = of(pooled(**pictured(labels, networks)), CONTROL)
        assert row["effective_classes"] == pytest.approx(2)
        assert row["narrow"] == ""
