"""Whether fused residual units compute on this machine's GPU what the plain networks do.

What has not run on a device is not believed. Once for each device and each version of the software
the kernels are held against the plain module, in a process of its own, for a kernel that goes wrong
may leave a process without its GPU: gradients, batches, whole passes with masks, in both
precisions, and that they repeat themselves. The verdict is kept beside the compiled kernels, in
Triton's cache. Where they do not compile, crash or differ, the plain way is taken and one line says
so: it costs time, and no study.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import recall_distortion
from recall_distortion import networks
from recall_distortion.fast import gpu
from recall_distortion.networks.plans import ARCHITECTURES
from recall_distortion.system import files
from recall_distortion.system.errors import UnwritableError
from recall_distortion.training.augmentation import PADDING
from recall_distortion.training.descent import descent
from recall_distortion.training.fused import Captured, Fused, at_once
from recall_distortion.training.images import DeviceImages
from recall_distortion.training.passes import Pass
from recall_distortion.training.randomness import generator
from recall_distortion.training.recipe import Recipe
from recall_distortion.training.replicates import copy_state
from recall_distortion.training.stacks import Alone, Stack

#: The family of networks that there are kernels for.
FAMILY = "resnet"
#: The compute capability from which on GPUs multiply bfloat16 and TF32.
LOWEST = (8, 0)
PATIENCE = 900.0  # seconds that a proof may take; compiling takes nearly all of one
#: What decides whether an old verdict still holds, besides versions and the device.
_CODE = ("fast", "networks", "training")

# Rounding flips rectifiers, and from there on gradients differ by far more than it. Measured on a
# CPU with the plain network in double precision, of whose convolutions' results each was off by a
# part of 1e-6 (1e-5; 1e-4; 5e-4, as by TF32 alone): half of the parameters' gradients were off by
# more than 0.1 % (0.7; 2.6; 5.8), the worst by 0.4 % (1.7; 5.1; 14). Losses over the passes were
# off by 2e-4 where the first weights were by 1e-6, and by 5e-4 in bfloat16.
WORST_GRADIENT, USUAL_GRADIENT = 4e-2, 1.5e-2
LOGITS_ERROR, BATCH_ERROR, EVALUATION_ERROR = 1e-4, 1e-5, 1e-3
SINGLE_LOSS, HALF_LOSS = 2e-3, 1e-2
RATE = 5e-3  # small, so that such differences do not grow over the passes


@dataclass(frozen=True)
class Setting:
    """What is tried: three passes over so many images, in batches whose last one is short."""

    architecture: str = "resnet20"
    size: int = 32
    batch: int = 64
    images: int = 7 * 64 - 24
    classes: int = 10
    half: torch.dtype = torch.bfloat16
    passes: int = 3


class Disagreement(Exception):
    """The kernels computed something else than the plain network."""


def is_proved(architecture: str, device: str | torch.device) -> bool:
    """Return whether an architecture's networks are computed in fused units on a device.

    The first call on a device may take a minute or two. A GPU without the instructions, a machine
    without Triton, is no cause for a word.
    """
    known = ARCHITECTURES.get(architecture)
    if torch.device(device).type != "cuda" or known is None or known.family != FAMILY:
        return False
    if find_spec("triton") is None or torch.version.hip or not torch.cuda.is_available():
        return False
    if torch.cuda.get_device_capability() < LOWEST:
        return False
    reason = _reason(torch.cuda.get_device_name())
    if reason:
        print(f"fused residual units are not used on this GPU: {reason}", flush=True)
    return not reason


@cache
def _reason(device: str) -> str:
    """Return why the units are not used, or nothing; from the file that an earlier job left."""
    path = gpu.cache() / f"recall-distortion-{_word(device)}.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["reason"]
    except (OSError, ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, str):
        print("fused residual units are tried on this GPU, once", flush=True)
        verdict = _examined()
        found = str(verdict["reason"])
        _keep(path, verdict | {"device": device})
    return found


def _keep(path: Path, verdict: dict[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(path) as temporary:
            Path(temporary).write_text(json.dumps(verdict, indent=1), encoding="utf-8")
    except (OSError, UnwritableError) as error:
        print(f"warning: {path}: {error}; the next job tries again", flush=True)


def _word(device: str) -> str:
    """Return a word for the device, the versions and the code that a verdict is about."""
    capability = torch.cuda.get_device_capability()
    facts = [device, *capability, torch.__version__, torch.version.cuda, gpu.version()]
    digest = hashlib.sha256(json.dumps([str(fact) for fact in facts]).encode())
    package = Path(recall_distortion.__file__).parent
    for name in _CODE:
        for source in sorted((package / name).rglob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _examined() -> dict[str, Any]:
    """Return the verdict of a process of its own."""
    command = [sys.executable, "-m", __name__]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        return {"reason": f"no verdict within {PATIENCE:.0f} seconds"}
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        return {"reason": f"the trial ended with status {done.returncode}: {last}"}
    return found


def examine(device: str, setting: Setting) -> dict[str, Any]:
    """Return the verdict: a reason against the units, empty where there is none, and the errors."""
    found: dict[str, Any] = {"reason": ""}
    try:
        for name, error, limit in _errors(device, setting):
            found[name] = error
            if not error <= limit:
                raise Disagreement(f"{name} is off by {error:.2g}, more than {limit:g}")
    except Exception as error:  # whatever it is, the plain way is there
        found["reason"] = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
    return found


def _errors(device: str, setting: Setting) -> Iterator[tuple[str, float, float]]:
    """Yield what was compared, how far it is off, and how far it may be."""
    network = networks.build(setting.architecture, channels=3, classes=setting.classes)
    states = []
    for seed in range(2):
        networks.initialize(network, generator(seed, "initialization"))
        states.append(copy_state(network))
    network = network.to(memory_format=torch.channels_last).to(device)
    images = _images(device, setting)
    plain, mine = Alone(network, states[:1]), Fused(network, states)
    yield "the batch", _batch_error(mine, images, setting), BATCH_ERROR
    error, errors = _gradient_errors(network, mine, images, setting.batch)
    yield "the logits", error, LOGITS_ERROR
    yield "the worst gradient", max(errors), WORST_GRADIENT
    yield "half of the gradients", median(errors), USUAL_GRADIENT
    if images.labels.is_cuda:  # a job asks this before it trains, and must not fail by it
        fit = at_once(network, images, setting.batch, setting.half, len(states))
        yield "how many networks fit", float(fit < 1), 0.0
    expected = _train(plain, images, setting)
    for name, dtype, limit in (
        ("single precision", torch.float32, SINGLE_LOSS),
        ("half precision", setting.half, HALF_LOSS),
    ):
        stacks = [Fused(network, states, dtype) for _ in range(2)]
        losses = [_train(stack, images, setting) for stack in stacks]
        error = _relative(torch.tensor(losses[0]), torch.tensor(expected))
        yield f"the loss in {name}", error, limit
        same = [
            torch.equal(value, stacks[1].tensors[key]) for key, value in stacks[0].tensors.items()
        ]
        yield f"the repetition in {name}", float(not all(same)), 0.0
        masked = stacks[0].tensors["stage1.0.conv1.weight"][:, ::2]
        yield f"what is masked in {name}", masked.abs().max().item(), 0.0
        if dtype == torch.float32:
            yield "evaluation", _evaluation_error(network, stacks[0], images), EVALUATION_ERROR


def _images(device: str, setting: Setting) -> DeviceImages:
    """Return images of the classes' patterns and noise, to be mirrored and shifted."""
    rng = np.random.default_rng(0)
    shape = (3, setting.size, setting.size)
    patterns = rng.uniform(60, 195, (setting.classes, *shape))
    labels = rng.integers(0, setting.classes, setting.images)
    pixels = patterns[labels] + rng.normal(0, 40, (setting.images, *shape))
    half = np.full(3, 0.5, np.float32)
    return DeviceImages(
        pixels.clip(0, 255).astype(np.uint8),
        labels,
        half,
        half / 2,
        device=device,
        augmentation=("flip", "crop"),
    )


