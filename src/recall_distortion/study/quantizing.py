"""The jobs of a study that quantize: what they make, of which networks, and by what code."""

from __future__ import annotations

from typing import Any

from recall_distortion.study.models import Study
from recall_distortion.vocabulary import DENSE, UNCOMPRESSED_TEXT, Panel, format_ratio

#: What an evaluation of quantized networks imports by name.
EVALUATION = "recall_distortion.evaluation.quantized"


def quantizes(study: Study, panel: Panel, bundle: str) -> bool:
    """Return whether a bundle's methods quantize; of one that they all do or none."""
    return any(study.quantizer(name) for name in study.bundles(panel).get(bundle, ()))


def bundles(study: Study) -> list[str]:
    """Return the names of all bundles that quantize."""
    found = (
        bundle
        for network in study.networks()
        for bundle in study.bundles(network.panel)
        if quantizes(study, network.panel, bundle)
    )
    return list(dict.fromkeys(found))


def parameters(study: Study, panel: Panel, bundle: str) -> dict[str, Any]:
    """Return exactly what decides a bundle's quantized networks, besides cells and inputs."""
    definitions = {name: study.quantizer(name) for name in study.bundles(panel)[bundle]}
    return {
        "methods": {name: method.model_dump() for name, method in definitions.items() if method},
        "selection": study.selection,
    }


def cells(study: Study, panel: Panel, bundle: str, group: str) -> dict[str, dict[str, str]]:
    """Return by method the ratios of a bundle's job, and to each that of what is quantized."""
    found = {}
    for name, ratios in study.job_ratios(panel, bundle, group).items():
        method = study.quantizer(name)
        assert method is not None
        of = {
            format_ratio(method.ratio(ratio)): format_ratio(ratio)
            for ratio in study.ratios_of(method.of)
        }
        found[name] = {ratio: of[ratio] for ratio in ratios}
    return found


def origins(study: Study, panel: Panel, bundle: str, group: str) -> list[tuple[str, str]]:
    """Return bundle and group of ratios of the compressed networks that a job quantizes.

    Dense ones are none of them.
    """
    wanted = {
        (study.quantizer(name).of, ratio)  # type: ignore[union-attr]
        for name, of in cells(study, panel, bundle, group).items()
        for ratio in of.values()
    } - {(DENSE, UNCOMPRESSED_TEXT)}
    return [
        (other, own)
        for other in study.bundles(panel)
        if not quantizes(study, panel, other)
        for own in study.ratio_groups(panel, other)
        if wanted.intersection(
            (name, ratio)
            for name, ratios in study.job_ratios(panel, other, own).items()
            for ratio in ratios
        )
    ]


def modules(study: Study, panel: Panel, bundle: str) -> list[str]:
    """Return what evaluating a bundle, or the dense networks, imports by name."""
    own = [EVALUATION] if quantizes(study, panel, bundle) else []
    return [*study.modules(panel), *own]
