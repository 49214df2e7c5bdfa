"""What a study says of other seeds and other images, against audits of the same networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import recall_distortion as rd
from recall_distortion.inference.estimates import answers, estimates
from recall_distortion.inference.jobs.estimate import write_estimates
from recall_distortion.inference.questions.other_images import NO_END, other_images
from recall_distortion.measures.of_networks import FURTHER
from recall_distortion.system.errors import TableError
from recall_distortion.tables.files import read_table, write_table
from recall_distortion.tables.predictions import Predictions, write_predictions
from recall_distortion.tables.views import CROSSFIT_OVER_BOTH, MEAN_OVER_BOTH
from recall_distortion.vocabulary import CELL_STATE, COMPRESSED, CONTROL, DENSE, RETRAINED
from tests import synthetic

SEEDS = 6
LABELS = np.repeat(np.arange(4), [300, 200, 250, 250])
NAMES = [f"class {label}" for label in range(4)]
MAGNITUDE = ("magnitude", 10.0, RETRAINED)
PRUNED = ("magnitude", 10.0, COMPRESSED)
FLOAT16 = ("float16", 2.0, COMPRESSED)


def right(seeds: int = SEEDS, spread: float = 0.2) -> dict[synthetic.Place, dict[int, np.ndarray]]:
    """Return which images the networks of some cells recognize, by seed; the same are hard."""
    rng = np.random.default_rng(4)
    hard = rng.random(len(LABELS))
    found = {}
    for place, lower, wider in (
        (synthetic.DENSE, 0.0, 1.0), (synthetic.CONTROL, 0.0, 1.0), (MAGNITUDE, 0.08, 1.4),
        (PRUNED, 0.3, 1.5), (FLOAT16, 0.01, 1.0),
    ):  # fmt: skip
        recall = 0.75 - lower + wider * spread * np.array([1.0, 0.3, -0.4, -0.9])
        recalls = recall + rng.normal(0, 0.02, (seeds, 4))
        luck = 0.6 * hard + 0.4 * rng.random((seeds, len(LABELS)))
        found[place] = dict(enumerate(luck < recalls[:, LABELS]))
    return found


@pytest.fixture(scope="module")
def study() -> dict[str, object]:
    return synthetic.pictured(LABELS, right(), splits=4, reseed=True, with_predictions=True)


def of(table: pd.DataFrame, place: synthetic.Place) -> pd.DataFrame:
    method, ratio, state = place
    chosen = (table["method"] == method) & (table["ratio"] == ratio) & (table["state"] == state)
    return table[chosen]


def predicted(study: dict[str, object], place: synthetic.Place) -> np.ndarray:
    method, ratio, state = place
    (part,) = (
        part
        for part in study["predictions"]
        if (part.method, float(part.ratio), part.state) == (method, ratio, state)
    )
    return part.predicted


def test_changes_are_those_of_an_audit_of_the_networks(study) -> None:
    _, classes = other_images(study["predictions"], study["networks"], 0.95)
    dense, after = (predicted(study, place) for place in (synthetic.DENSE, MAGNITUDE))
    groups = rd.audit(LABELS, dense, after, classes=NAMES, level=0.95).tables["groups"]
    own = of(classes, MAGNITUDE)
    assert list(own["class_name"]) == NAMES
    for column in ("before", "change", "low", "high"):
        np.testing.assert_allclose(own[column], groups[column])
    assert (own["n"] == SEEDS).all()
    assert (own["std_error"] < (own["high"] - own["low"]) / 2).all()


def test_slopes_are_those_of_the_table_with_an_audit_s_intervals(study) -> None:
    """The same cross-fitted sums, halved where an audit's are in closed form."""
    found = answers(study["recall"], study["networks"], 0.95, study["predictions"])
    own, pooled, effect = (
        of(found[name], MAGNITUDE).iloc[0] for name in ("slopes_over_both", "pooled", "effects")
    )
    assert own["alpha"] == pytest.approx(pooled["alpha_crossfit"])
    assert own["difference"] == pytest.approx(effect["crossfit_difference"])
    assert own["control"] == pytest.approx(effect["crossfit_control"])
    assert own["family_size"] == pooled["family_size"] == 1
    dense, after, control = (
        predicted(study, place) for place in (synthetic.DENSE, MAGNITUDE, synthetic.CONTROL)
    )
    audited = rd.audit(LABELS, dense, after, control=control, level=0.95)
    (audit,) = audited.tables["models"].to_dict("records")
    for mine, theirs in (
        ("alpha", "alpha"), ("low", "alpha_low"), ("high", "alpha_high"),
        ("control", "alpha_control"), ("difference", "alpha_over_control"),
        ("difference_low", "alpha_over_control_low"),
        ("difference_high", "alpha_over_control_high"),
    ):  # fmt: skip
        assert own[mine] == pytest.approx(audit[theirs], rel=0.1, abs=0.02), mine
    assert own["verdict"] == audit["alpha_verdict"] == "intensification"
    assert own["difference_verdict"] == audit["alpha_over_control_verdict"]


