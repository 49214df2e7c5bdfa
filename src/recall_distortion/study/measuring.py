"""The jobs of a study that measure the curvature of the loss: of which networks, and how."""

from __future__ import annotations

from typing import Any

from recall_distortion.study.models import Network, Study
from recall_distortion.vocabulary import DENSE


def bundles(study: Study, network: Network) -> list[str]:
    """Return the bundles of a network whose curvature is measured, ``dense`` among them.

    None where a study does not ask for it, and none that quantizes: rounding has no derivatives.
    """
    if study.curvature is None:
        return []
    names = study.bundles(network.panel).items()
    return [DENSE, *(name for name, own in names if not any(map(study.quantizer, own)))]


def parameters(study: Study) -> dict[str, Any]:
    """Return exactly what decides what is measured, besides data and networks."""
    assert study.curvature is not None
    return {**study.curvature.model_dump(), "selection": study.selection}
