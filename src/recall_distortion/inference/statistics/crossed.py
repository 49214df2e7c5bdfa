"""Several networks on the same images: what a mean says of other seeds *and* other images.

K networks (seeds) and n images cross: every network answers every image. The mean of a quantity
over both has the variance A/K + B/n + E/(nK), of seeds, of images, and of their interaction with
whatever is left. The means of the networks vary by A/K + E/(nK), those of the images by
B/n + E/(nK): both hold the interaction, so that the variance of the mean is

    of seeds + of images - of the interaction

(the two-way analysis of variance with random effects: Searle, Casella and McCulloch, Variance
Components, 1992). Resampling networks and images independently counts the interaction three times
(Owen, The pigeonhole bootstrap, Annals of Applied Statistics 2007).

Half an interval's width is the root of

    t^2 of seeds + z^2 max(of images - of the interaction, 0),   at least z^2 of images,

with Student's t of K - 1 degrees of freedom and the normal z. Each part keeps its own quantile
(Howe 1974), where Satterthwaite's degrees of freedom, estimated from one or two differences of
seeds, are too often too many. An estimate of the images' own variance below zero counts as zero,
and an interval about other seeds is never shorter than one about other images alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import special

from recall_distortion.inference.statistics.paired import (
    Ends,
    cautious,
    normal_quantile,
    tango,
    wilson,
)

#: Answers that are looked at at once, 32 MB of double precision.
_AT_ONCE = 1 << 22
#: The smallest p value that is looked for.
_LEAST_P = 1e-12
_HALVINGS = 60


@dataclass(frozen=True)
class Components:
    """Means of P quantities in G groups of images by K networks, and the variances of their means.

    ``means`` [K, G, P] are the networks'; ``of_images`` and ``of_interaction`` [G, P, P] are the
    (co)variances of the means over networks that are due to ``images`` [G] and to the interaction.
    NaN in a group with fewer than two images.
    """

    images: np.ndarray
    means: np.ndarray
    of_images: np.ndarray
    of_interaction: np.ndarray

    @property
    def networks(self) -> int:
        """K."""
        return len(self.means)

    @property
    def of_seeds(self) -> np.ndarray:
        """The (co)variances [G, P, P] of the means over networks that are due to the networks."""
        free = self.means - self.means.mean(0)
        found: np.ndarray = np.einsum("kgp,kgq->gpq", free, free) / self._free
        return found

    @property
    def _free(self) -> int:
        return self.networks * (self.networks - 1)


def blocks(networks: int, images: int) -> list[slice]:
    """Return so many networks at once that few enough of their images are looked at together."""
    size = max(_AT_ONCE // max(images, 1), 1)
    return [slice(start, start + size) for start in range(0, networks, size)]


def components(
    values: Iterable[np.ndarray], group: np.ndarray, groups: int, agreed: np.ndarray | None = None
) -> Components:
    """Return the components of variance of values [P, K, M], which come some networks at a time.

    They are P quantities of K networks, two or more. ``group`` [M] holds numbers below ``groups``.
    ``agreed`` [G, J, P] are values of J imagined images, two in weight, that all networks answer
    alike; they widen the variance of images, so that what never occurred is not taken for what
    cannot occur.
    """
    n = np.bincount(group, minlength=groups).astype(float)
    found, total, within = [], np.zeros(()), np.zeros(())
    for given in values:
        some = np.asarray(given, float)
        found.append(_added(some, group, groups))
        within = within + _products(some, group, groups)
        total = total + some.sum(1)
    sums = np.concatenate(found)
    count = len(sums)
    squares, sums_of_means = _products((total / count)[:, None], group, groups), sums.mean(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        by_network = sums / n[:, None]
        pairs = np.where(n > 1, n * (n - 1), np.nan)[:, None, None]
        between = squares - _outer(sums_of_means) / n[:, None, None]
        inside = within - n[:, None, None] * np.einsum("kgp,kgq->gpq", by_network, by_network)
        rest = _not_negative(inside - count * between) / pairs / (count * (count - 1))
        if agreed is None:
            of_images = _not_negative(between) / pairs
        else:
            weight = 2 / agreed.shape[1]
            larger = (n + 2)[:, None, None]
            squares = squares + weight * np.einsum("gjp,gjq->gpq", agreed, agreed)
            between = squares - _outer(sums_of_means + weight * agreed.sum(1)) / larger
            of_images = _not_negative(between) / (larger * (larger - 1))
    return Components(n, by_network, of_images, rest)


def _added(values: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """Return the sums [K, G, P] of values [P, K, M] over the images of each group."""
    networks = values.shape[1]
    place = (groups * np.arange(networks)[:, None] + group).ravel()
    found = [np.bincount(place, one.ravel(), minlength=groups * networks) for one in values]
    return np.stack(found, -1).reshape(networks, groups, len(values))


def _products(values: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """Return the sums [G, P, P] of the products of values [P, K, M] over networks and images."""
    found = np.array([[(one * other).sum(0) for other in values] for one in values])
    sums = _added(found.reshape(-1, 1, len(group)), group, groups)
    return sums.reshape(groups, len(values), len(values))


def _outer(sums: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.einsum("gp,gq->gpq", sums, sums)
    return found


def _not_negative(squares: np.ndarray) -> np.ndarray:
    """Return sums of squares whose diagonals rounding has not made negative."""
    place = np.arange(squares.shape[1])
    squares = squares.copy()
    squares[:, place, place] = squares[:, place, place].clip(min=0)
    return squares


def student(networks: int, level: float | np.ndarray) -> np.ndarray:
    """Return how many standard errors over networks an interval of a level reaches."""
    found: np.ndarray = special.stdtrit(networks - 1, (1 + np.asarray(level, float)) / 2)
    return found


def spread(found: Components, level: float | np.ndarray) -> np.ndarray:
    """Return the squared halves [G] of intervals of a single quantity's means over both."""
    z2 = normal_quantile(level) ** 2
    seeds, images, interaction = (
        part[:, 0, 0] for part in (found.of_seeds, found.of_images, found.of_interaction)
    )
    both = student(found.networks, level) ** 2 * seeds + z2 * (images - interaction).clip(min=0)
    largest: np.ndarray = np.maximum(both, z2 * images)
    return largest


