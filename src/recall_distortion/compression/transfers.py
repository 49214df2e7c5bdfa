"""Tickets of another data set: their masks, and the weights that they were rewound to.

What is trained on one data set begins with what pruning left on another, the source: masks, and the
weights of the source's training that its own tickets begin with (transfer as in Morcos et al.,
NeurIPS 2019, arXiv 1906.02773). Where classes differ in number, the output layer is drawn anew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from recall_distortion import networks
from recall_distortion.compression.controls import TRANSFER, TRANSFER_SHUFFLED
from recall_distortion.compression.files import Made, load_compressed
from recall_distortion.compression.methods import Cell, CompressionPlan
from recall_distortion.compression.retraining import Retraining, after, drawn, trained, until
from recall_distortion.compression.rounds import Results, Walk
from recall_distortion.data.prepared import load
from recall_distortion.training import TrainingImages, Unfinished, choose
from recall_distortion.training.replicates import FINE_TUNING, Failure

#: What begins with another data set's weights.
TRANSFERS = (TRANSFER, TRANSFER_SHUFFLED)
#: What the stream of an output layer that is drawn anew is called after.
OUTPUT_LAYER = "transferred classifier"

#: By cell and seed, the masks of networks by parameter.
Tickets = Mapping[Cell, Mapping[int, Mapping[str, Tensor]]]


def read_tickets(paths: Sequence[str | Path], wanted: Collection[str], device: str) -> Tickets:
    """Return the masks that files of compressed networks hold of the ``wanted`` methods."""
    found: dict[Cell, dict[int, dict[str, Tensor]]] = {}
    for path in paths:
        for part in load_compressed(path):
            if part.cell.method in wanted:
                found[part.cell] = {
                    seed: {name: mask[row].to(device) for name, mask in part.masks.items()}
                    for row, seed in enumerate(part.mask_seeds)
                }
    return found


def prepare(
    name: str,
    network: nn.Module,
    source: str | Path,
    plan: CompressionPlan,
    seeds: Sequence[int],
    device: str,
    unfinished: Unfinished,
) -> Retraining:
    """Return a retraining of ``TRANSFERS`` with what each seed begins with, for ``network``.

    ``source`` is the file of the data that the weights come from. As where they are rewound on
    these (``retraining.prepare``), the initial weights are drawn again, and those of a later epoch
    trained again. What fits no output layer of ``network`` is its own, drawn for the seed.
    """
    assert plan.source is not None  # the study has said so of every bundle with such a method
    prepared, own = load(source), plan.source
    architecture = str(network.architecture)
    channels, size = prepared.train_images.shape[1:3]
    classes = len(prepared.class_names)
    other = networks.build(architecture, channels=channels, classes=classes)
    other = other.to(memory_format=torch.channels_last).to(device)
    starts: Mapping[int, Mapping[str, Tensor]] = drawn(other, seeds, "initialization")
    lost: dict[int, str] = {}
    if own.epochs:
        images = TrainingImages.of(
            prepared,
            selection=plan.selection,
            device=device,
            augmentation=own.recipe.augmentation,
        )
        engine = choose(architecture, size, device, **vars(plan.engine))
        early = until(own.recipe, own.epochs)
        starts, failed = trained(other, images, early, starts, engine, unfinished)
        lost = {seed: f"on the data set of its ticket, {error}" for seed, error in failed.items()}
    moved = {seed: fitting(network, state, seed) for seed, state in starts.items()}
    again = plan.retrainings[name]
    return Retraining(name, after(again.recipe, again.epochs), moved, lost)


def fitting(network: nn.Module, state: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Return a state for a network that may have other classes than the one that it is of.

    The output layer is then drawn from a stream of the seed's own.
    """
    last = next(n for n, module in network.named_modules() if module is network.classifier)
    outputs = f"{last}.weight"
    if state[outputs].shape == network.state_dict()[outputs].shape:
        return dict(state)
    fresh = drawn(network, [seed], OUTPUT_LAYER)[seed]
    return {n: fresh[n] if n.startswith(f"{last}.") else value for n, value in state.items()}


def take(
    walks: Sequence[Walk],
    plan: CompressionPlan,
    ratios: Mapping[str, Sequence[str]],
    seeds: Sequence[int],
    tickets: Tickets,
    retraining: Retraining,
) -> tuple[list[Walk], Results]:
    """Return the walks that can begin, tickets under their masks, and what is known of all cells.

    ``ratios`` are those of all methods that ``walks`` are of. A seed whose source has no ticket,
    since its training failed there, is a failure here too.
    """
    going = []
    for walk in walks:
        method = plan.methods[walk.method]
        if method is not None and method.ticket:
            own = tickets.get(Cell(method.ticket, walk.chain[0].ratio), {})
            if walk.seed not in own:
                continue
            walk = replace(walk, masks=own[walk.seed])
        going.append(walk)
    there = {(w.method, one.ratio, w.seed) for w in going for one in w.chain}
    cells = [Cell(name, ratio) for name, own in ratios.items() for ratio in own]
    results = Results(
        {
            cell: Made(of_dense=retraining.of_dense, control=plan.control(cell.method))
            for cell in cells
        }
    )
    results.failures += [
        Failure(
            **asdict(cell),
            stage=FINE_TUNING,
            seed=seed,
            reason=retraining.lost.get(seed, "there is no ticket of this seed and ratio"),
        )
        for cell in cells
        for seed in seeds
        if (cell.method, cell.ratio, seed) not in there
    ]
    return going, results
