"""What pruning a network does to its weak classes, and whether that is pruning's doing.

>>> import recall_distortion as rd
>>> rd.slope([-0.5, 0.25, 0.25], [-0.75, 0.375, 0.375])
1.5

``audit``, ``recall_table`` and ``slope`` need labels and predictions only; ``predict`` makes these
of a torch model. ``rd.study``, ``rd.networks`` and ``rd.compression`` are imported when they are
first asked for, and torch with what computes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recall_distortion import compression, networks, study
    from recall_distortion.auditing import audit
    from recall_distortion.evaluation.predicting import predict
    from recall_distortion.measures.distortion import recall_table, slope

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "audit",
    "compression",
    "networks",
    "predict",
    "recall_table",
    "slope",
    "study",
]

_FUNCTIONS = {
    "audit": "auditing",
    "predict": "evaluation.predicting",
    "recall_table": "measures.distortion",
    "slope": "measures.distortion",
}


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        found = importlib.import_module(f"{__name__}.{_FUNCTIONS.get(name, name)}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(__name__):
            raise
        raise ModuleNotFoundError(
            f"{__name__}.{name} needs the package {error.name}, which is not installed: install "
            "recall-distortion with its extra 'train', which is for training and for studies",
            name=error.name,
        ) from error
    return getattr(found, name) if name in _FUNCTIONS else found
