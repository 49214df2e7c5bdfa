"""Quantized cells beside the networks that were quantized, on tables with known differences."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recall_distortion.inference.questions.pooled import PER_NETWORK, POOLED_ALONE
from recall_distortion.inference.questions.quantized import quantized
from recall_distortion.system.errors import TableError
from recall_distortion.tables.views import CROSSFIT, MEAN
from recall_distortion.vocabulary import (
    CELL_STATE,
    COMPRESSED,
    DENSE,
    INCONCLUSIVE,
    INTENSIFICATION,
    RETRAINED,
    CellState,
)

PANEL = ("digits", "mlp", "tiny")
SEEDS = 8


def cell(method: str, ratio: float, state: str, alphas: np.ndarray, **columns: object):
    """Return rows of a cell whose cross-fitted slopes are its slopes."""
    key = CellState(*PANEL, method, ratio, state)._asdict()
    rows = pd.DataFrame({"seed": np.arange(len(alphas)), "alpha": alphas})
    sums = {"crossfit_numerator": 0.5 * alphas, "crossfit_denominator": 0.5}
    return rows.assign(**key, **sums, failure="", **columns)


def study(shift: float, *, seeds: int = SEEDS) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    before = {ratio: 1 + rng.normal(0, 0.2, seeds) for ratio in (2.0, 10.0)}
    noise = rng.normal(0, 0.001, seeds)
    few_bits = {"bits": 8.0}
    return pd.concat(
        [
            *(cell("magnitude", ratio, RETRAINED, own) for ratio, own in before.items()),
            *(
                cell("both", 4 * ratio, COMPRESSED, own + shift * ratio + noise,
                     origin="magnitude", origin_ratio=ratio, **few_bits)
                for ratio, own in before.items()
            ),
            cell("few_bits", 4.0, COMPRESSED, 1 + noise, origin=DENSE, origin_ratio=1.0,
                 **few_bits),
        ],
        ignore_index=True,
    )  # fmt: skip


def pooled(networks: pd.DataFrame, interpret: str) -> pd.DataFrame:
    table = networks[CELL_STATE].drop_duplicates()
    low = np.nan if interpret == PER_NETWORK else 0.0
    return table.assign(interpret=interpret, crossfit_low=low)


def test_a_cell_is_paired_with_the_networks_that_it_was_made_of() -> None:
    networks = study(0.02)
    found = quantized(networks, pooled(networks, POOLED_ALONE)).set_index(["method", "ratio"])
    assert found.index.tolist() == [("both", 8.0), ("both", 40.0), ("few_bits", 4.0)]
    for ratio in (2.0, 10.0):
        row = found.loc["both", 4 * ratio]
        own, other = (
            networks.query(f"method == '{name}' and ratio == {of}")["alpha"].to_numpy()
            for name, of in (("both", 4 * ratio), ("magnitude", ratio))
        )
        assert row["difference"] == pytest.approx((own - other).mean())
        assert row["p"] == pytest.approx(stats.ttest_rel(own, other).pvalue)
        assert row["p_adjusted"] == pytest.approx(min(1, 2 * row["p"]))
        assert row["crossfit_difference"] == pytest.approx((own - other).mean())
        assert row["other"] == pytest.approx(other.mean())
        assert (row["n"], row["family_size"], row["origin"]) == (SEEDS, 2, "magnitude")
        assert (row["basis"], row["verdict"]) == (CROSSFIT, INTENSIFICATION)
        assert row["crossfit_low"] < 0.02 * ratio < row["crossfit_high"]
    dense = found.loc["few_bits", 4.0]
    assert (dense["origin"], dense["basis"], dense["verdict"], dense["n"]) == (DENSE, "", "", 0)
    assert np.isnan(dense["difference"])


def test_what_changes_nothing_is_inconclusive_and_few_seeds_are_read_one_by_one() -> None:
    networks = study(0.0)
    both = quantized(networks, pooled(networks, POOLED_ALONE)).query("method == 'both'")
    assert set(both["verdict"]) == {INCONCLUSIVE}
    networks = study(0.02, seeds=4)
    both = quantized(networks, pooled(networks, PER_NETWORK)).query("method == 'both'")
    assert set(both["basis"]) == {MEAN}
    assert set(both["verdict"]) == {INTENSIFICATION}
    assert both["note"].str.contains("fewer than").all()


def test_missing_replicates_are_said_and_tables_without_quantizers_have_no_rows() -> None:
    networks = study(0.02)
    lost = networks.drop(networks.query("method == 'magnitude' and seed == 1").index)
    both = quantized(lost, pooled(lost, POOLED_ALONE)).query("method == 'both'")
    assert set(both["n"]) == {SEEDS - 1}
    assert both["note"].str.contains(f"{SEEDS - 1} of {SEEDS} seeds have both networks").all()
    pruned = networks[networks["bits"].isna()]
    assert quantized(pruned, pooled(pruned, POOLED_ALONE)).empty
    assert quantized(pruned.drop(columns="bits"), pooled(pruned, POOLED_ALONE)).empty
    with pytest.raises(TableError, match="more than one row"):
        quantized(pd.concat([networks, networks.tail(1)]), pooled(networks, POOLED_ALONE))
    with pytest.raises(TableError, match="origin"):
        quantized(networks.drop(columns="origin"), pooled(networks, POOLED_ALONE))
