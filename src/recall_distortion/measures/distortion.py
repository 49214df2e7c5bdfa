"""From predictions to recall, recall balance, intensification and its slope.

Definitions (paper, sections 4 and 5), for accuracy A and recall R^c of class c: recall balance
B^c = R^c - A; normalized recall balance Bn^c = (R^c - A) / A; the model-level slope alpha is the
no-intercept least-squares slope of the balances after on those before compression. This module
needs labels and predictions only: no study, no network, no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from recall_distortion.measures.rounding import DUST
from recall_distortion.system.errors import TableError
from recall_distortion.tables.predictions import check_classes
from recall_distortion.vocabulary import DENSE, PANEL

SPLIT_SEED = 20_221_128  # of the test set's halvings, the same for every network of a study


def slope(before: Sequence[float] | np.ndarray, after: Sequence[float] | np.ndarray) -> float:
    """Return alpha, the no-intercept least-squares slope of ``after`` on ``before``.

    Both are vectors [C] of normalized recall balances. NaN where every balance before is zero: a
    network without differences between its classes' recalls has none to intensify.

    Raises ``TableError`` for a balance that is no finite number, naming its place: those of a
    network that recognizes no image are undefined, and so is every slope of them.
    """
    before, after = _balances(before, "before"), _balances(after, "after")
    if before.ndim != 1 or before.shape != after.shape or not before.size:
        raise TableError(
            f"slope needs two vectors of one length, not shapes {before.shape} and {after.shape}"
        )
    return float(slopes(before, after))


def _balances(given: Sequence[float] | np.ndarray, name: str) -> np.ndarray:
    try:
        values = np.asarray(given, float)
    except (TypeError, ValueError) as error:
        raise TableError(f"{name}: balances are numbers, not {given!r} ({error})") from None
    if wrong := np.argwhere(~np.isfinite(values)).tolist():
        place = ", ".join(map(str, wrong[0]))
        raise TableError(
            f"{name}: the balance of class {place} is {values[tuple(wrong[0])]}, but a slope needs "
            "finite ones; those of a network that recognizes no image are undefined"
        )
    return values


def recall_table(
    labels: Sequence[int] | np.ndarray,
    predictions: Sequence[int] | np.ndarray,
    classes: int | Sequence[str],
) -> pd.DataFrame:
    """Return one row per class with support, recall, precision and recall balance.

    ``labels`` and ``predictions`` are vectors [M] of class indices; ``classes`` is their number or
    their names. ``accuracy`` is that of all M images. Recall is normalized by the accuracy, never
    by a recall (a class may have recall 0); precision is NaN where a class is never predicted.

    Raises ``TableError`` saying which of the three is wrong: indices out of range, a class without
    a test image, two classes of one name.
    """
    names = _names(classes)
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape or labels.ndim != 1:
        raise TableError(
            f"labels and predictions are vectors of one length, not of shapes {labels.shape} and "
            f"{predictions.shape}"
        )
    if not labels.size:
        raise TableError("labels: hold no image")
    check_classes(labels, labels, names, "labels")
    return class_rows(Counts.of(labels, predictions[None], names, "predictions"), names, [None])


def _names(classes: int | Sequence[str]) -> list[str]:
    """Return the names of classes, which are their numbers where only their number is given."""
    if isinstance(classes, int | np.integer) and not isinstance(classes, bool) and classes > 0:
        return [str(i) for i in range(classes)]
    # A text is a sequence of texts too, and a set has no order.
    if isinstance(classes, Sequence | np.ndarray | pd.Series) and not isinstance(classes, str):
        names = [str(name) for name in classes]
        if names and len(set(names)) == len(names):
            return names
    raise TableError(
        f"classes: give their number, or a list of different names, not {classes!r:.200}"
    )


@dataclass(frozen=True)
class Counts:
    """Counts per network and class: ``support`` [C], ``correct`` and ``predicted`` [K, C]."""

    support: np.ndarray
    correct: np.ndarray
    predicted: np.ndarray

    @classmethod
    def of(
        cls, labels: np.ndarray, predicted: np.ndarray, names: Sequence[str], where: str
    ) -> Counts:
        check_classes(labels, predicted, names, where)
        return cls.unchecked(labels, predicted, len(names))

    @classmethod
    def unchecked(cls, labels: np.ndarray, predicted: np.ndarray, classes: int) -> Counts:
        """Count predictions [K, M] of known classes; one outside of them names no class."""
        # Narrow types would overflow below, and unsigned ones become floats.
        labels, predicted = labels.astype(np.int64), predicted.astype(np.int64)
        support = np.bincount(labels, minlength=classes)
        rows = len(predicted)
        offset = classes * np.arange(rows)[:, None]

        def count(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
            places = (values + offset)[mask]
            return np.bincount(places, minlength=rows * classes).reshape(rows, classes)

        named = (predicted >= 0) & (predicted < classes)
        return cls(support, count(labels, predicted == labels), count(predicted, named))

    @property
    def accuracy(self) -> np.ndarray:
        accuracy: np.ndarray = self.correct.sum(1) / self.support.sum()
        return accuracy

    @property
    def normalized_balance(self) -> np.ndarray:
        return normalized(self.correct, self.support)


def normalized(correct: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Return (recall - accuracy) / accuracy over the last axis; NaN where the accuracy is 0.

    It is 0 exactly where recall and accuracy are the same fraction: what rounding would leave of
    their difference is no balance, and a slope must not be made of it.
    """
    correct_of_all, all_images = correct.sum(-1, keepdims=True), support.sum(-1, keepdims=True)
    accuracy = correct_of_all / all_images
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (correct / support - accuracy) / accuracy
    equal = correct * all_images == support * correct_of_all
    return np.where(equal & (support > 0) & (accuracy > 0), 0.0, found)


