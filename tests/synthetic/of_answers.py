"""What networks answer, counted by class or image by image, and the tables that measure it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion import vocabulary as words
from recall_distortion.measures.distortion import Counts, class_rows
from recall_distortion.measures.networks import Observed, measure, slopes_table
from recall_distortion.tables.predictions import Predictions, Trained
from recall_distortion.tables.schema import COLUMNS
from recall_distortion.vocabulary import CELL, COMPRESSED, NETWORK, Panel, format_ratio
from tests.synthetic.cells import DENSE, RECIPE, Place, Tables, completed, places, with_sparsity

# By seed, an answer to each image [M]: a class, or whether it is right.
Answers = Mapping[int, np.ndarray]
# A network's answers to images of these labels.
Predict = Callable[[np.random.Generator, np.ndarray], np.ndarray]


# Counted by class


def counted(
    correct: Mapping[Place, Mapping[int, Sequence[int]]],
    support: Sequence[int],
    *,
    dataset: str = "digits",
    architecture: str = "mlp",
    recipe: str = RECIPE,
    names: Sequence[str] = (),
) -> Tables:
    """Return recall and networks; ``correct`` maps cells and seeds to counts [C] of right images.

    The cross-fitted sums are those of a test set without sampling error: the plain slope's. Every
    class is named as often as it has images.
    """
    images = np.asarray(support)
    names = list(names) or [f"class {i}" for i in range(len(images))]
    observed: dict[Place, Observed] = {}
    recalls, frames = [], []
    for place, of_seed in correct.items():
        keys = _keys(Panel(dataset, architecture, recipe), place)
        right = np.array(list(of_seed.values()))
        counts = Counts(images, right, np.tile(images, (len(right), 1)))
        seeds = list(of_seed)
        observed[place] = Observed(seeds, counts.accuracy, counts.normalized_balance, None)
        recalls.append(class_rows(counts, names, seeds).assign(**keys))
        if place == DENSE:
            own = pd.DataFrame({"seed": seeds, "accuracy": counts.accuracy})
        else:
            own = slopes_table(observed[DENSE].take(seeds), observed[place])
        frames.append(own.assign(**keys, worst_recall=(right / images).min(axis=1)))
    return {
        "recall": pd.concat(recalls, ignore_index=True).reindex(columns=COLUMNS["recall"]),
        "networks": completed(pd.concat(frames, ignore_index=True)),
    }


def _keys(panel: Panel, place: Place) -> dict[str, Any]:
    return dict(zip(NETWORK, (*panel, *place), strict=False))


def random_study(
    methods: Mapping[str, Sequence[float]],
    *,
    seeds: int = 6,
    classes: int = 4,
    images: int = 200,
    control: bool = True,
    collapsed: Mapping[Place, Sequence[int]] | None = None,
    random_seed: int = 0,
    **options,
) -> Tables:
    """Return a study of methods and their ratios whose classes are not equally hard.

    All networks of the places ``collapsed`` have these counts [C] of right images.
    """
    rng = np.random.default_rng(random_seed)
    hard = np.linspace(0.95, 0.7, classes)
    correct = {
        place: {seed: rng.binomial(images, hard).tolist() for seed in range(seeds)}
        for place in places(methods, control=control)
    }
    correct |= {place: dict.fromkeys(range(seeds), own) for place, own in (collapsed or {}).items()}
    return counted(correct, [images] * classes, **options)


# Image by image


def some_errors(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Return predictions of which the higher classes are wrong more often."""
    classes = int(labels.max()) + 1
    wrong = rng.random(len(labels)) < 0.05 + 0.3 * labels / max(classes - 1, 1)
    return np.where(wrong, rng.integers(0, classes, len(labels)), labels)


