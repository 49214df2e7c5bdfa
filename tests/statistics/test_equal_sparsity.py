"""Methods at equal sparsity: by hand, recomputed, where something is missing, and under repetition.

The studies are made from slopes and realised ratios, so that the truth between two ratios is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recall_distortion.columns import EQUAL_SPARSITY_COLUMNS
from recall_distortion.errors import TableError
from recall_distortion.inference import bootstrap
from recall_distortion.inference.effects import effects
from recall_distortion.inference.equal_sparsity import departing, equal_sparsity
from recall_distortion.inference.intervals import CELL, intervals

PANEL = {"dataset": "digits", "architecture": "mlp"}
RATIOS = (2.0, 4.0, 10.0)
NOMINAL = ["nominal_difference", "nominal_low", "nominal_high"]
EQUAL = ["equal_difference", "equal_low", "equal_high"]
DENSER = ["denser_difference", "denser_low", "denser_high"]

Tables = dict[str, pd.DataFrame]
# Method and nominal ratio to the replicates' slopes, realised ratios and accuracies [n] each.
Networks = Mapping[tuple[str, float], tuple[np.ndarray, np.ndarray, np.ndarray]]


def line(ratio: np.ndarray | float) -> np.ndarray:
    """Return a slope that is linear in the logarithm of the ratio: 0.8 at 1, + 0.1 a doubling."""
    return 0.8 + 0.1 * np.log2(ratio)


def cost(ratio: np.ndarray | float) -> np.ndarray:
    return 0.9 - 0.02 * np.log2(ratio)


def tables(networks: Networks, denominators: np.ndarray, told: bool = True) -> Tables:
    """Return alpha, crossfit, sparsity and pooled; seeds are counted from 0.

    Of pooled, whether a cell has a cross-fitted interval is all that is read.
    """
    rows, sparse = [], []
    for (method, ratio), (slopes, realised, accuracies) in networks.items():
        for seed in range(len(slopes)):
            key = {**PANEL, "method": method, "ratio": ratio, "seed": seed}
            rows.append(
                {
                    **key,
                    "state": "finetuned",
                    "alpha": slopes[seed],
                    "accuracy_after": accuracies[seed],
                    "numerator": slopes[seed] * denominators[seed],
                    "denominator": denominators[seed],
                }
            )
            if method != "control":
                sparse.append({**key, "realised_ratio": realised[seed]})
    whole = pd.DataFrame(rows)
    pooled = whole[CELL].drop_duplicates().assign(crossfit_low=0.5 if told else np.nan)
    return {
        "alpha": whole.drop(columns=["numerator", "denominator"]),
        "crossfit": whole.drop(columns=["alpha", "accuracy_after"]),
        "sparsity": pd.DataFrame(sparse, columns=[*CELL[:4], "seed", "realised_ratio"]),
        "pooled": pooled,
    }


def on_the_line(
    seeds: int = 6,
    share: float = 0.6,
    jitter: float = 0.0,
    control: bool = True,
    reference: str = "magnitude",
    shift: float = 0.0,
) -> Tables:
    """Return a study of a method that keeps more than asked; all slopes lie on the line.

    Each replicate's line is a little higher or lower; ``shift`` is how far the method's is off.
    """
    rng = np.random.default_rng(5)
    own = rng.normal(0, 0.05, seeds)
    flat = np.ones(seeds)
    networks = {("control", 1.0): (line(1) + own, flat, cost(1) + own / 10)} if control else {}
    for ratio in RATIOS:
        networks[reference, ratio] = (line(ratio) + own, ratio * flat, cost(ratio) + own / 10)
    for ratio in RATIOS:
        realised = np.maximum(ratio * share * np.exp(jitter * rng.normal(size=seeds)), 1)
        slopes = line(realised) + own + shift
        networks["generous", ratio] = slopes, realised, cost(realised) + own / 10
    return tables(networks, 0.02 * (1 + 0.3 * rng.random(seeds)))


def table(study: Tables, level: float = 0.99) -> pd.DataFrame:
    return equal_sparsity(**study, level=level)


def test_worked_by_hand() -> None:
    """Asked for 4 the method reached 2.828, halfway between 2 and 4 in logarithms."""
    seeds = 5
    flat = np.ones(seeds)
    study = tables(
        {
            ("control", 1.0): (0.8 * flat, flat, 0.9 * flat),
            ("magnitude", 2.0): (0.9 * flat, 2 * flat, 0.88 * flat),
            ("magnitude", 4.0): (1.3 * flat, 4 * flat, 0.82 * flat),
            ("generous", 4.0): (1.2 * flat, np.sqrt(8) * flat, 0.86 * flat),
        },
        0.02 * flat,
    )
    found = table(study)
    assert list(found.columns) == EQUAL_SPARSITY_COLUMNS
    row = found.iloc[0]
    assert len(found) == 1
    assert (row["method"], row["reference"], row["ratio"]) == ("generous", "magnitude", 4)
    assert row["realised_ratio"] == pytest.approx(2.828427)
    assert (row["reference_ratio"], row["n"], row["family_size"]) == (4, 5, 1)
    # At nominal 4: 1.2 - 1.3. At 2.828 the reference shows (0.9 + 1.3) / 2 = 1.1.
    assert row[NOMINAL].tolist() == pytest.approx([-0.1] * 3)
    assert row[EQUAL].tolist() == pytest.approx([0.1] * 3)
    assert row[DENSER].tolist() == pytest.approx([0.3] * 3)  # from the reference's 0.9 at 2
    assert row["nominal_reading"] == "intensifies less"
    assert row["equal_reading"] == row["denser_reading"] == "intensifies more"
    # Accuracies: 0.86 - 0.82, 0.86 - (0.88 + 0.82) / 2, and 0.86 - 0.88.
    assert row["nominal_accuracy"] == pytest.approx(0.04)
    assert row["equal_accuracy"] == pytest.approx(0.01)
    assert row["denser_accuracy"] == pytest.approx(-0.02)
    assert (row["level"], row["note"]) == (0.99, "")


@pytest.mark.parametrize("jitter", [0.0, 0.1])
def test_an_advantage_that_is_sparsity_alone_is_nothing_at_equal_sparsity(jitter: float) -> None:
    """Where slopes are linear in the logarithm of the ratio, whatever the method's ratios are."""
    found = table(on_the_line(jitter=jitter))
    assert found["ratio"].tolist() == list(RATIOS)
    np.testing.assert_allclose(found[EQUAL], 0, atol=1e-12)
    np.testing.assert_allclose(
        found[["equal_accuracy", "equal_accuracy_low", "equal_accuracy_high"]], 0, atol=1e-12
    )
    assert (found["nominal_reading"] == "intensifies less").all()
    assert (found["nominal_accuracy_low"] > 0).all()
    if not jitter:
        # + 0.1 a doubling, and the method is log2(0.6) doublings behind.
        np.testing.assert_allclose(found["nominal_difference"], 0.1 * np.log2(0.6), atol=1e-12)
    shifted = table(on_the_line(jitter=jitter, shift=-0.2))
    np.testing.assert_allclose(shifted["equal_difference"], -0.2, atol=1e-12)
    assert (shifted["equal_reading"] == "intensifies less").all()


