"""From replicates and a test set to predictions, one file per block and bundle of methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recall_distortion import networks
from recall_distortion.compression.files import load_compressed
from recall_distortion.data.prepared import load
from recall_distortion.evaluation.states import before, retrained
from recall_distortion.tables.predictions import Predictions, Trained, write_predictions
from recall_distortion.training import DeviceImages
from recall_distortion.training.engines import Engine, choose_for_evaluation
from recall_distortion.training.loop import EVALUATION_IMAGES
from recall_distortion.training.replicates import Block, Failure, load_block, software
from recall_distortion.vocabulary import (
    COMPRESSED,
    CONTROL,
    DENSE,
    RETRAINED,
    UNCOMPRESSED_TEXT,
    Panel,
)


@dataclass(frozen=True)
class _Cell:
    """Networks of one method at one ratio: their states, by the state that they are in.

    ``states`` maps that to seeds and the tensors of each seed's network. ``network`` and ``engine``
    compute them where the plain network as it is does not.
    """

    method: str
    ratio: str
    states: dict[str, tuple[list[int], Iterable[Mapping[str, Tensor]]]]
    failures: list[Failure]
    facts: dict[str, Any]
    network: nn.Module | None = None
    engine: Engine | None = None
    control: str = CONTROL


def evaluate_block(
    data_path: str | Path,
    dense_path: str | Path,
    compressed_paths: Sequence[str | Path],
    predictions_path: str | Path,
    *,
    panel: Panel,
    quantized_paths: Sequence[str | Path] = (),
    device: str = "cpu",
) -> None:
    """Predict the test set by every network of a block and write the predictions.

    Without other paths the dense networks are evaluated, in state ``dense``; with
    ``compressed_paths`` the pruned networks before (``compressed``), where they were dense, and
    after fine-tuning (``retrained``), with ``quantized_paths`` the quantized ones
    (``compressed``). The file is as ``tables.predictions`` says and names the ``panel`` that the
    networks are of. One network follows another in single precision, whatever made them, so that
    the same weights give the same predictions; without gradients vectorizing gains nothing.
    """
    prepared = load(data_path)
    dense = load_block(dense_path)
    images = DeviceImages(
        prepared.test_images, prepared.test_labels, prepared.mean, prepared.std, device=device
    )
    network = networks.on_device(dense.module(prepared.test_images.shape[2:]), device)
    engine = choose_for_evaluation(dense.architecture, device)
    parts, failures, trained = [], [], {}
    cells = _cells(dense, compressed_paths)
    if quantized_paths:
        cells = _quantized(network, images, quantized_paths)
    for cell in cells:
        failures += [vars(failure) for failure in cell.failures]
        trained[f"{cell.method}/{cell.ratio}"] = cell.facts
        parts += [
            Predictions(
                panel,
                cell.method,
                cell.ratio,
                state,
                seeds,
                list(prepared.class_names),
                prepared.test_labels,
                trained={Trained.of(cell.facts): len(seeds)},
                control=cell.control,
                **_predict(cell.engine or engine, cell.network or network, states, images),
            )
            for state, (seeds, states) in cell.states.items()
        ]
    evaluated = {"device": str(device), "engine": str(engine), **software()}
    made = {cell: {"trained": facts, "evaluated": evaluated} for cell, facts in trained.items()}
    write_predictions(predictions_path, parts, failures=failures, made=made)


def _cells(dense: Block, compressed_paths: Sequence[str | Path]) -> Iterator[_Cell]:
    """Yield the dense networks, or, where there are files of them, the compressed ones."""
    states: dict[str, tuple[list[int], Iterable[Mapping[str, Tensor]]]]
    if not compressed_paths:
        states = {DENSE: (dense.seeds, (dense.state(seed) for seed in dense.seeds))}
        yield _Cell(DENSE, UNCOMPRESSED_TEXT, states, dense.failures, dense.facts)
    for path in compressed_paths:
        for part in load_compressed(path):
            states = {}
            if part.masks and part.of_dense:
                states[COMPRESSED] = part.mask_seeds, before(dense, part)
            states[RETRAINED] = part.seeds, retrained(part)
            named, made = (part.cell.method, part.cell.ratio), (part.failures, part.facts)
            yield _Cell(*named, states, *made, control=part.control)


def _quantized(
    network: nn.Module, images: DeviceImages, paths: Sequence[str | Path]
) -> Iterator[_Cell]:
    """Yield the quantized networks of some files."""
    # By name, so that no other evaluation depends on it.
    quantized = import_module("recall_distortion.evaluation.quantized")
    for found in quantized.opened(network, images.batch(slice(0, 1)), paths):
        cell, states = found.quantized.cell, (found.seeds, found.states())
        yield _Cell(
            cell.method,
            cell.ratio,
            {COMPRESSED: states},
            [],
            found.quantized.facts,
            found.network,
            found.engine,
        )


@torch.no_grad()
def _predict(
    engine: Engine,
    network: nn.Module,
    states: Iterable[Mapping[str, Tensor]],
    images: DeviceImages,
) -> dict[str, np.ndarray]:
    """Return the predicted classes, the losses and the probabilities [K, M], by these names."""
    size = EVALUATION_IMAGES[images.labels.device.type]
    found: dict[str, list[Tensor]] = {"predicted": [], "loss": [], "probability": []}
    for state in states:
        stack = engine.open(network, [state])
        rows: list[tuple[Tensor, ...]] = []
        for start in range(0, len(images), size):
            part = slice(start, start + size)
            # The images innermost: exponentials and maxima are then taken over whole arrays.
            logits = stack.logits(images.batch(part))[0].T
            highest, label = logits.softmax(0).max(0)
            loss = F.cross_entropy(logits[None], images.labels[None, part], reduction="none")[0]
            rows.append((label, loss, highest))
        for values, parts in zip(found.values(), zip(*rows, strict=True), strict=True):
            values.append(torch.cat(parts).cpu())
    none = torch.zeros(0, len(images))
    return {name: (torch.stack(v) if v else none).numpy() for name, v in found.items()}
