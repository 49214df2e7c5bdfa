"""A block of dense replicates pruned by a bundle of methods at some ratios, and fine-tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recall_distortion import networks
from recall_distortion.compression.pruning.masks import keep_fraction
from recall_distortion.compression.pruning.selection import (
    loss_gradient,
    method_masks,
    needs_gradient,
)
from recall_distortion.compression.pruning.sparsity import Sparsity
from recall_distortion.data.prepared import load
from recall_distortion.system import sealed
from recall_distortion.system.errors import TableError
from recall_distortion.system.logs import progress
from recall_distortion.training import (
    HISTORY_COLUMNS,
    DeviceImages,
    Engine,
    NonFiniteLoss,
    Run,
    TrainingImages,
    Unfinished,
    choose,
    fit_runs,
)
from recall_distortion.training.replicates import (
    FINE_TUNING,
    Block,
    Failure,
    load_block,
    load_tensors,
    save_tensors,
    software,
    stack,
    write_rows,
)
from recall_distortion.vocabulary import CELL, RETRAINED, UNCOMPRESSED_TEXT

SPARSITY_COLUMNS = (*CELL, "seed", *(field.name for field in fields(Sparsity)))

# What a file's tensors lie under.
_MASK = "mask"
_EARLIER = "finetuned/"  # what the fine-tuned networks lay under before


@dataclass(frozen=True)
class Compressed:
    """One method's networks of a block at one ratio.

    ``masks`` maps prunable weights to booleans [K, ...] for ``mask_seeds`` (none for the control);
    ``retrained`` maps parameters and buffers to [K', ...] for ``seeds``, the replicates whose
    fine-tuning succeeded. ``facts`` are those of the fine-tuning: device, engine and software.
    """

    method: str
    ratio: str
    mask_seeds: list[int]
    masks: dict[str, Tensor]
    seeds: list[int]
    retrained: dict[str, Tensor]
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


@dataclass
class _Fitted:
    """What fine-tuning gave: states by seed for each method and ratio, failures, the history."""

    states: dict[tuple[str, str], dict[int, dict[str, Tensor]]]
    failures: list[Failure]
    history: list[dict[str, Any]]


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
    prepared = load(data_path)
    dense = load_block(dense_path)
    images = TrainingImages.of(
        prepared, selection=selection, device=device, augmentation=recipe["augmentation"]
    )
    network = networks.build(dense.architecture, channels=dense.channels, classes=dense.classes)
    network = network.to(device, memory_format=torch.channels_last)
    runs = _prune(network, dense, images.fit, methods, ratios, count)
    way = choose(dense.architecture, prepared.train_images.shape[2], device, **(engine or {}))
    facts = {
        "data": Path(data_path),
        "architecture": dense.architecture,
        "selection": selection,
        "device": str(device),
    }
    kept = Unfinished(unfinished, facts)
    fitted = _fine_tune(network, images, recipe, dense, runs, way, kept)
    place = {"dataset": dataset, "architecture": dense.architecture}
    sparsity = _sparsity(runs, network, count)
    write_rows(sparsity_path, SPARSITY_COLUMNS, [{**place, **row} for row in sparsity])
    write_rows(history_path, HISTORY_COLUMNS, fitted.history)
    tensors, cells = _stacked(runs, fitted.states)
    metadata = {
        "architecture": dense.architecture,
        "methods": dict(methods),
        "cells": cells,
        "failures": [vars(failure) for failure in fitted.failures],
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
        ratio: keep_fraction(network, float(ratio), count)
        for ratio in ratios
        if ratio != UNCOMPRESSED_TEXT
    }
    runs = []
    for seed in dense.seeds:
        network.load_state_dict(dense.state(seed))
        gradients: dict[int, dict[str, Tensor]] = {}  # by number of examples
        for name, method in methods.items():
            if method is None:
                if UNCOMPRESSED_TEXT in ratios:
                    runs.append(_Run(name, UNCOMPRESSED_TEXT, seed, None))
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


def _fine_tune(
    network: nn.Module,
    images: TrainingImages,
    recipe: Mapping[str, Any],
    dense: Block,
    runs: Sequence[_Run],
    way: Engine,
    unfinished: Unfinished,
) -> _Fitted:
    """Return what the fine-tuning of all runs gives."""
    report = progress(
        [f"{run.method} at {run.ratio}, seed {run.seed}" for run in runs],
        sum(phase["epochs"] for phase in recipe["phases"]),
    )
    results = fit_runs(
        network,
        images,
        recipe,
        [Run(run.seed, dense.state(run.seed), run.masks) for run in runs],
        engine=way,
        stage=FINE_TUNING,
        report=report,
        unfinished=unfinished,
    )
    fitted = _Fitted({run.cell: {} for run in runs}, [], [])
    for run, found in zip(runs, results, strict=True):
        if isinstance(found, NonFiniteLoss):
            what = f"{run.method} at {run.ratio}"
            print(f"error: {what}: {found}; this replicate is left out", flush=True)
            fitted.failures.append(Failure(*run.cell, FINE_TUNING, run.seed, str(found)))
            continue
        fitted.states[run.cell][run.seed] = found.state
        cell = {"method": run.method, "ratio": run.ratio}
        fitted.history += [{**cell, **row} for row in found.history]
    return fitted


def _sparsity(runs: Sequence[_Run], network: nn.Module, count: str) -> list[dict[str, Any]]:
    """Return what each run's masks leave, the control's runs apart."""
    return [
        {
            "method": run.method,
            "ratio": run.ratio,
            "seed": run.seed,
            **asdict(Sparsity.of(run.masks, network, count)),
        }
        for run in runs
        if run.masks is not None
    ]


def _stacked(
    runs: Sequence[_Run], states: Mapping[tuple[str, str], Mapping[int, dict[str, Tensor]]]
) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Return the tensors of a file, and what its metadata say of each method and ratio."""
    tensors: dict[str, Tensor] = {}
    cells = []
    for cell, fitted in states.items():
        masks = {run.seed: run.masks for run in runs if run.cell == cell and run.masks is not None}
        for part, stacked in ((_MASK, masks), (RETRAINED, fitted)):
            for name, value in stack(list(stacked.values())).items():
                tensors[f"{_prefix(part, *cell)}{name}"] = value
        method, ratio = cell
        seeds = {"mask_seeds": list(masks), "seeds": list(fitted)}
        cells.append({"method": method, "ratio": ratio, **seeds})
    return tensors, cells


def load_compressed(path: str | Path) -> list[Compressed]:
    """Read what ``compress_block`` wrote, one entry for each method and ratio."""
    tensors, metadata = load_tensors(path)
    if any(name.startswith(_EARLIER) for name in tensors):
        raise TableError(f"{path}: an earlier version wrote it; {sealed.REMEDY}, which remakes it")
    try:
        return [_compressed(tensors, metadata, cell) for cell in metadata["cells"]]
    except (KeyError, TypeError) as error:
        raise TableError(
            f"{path}: not a file of compressed replicates ({error}); {sealed.REMEDY}"
        ) from None


def _compressed(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], cell: Mapping[str, Any]
) -> Compressed:
    method, ratio = cell["method"], cell["ratio"]
    failures = [Failure(**failure) for failure in metadata["failures"]]
    return Compressed(
        method,
        ratio,
        cell["mask_seeds"],
        _under(tensors, _prefix(_MASK, method, ratio)),
        cell["seeds"],
        _under(tensors, _prefix(RETRAINED, method, ratio)),
        [failure for failure in failures if (failure.method, failure.ratio) == (method, ratio)],
        metadata["facts"],
    )


def _prefix(part: str, method: str, ratio: str) -> str:
    return f"{part}/{method}/{ratio}/"


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
