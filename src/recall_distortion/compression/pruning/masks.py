"""Which weights stay: masks from scores, and what a compression ratio means for a network.

``within`` takes masks that were made before, by the scores' names: what they removed stays removed,
and only what they leave is ranked. A name without such a mask is left whole. Fractions are always
of all the scores, so that pruning in rounds counts as pruning at once does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from recall_distortion import networks
from recall_distortion.compression.ratios import fraction_to_keep
from recall_distortion.system.errors import NetworkError


def keep_fraction(network: nn.Module, ratio: float, count: str = "total") -> float:
    """Return the fraction of a network's prunable weights that a compression ratio leaves.

    ``count="total"`` is ShrinkBench's rule, (total / ratio - (total - prunable)) / prunable, with
    the prunable modules' biases counted in; ``count="prunable"`` is 1 / ratio.

    Raises ``NetworkError`` where no weight would be left, naming the largest feasible ratio.
    """
    return fraction_to_keep(networks.counts(network), ratio, count, type(network).__name__)


def global_masks(
    scores: Mapping[str, Tensor],
    fraction: float,
    *,
    within: Mapping[str, Tensor] | None = None,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Return masks that keep exactly ``round(fraction * size)`` of all weights, the highest scored.

    ``scores`` maps names to tensors of any shape; the masks are booleans of their shapes. Ties are
    broken by a random order from ``generator``, by default one seeded with 0.

    Raises ``NetworkError`` for scores that are not finite, a fraction outside 0 to 1, masks of
    other shapes, or where fewer weights are left ``within`` than should stay.
    """
    left = _left(scores, fraction, within)
    keep = round(fraction * sum(value.numel() for value in scores.values()))
    kept = _highest(_flat(scores), _flat(left), keep, generator, "all layers")
    return _split(kept, scores)


def layer_masks(
    scores: Mapping[str, Tensor],
    fraction: float,
    *,
    within: Mapping[str, Tensor] | None = None,
    generator: torch.Generator | None = None,
    least: int = 0,
) -> dict[str, Tensor]:
    """Return masks that keep exactly ``round(fraction * size)`` of each tensor's weights.

    At ``least`` so many stay of each. Raises ``NetworkError`` as ``global_masks`` does, naming the
    tensor.
    """
    left = _left(scores, fraction, within)
    keep = [max(least, round(fraction * value.numel())) for value in scores.values()]
    return _each(scores, left, keep, generator)


