"""A block of dense replicates pruned by a bundle of methods at some ratios, and retrained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from recall_distortion import networks
from recall_distortion.compression import schedules
from recall_distortion.compression.controls import TRANSFER, TRANSFER_SHUFFLED, WHILE_TRAINED
from recall_distortion.compression.events import EVENT_COLUMNS, Watch
from recall_distortion.compression.files import save_compressed
from recall_distortion.compression.methods import CompressionPlan
from recall_distortion.compression.pruning.sparsity import Sparsity
from recall_distortion.compression.retraining import Retraining, prepare, recipe_of
from recall_distortion.compression.rounds import Results, start, walk_all
from recall_distortion.data.prepared import PreparedData, load
from recall_distortion.training import (
    HISTORY_COLUMNS,
    DeviceImages,
    Engine,
    TrainingImages,
    Unfinished,
)
from recall_distortion.training.engines import choose_for_evaluation
from recall_distortion.training.plain import plain
from recall_distortion.training.replicates import Block, load_block, software, write_rows
from recall_distortion.training.vectorizable import chosen
from recall_distortion.vocabulary import CELL, Panel

SPARSITY_COLUMNS = (*CELL, "seed", *(field.name for field in fields(Sparsity)))


@dataclass(frozen=True)
class Paths:
    """What ``compress_block`` reads, the data and the dense block, and the files that it writes.

    ``events`` is None where nobody asks for them.

    Where methods take tickets from another data set, ``source`` is the file of its data, needed for
    weights that were trained on these, and ``tickets`` are those of the networks with the masks.
    """

    data: str | Path
    dense: str | Path
    weights: str | Path
    sparsity: str | Path
    history: str | Path
    events: str | Path | None = None
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
        schedule = plan.schedule(name)
        way = schedule if schedule in WHILE_TRAINED else plan.retraining(name)
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
    pruned and the same retraining follows. What is pruned while it is trained begins with initial
    weights, for the seeds of the dense networks. The networks are ``panel``'s, which the table of
    sparsities names. A replicate whose loss is not finite is left out and recorded as a failure.
    ``unfinished`` is as in ``train_block``. Raises ``NetworkError`` for a ratio out of reach.
    """
    prepared = load(paths.data)
    dense = load_block(paths.dense)
    images: dict[tuple[str, ...], TrainingImages] = {}  # by how they are varied
    image = prepared.train_images.shape[2:]
    network = networks.on_device(dense.module(image), device)
    way = chosen(network, image, device, plan.engine)
    facts = {
        **paths.read(),
        "architecture": dense.architecture,
        "selection": plan.selection,
        "device": str(device),
        "network": dense.network and plain(dense.network),
    }
    kept = Unfinished(unfinished, facts)
    watch, tickets = _watch(prepared, dense, device), _tickets(paths, plan, device)
    found, here = Results({}), kept
    for number, (name, own) in enumerate(_by_retraining(plan, ratios).items()):
        here = here.following(name) if number else here
        varied = recipe_of(plan, next(iter(own))).augmentation
        if varied not in images:
            images[varied] = TrainingImages.of(
                prepared, selection=plan.selection, device=device, augmentation=varied
            )
        inputs = network, images[varied], plan
        if name in WHILE_TRAINED:
            found.add(schedules.load_training(name)(*inputs, own, dense.seeds, way, here, watch))
            continue
        again = _begin(name, paths, *inputs, dense.seeds, way, here)
        here = here.following("rewound") if again.starts else here
        walks = start(network, dense, plan, own, image, again)
        if paths.tickets or paths.source:
            walks, known = _transfers().take(walks, plan, own, dense.seeds, tickets, again)
            found.add(known)
        found.add(walk_all(*inputs, walks, again, way, here, watch))
    _write_tables(paths, panel, found)
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


def _watch(prepared: PreparedData, dense: Block, device: str) -> Watch:
    """Return what counts the test images that networks get right at their events."""
    images = DeviceImages(
        prepared.test_images, prepared.test_labels, prepared.mean, prepared.std, device=device
    )
    return Watch(images, dense.classes, choose_for_evaluation(dense.architecture, device))


def _write_tables(paths: Paths, panel: Panel, found: Results) -> None:
    named = panel._asdict()
    write_rows(paths.sparsity, SPARSITY_COLUMNS, [named | row for row in found.sparsity])
    write_rows(paths.history, HISTORY_COLUMNS, found.history)
    if paths.events is not None:
        write_rows(paths.events, EVENT_COLUMNS, [named | row for row in found.events])
