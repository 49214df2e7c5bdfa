"""Effects beyond the control: the paired test recomputed, the readings, and what is missing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import synthetic
from predicted import CONTROL, DENSE, drawn, tables
from scipy import stats

from recall_distortion.columns import EFFECT_COLUMNS, POOLED_COLUMNS
from recall_distortion.errors import TableError
from recall_distortion.inference import bootstrap
from recall_distortion.inference.effects import effects
from recall_distortion.inference.intervals import CELL, intervals, verdict
from recall_distortion.inference.pooled import pooled

PANEL = ("digits", "mlp")
CONTROL_CELL = (*PANEL, "control", 1.0)
MAGNITUDE = (*PANEL, "magnitude", 2.0)


def sums_of(alpha: pd.DataFrame, spread: float = 0.3) -> pd.DataFrame:
    """Return a crossfit table whose quotients are the slopes; control and cell share a seed's."""
    denominators = 0.02 * (1 + spread * np.sin(alpha["seed"].to_numpy(float)))
    table = alpha.assign(denominator=denominators, numerator=alpha["alpha"] * denominators)
    return table.drop(columns="alpha")


def pooled_of(crossfit: pd.DataFrame, per_model: bool, level: float = 0.99) -> pd.DataFrame:
    rows = []
    for key, group in crossfit.groupby(CELL, sort=False):
        sums = (group[[name]].to_numpy() for name in ("numerator", "denominator"))
        low, high = (float(end[0]) for end in bootstrap.ratio(*sums).interval(level))
        facts = {"crossfit_low": low, "crossfit_high": high, "per_model": per_model}
        facts["crossfit_verdict"] = verdict(low, high)
        rows.append(dict(zip(CELL, key, strict=True)) | facts)
    return pd.DataFrame(rows).reindex(columns=POOLED_COLUMNS)


def run(alpha: pd.DataFrame, per_model: bool = True, level: float = 0.99) -> pd.DataFrame:
    crossfit = sums_of(alpha)
    return effects(
        alpha, crossfit, pooled_of(crossfit, per_model, level), intervals(alpha, level), level
    )


def slopes(control: list[float], magnitude: list[float]) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"seed": range(len(values)), "alpha": values}).assign(
            **dict(zip(CELL, (*cell, "finetuned"), strict=True))
        )
        for cell, values in ((CONTROL_CELL, control), (MAGNITUDE, magnitude))
    ]
    return pd.concat(parts, ignore_index=True)


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
    alpha = synthetic.alpha(means, seeds=12)
    crossfit = sums_of(alpha)
    found = run(alpha, level=0.95)
    assert list(found.columns) == EFFECT_COLUMNS
    assert found["ratio"].tolist() == [2, 10, 50, 2]
    assert found["family_size"].tolist() == [3, 3, 3, 1]
    control = alpha.loc[alpha["method"] == "control", "alpha"].to_numpy()
    for row in found.to_dict("records"):
        chosen = (alpha["method"] == row["method"]) & (alpha["ratio"] == row["ratio"])
        expected = stats.ttest_rel(alpha.loc[chosen, "alpha"], control)
        assert row["p"] == pytest.approx(expected.pvalue, rel=1e-10)
        assert row["p_adjusted"] == pytest.approx(min(1, row["family_size"] * row["p"]))
        ends = expected.confidence_interval(0.95)
        assert (row["low"], row["high"]) == pytest.approx((ends.low, ends.high), rel=1e-10)
        parts = [
            crossfit.loc[which, [name]].to_numpy()
            for which in (chosen, crossfit["method"] == "control")
            for name in ("numerator", "denominator")
        ]
        drawn_ = bootstrap.difference(*parts)
        low, high = drawn_.interval(0.95)
        assert row["crossfit_difference"] == pytest.approx(drawn_.estimate[0])
        found_ends = (row["crossfit_low"], row["crossfit_high"])
        assert found_ends == pytest.approx((low[0], high[0]), rel=1e-9)
        assert (row["n"], row["state"], row["basis"], row["note"]) == (
            12,
            "finetuned",
            "pooled",
            "",
        )


@pytest.mark.parametrize(
    ("control", "cell", "verdict", "reading"),
    [
        (0.8, 1.2, "intensification", "intensifies beyond the control"),
        (0.8, 0.9, "intensification", "intensifies beyond the control"),
        (0.8, 0.6, "de-intensification", "de-intensifies beyond the control"),
        (1.4, 1.2, "de-intensification", "de-intensifies beyond the control"),
        (0.8, 0.8, "inconclusive", "as the control shows too"),
        (1.3, 1.3, "inconclusive", "as the control shows too"),
        (1.0, 1.0, "inconclusive", "not told from the control"),
        # The cell alone is conclusive, but not told from a control that is not.
        (0.99, 0.972, "inconclusive", "not told from the control"),
    ],
)
def test_readings(control: float, cell: float, verdict: str, reading: str) -> None:
    noise = 0.03 * np.sin(1.7 * np.arange(20))
    other = 0.05 * np.cos(2.9 * np.arange(20) + 1)
    alpha = slopes(list(control + noise - noise.mean()), list(cell + other - other.mean()))
    row = run(alpha, per_model=True).iloc[0]
    assert (row["verdict"], row["reading"], row["basis"]) == (verdict, reading, "pooled")