def test_it_is_said_of_the_last_state_of_networks_that_a_dense_one_belongs_to(study) -> None:
    for table in other_images(study["predictions"], study["networks"]):
        cells = table[CELL_STATE[3:]].drop_duplicates().to_numpy().tolist()
        assert cells == [list(place) for place in (synthetic.CONTROL, MAGNITUDE, FLOAT16)]
    slopes, _ = other_images(study["predictions"], study["networks"])
    assert np.isnan(of(slopes, synthetic.CONTROL)["difference"]).all()


def test_no_other_row_of_the_estimates_changes(study) -> None:
    of_these = estimates(answers(study["recall"], study["networks"], 0.95))
    every = estimates(answers(study["recall"], study["networks"], 0.95, study["predictions"]))
    is_new = every["estimator"].isin({MEAN_OVER_BOTH, CROSSFIT_OVER_BOTH})
    pd.testing.assert_frame_equal(every[~is_new].reset_index(drop=True), of_these)
    new = every[is_new]
    assert set(new["estimator"]) == {MEAN_OVER_BOTH, CROSSFIT_OVER_BOTH}
    assert not new["leads"].any()


def test_parts_of_a_cell_are_put_together_by_seed(study) -> None:
    """Its files hold some seeds each; a seed without a pruned network is left out."""
    halves = [
        replace(part, seeds=[part.seeds[row] for row in rows], predicted=part.predicted[rows])
        for rows in ([4, 0], [5, 1, 3, 2])
        for part in study["predictions"]
    ]
    for one, other in zip(
        other_images(halves, study["networks"]),
        other_images(study["predictions"], study["networks"]),
        strict=True,
    ):
        pd.testing.assert_frame_equal(one, other)
    lost = [
        part if part.method != "magnitude" else
        replace(part, seeds=part.seeds[:-1], predicted=part.predicted[:-1])
        for part in study["predictions"]
    ]  # fmt: skip
    slopes, _ = other_images(lost, study["networks"])
    assert slopes.set_index("method")["n"].to_dict() == {
        CONTROL: SEEDS, "magnitude": SEEDS - 1, "float16": SEEDS
    }  # fmt: skip


def test_of_one_seed_or_without_dense_networks_nothing_is_said(study) -> None:
    one = synthetic.pictured(LABELS, right(1), splits=4, with_predictions=True)
    others = [part for part in study["predictions"] if part.method != DENSE]
    for parts, networks in (
        (one["predictions"], one["networks"]),
        (others, study["networks"]),
        ([], study["networks"]),
    ):
        assert all(table.empty for table in other_images(parts, networks))


def test_a_denominator_that_other_images_may_leave_at_zero_has_a_note() -> None:
    study = synthetic.pictured(LABELS, right(spread=0.01), splits=4, with_predictions=True)
    slopes, classes = other_images(study["predictions"], study["networks"])
    assert (slopes["note"] == NO_END).all()
    assert slopes["low"].isna().all()
    assert slopes["difference_low"].isna().all()
    assert classes["low"].notna().all()


def test_a_class_of_one_image_leaves_no_slope_and_every_change() -> None:
    labels = np.append(np.repeat([0, 1], 50), 2)
    rng = np.random.default_rng(0)
    cells = (synthetic.DENSE, synthetic.CONTROL)
    answered = {cell: dict(enumerate(rng.random((4, 101)) < 0.8)) for cell in cells}
    study = synthetic.pictured(labels, answered, splits=4, with_predictions=True)
    slopes, classes = other_images(study["predictions"], study["networks"])
    assert slopes["alpha"].isna().all()
    assert len(classes) == 3


@pytest.mark.slow
def test_the_job_reads_the_files_of_predictions(study, tmp_path: Path) -> None:
    write_table(tmp_path / "recall.csv", "recall", study["recall"])
    write_table(tmp_path / "networks.csv", "networks", study["networks"], FURTHER)
    files: list[Path] = []
    parts: list[Predictions] = study["predictions"]
    for number, part in enumerate(parts):
        files.append(tmp_path / f"{number}.safetensors")
        write_predictions(files[-1], [part])
    outputs = {name: tmp_path / f"{name}.csv" for name in ("estimates", "tests", "published")}
    inputs = tmp_path / "recall.csv", tmp_path / "networks.csv"
    write_estimates(*inputs, outputs, architectures={}, level=0.95, predictions=files)
    expected = estimates(answers(study["recall"], study["networks"], 0.95, parts))
    rows = expected["estimator"].isin((MEAN_OVER_BOTH, CROSSFIT_OVER_BOTH))
    found = read_table(outputs["estimates"], "estimates")
    for column in ("estimate", "low", "high"):
        np.testing.assert_array_equal(found.loc[rows, column], expected.loc[rows, column])
    files[0].write_bytes(b"damaged")
    with pytest.raises(TableError, match=r"0\.safetensors"):
        write_estimates(*inputs, outputs, architectures={}, predictions=files)