def test_where_slopes_bend_only_the_denser_networks_are_no_flattery() -> None:
    """The method's networks are the reference's own at 5.5 times, where slopes bend upwards."""
    rng = np.random.default_rng(2)
    flat, own = np.ones(10), rng.normal(0, 0.02, 10)

    def bent(ratio: float) -> np.ndarray:
        return 0.9 + 0.02 * ratio**1.5 + own

    networks = {("control", 1.0): (bent(1), flat, 0.9 * flat)}
    for ratio in RATIOS:
        networks["magnitude", ratio] = bent(ratio), ratio * flat, 0.9 * flat
    networks["generous", 10.0] = bent(5.5), 5.5 * flat, 0.9 * flat
    row = table(tables(networks, 0.02 * flat)).iloc[0]
    assert row["equal_reading"] == "intensifies less"  # by nothing but the straight line
    assert row["denser_difference"] == pytest.approx(0.02 * (5.5**1.5 - 4**1.5))
    assert row["denser_reading"] == "intensifies more"
    # On a cell of the reference there is nothing between: all three comparisons are one.
    networks["generous", 10.0] = bent(3.9) - 0.2, 4.0 * flat, 0.9 * flat
    row = table(tables(networks, 0.02 * flat)).iloc[0]
    assert row[EQUAL].tolist() == row[DENSER].tolist()
    assert row["equal_reading"] == row["denser_reading"] == "intensifies less"