def slopes(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the no-intercept slopes over the last axis; NaN where the denominator is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: np.ndarray = (before * after).sum(-1) / (before**2).sum(-1)
    return found


def effective_classes(squares: np.ndarray) -> np.ndarray:
    """Return 1 / sum of squared shares over the last axis, of classes' squared balances [..., C].

    A slope is a mean of the classes' own (after over before) with these shares as weights. Of equal
    shares the number is C; near 1, one class carries the slope, whatever happens to the others. NaN
    where every balance is zero or one is unknown.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        effective: np.ndarray = 1 / ((squares / squares.sum(-1, keepdims=True)) ** 2).sum(-1)
    return effective


def class_means(labels: np.ndarray, values: np.ndarray | None, classes: int) -> np.ndarray | None:
    """Return the means [K, C] of values [K, M] over the images of each class; None of None."""
    if values is None:
        return None
    support = np.bincount(labels, minlength=classes)
    every = [np.bincount(labels, row.astype(float), classes) for row in values]
    sums = np.reshape(every, (len(values), classes))
    # One image without a value makes a network's means those of other images than the others'.
    sums[~np.isfinite(values).all(axis=1)] = np.nan
    means: np.ndarray = sums / support
    return means


def class_rows(
    counts: Counts,
    names: Sequence[str],
    seeds: Sequence[int | None],
    *,
    loss: np.ndarray | None = None,
    confidence: np.ndarray | None = None,
    calibration: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return the class rows of K networks; the seed column only where there are seeds.

    ``loss``, ``confidence`` and ``calibration`` [K, C] give columns of their own where known.
    """
    k, classes = counts.correct.shape
    accuracy = np.repeat(counts.accuracy, classes)
    recall = (counts.correct / counts.support).ravel()
    balance = counts.normalized_balance.ravel()
    with np.errstate(invalid="ignore"):
        precision = (counts.correct / counts.predicted).ravel()
    table = pd.DataFrame(
        {
            "seed": np.repeat(np.asarray(seeds), classes),
            "class": np.tile(np.arange(classes), k),
            "class_name": list(names) * k,
            "support": np.tile(counts.support, k),
            "correct": counts.correct.ravel(),
            "predicted": counts.predicted.ravel(),
            "recall": recall,
            "precision": precision,
            "accuracy": accuracy,
            "balance": np.where(balance == 0, 0.0, recall - accuracy),
            "normalized_balance": balance,
        }
    )
    further = {"mean_loss": loss, "confidence": confidence, "calibration_error": calibration}
    for name, values in further.items():
        if values is not None:
            table[name] = values.ravel()
    return table if seeds[:1] != [None] else table.drop(columns="seed")


def split_halves(labels: np.ndarray, splits: int) -> np.ndarray:
    """Return ``splits`` stratified halvings [S, M] of a test set, True for the first half.

    Each class is divided equally; of an odd number of images the odd one falls by chance.
    """
    rng = np.random.default_rng(SPLIT_SEED)
    halves = np.zeros((splits, len(labels)), bool)
    for half in halves:
        for c in np.unique(labels):
            images = rng.permutation(np.flatnonzero(labels == c))
            size = (len(images) + (len(images) % 2) * int(rng.integers(2))) // 2
            half[images[:size]] = True
    return halves


@dataclass(frozen=True)
class HalfBalances:
    """Normalized balances in either half of each split: two arrays [S, K, C]."""

    first: np.ndarray
    second: np.ndarray

    @classmethod
    def of(
        cls, labels: np.ndarray, correct: np.ndarray, halves: np.ndarray, classes: int
    ) -> HalfBalances:
        one_hot = np.eye(classes, dtype=np.float32)[labels]  # [M, C]
        hits = correct.astype(np.float32)
        found = []
        for half in (halves, ~halves):
            # Counts below 2^24 are exact in float32, and the products are small matrices.
            counts = np.stack([hits[:, part] @ one_hot[part] for part in half]).astype(float)
            support = np.stack([one_hot[part].sum(0) for part in half]).astype(float)
            found.append(normalized(counts, support[:, None, :]))
        return cls(*found)


def crossfit_sums(before: HalfBalances, after: HalfBalances) -> tuple[np.ndarray, np.ndarray]:
    """Return numerators and denominators [K] of the cross-fitted slopes, means over the splits.

    They estimate sum_c Bn Bn_t and sum_c Bn^2 without the sampling error's part of the latter,
    because the halves' errors are independent given the networks (docs/methods.md, section 5). A
    denominator near zero may fall below it. Both are NaN where a half has no image of a class.
    """
    numerator = (before.first * after.second + before.second * after.first).sum(-1).mean(0) / 2
    denominator = (before.first * before.second).sum(-1).mean(0)
    return numerator, denominator


def crossfit(before: HalfBalances, after: HalfBalances) -> np.ndarray:
    """Return the cross-fitted slopes [K]; NaN where the denominator is 0 or undefined."""
    return quotients(*crossfit_sums(before, after))


def quotients(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return cross-fitted slopes [K] from their sums [K]; NaN where the denominator is 0."""
    with np.errstate(invalid="ignore"):
        return numerator / np.where(denominator == 0, np.nan, denominator)


def reseed_pairs(seeds: Sequence[int]) -> list[tuple[int, int]]:
    """Return disjoint pairs of seeds in their order: 1st and 2nd, 3rd and 4th, and so on.

    No network is in two pairs, so the slopes between the networks of a pair are independent. An
    odd last seed has no pair.
    """
    ordered = sorted(seeds)
    return list(zip(ordered[0::2], ordered[1::2], strict=False))


def intercepts(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return intercept and slope [K] of each network's fit with an intercept of y on x [K, C].

    On a balanced test set the balances sum to zero and the intercept is zero by construction;
    elsewhere the no-intercept slope is trustworthy as far as the intercept is near zero.
    """
    centred = x - x.mean(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        fitted = (centred * y).sum(1) / (centred**2).sum(1)
    intercept = y.mean(1) - fitted * x.mean(1)
    # A mean of balances is a sum of terms of their size, and what that rounds to is no intercept.
    size = np.maximum(np.abs(x * fitted[:, None]).max(1), np.abs(y).max(1))
    intercept[np.abs(intercept) <= DUST * size] = 0
    return intercept, fitted


def denominator_error(
    recall: np.ndarray, support: np.ndarray, accuracy: np.ndarray, balance: np.ndarray
) -> np.ndarray:
    """Return the standard errors [...] of cross-fitted denominators, from sampling error alone.

    ``recall``, ``support`` and normalized ``balance`` are [..., C], ``accuracy`` [..., 1] or
    [..., C]. A normalized balance has variance v = R (1 - R) / (support A^2) (delta method), and
    the mean of products of two halves' balances, over many splits, has 4 B^2 v + 2 v^2 for a true
    balance B, of which B^2 is estimated by Bn^2 - v.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        v = recall * (1 - recall) / (support * accuracy**2)
    squared = np.maximum(balance**2 - v, 0)
    errors: np.ndarray = np.sqrt((4 * squared * v + 2 * v**2).sum(-1))
    return errors


def paired_balances(recall: pd.DataFrame) -> pd.DataFrame:
    """Return the class balances of each compressed network beside those of its dense network.

    One row per cell, state, seed and class with the columns of ``recall``, ``before`` (dense) and
    ``after`` (normalized recall balances) and ``recall_before``. Networks whose dense network is
    not in the table have no row.
    """
    keys = [*PANEL, "seed", "class"]
    dense = recall.loc[recall["method"] == DENSE, [*keys, "normalized_balance", "recall"]]
    dense = dense.rename(columns={"normalized_balance": "before", "recall": "recall_before"})
    compressed = recall[recall["method"] != DENSE].rename(columns={"normalized_balance": "after"})
    return compressed.merge(dense, on=keys, how="inner", validate="many_to_one")
