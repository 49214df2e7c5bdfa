"""The jobs of a study that measure networks themselves: of which networks, and how."""

from __future__ import annotations

from typing import Any

from recall_distortion.study.models import Network, Study
from recall_distortion.vocabulary import DENSE


def bundles(study: Study, network: Network) -> list[str]:
    """Return the bundles of a network whose curvature is measured, ``dense`` among them.

    None where a study does not ask for it, and none that quantizes: rounding has no derivatives.
    """
    return [] if study.curvature is None else _with_weights(study, network)


def bundles_of_dead_units(study: Study, network: Network) -> list[str]:
    """Return the bundles of a network whose dead units are counted, as ``bundles`` does."""
    return _with_weights(study, network) if study.dead_units else []


def _with_weights(study: Study, network: Network) -> list[str]:
    names = study.bundles(network.panel).items()
    return [DENSE, *(name for name, own in names if not any(map(study.quantizer, own)))]


def parameters(study: Study) -> dict[str, Any]:
    """Return exactly what decides what is measured, besides data and networks."""
    assert study.curvature is not None
    return {**study.curvature.model_dump(), "selection": study.selection}
