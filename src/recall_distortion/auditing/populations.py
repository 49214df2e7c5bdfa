"""Several networks before and after: the tables of an audit, over other seeds and other images.

``populations`` has the functions of ``comparison`` for K pairs of networks. Network k before is
what network k after was made of. Counts are means over the networks. Beside each interval over
other seeds and other images stands one over other seeds on these images alone (``seeds_low``,
``seeds_high``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from recall_distortion.auditing import comparison
from recall_distortion.auditing.answers import Answers, TestSet
from recall_distortion.auditing.comparison import ALL, known, together, verdict
from recall_distortion.auditing.vectors import ABSTAINED
from recall_distortion.inference.statistics import crossed, intervals
from recall_distortion.inference.statistics.adjustment import holm
from recall_distortion.inference.statistics.crossed import Components, blocks, components
from recall_distortion.inference.statistics.crossed_slope import (
    Pairs,
    Slope,
    crossed_slope,
    slope_difference,
)
from recall_distortion.inference.statistics.paired import Ends

#: Halvings of the test set for the largest loss, and their seed; of large ones fewer, so that they
#: deal no more images than this in all.
_HALVINGS, _LEAST_HALVINGS, _DEALT, _SEED = 200, 20, 10_000_000, 20_261_127


@dataclass(frozen=True)
class Population:
    """The answers of K networks to M images.

    ``predicted``, ``right`` and ``confidence`` [K, M], ``names`` and ``columns`` are as of
    ``Answers``; ``of_true`` [K, M] is the true class's probability, None where one of the networks
    gave classes alone. ``replicates`` [K] names the networks, for messages.
    """

    predicted: np.ndarray
    right: np.ndarray
    names: list[str]
    replicates: list[str]
    of_true: np.ndarray | None = None
    columns: int = 0
    confidence: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.right)

    @classmethod
    def of(cls, networks: Mapping[str, Answers], images: TestSet) -> Population:
        """Return the population of networks by name."""
        answers = list(networks.values())
        known = len(images.names)
        further = sorted({name for one in answers for name in one.names[known:]})
        names = [*images.names, *further]
        place = {name: known + number for number, name in enumerate(further)}
        predicted = np.empty((len(answers), len(images)), np.int32)
        for row, one in zip(predicted, answers, strict=True):
            # The last is that of no answer, -1.
            numbers = [*range(known), *(place[name] for name in one.names[known:]), ABSTAINED]
            row[:] = np.array(numbers)[one.predicted]
        right = np.stack([one.right for one in answers])
        columns = max(one.columns for one in answers)
        true, sure = (
            _stacked([getattr(one, name) for one in answers])
            for name in ("probability", "confidence")
        )
        return cls(predicted, right, names, list(networks), true, columns, sure)

    @property
    def probability(self) -> np.ndarray | None:
        """The true class's probability [M], the mean over the networks."""
        return None if self.of_true is None else np.mean(self.of_true, 0)

    def part(self, which: np.ndarray) -> Population:
        """Return the answers to some images [M], true or false."""
        known, sure = (
            None if values is None else values[:, which]
            for values in (self.of_true, self.confidence)
        )
        return replace(
            self,
            predicted=self.predicted[:, which],
            right=self.right[:, which],
            of_true=known,
            confidence=sure,
        )

    def networks(self) -> Iterator[tuple[str, Answers]]:
        """Yield each network's name and its answers."""
        for name, predicted, right in zip(self.replicates, self.predicted, self.right, strict=True):
            yield name, Answers(predicted, right, self.names)

    def usual(self, which: np.ndarray) -> list[str]:
        """Return what most networks answer to some images; of equally many the first class."""
        answers = np.sort(self.predicted[:, which], axis=0)
        counts = np.stack([(answers == row).sum(0) for row in answers])
        chosen = answers[counts.argmax(0), np.arange(answers.shape[1])]
        return ["" if answer == ABSTAINED else self.names[answer] for answer in chosen]


