"""How fast networks without some of their channels are, beside the masked one that answers alike.

``python benchmarks/channels.py`` evaluates random images by LeNet-5, and with ``--network`` by any
other network, on one core: whole with masks, as workflows train it, and built without the channels
that a compression ratio leaves out, drawn at random. Every repeat takes all ways in turn, after one
that is not timed. Reported are images a second and the ratio to the masked network within a repeat:
median, least and largest; and how long building a smaller network and comparing the two takes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
from quantization import begin, compare, shape
from side_by_side import spread
from torch import Tensor, nn

from recall_distortion import networks
from recall_distortion.compression.channel_ratios import fraction_of_channels
from recall_distortion.compression.pruning.channels import channel_scores, layers_of
from recall_distortion.compression.pruning.smaller import smaller
from recall_distortion.compression.pruning.units import channel

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
    options, images = begin(__doc__)
    channels, side = shape(options.network)
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
    compare(ways, images, options, "to the masked one")
    print(f"built and compared in {spread([1000 * one for one in checked])} ms")


if __name__ == "__main__":
    main()
