"""A block of dense replicates pruned by a bundle of methods at some ratios, and retrained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from recall_distortion import networks
from recall_distortion.compression import schedules
from recall_distortion.compression.controls import GRADUAL, TRANSFER, TRANSFER_SHUFFLED
from recall_distortion.compression.files import save_compressed
from recall_distortion.compression.methods import CompressionPlan
from recall_distortion.compression.pruning.sparsity import Sparsity
from recall_distortion.compression.retraining import Retraining, prepare, recipe_of
from recall_distortion.compression.rounds import Results, start, walk_all
from recall_distortion.data.prepared import load
from recall_distortion.training import (
    HISTORY_COLUMNS,
    Engine,
    TrainingImages,
    Unfinished,
    choose,
)
from recall_distortion.training.plain import plain
from recall_distortion.training.replicates import load_block, software, write_rows
from recall_distortion.vocabulary import CELL, Panel

SPARSITY_COLUMNS = (*CELL, "seed", *(field.name for field in fields(Sparsity)))


@dataclass(frozen=True)
class Paths:
    """What ``compress_block`` reads, the data and the dense block, and the files that it writes.

    Where methods take tickets from another data set, ``source`` is the file of its data, needed for
    weights that were trained on these, and ``tickets`` are those of the networks with the masks.
    """

    data: str | Path
    dense: str | Path
    weights: str | Path
    sparsity: str | Path
    history: str | Path
    source: str | Path | None = None
    tickets: Sequence[str | Path] = ()

    def read(self) -> dict[str, Path]:
        """Return the files that decide what is trained, beside the dense networks."""
        of_source = [self.source] if self.source else []
        others = enumerate((*of_source, *self.tickets))
        return {"data": Path(self.data), **{f"source {n}": Path(name) for n, name in others}}


def _by_retraining(
    plan: CompressionPlan, ratios: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Sequence[str]]]:
    """Return the ratios by method, apart by what is trained together."""
    found: dict[str, dict[str, Sequence[str]]] = {}
    for name, own in ratios.items():
        way = GRADUAL if plan.schedule(name) == GRADUAL else plan.retraining(name)
        found.setdefault(way, {})[name] = own
    return found


def compress_block(
    paths: Paths,
    plan: CompressionPlan,
    *,
    panel: Panel,
    ratios: Mapping[str, Sequence[str]],
    device: str = "cpu",
    unfinished: str | Path | None = None,
) -> None:
    """Prune a block's dense networks by each method at each of its ratios, retrain and write them.

    ``ratios`` are by the method's name, from small to large; a control's is ``1``: nothing is
    pruned and the same retraining follows. What is pruned gradually is trained from weights of its
    own, for the seeds of the dense networks. The networks are those of ``panel``, which the table
    of sparsities names. A replicate whose loss is not finite is left out and recorded as a failure;
    the others go on. ``unfinished`` is as in ``train_block``. Raises ``NetworkError`` for a ratio
    that cannot be reached.
    """
    prepared = load(paths.data)
    dense = load_block(paths.dense)
    images: dict[tuple[str, ...], TrainingImages] = {}  # by how they are varied
    network = networks.build(dense.architecture, channels=dense.channels, classes=dense.classes)
    network = network.to(memory_format=torch.channels_last).to(device)
    way = choose(dense.architecture, prepared.train_images.shape[2], device, **vars(plan.engine))
    facts = {
        **paths.read(),
        "architecture": dense.architecture,
        "selection": plan.selection,
        "device": str(device),
    }
    kept = Unfinished(unfinished, facts)
    found, here, tickets = Results({}), kept, _tickets(paths, plan, device)
    for number, (name, own) in enumerate(_by_retraining(plan, ratios).items()):
        here = here.following(name) if number else here
        varied = recipe_of(plan, next(iter(own))).augmentation
        if varied not in images:
            images[varied] = TrainingImages.of(
                prepared, selection=plan.selection, device=device, augmentation=varied
            )
        inputs = network, images[varied], plan
        if name == GRADUAL:
            found.add(schedules.load_training(name)(*inputs, own, dense.seeds, way, here))
            continue
        again = _begin(name, paths, *inputs, dense.seeds, way, here)
        here = here.following("rewound") if again.starts else here
        walks = start(network, dense, plan, own, prepared.train_images.shape[2:], again)
        if paths.tickets or paths.source:
            walks, known = _transfers().take(walks, plan, own, dense.seeds, tickets, again)
            found.add(known)
        found.add(walk_all(*inputs, walks, again, way, here))
    sparsity = [panel._asdict() | row for row in found.sparsity]
    write_rows(paths.sparsity, SPARSITY_COLUMNS, sparsity)
    write_rows(paths.history, HISTORY_COLUMNS, found.history)
    metadata = {
        "architecture": dense.architecture,
        "methods": {name: method and plain(method) for name, method in plan.methods.items()},
        "facts": {"device": str(device), "engine": str(way), **software()},
    }
    save_compressed(paths.weights, found.made, found.failures, metadata)
    kept.remove()


def _transfers() -> ModuleType:
    """Return what is done with another data set's tickets, by name: no other job depends on it."""
    return import_module("recall_distortion.compression.transfers")


def _tickets(paths: Paths, plan: CompressionPlan, device: str) -> Any:
    """Return the tickets of another data set that methods take."""
    wanted = {method.ticket for method in plan.methods.values() if method}
    return _transfers().read_tickets(paths.tickets, wanted, device) if paths.tickets else {}


def _begin(
    name: str,
    paths: Paths,
    network: nn.Module,
    images: TrainingImages,
    plan: CompressionPlan,
    seeds: Sequence[int],
    way: Engine,
    unfinished: Unfinished,
) -> Retraining:
    """Return a retraining by its name, with what it begins with for each seed."""
    if name in (TRANSFER, TRANSFER_SHUFFLED):
        device = str(next(network.parameters()).device)
        found: Retraining = _transfers().prepare(
            name, network, paths.source, plan, seeds, device, unfinished
        )
        return found
    return prepare(name, network, images, plan, seeds, way, unfinished)