def test_against_an_independent_recomputation() -> None:
    """With random slopes, several references and seeds of different denominators."""
    rng = np.random.default_rng(8)
    n = 12
    networks = {("control", 1.0): (rng.normal(0.9, 0.1, n), np.ones(n), rng.uniform(0.7, 0.9, n))}
    for method, share in (("magnitude", 1.0), ("generous", 0.55), ("other", 1.003)):
        for ratio in RATIOS:
            spread = np.exp(rng.normal(0, 0.15, n)) if method == "generous" else np.ones(n)
            slopes = rng.normal(line(ratio), 0.2, n)
            networks[method, ratio] = (
                slopes,
                np.maximum(ratio * share * spread, 1),
                rng.uniform(0.6, 0.9, n),
            )
    study = tables(networks, rng.uniform(0.01, 0.03, n))
    found = table(study, 0.95)
    keys = [("magnitude", ratio) for ratio in RATIOS] + [("other", ratio) for ratio in RATIOS]
    assert list(found[["reference", "ratio"]].itertuples(index=False, name=None)) == keys
    assert set(found["family_size"]) == {3}
    sums = study["crossfit"].pivot(index="seed", columns=["method", "ratio"])
    accuracy = study["alpha"].pivot(
        index="seed", columns=["method", "ratio"], values="accuracy_after"
    )
    for row in found.to_dict("records"):
        cell, reference = ("generous", row["ratio"]), row["reference"]
        realised = networks[cell][1]
        assert row["realised_ratio"] == pytest.approx(realised.mean())
        points = [("control", 1.0)] + [(reference, ratio) for ratio in RATIOS]
        at = np.log([1.0, *(networks[reference, ratio][1][0] for ratio in RATIOS)])

        def between(values: pd.DataFrame, points=points, at=at, own=realised) -> np.ndarray:
            rows = values[points].to_numpy()
            return np.array([np.interp(np.log(own[s]), at, rows[s]) for s in range(n)])

        def denser(values: pd.DataFrame, points=points, at=at, own=realised) -> np.ndarray:
            # The last point not sparser than each network, to more digits than a logarithm keeps.
            place = [int(np.flatnonzero(at <= np.log(r) + 1e-9)[-1]) for r in own]
            return np.array([values.loc[s, points[place[s]]] for s in range(n)])

        other = {name: between(sums[name]) for name in ("numerator", "denominator")}
        same = {name: sums[name][reference, row["ratio"]] for name in other}
        beside = {name: denser(sums[name]) for name in other}
        for kind, side in (("nominal", same), ("equal", other), ("denser", beside)):
            parts = [np.asarray(sums[name][cell])[:, None] for name in side]
            parts += [np.asarray(side[name])[:, None] for name in side]
            drawn = bootstrap.difference(*parts)
            low, high = drawn.interval(0.95)
            assert row[f"{kind}_difference"] == pytest.approx(drawn.estimate[0], abs=1e-12)
            assert row[f"{kind}_low"] == pytest.approx(low[0], abs=1e-9)
            assert row[f"{kind}_high"] == pytest.approx(high[0], abs=1e-9)
        for kind, values in (
            ("nominal", accuracy[reference, row["ratio"]]),
            ("equal", between(accuracy)),
            ("denser", denser(accuracy)),
        ):
            test = stats.ttest_rel(accuracy[cell], values)
            ends = test.confidence_interval(0.95)
            assert row[f"{kind}_accuracy"] == pytest.approx((accuracy[cell] - values).mean())
            assert row[f"{kind}_accuracy_low"] == pytest.approx(ends.low)
            assert row[f"{kind}_accuracy_high"] == pytest.approx(ends.high)


def test_against_the_control_a_reference_of_no_pruning_is_the_effect() -> None:
    """A method that keeps every weight is compared, at equal sparsity, with the control."""
    rng = np.random.default_rng(2)
    study = on_the_line(seeds=9)
    kept = study["sparsity"]["method"] == "generous"
    study["sparsity"].loc[kept, "realised_ratio"] = 1.0
    noise = rng.normal(0, 0.1, len(study["crossfit"])) * study["crossfit"]["denominator"]
    study["crossfit"]["numerator"] += noise
    study["alpha"]["alpha"] = study["crossfit"]["numerator"] / study["crossfit"]["denominator"]
    pooled = study["pooled"].assign(per_model=True, crossfit_high=1.0, crossfit_verdict="")
    against = effects(study["alpha"], study["crossfit"], pooled, intervals(study["alpha"]))
    against = against[against["method"] == "generous"]
    wanted = against[["crossfit_difference", "crossfit_low", "crossfit_high"]].to_numpy()
    np.testing.assert_allclose(table(study)[EQUAL], wanted, atol=1e-12)


