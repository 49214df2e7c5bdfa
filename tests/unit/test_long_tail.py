"""Long-tailed training sets, and what the frequency of a class has to do with what it loses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from recall_distortion.data.frequencies import write_frequencies
from recall_distortion.data.imbalance import HELD_OUT, kept_of_classes, long_tailed
from recall_distortion.data.prepared import load
from recall_distortion.data.preparing import prepare
from recall_distortion.inference.questions.frequency import frequency
from recall_distortion.inference.questions.summary_forgotten import of_panels
from recall_distortion.study.datasets import Dataset
from recall_distortion.system.errors import DataError
from recall_distortion.tables.files import read_table
from recall_distortion.tables.items import ITEMS
from recall_distortion.tables.study import StudyTables
from recall_distortion.tables.views import melt, spread
from recall_distortion.vocabulary import CONTROL, DENSE, RETRAINED

CLASSES = 5


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """Return a data set with a test set of its own: 400 training images of each class."""
    rng = np.random.default_rng(0)
    train, test = (np.tile(np.arange(CLASSES), n) for n in (400, 30))
    path = tmp_path / "data.npz"
    np.savez(
        path,
        train_images=rng.integers(0, 256, (len(train), 8, 8, 1), np.uint8), train_labels=train,
        test_images=rng.integers(0, 256, (len(test), 8, 8, 1), np.uint8), test_labels=test,
    )  # fmt: skip
    return path


def prepared(path: Path, output: Path, **options):
    prepare("arrays", output, path=str(path), data_root="", holdout=0.1, test_fraction=None,
            seed=3, **options)  # fmt: skip
    return load(output)


def test_the_tail_is_exponential_and_the_rest_as_it_was(arrays: Path, tmp_path: Path) -> None:
    whole = prepared(arrays, tmp_path / "whole.safetensors")
    found = prepared(arrays, tmp_path / "tail.safetensors", imbalance=0.1)
    expected = [400, 225, 126, 71, 40]  # 400 x 0.1^(c / 4)
    assert kept_of_classes([400] * CLASSES, 0.1) == expected
    assert np.bincount(found.train_labels).tolist() == expected
    held = np.bincount(found.train_labels[found.holdout_index])
    assert held.tolist() == [HELD_OUT] * CLASSES
    assert len(found.fit_index) + len(found.holdout_index) == sum(expected)
    assert np.array_equal(found.test_images, whole.test_images)
    # What is left are images of the whole set with their labels, each once.
    every = {
        image.tobytes(): label
        for image, label in zip(whole.train_images, whole.train_labels, strict=True)
    }
    left = [image.tobytes() for image in found.train_images]
    assert len(set(left)) == len(left)
    assert [every[image] for image in left] == found.train_labels.tolist()


def test_the_same_seed_keeps_the_same_images() -> None:
    labels = np.repeat([0, 1], 300)
    kept = [long_tailed(labels, 0.5, np.random.default_rng(s), ["a", "b"]) for s in (1, 1, 2)]
    assert np.array_equal(kept[0], kept[1])
    assert not np.array_equal(kept[0], kept[2])


def test_what_leaves_too_little_is_refused(arrays: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"data.npz: an imbalance of 0.01 leaves class '3' 13 train"
    ):
        prepared(arrays, tmp_path / "tail.safetensors", imbalance=0.01)
    assert not (tmp_path / "tail.safetensors").exists()
    with pytest.raises(ValueError, match="20 images of each class are held out; remove holdout"):
        Dataset(source="fashion_mnist", imbalance=0.01, holdout=0.1)
    with pytest.raises(ValueError, match="less than 1"):
        Dataset(source="fashion_mnist", imbalance=1)


def test_a_data_set_without_a_tail_is_prepared_from_what_it_always_was() -> None:
    """Else an old study would compute everything anew."""
    whole = Dataset(source="digits", test_fraction=0.7)
    assert whole.preparation() == {
        "source": "digits", "path": None, "holdout": 0.1, "test_fraction": 0.7, "seed": 0,
    }  # fmt: skip
    assert Dataset(source="digits", imbalance=0.2).preparation()["imbalance"] == 0.2


def test_only_shipped_images_are_shown_unasked() -> None:
    assert Dataset(source="digits").shown
    assert not Dataset(source="digits", gallery=False).shown
    assert not Dataset(source="arrays", path="mine.npz").shown
    assert Dataset(source="arrays", path="mine.npz", gallery=True).shown


def test_frequencies_are_counted(arrays: Path, tmp_path: Path) -> None:
    prepared(arrays, tmp_path / "tail.safetensors", imbalance=0.1)
    write_frequencies({"mine": tmp_path / "tail.safetensors"}, tmp_path / "frequencies.csv")
    table = read_table(tmp_path / "frequencies.csv", "frequencies")
    assert table["fit"].tolist() == [380, 205, 106, 51, 20]
    assert table["holdout"].tolist() == [20] * CLASSES
    assert table["test"].tolist() == [30] * CLASSES


def recalls(seeds: int = 6, classes: int = CLASSES, slope: float = 0.1, noise: float = 0.01):
    """Return recalls whose changes rise by ``slope`` per tenfold images, the control's by none."""
    rng = np.random.default_rng(1)
    fit = np.round(1000 * 0.01 ** (np.arange(classes) / (classes - 1)))
    dense = rng.normal(0.8 + 0.05 * np.log10(fit), 0.02, (seeds, classes))
    moved = {(DENSE, 1.0, DENSE): 0.0, (CONTROL, 1.0, RETRAINED): 0.0,
             ("magnitude", 2.0, RETRAINED): slope * np.log10(fit)}  # fmt: skip
    rows = []
    for (method, ratio, state), change in moved.items():
        values = dense + change + (rng.normal(0, noise, dense.shape) if method != DENSE else 0)
        rows += [
            {"dataset": "d", "architecture": "mlp", "recipe": "r", "method": method,
             "ratio": ratio, "state": state, "seed": k, "class": c, "recall": values[k, c]}
            for k in range(seeds) for c in range(classes)
        ]  # fmt: skip
    table = pd.DataFrame({"dataset": "d", "class": range(classes), "fit": fit})
    return pd.DataFrame(rows), table


