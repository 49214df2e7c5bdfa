"""Every network that has weights of a block, one after another, with what pruning masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from recall_distortion.compression.files import load_compressed
from recall_distortion.evaluation.states import before, retrained
from recall_distortion.training.replicates import Block
from recall_distortion.vocabulary import COMPRESSED, DENSE, RETRAINED, UNCOMPRESSED_TEXT


@dataclass(frozen=True)
class OneNetwork:
    """One network of a block: method, ratio, state and seed, its tensors and its masks."""

    place: tuple[str, str, str, int]
    tensors: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]


def every_network(dense: Block, compressed_paths: Sequence[str | Path]) -> Iterator[OneNetwork]:
    """Yield the dense networks, or, where there are files of them, the compressed ones."""
    if not compressed_paths:
        for seed in dense.seeds:
            yield OneNetwork((DENSE, UNCOMPRESSED_TEXT, DENSE, seed), dense.state(seed), {})
    for path in compressed_paths:
        for part in load_compressed(path):
            own = part.cell.method, part.cell.ratio
            masks = {
                seed: {name: mask[row] for name, mask in part.masks.items()}
                for row, seed in enumerate(part.mask_seeds)
            }
            states = [(RETRAINED, part.seeds, retrained(part))]
            if part.masks and part.of_dense:
                states.insert(0, (COMPRESSED, part.mask_seeds, before(dense, part)))
            for state, seeds, tensors in states:
                for seed, found in zip(seeds, tensors, strict=True):
                    yield OneNetwork((*own, state, seed), found, masks.get(seed, {}))
