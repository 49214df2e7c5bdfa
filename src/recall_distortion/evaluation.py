"""From replicates and a test set to predictions, one file per block and bundle of methods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recall_distortion import data, networks
from recall_distortion.compression import load_compressed
from recall_distortion.replicates import Block, load_block, save_tensors, software
from recall_distortion.training import DeviceImages, Engine, choose
from recall_distortion.training.loop import evaluation_batch
from recall_distortion.training.stacks import split


def evaluate_block(
    data_path: str | Path,
    dense_path: str | Path,
    compressed_paths: Sequence[str | Path],
    predictions_path: str | Path,
    *,
    dataset: str,
    engine: Mapping[str, Any] | None = None,
    device: str = "cpu",
) -> None:
    """Predict the test set by every network of a block and write the predictions.

    Without ``compressed_paths`` the dense networks are evaluated, in state ``dense``; with them the
    pruned networks before (``pruned``) and after fine-tuning (``finetuned``). The file holds
    ``labels`` [M] and under ``<method>/<ratio>/<state>/`` the tensors ``predicted`` [K, M] (int16),
    its ``probability`` and the true class's ``true_probability`` [K, M] (float32). ``engine`` is
    as in ``train_block``, but predictions are always made in single precision.
    """
    prepared = data.load(data_path)
    dense = load_block(dense_path)
    images = DeviceImages(
        prepared.test_images, prepared.test_labels, prepared.mean, prepared.std, device=device
    )
    network = networks.build(dense.architecture, channels=dense.channels, classes=dense.classes)
    network = network.to(device, memory_format=torch.channels_last)
    asked = {**(engine or {}), "precision": "float32"}
    way = choose(dense.architecture, prepared.test_images.shape[2], device, **asked)
    tensors: dict[str, Tensor] = {"labels": torch.from_numpy(prepared.test_labels)}
    seeds: dict[str, list[int]] = {}
    failures: list[dict[str, Any]] = []

    def record(method: str, ratio: str, state: str, part: Sequence[int], states: Iterable) -> None:
        key = f"{method}/{ratio}/{state}"
        seeds[key] = list(part)
        for name, value in _predict(network, list(states), images, way).items():
            tensors[f"{key}/{name}"] = value

    if not compressed_paths:
        record("dense", "1", "dense", dense.seeds, (dense.state(s) for s in dense.seeds))
        failures += [vars(failure) for failure in dense.failures]
    for path in compressed_paths:
        for part in load_compressed(path):
            if part.masks:
                pruned = (
                    _masked(dense.state(seed), part.masks, index)
                    for index, seed in enumerate(part.mask_seeds)
                )
                record(part.method, part.ratio, "pruned", part.mask_seeds, pruned)
            finetuned = Block("", 0, 0, part.seeds, part.finetuned)
            states = (finetuned.state(seed) for seed in part.seeds)
            record(part.method, part.ratio, "finetuned", part.seeds, states)
            failures += [vars(failure) for failure in part.failures]
    metadata = {
        "dataset": dataset,
        "architecture": dense.architecture,
        "class_names": list(prepared.class_names),
        "seeds": seeds,
        "failures": failures,
        "facts": {"device": str(device), "engine": str(way), **software()},
    }
    save_tensors(predictions_path, tensors, metadata)


def _masked(
    state: Mapping[str, Tensor], masks: Mapping[str, Tensor], index: int
) -> dict[str, Tensor]:
    return {
        name: value * masks[name][index] if name in masks else value
        for name, value in state.items()
    }


@torch.no_grad()
def _predict(
    network: nn.Module, states: Sequence[Mapping[str, Tensor]], images: DeviceImages, engine: Engine
) -> dict[str, Tensor]:
    """Return predictions [K, M] by the names that the file gives them; nothing for no state."""
    found: dict[str, list[Tensor]] = {}
    for part in split(states, engine.at_once):
        stack = engine.open(network, part)
        size = evaluation_batch(stack, images.labels.device)
        rows: dict[str, list[Tensor]] = {}
        for start in range(0, len(images), size):
            batch = slice(start, start + size)
            probabilities = stack.logits(images.batch(batch)).softmax(2)
            highest, label = probabilities.max(2)
            true = images.labels[batch].expand(len(stack), -1)
            rows.setdefault("predicted", []).append(label.to(torch.int16))
            rows.setdefault("probability", []).append(highest)
            rows.setdefault("true_probability", []).append(
                probabilities.gather(2, true[:, :, None])[:, :, 0]
            )
        for name, parts in rows.items():
            found.setdefault(name, []).append(torch.cat(parts, 1).cpu())
    return {name: torch.cat(parts) for name, parts in found.items()}
