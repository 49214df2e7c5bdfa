"""Dead and linear units of the networks of a block, one file beside each file of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import torch

from recall_distortion.data.prepared import load
from recall_distortion.evaluation.dead_units import DeadUnits, count
from recall_distortion.evaluation.every_network import every_network
from recall_distortion.training import TrainingImages
from recall_distortion.training.replicates import load_block, write_rows
from recall_distortion.vocabulary import NETWORK, Panel

COLUMNS = (*NETWORK, *(field.name for field in fields(DeadUnits)))

#: Images that a network is shown at once, by kind of device.
AT_ONCE = {"cpu": 1024, "cuda": 8192}


def count_dead_units(
    data_path: str | Path,
    dense_path: str | Path,
    compressed_paths: Sequence[str | Path],
    counted_path: str | Path,
    *,
    selection: str,
    panel: Panel,
    device: str = "cpu",
) -> None:
    """Count dead and linear units of every network of a block and write a table of ``COLUMNS``.

    The networks are those that ``evaluate_block`` predicts by, in their states. The images are all
    that weights are fitted to, which ``selection`` says, as they are without augmentation. Raises
    ``NetworkError`` for a network without a rectifier.
    """
    dense = load_block(dense_path)
    prepared = load(data_path)
    images = TrainingImages.of(prepared, selection=selection, device=device).fit
    size = AT_ONCE[torch.device(device).type]
    parts = [slice(start, start + size) for start in range(0, len(images), size)]
    # The plain module: a fast form has other operations than rectifiers.
    network = dense.module(prepared.train_images.shape[2:]).to(device)
    rows = []
    for one in every_network(dense, compressed_paths):
        network.load_state_dict(one.tensors)
        found = count(network, map(images.batch, parts), pruned=bool(one.masks))
        place = dict(zip(NETWORK, (*panel, *one.place), strict=True))
        rows.append(place | asdict(found))
    write_rows(counted_path, COLUMNS, rows)