def std_error(found: Components) -> np.ndarray:
    """Return the standard errors [G] of a single quantity's means, over seeds and images."""
    seeds, images, interaction = (
        part[:, 0, 0] for part in (found.of_seeds, found.of_images, found.of_interaction)
    )
    both = seeds + (images - interaction).clip(min=0)
    errors: np.ndarray = np.sqrt(np.maximum(both, images))
    return errors


def effective_images(
    found: Components, variance: np.ndarray, level: float | np.ndarray
) -> np.ndarray:
    """Return of how many images [G] one network's answers would say as much as all of these do.

    ``variance`` [G] is that of a single answer. An image more, on which all networks change in the
    same way, is added to either side, so that as many as there are come out where nothing changed.
    """
    n = found.images
    with np.errstate(invalid="ignore", divide="ignore"):
        single = variance / (n - 1)  # of the mean of one network, as of_images has it
        own = spread(found, level) / normal_quantile(level) ** 2
        effective = n * (single + 1 / n**2) / (own + 1 / n**2)
    return np.where(n > 1, effective, n)


def change(
    lost: np.ndarray,
    gained: np.ndarray,
    found: Components,
    level: float,
    *,
    is_cautious: bool = False,
) -> Ends:
    """Return intervals [G] of changes of recall over other seeds and other images.

    ``lost`` and ``gained`` [G] are the shares of images, means over the networks, ``found`` the
    components of the change. The interval is Tango's at the effective images, or where
    ``is_cautious`` the wider one for levels near 1 (``paired.cautious``).
    """
    n = effective_images(found, lost + gained - (gained - lost) ** 2, level)
    ends: Ends = (cautious if is_cautious else tango)(lost * n, gained * n, n, level)
    return ends


def share(shares: np.ndarray, found: Components, level: float) -> Ends:
    """Return intervals [G] of shares, means over the networks: Wilson's at the effective images."""
    n = effective_images(found, shares * (1 - shares), level)
    return wilson(shares * n, n, level)


def p_value(lost: np.ndarray, gained: np.ndarray, found: Components) -> np.ndarray:
    """Return two-sided p values [G] of no change: 1 less the level of ``change`` that ends at 0."""
    moved, either = gained - lost, lost + gained

    def excluded(p: np.ndarray) -> np.ndarray:
        n = effective_images(found, either - moved**2, 1 - p)
        beyond: np.ndarray = moved**2 * n > normal_quantile(1 - p) ** 2 * either
        return beyond

    low, high = np.full(moved.shape, np.log(_LEAST_P)), np.zeros(moved.shape)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        out = excluded(np.exp(middle))
        low, high = np.where(out, low, middle), np.where(out, middle, high)
    return np.where(np.isfinite(moved), np.where(moved == 0, 1.0, np.exp(high)), np.nan)


def over_seeds(found: Components, level: float) -> Ends:
    """Return intervals [G] of a single quantity's means over other seeds on these images alone."""
    half = student(found.networks, level) * np.sqrt(found.of_seeds[:, 0, 0])
    mean = found.means[:, :, 0].mean(0)
    return Ends(mean - half, mean + half)


def excess(found: Components, ends: Ends, level: float) -> tuple[np.ndarray, Ends, Ends]:
    """Return by how much each group's change exceeds that of all images, with both intervals.

    ``found`` are the components of the changes and ``ends`` their intervals at ``level``. The first
    intervals are over other seeds and other images: those of a sum whose terms vary together over
    seeds (the method of variance estimates recovery: Zou and Donner 2008); the second over other
    seeds alone. Every group has images.
    """
    n, by_network = found.images, found.means[:, :, 0]
    part = n / n.sum()
    weights = np.eye(len(n)) - part
    changes = by_network.mean(0)
    down, up = changes - ends.low, ends.high - changes
    t2, z2 = (float(f) ** 2 for f in (student(found.networks, level), normal_quantile(level)))
    size = np.sqrt(spread(found, level) + z2 / n**2)
    size = np.where(n > 1, size, np.inf)  # of one image nothing says how it varies
    free = (by_network - changes) / size
    alone = (1 - t2 * (free**2).sum(0) / found._free).clip(min=0)

    of_images = z2 * (found.of_images[:, 0, 0] + 1 / n**2)
    exceeds = changes - part @ changes
    own = by_network - (by_network @ part)[:, None]
    of_seeds = np.sqrt(t2 * own.var(0, ddof=1) / found.networks)

    def half(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        sides = weights * np.where(weights >= 0, low, high)
        together, largest = (
            t2 * (sums**2).sum(1) / found._free
            for sums in (sides @ free.T, np.abs(sides) @ np.abs(free.T))
        )
        # Sides end where recalls do. Cut off unequally, they would cancel where the changes do not.
        together = np.minimum(np.maximum(together, of_seeds**2), largest)
        # Over other seeds it is never shorter than over other images alone.
        least = np.where(n > 1, np.minimum(sides**2, weights**2 * of_images), sides**2).sum(1)
        found_half: np.ndarray = np.sqrt(np.maximum((sides**2) @ alone + together, least))
        return found_half

    return (
        exceeds,
        Ends(exceeds - half(down, up), exceeds + half(up, down)),
        Ends(exceeds - of_seeds, exceeds + of_seeds),
    )
