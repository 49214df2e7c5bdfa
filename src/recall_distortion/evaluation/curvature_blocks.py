"""The curvature at the networks of a block, one file beside each file of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recall_distortion.data.prepared import load
from recall_distortion.evaluation import curvature, eigenvalues
from recall_distortion.evaluation.curvature import Curvature, Loss, measure
from recall_distortion.evaluation.every_network import every_network
from recall_distortion.training import DeviceImages, TrainingImages, Unfinished
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import load_block, write_rows
from recall_distortion.vocabulary import NETWORK, Panel

COLUMNS = (*NETWORK, *(field.name for field in fields(Curvature)))


@dataclass(frozen=True)
class CurvaturePlan:
    """How many training images the loss is over, how many eigenvalues are sought, and the seed.

    ``selection`` says which the training images are, as it does where networks are trained.
    """

    images: int
    eigenvalues: int
    seed: int
    selection: str


def measure_curvature(
    data_path: str | Path,
    dense_path: str | Path,
    compressed_paths: Sequence[str | Path],
    curvature_path: str | Path,
    plan: CurvaturePlan,
    *,
    panel: Panel,
    device: str = "cpu",
    unfinished: str | Path | None = None,
) -> None:
    """Measure the curvature at every network of a block and write a table of ``COLUMNS``.

    The networks are those that ``evaluate_block`` predicts by, in their states. The loss is over
    ``plan.images`` of the images that weights are fitted to, or all where there are fewer, drawn
    once for a data set by ``plan.seed``: all networks see the same. ``unfinished`` is a folder for
    what is measured, from which a killed job goes on; it is removed at the end.
    """
    prepared = load(data_path)
    dense = load_block(dense_path)
    images = TrainingImages.of(prepared, selection=plan.selection, device=device).fit
    chosen, labels = _drawn(images, plan)
    test = DeviceImages(
        prepared.test_images, prepared.test_labels, prepared.mean, prepared.std, device=device
    )
    # The plain module: a fast form has no second derivatives.
    network = dense.module(prepared.test_images.shape[2:]).to(device).eval()
    facts = {"plan": vars(plan), "panel": list(panel), "device": str(device)}
    code = [__file__, curvature.__file__, eigenvalues.__file__]
    files = [data_path, dense_path, *compressed_paths, *code]
    kept = Unfinished(unfinished, facts | {f"file {n}": Path(name) for n, name in enumerate(files)})
    done = [row for _, row in kept.fitted()]
    rows: list[dict[str, Any]] = []
    for number, one in enumerate(every_network(dense, compressed_paths)):
        if number < len(done):
            rows.append(done[number])
            continue
        network.load_state_dict(one.tensors)
        found = measure(
            Loss(network, chosen, labels, one.masks),
            test.batch(slice(None)),
            test.labels,
            eigenvalues=plan.eigenvalues,
            seed=plan.seed,
        )
        method, ratio, state, seed = one.place
        print(
            f"{method} at {ratio}, {state}, seed {seed}: {found.hessian_products} products, "
            f"residual {found.hessian_residual:.1g}",
            flush=True,
        )
        place = dict(zip(NETWORK, (*panel, *one.place), strict=True))
        rows.append(place | asdict(found))
        kept.finish([({}, rows[-1])])
    write_rows(curvature_path, COLUMNS, rows)
    kept.remove()


def _drawn(images: DeviceImages, plan: CurvaturePlan) -> tuple[Tensor, Tensor]:
    """Return the training images [N, C, H, W] that the loss is over, and their labels [N]."""
    order = torch.randperm(len(images), generator=generator(plan.seed, "curvature"))
    index = order[: plan.images].sort().values.to(images.labels.device)
    return images.batch(index), images.labels[index]
