"""Dropout: of what linear layers get a share is set to zero in training, at random.

The masks are drawn from a stream of each replicate's own and handed to its network, so that they
are the same whether it is computed alone or with others, or goes on after its job was killed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from recall_distortion.networks.dropped import Dropped
from recall_distortion.system.errors import NetworkError

#: Random bits of a mask: the fewer where the share to drop is so many 256ths, and else the more.
BITS = {8: np.int8, 16: np.int16}
#: Random words of 64 bits that are drawn at once, at most, as long as that holds a batch.
AT_ONCE = 2**17


def layers(network: nn.Module) -> dict[str, int]:
    """Return the linear layers that get features, not images, and how many, by their names.

    These are all but the network's first layer. Raises ``NetworkError`` where there is none.
    """
    found = [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    linear = {name: layer.in_features for name, layer in found[1:] if isinstance(layer, nn.Linear)}
    if not linear:
        raise NetworkError(
            f"dropout: {type(network).__name__} has no linear layer that gets features"
        )
    return linear


class Dropout:
    """Masks [K, B, features] of linear layers: zero at a share of places, and else 1 / (1 - share).

    So the expected value of what is dropped from stays (Srivastava et al., JMLR 2014). The share is
    rounded to a multiple of 1 / 65536, where it is none of 1 / 256.
    """

    def __init__(self, share: float, network: nn.Module, device: torch.device) -> None:
        self._features = layers(network)
        fewer, more = BITS
        self._bits = fewer if (share * 2**fewer).is_integer() else more
        levels = 2**self._bits
        self._lowest = round(share * levels) - levels // 2  # of the bits that are kept
        self._scale = levels / (levels - round(share * levels))
        self._device = device

    def draw(
        self, generators: Sequence[torch.Generator], sizes: Sequence[int]
    ) -> Iterator[Dropped]:
        """Yield the masks of batches of such sizes, with one generator a network.

        Each generator gives NumPy's a seed, which draws four times as fast. Each batch takes whole
        words, so how many are drawn at once changes nothing.
        """
        streams = [
            np.random.PCG64DXSM(int(torch.randint(2**63 - 1, (), generator=one)))
            for one in generators
        ]
        total = sum(self._features.values())
        words = [-(-size * total * self._bits // 64) for size in sizes]
        first = 0
        while first < len(sizes):
            last, count = first + 1, words[first]
            while last < len(sizes) and len(streams) * (count + words[last]) <= AT_ONCE:
                count += words[last]
                last += 1
            drawn = np.stack([stream.random_raw(count) for stream in streams])
            bits = torch.from_numpy(drawn.view(BITS[self._bits])).to(self._device)
            start = 0
            for size, taken in zip(sizes[first:last], words[first:last], strict=True):
                yield Dropped(bits, self._places(start, size), self._lowest, self._scale)
                start += taken * 64 // self._bits
            first = last

    def _places(self, start: int, size: int) -> dict[str, tuple[int, tuple[int, int]]]:
        """Return where in the bits those of a batch of this size are, from a column on."""
        found = {}
        for name, features in self._features.items():
            found[name] = start, (size, features)
            start += size * features
        return found
