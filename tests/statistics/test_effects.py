"""Effects beyond the control: the paired test recomputed, the readings, and what is missing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recall_distortion.inference.questions.effects import COLUMNS, effects
from recall_distortion.inference.questions.pooled import COLUMNS as POOLED_COLUMNS
from recall_distortion.inference.questions.pooled import PER_NETWORK, POOLED_ALONE, pooled
from recall_distortion.inference.questions.slopes import slopes as slopes_of
from recall_distortion.inference.statistics import bootstrap
from recall_distortion.inference.statistics.intervals import verdict
from recall_distortion.system.errors import TableError
from recall_distortion.tables.views import CROSSFIT, MEAN
from recall_distortion.vocabulary import (
    AS_CONTROL,
    BEYOND_CONTROL,
    CELL_STATE,
    COMPRESSED,
    CONTROL,
    DEINTENSIFICATION,
    INCONCLUSIVE,
    INTENSIFICATION,
    NOT_DISTINGUISHABLE,
    RESEED,
    RETRAINED,
    Panel,
)
from recall_distortion.vocabulary import DENSE as DENSE_STATE
from tests import synthetic
from tests.synthetic import DENSE, drawn, pictured

PANEL = Panel("digits", "mlp", "usual")
CONTROL_CELL = (*PANEL, CONTROL, 1.0)
MAGNITUDE = (*PANEL, "magnitude", 2.0)
SUMS = ("crossfit_numerator", "crossfit_denominator")


def sums_of(table: pd.DataFrame, spread: float = 0.3) -> pd.DataFrame:
    """Return networks with sums whose quotients are the slopes; a seed's share a denominator."""
    denominators = 0.02 * (1 + spread * np.sin(table["seed"].to_numpy(float)))
    return synthetic.with_sums(table, denominators)


def pooled_of(networks: pd.DataFrame, stable: bool, level: float = 0.99) -> pd.DataFrame:
    rows = []
    for key, group in networks.groupby(CELL_STATE, sort=False):
        sums = (group[[name]].to_numpy() for name in SUMS)
        low, high = (float(end[0]) for end in bootstrap.ratio(*sums).interval(level))
        facts = {"crossfit_low": low, "crossfit_high": high}
        facts["interpret"] = PER_NETWORK if stable else POOLED_ALONE
        facts["crossfit_verdict"] = verdict(low, high)
        rows.append(dict(zip(CELL_STATE, key, strict=True)) | facts)
    return pd.DataFrame(rows).reindex(columns=POOLED_COLUMNS)


def run(table: pd.DataFrame, stable: bool = True, level: float = 0.99) -> pd.DataFrame:
    networks = sums_of(table)
    return effects(networks, pooled_of(networks, stable, level), slopes_of(networks, level), level)


def slopes(control: list[float], magnitude: list[float]) -> pd.DataFrame:
    return synthetic.networks({CONTROL_CELL: control, MAGNITUDE: magnitude})


def test_worked_by_hand() -> None:
    """Differences 0.3, 0.4 and 0.5: mean 0.4, sd 0.1, half width 9.924843 x 0.1 / sqrt(3)."""
    row = run(slopes([0.8, 0.9, 0.7], [1.1, 1.3, 1.2])).iloc[0]
    assert row["difference"] == pytest.approx(0.4)
    assert row["high"] - row["difference"] == pytest.approx(0.573011, abs=1e-6)
    # t = 0.4 / (0.1 / sqrt(3)) = 6.928; with 2 degrees of freedom p = 1 - t / sqrt(2 + t^2)
    t = 0.4 / (0.1 / np.sqrt(3))
    assert row["p"] == pytest.approx(1 - t / np.sqrt(2 + t**2))
    assert (row["n"], row["family_size"], row["level"]) == (3, 1, 0.99)
    assert row["p_adjusted"] == row["p"]
    assert row["note"] == "fewer than 5 replicates: no bootstrap interval"


