"""Populations of networks, and the images that two of them name differently (PIE).

A population is K networks trained from different seeds. Its modal label of an image is the label
that most of them give it. An image is a pruning identified exemplar (PIE) where the modal label of
a compressed population is not that of the dense one (Hooker et al., arXiv 1911.05248); its true
label is not used. Where several labels have the most votes, the one of the lowest class number is
the modal label; ``Differing`` also says what any other rule could give. Arrays in, arrays out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recall_distortion.system.errors import TableError

EXCHANGES = 999  # of method and control, for a p of three digits
EXCHANGE_SEED = 20_191_113
# Numbers that are held at once for the exchanges: 16 MB of them in float32, a few times over.
_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Votes:
    """How many of ``networks`` networks give each image each label: ``counts`` [M, C]."""

    counts: np.ndarray
    networks: int

    @classmethod
    def of(cls, predicted: np.ndarray, classes: int) -> Votes:
        """Count the labels [K, M] of K networks.

        Raises ``TableError`` for a population without a network or more than 65,535 of them.
        """
        networks, images = predicted.shape
        if not 0 < networks < 2**16:
            raise TableError(f"a population has from 1 to 65,535 networks, not {networks}")
        counts = np.zeros((images, classes), np.uint16 if networks > 255 else np.uint8)
        every = np.arange(images)
        for labels in predicted:
            counts[every, labels] += 1
        return cls(counts, networks)

    @cached_property
    def most(self) -> np.ndarray:
        """The votes [M] for an image's modal label."""
        most: np.ndarray = self.counts.max(axis=1)
        return most

    @cached_property
    def lowest(self) -> np.ndarray:
        """The modal label [M]; of several, that of the lowest class number."""
        found: np.ndarray = self.counts.argmax(axis=1)
        return found

    @cached_property
    def highest(self) -> np.ndarray:
        """The modal label [M]; of several, that of the highest class number."""
        last = self.counts.shape[1] - 1
        found: np.ndarray = last - self.counts[:, ::-1].argmax(axis=1)
        return found

    @property
    def tied(self) -> np.ndarray:
        """Whether several labels have the most votes [M]."""
        found: np.ndarray = self.lowest != self.highest
        return found

    @property
    def agreement(self) -> np.ndarray:
        """The share [M] of the networks that give an image its modal label."""
        share: np.ndarray = self.most / self.networks
        return share

    def right(self, labels: np.ndarray) -> np.ndarray:
        """Return the share [M] of the networks that name an image right."""
        share: np.ndarray = self.counts[np.arange(len(labels)), labels] / self.networks
        return share


@dataclass(frozen=True)
class Differing:
    """Which images [M] two populations name differently, by each way to break ties.

    ``lowest`` and ``highest`` take the lowest or the highest class number among tied labels in
    both populations; ``certain`` differ by every way, ``possible`` by some.
    """

    lowest: np.ndarray
    highest: np.ndarray
    certain: np.ndarray
    possible: np.ndarray

    @classmethod
    def of(cls, dense: Votes, compressed: Votes) -> Differing:
        """Compare two populations on the same images; they need not have as many networks."""
        certain = dense.lowest != compressed.lowest
        possible = certain.copy()
        # Without a tie there is one way.
        tied = np.flatnonzero(dense.tied | compressed.tied)
        own = dense.counts[tied] == dense.most[tied, None]
        other = compressed.counts[tied] == compressed.most[tied, None]
        certain[tied] = ~(own & other).any(axis=1)
        possible[tied] = True
        return cls(
            dense.lowest != compressed.lowest,
            dense.highest != compressed.highest,
            certain,
            possible,
        )


