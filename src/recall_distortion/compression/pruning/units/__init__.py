"""What is removed as one: the units, one a file.

A criterion scores weights. A unit's module says what scores these give its units, what earlier
masks leave of the units, and what a choice of units means for the network's parameters, biases and
batch norm's among them. A job imports the one that it prunes by and depends on no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from torch import Tensor, nn

from recall_distortion.system.errors import NetworkError

#: From a network and tensors by name to tensors by name.
Translation = Callable[[nn.Module, Mapping[str, Tensor]], Mapping[str, Tensor]]


def _no_scores(network: nn.Module, of_weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    raise NetworkError("this unit has criteria of its own, which do not score weights")


@dataclass(frozen=True)
class Unit:
    """What is kept or removed as one.

    Units come in groups, as weights come in layers; a group has a name and a tensor with a place
    for each unit. ``scores`` makes of the weights' scores by parameter those of the units by group;
    ``left`` makes of masks by parameter booleans by group, true where a unit is not removed; and
    ``masks`` makes of such booleans masks by parameter.

    The others are of units that differ further from weights: ``measure(network, method, images,
    seed)`` gives scores by group by criteria of the unit's own; ``select`` chooses by scores in
    place of a scope; ``fraction(network, ratio, count, image)`` is what a ratio leaves; and
    ``check(network, state, masks, images)`` raises ``NetworkError`` where something of a removed
    unit is left in a network. Of units that are true by group, ``made_of`` gives masks of the
    weights that make them, and ``statistics`` of batch norm's statistics of them.
    """

    scores: Translation
    left: Translation
    masks: Translation
    measure: Callable[..., Mapping[str, Tensor]] | None = None
    select: Callable[..., dict[str, Tensor]] | None = None
    fraction: Callable[..., float] | None = None
    check: Callable[..., None] | None = None
    made_of: Translation | None = None
    statistics: Translation | None = None


def load(name: str) -> Unit:
    """Return a unit by its name; raises ``NetworkError`` for an unknown one."""
    module = f"{__name__}.{name}"
    if not name.isidentifier() or find_spec(module) is None:
        raise NetworkError(f"unknown unit {name!r}; there is no module {module}")
    found = import_module(module)
    further = {
        name: getattr(found, name, None)
        for name in ("measure", "select", "fraction", "check", "made_of", "statistics")
    }
    scores = getattr(found, "scores", _no_scores)
    return Unit(scores, found.left, found.masks, **further)
