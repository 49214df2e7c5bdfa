"""What comes of networks that are pruned while they are trained, by whichever schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from torch import nn

from recall_distortion import networks
from recall_distortion.compression.events import Watch, rows
from recall_distortion.compression.files import Made
from recall_distortion.compression.methods import Cell, CompressionPlan
from recall_distortion.compression.pruning import units
from recall_distortion.compression.pruning.sparsity import Sparsity
from recall_distortion.compression.rounds import Results
from recall_distortion.system.logs import progress
from recall_distortion.training import (
    Engine,
    NonFiniteLoss,
    Recipe,
    Run,
    TrainingImages,
    Unfinished,
)
from recall_distortion.training.loop import fit_runs
from recall_distortion.training.replicates import FINE_TUNING, Failure


@dataclass(frozen=True)
class Trained:
    """How networks of a schedule are trained.

    By ``recipe``, with random streams that are called after ``stage``; ``control`` is the arm that
    loses nothing. ``watch`` counts what networks get right before and after each removal.
    """

    recipe: Recipe
    stage: str
    control: str
    watch: Watch


def train(
    trained: Trained,
    network: nn.Module,
    images: TrainingImages,
    plan: CompressionPlan,
    runs: Mapping[tuple[str, str], Sequence[Run]],
    engine: Engine,
    unfinished: Unfinished,
) -> Results:
    """Return what comes of runs by method and ratio, all of them trained together.

    Raises ``NetworkError`` where something of a removed unit is left in a network.
    """
    positions = networks.output_positions(network, images.fit.batch(slice(0, 1)))
    of_cells = {Cell(*cell): own for cell, own in runs.items()}
    results = Results({cell: Made(of_dense=False, control=trained.control) for cell in of_cells})
    every = [(cell, run) for cell, own in of_cells.items() for run in own]
    fitted = fit_runs(
        network,
        images,
        trained.recipe,
        [run for _, run in every],
        engine=engine,
        stage=trained.stage,
        report=progress([f"{cell}, seed {run.seed}" for cell, run in every], trained.recipe.epochs),
        unfinished=unfinished,
        watch=trained.watch,
    )
    for (cell, run), found in zip(every, fitted, strict=True):
        named, seed, made = asdict(cell), run.seed, results.made[cell]
        if isinstance(found, NonFiniteLoss):
            print(f"error: {cell}: {found}; this replicate is left out", flush=True)
            failure = Failure(**named, stage=FINE_TUNING, seed=seed, reason=str(found))
            results.failures.append(failure)
            continue
        results.history += [{**named, **row} for row in found.history]
        results.events += rows({**named, "seed": seed}, found.events, trained.watch.support)
        made.retrained[seed] = found.state
        method = plan.methods[cell.method]
        if method is not None:
            assert found.masks is not None  # something removes
            check = units.load(method.unit).check
            if check is not None:
                check(network, found.state, found.masks, images.fit)
            made.masks[seed] = found.masks
            sparsity = Sparsity.of(found.masks, network, plan.count, positions)
            results.sparsity.append({**named, "seed": seed, **asdict(sparsity)})
    return results
