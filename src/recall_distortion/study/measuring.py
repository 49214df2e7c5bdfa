"""The jobs of a study that measure networks themselves: of which networks, and how."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

from recall_distortion.study import paths
from recall_distortion.study.models import Network, Study
from recall_distortion.study.pairs import pairs_of
from recall_distortion.vocabulary import DENSE

#: What a path is about: data set, architecture, recipe, bundle, ratios, block.
Place = dict[str, str]


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


def compared_masks(study: Study, network: Network) -> tuple[list[dict[str, Any]], list[Place]]:
    """Return the pairs of a network's methods whose masks are compared, and where the masks lie.

    A pair has a ``method``, the ``other`` and the ``ratios`` that both run at, as texts; a place is
    of a file, by what paths have in braces. Both are empty where a study asks for none.
    """
    pairs = pairs_of(study, network.methods)
    wanted = {
        (pair[role], ratio)
        for pair in pairs
        for role in ("method", "other")
        for ratio in pair["ratios"]
    }
    places = [
        network.panel._asdict() | {"bundle": bundle, "ratios": group, "block": block}
        for bundle in study.bundles(network.panel)
        for group in study.ratio_groups(network.panel, bundle)
        if wanted.intersection(
            (name, ratio)
            for name, ratios in study.job_ratios(network.panel, bundle, group).items()
            for ratio in ratios
        )
        for block in study.blocks()
    ]
    return pairs, places


def not_brought(study: Study, results: str | Path) -> dict[str, list[str]]:
    """Return the tables that are missing and cannot be made, by what they are of.

    So it is where predictions that were computed elsewhere came into a folder of ``results``
    without their weights: networks are not trained again for this.
    """
    found = {
        "curvature": _measures_not_brought(study, results, "curvature", bundles),
        "dead units": _measures_not_brought(study, results, "dead_units", bundles_of_dead_units),
        "what masks share": _masks_not_brought(study, results),
    }
    return {what: tables for what, tables in found.items() if tables}


def _measures_not_brought(
    study: Study, results: str | Path, kind: str, bundles_of: Callable[[Study, Network], list[str]]
) -> list[str]:
    found = []
    for network in study.networks():
        for bundle, block in product(bundles_of(study, network), study.blocks()):
            place = network.panel._asdict() | {"bundle": bundle, "block": block}
            groups = [] if bundle == DENSE else study.ratio_groups(network.panel, bundle)
            weights = [paths.COMPRESSED.format(**place, ratios=group) for group in groups]
            weights = weights or [paths.DENSE.format(**place)]
            stem = f"{results}/{paths.PREDICTIONS}".format(**place)
            made = all(Path(f"{results}/{one}.safetensors").exists() for one in weights)
            table = f"{stem}.{kind}.csv"
            if not made and Path(f"{stem}.safetensors").exists() and not Path(table).exists():
                found.append(table)
    return found


def _masks_not_brought(study: Study, results: str | Path) -> list[str]:
    found = []
    for network in study.networks():
        _, places = compared_masks(study, network)
        stems = [f"{results}/{paths.COMPRESSED}".format(**place) for place in places]
        elsewhere = any(
            Path(f"{stem}.sparsity.csv").exists() and not Path(f"{stem}.safetensors").exists()
            for stem in stems
        )
        table = f"{results}/{paths.MASK_OVERLAP}".format(**network.panel._asdict())
        if elsewhere and not Path(table).exists():
            found.append(table)
    return found


def parameters(study: Study) -> dict[str, Any]:
    """Return exactly what decides what is measured, besides data and networks."""
    assert study.curvature is not None
    return {**study.curvature.model_dump(), "selection": study.selection}
