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
    images: DeviceImages | None = None,
) -> list[dict[str, Tensor]]:
    """Return the masks that a method gives a network at each fraction to keep, by parameter.

    ``within`` are the masks that the network has already: they hold, and only the units that they
    leave are ranked. Fractions are of all units. Random scores and ties depend on the replicate's
    seed but not on the fraction, so the masks of one replicate are nested, and those at one
    fraction are the same whichever others are asked for. ``images`` are the training images, for
    criteria that look at feature maps.
    """
    unit, select = units.load(method.unit), None
    if unit.measure is not None:
        scores = unit.measure(network, method, images, seed)
    else:
        criterion = criteria.load(method.criterion)
        scores, select = _of_weights(network, method, gradients, unit, seed), criterion.select
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
