"""The networks that files hold, state by state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from recall_distortion.compression.files import Compressed
from recall_distortion.training.replicates import Block


def before(dense: Block, part: Compressed) -> Iterator[Mapping[str, Tensor]]:
    """Yield a cell's networks as they were before the last retraining, by ``mask_seeds``."""
    compressed = Block("", 0, 0, part.mask_seeds, part.compressed)
    for index, seed in enumerate(part.mask_seeds):
        if part.compressed:
            yield compressed.state(seed)
            continue
        yield {
            name: value * part.masks[name][index] if name in part.masks else value
            for name, value in dense.state(seed).items()
        }


def retrained(part: Compressed) -> Iterator[Mapping[str, Tensor]]:
    """Yield a cell's networks after their retraining, by ``seeds``."""
    block = Block("", 0, 0, part.seeds, part.retrained)
    for seed in part.seeds:
        yield block.state(seed)
