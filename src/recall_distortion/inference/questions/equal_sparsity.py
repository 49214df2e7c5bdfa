"""Methods that keep more or fewer weights than asked, compared at the sparsity that they reached.

A method is compared with the panel's others at the same nominal ratio, and again at the same
sparsity: each of its networks with what the other method's networks of the same seed would show at
that network's realised ratio. Between the two cells that bracket it, numerator and denominator of
the reference's cross-fitted slope and its accuracy are taken to be linear in the logarithm of the
realised ratio; the control, which has all its weights, counts as ratio 1. Nothing is extrapolated.

The cells of a replicate share the dense network's denominator, so that interpolating the sums of a
replicate interpolates its slope, and the pooled slope is that of the replicates' sparsities as they
are, not of their mean: how they scatter is in the intervals. What is left out of account is that
slopes may bend between two ratios; where they bend upwards, as they do before a network breaks,
that favours the method compared. So each network is also held against the reference's at the denser
of the two cells, without interpolation: a method that intensifies less even than networks that keep
more weights does so however slopes run between, as long as they do not fall.

Differences of slopes are those of ``effects``: pooled and cross-fitted, with the bootstrap over
seeds, which below ``bootstrap.LEAST_REPLICATES`` seeds gives no interval. As there, an interval has
the study's level and ``family_size`` is the method's number of ratios: by Bonferroni the intervals
against one reference hold together over the ratios, not over several references.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.inference.notes import NO_END, joined
from recall_distortion.inference.questions.effects import crossfit_differences
from recall_distortion.inference.questions.pooled import FEW
from recall_distortion.inference.questions.slopes import compared
from recall_distortion.inference.statistics import bootstrap
from recall_distortion.inference.statistics.intervals import (
    PAPER_LEVEL,
    interval,
    require_level,
    verdict,
)
from recall_distortion.measures.rounding import differences
from recall_distortion.tables.controls import Controls
from recall_distortion.tables.files import require_columns, require_unique
from recall_distortion.vocabulary import (
    CELL,
    CELL_STATE,
    NETWORK,
    PANEL,
    REFERENCE_ARMS,
    RETRAINED,
    UNCOMPRESSED,
)

# A method departs where a cell's mean realised ratio is this share off the standard's. Rounding to
# whole weights, layer by layer, stays below.
TOLERANCE = 0.01
# What all methods are held against to see which depart; where a study lacks it, the method nearest
# to its nominal ratios.
STANDARD = "magnitude"

NO_SPARSITY = "the sparsity of its networks is not known: no comparison at equal sparsity"
NO_NOMINAL = "the reference has no network at this nominal ratio"
NO_LOWER = (
    "{} of {} networks keep more weights than the reference's lowest ratio, and there is no "
    "control: no comparison at equal sparsity"
)
NO_HIGHER = (
    "{} of {} networks keep fewer weights than the reference's highest ratio: no comparison at "
    "equal sparsity"
)
NOT_FINITE = "{} of {} seeds have cross-fitted sums that are not finite: no difference of slopes"
NO_POOLED = "a cell that is compared has no cross-fitted interval, so the difference has none"
SEEDS = "{} of {} seeds have every network that is compared"
NO_PAIRS = "fewer than two seeds have both networks: no interval"

# Equal numbers of weights give equal ratios, but for the rounding of a mean.
_ROUNDING = 1e-9
_NETWORK = [*CELL, "seed"]
_VALUES = ["crossfit_numerator", "crossfit_denominator", "accuracy"]
_KINDS = ("nominal", "equal", "denser")
COLUMNS = [
    *CELL_STATE, "reference", "realised_ratio", "reference_ratio", "n",
    *(f"{kind}_{name}" for kind in _KINDS for name in ("difference", "low", "high", "reading")),
    *(f"{kind}_accuracy{end}" for kind in _KINDS for end in ("", "_low", "_high")),
    *(f"{kind}_other{end}" for kind in _KINDS for end in ("", "_accuracy")),
    "level", "family_size", "note",
]  # fmt: skip
_NUMBERS = [name for name in COLUMNS if name.startswith(_KINDS) and not name.endswith("_reading")]

Place = tuple[str, float]  # method, ratio


def equal_sparsity(
    networks: pd.DataFrame, pooled: pd.DataFrame, level: float = PAPER_LEVEL
) -> pd.DataFrame:
    """Return each method that departs from the sparsity asked for against those that do not.

    ``networks`` has the columns of that table, ``pooled`` is the table of that question. A method
    departs where a cell's mean realised ratio is more than ``TOLERANCE`` off that of ``STANDARD``
    at the same nominal ratio, or of the most exact one among the methods that share its control.
    The result has ``COLUMNS``, a row per cell of a method that departs and ``reference``, any other
    method of the panel with the same control, retrained; none where no method departs:

    - ``realised_ratio`` and ``reference_ratio``: the mean over networks at that nominal ratio;
    - ``n``: the seeds that have every network of the comparisons, which are the same for both;
    - ``nominal_difference`` of the pooled cross-fitted slopes, the method's less the reference's
      at the same nominal ratio, ``equal_difference``, at the same sparsity, and
      ``denser_difference``, from the denser of the cells around it, with intervals; what these say
      against 0 (a verdict) is ``nominal_reading``, ``equal_reading`` and ``denser_reading``;
    - ``nominal_accuracy``, ``equal_accuracy`` and ``denser_accuracy``: the mean difference in
      accuracy with its paired t interval.

    A comparison is missing where one of the networks lies beyond what the reference has: leaving it
    out would compare others than those that were asked for. ``note`` says what is missing and why.

    Raises ``TableError`` on a missing column, rows that occur twice, a senseless level.
    """
    require_level(level)
    require_columns(networks, [*NETWORK, *_VALUES, "realised_ratio"], "the networks table")
    require_columns(pooled, [*CELL_STATE, "crossfit_low"], "the table of pooled slopes")
    used = compared(networks).astype({"ratio": float})
    require_unique(used, NETWORK, "the networks table")
    require_unique(pooled, CELL_STATE, "the table of pooled slopes")
    sparsity = sparsities(networks).astype({"ratio": float})
    used = used[used["state"] == RETRAINED]
    known = np.isfinite(pooled["crossfit_low"].astype(float))
    told = pooled[(pooled["state"] == RETRAINED) & known]
    told = told.astype({"ratio": float})
    ratios = dict(list(sparsity.groupby(PANEL, sort=False)))
    rows: list[dict[str, Any]] = []
    controls = Controls.of(networks)
    for panel, group in used.groupby(PANEL, sort=False):
        if panel in ratios:
            of_panel = told[(told[PANEL] == list(panel)).all(axis=1)]
            known = set(of_panel[["method", "ratio"]].itertuples(index=False, name=None))
            place = dict(zip(PANEL, panel, strict=True)) | {"state": RETRAINED}
            rows += [
                place | row for row in _Panel(group, ratios[panel], known, controls).rows(level)
            ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype(dict.fromkeys(["realised_ratio", "reference_ratio", *_NUMBERS], float))


def sparsities(networks: pd.DataFrame) -> pd.DataFrame:
    """Return one row a pruned network with what is known of its sparsity, whatever its state.

    A quantized network, which keeps its weights, has none.
    """
    known = networks["realised_ratio"].notna()
    if "bits" in networks:
        known &= networks["bits"].isna()
    known = networks[known]
    return known.drop_duplicates(_NETWORK)


def departing(realised: pd.Series) -> list[str]:
    """Return the methods of one panel that do not reach the sparsity that others do.

    ``realised`` are the mean realised ratios, indexed by method and nominal ratio.
    """
    methods = list(dict.fromkeys(realised.index.get_level_values("method")))
    if STANDARD in methods:
        standard = STANDARD
    else:
        nominal = realised.index.get_level_values("ratio").to_numpy(float)
        off = np.log(realised / nominal).abs().groupby("method").mean()
        standard = min(methods, key=lambda method: off[method])
    expected = realised.loc[standard]
    found = []
    for method in methods:
        off = (realised.loc[method] / expected - 1).abs()  # missing where one lacks the ratio
        if (off > TOLERANCE).any():
            found.append(method)
    return found


class _Panel:
    """The fine-tuned networks of one data set and architecture, and how sparse they are."""

    def __init__(
        self,
        networks: pd.DataFrame,
        sparsity: pd.DataFrame,
        told: set[Place],
        controls: Controls,
    ) -> None:
        self.cells: dict[Place, pd.DataFrame] = {
            place: group.set_index("seed")[_VALUES].sort_index()
            for place, group in networks.groupby(["method", "ratio"], sort=False)
        }
        self.sparsity: dict[Place, pd.Series] = {
            place: group.set_index("seed")["realised_ratio"].dropna()
            for place, group in sparsity.groupby(["method", "ratio"], sort=False)
        }
        self.told, self.controls = told, controls
        pruned = sparsity[~sparsity["method"].isin(REFERENCE_ARMS)]
        self.realised = pruned.groupby(["method", "ratio"], sort=False)["realised_ratio"].mean()
        self.realised = self.realised.dropna()

    def rows(self, level: float) -> list[dict[str, Any]]:
        """Return the panel's rows, without data set and architecture."""
        if self.realised.empty:
            return []
        known = set(self.realised.index.get_level_values("method"))
        # Only methods of one control are compared, so only these say what others reach.
        arms = self.realised.groupby(lambda place: self.controls.arm(place[0]), sort=False)
        depart = [name for _, own in arms for name in departing(own)]
        methods = [name for name in dict.fromkeys(name for name, _ in self.cells) if name in known]
        references = [name for name in methods if name not in depart]
        found = list(self._compared([name for name in methods if name in depart], references))
        sums = {(i, kind): pair for i, (_, pairs) in enumerate(found) for kind, pair in pairs}
        differences = crossfit_differences(sums, level)
        return [
            _row(row, {kind: (pair, differences[i, kind]) for kind, pair in pairs}, level)
            for i, (row, pairs) in enumerate(found)
        ]

    def _compared(
        self, methods: Sequence[str], references: Sequence[str]
    ) -> Iterator[tuple[dict[str, Any], list[tuple[str, pd.DataFrame]]]]:
        """Yield what is known of each row before any statistics, and the pairs to compare."""
        for method in methods:
            places = [place for place in self.cells if place[0] == method]
            arm = self.controls.arm(method)
            for reference in (name for name in references if self.controls.arm(name) == arm):
                for place in places:
                    yield self._pairs(place, reference, len(places))

    def _pairs(
        self, place: Place, reference: str, family: int
    ) -> tuple[dict[str, Any], list[tuple[str, pd.DataFrame]]]:
        own = self.cells[place]
        other = reference, place[1]
        notes = [] if other in self.cells else [NO_NOMINAL]
        around, used, beyond = self._interpolated(place, reference)
        sides = {"nominal": self.cells[other]} if other in self.cells else {}
        sides |= around
        seeds = own.index
        for side in sides.values():
            seeds = seeds.intersection(side.index)
        every = own.index.union(self.cells[other].index) if other in self.cells else own.index
        if sides and len(seeds) < len(every):
            notes.append(SEEDS.format(len(seeds), len(every)))
        used["nominal"] = {other}
        row = {
            "method": place[0],
            "reference": reference,
            "ratio": place[1],
            "realised_ratio": self.realised.get(place, np.nan),
            "reference_ratio": self.realised.get(other, np.nan),
            "n": len(seeds) if sides else 0,
            "family_size": family,
            "note": joined(*notes, beyond),
            "told": {kind: {place, *used[kind]} <= self.told for kind in sides},
        }
        pairs = [
            (kind, own.loc[seeds].join(side.loc[seeds].add_suffix("_other")))
            for kind, side in sides.items()
        ]
        return row, pairs

    def _interpolated(
        self, place: Place, reference: str
    ) -> tuple[dict[str, pd.DataFrame], dict[str, set[Place]], str]:
        """Return the reference at the sparsity of each of a cell's networks, and just denser.

        Each is indexed by seed. Beside them the cells that they were made of, and why there is
        nothing. Seeds that lack one of the networks that bracket theirs, or whose sparsity is not
        known, are left out.
        """
        ratios = self.sparsity.get(place, pd.Series(dtype=float))
        ratios = ratios[ratios.index.isin(self.cells[place].index)].sort_index()
        if ratios.empty:
            return {}, {}, NO_SPARSITY
        control = self.controls.arm(reference), UNCOMPRESSED
        points = {control: 1.0} if control in self.cells else {}
        points |= {
            known: self.realised[known]
            for known in self.cells
            if known[0] == reference and known in self.realised
        }
        grid = sorted(points, key=points.__getitem__)
        at, own = np.array([points[known] for known in grid]), ratios.to_numpy(float)
        lower = np.searchsorted(at, own * (1 + _ROUNDING), side="right") - 1
        upper = np.searchsorted(at, own * (1 - _ROUNDING), side="left")
        below, above = int((lower < 0).sum()), int((upper >= len(at)).sum())
        if below or above:
            note = NO_LOWER.format(below, len(own)) if below else ""
            return {}, {}, joined(note, NO_HIGHER.format(above, len(own)) if above else "")
        upper = np.maximum(upper, lower)  # on a point, and on points that coincide
        between = upper > lower
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.log(own / at[lower]) / np.log(at[upper] / at[lower])
        share = np.where(between, share, 0)[:, None]
        values = np.stack([self.cells[known].reindex(ratios.index).to_numpy() for known in grid])
        there = np.stack([ratios.index.isin(self.cells[known].index) for known in grid])
        seeds = np.arange(len(own))
        with np.errstate(invalid="ignore"):
            mixed = (1 - share) * values[lower, seeds] + share * values[upper, seeds]
        both = there[lower, seeds] & there[upper, seeds]
        denser = values[lower, seeds]
        sides = {"equal": np.where(between[:, None], mixed, denser), "denser": denser}
        found = {
            kind: pd.DataFrame(side[both], columns=_VALUES, index=ratios.index[both])
            for kind, side in sides.items()
        }
        used = {"equal": np.union1d(lower, upper), "denser": np.unique(lower)}
        return found, {kind: {grid[i] for i in places} for kind, places in used.items()}, ""