def _batch_error(stack: Fused, images: DeviceImages, setting: Setting) -> float:
    """Return the largest difference of a batch's pixels, of a batch of two networks."""
    seeds, place = range(2), setting.batch // 2
    count = len(images)
    orders = torch.stack([torch.randperm(count, generator=generator(k, "order")) for k in seeds])
    orders = orders.to(images.labels.device)
    drawn = images.draw([generator(k, "augmentation") for k in seeds])
    part = slice(place, place + setting.batch)
    chosen = [choice[:, part].flatten(0, 1) for choice in drawn]
    expected = images.batch(orders[:, part].flatten(), chosen)
    rows, normalization = images.stored()
    found = stack.networks.batch(
        rows,
        normalization,
        orders,
        torch.tensor(place, device=orders.device),
        setting.batch,
        dict(zip(images.augmentation, drawn, strict=True)),
        padding=PADDING,
        dtype=torch.float32,
    )
    return float((found.flatten(0, 1).permute(0, 3, 1, 2) - expected).abs().max())


def _gradient_errors(
    network: nn.Module, stack: Fused, images: DeviceImages, batch: int
) -> tuple[float, list[float]]:
    """Return how far the first network's logits are off, and each of its parameters' gradients.

    They are held against the plain network in double precision, as parts of its vectors' lengths.
    """
    pixels, labels = images.batch(slice(0, batch)), images.labels[:batch]
    exact = copy.deepcopy(network).double().train()
    logits = exact(pixels.double())
    gradients = torch.autograd.grad(F.cross_entropy(logits, labels), list(exact.parameters()))
    found = stack.logits(pixels.repeat(len(stack), 1, 1, 1), training=True)[0]
    ours = torch.autograd.grad(F.cross_entropy(found, labels), stack.parameters)
    errors = [_relative(own[0], value) for own, value in zip(ours, gradients, strict=True)]
    return _relative(found, logits), errors


