"""A pruning method, criterion and scope, applied to one replicate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recall_distortion import networks
from recall_distortion.compression.methods import Method
from recall_distortion.compression.pruning import criteria, units
from recall_distortion.compression.pruning.masks import SCOPES
from recall_distortion.training.engines import Engine
from recall_distortion.training.images import DeviceImages
from recall_distortion.training.randomness import generator


def loss_gradient(
    network: nn.Module, images: DeviceImages, examples: int, *, seed: int
) -> dict[str, Tensor]:
    """Return the gradient of the mean cross-entropy by prunable weight.

    As in ShrinkBench one mini-batch of training images in training mode; here the batch is drawn
    from the replicate's seed, of a size that the method sets, without augmentation, and
    batch norm's running statistics are left as they were. A batch larger than the training set is
    the whole set.
    """
    index = torch.randperm(len(images), generator=generator(seed, "criterion batch"))[:examples]
    index = index.to(images.labels.device)
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    module = Engine().module(network)
    module.train()
    loss = F.cross_entropy(module(images.batch(index)), images.labels[index])
    weights = networks.prunable_parameters(network)
    gradients = torch.autograd.grad(loss, list(weights.values()))
    with torch.no_grad():
        for name, value in network.named_buffers():
            value.copy_(buffers[name])
    return dict(zip(weights, gradients, strict=True))


def method_masks(
    network: nn.Module,
    method: Method,
    fractions: Sequence[float],
    gradients: Mapping[str, Tensor] | None,
    *,
    seed: int,
    within: Mapping[str, Tensor] | None = None,
    shape: Sequence[int] = (),
) -> list[dict[str, Tensor]]:
    """Return the masks that a method gives a network at each fraction to keep, by parameter.

    ``within`` are the masks that the network has already: they hold, and only the units that they
    leave are ranked. Fractions are of all units. Random scores and ties depend on the replicate's
    seed but not on the fraction, so the masks of one replicate are nested, and those at one
    fraction are the same whichever others are asked for. Only masks of a criterion of rounds are
    not nested, since each fraction has rounds of its own; it takes the ``shape`` [C, H, W] of an
    image.
    """
    criterion, unit = criteria.load(method.criterion), units.load(method.unit)
    if criterion.gradient is not None:
        return [
            _in_rounds(network, method, fraction, seed=seed, within=within, shape=shape)
            for fraction in fractions
        ]
    scoring = generator(seed, "criterion scores")
    with torch.no_grad():
        of_weights = {
            name: criterion.score(
                weight,
                gradients[name] if gradients is not None else None,
                epsilon=method.epsilon,
                generator=scoring,
            )
            for name, weight in networks.prunable_parameters(network).items()
        }
        scores = unit.scores(network, of_weights)
    left = None if within is None else unit.left(network, within)
    found = []
    for fraction in fractions:
        if criterion.select is not None:
            kept = criterion.select(scores, fraction, within=left)
        else:
            ties = generator(seed, "criterion ties")
            kept = SCOPES[method.scope](scores, fraction, within=left, generator=ties)
        found.append(dict(unit.masks(network, kept)))
    return found


def _in_rounds(
    network: nn.Module,
    method: Method,
    fraction: float,
    *,
    seed: int,
    within: Mapping[str, Tensor] | None,
    shape: Sequence[int],
) -> dict[str, Tensor]:
    """Return the masks of a criterion that scores what is left of a network in every round.

    Each round leaves the same share of the units, of all or of those left ``within``.
    """
    criterion, unit = criteria.load(method.criterion), units.load(method.unit)
    assert criterion.gradient is not None  # as the one who calls has seen
    masks, before = dict(within or {}), 1.0
    for number in range(1, criterion.rounds + 1):
        state = masked(network.state_dict(), masks)
        gradients = criterion.gradient(network, state, shape)
        of_weights = {
            name: criterion.score(state[name], gradient, epsilon=method.epsilon)
            for name, gradient in gradients.items()
        }
        scores = unit.scores(network, of_weights)
        left = unit.left(network, masks) if masks else None
        if number == 1 and left is not None:
            before = _share(left, scores)
        passed = number / criterion.rounds  # 1 in the last, which has the fraction itself
        asked = before ** (1 - passed) * fraction**passed
        ties = generator(seed, "criterion ties")
        chosen = SCOPES[method.scope](scores, asked, within=left, generator=ties)
        masks = dict(unit.masks(network, chosen))
    return masks


def _share(left: Mapping[str, Tensor], of: Mapping[str, Tensor]) -> float:
    """Return the share of units that masks leave; those without a mask are left."""
    kept = sum(int(left[name].sum()) if name in left else of[name].numel() for name in of)
    return kept / sum(value.numel() for value in of.values())


def masked(state: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a network's state with what the masks remove set to zero."""
    return {
        name: value * masks[name].to(value.device) if name in masks else value
        for name, value in state.items()
    }


def needs_gradient(method: Method) -> bool:
    """Return whether a method's criterion looks at the gradient of the loss."""
    return criteria.load(method.criterion).needs_gradient