def test_against_scipy_and_the_bootstrap() -> None:
    ratios = (2.0, 10.0, 50.0)
    means = {CONTROL_CELL: 0.9} | {(*PANEL, "magnitude", r): 0.9 + 0.02 * r for r in ratios}
    means |= {(*PANEL, "random", 2.0): 1.0}
    networks = sums_of(synthetic.networks(means, seeds=12))
    found = run(networks, level=0.95)
    assert list(found.columns) == COLUMNS
    assert found["ratio"].tolist() == [2, 10, 50, 2]
    assert found["family_size"].tolist() == [3, 3, 3, 1]
    of_control = networks["method"] == CONTROL
    control = networks.loc[of_control, "alpha"].to_numpy()
    for row in found.to_dict("records"):
        chosen = (networks["method"] == row["method"]) & (networks["ratio"] == row["ratio"])
        expected = stats.ttest_rel(networks.loc[chosen, "alpha"], control)
        assert row["control"] == pytest.approx(control.mean())
        assert row["std_error"] == pytest.approx(
            stats.sem(networks.loc[chosen, "alpha"].to_numpy() - control)
        )
        assert row["df"] == expected.df
        assert row["p"] == pytest.approx(expected.pvalue, rel=1e-10)
        assert row["p_adjusted"] == pytest.approx(min(1, row["family_size"] * row["p"]))
        ends = expected.confidence_interval(0.95)
        assert (row["low"], row["high"]) == pytest.approx((ends.low, ends.high), rel=1e-10)
        parts = [
            networks.loc[which, [name]].to_numpy()
            for which in (chosen, of_control)
            for name in SUMS
        ]
        drawn_ = bootstrap.difference(*parts)
        low, high = drawn_.interval(0.95)
        assert row["crossfit_difference"] == pytest.approx(drawn_.estimate[0])
        assert row["crossfit_control"] == pytest.approx(parts[2].sum() / parts[3].sum())
        found_ends = (row["crossfit_low"], row["crossfit_high"])
        assert found_ends == pytest.approx((low[0], high[0]), rel=1e-9)
        assert (row["n"], row["state"], row["basis"], row["note"]) == (
            12,
            RETRAINED,
            CROSSFIT,
            "",
        )


@pytest.mark.parametrize(
    ("control", "cell", "verdict", "reading"),
    [
        (0.8, 1.2, INTENSIFICATION, BEYOND_CONTROL),
        (0.8, 0.9, INTENSIFICATION, BEYOND_CONTROL),
        (0.8, 0.6, DEINTENSIFICATION, BEYOND_CONTROL),
        (1.4, 1.2, DEINTENSIFICATION, BEYOND_CONTROL),
        (0.8, 0.8, INCONCLUSIVE, AS_CONTROL),
        (1.3, 1.3, INCONCLUSIVE, AS_CONTROL),
        (1.0, 1.0, INCONCLUSIVE, NOT_DISTINGUISHABLE),
        # The cell alone is conclusive, but not distinguishable from a control that is not.
        (0.99, 0.972, INCONCLUSIVE, NOT_DISTINGUISHABLE),
    ],
)
def test_readings(control: float, cell: float, verdict: str, reading: str) -> None:
    noise = 0.03 * np.sin(1.7 * np.arange(20))
    other = 0.05 * np.cos(2.9 * np.arange(20) + 1)
    table = slopes(list(control + noise - noise.mean()), list(cell + other - other.mean()))
    row = run(table, stable=True).iloc[0]
    assert (row["verdict"], row["reading"], row["basis"]) == (verdict, reading, CROSSFIT)


@pytest.mark.parametrize(
    ("cell", "verdict", "reading"),
    [
        (1.2, INTENSIFICATION, BEYOND_CONTROL),
        (0.6, DEINTENSIFICATION, BEYOND_CONTROL),
        (0.8, INCONCLUSIVE, AS_CONTROL),
    ],
)
def test_too_few_replicates_for_the_bootstrap_are_read_by_the_paired_t(
    cell: float, verdict: str, reading: str
) -> None:
    table = slopes([0.79, 0.8, 0.81, 0.8], [cell + x for x in (0.01, 0.0, 0.0, -0.01)])
    row = run(table, stable=True).iloc[0]
    assert (row["verdict"], row["reading"], row["basis"]) == (verdict, reading, MEAN)
    # Slopes that are not stable are not read at all, and so few have no pooled interval.
    row = run(table, stable=False).iloc[0]
    assert (row["basis"], row["reading"]) == (CROSSFIT, "")


