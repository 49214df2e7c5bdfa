"""Pruned more and more while a network is trained from weights of its own, as by Zhu and Gupta.

After ``begin`` epochs nothing is removed and after ``end`` the share s of the weights that is asked
for; in between, after the share p of these epochs, s (1 - (1 - p)^3) (Zhu and Gupta, 2017, arXiv
1710.01878). What was removed is remembered and ranked with what is left, so that it may return. The
best epoch is one of those after the end. The control is the same training in which nothing goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recall_distortion import networks
from recall_distortion.compression.events import Watch
from recall_distortion.compression.methods import CompressionPlan, Method
from recall_distortion.compression.pruning import criteria
from recall_distortion.compression.pruning.masks import SCOPES
from recall_distortion.compression.retraining import drawn
from recall_distortion.compression.rounds import Results, to_keep
from recall_distortion.compression.while_trained import Trained, train
from recall_distortion.training import Engine, Run, TrainingImages, Unfinished
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
    watch: Watch,
) -> Results:
    """Return what comes of networks trained by each method of ``ratios`` at its ratios.

    A method of the plan that is None is the control. ``watch`` counts what networks get right
    before and after each removal. Raises ``NetworkError`` for a ratio that the network cannot
    reach.
    """
    gradual = plan.gradual
    assert gradual is not None  # the study has said so of every bundle with such a method
    starts = drawn(network, seeds, f"{STAGE} initialization")
    runs = {}
    for name, of_method in ratios.items():
        for ratio in of_method:
            removal = _removal(network, plan, plan.methods[name], ratio, images.fit.shape[1:])
            runs[name, ratio] = [Run(seed, starts[seed], removal=removal) for seed in seeds]
    trained = Trained(gradual.recipe, STAGE, CONTROL_GRADUAL, watch)
    return train(trained, network, images, plan, runs, engine, unfinished)


def _removal(
    network: nn.Module,
    plan: CompressionPlan,
    method: Method | None,
    ratio: str,
    image: tuple[int, ...],
) -> Gradual:
    assert plan.gradual is not None
    names = tuple(networks.prunable_parameters(network))
    begin, end = plan.gradual.begin, plan.gradual.end
    if method is None:
        return Gradual((), 1.0, begin, end)
    height, width = image
    fraction = to_keep(network, method, ratio, plan.count, method.unit, (height, width))
    return Gradual(names, fraction, begin, end, method.criterion, method.scope)
