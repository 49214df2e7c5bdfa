"""Units that a rectifier never lets through, or always, and images that it wholly stops.

They are judged by what rectifiers get, so behind batch norm and shortcuts, and behind pooling where
that comes first, over all images: over a batch more units look dead than are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from recall_distortion.system.errors import NetworkError

_RECTIFIERS: tuple[Callable[..., Tensor], ...] = (
    F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_,
)  # fmt: skip


@dataclass(frozen=True)
class DeadUnits:
    """What is counted of a network; every field is a column of networks.csv.

    A unit is a channel of what a rectifier gets, and is dead where that is at most 0 for every
    image and place, linear where it is above 0 for every one (Riera et al., 2022, arXiv 2201.12795,
    there over a batch). An image is a dead point of a rectifier where no unit gets more than 0, and
    of a network where it is one of any. ``units`` are those that pruning did not remove, of all
    rectifiers; shares are of these, and of the images, ``points``. The texts have a number of each
    rectifier, in the order in which they are computed: of units as dead/all.
    """

    dead_units: float
    linear_units: float
    dead_points: float
    units: int
    points: int
    dead_units_by_layer: str
    linear_units_by_layer: str
    dead_points_by_layer: str


class _Given(TorchFunctionMode):
    """Within the context ``taken`` gathers what rectifiers get."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[Tensor] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _RECTIFIERS:
            given = args[0] if args else (kwargs or {})["input"]
            # Of what is [B, units] or [B, units, ...], before it may be changed in place.
            places = given.detach().flatten(2) if given.dim() > 2 else given.detach()[..., None]
            self.taken += [places.amax(2), places.amin(2)]
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def count(network: nn.Module, batches: Iterable[Tensor], *, pruned: bool) -> DeadUnits:
    """Count a plain network's dead and linear units and dead points over batches [B, C, H, W].

    What pruning removed of a network that is ``pruned``, a channel with all that makes it, gives
    exactly 0 for every image and is no unit. The network is computed in evaluation mode, in which
    it is left. Raises ``NetworkError`` for a network without a rectifier.
    """
    network.eval()
    highest: list[Tensor] = []
    lowest: list[Tensor] = []
    dead_points: list[int] = []
    dead_anywhere = points = 0
    for images in batches:
        with _Given() as given:
            network(images)
        if not given.taken:
            raise NetworkError(
                f"dead_units: {type(network).__name__} has no rectifier whose units could be dead"
            )
        tops, bottoms = given.taken[::2], given.taken[1::2]
        stopped = [top.amax(1) <= 0 for top in tops]
        highs, lows = [top.amax(0) for top in tops], [bottom.amin(0) for bottom in bottoms]
        if points:
            highs = [torch.maximum(one, own) for one, own in zip(highest, highs, strict=True)]
            lows = [torch.minimum(one, own) for one, own in zip(lowest, lows, strict=True)]
            dead = [many + int(own.sum()) for many, own in zip(dead_points, stopped, strict=True)]
        else:
            dead = [int(own.sum()) for own in stopped]
        highest, lowest, dead_points = highs, lows, dead
        dead_anywhere += int(torch.stack(stopped).any(0).sum())
        points += len(images)
    kept = [
        (top != 0) | (bottom != 0) if pruned else torch.ones_like(top, dtype=torch.bool)
        for top, bottom in zip(highest, lowest, strict=True)
    ]
    units = [int(own.sum()) for own in kept]
    none = [int(((top <= 0) & own).sum()) for top, own in zip(highest, kept, strict=True)]
    always = [int((bottom > 0).sum()) for bottom in lowest]
    return DeadUnits(
        dead_units=_share(sum(none), sum(units)),
        linear_units=_share(sum(always), sum(units)),
        dead_points=_share(dead_anywhere, points),
        units=sum(units),
        points=points,
        dead_units_by_layer=_by_layer(none, units),
        linear_units_by_layer=_by_layer(always, units),
        dead_points_by_layer=" ".join(map(str, dead_points)),
    )


def _share(some: int, every: int) -> float:
    return some / every if every else float("nan")


def _by_layer(some: Sequence[int], every: Sequence[int]) -> str:
    return " ".join(f"{one}/{many}" for one, many in zip(some, every, strict=True))