def _stacked(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    known = [part for part in parts if part is not None]
    return np.stack(known) if len(known) == len(parts) else None


def compare(
    group: np.ndarray,
    names: list[str],
    before: Population,
    after: Population,
    level: float,
    control: Population | None = None,
) -> pd.DataFrame:
    """Return a row for each of G groups of images (``comparison.compare``): means over networks."""
    count = len(names)
    n = np.bincount(group, minlength=count)
    moved = _changed(group, names, before, after, level)
    flipped = _share("flipped_share", group, count, before.predicted != after.predicted, level)
    lost = _share("lost_share", group, count, before.right & ~after.right, level)
    gained = _share("gained_share", group, count, after.right & ~before.right, level)
    found = {
        "name": names,
        "images": n,
        **_share("before", group, count, before.right, level),
        **_share("after", group, count, after.right, level),
        "change": moved.change,
        **_ends(moved, ""),
        "p": moved.p,
        "p_exact": np.nan,
        "p_adjusted": holm(moved.p),
        "verdict": moved.verdicts,
        **_excess(moved, level),
        "lost": np.where(n > 0, lost["lost_share"] * n, 0),
        **lost,
        "gained": np.where(n > 0, gained["gained_share"] * n, 0),
        **gained,
        "flipped": np.where(n > 0, flipped["flipped_share"] * n, 0),
        **flipped,
    }
    if control is None:
        found |= {**dict.fromkeys(_OVER_CONTROL, np.nan), "over_control_verdict": ""}
        return pd.DataFrame(found)
    beyond = _changed(group, names, control, after, level)
    found |= {
        "control": _share("control", group, count, control.right, level)["control"],
        "over_control": beyond.change,
        **_ends(beyond, "over_control_"),
        "over_control_verdict": beyond.verdicts,
    }
    return pd.DataFrame(found)


_KINDS = ("low", "high", "simultaneous_low", "simultaneous_high", "seeds_low", "seeds_high")
_OVER_CONTROL = ("control", "over_control", *(f"over_control_{kind}" for kind in _KINDS))


@dataclass(frozen=True)
class _Changed:
    """How shares of right answers changed [G], with all that is said of them."""

    parts: Components
    change: np.ndarray
    own: Ends
    simultaneous: Ends
    over_seeds: Ends
    p: np.ndarray

    @property
    def verdicts(self) -> list[str]:
        return [verdict(*ends) for ends in zip(*self.simultaneous, strict=True)]


def _changed(
    group: np.ndarray, names: list[str], before: Population, after: Population, level: float
) -> _Changed:
    parts = components(
        (
            (after.right[some].astype(np.int8) - before.right[some])[None]
            for some in blocks(*before.right.shape)
        ),
        group,
        len(names),
    )
    n = np.where(parts.images > 0, parts.images, np.nan)
    lost, gained = (
        np.bincount(group, which.mean(0), minlength=len(names)) / n
        for which in (before.right & ~after.right, after.right & ~before.right)
    )
    return _Changed(
        parts,
        parts.means[:, :, 0].mean(0),
        crossed.change(lost, gained, parts, level),
        crossed.change(lost, gained, parts, together(level, parts.images), is_cautious=True),
        crossed.over_seeds(parts, level),
        crossed.p_value(lost, gained, parts),
    )


def _ends(moved: _Changed, start: str) -> dict[str, np.ndarray]:
    ends = (*moved.own, *moved.simultaneous, *moved.over_seeds)
    return {f"{start}{kind}": values for kind, values in zip(_KINDS, ends, strict=True)}


def _share(
    name: str, group: np.ndarray, groups: int, which: np.ndarray, level: float
) -> dict[str, np.ndarray]:
    """Return the share of images [K, M] of each group, the mean over networks, with its ends."""
    some = blocks(*which.shape)
    parts = components((which[one][None] for one in some), group, groups)
    mean = parts.means[:, :, 0].mean(0)
    low, high = crossed.share(mean, parts, level)
    return {name: mean, f"{name}_low": low, f"{name}_high": high}


def _excess(moved: _Changed, level: float) -> dict[str, np.ndarray]:
    """Return what each group changed more than all images, those without images left out."""
    known = moved.parts.images > 0
    found = {f"excess{end}": np.full(len(known), np.nan) for end in ("", *_EXCESS)}
    parts = Components(
        moved.parts.images[known],
        moved.parts.means[:, known],
        moved.parts.of_images[known],
        moved.parts.of_interaction[known],
    )
    every = together(level, moved.parts.images)
    for ends, at, (low, high) in (
        (moved.own, level, _EXCESS[:2]),
        (moved.simultaneous, every, _EXCESS[2:4]),
    ):
        of_known = Ends(ends.low[known], ends.high[known])
        value, both, alone = crossed.excess(parts, of_known, at)
        found["excess"][known] = value
        found[f"excess{low}"][known], found[f"excess{high}"][known] = both
        if at == level:
            found["excess_seeds_low"][known], found["excess_seeds_high"][known] = alone
    return found


_EXCESS = tuple(f"_{kind}" for kind in _KINDS)


def overall(
    images: TestSet,
    before: Population,
    after: Population,
    level: float,
    control: Population | None = None,
) -> dict[str, object]:
    """Return what is said of a candidate as a whole: accuracy, flips, the slope, largest loss."""
    nobody = np.zeros(len(images), int)
    everything = compare(nobody, [ALL], before, after, level, control).iloc[0]
    left_out = [
        name
        for name in everything.index
        if name in ("name", "p_adjusted") or name.startswith("excess") or "simultaneous" in name
    ]
    # Of one image nothing can be halved.
    some = np.flatnonzero(np.bincount(images.index) > 1)
    kept = np.isin(images.index, some)
    label = np.searchsorted(some, images.index[kept])
    pairs = Pairs(label, len(some), before.right[:, kept], after.right[:, kept])
    slope = crossed_slope(pairs, level)
    found: dict[str, object] = {
        "networks": len(before),
        **everything.drop(labels=left_out).to_dict(),
        **_named("alpha", slope),
        "alpha_verdict": intervals.verdict(slope.low, slope.high),
    }
    trained = None if control is None else control.right[:, kept]
    found |= _slope_over_control(pairs, slope, trained, level)
    largest, crossfitted = _largest_loss(pairs)
    return found | {
        "largest_loss": largest + 0.0,  # not -0
        "largest_loss_crossfit": crossfitted,
        "no_answer_before": float((before.predicted == ABSTAINED).mean()),
        "no_answer_after": float((after.predicted == ABSTAINED).mean()),
    }


def _named(start: str, slope: Sequence[float]) -> dict[str, float]:
    ends = ("", "_low", "_high", "_seeds_low", "_seeds_high")
    values = (known(*slope[:3]), *slope[1:])
    return dict(zip((f"{start}{end}" for end in ends), values, strict=True))


def _slope_over_control(
    pairs: Pairs, slope: Slope, control: np.ndarray | None, level: float
) -> dict[str, object]:
    """Return the control's slope and by how much the model's exceeds it."""
    name, nothing = "alpha_over_control", [float("nan")] * 5
    if control is None:
        return {"alpha_control": nothing[0], **_named(name, nothing), f"{name}_verdict": ""}
    others = Pairs(pairs.label, pairs.classes, pairs.before, control)
    own = crossed_slope(others, level)
    difference = slope_difference(pairs, others, (slope, own), level)
    said = intervals.verdict(difference.low, difference.high, null=0)
    return {"alpha_control": known(*own[:3]), **_named(name, difference), f"{name}_verdict": said}


def _largest_loss(pairs: Pairs) -> tuple[float, float]:
    """Return the largest loss of any class, as it is and cross-fitted (``largest_loss``).

    Cross-fitted, the class is chosen on half of the images and of the networks, and measured by the
    other networks on the other images: the mean over halvings.
    """
    if not pairs.classes:
        return float("nan"), float("nan")
    loss = pairs.before.astype(np.int8) - pairs.after
    images = np.bincount(pairs.label, minlength=pairs.classes)

    def losses(one: np.ndarray, of: np.ndarray) -> np.ndarray:
        """Return the classes' losses on some images, by some networks."""
        sums = np.bincount(pairs.label[one], loss[of][:, one].mean(0), minlength=pairs.classes)
        found: np.ndarray = sums / np.bincount(pairs.label[one], minlength=pairs.classes)
        return found

    rng, first = np.random.default_rng(_SEED), np.cumsum(images) - images
    size, every = len(pairs.label), np.arange(len(loss))
    found = []
    for _ in range(min(max(_DEALT // size, _LEAST_HALVINGS), _HALVINGS)):
        # A place of each image within its class, dealt anew.
        place = np.empty(size, int)
        dealt = np.lexsort([rng.random(size), pairs.label])
        place[dealt] = np.arange(size) - first[pairs.label[dealt]]
        half = place < (images // 2)[pairs.label]
        networks = rng.permutation(every)[: len(every) // 2]
        others = np.setdiff1d(every, networks)
        for one, of, other, by in (
            (half, networks, ~half, others),
            (~half, others, half, networks),
        ):
            found.append(losses(other, by)[losses(one, of).argmax()])
    return float(losses(np.full(size, True), every).max()), float(np.mean(found))


def flows(images: TestSet, before: Population, after: Population) -> pd.DataFrame:
    """Return where lost images went: class, answer after, and images a network (``flows``)."""
    parts = [
        comparison.flows(images, first, second)
        for (_, first), (_, second) in zip(before.networks(), after.networks(), strict=True)
    ]
    every = pd.concat(parts, ignore_index=True)
    sums = every.groupby(["class", "to"], sort=True)["images"].sum().reset_index()
    share = sums["images"] / sums.groupby("class")["images"].transform("sum")
    found = sums.assign(images=sums["images"] / len(before), share=share)
    return found.sort_values("images", ascending=False, kind="stable").reset_index(drop=True)


def flips(
    images: TestSet, before: Population, after: Population, keys: np.ndarray | None = None
) -> pd.DataFrame:
    """Return each image of which any network's answer changed, with how many of them did.

    ``before`` and ``after`` are what most networks answer; ``kind`` is lost or gained where more
    networks lost it than gained it, or the reverse. Those come first that most networks lost; among
    as many, those whose true class lost most probability.
    """
    lost = (before.right & ~after.right).sum(0)
    gained = (after.right & ~before.right).sum(0)
    differ = (before.predicted != after.predicted) | (before.right != after.right)
    changed = np.flatnonzero(differ.any(0))
    net = (lost - gained)[changed]
    found = pd.DataFrame(
        {
            "image": changed if keys is None else keys[changed],
            "class": [images.names[label] for label in images.index[changed]],
            "before": before.usual(changed),
            "after": after.usual(changed),
            "kind": np.where(net > 0, "lost", np.where(net < 0, "gained", "other")),
        }
    )
    for name, side in (("probability_before", before), ("probability_after", after)):
        mean = side.probability
        found[name] = np.nan if mean is None else mean[changed]
    found["networks"] = differ.sum(0)[changed]
    found["lost_by"], found["gained_by"] = lost[changed], gained[changed]
    drop = (found["probability_before"] - found["probability_after"]).fillna(0)
    return found.iloc[np.lexsort([-drop, -net])].reset_index(drop=True)
