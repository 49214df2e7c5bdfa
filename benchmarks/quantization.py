"""How fast quantized networks are evaluated, beside the plain module and its fast form.

``python benchmarks/quantization.py`` evaluates random images by LeNet-5, and with ``--network`` by
any other network, on one core: by the plain module, by what the workflow evaluates dense networks
with, and quantized. Every repeat takes all ways in turn, after one that is not timed. Reported are
images a second and the ratio to the plain module within a repeat: median, least and largest.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping

import numpy as np
import torch
from side_by_side import machine, print_table, ratios, spread
from torch import nn

from recall_distortion import networks
from recall_distortion.compression.facts import QUANTIZERS
from recall_distortion.compression.quantization.calibration import calibrate
from recall_distortion.compression.quantization.folding import Layers
from recall_distortion.compression.quantization.plan import STATIC, Quantizer
from recall_distortion.compression.quantization.stored import carried, computing, quantized
from recall_distortion.networks.plans import ARCHITECTURES
from recall_distortion.system import processor
from recall_distortion.training import DeviceImages
from recall_distortion.training.engines import Engine
from recall_distortion.training.loop import EVALUATION_IMAGES

PLAIN, FAST = "plain module", "as dense networks are evaluated"
#: Channels and side of networks' images, where these are not CIFAR-10's.
SHAPES = {"mlp": (1, 8), "cnn": (1, 8), "lenet5": (1, 28)}
METHODS = ("int8_static", "int8_dynamic", "int8_weights")


def modules(name: str, images: DeviceImages, channels: int) -> dict[str, nn.Module]:
    """Return what computes a network of random weights, by each way."""

    def built() -> nn.Module:
        torch.manual_seed(0)
        found = networks.build(name, channels=channels, classes=10)
        return found.to(memory_format=torch.channels_last).eval()

    network = built()
    layers = Layers.of(network, images.batch(slice(0, 1)))
    folded = layers.folded(network, network.state_dict())
    found = {PLAIN: network, FAST: Engine().module(built())}
    for method in METHODS:
        facts = QUANTIZERS[method]
        way = Quantizer(facts.weights, facts.activations, 8, 256, "min_max", 99.9, "dense")
        inputs = None
        if way.activations == STATIC:
            plain = layers.without_norms(network)
            inputs = calibrate(plain, layers, folded, images, way, seed=0)
        module = computing(built(), layers, way)
        module.load_state_dict(carried(quantized(folded, layers, way, inputs), module))
        found[method] = module.eval()
    return found


def seconds(module: nn.Module, images: DeviceImages) -> float:
    """Return how long a module takes for all images, in the batches of an evaluation."""
    size = EVALUATION_IMAGES["cpu"]
    start = time.perf_counter()
    with torch.no_grad():
        for first in range(0, len(images), size):
            module(images.batch(slice(first, first + size)))
    return time.perf_counter() - start


def begin(about: str) -> tuple[argparse.Namespace, DeviceImages]:
    """Return the options and random images for their network, and print what the machine is.

    The first line of ``about`` says what is measured.
    """
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    parser.add_argument("--network", choices=ARCHITECTURES, default="lenet5")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(machine())
    processor.prepare(1, "cpu", deterministic=False)
    count, (channels, side) = options.images, shape(options.network)
    drawn = np.random.default_rng(0).integers(0, 256, (count, channels, side, side))
    mean = np.full(channels, 0.5, np.float32)
    images = DeviceImages(drawn.astype(np.uint8), np.zeros(count, np.int64), mean, mean)
    return options, images


def shape(network: str) -> tuple[int, int]:
    """Return the channels and the side of a network's images."""
    return SHAPES.get(network, (3, 32))


def compare(
    ways: Mapping[str, nn.Module], images: DeviceImages, options: argparse.Namespace, to: str
) -> None:
    """Measure modules in turn and print their rates, and ``to`` the first of them."""
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for repeat in range(options.repeats + 1):
        for way, module in ways.items():
            found = seconds(module, images)
            if repeat:
                taken[way].append(len(images) / found)
    channels, side = shape(options.network)
    print(f"{len(images):,} images of {channels} x {side} x {side}, {options.network}, 1 core")
    first, *_ = taken.values()
    rows = [[way, spread(own, "{:.0f}"), spread(ratios(own, first))] for way, own in taken.items()]
    print_table(["way", "images a second", to], rows)


def main() -> None:
    """Measure and print."""
    options, images = begin(__doc__)
    channels, _ = shape(options.network)
    compare(modules(options.network, images, channels), images, options, "to the plain module")


if __name__ == "__main__":
    main()
