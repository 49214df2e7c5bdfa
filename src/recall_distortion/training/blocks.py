"""The dense networks of a block of seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from recall_distortion import networks
from recall_distortion.data.prepared import load
from recall_distortion.system.errors import TrainingError
from recall_distortion.system.logs import progress
from recall_distortion.training.brought import read_all
from recall_distortion.training.course import Fitted, NonFiniteLoss, Run
from recall_distortion.training.images import TrainingImages
from recall_distortion.training.loop import fit_runs
from recall_distortion.training.plain import plain
from recall_distortion.training.randomness import generator
from recall_distortion.training.recipe import TrainingPlan
from recall_distortion.training.replicates import (
    TRAINING,
    Block,
    Failure,
    copy_state,
    save_block,
    software,
    stack,
    write_rows,
)
from recall_distortion.training.unfinished import Unfinished
from recall_distortion.training.vectorizable import chosen
from recall_distortion.vocabulary import DENSE, UNCOMPRESSED_TEXT

HISTORY_COLUMNS = (
    "method",
    "ratio",
    "seed",
    "phase",
    "epoch",
    "learning_rate",
    "training_loss",
    "validation_loss",
    "validation_accuracy",
    "selected",
)


def train_block(
    data_path: str | Path,
    weights_path: str | Path,
    history_path: str | Path,
    plan: TrainingPlan,
    *,
    architecture: str,
    seeds: Sequence[int],
    device: str = "cpu",
    unfinished: str | Path | None = None,
) -> None:
    """Write the dense networks of ``seeds``, trained or as they were brought, and their history.

    ``unfinished`` is a folder for half-trained networks, from which a killed job's training goes
    on; it is removed at the end. A replicate whose loss is not finite is left out and recorded as a
    failure. Raises ``TrainingError`` where every one of them failed.
    """
    prepared = load(data_path)
    images = TrainingImages.of(
        prepared, selection=plan.selection, device=device, augmentation=plan.recipe.augmentation
    )
    channels, classes = prepared.train_images.shape[1], len(prepared.class_names)
    block = Block(architecture, channels, classes, [], {}, network=plan.network)
    network = networks.on_device(block.module(prepared.train_images.shape[2:]), device)
    if plan.network is not None and plan.network.weights:
        read_all(network, block, seeds)
        write_rows(history_path, HISTORY_COLUMNS, [])
        save_block(weights_path, block)
        return
    way = chosen(network, prepared.train_images.shape[2:], device, plan.engine)
    runs = []
    for seed in seeds:
        networks.initialize(network, generator(seed, "initialization"))
        runs.append(Run(seed, copy_state(network)))
    report = progress([f"{architecture} seed {seed}" for seed in seeds], plan.recipe.epochs)
    facts = {
        "data": Path(data_path),
        "architecture": architecture,
        "selection": plan.selection,
        "device": str(device),
        "network": plan.network and plain(plan.network),
    }
    kept = Unfinished(unfinished, facts)
    fitted = fit_runs(
        network, images, plan.recipe, runs, engine=way, report=report, unfinished=kept
    )
    trained, failures = _parted(architecture, seeds, fitted)
    if not trained:
        kept.remove()
        _refuse(architecture, failures)
    cell = {"method": DENSE, "ratio": UNCOMPRESSED_TEXT}
    history = [{**cell, **row} for found in trained.values() for row in found.history]
    write_rows(history_path, HISTORY_COLUMNS, history)
    block.seeds, block.failures = list(trained), failures
    block.tensors = stack([found.state for found in trained.values()])
    block.facts = {"device": str(device), "engine": str(way), **software()}
    save_block(weights_path, block)
    kept.remove()


def _refuse(architecture: str, failures: Sequence[Failure]) -> NoReturn:
    raise TrainingError(
        f"{architecture}: no replicate of seeds {failures[0].seed} to {failures[-1].seed} could be "
        f"trained; the first: {failures[0].reason}. Try a smaller learning rate"
    )


def _parted(
    architecture: str, seeds: Sequence[int], fitted: Iterable[Fitted | NonFiniteLoss]
) -> tuple[dict[int, Fitted], list[Failure]]:
    """Return what was trained, by seed, and what was not."""
    trained, failures = {}, []
    for seed, found in zip(seeds, fitted, strict=True):
        if isinstance(found, NonFiniteLoss):
            print(f"error: {architecture}: {found}; this replicate is left out", flush=True)
            failures.append(Failure(DENSE, UNCOMPRESSED_TEXT, TRAINING, seed, str(found)))
        else:
            trained[seed] = found
    return trained, failures