def vote_distance(dense: Votes, compressed: Votes) -> np.ndarray:
    """Return how far apart [M] two populations' votes on an image are, from 0 to 1.

    Half the sum over labels of the absolute differences of the shares of votes: the share of
    networks that would have to change their label. It knows no ties. With as many networks in both,
    it is the sum of absolute differences of label counts over 2 K.
    """
    images = len(dense.counts)
    found = np.empty(images)
    step = max(1, _AT_ONCE // dense.counts.shape[1])
    for start in range(0, images, step):
        rows = slice(start, start + step)
        # Whole numbers: no rounding makes a share of more than 1.
        apart = dense.counts[rows].astype(np.int64) * compressed.networks
        apart -= compressed.counts[rows].astype(np.int64) * dense.networks
        found[rows] = np.abs(apart, out=apart).sum(axis=1)
    return found / (2 * dense.networks * compressed.networks)


@dataclass(frozen=True)
class Exchanged:
    """A difference between two populations with the p value of their networks' exchange.

    ``pies`` is the number of images that the first population names unlike the dense one, less that
    of the second; ``distance`` the same of the mean vote distance. Both p values are two-sided.
    """

    pies: int
    pies_p: float
    distance: float
    distance_p: float


def exchanged(
    dense: Votes, first: np.ndarray, second: np.ndarray, *, exchanges: int = EXCHANGES
) -> Exchanged:
    """Test whether two populations paired by seed differ from the dense one alike.

    ``first`` and ``second`` are labels [K, M], a row a seed, each network retrained from the same
    dense one. Where compression changes nothing beyond retraining, the two networks of a seed may
    be exchanged: ``exchanges`` times each seed's are, by chance a half, and p is the share of all
    arrangements, that at hand among them, whose difference is at least as large. Only images that
    some seed's two networks name differently can tell arrangements apart.
    """
    rng = np.random.default_rng(EXCHANGE_SEED)
    swaps = rng.integers(0, 2, (exchanges, len(first)), dtype=np.int8)
    pairs = np.concatenate([np.zeros((1, len(first)), np.int8), swaps]).astype(np.float32)
    return _arranged(dense, first, second, pairs, swapped=True)


def permuted(
    dense: Votes, first: np.ndarray, second: np.ndarray, *, exchanges: int = EXCHANGES
) -> Exchanged:
    """Test the same of two unpaired populations of K networks each: any may stand in either.

    ``second`` is then a second dense population. Raises ``TableError`` where the populations are of
    different sizes, since the number of PIEs falls with the number of networks.
    """
    if len(first) != len(second):
        raise TableError(
            f"populations of {len(first)} and {len(second)} networks have no common null; "
            "take as many of both"
        )
    rng = np.random.default_rng(EXCHANGE_SEED)
    networks = 2 * len(first)
    start = np.arange(networks) < len(first)
    chosen = rng.permuted(np.broadcast_to(start, (exchanges, networks)), axis=1)
    members = np.concatenate([start[None], chosen]).astype(np.float32)
    return _arranged(dense, first, second, members, swapped=False)


def _arranged(
    dense: Votes, first: np.ndarray, second: np.ndarray, weights: np.ndarray, *, swapped: bool
) -> Exchanged:
    """Return the difference of the first arrangement [A, ...] and its p among all of them."""
    pies = np.zeros(len(weights), np.int64)
    distance = np.zeros(len(weights))
    size = np.float32(len(first) / dense.networks)
    active = (first != second).any(axis=0)
    if not swapped:
        active = (np.concatenate([first, second]) != first[0]).any(axis=0)
    for group in _groups(first, second, active, len(weights)):
        one, other = group.votes[: len(first)], group.votes[len(first) :]
        total = group.votes.sum(axis=0, dtype=np.float32)
        if swapped:
            counts = _product(weights, other - one) + one.sum(axis=0, dtype=np.float32)
        else:
            counts = _product(weights, group.votes)
        own = dense.counts[group.images, group.labels] * size
        # Where the dense mode stands among these labels, or nowhere.
        is_mode = group.labels == dense.lowest[group.images]
        mode = np.where(is_mode.any(axis=0), is_mode.argmax(axis=0), -1)
        for votes, sign in ((counts, 1), (total - counts, -1)):
            pies += sign * (_named(votes) != mode).sum(axis=1)
            # What the dense networks vote for beside these labels is the same in both terms.
            votes -= own
            distance += sign * np.abs(votes, out=votes).sum(axis=(1, 2), dtype=float)
    distance /= 2 * len(first) * first.shape[1]
    return Exchanged(int(pies[0]), _share(pies), float(distance[0]), _share(distance))


def _product(weights: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """Return weighted sums [A, L, I] of votes [K, L, I]; whole numbers below 2^24 are exact."""
    found: np.ndarray = weights @ votes.reshape(len(votes), -1)
    return found.reshape(len(weights), *votes.shape[1:])


def _named(votes: np.ndarray) -> np.ndarray:
    """Return the place [A, I] of the label with the most of votes [A, L, I], the first of a tie.

    A maximum along contiguous images is several times faster than numpy's argmax over few labels.
    """
    labels = votes.shape[1]
    scores = votes * np.float32(labels) - np.arange(labels, dtype=np.float32)[:, None]
    found: np.ndarray = -scores.max(axis=1) % labels
    return found


def _share(values: np.ndarray) -> float:
    """Return the share of values whose size is at least that of the first, rounding apart."""
    size = np.abs(values)
    return float((size >= size[0] * (1 - 1e-9)).mean())


@dataclass(frozen=True)
class _Group:
    """Images with as many labels: their places [I], labels [L, I] and votes [2 K, L, I]."""

    images: np.ndarray
    labels: np.ndarray
    votes: np.ndarray


def _groups(
    first: np.ndarray, second: np.ndarray, active: np.ndarray, arrangements: int
) -> Iterator[_Group]:
    """Yield the active images [M] by how many labels both populations give them.

    Most images get two or three of all the labels, whatever the number of classes, and a group is
    small enough that a number for each arrangement, image and label can be held.
    """
    images = np.flatnonzero(active)
    both = np.concatenate([first[:, images], second[:, images]])
    order = np.argsort(both, axis=0, kind="stable")
    ordered = np.take_along_axis(both, order, axis=0)
    new = np.concatenate([np.zeros((1, len(images)), bool), ordered[1:] != ordered[:-1]])
    place = np.cumsum(new, axis=0)
    number = place[-1] + 1 if len(images) else np.zeros(0, int)
    places = np.empty_like(place)
    np.put_along_axis(places, order, place, axis=0)
    for labels in np.unique(number):
        members = np.flatnonzero(number == labels)
        step = max(1, _AT_ONCE // (arrangements * int(labels)))
        for start in range(0, len(members), step):
            part = members[start : start + step]
            votes = (places[:, None, part] == np.arange(labels)[:, None]).astype(np.float32)
            names = np.zeros((labels, len(part)), np.int64)
            names[places[:, part], np.arange(len(part))] = both[:, part]
            yield _Group(images[part], names, votes)


def differing_at(
    dense: np.ndarray,
    compressed: np.ndarray,
    subsets: Sequence[tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:
    """Return how many images two populations name differently, for each choice of networks.

    ``dense`` and ``compressed`` are labels [K, M]; a subset is the rows of either that are taken.
    The number falls with the number of networks, because modal labels settle, so that populations
    are compared at one.
    """
    weights = np.zeros((len(subsets), len(dense) + len(compressed)), np.float32)
    for row, (own, other) in zip(weights, subsets, strict=True):
        row[own] = 1
        row[len(dense) + np.asarray(other)] = 1
    found = np.zeros(len(subsets), np.int64)
    active = (np.concatenate([dense, compressed]) != dense[0]).any(axis=0)
    for group in _groups(dense, compressed, active, len(subsets)):
        own = _product(weights[:, : len(dense)], group.votes[: len(dense)])
        other = _product(weights[:, len(dense) :], group.votes[len(dense) :])
        found += (_named(own) != _named(other)).sum(axis=1)
    return found
