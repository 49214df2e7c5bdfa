"""The pooled slope against plain loops, and what of it cannot be estimated."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pooled_studies import CELL, CROSSED, MAGNITUDE, PLAIN, RANDOM, nothing, of, study, values

from recall_distortion import vocabulary as words
from recall_distortion.inference.questions.pooled import (
    COLUMNS,
    PER_NETWORK,
    POOLED_ALONE,
    pooled,
)
from recall_distortion.inference.statistics import bootstrap
from recall_distortion.measures.distortion import reseed_pairs
from recall_distortion.system.errors import TableError
from tests.synthetic import CONTROL, DENSE, pictured

RESEED = (words.RESEED, 1.0, words.DENSE)


@pytest.mark.parametrize("cell", [RESEED, CONTROL, MAGNITUDE, RANDOM])
def test_a_row_is_recomputed_in_plain_loops(cell) -> None:
    lost = [(MAGNITUDE, 3), (MAGNITUDE, 5)]
    labels, networks = study(without=lost)
    pairs = [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert reseed_pairs(range(8)) == pairs
    made = pictured(labels, networks, reseed=True)
    found = pooled(**made)
    assert list(found.columns) == COLUMNS
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
        np.array([values(made["networks"], cell, s, c)[0] for s in partner])
        for c in ("crossfit_numerator", "crossfit_denominator")
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
    assert row["unstable"] == unstable
    assert row["interpret"] == (POOLED_ALONE if unstable else PER_NETWORK)
    products = np.array([[(a * b).sum()] for a, b in zip(x, y, strict=True)])
    squares = np.array([[(a * a).sum()] for a in x])
    low, high = bootstrap.ratio(products, squares).interval(0.99)
    np.testing.assert_allclose(row[["low", "high"]].to_numpy(float), (low[0], high[0]), rtol=1e-9)
    low, high = bootstrap.ratio(numerators[:, None], denominators[:, None]).interval(0.99)
    np.testing.assert_allclose(
        row[["crossfit_low", "crossfit_high"]].to_numpy(float), (low[0], high[0]), rtol=1e-9
    )
    assert row["level"] == 0.99


def test_rows_follow_the_networks_table_in_every_panel() -> None:
    parts = [
        pictured(*study(classes=classes, random_seed=classes), dataset=name)
        for name, classes in (("one", 3), ("two", 7))
    ]
    joined = {name: pd.concat([part[name] for part in parts]) for name in parts[0]}
    found = pooled(**joined)
    keys = ["dataset", *CELL]
    of_networks = joined["networks"][joined["networks"]["method"] != words.DENSE]
    assert found[keys].to_numpy().tolist() == (
        of_networks[keys].drop_duplicates().to_numpy().tolist()
    )
    alone = pd.concat([pooled(**part) for part in parts], ignore_index=True)
    pd.testing.assert_frame_equal(found, alone)


def test_the_order_of_rows_changes_no_cell() -> None:
    made = pictured(*study(), reseed=True)
    mixed = {name: table.sample(frac=1, random_state=1) for name, table in made.items()}
    mixed["networks"] = mixed["networks"].sort_values("method", key=lambda m: m == words.CONTROL)
    keys = [*CELL, "dataset"]
    first, second = (pooled(**t).sort_values(keys, ignore_index=True) for t in (made, mixed))
    pd.testing.assert_frame_equal(first, second)


def test_an_unchanged_network_has_slope_1_and_no_width() -> None:
    labels, networks = study()
    made = pictured(labels, {DENSE: networks[DENSE], CONTROL: networks[DENSE]})
    row = pooled(**made).iloc[0]
    ends = ["alpha", "low", "high", "alpha_crossfit", "crossfit_low", "crossfit_high", "r2"]
    np.testing.assert_allclose(row[ends].to_numpy(float), 1, rtol=1e-14)
    assert row["crossfit_verdict"] == words.INCONCLUSIVE


def test_a_lower_level_gives_a_narrower_interval_and_its_verdict() -> None:
    made = pictured(*study(seeds=30, images=300))
    wide, narrow = (of(pooled(**made, level=level), MAGNITUDE) for level in (0.99, 0.8))
    assert wide["crossfit_low"] < narrow["crossfit_low"] < narrow["alpha_crossfit"]
    assert wide["crossfit_high"] > narrow["crossfit_high"]
    assert narrow["crossfit_verdict"] == wide["crossfit_verdict"] == words.INTENSIFICATION
    assert of(pooled(**made), CONTROL)["crossfit_verdict"] == words.DEINTENSIFICATION


# What cannot be estimated


def test_one_replicate_of_accuracy_0_takes_its_cell_along() -> None:
    labels, networks = study(images=400)
    networks[MAGNITUDE][3] = np.zeros(len(labels), bool)
    found = pooled(**pictured(labels, networks))
    row = of(found, MAGNITUDE)
    assert nothing(row, *PLAIN, *CROSSED)
    assert (row["n"], row["crossfit_verdict"]) == (8, "")
    assert row["note"].startswith("1 of 8 replicates have balances that are not finite")
    assert not nothing(of(found, CONTROL), *PLAIN, *CROSSED)
    assert of(found, CONTROL)["note"] == ""
    # What concerns the dense networks alone is known all the same.
    assert row["reliability"] == pytest.approx(of(found, CONTROL)["reliability"])
    assert row["interpret"] == PER_NETWORK


def test_a_collapsed_method_has_a_slope() -> None:
    """Networks that predict class 0 for every image: balances C - 1 and -1 after pruning."""
    labels, networks = study(images=400)
    networks[RANDOM] = {seed: labels == 0 for seed in range(8)}
    made = pictured(labels, networks)
    row = of(pooled(**made), RANDOM)
    x = np.stack([values(made["recall"], DENSE, s, "normalized_balance") for s in range(8)])
    expected = (x @ np.array([4, -1, -1, -1, -1])).sum() / (x**2).sum()
    assert row["alpha"] == pytest.approx(expected)
    assert row["low"] < expected < row["high"]


def test_equal_recalls_before_pruning() -> None:
    labels, networks = study()
    networks[DENSE] = {seed: np.ones(len(labels), bool) for seed in range(8)}
    row = of(pooled(**pictured(labels, networks)), MAGNITUDE)
    assert nothing(row, *PLAIN, *CROSSED, "reliability")
    assert (row["denominator"], row["unstable"], row["interpret"]) == (0, 8, POOLED_ALONE)
    assert "equal recalls before pruning in every replicate: no slope" in row["note"]
    networks[DENSE][0] = labels > 0  # one network with differences is enough for the pooled slope
    row = of(pooled(**pictured(labels, networks)), MAGNITUDE)
    assert np.isfinite(row["alpha"])
    assert row["unstable"] == 7


def test_a_class_with_one_test_image_has_no_crossfitted_slope() -> None:
    labels, networks = study()
    kept = np.r_[0:240, 240:241]
    few = {
        key: {seed: right[kept] for seed, right in of_seed.items()}
        for key, of_seed in networks.items()
    }
    row = of(pooled(**pictured(labels[kept], few)), MAGNITUDE)
    assert nothing(row, *CROSSED, "reliability")
    assert not nothing(row, *PLAIN)
    assert (row["unstable"], row["interpret"]) == (8, POOLED_ALONE)
    assert row["note"].startswith(
        "a class has one test image, so it cannot be split into halves: no cross-fitted slope"
    )


def test_a_half_without_a_right_image_is_told() -> None:
    labels, networks = study()
    networks[MAGNITUDE][2] = np.arange(len(labels)) == 7
    row = of(pooled(**pictured(labels, networks)), MAGNITUDE)
    assert nothing(row, *CROSSED)
    assert not nothing(row, *PLAIN)
    assert "cross-fitted sums of 1 of 8 replicates are not finite" in row["note"]


def test_one_class_has_no_slope() -> None:
    labels, networks = study(classes=1)
    row = of(pooled(**pictured(labels, networks)), MAGNITUDE)
    assert nothing(row, *PLAIN, *CROSSED)
    assert "no slope" in row["note"]


@pytest.mark.parametrize("seeds", [1, 4])
def test_few_replicates_have_no_interval(seeds: int) -> None:
    made = pictured(*study(seeds=seeds, images=400), reseed=True)
    found = pooled(**made)
    row = of(found, MAGNITUDE)
    assert nothing(row, "low", "high", "crossfit_low", "crossfit_high")
    assert not nothing(row, "alpha", "alpha_crossfit", "r2")
    assert row["note"] == "fewer than 5 replicates: no bootstrap interval"
    assert (words.RESEED in set(found["method"])) == (seeds > 1)


def test_no_rows_make_no_table() -> None:
    made = pictured(*study())
    assert pooled(made["recall"], made["networks"][:0]).empty


def test_tables_that_do_not_belong_together() -> None:
    made = pictured(*study(), reseed=True)
    lacking = made["recall"]["seed"] != 5
    with pytest.raises(TableError, match=r"recall table has no row for .*seed=5"):
        pooled(**{**made, "recall": made["recall"][lacking]})
    with pytest.raises(TableError, match="recall table has no rows of mlp on digits"):
        pooled(**{**made, "recall": made["recall"].assign(dataset="other")})
    lacking = made["networks"].drop(columns="crossfit_numerator")
    with pytest.raises(TableError, match="networks table lacks the column crossfit_numerator"):
        pooled(**{**made, "networks": lacking})
    with pytest.raises(TableError, match="more than one row"):
        pooled(**{**made, "networks": pd.concat([made["networks"]] * 2)})
    with pytest.raises(TableError, match="between 0 and 1"):
        pooled(**made, level=99)
