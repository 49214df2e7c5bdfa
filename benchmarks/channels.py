"""How fast networks without some of their channels are, beside the masked one that answers alike.

``python benchmarks/channels.py`` evaluates random images by LeNet-5, and with ``--network`` by any
other network, on one core: whole with masks, as workflows train it, and built without the channels
that a compression ratio leaves out, drawn at random. Every repeat takes all ways in turn, after one
that is not timed. Reported are images a second and the ratio to the masked network within a repeat:
median, least and largest; and how long building a smaller network and comparing the two takes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping

import numpy as np
import torch
from quantization import OTHERS, SHAPES, seconds
from side_by_side import machine, print_table, ratios, spread
from torch import Tensor, nn

from recall_distortion import networks
from recall_distortion.compression.channel_ratios import fraction_of_channels
from recall_distortion.compression.pruning.channels import channel_scores, layers_of
from recall_distortion.compression.pruning.smaller import smaller
from recall_distortion.compression.pruning.units import channel
from recall_distortion.networks.plans import ARCHITECTURES
from recall_distortion.system import processor
from recall_distortion.training import DeviceImages

MASKED = "masked"
RATIOS = (2, 4, 10)


def kept(network: nn.Module, ratio: float, image: tuple[int, int]) -> Mapping[str, Tensor]:
    """Return which channels a compression ratio of all parameters leaves, any alike, by group."""
    drawing = torch.Generator().manual_seed(0)
    scores = channel_scores(network, "random", images=None, generator=drawing)
    fraction = fraction_of_channels(layers_of(network, image), ratio, "total")
    return channel.select(scores, fraction)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--network", choices=ARCHITECTURES, default="lenet5")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(machine())
    processor.prepare(1, "cpu", deterministic=False)
    channels, side = SHAPES.get(options.network, OTHERS)
    drawn = np.random.default_rng(0).integers(0, 256, (options.images, channels, side, side))
    mean = np.full(channels, 0.5, np.float32)
    images = DeviceImages(drawn.astype(np.uint8), np.zeros(options.images, np.int64), mean, mean)
    torch.manual_seed(0)
    network = networks.build(options.network, channels=channels, classes=10)
    network = network.to(memory_format=torch.channels_last).eval()
    # How many weights are zero does not change how long a network takes.
    ways: dict[str, nn.Module] = {MASKED: network}
    checked = []
    for ratio in RATIOS:
        left = kept(network, ratio, (side, side))
        ways[f"smaller, ratio {ratio}"] = smaller(network, left).to(
            memory_format=torch.channels_last
        )
        masks = channel.masks(network, left)
        masked = {
            name: value * masks[name] if name in masks else value
            for name, value in network.state_dict().items()
        }
        start = time.perf_counter()
        channel.check(network, masked, masks, images)
        checked.append(time.perf_counter() - start)
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for repeat in range(options.repeats + 1):
        for way, module in ways.items():
            found = seconds(module, images)
            if repeat:
                taken[way].append(options.images / found)
    print(f"{options.images:,} images of {channels} x {side} x {side}, {options.network}, 1 core")
    rows = [
        [way, spread(own, "{:.0f}"), spread(ratios(own, taken[MASKED]))]
        for way, own in taken.items()
    ]
    print_table(["way", "images a second", "to the masked one"], rows)
    print(f"built and compared in {spread([1000 * one for one in checked])} ms")


if __name__ == "__main__":
    main()
