"""Methods at equal accuracy: by hand, at the edges, and under repetition.

The studies are made from slopes and accuracies, so that the truth between two cells is known.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sparse_studies import tables

from recall_distortion.inference.notes import NO_CONTROL
from recall_distortion.inference.questions.equal_accuracy import (
    BETTER,
    COLUMNS,
    NO_SEEDS,
    NOT_BETWEEN,
    WORSE,
    equal_accuracy,
)
from recall_distortion.inference.questions.equal_sparsity import NO_POOLED
from recall_distortion.vocabulary import (
    CONTROL,
    CONTROL_REWIND,
    DEINTENSIFICATION,
    INTENSIFICATION,
)

Cells = dict[tuple[str, float], tuple[float, float]]  # slope and accuracy


def made(cells: Cells, seeds: int = 5) -> dict[str, pd.DataFrame]:
    flat = np.ones(seeds)
    made_of = {
        place: (slope * flat, max(place[1], 1.0) * flat, accuracy * flat)
        for place, (slope, accuracy) in cells.items()
    }
    return tables(made_of, 0.02 * (1 + np.arange(seeds)))


MAGNITUDE: Cells = {
    (CONTROL, 1.0): (0.8, 0.9),
    ("magnitude", 2.0): (0.9, 0.88),
    ("magnitude", 4.0): (1.3, 0.82),
}


def test_worked_by_hand() -> None:
    """At 0.85 magnitude lies halfway between 0.88 and 0.82, where its α is 1.1, 0.3 beyond."""
    found = equal_accuracy(**made(MAGNITUDE | {("other", 3.0): (1.2, 0.85)}))
    assert list(found.columns) == COLUMNS
    (row,) = found.to_dict("records")
    assert (row["method"], row["ratio"], row["reference"], row["n"]) == ("other", 3, "magnitude", 5)
    assert row["other"] == pytest.approx(0.3)
    assert [row["difference"], row["low"], row["high"]] == pytest.approx([0.1] * 3)
    assert (row["verdict"], row["level"], row["family_size"]) == (INTENSIFICATION, 0.99, 1)
    assert row["note"] == "between magnitude at 2 and magnitude at 4"


def test_the_control_is_where_nothing_is_lost() -> None:
    """A quarter of the way from the control's 0.9 to 0.88; its α is 0.8 + 0.1 / 4 there."""
    found = equal_accuracy(**made(MAGNITUDE | {("other", 2.0): (0.8, 0.895)}))
    row = found.iloc[0]
    assert row["other"] == pytest.approx(0.025)
    assert row["difference"] == pytest.approx(-0.025)
    assert row["verdict"] == DEINTENSIFICATION
    assert row["note"] == "between the control and magnitude at 2"


def test_each_method_is_beside_its_own_control() -> None:
    """A ticket that is 0.05 below its control's 0.95 loses as much as magnitude does at 0.85."""
    study = made(MAGNITUDE | {(CONTROL_REWIND, 1.0): (1.0, 0.95), ("ticket", 4.0): (1.4, 0.90)})
    networks = study["networks"]
    networks["control"] = np.where(networks["method"] == "ticket", CONTROL_REWIND, CONTROL)
    row = equal_accuracy(**study).iloc[0]
    assert row["other"] == pytest.approx(0.3)
    assert row["difference"] == pytest.approx(0.1)  # 1.4 - 1.0 less 0.3


@pytest.mark.parametrize(("accuracy", "note"), [(0.95, BETTER), (0.5, WORSE)])
def test_nothing_is_extrapolated(accuracy: float, note: str) -> None:
    row = equal_accuracy(**made(MAGNITUDE | {("other", 3.0): (1.2, accuracy)})).iloc[0]
    assert np.isnan([row["difference"], row["low"], row["high"], row["other"]]).all()
    assert (row["n"], row["verdict"], row["note"]) == (0, "", note.format("magnitude"))


def test_a_cell_on_the_lowest_of_the_reference_is_compared_with_it() -> None:
    row = equal_accuracy(**made(MAGNITUDE | {("other", 4.0): (1.2, 0.82)})).iloc[0]
    assert row["difference"] == pytest.approx(-0.1)


def test_without_a_control_nothing_is_compared() -> None:
    cells = {place: of for place, of in MAGNITUDE.items() if place[0] != CONTROL}
    found = equal_accuracy(**made(cells | {("other", 3.0): (1.2, 0.85)}))
    assert found["note"].tolist() == [NO_CONTROL]
    assert found["difference"].isna().all()


def test_an_interval_needs_the_intervals_of_the_cells() -> None:
    study = made(MAGNITUDE | {("other", 3.0): (1.2, 0.85)})
    study["pooled"].loc[study["pooled"]["ratio"] == 4, "crossfit_low"] = np.nan
    row = equal_accuracy(**study).iloc[0]
    assert row["difference"] == pytest.approx(0.1)
    assert np.isnan([row["low"], row["high"]]).all()
    assert NO_POOLED in row["note"]


