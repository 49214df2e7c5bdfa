"""Dropout: of what linear layers get a share is set to zero in training, at random.

The masks are drawn from a stream of each replicate's own and handed to its network, so that they
are the same whether it is computed alone or with others, or goes on after its job was killed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from recall_distortion.system.errors import NetworkError

#: A mask takes 16 random bits, so that this many shares can be dropped.
LEVELS = 2**16
#: Random words of 64 bits that are drawn at once, at most, as long as that holds a batch.
AT_ONCE = 2**20


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
    rounded to a multiple of 1 / ``LEVELS``.
    """

    def __init__(self, share: float, network: nn.Module, device: torch.device) -> None:
        self._features = layers(network)
        self._lowest = round(share * LEVELS) - LEVELS // 2  # of the 16 bits that are kept
        self._scale = LEVELS / (LEVELS - round(share * LEVELS))
        self._device = device

    def draw(
        self, generators: Sequence[torch.Generator], sizes: Sequence[int]
    ) -> Iterator[dict[str, Tensor]]:
        """Yield the masks of batches of such sizes, by layer, with one generator a network.

        Each batch takes whole words of a generator, so how many are drawn at once changes nothing.
        """
        total = sum(self._features.values())
        words = [-(-size * total * 16 // 64) for size in sizes]
        first = 0
        while first < len(sizes):
            last, count = first + 1, words[first]
            while last < len(sizes) and len(generators) * (count + words[last]) <= AT_ONCE:
                count += words[last]
                last += 1
            drawn = torch.empty(len(generators), count, dtype=torch.int64)
            for row, generator in zip(drawn, generators, strict=True):
                row.random_(-(2**63), None, generator=generator)
            start = 0
            for size, taken in zip(sizes[first:last], words[first:last], strict=True):
                bits = drawn[:, start : start + taken].view(torch.int16)[:, : size * total]
                yield self._masks(bits.unflatten(1, (size, total)))
                start += taken
            first = last

    def _masks(self, bits: Tensor) -> dict[str, Tensor]:
        parts = bits.to(self._device).split([*self._features.values()], dim=2)
        return {name: self._mask(part) for name, part in zip(self._features, parts, strict=True)}

    def _mask(self, bits: Tensor) -> Tensor:
        # Compared into numbers at once: by way of booleans it takes eight times as long.
        kept = torch.empty(bits.shape, device=self._device)
        return torch.ge(bits, self._lowest, out=kept).mul_(self._scale)