@pytest.mark.parametrize(
    ("cell", "verdict", "reading"),
    [
        (1.2, "intensification", "intensifies beyond the control"),
        (0.6, "de-intensification", "de-intensifies beyond the control"),
        (0.8, "inconclusive", "as the control shows too"),
    ],
)
def test_too_few_replicates_for_the_bootstrap_are_read_by_the_paired_t(
    cell: float, verdict: str, reading: str
) -> None:
    alpha = slopes([0.79, 0.8, 0.81, 0.8], [cell + x for x in (0.01, 0.0, 0.0, -0.01)])
    row = run(alpha, per_model=True).iloc[0]
    assert (row["verdict"], row["reading"], row["basis"]) == (verdict, reading, "per model")
    # Slopes that are not stable are not read at all, and so few have no pooled interval.
    row = run(alpha, per_model=False).iloc[0]
    assert (row["basis"], row["reading"]) == ("pooled", "")


def test_the_pooled_slopes_decide_the_verdict() -> None:
    """Replicates of large denominators intensify and small ones do not: means and sums differ."""
    n = 20
    denominators = np.r_[np.full(10, 0.04), np.full(10, 0.001)]
    control = 1 + 0.01 * np.sin(np.arange(n))
    cell = control + np.r_[np.full(10, 0.3), np.full(10, -0.3)] + 0.01 * np.cos(np.arange(n))
    alpha = slopes(list(control), list(cell))
    crossfit = alpha.assign(denominator=np.tile(denominators, 2))
    crossfit["numerator"] = crossfit["alpha"] * crossfit["denominator"]
    row = effects(alpha, crossfit, pooled_of(crossfit, True), intervals(alpha)).iloc[0]
    assert row["low"] < 0 < row["high"]
    assert (row["basis"], row["verdict"]) == ("pooled", "intensification")


def test_only_finetuned_pruning_cells_of_the_same_panel_are_compared() -> None:
    other = ("digits", "cnn", "control", 1.0)
    alpha = pd.concat(
        [
            synthetic.alpha({CONTROL_CELL: 0.9, MAGNITUDE: 1.2, other: 5.0}, seeds=9),
            synthetic.alpha({MAGNITUDE: 3.0}, state="pruned", seeds=9),
            synthetic.alpha({(*PANEL, "reseed", 1.0): 3.0}, state="dense", seeds=9),
        ],
        ignore_index=True,
    )
    found = run(alpha)
    assert found[CELL].to_numpy().tolist() == [[*MAGNITUDE, "finetuned"]]
    assert found["difference"][0] == pytest.approx(0.3, abs=0.15)


def test_without_a_control_the_rows_say_so() -> None:
    found = run(synthetic.alpha({MAGNITUDE: 1.2, (*PANEL, "magnitude", 10.0): 1.5}))
    assert len(found) == 2
    numbers = ["difference", "low", "high", "p", "p_adjusted"]
    numbers += ["crossfit_difference", "crossfit_low", "crossfit_high"]
    assert found[numbers].isna().all(axis=None)
    assert found["n"].tolist() == [0, 0]
    assert found["family_size"].tolist() == [2, 2]
    assert found["reading"].tolist() == found["basis"].tolist() == ["", ""]
    assert set(found["verdict"]) == {""}
    assert set(found["note"]) == {"no control: nothing separates pruning from training on"}
    assert run(synthetic.alpha({CONTROL_CELL: 1.0})).empty


def test_seeds_that_one_side_lacks_make_no_pair() -> None:
    alpha = synthetic.alpha({CONTROL_CELL: 0.9, MAGNITUDE: 1.2}, seeds=30)
    lost = (alpha["method"] == "control") & (alpha["seed"] == 4)
    lost |= (alpha["method"] == "magnitude") & (alpha["seed"] == 7)
    row = run(alpha[~lost]).iloc[0]
    assert (row["n"], row["note"]) == (28, "28 of 30 seeds have both")
    both = run(alpha[~alpha["seed"].isin([4, 7])]).iloc[0]
    for name in ("difference", "low", "high", "p", "crossfit_difference", "crossfit_low"):
        assert row[name] == pytest.approx(both[name], rel=1e-9)
    mixed = alpha[~lost].sample(frac=1, random_state=0)
    again = run(mixed).iloc[0]
    assert again["crossfit_low"] == pytest.approx(row["crossfit_low"], rel=1e-9)