def erk_masks(
    scores: Mapping[str, Tensor],
    fraction: float,
    *,
    within: Mapping[str, Tensor] | None = None,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Return masks that keep exactly ``round(fraction * size)`` of all weights, by ``erk_counts``.

    How many of which tensor depends on the shapes alone; of each the highest scored stay. Raises
    ``NetworkError`` as ``layer_masks`` does.
    """
    left = _left(scores, fraction, within)
    keep = round(fraction * sum(value.numel() for value in scores.values()))
    counts = erk_counts([value.shape for value in scores.values()], keep)
    return _each(scores, left, counts, generator)


def erk_counts(shapes: Sequence[Sequence[int]], keep: int) -> list[int]:
    """Return how many weights stay of tensors of such shapes, ``keep`` in all.

    Erdős–Rényi kernel (Evci et al., ICML 2020, arXiv 1911.11134): a tensor's density is epsilon
    times the sum of its sides over their product, or 1 where that is more, and epsilon gives the
    total. Here it is a total of whole weights, min(product, round(epsilon * sum)), exact since
    weights are granted one after another: a tensor's n-th when epsilon reaches (n - 1/2) / sum,
    the earlier tensor's first of those at once. So of a smaller total no tensor keeps more, which
    rounds of pruning need and largest remainders do not give.
    """
    sizes = torch.tensor([math.prod(shape) for shape in shapes])
    reached = torch.cat(
        [
            (torch.arange(math.prod(shape), dtype=torch.float64) + 0.5) / sum(shape)
            for shape in shapes
        ]
    )
    tensors = torch.repeat_interleave(torch.arange(len(shapes)), sizes)
    granted = tensors[reached.argsort(stable=True)[:keep]]
    counts: list[int] = torch.bincount(granted, minlength=len(shapes)).tolist()
    return counts


#: What scores are ranked over, by the word of a study.
SCOPES: dict[str, Callable[..., dict[str, Tensor]]] = {
    "global": global_masks,
    "layer": layer_masks,
    "erk": erk_masks,
}


def signed_threshold_masks(
    scores: Mapping[str, Tensor],
    fraction: float,
    *,
    within: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return the masks of the published script for signed scores.

    ShrinkBench's threshold q is the (1 - fraction) quantile (linear interpolation) of all the
    signed scores, and its mask removes scores strictly between -q and q. Large negative scores
    survive, so more weights are kept than asked, and all of them where q is not positive. Where
    ``within`` leaves some weights alone, the quantile is that of their scores, at the fraction of
    them that is asked.

    Raises ``NetworkError`` as ``global_masks`` does.
    """
    left = _flat(_left(scores, fraction, within))
    # Double precision and a sort in place of torch.quantile, which refuses more than 2^24 values.
    flat = _flat(scores).double()
    ordered = flat[left].sort().values
    _check_enough(len(ordered), round(fraction * flat.numel()), "all layers")
    if not len(ordered):
        return _split(left, scores)
    asked = min(fraction * (flat.numel() / len(ordered)), 1.0)
    position = (1 - asked) * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    q = ordered[low] + (position - low) * (ordered[high] - ordered[low])
    return _split(left & ~((flat < q) & (flat > -q)), scores)


def _left(
    scores: Mapping[str, Tensor], fraction: float, within: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """Return by the scores' names what may stay; raises ``NetworkError`` for what ranks nothing."""
    if not 0 <= fraction <= 1:
        raise NetworkError(f"the fraction of weights to keep lies between 0 and 1, not {fraction}")
    if not scores:
        raise NetworkError("there are no weights to prune")
    left = {}
    for name, value in scores.items():
        mask = (within or {}).get(name)
        if mask is None:
            mask = torch.ones_like(value, dtype=torch.bool)
        elif mask.shape != value.shape or mask.dtype != torch.bool:
            raise NetworkError(
                f"the mask of {name} that others lie within is {mask.dtype} {[*mask.shape]}; give "
                f"one of torch.bool {[*value.shape]}"
            )
        left[name] = mask.to(value.device)
        if not torch.isfinite(value[left[name]]).all():
            raise NetworkError(f"the scores of {name} are not all finite, so they rank nothing")
    return left


def _check_enough(left: int, keep: int, where: str) -> None:
    if keep > left:
        raise NetworkError(
            f"{keep} weights of {where} should stay and earlier masks leave {left}; rounds of "
            "pruning go from larger fractions to smaller ones"
        )


def _highest(
    flat: Tensor, left: Tensor, keep: int, generator: torch.Generator | None, where: str
) -> Tensor:
    """Return a boolean vector with the ``keep`` highest scores of those left set.

    Ties fall by a random order of all, so that it does not depend on what is left.
    """
    _check_enough(int(left.sum()), keep, where)
    generator = generator or torch.Generator().manual_seed(0)
    shuffled = torch.randperm(flat.numel(), generator=generator)
    shuffled = shuffled[left[shuffled]]
    order = shuffled[flat[shuffled].argsort(descending=True, stable=True)]
    kept = torch.zeros(flat.numel(), dtype=torch.bool)
    kept[order[:keep]] = True
    return kept


def _each(
    scores: Mapping[str, Tensor],
    left: Mapping[str, Tensor],
    keep: Sequence[int],
    generator: torch.Generator | None,
) -> dict[str, Tensor]:
    """Return masks of the so many highest scores of each tensor."""
    generator = generator or torch.Generator().manual_seed(0)
    masks: dict[str, Tensor] = {}
    for (name, value), many in zip(scores.items(), keep, strict=True):
        one = {name: value}
        kept = _highest(_flat(one), _flat({name: left[name]}), many, generator, name)
        masks |= _split(kept, one)
    return masks


def _flat(tensors: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([value.detach().flatten().cpu() for value in tensors.values()])


def _split(flat: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    parts = torch.split(flat, [value.numel() for value in like.values()])
    return {
        name: part.view(value.shape).to(value.device)
        for (name, value), part in zip(like.items(), parts, strict=True)
    }
