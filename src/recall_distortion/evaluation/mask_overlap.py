"""How many of the weights that one method keeps another keeps too, and how many by chance.

Two masks that are drawn at random within a layer of n weights, of which they keep m and k, share a
hypergeometric number of them: m k / n on average, with variance m (k/n) (1 - k/n) (n - m) / (n - 1)
(Johnson, Kemp and Kotz, Univariate Discrete Distributions, 3rd ed. 2005, chapter 6). Layers are
independent, so sums over layers have the sums of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recall_distortion.compression.files import load_compressed
from recall_distortion.compression.methods import Cell
from recall_distortion.system.errors import NetworkError
from recall_distortion.training.replicates import stack, write_rows
from recall_distortion.vocabulary import NETWORK, RETRAINED, Panel


@dataclass(frozen=True)
class MaskOverlap:
    """What a network's mask shares with another method's; every field is a column of networks.csv.

    ``mask_common`` weights are kept by both. ``mask_shared`` is their share of those that the
    sparser of both keeps, ``mask_shared_shuffled`` its mean over masks shuffled within layers,
    ``mask_shared_deviation`` its standard deviation there. ``mask_shared_seeds`` is the mean share
    where either of the two is another seed's network (NaN of one seed), and
    ``mask_shared_seeds_shuffled`` what that is of shuffled masks. ``mask_iou`` is the intersection
    over the union, ``mask_iou_shuffled`` the same at the mean number of common weights. The text
    has for each layer the weights that both keep, this one, the other, and all.
    """

    mask_other: str
    mask_common: int
    mask_shared: float
    mask_shared_shuffled: float
    mask_shared_deviation: float
    mask_shared_seeds: float
    mask_shared_seeds_shuffled: float
    mask_iou: float
    mask_iou_shuffled: float
    mask_counts_by_layer: str


COLUMNS = (*NETWORK, *(field.name for field in fields(MaskOverlap)))

#: Masks by parameter, booleans [K, ...] of K seeds.
_Masks = Mapping[str, Tensor]


def overlaps(own: _Masks, other: _Masks, name: str) -> list[MaskOverlap]:
    """Return what masks share with those of another method, ``name``, on the same K seeds.

    Both have booleans [K, ...] by parameter. Raises ``NetworkError`` where they are of different
    parameters or shapes.
    """
    if {key: mask.shape for key, mask in own.items()} != {k: m.shape for k, m in other.items()}:
        raise NetworkError(
            f"the masks of {name} lie on other weights: {_shapes(other)}, not {_shapes(own)}"
        )
    layers = {key: _Layer.of(mask, other[key]) for key, mask in own.items()}
    kept, others, common, expected, variance = (
        torch.stack([getattr(layer, part) for layer in layers.values()]).sum(0)
        for part in ("kept", "others", "common", "expected", "variance")
    )
    # [K, K]: the networks of every seed with the other method's of every seed.
    smaller = torch.minimum(kept[:, None], others[None])
    shared, shuffled = common / smaller, expected / smaller
    union = kept[:, None] + others[None]
    iou, iou_shuffled = common / (union - common), expected / (union - expected)
    seeds, seeds_shuffled = _of_other_seeds(shared), _of_other_seeds(shuffled)
    return [
        MaskOverlap(
            mask_other=name,
            mask_common=int(common[i, i]),
            mask_shared=float(shared[i, i]),
            mask_shared_shuffled=float(shuffled[i, i]),
            mask_shared_deviation=float(variance[i, i].sqrt() / smaller[i, i]),
            mask_shared_seeds=float(seeds[i]),
            mask_shared_seeds_shuffled=float(seeds_shuffled[i]),
            mask_iou=float(iou[i, i]),
            mask_iou_shuffled=float(iou_shuffled[i, i]),
            mask_counts_by_layer=" ".join(
                f"{key}:{layer.counts(i)}" for key, layer in layers.items()
            ),
        )
        for i in range(len(kept))
    ]


@dataclass(frozen=True)
class _Layer:
    """A layer: its weights, those kept [K] by either, common [K, K], of shuffled masks [K, K]."""

    weights: int
    kept: Tensor
    others: Tensor
    common: Tensor
    expected: Tensor
    variance: Tensor

    @classmethod
    def of(cls, own: Tensor, other: Tensor) -> _Layer:
        # As numbers of double precision sums of 0 and 1 are exact.
        own, other = own.flatten(1).double(), other.flatten(1).double()
        n = own.shape[1]
        kept, others = own.sum(1), other.sum(1)
        expected = kept[:, None] * others[None] / n
        variance = expected * (1 - others[None] / n) * (n - kept[:, None]) / max(n - 1, 1)
        return cls(n, kept, others, own @ other.T, expected, variance)

    def counts(self, place: int) -> str:
        """Return what both, this one and the other keep in a place, and all."""
        numbers = (self.common[place, place], self.kept[place], self.others[place], self.weights)
        return "/".join(str(int(number)) for number in numbers)


def _of_other_seeds(shares: Tensor) -> Tensor:
    """Return by seed the mean [K] of its row and column of shares [K, K] off the diagonal."""
    off = shares - torch.diag(shares.diagonal())
    # One seed has no other: 0 / 0 is NaN.
    return (off.sum(0) + off.sum(1)) / torch.tensor(2.0 * (len(shares) - 1))


def _shapes(masks: _Masks) -> str:
    return ", ".join(f"{name} {tuple(mask.shape[1:])}" for name, mask in masks.items()) or "none"


def measure_mask_overlap(
    compressed_paths: Sequence[str | Path],
    overlap_path: str | Path,
    *,
    pairs: Sequence[Mapping[str, Any]],
    panel: Panel,
) -> None:
    """Hold the masks of a panel's methods against each other and write a table of ``COLUMNS``.

    Each of ``pairs`` has a ``method``, the ``other`` one and ``ratios``. A row is a network of the
    first that was retrained and whose seed has a mask of the other; it stands under its state
    ``retrained``, though a mask is the same in every state. Raises ``NetworkError`` where a pair's
    masks lie on different weights.
    """
    wanted = {
        Cell(pair[role], ratio)
        for pair in pairs
        for role in ("method", "other")
        for ratio in pair["ratios"]
    }
    masks: dict[Cell, dict[int, _Masks]] = {cell: {} for cell in wanted}
    retrained: dict[Cell, set[int]] = {cell: set() for cell in wanted}
    for path in compressed_paths:
        for part in load_compressed(path):
            if part.cell not in wanted:
                continue
            retrained[part.cell].update(part.seeds)
            masks[part.cell] |= {
                seed: {name: mask[row] for name, mask in part.masks.items()}
                for row, seed in enumerate(part.mask_seeds)
            }
    rows = []
    for pair in pairs:
        for ratio in pair["ratios"]:
            cell, other = Cell(pair["method"], ratio), Cell(pair["other"], ratio)
            seeds = sorted(retrained[cell] & masks[cell].keys() & masks[other].keys())
            if not seeds:
                continue
            own, others = (stack([masks[one][seed] for seed in seeds]) for one in (cell, other))
            found = overlaps(own, others, other.method)
            place = (*panel, cell.method, ratio, RETRAINED)
            rows += [
                dict(zip(NETWORK, (*place, seed), strict=True)) | asdict(one)
                for seed, one in zip(seeds, found, strict=True)
            ]
    write_rows(overlap_path, COLUMNS, rows)
