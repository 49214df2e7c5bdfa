"""Whether a network of a user's own can be computed with others at once, and why it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from recall_distortion import networks
from recall_distortion.training.engines import Engine, choose
from recall_distortion.training.recipe import Computing
from recall_distortion.training.replicates import copy_state
from recall_distortion.training.stacks import Alone, Stack, Vectorized

#: Images that it is tried on, and how far what two ways compute may lie apart, over the largest of
#: it: rounding in single precision, with room for a deep network's small numbers.
TRIED, TOLERANCE = 4, 1e-3


def chosen(
    network: nn.Module, image: tuple[int, int], device: str | torch.device, computing: Computing
) -> Engine:
    """Return the engine for a network that ``networks.build`` made, as a study asks for it.

    ``image`` is the height and width of images. See ``engines.choose`` and ``able``.
    """
    engine = choose(str(network.architecture), image[0], device, **vars(computing))
    return able(engine, network, image)


def able(engine: Engine, network: nn.Module, image: tuple[int, int]) -> Engine:
    """Return the engine, one network after another where a user's cannot be vectorized.

    One printed line says why. ``image`` is the height and width of images.
    """
    if not engine.vectorized or networks.known(network) is None:
        return engine
    reason = _reason(network, image)
    if not reason:
        return engine
    found = replace(engine, at_once=1)
    print(f"{found}: {type(network).__name__} cannot be vectorized: {reason}", flush=True)
    return found


def _reason(network: nn.Module, image: tuple[int, int]) -> str:
    """Return why a step of two networks cannot be computed at once; nothing where it can."""
    if networks.draws(network):
        return "its training draws random numbers, each network's from a stream of its own"
    before = copy_state(network)
    states = []
    for seed in (0, 1):
        networks.initialize(network, torch.Generator().manual_seed(seed))
        states.append(copy_state(network))
    place = next(network.parameters()).device
    drawn = torch.Generator().manual_seed(0)
    channels = networks.known(network).channels
    images = torch.rand(len(states), TRIED, channels, *image, generator=drawn).to(place)
    alone = [
        _step(Alone(network, [state]), own, images[0])
        for state, own in zip(states, images, strict=True)
    ]
    wanted = {name: torch.cat([one[name] for one in alone]) for name in alone[0]}
    try:
        found = _step(Vectorized(network, states), images.flatten(0, 1), images[0])
    except Exception as error:  # of whatever kind the user's code, or torch, raises
        said = str(error).strip().partition("\n")[0]
        return f"torch.vmap: {said or type(error).__name__}"
    finally:
        network.load_state_dict(before)
    return next(
        (f"{name} comes out otherwise" for name in wanted if _apart(wanted, found, name)), ""
    )


def _step(stack: Stack, images: Tensor, same: Tensor) -> dict[str, Tensor]:
    """Return the logits, the gradients of their squares, and the state after a training call.

    ``images`` are each network's own, ``same`` what all are shown in evaluation.
    """
    logits = stack.logits(images, training=True)
    gradients = torch.autograd.grad(logits.square().sum(), stack.parameters)
    with torch.no_grad():
        evaluated = stack.logits(same)
    shaped = zip(stack.names, gradients, strict=True)
    return {
        "what it gives in training": logits.detach(),
        "what it gives": evaluated,
        **{f"the gradient of {name}": value.view_as(stack.tensors[name]) for name, value in shaped},
        **{name: value.clone() for name, value in stack.tensors.items()},
    }


def _apart(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], name: str) -> bool:
    one, other = wanted[name].double(), found[name].double()
    scale = one.abs().max().clamp(min=1e-6)
    return bool((one - other).abs().max() > TOLERANCE * scale)
