"""What the tables say of populations: beside the control, at fewer networks, image by image."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_populations import CLASSES, distance, drawn, modes, pies

from recall_distortion.inference.estimates import answers, estimates
from recall_distortion.inference.jobs.estimate import write_estimates
from recall_distortion.inference.jobs.measure import write_measures
from recall_distortion.inference.jobs.populations import write_populations
from recall_distortion.inference.notes import NO_CONTROL
from recall_distortion.inference.questions import populations as question
from recall_distortion.measures.networks import measure
from recall_distortion.tables.files import read_table
from recall_distortion.tables.predictions import Predictions, Trained, write_predictions
from recall_distortion.tables.schema import COLUMNS
from recall_distortion.tables.views import melt, spread
from recall_distortion.vocabulary import COMPRESSED, CONTROL, DENSE, RESEED, RETRAINED, Panel

IMAGES = 150
PANEL = Panel("digits", "mlp", "usual")
SEEDS = {
    (DENSE, "1", DENSE): range(8),
    (CONTROL, "1", RETRAINED): [0, 1, 2, 3, 4, 6, 7],
    ("magnitude", "2", COMPRESSED): range(8),
    ("magnitude", "2", RETRAINED): range(1, 8),
    ("magnitude", "10", RETRAINED): range(8),
    ("random", "2", RETRAINED): [3],
}
WRONG = {"dense": 0.6, "control": 0.6, "magnitude": 0.8, "random": 1.5}


@pytest.fixture(scope="module")
def cells() -> list[Predictions]:
    rng = np.random.default_rng(3)
    labels = np.random.default_rng(7).integers(0, CLASSES, IMAGES)
    found = []
    for (method, ratio, state), seeds in SEEDS.items():
        predicted = drawn(rng, len(seeds), IMAGES, wrong=WRONG[method])
        probability = (rng.integers(128, 257, predicted.shape) / 256).astype(np.float16)
        found.append(
            Predictions(
                PANEL, method, ratio, state, list(seeds), list("abcd"), labels, predicted,
                {Trained(): len(seeds)}, probability=probability,
            )
        )  # fmt: skip
    return found


def rows(cell: Predictions, seeds) -> np.ndarray:
    return cell.predicted[[cell.seeds.index(seed) for seed in seeds]]


def test_each_cell_is_counted_beside_dense_and_control_of_its_own_seeds(cells) -> None:
    found = question.populations(cells)
    table = found.cells.set_index(["method", "ratio", "state"])
    dense, control = cells[:2]
    for cell in cells[1:]:
        row = table.loc[(cell.method, float(cell.ratio), cell.state)]
        before = rows(dense, cell.seeds)
        assert row["pies"] == pies(before, cell.predicted)
        assert row["share"] == row["pies"] / IMAGES
        assert row["distance"] == pytest.approx(distance(before, cell.predicted), abs=1e-6)
        is_pie = np.array(
            [min(a) != min(b) for a, b in zip(modes(before), modes(cell.predicted), strict=True)]
        )
        right = (before == cell.labels).mean(axis=0)
        assert row["dense_on_pies"] == pytest.approx(right[is_pie].mean(), nan_ok=True)
        assert row["dense_on_others"] == pytest.approx(right[~is_pie].mean())
        named = np.array([min(a) for a in modes(cell.predicted)])
        assert row["own_mode_right"] == pytest.approx((named == cell.labels)[is_pie].mean())
        if cell.state == RETRAINED and cell.method != CONTROL:
            common = [seed for seed in cell.seeds if seed in control.seeds]
            of_control = pies(rows(dense, common), rows(control, common))
            assert row["control"] == of_control
            own = pies(rows(dense, common), rows(cell, common))
            assert row["over_control"] == own - of_control
            assert row["control_n"] == len(common)
        else:
            assert np.isnan(row["control"])
    single = table.loc[("random", 2.0, RETRAINED)]
    assert np.isnan(single["p"])
    assert question.FEW in single["note"]
    assert "6 of 8 seeds make pairs" in table.loc[("magnitude", 2.0, RETRAINED), "note"]
    assert table.loc[("magnitude", 2.0, RETRAINED), "family_size"] == 2
    # 6 seeds have 64 exchanges, of which two at least are as large: an adjusted p of 4 / 64.
    assert question.TOO_FEW.format(6) in table.loc[("magnitude", 2.0, RETRAINED), "note"]
    assert table.loc[("magnitude", 10.0, RETRAINED), "note"].startswith("7 of 8 seeds")


def test_all_are_compared_at_one_number_of_networks(cells) -> None:
    table = question.populations(cells).cells.set_index(["method", "ratio", "state"])
    # Half of the smallest cell that has at least half of the seeds.
    assert set(table["fewer"].dropna()) == {3}
    reseed = table.loc[(RESEED, 1.0, DENSE)]
    first, second = (rows(cells[0], seeds) for seeds in ([0, 2, 4, 6], [1, 3, 5, 7]))
    assert reseed["pies"] == pies(first, second)
    assert reseed["disjoint_low"] <= reseed["disjoint_median"] <= reseed["disjoint_high"]
    rng = np.random.default_rng(question.SUBSET_SEED)
    orders = [rng.permutation(8) for _ in range(question.SUBSETS)]
    dense, own = cells[0].predicted, cells[4].predicted
    counts = [pies(dense[order[:3]], own[order[3:6]]) for order in orders]
    row = table.loc[("magnitude", 10.0, RETRAINED)]
    assert row["disjoint_median"] == np.median(counts)
    assert row["disjoint_high"] == np.percentile(counts, 95)
    paired = [pies(dense[order[:3]], own[order[:3]]) for order in orders]
    assert row["paired_low"] == np.percentile(paired, 5)
    assert np.isnan(table.loc[("random", 2.0, RETRAINED), "disjoint_median"])


def test_classes_and_images_add_up(cells) -> None:
    found = question.populations(cells)
    keys = ["method", "ratio", "state"]
    of_class = found.classes.groupby(keys)["pies"].sum()
    assert (of_class == found.cells.set_index(keys)["pies"].dropna()[of_class.index]).all()
    images = found.images
    assert not images.duplicated([*keys, "image"]).any()
    listed = images[images["is_pie"]].groupby(keys).size()
    most = found.cells.set_index(keys)["largest"]
    for key, count in listed.items():
        if most[key] <= question.MOST_IMAGES:
            assert count == of_class[key]
    dense = images[images["method"] == DENSE]
    assert len(dense) == question.DRAWN
    other = images[images["method"] == "magnitude"]
    row = other.iloc[0]
    cell = next(c for c in cells if (c.method, float(c.ratio), c.state) == tuple(row[keys]))
    assert row["probability"] == pytest.approx(cell.probability[:, row["image"]].mean(dtype=float))
    assert row["label"] == cell.labels[row["image"]]
    assert row["agreement"] == np.mean(cell.predicted[:, row["image"]] == row["own_label"])


def test_without_a_control_or_a_probability_the_rest_is_there(cells) -> None:
    without = [
        Predictions(**{**vars(cell), "probability": None})
        for cell in cells
        if cell.method != CONTROL
    ]
    found = question.populations(without)
    row = found.cells.set_index(["method", "ratio", "state"]).loc[("magnitude", 10.0, RETRAINED)]
    assert row["note"] == NO_CONTROL
    assert row["pies"] > 0
    assert found.images["probability"].isna().all()
    assert found.images.columns.tolist() == COLUMNS["images"]
    nothing = question.populations([])
    assert nothing.images.columns.tolist() == COLUMNS["images"]
    assert melt("populations", nothing.cells).empty


def test_the_view_gives_back_what_was_melted(cells, tmp_path) -> None:
    found = question.populations(cells)
    recall, networks = measure(cells, pd.DataFrame(columns=COLUMNS["sparsity"]), [], splits=2)
    further = pd.concat(
        [melt("populations", found.cells), melt("population_classes", found.classes)]
    )
    before = estimates(answers(recall, networks))
    table = estimates(answers(recall, networks), further)
    # What was there before is as it was.
    pd.testing.assert_frame_equal(table.iloc[: len(before)], before)
    assert not table.duplicated(["quantity", "estimator", "against", "reference", "class",
                                 "method", "ratio", "state"]).any()  # fmt: skip
    view = spread("populations", table)
    keys = ["method", "ratio", "state"]
    known = found.cells[found.cells["pies"].notna()]
    joined = view.merge(known, on=keys, suffixes=("", "_given"))
    assert len(joined) == len(known)
    for name in ("pies", "least", "over_control", "control", "disjoint_high", "own_on_null"):
        np.testing.assert_array_equal(joined[name], joined[f"{name}_given"])


def test_from_files_to_files(cells, tmp_path) -> None:
    path = tmp_path / "all.safetensors"
    half = [
        Predictions(**{**vars(c), "loss": np.zeros(c.predicted.shape, np.float16)}) for c in cells
    ]
    write_predictions(path, half)
    names = ("recall", "networks", "populations", "images", "estimates", "tests", "published")
    paths = {name: tmp_path / f"{name}.csv" for name in names}
    write_measures([path], [], paths["recall"], paths["networks"], splits=2)
    write_populations([path], paths["populations"], paths["images"])
    write_estimates(
        paths["recall"], paths["networks"], paths, architectures={},
        populations=paths["populations"],
    )  # fmt: skip
    view = spread("populations", read_table(paths["estimates"], "estimates"))
    expected = question.populations(cells).cells
    expected = expected[expected["pies"].notna()]
    assert view["pies"].tolist() == expected["pies"].tolist()
    images = read_table(paths["images"], "images")
    assert images["is_pie"].dtype == bool