def _row(
    row: dict[str, Any],
    sides: dict[str, tuple[pd.DataFrame, tuple[float, ...]]],
    level: float,
) -> dict[str, Any]:
    """Return a row with the differences, their intervals and readings, and its whole note."""
    told = row.pop("told")
    found = row | {"level": level}
    notes, n = [], row["n"]
    for kind in _KINDS:
        difference = low = high = other = other_accuracy = np.nan
        accuracy = (np.nan,) * 3
        if kind in sides:
            pairs, (difference, low, high, other) = sides[kind]
            other_accuracy = pairs["accuracy_other"].mean()
            accuracy = interval(differences(pairs["accuracy"], pairs["accuracy_other"]), level)
            sums = pairs.drop(columns=["accuracy", "accuracy_other"])
            lost = int((~np.isfinite(sums).all(axis=1)).sum())
            if n < 2:
                notes.append(NO_PAIRS)
            if lost:
                notes.append(NOT_FINITE.format(lost, n))
            if n < bootstrap.LEAST_REPLICATES:
                notes.append(FEW)
            elif not told[kind]:
                # Denominators not distinguishable from zero have no trustworthy bootstrap.
                low = high = np.nan
                notes.append("" if lost else NO_POOLED)
            elif not (lost or np.isfinite([low, high]).all()):
                notes.append(NO_END.format(""))
        found |= {
            f"{kind}_difference": difference,
            f"{kind}_low": low,
            f"{kind}_high": high,
            f"{kind}_reading": verdict(low, high, null=0.0),
            f"{kind}_accuracy": accuracy[0],
            f"{kind}_accuracy_low": accuracy[1],
            f"{kind}_accuracy_high": accuracy[2],
            f"{kind}_other": other,
            f"{kind}_other_accuracy": other_accuracy,
        }
    return found | {"note": joined(row["note"], *dict.fromkeys(notes))}
