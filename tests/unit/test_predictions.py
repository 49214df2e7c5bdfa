"""Files of predictions hold what was written, in few bytes, and what they may come without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recall_distortion.system import sealed
from recall_distortion.system.errors import TableError
from recall_distortion.tables.predictions import (
    LARGEST_LOSS,
    Predictions,
    Trained,
    read_predictions,
    write_predictions,
)
from recall_distortion.vocabulary import Panel

FACTS = {"device": "cuda", "gpu": "X", "engine": "one after another", "torch": "2"}
FAILURE = {"method": "dense", "ratio": "1", "stage": "training", "seed": 9, "reason": "it is nan"}


def part(classes: int = 3, **values: object) -> Predictions:
    """Return predictions of two networks, in wide types as a network gives them."""
    rng = np.random.default_rng(0)
    labels = np.arange(4 * classes) % classes
    shape = (2, len(labels))
    known = {
        "panel": Panel("small", "mlp", "usual"),
        "method": "dense",
        "ratio": "1",
        "state": "dense",
        "seeds": [3, 5],
        "class_names": [f"class {index}" for index in range(classes)],
        "labels": labels,
        "predicted": rng.integers(0, classes, shape),
        "trained": {Trained("X", "one after another", "2"): 2},
        "loss": rng.exponential(1, shape).astype(np.float32),
        "probability": rng.uniform(0.4, 1, shape).astype(np.float32),
    }
    return Predictions(**known | values)


def assert_same(found: Predictions, expected: Predictions) -> None:
    for name, value in vars(expected).items():
        other = getattr(found, name)
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(other, value, rtol=1e-3, err_msg=name)
        else:
            assert other == value, name


@pytest.mark.parametrize(("classes", "kind"), [(3, "uint8"), (256, "uint8"), (257, "int16")])
def test_predictions_are_read_as_they_were_written(tmp_path: Path, classes: int, kind: str) -> None:
    path = tmp_path / "p.safetensors"
    failed = part(classes, method="random", ratio="2.5", state="retrained", seeds=[])
    parts = [part(classes), part(classes, method="random", ratio="2.5", state="compressed"), failed]
    made = {cell: {"trained": FACTS, "evaluated": FACTS} for cell in ("dense/1", "random/2.5")}
    write_predictions(path, parts, failures=[FAILURE], made=made)
    found, failures = read_predictions(path)
    for one, expected in zip(found[:2], parts[:2], strict=True):
        assert_same(one, expected)
        assert (one.predicted.dtype, one.loss.dtype, one.probability.dtype) == (
            kind, "float16", "float16",
        )  # fmt: skip
    none = found[2]
    assert none.seeds == []
    for values in (none.predicted, none.loss, none.probability):
        assert values.shape == (0, len(none.labels))
    assert failures == [
        {
            "dataset": "small",
            "architecture": "mlp",
            "recipe": "usual",
            "method": "dense",
            "ratio": "1",
            "state": "dense",
            "seed": 9,
            "failure": "it is nan",
            "device": "X",
            "engine": "one after another",
            "torch": "2",
        }
    ]


def test_the_same_predictions_give_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write_predictions(tmp_path / name, [part()])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_predictions_from_elsewhere_may_come_without_losses(tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    plain = part(loss=None, probability=None, trained={Trained(): 2})
    write_predictions(path, [plain])
    (found,), failures = read_predictions(path)
    assert_same(found, plain)
    assert (found.loss, found.probability, failures) == (None, None, [])


def test_a_loss_is_written_as_a_finite_number_from_0_on(tmp_path: Path) -> None:
    """A probability of 0 has an infinite loss, and rounding gives losses just below 0."""
    path = tmp_path / "p.safetensors"
    loss = np.zeros((2, 12), np.float32)
    loss[0, :4] = np.inf, 1e6, -1e-6, np.nan
    write_predictions(path, [part(loss=loss)])
    (found,), _ = read_predictions(path)
    assert found.loss[0, :3].tolist() == [LARGEST_LOSS, LARGEST_LOSS, 0]
    assert np.isnan(found.loss[0, 3])


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("predicted", np.full((2, 12), 3, np.uint8), "a prediction lies outside 0 to 2"),
        ("predicted", np.zeros((2, 12)), "a prediction is a class index, not float64"),
        ("loss", np.full((2, 12), -1.0), "a loss lies outside 0 to 65504"),
        ("loss", np.full((2, 12), np.inf), "a loss lies outside 0 to 65504"),
        ("loss", np.zeros((2, 11)), r"loss of shape \(2, 11\) for 2 seeds and 12 images"),
        ("probability", np.full((2, 12), 1.5), "a probability lies outside 0 to 1"),
        ("probability", np.ones((2, 12), int), "not int64"),
    ],
)
def test_numbers_that_cannot_be_are_told(
    tmp_path: Path, name: str, values: np.ndarray, words: str
) -> None:
    path = tmp_path / "p.safetensors"
    write_predictions(path, [part()])
    arrays, metadata = sealed.read(path)
    sealed.write(path, arrays | {f"dense/1/dense/{name}": values}, metadata)
    with pytest.raises(TableError, match=words) as caught:
        read_predictions(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("method", ["one", "zero", "all"])
def test_a_method_named_by_a_word_of_the_tables_is_refused(tmp_path: Path, method: str) -> None:
    """Estimates against 1, and of all classes, could not be told from those of such a method."""
    path = tmp_path / "predictions.safetensors"
    write_predictions(path, [part(method=method, ratio="2", state="retrained")])
    with pytest.raises(TableError, match=f"a method is called '{method}'"):
        read_predictions(path)
