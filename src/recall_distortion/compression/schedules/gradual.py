"""Pruned more and more while a network is trained from weights of its own, as by Zhu and Gupta.

After ``begin`` epochs nothing is removed and after ``end`` the share s of the weights that is asked
for; in between, after the share p of these epochs, s (1 - (1 - p)^3) (Zhu and Gupta, 2017, arXiv
1710.01878). What was removed is remembered and ranked with what is left, so that it may return. The
best epoch is one of those after the end. The control is the same training in which nothing goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from recall_distortion import networks
from recall_distortion.compression import events
from recall_distortion.compression.files import Made
from recall_distortion.compression.methods import Cell, CompressionPlan, Method
from recall_distortion.compression.pruning import criteria
from recall_distortion.compression.pruning.masks import SCOPES
from recall_distortion.compression.pruning.sparsity import Sparsity
from recall_distortion.compression.rounds import Results, to_keep
from recall_distortion.system.logs import progress
from recall_distortion.training import Engine, NonFiniteLoss, Run, TrainingImages, Unfinished
from recall_distortion.training.loop import fit_runs
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import FINE_TUNING, Failure, copy_state
from recall_distortion.vocabulary import CONTROL_GRADUAL

#: What its random streams are of: weights, order and augmentation of its own.
STAGE = "gradual"


@dataclass(frozen=True)
class Gradual:
    """The removal of one network's weights (``training.removal.Removal``).

    ``fraction`` of the weights of ``names`` stays in the end; those with the lowest scores of
    ``criterion`` go, ranked over ``scope`` as a method's are.
    """

    names: tuple[str, ...]
    fraction: float
    begin: int
    end: int
    criterion: str = "magnitude"
    scope: str = "layer"

    @property
    def first(self) -> int:
        """The first epoch with all that is asked for removed."""
        return self.end + 1

    def sparsity(self, epochs: int) -> float:
        """Return the share of the weights that is removed after so many epochs."""
        if epochs >= self.end:
            return 1 - self.fraction
        passed = max(epochs - self.begin, 0) / (self.end - self.begin)
        return float((1 - self.fraction) * (1 - (1 - passed) ** 3))

    def masks(self, epochs: int, weights: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """Return what stays after so many epochs; None before the first removal, after the last."""
        if self.fraction == 1 or not self.begin < epochs <= self.end:
            return None
        score = criteria.load(self.criterion).score
        drawn = torch.Generator().manual_seed(0)  # no such criterion draws
        scores = {
            name: score(weights[name], None, epsilon=0.0, generator=drawn) for name in self.names
        }
        return SCOPES[self.scope](scores, 1 - self.sparsity(epochs))


def train_all(
    network: nn.Module,
    images: TrainingImages,
    plan: CompressionPlan,
    ratios: Mapping[str, Sequence[str]],
    seeds: Sequence[int],
    engine: Engine,
    unfinished: Unfinished,
    watch: events.Watch,
) -> Results:
    """Return what comes of networks trained by each method of ``ratios`` at its ratios.

    A method of the plan that is None is the control. ``watch`` counts what networks get right
    before and after each removal. Raises ``NetworkError`` for a ratio that the
    network cannot reach.
    """
    gradual = plan.gradual
    assert gradual is not None  # the study has said so of every bundle with such a method
    shown = images.fit.batch(slice(0, 1))
    positions = networks.output_positions(network, shown)
    starts = dict(_starts(network, seeds))
    made: dict[Cell, Made] = {}
    runs: list[tuple[Cell, Run]] = []
    for name, of_method in ratios.items():
        for ratio in of_method:
            cell = Cell(name, ratio)
            made[cell] = Made(of_dense=False, control=CONTROL_GRADUAL)
            removal = _removal(network, plan, plan.methods[name], ratio, shown)
            runs += [(cell, Run(seed, starts[seed], removal=removal)) for seed in seeds]
    results = Results(made)
    fitted = fit_runs(
        network,
        images,
        gradual.recipe,
        [run for _, run in runs],
        engine=engine,
        stage=STAGE,
        report=progress([f"{cell}, seed {run.seed}" for cell, run in runs], gradual.recipe.epochs),
        unfinished=unfinished,
        watch=watch,
    )
    for (cell, run), found in zip(runs, fitted, strict=True):
        named, seed = asdict(cell), run.seed
        if isinstance(found, NonFiniteLoss):
            print(f"error: {cell}: {found}; this replicate is left out", flush=True)
            failure = Failure(**named, stage=FINE_TUNING, seed=seed, reason=str(found))
            results.failures.append(failure)
            continue
        results.history += [{**named, **row} for row in found.history]
        made[cell].retrained[seed] = found.state
        if plan.methods[cell.method] is not None:
            assert found.masks is not None  # there is a removal
            made[cell].masks[seed] = found.masks
            sparsity = Sparsity.of(found.masks, network, plan.count, positions)
            results.sparsity.append({**named, "seed": seed, **asdict(sparsity)})
            results.events += events.rows({**named, "seed": seed}, found.events, watch.support)
    return results


def _starts(network: nn.Module, seeds: Sequence[int]) -> Iterator[tuple[int, dict[str, Tensor]]]:
    for seed in seeds:
        networks.initialize(network, generator(seed, f"{STAGE} initialization"))
        yield seed, copy_state(network)


def _removal(
    network: nn.Module, plan: CompressionPlan, method: Method | None, ratio: str, shown: Tensor
) -> Gradual:
    assert plan.gradual is not None
    names = tuple(networks.prunable_parameters(network))
    begin, end = plan.gradual.begin, plan.gradual.end
    if method is None:
        return Gradual((), 1.0, begin, end)
    image = shown.shape[2], shown.shape[3]
    fraction = to_keep(network, method, ratio, plan.count, method.unit, image)
    return Gradual(names, fraction, begin, end, method.criterion, method.scope)
