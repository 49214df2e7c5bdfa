"""A block of dense replicates pruned by a bundle of methods at some ratios, and fine-tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recall_distortion import data, networks
from recall_distortion.columns import SPARSITY_COLUMNS
from recall_distortion.compression.masks import Sparsity, keep_fraction
from recall_distortion.compression.methods import loss_gradient, method_masks, needs_gradient
from recall_distortion.errors import TableError
from recall_distortion.logs import progress
from recall_distortion.replicates import (
    Block,
    Failure,
    load_block,
    load_tensors,
    save_tensors,
    software,
    stack,
    write_rows,
)
from recall_distortion.training import (
    HISTORY_COLUMNS,
    DeviceImages,
    NonFiniteLoss,
    Run,
    TrainingImages,
    Unfinished,
    choose,
    fit_runs,
)

UNPRUNED = "1"  # the ratio of networks that nothing is taken from


@dataclass(frozen=True)
class Compressed:
    """One method's networks of a block at one ratio.

    ``masks`` maps prunable weights to booleans [K, ...] for ``mask_seeds`` (none for the control);
    ``finetuned`` maps parameters and buffers to [K', ...] for ``seeds``, the replicates whose
    fine-tuning succeeded. ``facts`` are those of the fine-tuning: device, engine and software.
    """

    method: str
    ratio: str
    mask_seeds: list[int]
    masks: dict[str, Tensor]
    seeds: list[int]
    finetuned: dict[str, Tensor]
    failures: list[Failure]
    facts: dict[str, Any]


@dataclass(frozen=True)
class _Run:
    """A network to fine-tune: a replicate under a method's masks at a ratio, or under none."""

    method: str
    ratio: str
    seed: int
    masks: dict[str, Tensor] | None

    @property
    def cell(self) -> tuple[str, str]:
        return self.method, self.ratio


def compress_block(
    data_path: str | Path,
    dense_path: str | Path,
    weights_path: str | Path,
    sparsity_path: str | Path,
    history_path: str | Path,
    *,
    dataset: str,
    ratios: Sequence[str],
    methods: Mapping[str, Mapping[str, Any] | None],
    count: str,
    recipe: Mapping[str, Any],
    selection: str,
    engine: Mapping[str, Any] | None = None,
    device: str = "cpu",
    unfinished: str | Path | None = None,
) -> None:
    """Prune a block's dense networks by each method at each ratio, fine-tune and write them.

    ``methods`` maps names to definitions as ``Study.compression_parameters`` gives them; the
    control's is None: nothing is pruned and the same fine-tuning follows. The control alone is run
    at ratio ``1``, and the other methods alone at the others. A replicate whose loss is not finite
    is left out and recorded as a failure; the others go on. ``engine`` and ``unfinished`` are as in
    ``train_block``.
    """
    prepared = data.load(data_path)
    dense = load_block(dense_path)
    images = TrainingImages.of(
        prepared, selection=selection, device=device, augmentation=recipe["augmentation"]
    )
    network = networks.build(dense.architecture, channels=dense.channels, classes=dense.classes)
    network = network.to(device, memory_format=torch.channels_last)
    runs = _prune(network, dense, images.fit, methods, ratios, count)
    states: dict[tuple[str, str], dict[int, dict[str, Tensor]]] = {run.cell: {} for run in runs}
    failures: list[Failure] = []
    history: list[dict[str, Any]] = []
    way = choose(dense.architecture, prepared.train_images.shape[2], device, **(engine or {}))
    report = progress(
        [f"{run.method} at {run.ratio}, seed {run.seed}" for run in runs],
        sum(phase["epochs"] for phase in recipe["phases"]),
    )
    kept = Unfinished(
        unfinished,
        {
            "data": Path(data_path),
            "architecture": dense.architecture,
            "selection": selection,
            "device": str(device),
        },
    )
    fitted = fit_runs(
        network,
        images,
        recipe,
        [Run(run.seed, dense.state(run.seed), run.masks) for run in runs],
        engine=way,
        stage="finetuning",
        report=report,
        unfinished=kept,
    )
    for run, found in zip(runs, fitted, strict=True):
        if isinstance(found, NonFiniteLoss):
            what = f"{run.method} at {run.ratio}"
            print(f"error: {what}: {found}; this replicate is left out", flush=True)
            failures.append(Failure(*run.cell, "finetuning", run.seed, str(found)))
            continue
        states[run.cell][run.seed] = found.state
        history += [{"method": run.method, "ratio": run.ratio, **row} for row in found.history]

    counts = networks.counts(network)
    place = {"dataset": dataset, "architecture": dense.architecture}
    sparsity = [
        {
            **place,
            "method": run.method,
            "ratio": run.ratio,
            "seed": run.seed,
            **asdict(Sparsity.of(run.masks, counts, count)),
        }
        for run in runs
        if run.masks is not None
    ]
    write_rows(sparsity_path, SPARSITY_COLUMNS, sparsity)
    write_rows(history_path, HISTORY_COLUMNS, history)
    tensors: dict[str, Tensor] = {}
    cells = []
    for cell, fitted_states in states.items():
        masks = {run.seed: run.masks for run in runs if run.cell == cell and run.masks is not None}
        for part, stacked in (("mask", masks), ("finetuned", fitted_states)):
            for name, value in stack(list(stacked.values())).items():
                tensors[f"{_prefix(part, *cell)}{name}"] = value
        method, ratio = cell
        cells.append(
            {
                "method": method,
                "ratio": ratio,
                "mask_seeds": list(masks),
                "seeds": list(fitted_states),
            }
        )
    metadata = {
        "architecture": dense.architecture,
        "methods": dict(methods),
        "cells": cells,
        "failures": [vars(failure) for failure in failures],
        "facts": {"device": str(device), "engine": str(way), **software()},
    }
    save_tensors(weights_path, tensors, metadata)
    kept.remove()


def _prune(
    network: nn.Module,
    dense: Block,
    images: DeviceImages,
    methods: Mapping[str, Mapping[str, Any] | None],
    ratios: Sequence[str],
    count: str,
) -> list[_Run]:
    """Return what is to be fine-tuned: each replicate by each method at each of its ratios.

    A replicate's gradient is computed once for all methods and ratios, and a method's scores once
    for all ratios.
    """
    fractions = {
        ratio: keep_fraction(network, float(ratio), count) for ratio in ratios if ratio != UNPRUNED
    }
    runs = []
    for seed in dense.seeds:
        network.load_state_dict(dense.state(seed))
        gradients: dict[int, dict[str, Tensor]] = {}  # by number of examples
        for name, method in methods.items():
            if method is None:
                runs += [_Run(name, UNPRUNED, seed, None)] if UNPRUNED in ratios else []
                continue
            if not fractions:
                continue
            examples = method["gradient_examples"]
            if needs_gradient(method) and examples not in gradients:
                gradients[examples] = loss_gradient(network, images, examples, seed=seed)
            found = method_masks(
                network, method, list(fractions.values()), gradients.get(examples), seed=seed
            )
            runs += [
                _Run(name, ratio, seed, masks)
                for ratio, masks in zip(fractions, found, strict=True)
            ]
    return runs


def load_compressed(path: str | Path) -> list[Compressed]:
    """Read what ``compress_block`` wrote, one entry for each method and ratio."""
    tensors, metadata = load_tensors(path)
    try:
        return [
            Compressed(
                cell["method"],
                cell["ratio"],
                cell["mask_seeds"],
                _under(tensors, _prefix("mask", cell["method"], cell["ratio"])),
                cell["seeds"],
                _under(tensors, _prefix("finetuned", cell["method"], cell["ratio"])),
                [
                    Failure(**failure)
                    for failure in metadata["failures"]
                    if (failure["method"], failure["ratio"]) == (cell["method"], cell["ratio"])
                ],
                metadata["facts"],
            )
            for cell in metadata["cells"]
        ]
    except (KeyError, TypeError) as error:
        raise TableError(
            f"{path}: not a file of compressed replicates ({error}); delete the file and run the "
            "study again"
        ) from None


def _prefix(part: str, method: str, ratio: str) -> str:
    return f"{part}/{method}/{ratio}/"


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