def one_class(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Return the predictions of a network that collapsed: one class for every image."""
    return np.full_like(labels, rng.integers(0, labels.max() + 1))


def always_wrong(_: np.random.Generator | None, labels: np.ndarray) -> np.ndarray:
    """Return for each image the class that follows its own."""
    return (labels + 1) % (labels.max() + 1)


def always_right(_: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    return labels.copy()


def always_the_first(_: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Return the predictions of a network that says what is most frequent, whatever it sees."""
    return np.zeros_like(labels)


def one_errs(*wrong: int) -> Predict:
    """Return predictions that are right but for those of the networks ``wrong``, in their order."""
    seen = iter(range(10_000))

    def predict(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
        return some_errors(rng, labels) if next(seen) in wrong else labels.copy()

    return predict


def never_the_last(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Return predictions that never name the last class, and err in one of fifty others."""
    found = np.where(rng.random(len(labels)) < 0.02, rng.integers(0, 2, len(labels)), labels)
    return np.where(labels == labels.max(), 0, found)


def recalling(rng: np.random.Generator, labels: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Return predictions that are right as often as ``recall`` [C] says, else of any other class.

    No class is always right, and none always wrong.
    """
    right = rng.random(len(labels)) < recall.clip(0.02, 0.998)[labels]
    other = (labels + rng.integers(1, max(2, len(recall)), len(labels))) % len(recall)
    return np.where(right, labels, other)


def drawn(
    rng: np.random.Generator, labels: np.ndarray, accuracy: float, balances: np.ndarray
) -> dict[int, np.ndarray]:
    """Return which images networks of true normalized balances [K, C] get right, by seed from 0."""
    recalls = (accuracy * (1 + balances)).clip(0, 1)[:, labels]
    return dict(enumerate(rng.random(recalls.shape) < recalls))


def blocks(
    labels: np.ndarray,
    answers: Mapping[Place, Answers],
    *,
    dataset: str = "digits",
    architecture: str = "mlp",
    recipe: str = RECIPE,
    names: Sequence[str] = (),
    trained: Trained | None = None,
) -> list[Predictions]:
    """Return the predictions of a study whose networks name the classes ``answers``."""
    names = list(names) or [f"class {c}" for c in range(int(labels.max()) + 1)]
    return [
        Predictions(
            Panel(dataset, architecture, recipe),
            method,
            format_ratio(ratio),
            state,
            list(of_seed),
            names,
            labels,
            np.array(list(of_seed.values()), int).reshape(len(of_seed), len(labels)),
            {trained or Trained(): len(of_seed)},
        )
        for (method, ratio, state), of_seed in answers.items()
    ]


def sparsities(
    parts: Sequence[Predictions], shares: Mapping[str, float] | None = None, jitter: float = 0.0
) -> pd.DataFrame:
    """Return the table of the sparsities of the networks that were pruned."""
    rows = [
        (*part.panel, part.method, float(part.ratio), seed)
        for part in parts
        if part.state == COMPRESSED
        for seed in part.seeds
    ]
    table = pd.DataFrame(rows, columns=[*CELL, "seed"]).astype({"ratio": float})
    return with_sparsity(table, shares, jitter=jitter)[COLUMNS["sparsity"]]


def pictured(
    labels: np.ndarray,
    right: Mapping[Place, Answers],
    *,
    splits: int = 10,
    reseed: bool = False,
    with_predictions: bool = False,
    **options,
) -> dict[str, Any]:
    """Return recall and networks of a study; ``right`` says per seed which images [M] are right.

    A wrong image gets the class that follows its own. ``reseed`` keeps the rows of that name,
    ``with_predictions`` also returns the predictions.
    """
    wrong = always_wrong(None, labels)
    answers = {
        place: {seed: np.where(hits, labels, wrong) for seed, hits in of_seed.items()}
        for place, of_seed in right.items()
    }
    nothing = pd.DataFrame(columns=COLUMNS["sparsity"])
    parts = blocks(labels, answers, **options)
    of_classes, table = measure(parts, nothing, [], splits=splits)
    kept = reseed | (table["method"] != words.RESEED)
    found = {"recall": of_classes, "networks": table[kept].reset_index(drop=True)}
    return found | ({"predictions": parts} if with_predictions else {})