def test_the_pooled_slopes_decide_the_verdict() -> None:
    """Replicates of large denominators intensify and small ones do not: means and sums differ."""
    n = 20
    denominators = np.r_[np.full(10, 0.04), np.full(10, 0.001)]
    control = 1 + 0.01 * np.sin(np.arange(n))
    cell = control + np.r_[np.full(10, 0.3), np.full(10, -0.3)] + 0.01 * np.cos(np.arange(n))
    table = slopes(list(control), list(cell))
    networks = synthetic.with_sums(table, np.tile(denominators, 2))
    row = effects(networks, pooled_of(networks, True), slopes_of(networks)).iloc[0]
    assert row["low"] < 0 < row["high"]
    assert (row["basis"], row["verdict"]) == (CROSSFIT, INTENSIFICATION)


def test_only_finetuned_pruning_cells_of_the_same_panel_are_compared() -> None:
    other = ("digits", "cnn", CONTROL, 1.0)
    table = pd.concat(
        [
            synthetic.networks({CONTROL_CELL: 0.9, MAGNITUDE: 1.2, other: 5.0}, seeds=9),
            synthetic.networks({MAGNITUDE: 3.0}, state=COMPRESSED, seeds=9),
            synthetic.networks({(*PANEL, RESEED, 1.0): 3.0}, state=DENSE_STATE, seeds=9),
        ],
        ignore_index=True,
    )
    found = run(table)
    assert found[CELL_STATE].to_numpy().tolist() == [[*MAGNITUDE, RETRAINED]]
    assert found["difference"][0] == pytest.approx(0.3, abs=0.15)


def test_without_a_control_the_rows_say_so() -> None:
    found = run(synthetic.networks({MAGNITUDE: 1.2, (*PANEL, "magnitude", 10.0): 1.5}))
    assert len(found) == 2
    numbers = ["difference", "low", "high", "p", "p_adjusted"]
    numbers += ["crossfit_difference", "crossfit_low", "crossfit_high"]
    assert found[numbers].isna().all(axis=None)
    assert found["n"].tolist() == [0, 0]
    assert found["family_size"].tolist() == [2, 2]
    assert found["reading"].tolist() == found["basis"].tolist() == ["", ""]
    assert set(found["verdict"]) == {""}
    assert set(found["note"]) == {"no control: nothing separates pruning from further training"}
    assert run(synthetic.networks({CONTROL_CELL: 1.0})).empty


def test_seeds_that_one_side_lacks_make_no_pair() -> None:
    table = synthetic.networks({CONTROL_CELL: 0.9, MAGNITUDE: 1.2}, seeds=30)
    lost = (table["method"] == CONTROL) & (table["seed"] == 4)
    lost |= (table["method"] == "magnitude") & (table["seed"] == 7)
    row = run(table[~lost]).iloc[0]
    assert (row["n"], row["note"]) == (28, "28 of 30 seeds have both networks")
    both = run(table[~table["seed"].isin([4, 7])]).iloc[0]
    for name in ("difference", "low", "high", "p", "crossfit_difference", "crossfit_low"):
        assert row[name] == pytest.approx(both[name], rel=1e-9)
    mixed = table[~lost].sample(frac=1, random_state=0)
    again = run(mixed).iloc[0]
    assert again["crossfit_low"] == pytest.approx(row["crossfit_low"], rel=1e-9)


