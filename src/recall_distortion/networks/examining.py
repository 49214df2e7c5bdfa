"""Networks of a user's own looked at before any job starts, in a process of its own.

``python -m recall_distortion.networks.examining`` reads what is asked from its input and prints
what it found, both as JSON, so that what reads a study needs no torch.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from recall_distortion.networks import channel_groups, registry, structure
from recall_distortion.networks.definition import Definition
from recall_distortion.networks.functions import name_of
from recall_distortion.networks.own import build, raised, read_state, restore
from recall_distortion.networks.seeded import seeded
from recall_distortion.system.errors import NetworkError

#: Images of a training step that is tried.
_BATCH = 4


def examine(
    name: str,
    definition: Definition,
    *,
    channels: int,
    classes: int,
    image: tuple[int, int],
    files: Sequence[str] = (),
    groups: bool = False,
    curvature: bool = False,
) -> dict[str, Any]:
    """Return what a study must know of a network, or raise ``NetworkError`` for what it is not.

    It is made, called in evaluation and in training and given gradients, as jobs will; ``files`` of
    weights are read. With ``groups`` it has channels removed, with
    ``curvature`` it is differentiated twice.
    """
    network = build(name, definition, channels=channels, classes=classes, image=image)
    where = f"architecture {name}"
    drawn = torch.Generator().manual_seed(1)
    images = torch.rand(_BATCH, channels, *image, generator=drawn)
    _check_logits(where, network, images, classes)
    _check_state(where, network, images)
    _check_step(where, network, images)
    for path in files:
        read_state(name, network, path)
    counts = registry.counts(network)
    known = registry.known(network)
    if curvature:
        _check_second(where, network, images)
    own = channel_groups.found(network) if groups else None
    return {
        "counts": asdict(counts),
        "classifier": known.classifier,
        "prunable": list(known.prunable),
        "draws": known.draws,
        "tokens": _has_tokens(network, images),
        "rectifiers": _has_rectifiers(network, images),
        "norms": any(isinstance(module, nn.BatchNorm2d) for module in network.modules()),
        "hidden": any(
            isinstance(module, nn.Conv2d | nn.Linear) and of != known.classifier
            for of, module in network.named_modules()
        ),
        "layers": structure.plain(own.layers) if own else [],
        "stay": dict(own.stay) if own else {},
    }


@torch.no_grad()
def _check_logits(where: str, network: nn.Module, images: Tensor, classes: int) -> None:
    try:
        found = network.eval()(images)
    except Exception as error:
        raise NetworkError(
            f"{where}: on images {[*images.shape]} it raised {raised(error)}"
        ) from None
    wanted = [len(images), classes]
    if not isinstance(found, Tensor) or [*found.shape] != wanted:
        what = [*found.shape] if isinstance(found, Tensor) else type(found).__name__
        raise NetworkError(
            f"{where}: from images {[*images.shape]} it gives {what}; its forward returns a tensor "
            f"of logits {wanted}, a row an image and a column a class"
        )
    if not found.is_floating_point() or not torch.isfinite(found).all():
        raise NetworkError(f"{where}: its logits are not all finite numbers")


@torch.no_grad()
def _check_state(where: str, network: nn.Module, images: Tensor) -> None:
    """Check that a seed decides the weights, and that the state says all that another one changes.

    Two networks of one seed are alike, and with the other's state one computes what the other does.
    """
    known = registry.known(network)
    made = []
    for seed in (1, 1, 2):
        with seeded(torch.Generator().manual_seed(seed)):
            one = known.make()
        made.append(one.eval())
    states = [one.state_dict() for one in made]
    for name, value in states[0].items():
        if name not in states[1] or not torch.equal(value, states[1][name]):
            raise NetworkError(
                f"{where}: {name} differs between two modules that were made under one seed; draw "
                "its numbers by torch's, NumPy's or Python's global generator"
            )
    expected = made[2](images)
    try:
        made[0].load_state_dict(states[2])
    except RuntimeError as error:
        said = str(error).replace("\n", " ")
        raise NetworkError(f"{where}: modules of two seeds are not alike: {said}") from None
    if not torch.allclose(made[0](images), expected, rtol=1e-4, atol=1e-5):
        raise NetworkError(
            f"{where}: modules of two seeds differ in more than their parameters and buffers; "
            "register what is random as a buffer that is kept (persistent=True)"
        )


def _check_step(where: str, network: nn.Module, images: Tensor) -> None:
    """Check that a step of training reaches every parameter, and changes buffers in place."""
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    places = {name: value.data_ptr() for name, value in network.named_buffers()}
    trained = {n: value for n, value in network.named_parameters() if value.requires_grad}
    with seeded(torch.Generator().manual_seed(0)):
        try:
            logits = network.train()(images)
            gradients = torch.autograd.grad(
                logits.square().sum(), list(trained.values()), allow_unused=True
            )
        except Exception as error:
            raise NetworkError(f"{where}: a step of training raised {raised(error)}") from None
    for name, gradient in zip(trained, gradients, strict=True):
        if gradient is None:
            raise NetworkError(
                f"{where}: the logits do not depend on {name}; remove it, or freeze it by "
                "requires_grad_(False), which leaves it as it is and unpruned"
            )
    moved = [n for n, value in network.named_buffers() if places.get(n) != value.data_ptr()]
    if moved:
        raise NetworkError(
            f"{where}: its forward replaces buffer {moved[0]}; change it in place, as by copy_()"
        )
    restore(network, buffers)


@torch.no_grad()
def _has_tokens(network: nn.Module, images: Tensor) -> bool:
    """Return whether a linear layer gets more than features [N, F], or one is never called."""
    shapes: dict[str, int] = {}
    linear = {n: m for n, m in network.named_modules() if isinstance(m, nn.Linear)}
    handles = [
        module.register_forward_hook(
            lambda _, given, made, name=name: shapes.__setitem__(name, made.dim())
        )
        for name, module in linear.items()
    ]
    network.eval()(images)
    for handle in handles:
        handle.remove()
    return any(shapes.get(name) != 2 for name in linear)


def _check_second(where: str, network: nn.Module, images: Tensor) -> None:
    """Check that a network has second derivatives, which curvature is."""
    trained = [value for value in network.parameters() if value.requires_grad]
    try:
        with sdpa_kernel(SDPBackend.MATH):  # attention's fast forms have none
            logits = network.eval()(images)
            first = torch.autograd.grad(logits.square().sum(), trained, create_graph=True)
            # By this call: torch.autograd.grad passes over functions that have one derivative.
            torch.stack([one.square().sum() for one in first]).sum().backward()
    except RuntimeError as error:
        raise NetworkError(
            f"{where}: curvature is of second derivatives, which raised {raised(error)}; remove "
            "curvature, or use functions that have them"
        ) from None
    finally:
        network.zero_grad(set_to_none=True)


class _Called(TorchFunctionMode):
    """Gathers the names of torch's functions that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(name_of(func))
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def _has_rectifiers(network: nn.Module, images: Tensor) -> bool:
    with _Called() as called:
        network.eval()(images)
    return "relu" in called.names


def _answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    definition = Definition(**asked["definition"])
    try:
        return {
            "found": examine(
                asked["name"],
                definition,
                channels=asked["channels"],
                classes=asked["classes"],
                image=tuple(asked["image"]),
                files=[path for path, *_ in asked["files"]],
                groups=asked["groups"],
                curvature=asked["curvature"],
            )
        }
    except NetworkError as error:
        return {"error": str(error)}


def main() -> None:
    """Answer what the input asks."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    asked = json.load(sys.stdin)
    # What a user's module prints is no part of the answer.
    with redirect_stdout(sys.stderr):
        found = [_answer(one) for one in asked]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
