"""Dense networks that a user brings: read from files, not trained here."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from recall_distortion import networks
from recall_distortion.training.replicates import Block, software, stack
from recall_distortion.vocabulary import EACH_BROUGHT, ONE_BROUGHT


def read_all(network: nn.Module, block: Block, seeds: Sequence[int]) -> None:
    """Give a block the dense networks of ``seeds``, from the files that its definition names.

    One file for all seeds gives each of them the same network, which the facts say. Raises
    ``NetworkError`` for a file that does not fit ``network``.
    """
    definition = block.network
    assert definition is not None  # or nothing would be brought
    states = []
    for seed in seeds:
        (path,) = definition.files([seed])
        states.append(networks.known(network).read_state(network, path))
        print(f"{block.architecture} seed {seed}: read from {path}, not trained", flush=True)
    block.seeds, block.tensors = list(seeds), stack(states)
    engine = ONE_BROUGHT if definition.is_one else EACH_BROUGHT
    block.facts = {"device": "cpu", "engine": engine, **software()}