@pytest.mark.parametrize("side", [CONTROL, "magnitude"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_slope_that_is_not_finite_is_not_dropped(side: str, bad: float) -> None:
    table = synthetic.networks({CONTROL_CELL: 0.9, MAGNITUDE: 1.2}, seeds=8)
    table.loc[(table["method"] == side) & (table["seed"] == 2), "alpha"] = bad
    row = run(table).iloc[0]
    assert row[["difference", "low", "high", "p", "p_adjusted", "crossfit_low"]].isna().all()
    assert (row["verdict"], row["reading"]) == ("", "")
    assert "1 of 8 pairs have a slope that is not finite: no difference" in row["note"]


def test_one_pair_and_none() -> None:
    row = run(slopes([0.9], [1.2])).iloc[0]
    assert (row["n"], row["difference"]) == (1, pytest.approx(0.3))
    assert row[["low", "high", "p", "crossfit_low"]].isna().all()
    assert "fewer than two seeds have both networks: no interval" in row["note"]
    table = slopes([0.9, 0.8], [1.2, 1.3])
    table.loc[table["method"] == "magnitude", "seed"] += 10
    row = run(table).iloc[0]
    assert row["n"] == 0
    assert row[["difference", "p", "crossfit_difference"]].isna().all()
    assert row["note"].startswith("0 of 4 seeds have both networks; fewer than two seeds")


def test_a_method_that_does_what_the_control_does() -> None:
    same = [0.8, 0.85, 0.9, 0.8, 0.82, 0.84, 0.86]
    row = run(slopes(same, same)).iloc[0]
    assert row[["difference", "low", "high", "crossfit_low", "crossfit_high"]].tolist() == [0] * 5
    assert (row["p"], row["p_adjusted"]) == (1, 1)
    assert (row["verdict"], row["reading"]) == (INCONCLUSIVE, AS_CONTROL)
    shifted = run(slopes([1.0] * 7, [1.5] * 7)).iloc[0]
    assert (shifted["low"], shifted["high"], shifted["p"]) == (0.5, 0.5, 0)
    assert (shifted["verdict"], shifted["reading"]) == (INTENSIFICATION, BEYOND_CONTROL)


def test_pooled_slopes_that_have_no_interval_give_no_difference() -> None:
    networks = sums_of(synthetic.networks({CONTROL_CELL: 0.9, MAGNITUDE: 1.2}, seeds=8))
    table = pooled_of(networks, False)
    table.loc[table["method"] == CONTROL, ["crossfit_low", "crossfit_high"]] = np.nan
    row = effects(networks, table, slopes_of(networks)).iloc[0]
    assert row[["crossfit_low", "crossfit_high"]].isna().all()
    assert np.isfinite(row["low"])
    assert (row["basis"], row["reading"]) == (CROSSFIT, "")
    assert "the cell or its control has no cross-fitted interval" in row["note"]


def test_tables_that_do_not_belong_together() -> None:
    networks = sums_of(synthetic.networks({CONTROL_CELL: 0.9, MAGNITUDE: 1.2}))
    table, ends = pooled_of(networks, True), slopes_of(networks)
    with pytest.raises(TableError, match=r"pooled slopes or of slopes has no row for .*control"):
        effects(networks, table[table["method"] != CONTROL], ends)
    with pytest.raises(TableError, match="networks table lacks the column alpha"):
        effects(networks.drop(columns="alpha"), table, ends)
    with pytest.raises(TableError, match="table of pooled slopes has more than one row"):
        effects(networks, pd.concat([table, table]), ends)
    with pytest.raises(TableError, match="networks table has more than one row"):
        effects(pd.concat([networks, networks]), table, ends)
    with pytest.raises(TableError, match="between 0 and 1"):
        effects(networks, table, ends, level=1)


@pytest.mark.parametrize("images", [60, 1500])
def test_a_known_effect_is_found_from_predictions(images: int) -> None:
    """Control 0.8 and cell 1.3 in truth; the paired difference is attenuated with few images."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(8), images)
    balances = np.linspace(-0.1, 0.1, 8) + rng.normal(0, 0.02, (30, 8))
    cell = ("magnitude", 2.0, RETRAINED)
    networks = {
        key: drawn(rng, labels, 0.8, slope * balances)
        for key, slope in ((DENSE, 1.0), (synthetic.CONTROL, 0.8), (cell, 1.3))
    }
    made = pictured(labels, networks)
    of_pooled = pooled(**made)
    row = effects(made["networks"], of_pooled, slopes_of(made["networks"])).iloc[0]
    assert (row["basis"], row["verdict"]) == (CROSSFIT, INTENSIFICATION)
    assert row["reading"] == BEYOND_CONTROL
    assert row["crossfit_low"] < 0.5 < row["crossfit_high"]
    attenuation = of_pooled["reliability"].mean()
    assert row["difference"] == pytest.approx(0.5 * attenuation, abs=0.12)