@pytest.mark.parametrize("side", ["control", "magnitude"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_slope_that_is_not_finite_is_not_dropped(side: str, bad: float) -> None:
    alpha = synthetic.alpha({CONTROL_CELL: 0.9, MAGNITUDE: 1.2}, seeds=8)
    alpha.loc[(alpha["method"] == side) & (alpha["seed"] == 2), "alpha"] = bad
    row = run(alpha).iloc[0]
    assert row[["difference", "low", "high", "p", "p_adjusted", "crossfit_low"]].isna().all()
    assert (row["verdict"], row["reading"]) == ("", "")
    assert "1 of 8 pairs have a slope that is not finite: no difference" in row["note"]


def test_one_pair_and_none() -> None:
    row = run(slopes([0.9], [1.2])).iloc[0]
    assert (row["n"], row["difference"]) == (1, pytest.approx(0.3))
    assert row[["low", "high", "p", "crossfit_low"]].isna().all()
    assert "fewer than two seeds have both: no interval" in row["note"]
    alpha = slopes([0.9, 0.8], [1.2, 1.3])
    alpha.loc[alpha["method"] == "magnitude", "seed"] += 10
    row = run(alpha).iloc[0]
    assert row["n"] == 0
    assert row[["difference", "p", "crossfit_difference"]].isna().all()
    assert row["note"].startswith("0 of 4 seeds have both; fewer than two seeds have both")


def test_a_method_that_does_what_the_control_does() -> None:
    same = [0.8, 0.85, 0.9, 0.8, 0.82, 0.84, 0.86]
    row = run(slopes(same, same)).iloc[0]
    assert row[["difference", "low", "high", "crossfit_low", "crossfit_high"]].tolist() == [0] * 5
    assert (row["p"], row["p_adjusted"]) == (1, 1)
    assert (row["verdict"], row["reading"]) == ("inconclusive", "as the control shows too")
    shifted = run(slopes([1.0] * 7, [1.5] * 7)).iloc[0]
    assert (shifted["low"], shifted["high"], shifted["p"]) == (0.5, 0.5, 0)
    assert shifted["reading"] == "intensifies beyond the control"


def test_pooled_slopes_that_have_no_interval_give_no_difference() -> None:
    alpha = synthetic.alpha({CONTROL_CELL: 0.9, MAGNITUDE: 1.2}, seeds=8)
    crossfit = sums_of(alpha)
    table = pooled_of(crossfit, False)
    table.loc[table["method"] == "control", ["crossfit_low", "crossfit_high"]] = np.nan
    row = effects(alpha, crossfit, table, intervals(alpha)).iloc[0]
    assert row[["crossfit_low", "crossfit_high"]].isna().all()
    assert np.isfinite(row["low"])
    assert (row["basis"], row["reading"]) == ("pooled", "")
    assert "no cross-fitted interval of the cell or of its control" in row["note"]


def test_tables_that_do_not_belong_together() -> None:
    alpha = synthetic.alpha({CONTROL_CELL: 0.9, MAGNITUDE: 1.2})
    crossfit = sums_of(alpha)
    table, ends = pooled_of(crossfit, True), intervals(alpha)
    with pytest.raises(TableError, match=r"pooled or the intervals table has no row for .*control"):
        effects(alpha, crossfit, table[table["method"] != "control"], ends)
    with pytest.raises(TableError, match="alpha table lacks the column alpha"):
        effects(alpha.drop(columns="alpha"), crossfit, table, ends)
    with pytest.raises(TableError, match="pooled table has more than one row"):
        effects(alpha, crossfit, pd.concat([table, table]), ends)
    with pytest.raises(TableError, match="between 0 and 1"):
        effects(alpha, crossfit, table, ends, level=1)


@pytest.mark.parametrize("images", [60, 1500])
def test_a_known_effect_is_found_from_predictions(images: int) -> None:
    """Control 0.8 and cell 1.3 in truth; the paired difference is attenuated with few images."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(8), images)
    balances = np.linspace(-0.1, 0.1, 8) + rng.normal(0, 0.02, (30, 8))
    cell = ("magnitude", 2.0, "finetuned")
    networks = {
        key: drawn(rng, labels, 0.8, slope * balances)
        for key, slope in ((DENSE, 1.0), (CONTROL, 0.8), (cell, 1.3))
    }
    made = tables(labels, networks)
    of_pooled = pooled(**made)
    row = effects(made["alpha"], made["crossfit"], of_pooled, intervals(made["alpha"])).iloc[0]
    assert (row["basis"], row["reading"]) == ("pooled", "intensifies beyond the control")
    assert row["crossfit_low"] < 0.5 < row["crossfit_high"]
    attenuation = of_pooled["reliability"].mean()
    assert row["difference"] == pytest.approx(0.5 * attenuation, abs=0.12)
