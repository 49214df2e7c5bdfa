"""Files of quantized networks opened for evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from recall_distortion.compression.quantization.files import Quantized, load_quantized
from recall_distortion.compression.quantization.folding import Layers
from recall_distortion.compression.quantization.stored import carried, computing
from recall_distortion.training.engines import Engine, is_deterministic


@dataclass(frozen=True)
class Opened:
    """One cell's quantized networks, and what computes them.

    ``network`` has a module of its own, with any tensors, and ``states`` gives those of each seed.
    """

    quantized: Quantized
    network: nn.Module
    engine: Engine

    @property
    def seeds(self) -> list[int]:
        """The replicates, in their order."""
        return self.quantized.networks.seeds

    def states(self) -> Iterator[Mapping[str, Tensor]]:
        """Yield each replicate's tensors as ``network`` has them."""
        for seed in self.seeds:
            yield carried(self.quantized.networks.state(seed), self.network)


def opened(network: nn.Module, images: Tensor, paths: Sequence[str | Path]) -> Iterator[Opened]:
    """Yield the cells of files of quantized networks.

    ``network`` is a plain one of their kind, and ``images`` [B, C, H, W] are any that it takes; it
    lies where the networks are to be computed. Where it has batch norms or whole numbers are
    multiplied, what computes them is a module of its own, which has no fast form.
    """
    layers = Layers.of(network, images)
    deterministic = is_deterministic(images.device)
    for path in paths:
        for found in load_quantized(path):
            module = computing(network, layers, found.quantizer)
            engine = Engine(deterministic=deterministic, fast=module is network)
            yield Opened(found, module, engine)