def test_seeds_that_no_networks_share_are_not_compared() -> None:
    study = made(MAGNITUDE | {("other", 3.0): (1.2, 0.85)})
    table = study["networks"]
    magnitude = table["method"] == "magnitude"
    own = (table["method"] == "other") & (table["seed"] < 2)
    study["networks"] = table[
        (magnitude & (table["seed"] >= 2)) | own | (table["method"] == CONTROL)
    ]
    row = equal_accuracy(**study).iloc[0]
    assert (row["n"], row["note"]) == (0, NO_SEEDS)
    # Nor is there anything beside a control of other seeds.
    study["networks"] = table[
        magnitude | own | ((table["method"] == CONTROL) & (table["seed"] > 1))
    ]
    row = equal_accuracy(**study).iloc[0]
    assert (row["n"], row["note"]) == (0, NO_CONTROL)
    assert np.isnan(row["difference"])


def of_seeds(study: dict[str, pd.DataFrame], method: str, ratio: float) -> pd.Series:
    table = study["networks"]
    return (table["method"] == method) & (table["ratio"] == ratio)


def test_the_place_is_that_of_the_seeds_that_are_compared() -> None:
    """Magnitude's seeds 5 to 9, which the other method lacks, would put it elsewhere.

    On the first five magnitude at 2 and 4 both lie at 0.80, and the other at 0.84 lies 0.6 of the
    way from the control to the latter, whose α is 0.5 beyond; between the two nothing would hold.
    """
    study = made(MAGNITUDE | {("other", 3.0): (1.2, 0.84)}, seeds=10)
    table = study["networks"]
    early = table["seed"] < 5
    for ratio, first, later in ((2.0, 0.799, 0.89), (4.0, 0.80, 0.70)):
        own = of_seeds(study, "magnitude", ratio)
        table.loc[own, "accuracy"] = np.where(early[own], first, later)
    study["networks"] = table[early | ~of_seeds(study, "other", 3.0)]
    row = equal_accuracy(**study).iloc[0]
    assert (row["n"], row["note"]) == (5, "between the control and magnitude at 4")
    assert row["other"] == pytest.approx(0.6 * 0.5)
    assert row["difference"] == pytest.approx(0.4 - 0.6 * 0.5)


def test_a_place_that_fewer_seeds_leave_is_not_extrapolated_to() -> None:
    """The other lies at 0.85 and on the seeds that magnitude at 4 has above magnitude at 2."""
    study = made(MAGNITUDE | {("other", 3.0): (1.2, 0.85)}, seeds=10)
    table = study["networks"]
    late, own = table["seed"] >= 5, of_seeds(study, "other", 3.0)
    table.loc[own, "accuracy"] = np.where(late[own], 0.89, 0.81)
    study["networks"] = table[late | ~of_seeds(study, "magnitude", 4.0)]
    row = equal_accuracy(**study).iloc[0]
    assert row["note"] == NOT_BETWEEN.format("magnitude at 2", "magnitude at 4")
    assert np.isnan([row["difference"], row["low"], row["high"], row["other"]]).all()
    assert (row["n"], row["verdict"]) == (0, "")


def test_one_method_alone_has_nothing_to_be_compared_with() -> None:
    assert equal_accuracy(**made(MAGNITUDE)).empty


@pytest.mark.slow
def test_methods_on_one_curve_are_told_apart_as_seldom_as_the_level_says() -> None:
    """400 studies of 20 seeds, whose accuracies scatter so much that they decide the place.

    Both methods lie on α = 0.8 + 5 (0.9 - accuracy). Without the term of the place itself, whose
    noise is 5 x 0.03 x sqrt(2) beside slopes of 0.05, nearly half of the intervals would miss 0.
    """
    rng = np.random.default_rng(20261128)
    seeds, studies, level = 20, 400, 0.9

    def study() -> dict[str, pd.DataFrame]:
        cells = {}
        for place, loss in (
            ((CONTROL, 1.0), 0.0), (("magnitude", 2.0), 0.1), (("magnitude", 4.0), 0.3),
            (("other", 3.0), 0.2),
        ):  # fmt: skip
            noise = 0.05 * rng.standard_normal(seeds)
            accuracy = 0.9 - loss + 0.03 * rng.standard_normal(seeds)
            cells[place] = 0.8 + 5 * loss + noise, place[1] * np.ones(seeds), accuracy
        return tables(cells, 0.02 * np.ones(seeds))

    rows = [equal_accuracy(**study(), level=level).iloc[0] for _ in range(studies)]
    differences = np.array([row["difference"] for row in rows])
    missed = np.mean([not row["low"] <= 0 <= row["high"] for row in rows])
    assert abs(differences.mean()) < 4 * differences.std() / np.sqrt(studies)
    # A bootstrap of 20 seeds misses somewhat more often than it says: 0.1 within 0.06.
    assert missed == pytest.approx(1 - level, abs=0.06)
