"""A block of dense replicates pruned by a bundle of methods at one ratio, and fine-tuned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recall_distortion import data, networks
from recall_distortion.columns import SPARSITY_COLUMNS
from recall_distortion.compression.masks import Sparsity, keep_fraction
from recall_distortion.compression.methods import loss_gradient, method_masks, needs_gradient
from recall_distortion.errors import TableError
from recall_distortion.logs import progress
from recall_distortion.replicates import (
    Failure,
    load_block,
    load_tensors,
    save_tensors,
    software,
    stack,
    write_rows,
)
from recall_distortion.training import HISTORY_COLUMNS, TrainingImages, fit
from recall_distortion.training.loop import NonFiniteLoss


@dataclass(frozen=True)
class Compressed:
    """One method's networks of a block at one ratio.

    ``masks`` maps prunable weights to booleans [K, ...] for ``mask_seeds`` (none for the control);
    ``finetuned`` maps parameters and buffers to [K', ...] for ``seeds``, the replicates whose
    fine-tuning succeeded.
    """

    method: str
    ratio: str
    mask_seeds: list[int]
    masks: dict[str, Tensor]
    seeds: list[int]
    finetuned: dict[str, Tensor]
    failures: list[Failure]


def compress_block(
    data_path: str | Path,
    dense_path: str | Path,
    weights_path: str | Path,
    sparsity_path: str | Path,
    history_path: str | Path,
    *,
    dataset: str,
    ratio: str,
    methods: Mapping[str, Mapping[str, Any] | None],
    count: str,
    recipe: Mapping[str, Any],
    selection: str,
    device: str = "cpu",
) -> None:
    """Prune a block's dense networks by each method at one ratio, fine-tune and write them.

    ``methods`` maps names to definitions as ``Study.compression_parameters`` gives them; the
    control's is None: nothing is pruned and the same fine-tuning follows. A replicate whose loss is
    not finite is left out and recorded as a failure; the others go on.
    """
    prepared = data.load(data_path)
    dense = load_block(dense_path)
    images = TrainingImages.of(
        prepared, selection=selection, device=device, augmentation=recipe["augmentation"]
    )
    network = networks.build(dense.architecture, channels=dense.channels, classes=dense.classes)
    network = network.to(device, memory_format=torch.channels_last)
    counts = networks.counts(network)
    epochs = sum(phase["epochs"] for phase in recipe["phases"])
    masks: dict[str, list[dict[str, Tensor]]] = {name: [] for name in methods}
    states: dict[str, list[dict[str, Tensor]]] = {name: [] for name in methods}
    seeds: dict[str, list[int]] = {name: [] for name in methods}
    failures: list[Failure] = []
    history: list[dict[str, Any]] = []
    sparsity: list[dict[str, Any]] = []
    for number, seed in enumerate(dense.seeds, start=1):
        state = dense.state(seed)
        gradients: dict[int, dict[str, Tensor]] = {}  # by number of examples
        for name, method in methods.items():
            network.load_state_dict(state)
            mask = None
            if method is not None:
                examples = method["gradient_examples"]
                if needs_gradient(method) and examples not in gradients:
                    gradients[examples] = loss_gradient(network, images.fit, examples, seed=seed)
                fraction = keep_fraction(network, float(ratio), count)
                mask = method_masks(network, method, fraction, gradients.get(examples), seed=seed)
                masks[name].append(mask)
                left = Sparsity.of(mask, counts, count)
                cell = {"dataset": dataset, "architecture": dense.architecture, "method": name}
                sparsity.append({**cell, "ratio": ratio, "seed": seed, **asdict(left)})
            label = f"{name} at {ratio}, seed {seed} ({number} of {len(dense.seeds)})"
            try:
                fitted = fit(
                    network,
                    images,
                    recipe,
                    seed=seed,
                    stage="finetuning",
                    masks=mask,
                    report=progress(label, epochs),
                )
            except NonFiniteLoss as error:
                print(f"error: {name} at {ratio}: {error}; this replicate is left out", flush=True)
                failures.append(Failure(name, ratio, "finetuning", seed, str(error)))
                continue
            states[name].append(fitted.state)
            seeds[name].append(seed)
            history += [{"method": name, "ratio": ratio, **row} for row in fitted.history]

    tensors: dict[str, Tensor] = {}
    for name in methods:
        tensors |= {f"mask/{name}/{key}": value for key, value in stack(masks[name]).items()}
        tensors |= {f"finetuned/{name}/{key}": value for key, value in stack(states[name]).items()}
    write_rows(sparsity_path, SPARSITY_COLUMNS, sparsity)
    write_rows(history_path, HISTORY_COLUMNS, history)
    metadata = {
        "architecture": dense.architecture,
        "ratio": ratio,
        "methods": {name: method for name, method in methods.items()},
        "mask_seeds": {name: dense.seeds if masks[name] else [] for name in methods},
        "seeds": seeds,
        "failures": [vars(failure) for failure in failures],
        "facts": {"device": str(device), "engine": "sequential", **software()},
    }
    save_tensors(weights_path, tensors, metadata)


def load_compressed(path: str | Path) -> list[Compressed]:
    """Read what ``compress_block`` wrote, one entry a method."""
    tensors, metadata = load_tensors(path)
    try:
        return [
            Compressed(
                name,
                metadata["ratio"],
                metadata["mask_seeds"][name],
                _under(tensors, f"mask/{name}/"),
                metadata["seeds"][name],
                _under(tensors, f"finetuned/{name}/"),
                [Failure(**f) for f in metadata["failures"] if f["method"] == name],
            )
            for name in metadata["methods"]
        ]
    except (KeyError, TypeError) as error:
        raise TableError(
            f"{path}: not a file of compressed replicates ({error}); delete the file and run the "
            "study again"
        ) from None


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