def test_a_reference_without_a_control_is_not_extrapolated() -> None:
    found = table(on_the_line(control=False)).set_index("ratio")
    # At 0.6 of 2, 4 and 10 the method reached 1.2, 2.4 and 6.
    assert found.loc[2.0, EQUAL].isna().all()
    assert found.loc[2.0, ["equal_accuracy", "equal_accuracy_low"]].isna().all()
    assert found.loc[2.0, "equal_reading"] == ""
    assert found.loc[2.0, "note"] == (
        "6 of 6 networks keep more weights than the reference's lowest ratio, and there is no "
        "control: nothing at equal sparsity"
    )
    assert np.isfinite(found[NOMINAL]).all(axis=None)
    assert np.isfinite(found.loc[[4.0, 10.0], EQUAL]).all(axis=None)
    assert set(found.loc[[4.0, 10.0], "note"]) == {""}


def test_a_method_pruned_further_than_the_reference_is_not_extrapolated() -> None:
    study = on_the_line(share=1.5)
    found = table(study).set_index("ratio")
    assert np.isfinite(found.loc[[2.0, 4.0], EQUAL]).all(axis=None)
    assert found.loc[10.0, EQUAL].isna().all()
    assert "6 of 6 networks keep fewer weights than the reference's highest" in found["note"][10.0]
    # One network beyond is enough: the others are another sample.
    one = study["sparsity"]
    chosen = (one["method"] == "generous") & (one["ratio"] == 10)
    one.loc[chosen, "realised_ratio"] = [9.0] * 5 + [10.1]
    found = table(study).set_index("ratio")
    assert found.loc[10.0, EQUAL].isna().all()
    assert found["note"][10.0].startswith("1 of 6 networks keep fewer")
    # As many weights as the reference, but for the last digit, are not beyond it.
    one.loc[chosen, "realised_ratio"] = [*np.linspace(8, 9, 5), 10 * (1 + 1e-15)]
    assert np.isfinite(table(study).set_index("ratio").loc[10.0, EQUAL].astype(float)).all()


def test_an_end_that_the_draws_do_not_give_is_told() -> None:
    """All replicates but one say the same: a draw without that one has no error."""
    study = on_the_line()
    sums = study["crossfit"]
    one = (sums["method"] == "generous") & (sums["seed"] == 3)
    sums.loc[one, "numerator"] *= 2
    found = table(study)
    assert found[EQUAL[1:]].isna().any(axis=1).all()
    assert set(found["equal_reading"]) == {""}
    assert found["note"].str.contains("give the interval no finite end").all()


def test_a_reference_that_lacks_the_nominal_ratio() -> None:
    study = on_the_line()
    for name in ("alpha", "crossfit", "sparsity"):
        rows = study[name]
        study[name] = rows[(rows["method"] != "magnitude") | (rows["ratio"] != 4)]
    row = table(study).set_index("ratio").loc[4.0]
    assert row[[*NOMINAL, "reference_ratio"]].isna().all()
    # Between 2 and 10 now; the line is the same.
    assert row["equal_difference"] == pytest.approx(0, abs=1e-12)
    assert row["note"] == "the reference has no network at this nominal ratio"


def test_few_seeds_have_a_difference_and_no_bootstrap_interval() -> None:
    found = table(on_the_line(seeds=1))
    assert set(found["n"]) == {1}
    np.testing.assert_allclose(found["equal_difference"], 0, atol=1e-12)
    ends = [*NOMINAL[1:], *EQUAL[1:], "nominal_accuracy_low", "equal_accuracy_high"]
    assert found[ends].isna().all(axis=None)
    assert set(found["nominal_reading"]) == set(found["equal_reading"]) == {""}
    assert set(found["note"]) == {
        "fewer than two seeds have both: no interval; "
        "fewer than 5 replicates: no bootstrap interval"
    }
    found = table(on_the_line(seeds=4))
    assert found[[*NOMINAL[1:], *EQUAL[1:]]].isna().all(axis=None)
    assert np.isfinite(found[["nominal_accuracy_low", "equal_accuracy_low"]]).all(axis=None)
    assert set(found["note"]) == {"fewer than 5 replicates: no bootstrap interval"}