def test_the_slopes_are_those_of_ordinary_least_squares() -> None:
    recall, images = recalls()
    found = frequency(recall, images)
    row = found[found["method"] == "magnitude"].iloc[0]
    wide = {m: g.pivot(index="seed", columns="class", values="recall").to_numpy()
            for m, g in recall.groupby("method")}  # fmt: skip
    tens = np.log10(images["fit"].to_numpy())
    slopes = []
    for k in range(6):
        change = (wide["magnitude"] - wide[DENSE])[k]
        others = np.delete(wide[DENSE], k, axis=0).mean(axis=0)
        alone = sm.OLS(change, sm.add_constant(tens)).fit().params[1]
        both = sm.OLS(change, sm.add_constant(np.column_stack([tens, others]))).fit().params[1:]
        slopes.append([alone, *both])
    mean = np.mean(slopes, axis=0)
    assert row["images"] == pytest.approx(mean[0])
    assert row["images_beside"] == pytest.approx(mean[1])
    assert row["dense_recall_beside"] == pytest.approx(mean[2])
    assert row["images"] == pytest.approx(0.1, abs=0.02)
    assert row["images_p"] < 0.001
    assert row["images_over_control"] == pytest.approx(row["images"] - row["images_control"])
    back = spread("frequency", melt("frequency", found))
    np.testing.assert_array_equal(back["images_p"], found["images_p"])


def test_summaries_count_cells_in_which_rare_classes_lose_more() -> None:
    recall, images = recalls()
    nothing = pd.DataFrame()
    rows = melt("frequency", frequency(recall, images))
    networks = recall[["method"]]
    tables = StudyTables(recall, networks, rows, nothing, nothing, nothing, nothing)
    ((panel, section, found),) = of_panels(tables)
    assert (section, panel.dataset) == ("frequency", "d")
    assert set(found) == set(ITEMS["frequency"])
    assert (found["cells"], found["rarer"], found["commoner"]) == (1, 1, 0)


def test_nothing_is_said_of_balanced_data_or_few_classes() -> None:
    recall, images = recalls()
    assert frequency(recall, images.assign(fit=100)).empty
    assert frequency(recall, None).empty
    assert frequency(*recalls(classes=3)).empty
