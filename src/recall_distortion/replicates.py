"""K networks of one architecture as stacked tensors [K, ...], their seeds, and their files.

A replicate is one seed. Each of its random choices draws from a generator of its own, derived from
the seed and the choice's purpose, so that a replicate's result depends neither on the replicates
that share its job nor on what was drawn before.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from recall_distortion import checksums
from recall_distortion.errors import TableError
from recall_distortion.files import replacing, unreadable, unwritable


def generator(seed: int, purpose: str) -> torch.Generator:
    """Return a CPU generator for one purpose of one replicate.

    The purposes' streams are independent: the generator's seed is a hash of both. Draws are made
    on the CPU whatever the device, so that a GPU sees the same initial weights and data order.
    """
    digest = hashlib.sha256(f"{purpose}/{seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))


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
    """Replicates of one architecture: ``tensors`` maps a name to [K, ...], K = len(seeds)."""

    architecture: str
    channels: int
    classes: int
    seeds: list[int]
    tensors: dict[str, Tensor]
    failures: list[Failure] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

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
    found = {"torch": torch.__version__}
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
        )
    except (KeyError, TypeError) as error:
        raise TableError(f"{path}: not a block of replicates ({error}); {_REMEDY}") from None
    for name, stacked in tensors.items():
        if stacked.shape[:1] != (len(block.seeds),):
            raise TableError(
                f"{path}: {name} has shape {tuple(stacked.shape)} for {len(block.seeds)} seeds; "
                f"{_REMEDY}"
            )
    return block


_REMEDY = "delete the file and run the study again"


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Any) -> None:
    """Write tensors, with JSON metadata, as one sealed safetensors file, all of it or nothing."""
    with replacing(path) as temporary:
        try:
            save_file(
                {name: value.contiguous() for name, value in tensors.items()},
                temporary,
                metadata={
                    "recall_distortion": json.dumps(metadata),
                    checksums.KEY: checksums.PLACEHOLDER,
                },
            )
        except SafetensorError as error:  # an error of the system is one of these, too
            raise unwritable(path, error) from error
        checksums.seal(temporary)


def load_tensors(path: str | Path) -> tuple[dict[str, Tensor], Any]:
    """Read what ``save_tensors`` wrote; raises ``TableError`` for a damaged or foreign file."""
    try:
        checksums.verify(path)
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {})["recall_distortion"])
            # keys() of a safe_open file is a method call of its own, not a mapping's.
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except FileNotFoundError:
        raise TableError(f"{path}: no such file; run the study again") from None
    except KeyError:
        raise TableError(f"{path}: not a file of this project; {_REMEDY}") from None
    except (SafetensorError, ValueError, OSError) as error:
        if why := unreadable(path, error):
            raise TableError(why) from None
        raise TableError(f"{path}: damaged ({error}); {_REMEDY}") from None


def write_rows(path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV with the given columns, all of it or nothing."""
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
