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
from recall_distortion.training import DeviceImages
from recall_distortion.training.engines import Engine, is_deterministic
from recall_distortion.training.loop import EVALUATION_IMAGES


def evaluate_block(
    data_path: str | Path,
    dense_path: str | Path,
    compressed_paths: Sequence[str | Path],
    predictions_path: str | Path,
    *,
    dataset: str,
    device: str = "cpu",
) -> None:
    """Predict the test set by every network of a block and write the predictions.

    Without ``compressed_paths`` the dense networks are evaluated, in state ``dense``; with them the
    pruned networks before (``pruned``) and after fine-tuning (``finetuned``). The file holds
    ``labels`` [M] and under ``<method>/<ratio>/<state>/`` the tensors ``predicted`` [K, M] (int16),
    its ``probability`` and the true class's ``true_probability`` [K, M] (float32). Its metadata say
    under ``made`` and ``<method>/<ratio>`` what ``trained`` (or fine-tuned) those networks and what
    ``evaluated`` them. One network follows another in single precision, whatever made them, so that
    the same weights give the same predictions; without gradients vectorizing gains nothing.
    """
    prepared = data.load(data_path)
    dense = load_block(dense_path)
    images = DeviceImages(
        prepared.test_images, prepared.test_labels, prepared.mean, prepared.std, device=device
    )
    network = networks.build(dense.architecture, channels=dense.channels, classes=dense.classes)
    network = network.to(device, memory_format=torch.channels_last)
    engine = Engine(deterministic=is_deterministic(device))
    module = engine.module(network)
    tensors: dict[str, Tensor] = {"labels": torch.from_numpy(prepared.test_labels)}
    seeds: dict[str, list[int]] = {}
    failures: list[dict[str, Any]] = []
    trained: dict[str, dict[str, Any]] = {}

    def record(method: str, ratio: str, state: str, part: Sequence[int], states: Iterable) -> None:
        key = f"{method}/{ratio}/{state}"
        seeds[key] = list(part)
        for name, value in _predict(module, states, images).items():
            tensors[f"{key}/{name}"] = value

    if not compressed_paths:
        record("dense", "1", "dense", dense.seeds, (dense.state(s) for s in dense.seeds))
        failures += [vars(failure) for failure in dense.failures]
        trained["dense/1"] = dense.facts
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
            trained[f"{part.method}/{part.ratio}"] = part.facts
    evaluated = {"device": str(device), "engine": str(engine), **software()}
    metadata = {
        "dataset": dataset,
        "architecture": dense.architecture,
        "class_names": list(prepared.class_names),
        "seeds": seeds,
        "failures": failures,
        "made": {
            cell: {"trained": facts, "evaluated": evaluated} for cell, facts in trained.items()
        },
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
    network: nn.Module, states: Iterable[Mapping[str, Tensor]], images: DeviceImages
) -> dict[str, Tensor]:
    """Return predictions [K, M] by the names that the file gives them; nothing for no state."""
    network.eval()
    size = EVALUATION_IMAGES[images.labels.device.type]
    found: dict[str, list[Tensor]] = {}
    for state in states:
        network.load_state_dict(state)
        rows: dict[str, list[Tensor]] = {}
        for start in range(0, len(images), size):
            part = slice(start, start + size)
            # The images innermost: exponentials and maxima are then taken over whole arrays.
            probabilities = network(images.batch(part)).T.softmax(0)
            highest, label = probabilities.max(0)
            true = probabilities.gather(0, images.labels[None, part])[0]
            rows.setdefault("predicted", []).append(label.to(torch.int16))
            rows.setdefault("probability", []).append(highest)
            rows.setdefault("true_probability", []).append(true)
        for name, parts in rows.items():
            found.setdefault(name, []).append(torch.cat(parts).cpu())
    return {name: torch.stack(parts) for name, parts in found.items()}
