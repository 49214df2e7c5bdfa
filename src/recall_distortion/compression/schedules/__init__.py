"""In which rounds networks are pruned and retrained: the schedules, one a file.

A schedule's module has a function ``chains``, from what is asked to chains of rounds. A round
prunes within what the one before left and retrains; each chain begins at the dense network. Where
networks are pruned while they are trained it has ``train_all`` instead, which makes them. A job
imports those that it prunes by, by their names, and depends on no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from recall_distortion.system.errors import NetworkError


@dataclass(frozen=True)
class Round:
    """Prune until ``fraction`` of all that may be pruned is left, then retrain.

    ``ratio`` is that of the cell that the round leads to. Its networks are the cell's where it is
    ``asked`` for; otherwise another round follows.
    """

    fraction: float
    ratio: str
    asked: bool = True


#: The rounds from the dense network on.
Chain = tuple[Round, ...]


def load(name: str) -> Callable[[Mapping[str, float]], list[Chain]]:
    """Return a schedule by its name; raises ``NetworkError`` for an unknown one.

    It makes of the fractions that are to be kept, by ratio and in falling order, chains in which
    each ratio is asked for once.
    """
    found: Callable[[Mapping[str, float]], list[Chain]] = _module(name).chains
    return found


def load_training(name: str) -> Callable[..., Any]:
    """Return what trains networks and prunes them meanwhile, by its schedule's name.

    Raises ``NetworkError`` for an unknown one.
    """
    found: Callable[..., Any] = _module(name).train_all
    return found


def _module(name: str) -> ModuleType:
    module = f"{__name__}.{name}"
    if not name.isidentifier() or find_spec(module) is None:
        raise NetworkError(f"unknown schedule {name!r}; there is no module {module}")
    return import_module(module)