def test_seeds_that_lack_one_of_the_networks_are_left_out_of_both() -> None:
    study = on_the_line(seeds=10, jitter=0.05)
    lost = {("generous", 4.0): 1, ("magnitude", 4.0): 2, ("magnitude", 2.0): 3, ("control", 1.0): 4}

    def without(rows: pd.DataFrame) -> pd.DataFrame:
        gone = pd.Series(False, rows.index)
        for (method, ratio), seed in lost.items():
            gone |= (rows["method"] == method) & (rows["ratio"] == ratio) & (rows["seed"] == seed)
        return rows[~gone].sample(frac=1, random_state=3)

    some = study | {name: without(study[name]) for name in ("alpha", "crossfit", "sparsity")}
    found = table(some).set_index("ratio")
    # At 1.2 between the control and 2; at 2.4 between 2 and 4; at 6 between 4 and 10.
    assert found["n"].to_dict() == {2.0: 8, 4.0: 7, 10.0: 9}
    assert found["note"][4.0] == "7 of 10 seeds have every network that is compared"
    kept = {
        name: study[name][~study[name]["seed"].isin([1, 2, 3])]
        for name in ("alpha", "crossfit", "sparsity")
    }
    alone = table(study | kept).set_index("ratio").loc[4.0]
    for name in [*NOMINAL, *EQUAL, "equal_accuracy_low"]:
        assert found.loc[4.0, name] == pytest.approx(alone[name], abs=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_sums_that_are_not_finite_are_not_dropped(bad: float) -> None:
    study = on_the_line(seeds=8)
    sums = study["crossfit"]
    one = (sums["method"] == "magnitude") & (sums["ratio"] == 2) & (sums["seed"] == 3)
    sums.loc[one, "numerator"] = bad
    found = table(study).set_index("ratio")
    # The nominal 2 and, as a neighbour, equal sparsity at 1.2 and 2.4 are made of it.
    assert found.loc[2.0, [*NOMINAL[1:], *EQUAL[1:]]].isna().all()
    assert found.loc[4.0, EQUAL[1:]].isna().all()
    assert np.isfinite(found.loc[4.0, NOMINAL]).all()
    assert np.isfinite(found.loc[10.0, [*NOMINAL, *EQUAL]]).all()
    assert "1 of 8 seeds have cross-fitted sums that are not finite" in found["note"][4.0]
    assert found.loc[2.0, "equal_reading"] == found.loc[4.0, "equal_reading"] == ""


def test_pooled_slopes_without_an_interval_give_none() -> None:
    study = on_the_line()
    at_10 = (study["pooled"]["method"] == "magnitude") & (study["pooled"]["ratio"] == 10)
    study["pooled"].loc[at_10, "crossfit_low"] = np.nan
    found = table(study).set_index("ratio")
    assert found.loc[10.0, [*NOMINAL[1:], *EQUAL[1:]]].isna().all()
    assert np.isfinite(found.loc[10.0, ["nominal_difference", "equal_difference"]]).all()
    assert "no cross-fitted interval of a cell that is compared" in found["note"][10.0]
    assert np.isfinite(found.loc[[2.0, 4.0], [*NOMINAL, *EQUAL]]).all(axis=None)


def test_ordinary_studies_have_an_empty_table() -> None:
    found = table(on_the_line(share=1.0))
    assert found.empty
    assert list(found.columns) == EQUAL_SPARSITY_COLUMNS
    # Rounding to whole weights is no departure.
    assert table(on_the_line(share=0.995)).empty
    assert not table(on_the_line(share=0.985)).empty


@pytest.mark.parametrize("method", ["control", "reseed", "dense"])
def test_a_study_without_pruning_has_an_empty_table(method: str) -> None:
    study = on_the_line()
    for name in ("alpha", "crossfit"):
        study[name] = study[name][study[name]["method"] == "control"].assign(method=method)
    study["sparsity"] = study["sparsity"].iloc[:0]
    assert table(study).empty


def realised(**ratios: list[float]) -> pd.Series:
    return pd.Series(
        {
            (name, nominal): r
            for name, own in ratios.items()
            for nominal, r in zip(RATIOS, own, strict=True)
        }
    ).rename_axis(["method", "ratio"])


@pytest.mark.parametrize(
    ("ratios", "found"),
    [
        ({"magnitude": [2, 4, 10], "generous": [2, 4, 9.8]}, ["generous"]),
        ({"magnitude": [2, 4, 10], "generous": [2, 4, 10.2]}, ["generous"]),
        ({"magnitude": [2, 4, 10], "layerwise": [2.01, 3.99, 10.05]}, []),
        # A ratio that counts all parameters is not reached by anyone, and that is no departure.
        ({"magnitude": [2, 4, 8], "generous": [1, 2, 5], "random": [2, 4, 8]}, ["generous"]),
        # Without the standard the nearest to the nominal ratios is what the others are held to.
        ({"generous": [1, 2, 5], "random": [2, 4, 8]}, ["generous"]),
        ({"generous": [1, 2, 5]}, []),
        ({"generous": [1, 2, 5], "stingy": [3, 6, 15], "random": [2, 4, 10]},
         ["generous", "stingy"]),
    ],
)  # fmt: skip
def test_which_methods_depart(ratios: dict[str, list[float]], found: list[str]) -> None:
    assert departing(realised(**ratios)) == found


def test_only_finetuned_cells_of_the_same_panel_are_compared() -> None:
    study = on_the_line()
    expected = table(study)
    away = {
        name: rows.assign(architecture="cnn") if "numerator" not in rows else rows.assign(
            architecture="cnn", numerator=7 * rows["numerator"]
        )
        for name, rows in study.items()
    }  # fmt: skip
    before = {
        name: study[name].assign(state="pruned", accuracy_after=0.1, numerator=9.0)[
            study[name].columns
        ]
        for name in ("alpha", "crossfit", "pooled")
    }
    both = {
        name: pd.concat([rows, away[name], *([before[name]] if name in before else [])])
        for name, rows in study.items()
    }
    found = table(both)
    assert found["architecture"].tolist() == ["mlp"] * 3 + ["cnn"] * 3
    pd.testing.assert_frame_equal(found.iloc[:3], expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t | {"alpha": t["alpha"].drop(columns="accuracy_after")}, "lacks the column"),
        (lambda t: t | {"sparsity": pd.concat([t["sparsity"]] * 2)}, "sparsity table has more"),
        (lambda t: t | {"crossfit": pd.concat([t["crossfit"]] * 2)}, "crossfit table has more"),
        (lambda t: t | {"level": 99}, "between 0 and 1"),
    ],
)
def test_tables_that_cannot_be_used(
    change: Callable[[Tables], dict[str, object]], message: str
) -> None:
    with pytest.raises(TableError, match=message):
        equal_sparsity(**change(on_the_line()))


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """200 studies of 10 seeds, whose realised ratios scatter with the slopes and on their own.

    The share of 95 % intervals that miss has a standard error of sqrt(0.05 x 0.95 / 200) = 0.015;
    four of them above 0.05 are 0.112. Slopes bend nowhere between two ratios, and the method is
    0.15 off the line at its own sparsity and, at the nominal one, by what the line falls beside.
    """
    rng = np.random.default_rng(11)
    studies, n, off, scatter = 200, 10, 0.15, 0.1
    missed = {kind: [] for kind in ("nominal", "equal")}
    told = []
    for _ in range(studies):
        own = rng.normal(0, 0.1, n)
        networks = {("control", 1.0): (line(1) + own, np.ones(n), np.full(n, 0.9))}
        for ratio in RATIOS:
            slopes = line(ratio) + own + rng.normal(0, 0.1 * ratio**0.3, n)
            networks["magnitude", ratio] = slopes, np.full(n, ratio), np.full(n, 0.9)
        # Of mean logarithm log(0.6 x 4).
        reached = 0.6 * 4 * np.exp(scatter * rng.normal(size=n))
        slopes = line(reached) + off + own + rng.normal(0, 0.15, n)
        networks["generous", 4.0] = slopes, reached, np.full(n, 0.9)
        row = table(tables(networks, rng.uniform(0.01, 0.03, n)), 0.95).iloc[0]
        truth = {"equal": off, "nominal": off + 0.1 * np.log2(0.6)}
        for kind, value in truth.items():
            missed[kind].append(not row[f"{kind}_low"] <= value <= row[f"{kind}_high"])
        told.append(row["equal_reading"] == "intensifies more")
    for kind, events in missed.items():
        assert np.mean(events) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / studies), kind
    # They are not so wide that nothing is found either.
    assert np.mean(told) > 0.3
