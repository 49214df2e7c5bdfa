"""A model before and after: what each class lost and gained, with intervals over test images."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recall_distortion.auditing.answers import Answers, TestSet
from recall_distortion.auditing.vectors import ABSTAINED
from recall_distortion.inference.statistics import intervals
from recall_distortion.inference.statistics.adjustment import holm
from recall_distortion.inference.statistics.pair_slope import (
    PairCounts,
    pair_slope,
    slope_difference,
)
from recall_distortion.inference.statistics.paired import (
    Ends,
    cautious,
    excess,
    mcnemar,
    tango,
    wilson,
)
from recall_distortion.vocabulary import INCONCLUSIVE

LOSS, GAIN = "loss", "gain"
#: What a change of a share of right answers may be said to be.
CHANGES = (LOSS, GAIN, INCONCLUSIVE)
#: The grouping by true class, and the one group of all images.
BY_CLASS, ALL = "class", "all"
#: Halvings of the test set for the largest loss, and their seed.
_HALVINGS, _SEED = 400, 20_261_127


def compare(
    group: np.ndarray,
    names: list[str],
    before: Answers,
    after: Answers,
    level: float,
    control: Answers | None = None,
) -> pd.DataFrame:
    """Return a row for each of G groups of images: shares of right answers, and what changed.

    ``group`` [M] are numbers of ``names`` [G]. Of a group without an image only the name is known.
    ``over_control`` is what changed more than in the control, the same further training without
    compression: the model after less the control, whose columns are empty where there is none.
    """
    counts = pair_counts(group, len(names), before, after)
    n, lost, gained = counts.images, counts.lost, counts.gained
    change = (gained - lost) / np.where(n > 0, n, np.nan)
    own = tango(lost, gained, n, level)
    simultaneous = cautious(lost, gained, n, together(level, n))
    p = mcnemar(lost, gained)
    flipped = _count(group, before.predicted != after.predicted, len(names))
    found = {
        "name": names,
        "images": n,
        **_interval("before", counts.both + lost, n, level),
        **_interval("after", counts.both + gained, n, level),
        "change": change,
        "low": own.low,
        "high": own.high,
        "simultaneous_low": simultaneous.low,
        "simultaneous_high": simultaneous.high,
        "p": np.where(n > 0, p.mid, np.nan),
        "p_exact": np.where(n > 0, p.exact, np.nan),
        "p_adjusted": holm(np.where(n > 0, p.mid, np.nan)),
        "verdict": [verdict(*ends) for ends in zip(*simultaneous, strict=True)],
        **_excess(n, change, own, simultaneous),
        "lost": lost,
        **_interval("lost_share", lost, n, level),
        "gained": gained,
        **_interval("gained_share", gained, n, level),
        "flipped": flipped,
        **_interval("flipped_share", flipped, n, level),
        **_over_control(group, names, control, after, level),
    }
    return pd.DataFrame(found)


def _over_control(
    group: np.ndarray, names: list[str], control: Answers | None, after: Answers, level: float
) -> dict[str, object]:
    """Return how a model's shares of right answers differ from the control's."""
    if control is None:
        return {**dict.fromkeys(_OVER_CONTROL, np.nan), "over_control_verdict": ""}
    counts = pair_counts(group, len(names), control, after)
    n, lost, gained = counts.images, counts.lost, counts.gained
    own = tango(lost, gained, n, level)
    simultaneous = cautious(lost, gained, n, together(level, n))
    values = (
        (counts.both + lost) / np.where(n > 0, n, np.nan),
        (gained - lost) / np.where(n > 0, n, np.nan),
        *own,
        *simultaneous,
    )
    verdicts = [verdict(*ends) for ends in zip(*simultaneous, strict=True)]
    return {**dict(zip(_OVER_CONTROL, values, strict=True)), "over_control_verdict": verdicts}


_OVER_CONTROL = (
    *("control", "over_control", "over_control_low", "over_control_high"),
    *("over_control_simultaneous_low", "over_control_simultaneous_high"),
)


def together(level: float, images: np.ndarray) -> float:
    """Return the level that each group with images needs for all to have ``level`` (Bonferroni)."""
    return 1 - (1 - level) / max(int((images > 0).sum()), 1)


def pair_counts(group: np.ndarray, groups: int, before: Answers, after: Answers) -> PairCounts:
    """Return the images of each group by what both models make of them."""
    first, second = before.right, after.right
    kinds = (first & second, first & ~second, ~first & second, ~first & ~second)
    return PairCounts(*(_count(group, kind, groups) for kind in kinds))


def _of_two_images(counts: PairCounts) -> PairCounts:
    """Return the counts of classes with two images or more: of one nothing can be halved."""
    some = counts.images > 1
    return PairCounts(*(part[some] for part in vars(counts).values()))


def _count(group: np.ndarray, which: np.ndarray, groups: int) -> np.ndarray:
    return np.bincount(group[which], minlength=groups)


def _interval(name: str, some: np.ndarray, n: np.ndarray, level: float) -> dict[str, np.ndarray]:
    low, high = wilson(some, n, level)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {name: some / n, f"{name}_low": low, f"{name}_high": high}


def _excess(
    n: np.ndarray, change: np.ndarray, own: Ends, simultaneous: Ends
) -> dict[str, np.ndarray]:
    """Return what each group changed more than all images, those without images left out."""
    known = n > 0
    found = {name: np.full(len(n), np.nan) for name in _EXCESS}
    for ends, (low, high) in ((own, _EXCESS[1:3]), (simultaneous, _EXCESS[3:])):
        of_known = Ends(ends.low[known], ends.high[known])
        found["excess"][known], got = excess(n[known], change[known], of_known)
        found[low][known], found[high][known] = got
    return found


_EXCESS = (
    *("excess", "excess_low", "excess_high"),
    *("excess_simultaneous_low", "excess_simultaneous_high"),
)


def verdict(low: float, high: float) -> str:
    """Return what an interval of a change says; "" where there is none."""
    if not np.isfinite([low, high]).all():
        return ""
    return LOSS if high < 0 else GAIN if low > 0 else INCONCLUSIVE


def overall(
    images: TestSet,
    before: Answers,
    after: Answers,
    level: float,
    control: Answers | None = None,
) -> dict[str, object]:
    """Return what is said of a candidate as a whole: accuracy, flips, the slope, largest loss."""
    nobody = np.zeros(len(images), int)
    everything = compare(nobody, [ALL], before, after, level, control).iloc[0]
    counts = pair_counts(images.index, len(images.names), before, after)
    counts = _of_two_images(counts)
    slope = pair_slope(counts, level)
    left_out = ["name", "p_adjusted", *_EXCESS]
    left_out += [
        name for name in everything.index if "simultaneous" in name and "excess" not in name
    ]
    return {
        **everything.drop(labels=left_out).to_dict(),
        "alpha": known(slope.alpha, slope.low, slope.high),
        "alpha_low": slope.low,
        "alpha_high": slope.high,
        "alpha_verdict": intervals.verdict(slope.low, slope.high),
        **_slope_over_control(images, before, after, control, level),
        "largest_loss": float(0.0 - (counts.after - counts.before).min(initial=np.inf)),
        "largest_loss_crossfit": largest_loss(counts),
        "no_answer_before": float((before.predicted == ABSTAINED).mean()),
        "no_answer_after": float((after.predicted == ABSTAINED).mean()),
    }


def known(estimate: float, low: float, high: float) -> float:
    """Return an estimate that has two ends; NaN for one without, which nobody may read."""
    return estimate if np.isfinite([low, high]).all() else float("nan")


def _slope_over_control(
    images: TestSet, before: Answers, after: Answers, control: Answers | None, level: float
) -> dict[str, object]:
    """Return the control's slope and by how much the model's exceeds it."""
    names = (
        "alpha_control",
        "alpha_over_control",
        "alpha_over_control_low",
        "alpha_over_control_high",
    )
    if control is None:
        return {**dict.fromkeys(names, float("nan")), "alpha_over_control_verdict": ""}
    place = np.ravel_multi_index(
        (images.index, *(part.right.astype(int) for part in (before, after, control))),
        (len(images.names), 2, 2, 2),
    )
    kinds = np.bincount(place, minlength=8 * len(images.names)).reshape(-1, 2, 2, 2)
    kinds = kinds[kinds.sum((1, 2, 3)) > 1]
    difference, low, high = slope_difference(kinds, level)
    counts = pair_counts(images.index, len(images.names), before, control)
    own = pair_slope(_of_two_images(counts), level)
    values = (known(own.alpha, own.low, own.high), known(difference, low, high), low, high)
    found = dict(zip(names, values, strict=True))
    return {**found, "alpha_over_control_verdict": intervals.verdict(low, high, null=0)}


def largest_loss(counts: PairCounts) -> float:
    """Return the loss of the class that loses most, chosen on one half and measured on the other.

    Of many classes the largest loss is in part the luck of its images. The mean over halvings;
    classes have two images or more.
    """
    kinds = np.stack(list(vars(counts).values()), 1)
    if not len(kinds):
        return float("nan")
    rng = np.random.default_rng(_SEED)
    halves = np.stack(
        [
            rng.multivariate_hypergeometric(row, (row.sum() + rng.integers(2)) // 2, size=_HALVINGS)
            for row in kinds
        ],
        1,
    )  # [halvings, C, 4]
    both_ways = []
    for first, second in ((halves, kinds - halves), (kinds - halves, halves)):
        losses = [(part[..., 1] - part[..., 2]) / part.sum(-1) for part in (first, second)]
        chosen = losses[0].argmax(1)
        both_ways.append(losses[1][np.arange(_HALVINGS), chosen])
    return float(np.mean(both_ways))


def flows(images: TestSet, before: Answers, after: Answers) -> pd.DataFrame:
    """Return where lost images went: class, answer after, images, and their share of the lost."""
    lost = before.right & ~after.right
    pairs, counts = np.unique(
        np.stack([images.index[lost], after.predicted[lost]], 1), axis=0, return_counts=True
    )
    all_lost = _count(images.index, lost, len(images.names))
    found = pd.DataFrame(
        {
            "class": [images.names[label] for label, _ in pairs],
            "to": ["" if to == ABSTAINED else after.names[to] for _, to in pairs],
            "images": counts,
            "share": counts / all_lost[pairs[:, 0]],
        }
    )
    return found.sort_values(["images"], ascending=False, kind="stable").reset_index(drop=True)


def flips(
    images: TestSet, before: Answers, after: Answers, keys: np.ndarray | None = None
) -> pd.DataFrame:
    """Return each image whose answer changed, those first whose true class lost most probability.

    Without probabilities, lost images come first, in their order.
    """
    # Among the first k a class may come or go while the first answer stays.
    changed = np.flatnonzero((before.predicted != after.predicted) | (before.right != after.right))
    kind = np.where(
        before.right[changed] & ~after.right[changed],
        "lost",
        np.where(~before.right[changed] & after.right[changed], "gained", "other"),
    )

    def named(answers: Answers) -> list[str]:
        return ["" if to == ABSTAINED else answers.names[to] for to in answers.predicted[changed]]

    found = pd.DataFrame(
        {
            "image": changed if keys is None else keys[changed],
            "class": [images.names[label] for label in images.index[changed]],
            "before": named(before),
            "after": named(after),
            "kind": kind,
        }
    )
    for name, answers in (("probability_before", before), ("probability_after", after)):
        known = answers.probability
        found[name] = np.nan if known is None else known[changed]
    drop = (found["probability_before"] - found["probability_after"]).fillna(0)
    order = np.lexsort([found["kind"] != "lost", -drop])
    return found.iloc[order].reset_index(drop=True)
