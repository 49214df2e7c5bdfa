"""A pruning method, criterion and scope, applied to one replicate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recall_distortion import networks
from recall_distortion.compression.methods import Method
from recall_distortion.compression.pruning import criteria, units
from recall_distortion.compression.pruning.masks import SCOPES
from recall_distortion.networks.seeded import seeded
from recall_distortion.system.errors import NetworkError
from recall_distortion.training.engines import Engine
from recall_distortion.training.images import DeviceImages
from recall_distortion.training.randomness import generator

#: The target of methods that remove what scores highest.
HIGHEST = "highest"


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
    with seeded(generator(seed, "criterion dropout")) if networks.draws(network) else nullcontext():
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
    images: DeviceImages | None = None,
) -> list[dict[str, Tensor]]:
    """Return the masks that a method gives a network at each fraction to keep, by parameter.

    ``within`` are the masks that the network has already: they hold, and only the units that they
    leave are ranked. Fractions are of all units. Random scores and ties depend on the replicate's
    seed but not on the fraction, so the masks of one replicate are nested, and those at one
    fraction are the same whichever others are asked for. Only masks of a criterion of rounds are
    not nested, since each fraction has rounds of its own. ``images`` are the training images, for
    criteria that look at feature maps, or need the shape of an image. Where the method's target is
    the highest scores these go.
    """
    unit, select = units.load(method.unit), None
    if unit.measure is not None:
        scores = unit.measure(network, method, images, seed)
    else:
        criterion = criteria.load(method.criterion)
        if criterion.gradient is not None:
            return [
                _in_rounds(network, method, fraction, images, seed=seed, within=within)
                for fraction in fractions
            ]
        scores, select = _of_weights(network, method, gradients, unit, seed), criterion.select
    if method.target == HIGHEST:
        scores = {name: -value for name, value in scores.items()}
    left = None if within is None else unit.left(network, within)
    found = []
    for fraction in fractions:
        if select is not None:
            kept = select(scores, fraction, within=left)
        else:
            choose = unit.select or SCOPES[method.scope]
            own = {} if method.channels is None else {"counts": method.channels}
            ties = generator(seed, "criterion ties")
            kept = choose(scores, fraction, within=left, generator=ties, **own)
        found.append(dict(unit.masks(network, kept)))
    return found


def _in_rounds(
    network: nn.Module,
    method: Method,
    fraction: float,
    images: DeviceImages | None,
    *,
    seed: int,
    within: Mapping[str, Tensor] | None,
) -> dict[str, Tensor]:
    """Return the masks of a criterion that scores what is left of a network in every round.

    Each round leaves the same share of the units, of all or of those left ``within``.
    """
    criterion, unit = criteria.load(method.criterion), units.load(method.unit)
    assert criterion.gradient is not None  # as the one who calls has seen
    if images is None:
        raise NetworkError(f"{method.criterion} needs the shape of an image, and none was given")
    masks, before = dict(within or {}), 1.0
    for number in range(1, criterion.rounds + 1):
        state = masked(network.state_dict(), masks)
        gradients = criterion.gradient(network, state, images.shape)
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


@torch.no_grad()
def _of_weights(
    network: nn.Module,
    method: Method,
    gradients: Mapping[str, Tensor] | None,
    unit: units.Unit,
    seed: int,
) -> Mapping[str, Tensor]:
    """Return the scores that a criterion of weights gives the units."""
    score, scoring = criteria.load(method.criterion).score, generator(seed, "criterion scores")
    of_weights = {
        name: score(
            weight,
            gradients[name] if gradients is not None else None,
            epsilon=method.epsilon,
            generator=scoring,
        )
        for name, weight in networks.prunable_parameters(network).items()
    }
    return unit.scores(network, of_weights)


def needs_gradient(method: Method) -> bool:
    """Return whether a method's criterion looks at the gradient of the loss."""
    if units.load(method.unit).measure is not None:
        return False  # of the unit's own, none of which does
    return criteria.load(method.criterion).needs_gradient
