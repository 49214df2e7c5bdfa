"""The pooled slope against plain loops, and its rule of stability against known balances."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from predicted import CONTROL, DENSE, RESEED, drawn, tables

from recall_distortion.columns import POOLED_COLUMNS
from recall_distortion.distortion import reseed_pairs
from recall_distortion.errors import TableError
from recall_distortion.inference import bootstrap
from recall_distortion.inference.pooled import pooled

MAGNITUDE = ("magnitude", 2.0, "finetuned")
RANDOM = ("random", 10.0, "pruned")
CELL = ["method", "ratio", "state"]


def study(seeds: int = 8, classes: int = 5, images: int = 60, *, without=(), **options):
    """Return the labels and networks of a study of three cells besides the dense one."""
    rng = np.random.default_rng(options.pop("random_seed", 0))
    labels = np.repeat(np.arange(classes), images)
    balances = np.linspace(-0.12, 0.12, classes) + rng.normal(0, 0.03, (seeds, classes))
    networks = {DENSE: drawn(rng, labels, 0.8, balances)}
    for cell, slope, accuracy in ((CONTROL, 0.6, 0.8), (MAGNITUDE, 1.3, 0.75), (RANDOM, 1.5, 0.5)):
        networks[cell] = drawn(rng, labels, accuracy, slope * balances)
    for cell, seed in without:
        del networks[cell][seed]
    return labels, networks


def of(found: pd.DataFrame, cell) -> pd.Series:
    (row,) = [row for _, row in found.iterrows() if tuple(row[CELL]) == cell]
    return row


def values(table: pd.DataFrame, cell, seed: int, column: str) -> np.ndarray:
    chosen = (table[[*CELL, "seed"]] == [*cell, seed]).all(axis=1)
    return table.loc[chosen, column].to_numpy(float)


@pytest.mark.parametrize("cell", [RESEED, CONTROL, MAGNITUDE, RANDOM])
def test_a_row_is_recomputed_in_plain_loops(cell) -> None:
    lost = [(MAGNITUDE, 3), (MAGNITUDE, 5)]
    labels, networks = study(without=lost)
    pairs = [(0, 1), (2, 3), (4, 5), (6, 7)]
    made = tables(labels, networks, reseed=pairs)
    found = pooled(**made)
    assert list(found.columns) == POOLED_COLUMNS
    partner = dict(pairs) if cell == RESEED else {seed: seed for seed in networks[cell]}
    source = DENSE if cell == RESEED else cell
    x = [values(made["recall"], DENSE, s, "normalized_balance") for s in partner]
    y = [values(made["recall"], source, t, "normalized_balance") for t in partner.values()]
    row = of(found, cell)
    before, after = np.concatenate(x), np.concatenate(y)
    alpha = np.linalg.lstsq(before[:, None], after, rcond=None)[0][0]
    assert row["n"] == len(partner) == {RESEED: 4, MAGNITUDE: 6}.get(cell, 8)
    assert row["alpha"] == pytest.approx(alpha, rel=1e-10)
    residual = ((after - alpha * before) ** 2).sum()
    assert row["r2"] == pytest.approx(1 - residual / (after**2).sum(), rel=1e-9)
    assert row["denominator"] == pytest.approx(np.mean([(v**2).sum() for v in x]), rel=1e-10)
    numerators, denominators = (
        np.array([values(made["crossfit"], cell, s, c)[0] for s in partner])
        for c in ("numerator", "denominator")
    )
    assert row["alpha_crossfit"] == pytest.approx(numerators.sum() / denominators.sum())
    assert row["reliability"] == pytest.approx(denominators.sum() / (before**2).sum())
    unstable = 0
    for s, denominator in zip(partner, denominators, strict=True):
        recall, support, accuracy, balance = (
            values(made["recall"], DENSE, s, c)
            for c in ("recall", "support", "accuracy", "normalized_balance")
        )
        squared = 0.0
        for c in range(len(recall)):
            v = recall[c] * (1 - recall[c]) / (support[c] * accuracy[c] ** 2)
            squared += 4 * max(balance[c] ** 2 - v, 0) * v + 2 * v**2
        unstable += denominator < 2 * np.sqrt(squared)
    assert (row["unstable"], row["per_model"]) == (unstable, unstable == 0)
    products = np.array([[(a * b).sum()] for a, b in zip(x, y, strict=True)])
    squares = np.array([[(a * a).sum()] for a in x])
    low, high = bootstrap.ratio(products, squares).interval(0.99)
    np.testing.assert_allclose(row[["low", "high"]].to_numpy(float), (low[0], high[0]), rtol=1e-9)
    low, high = bootstrap.ratio(numerators[:, None], denominators[:, None]).interval(0.99)
    np.testing.assert_allclose(
        row[["crossfit_low", "crossfit_high"]].to_numpy(float), (low[0], high[0]), rtol=1e-9
    )
    assert row["level"] == 0.99


def test_rows_follow_the_alpha_table_in_every_panel() -> None:
    parts = [
        tables(*study(classes=classes, random_seed=classes), dataset=name)
        for name, classes in (("one", 3), ("two", 7))
    ]
    joined = {name: pd.concat([part[name] for part in parts]) for name in parts[0]}
    found = pooled(**joined)
    keys = ["dataset", *CELL]
    assert found[keys].to_numpy().tolist() == (
        joined["alpha"][keys].drop_duplicates().to_numpy().tolist()
    )
    alone = pd.concat([pooled(**part) for part in parts], ignore_index=True)
    pd.testing.assert_frame_equal(found, alone)


def test_the_order_of_rows_changes_no_cell() -> None:
    made = tables(*study(), reseed=reseed_pairs(range(8)))
    mixed = {name: table.sample(frac=1, random_state=1) for name, table in made.items()}
    mixed["alpha"] = mixed["alpha"].sort_values("method", key=lambda m: m == "control")
    keys = [*CELL, "dataset"]
    first, second = (pooled(**t).sort_values(keys, ignore_index=True) for t in (made, mixed))
    pd.testing.assert_frame_equal(first, second)


def test_an_unchanged_network_has_slope_1_and_no_width() -> None:
    labels, networks = study()
    made = tables(labels, {DENSE: networks[DENSE], CONTROL: networks[DENSE]})
    row = pooled(**made).iloc[0]
    ends = ["alpha", "low", "high", "alpha_crossfit", "crossfit_low", "crossfit_high", "r2"]
    np.testing.assert_allclose(row[ends].to_numpy(float), 1, rtol=1e-14)
    assert row["crossfit_verdict"] == "inconclusive"


def test_a_lower_level_gives_a_narrower_interval_and_its_verdict() -> None:
    made = tables(*study(seeds=30, images=300))
    wide, narrow = (of(pooled(**made, level=level), MAGNITUDE) for level in (0.99, 0.8))
    assert wide["crossfit_low"] < narrow["crossfit_low"] < narrow["alpha_crossfit"]
    assert wide["crossfit_high"] > narrow["crossfit_high"]
    assert narrow["crossfit_verdict"] == wide["crossfit_verdict"] == "intensification"
    assert of(pooled(**made), CONTROL)["crossfit_verdict"] == "de-intensification"


# What cannot be estimated


def nothing(row: pd.Series, *columns: str) -> bool:
    return bool(row[list(columns)].isna().all())


PLAIN = ("alpha", "low", "high", "r2")
CROSSED = ("alpha_crossfit", "crossfit_low", "crossfit_high")


def test_one_replicate_of_accuracy_0_takes_its_cell_along() -> None:
    labels, networks = study(images=400)
    networks[MAGNITUDE][3] = np.zeros(len(labels), bool)
    found = pooled(**tables(labels, networks))
    row = of(found, MAGNITUDE)
    assert nothing(row, *PLAIN, *CROSSED)
    assert (row["n"], row["crossfit_verdict"]) == (8, "")
    assert row["note"].startswith("1 of 8 replicates have balances that are not finite")
    assert not nothing(of(found, CONTROL), *PLAIN, *CROSSED)
    assert of(found, CONTROL)["note"] == ""
    # What concerns the dense networks alone is known all the same.
    assert row["reliability"] == pytest.approx(of(found, CONTROL)["reliability"])
    assert row["per_model"]


def test_a_collapsed_method_has_a_slope() -> None:
    """Networks that predict class 0 for every image: balances C - 1 and -1 after pruning."""
    labels, networks = study(images=400)
    networks[RANDOM] = {seed: labels == 0 for seed in range(8)}
    made = tables(labels, networks)
    row = of(pooled(**made), RANDOM)
    x = np.stack([values(made["recall"], DENSE, s, "normalized_balance") for s in range(8)])
    expected = (x @ np.array([4, -1, -1, -1, -1])).sum() / (x**2).sum()
    assert row["alpha"] == pytest.approx(expected)
    assert row["low"] < expected < row["high"]


def test_equal_recalls_before_pruning() -> None:
    labels, networks = study()
    networks[DENSE] = {seed: np.ones(len(labels), bool) for seed in range(8)}
    row = of(pooled(**tables(labels, networks)), MAGNITUDE)
    assert nothing(row, *PLAIN, *CROSSED, "reliability")
    assert (row["denominator"], row["unstable"], row["per_model"]) == (0, 8, False)
    assert "equal recalls before pruning in every replicate: no slope" in row["note"]
    networks[DENSE][0] = labels > 0  # one network with differences is enough for the pooled slope
    row = of(pooled(**tables(labels, networks)), MAGNITUDE)
    assert np.isfinite(row["alpha"])
    assert row["unstable"] == 7


def test_a_class_with_one_test_image_has_no_crossfitted_slope() -> None:
    labels, networks = study()
    kept = np.r_[0:240, 240:241]
    few = {
        key: {seed: right[kept] for seed, right in of_seed.items()}
        for key, of_seed in networks.items()
    }
    row = of(pooled(**tables(labels[kept], few)), MAGNITUDE)
    assert nothing(row, *CROSSED, "reliability")
    assert not nothing(row, *PLAIN)
    assert (row["unstable"], row["per_model"]) == (8, False)
    assert row["note"].startswith(
        "a class has one test image, so it cannot be split in halves: no cross-fitted slope"
    )


def test_a_half_without_a_right_image_is_told() -> None:
    labels, networks = study()
    networks[MAGNITUDE][2] = np.arange(len(labels)) == 7
    row = of(pooled(**tables(labels, networks)), MAGNITUDE)
    assert nothing(row, *CROSSED)
    assert not nothing(row, *PLAIN)
    assert "cross-fitted sums of 1 of 8 replicates are not finite" in row["note"]


def test_one_class_has_no_slope() -> None:
    labels, networks = study(classes=1)
    row = of(pooled(**tables(labels, networks)), MAGNITUDE)
    assert nothing(row, *PLAIN, *CROSSED)
    assert "no slope" in row["note"]


@pytest.mark.parametrize("seeds", [1, 4])
def test_few_replicates_have_no_interval(seeds: int) -> None:
    made = tables(*study(seeds=seeds, images=400), reseed=reseed_pairs(range(seeds)))
    found = pooled(**made)
    row = of(found, MAGNITUDE)
    assert nothing(row, "low", "high", "crossfit_low", "crossfit_high")
    assert not nothing(row, "alpha", "alpha_crossfit", "r2")
    assert row["note"] == "fewer than 5 replicates: no bootstrap interval"
    assert ("reseed" in set(found["method"])) == (seeds > 1)


def test_no_rows_make_no_table() -> None:
    made = tables(*study())
    assert pooled(made["recall"], made["alpha"][:0], made["crossfit"][:0]).empty


def test_tables_that_do_not_belong_together() -> None:
    made = tables(*study(), reseed=[(0, 1)])
    lacking = made["recall"]["seed"] != 5
    with pytest.raises(TableError, match=r"recall table has no row for .*seed=5"):
        pooled(**{**made, "recall": made["recall"][lacking]})
    with pytest.raises(TableError, match=r"crossfit table has no row for .*method=reseed"):
        pooled(**{**made, "crossfit": made["crossfit"][1:]})
    with pytest.raises(TableError, match="recall table has no rows of mlp on digits"):
        pooled(**{**made, "recall": made["recall"].assign(dataset="other")})
    with pytest.raises(TableError, match="crossfit table lacks the column numerator"):
        pooled(**{**made, "crossfit": made["crossfit"].drop(columns="numerator")})
    with pytest.raises(TableError, match="more than one row"):
        pooled(**{**made, "alpha": pd.concat([made["alpha"]] * 2)})
    with pytest.raises(TableError, match="between 0 and 1"):
        pooled(**made, level=99)


# The rule of stability where the truth is known

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
    made = tables(labels, networks, splits=20)
    recalls = 0.85 * (1 + balances)
    # Centred at the accuracy, the balances lose one of ten classes' worth of error.
    noise = 0.9 * (recalls * (1 - recalls)).sum() / (images * 0.85**2)
    attenuation = (balances**2).sum() / ((balances**2).sum() + noise)
    numerator, denominator = (made["crossfit"][c].to_numpy() for c in ("numerator", "denominator"))
    left_out = (numerator.sum() - numerator) / (denominator.sum() - denominator)
    error = float(np.sqrt((seeds - 1) * left_out.var()))
    return of(pooled(**made), MAGNITUDE), float(attenuation), error


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
    row = of(pooled(**tables(labels, networks)), MAGNITUDE)
    assert row["unstable"] > 6
    assert nothing(row, "crossfit_low", "crossfit_high")
    assert row["crossfit_verdict"] == ""
    assert "cannot be told from zero either" in row["note"]
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
    row = of(pooled(**tables(*dominated(big))), MAGNITUDE)
    assert nothing(row, "low", "high", "crossfit_low", "crossfit_high")
    assert row["crossfit_verdict"] == ""
    assert np.isfinite(row["alpha"])
    assert "fewer than 5 replicates have balances before pruning" in row["note"]


def test_one_network_that_has_nearly_all_balances_gives_no_interval() -> None:
    labels, networks = dominated(1)
    for seed in range(1, 12):  # one image tells the classes apart
        networks[DENSE][seed][np.flatnonzero(~networks[DENSE][seed])[0]] = True
    row = of(pooled(**tables(labels, networks)), MAGNITUDE)
    assert nothing(row, "low", "high", "crossfit_low", "crossfit_high")
    assert "fewer than 2 effective replicates" in row["note"]


def test_each_network_carried_by_a_class_of_its_own_is_narrow() -> None:
    labels = np.repeat(np.arange(10), 40)
    rng = np.random.default_rng(8)
    networks = {}
    for cell in (DENSE, CONTROL, MAGNITUDE):
        networks[cell] = {seed: (rng.random(400) < 0.97) & (labels != seed) for seed in range(8)}
    row = of(pooled(**tables(labels, networks)), MAGNITUDE)
    assert row["effective_classes"] > 4
    assert row["median_effective_classes"] < 1.5
    assert row["narrow"] == "one class each"
    assert "most networks' slopes rest on one class, not the same one in all" in row["note"]


def test_an_unnamed_class_among_many_effective_ones_is_called_that() -> None:
    labels, networks = study()
    made = tables(labels, networks)
    never = (made["recall"]["method"] == "dense") & (made["recall"]["class"] == 1)
    made["recall"].loc[never, "predicted"] = 0
    row = of(pooled(**made), MAGNITUDE)
    assert row["effective_classes"] > 2
    assert (row["leading_class"], row["unnamed"], row["narrow"]) == (
        "class 1",
        1,
        "a class is never named",
    )
    assert "no dense network ever names class 1" in row["note"]
    assert "rests on few" not in row["note"]


def test_two_effective_classes_are_enough_whatever_rounding_makes_of_them() -> None:
    rng = np.random.default_rng(9)
    for m, d in ((50, 7), (45, 11), (37, 3)):
        counts = np.array([m + d, m - d, m, m])
        labels = np.repeat(np.arange(4), 60)
        right = np.concatenate([np.arange(60) < count for count in counts])
        networks = {cell: {s: right.copy() for s in range(6)} for cell in (DENSE, CONTROL)}
        networks[MAGNITUDE] = drawn(rng, labels, 0.7, np.zeros((6, 4)))
        row = of(pooled(**tables(labels, networks)), CONTROL)
        assert row["effective_classes"] == pytest.approx(2)
        assert row["narrow"] == ""
