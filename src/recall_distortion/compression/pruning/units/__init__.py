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


@dataclass(frozen=True)
class Unit:
    """What is kept or removed as one.

    Units come in groups, as weights come in layers; a group has a name and a tensor with a place
    for each unit. ``scores`` makes of the weights' scores by parameter those of the units by group;
    ``left`` makes of masks by parameter booleans by group, true where a unit is not removed; and
    ``masks`` makes of such booleans masks by parameter.
    """

    scores: Translation
    left: Translation
    masks: Translation


def load(name: str) -> Unit:
    """Return a unit by its name; raises ``NetworkError`` for an unknown one."""
    module = f"{__name__}.{name}"
    if not name.isidentifier() or find_spec(module) is None:
        raise NetworkError(f"unknown unit {name!r}; there is no module {module}")
    found = import_module(module)
    return Unit(found.scores, found.left, found.masks)
