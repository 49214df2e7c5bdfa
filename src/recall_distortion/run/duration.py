"""How long a plan's training takes on this machine, from a few epochs on some of its images."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recall_distortion import networks
from recall_distortion.compression import schedules
from recall_distortion.compression.controls import TRANSFER, TRANSFER_SHUFFLED, WHILE_TRAINED
from recall_distortion.compression.methods import CompressionPlan
from recall_distortion.compression.retraining import STARTING_EARLY, recipe_of, until
from recall_distortion.data.prepared import PreparedData, load
from recall_distortion.run.jobs import Job, Plan
from recall_distortion.training import (
    Recipe,
    Run,
    TrainingImages,
    TrainingPlan,
    fit_runs,
    read,
)
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import copy_state
from recall_distortion.training.vectorizable import chosen

#: Steps of an epoch that is timed, and the epochs; the first, in which code is compiled, is not.
STEPS, EPOCHS = 8, 4


@dataclasses.dataclass(frozen=True)
class _Work:
    """What a job trains: so many networks, and how."""

    networks: int
    plan: TrainingPlan


def seconds(plan: Plan, device: str) -> float | None:
    """Return about how many seconds the plan's jobs train on this process's device.

    Starting, pruning and evaluating are not counted. None where a data set is not prepared, so that
    the number of its images is unknown.
    """
    per_epoch: dict[str, float] = {}
    trained: dict[str, _Work] = {}  # by the file of the dense networks
    total = 0.0
    for job in plan.jobs:
        if job.rule == "train":
            (trained[job.outputs["weights"]],) = _works(job, {})
        for work in _works(job, trained):
            if not Path(job.inputs["data"]).exists():
                return None
            recipe = dataclasses.replace(work.plan.recipe, phases=())
            alike = dataclasses.replace(work.plan, recipe=recipe)
            key = repr((job.panel, work.networks, alike))
            if key not in per_epoch:
                per_epoch[key] = _epoch(load(job.inputs["data"]), job.panel[1], work, device)
            total += per_epoch[key] * work.plan.recipe.epochs
    return total


def _works(job: Job, trained: Mapping[str, _Work]) -> list[_Work]:
    """Return what a job trains, by each recipe; nothing for one that trains nothing."""
    values: dict[str, Any] = job.parameters
    if job.rule == "train":
        return [_Work(len(values["seeds"]), read(TrainingPlan, values["training"], "training"))]
    if job.rule != "compress":
        return []
    plan = read(CompressionPlan, values["compression"], "compression")
    of_recipes: dict[Recipe, int] = {}
    for name, ratios in values["ratios"].items():
        recipe = recipe_of(plan, name)
        of_recipes[recipe] = of_recipes.get(recipe, 0) + _rounds(plan, name, ratios)
    # What is rewound to a later epoch is first trained up to it, once for all methods.
    ways = {plan.retraining(name) for name in values["ratios"]}
    begun = [plan.retrainings[name] for name in ways & STARTING_EARLY]
    # On another data set's images, of which there may be more or fewer.
    begun += [plan.source for _ in ways & {TRANSFER, TRANSFER_SHUFFLED} if plan.source]
    for own in begun:
        if own.epochs:
            early = until(own.recipe, own.epochs)
            of_recipes[early] = of_recipes.get(early, 0) + 1
    dense = trained[job.inputs["dense"]]
    return [
        _Work(
            rounds * dense.networks,
            TrainingPlan(recipe, plan.selection, plan.engine, dense.plan.network),
        )
        for recipe, rounds in of_recipes.items()
    ]


def _rounds(plan: CompressionPlan, name: str, ratios: Sequence[str]) -> int:
    """Return how often each of a method's networks is trained, as if ratios counted weights."""
    if plan.schedule(name) in WHILE_TRAINED:
        return len(ratios)
    chains = schedules.load(plan.schedule(name))({ratio: 1 / float(ratio) for ratio in ratios})
    return sum(map(len, chains))


def _epoch(data: PreparedData, architecture: str, work: _Work, device: str) -> float:
    """Return the seconds that an epoch of a job's networks takes on all of a data set."""
    network = networks.build(
        architecture,
        channels=data.train_images.shape[1],
        classes=len(data.class_names),
        own=work.plan.network,
        image=data.train_images.shape[2:],
    )
    network = networks.on_device(network, device)
    engine = chosen(network, data.train_images.shape[2:], device, work.plan.engine)
    at_once = min(engine.at_once, work.networks)
    runs = []
    for seed in range(at_once):
        networks.initialize(network, generator(seed, "initialization"))
        runs.append(Run(seed, copy_state(network)))
    recipe = work.plan.recipe
    whole = len(data.fit_index) if work.plan.selection == "holdout" else len(data.train_labels)
    images = TrainingImages.of(
        _some(data, min(STEPS * recipe.batch_size / whole, 1.0)),
        selection=work.plan.selection,
        device=device,
        augmentation=recipe.augmentation,
    )
    ends: list[float] = []

    def report(rows: list[dict[str, Any]], places: range) -> None:
        ends.append(time.perf_counter())

    phase = dataclasses.replace(recipe.phases[0], epochs=EPOCHS, rates=())
    recipe = dataclasses.replace(recipe, phases=(phase,))
    list(fit_runs(network, images, recipe, runs, engine=engine, report=report))
    taken = statistics.median(_differences(ends))
    return taken * whole / len(images.fit) * work.networks / at_once


def _some(data: PreparedData, part: float) -> PreparedData:
    """Return a part of a data set, the same of each of its sets."""
    fit, holdout, test = (
        max(round(part * len(values)), 1)
        for values in (data.fit_index, data.holdout_index, data.test_labels)
    )
    return dataclasses.replace(
        data,
        train_images=data.train_images[: fit + holdout],
        train_labels=data.train_labels[: fit + holdout],
        fit_index=np.arange(fit),
        holdout_index=np.arange(fit, fit + holdout),
        test_images=data.test_images[:test],
        test_labels=data.test_labels[:test],
    )


def _differences(times: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(times)]
