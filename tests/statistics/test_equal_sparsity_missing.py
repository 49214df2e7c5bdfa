"""Methods at equal sparsity: what is compared at all, and where something is missing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sparse_studies import EQUAL, NOMINAL, RATIOS, Tables, chosen, on_the_line, table

from recall_distortion.inference.questions.equal_sparsity import (
    COLUMNS,
    departing,
    equal_sparsity,
)
from recall_distortion.system.errors import TableError
from recall_distortion.vocabulary import COMPRESSED, CONTROL, DENSE, RESEED


def test_a_reference_without_a_control_is_not_extrapolated() -> None:
    found = table(on_the_line(control=False)).set_index("ratio")
    # At 0.6 of 2, 4 and 10 the method reached 1.2, 2.4 and 6.
    assert found.loc[2.0, EQUAL].isna().all()
    assert found.loc[2.0, ["equal_accuracy", "equal_accuracy_low"]].isna().all()
    assert found.loc[2.0, "equal_reading"] == ""
    assert found.loc[2.0, "note"] == (
        "6 of 6 networks keep more weights than the reference's lowest ratio, and there is no "
        "control: no comparison at equal sparsity"
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
    networks, one = study["networks"], chosen(study, "generous", 10)
    networks.loc[one, "realised_ratio"] = [9.0] * 5 + [10.1]
    found = table(study).set_index("ratio")
    assert found.loc[10.0, EQUAL].isna().all()
    assert found["note"][10.0].startswith("1 of 6 networks keep fewer")
    # As many weights as the reference, but for the last digit, are not beyond it.
    networks.loc[one, "realised_ratio"] = [*np.linspace(8, 9, 5), 10 * (1 + 1e-15)]
    assert np.isfinite(table(study).set_index("ratio").loc[10.0, EQUAL].astype(float)).all()


def test_an_end_that_the_draws_do_not_give_is_told() -> None:
    """All replicates but one say the same: a draw without that one has no error."""
    study = on_the_line()
    networks = study["networks"]
    one = chosen(study, "generous") & (networks["seed"] == 3)
    networks.loc[one, "crossfit_numerator"] *= 2
    found = table(study)
    assert found[EQUAL[1:]].isna().any(axis=1).all()
    assert set(found["equal_reading"]) == {""}
    assert found["note"].str.contains("gives the interval no finite end").all()


def test_a_reference_that_lacks_the_nominal_ratio() -> None:
    study = on_the_line()
    study["networks"] = study["networks"][~chosen(study, "magnitude", 4)]
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
        "fewer than two seeds have both networks: no interval; "
        "fewer than 5 replicates: no bootstrap interval"
    }
    found = table(on_the_line(seeds=4))
    assert found[[*NOMINAL[1:], *EQUAL[1:]]].isna().all(axis=None)
    assert np.isfinite(found[["nominal_accuracy_low", "equal_accuracy_low"]]).all(axis=None)
    assert set(found["note"]) == {"fewer than 5 replicates: no bootstrap interval"}


def test_seeds_that_lack_one_of_the_networks_are_left_out_of_both() -> None:
    study = on_the_line(seeds=10, jitter=0.05)
    lost = {("generous", 4.0): 1, ("magnitude", 4.0): 2, ("magnitude", 2.0): 3, (CONTROL, 1.0): 4}

    networks = study["networks"]
    gone = pd.Series(False, networks.index)
    for place, seed in lost.items():
        gone |= chosen(study, *place) & (networks["seed"] == seed)
    some = study | {"networks": networks[~gone].sample(frac=1, random_state=3)}
    found = table(some).set_index("ratio")
    # At 1.2 between the control and 2; at 2.4 between 2 and 4; at 6 between 4 and 10.
    assert found["n"].to_dict() == {2.0: 8, 4.0: 7, 10.0: 9}
    assert found["note"][4.0] == "7 of 10 seeds have every network that is compared"
    kept = {"networks": networks[~networks["seed"].isin([1, 2, 3])]}
    alone = table(study | kept).set_index("ratio").loc[4.0]
    for name in [*NOMINAL, *EQUAL, "equal_accuracy_low"]:
        assert found.loc[4.0, name] == pytest.approx(alone[name], abs=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_sums_that_are_not_finite_are_not_dropped(bad: float) -> None:
    study = on_the_line(seeds=8)
    networks = study["networks"]
    one = chosen(study, "magnitude", 2) & (networks["seed"] == 3)
    networks.loc[one, "crossfit_numerator"] = bad
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
    assert "a cell that is compared has no cross-fitted interval" in found["note"][10.0]
    assert np.isfinite(found.loc[[2.0, 4.0], [*NOMINAL, *EQUAL]]).all(axis=None)


def test_ordinary_studies_have_an_empty_table() -> None:
    found = table(on_the_line(share=1.0))
    assert found.empty
    assert list(found.columns) == COLUMNS
    # Rounding to whole weights is no departure.
    assert table(on_the_line(share=0.995)).empty
    assert not table(on_the_line(share=0.985)).empty


@pytest.mark.parametrize("method", [CONTROL, RESEED, DENSE])
def test_a_study_without_pruning_has_an_empty_table(method: str) -> None:
    study = on_the_line()
    study["networks"] = study["networks"][chosen(study, CONTROL)].assign(method=method)
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
        name: rows.assign(architecture="cnn") if name == "pooled" else rows.assign(
            architecture="cnn", crossfit_numerator=7 * rows["crossfit_numerator"]
        )
        for name, rows in study.items()
    }  # fmt: skip
    before = {
        name: rows.assign(state=COMPRESSED, accuracy=0.1, crossfit_numerator=9.0)[rows.columns]
        for name, rows in study.items()
    }
    both = {
        name: pd.concat([rows, away[name], before[name]], ignore_index=True)
        for name, rows in study.items()
    }
    found = table(both)
    assert found["architecture"].tolist() == ["mlp"] * 3 + ["cnn"] * 3
    pd.testing.assert_frame_equal(found.iloc[:3], expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t | {"networks": t["networks"].drop(columns="accuracy")}, "lacks the column"),
        (lambda t: t | {"networks": t["networks"].drop(columns="realised_ratio")}, "lacks the col"),
        (lambda t: t | {"networks": pd.concat([t["networks"]] * 2)}, "networks table has more"),
        (lambda t: t | {"pooled": pd.concat([t["pooled"]] * 2)}, "pooled slopes has more"),
        (lambda t: t | {"level": 99}, "between 0 and 1"),
    ],
)
def test_tables_that_cannot_be_used(
    change: Callable[[Tables], dict[str, object]], message: str
) -> None:
    with pytest.raises(TableError, match=message):
        equal_sparsity(**change(on_the_line()))