def _train(stack: Stack, images: DeviceImages, setting: Setting) -> list[float]:
    """Return the first network's mean loss in each pass; half of a layer is masked."""
    position = stack.names.index("stage1.0.conv1.weight")
    mask = torch.ones_like(stack.parameters[position], requires_grad=False)
    mask.view(len(stack), *stack.tensors[stack.names[position]].shape[1:])[:, ::2] = 0
    with torch.no_grad():
        stack.parameters[position].mul_(mask)
    recipe = Recipe((), setting.batch, 0.9, 5e-4, ())
    optimizer = descent(stack.parameters, recipe)
    optimizer.rate = RATE
    masks = {position: mask}
    one_pass = (
        Captured(stack, optimizer, images, setting.batch, masks)
        if isinstance(stack, Fused)
        else Pass(stack, optimizer, images, setting.batch, masks)
    )
    orders = [generator(seed, "order") for seed in range(len(stack))]
    choices = [generator(seed, "augmentation") for seed in range(len(stack))]
    return [one_pass.run(orders, choices)[0] for _ in range(setting.passes)]


@torch.no_grad()
def _evaluation_error(network: nn.Module, stack: Fused, images: DeviceImages) -> float:
    pixels = images.batch(slice(0, 100))
    ours = stack.logits(pixels)[1]
    plain = Alone(network, [{name: value[1] for name, value in stack.tensors.items()}])
    return _relative(ours, plain.logits(pixels)[0])


def _relative(found: Tensor, expected: Tensor) -> float:
    """Return the length of a difference as a part of the expected length."""
    one, two = (value.detach().double().flatten() for value in (found, expected))
    return float((one - two).norm() / two.norm())


if __name__ == "__main__":
    from recall_distortion.system import processor

    processor.prepare_gpu(deterministic=True)
    print(json.dumps(examine("cuda", Setting())), flush=True)
