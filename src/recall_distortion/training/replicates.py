"""K networks of one architecture as stacked tensors [K, ...], their seeds, and their files."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recall_distortion import networks
from recall_distortion.networks.definition import Definition
from recall_distortion.system import sealed
from recall_distortion.system.errors import TableError
from recall_distortion.system.files import replacing
from recall_distortion.training.plain import plain, read

#: The stages that a network goes through, as failures and random streams have them.
TRAINING = "training"
FINE_TUNING = "finetuning"


@dataclass(frozen=True)
class Failure:
    """A replicate that could not be trained or fine-tuned, and why."""

    method: str
    ratio: str
    stage: str
    seed: int
    reason: str


@dataclass
class Block:
    """Replicates of one architecture: ``tensors`` maps a name to [K, ...], K = len(seeds).

    ``network`` says how a network of a user's own is made.
    """

    architecture: str
    channels: int
    classes: int
    seeds: list[int]
    tensors: dict[str, Tensor]
    failures: list[Failure] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    network: Definition | None = None

    def module(self, image: tuple[int, int]) -> nn.Module:
        """Return a module of the networks for images of a height and width, with any weights."""
        return networks.build(
            self.architecture,
            channels=self.channels,
            classes=self.classes,
            own=self.network,
            image=image,
        )

    def state(self, seed: int) -> dict[str, Tensor]:
        """Return one replicate's parameters and buffers by name."""
        index = self.seeds.index(seed)
        return {name: stacked[index] for name, stacked in self.tensors.items()}


def stack(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return K states of one network as stacked CPU tensors [K, ...]; empty for no state."""
    if not states:
        return {}
    return {
        name: torch.stack([state[name].detach().cpu().contiguous() for state in states])
        for name in states[0]
    }


def copy_state(network: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a network's parameters and buffers."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def software() -> dict[str, str]:
    """Return what numbers may depend on besides the code: torch's version, a GPU's name.

    The name is there in a process that has used a GPU.
    """
    found = {"torch": str(torch.__version__)}
    if torch.cuda.is_initialized():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def save_block(path: str | Path, block: Block) -> None:
    """Write a block's tensors and metadata as safetensors, all of it or nothing."""
    metadata = {
        "architecture": block.architecture,
        "channels": block.channels,
        "classes": block.classes,
        "seeds": block.seeds,
        "failures": [vars(failure) for failure in block.failures],
        "facts": block.facts,
    }
    if block.network is not None:
        metadata["network"] = plain(block.network)
    save_tensors(path, block.tensors, metadata)


def load_block(path: str | Path) -> Block:
    """Read what ``save_block`` wrote; raises ``TableError`` for a damaged or foreign file."""
    tensors, metadata = load_tensors(path)
    try:
        seeds = metadata["seeds"]
        if not all(type(seed) is int for seed in seeds) or len(set(seeds)) != len(seeds):
            raise TypeError("its seeds are not different whole numbers")
        failures = [Failure(**failure) for failure in metadata["failures"]]
        block = Block(
            metadata["architecture"],
            metadata["channels"],
            metadata["classes"],
            seeds,
            tensors,
            failures,
            metadata["facts"],
            read(Definition, own, "network") if (own := metadata.get("network")) else None,
        )
    except (KeyError, TypeError) as error:
        raise TableError(f"{path}: not a block of replicates ({error}); {sealed.REMEDY}") from None
    for name, stacked in tensors.items():
        if stacked.shape[:1] != (len(block.seeds),):
            raise TableError(
                f"{path}: {name} has shape {tuple(stacked.shape)} for {len(block.seeds)} seeds; "
                f"{sealed.REMEDY}"
            )
    return block


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Any) -> None:
    """Write tensors, with JSON metadata, as one sealed file, all of it or nothing."""
    arrays = {name: value.detach().cpu().numpy() for name, value in tensors.items()}
    sealed.write(path, arrays, metadata)


def load_tensors(path: str | Path) -> tuple[dict[str, Tensor], Any]:
    """Read what ``save_tensors`` wrote; raises ``TableError`` for a damaged or foreign file."""
    arrays, metadata = sealed.read(path)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}, metadata


def write_rows(path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV with the given columns, all of it or nothing."""
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
