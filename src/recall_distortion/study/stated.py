"""What a report states of a study's methods, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recall_distortion.compression.controls import FINETUNE, GRADUAL, TRAINED
from recall_distortion.compression.facts import RETRAININGS, WEIGHT
from recall_distortion.study.events import LOWEST
from recall_distortion.study.parts import Method
from recall_distortion.study.quantizers import Quantizer
from recall_distortion.study.transfers import Transfer
from recall_distortion.vocabulary import CONTROLS, format_ratio


def of_study(study: Any) -> dict[str, Any]:
    """Return what a report states of a study (``models.Study``).

    ``methods`` defines every method of the study (``of_method``).
    """
    names = dict.fromkeys(name for panel in study.panels for name in panel.methods)
    return {
        "name": study.folder,
        "description": study.description,
        "datasets": {name: dataset.label for name, dataset in study.datasets.items()},
        "seeds": study.replicate_seeds(),
        "ratios": [format_ratio(ratio) for ratio in study.ratios],
        "count": study.count,
        "selection": study.selection,
        "recipes": {name: recipe.model_dump() for name, recipe in study.recipes.items()},
        "crossfit_splits": study.crossfit_splits,
        "methods": {name: _method_of(study, name) for name in names},
    }


def _method_of(study: Any, name: str) -> dict[str, Any]:
    used = {study.recipe_name(p.recipe) for p in study.panels if name in p.methods}
    decays = {key: study.recipes[key].training.weight_decay for key in study.recipes if key in used}
    method = None if name in CONTROLS else study.method(name)
    return of_method(method, study.ratios_of(name), decays)


def of_method(
    method: Method | Quantizer | Transfer | None,
    ratios: Sequence[float],
    decays: Mapping[str, float],
) -> dict[str, Any]:
    """Return what defines a method, without what it does not use; None's criterion is None.

    ``ratios`` are those that it runs at, ``decays`` the weight decay by the name of each recipe
    that trains networks for it: its ``epsilon`` where it sets none. A quantizer's facts are under
    ``quantizer``, with its ratios beside them, a transfer's under ``transfer``.
    """
    if method is None:
        return {"criterion": None}
    own = [format_ratio(ratio) for ratio in ratios]
    if isinstance(method, Quantizer):
        return {"quantizer": _quantizer(method), "ratios": own}
    if isinstance(method, Transfer):
        return {"transfer": method.model_dump(exclude_none=True)}
    found = method.model_dump(include={"criterion", "scope", "schedule"})
    if method.unit != WEIGHT.name:
        found["unit"] = method.unit
    if method.profile is not None:
        found["profile"] = method.profile
    if method.removed is not None:
        found["removed"] = method.removed
    if method.own_ratios is not None:
        found["ratios"] = own
    if method.sparsities is not None:
        found["sparsities"] = method.sparsities
    if method.at != TRAINED:
        found["at"] = method.at
    if method.retraining != FINETUNE:
        found["retraining"] = method.retraining
    if RETRAININGS[method.retraining].rewinds:
        found["rewind_epochs"] = method.rewind_epochs
    if method.target != LOWEST:
        found["target"] = method.target
    if method.events is not None:
        found["events"] = method.events.model_dump(exclude_none=True)
    if method.schedule == GRADUAL:
        found |= {"begin": method.begin, "end": method.end}
    criterion = method.facts
    if criterion.needs_images:
        found["feature_images"] = method.feature_images
    if criterion.needs_gradient:
        found["gradient_examples"] = method.gradient_examples
    if criterion.uses_epsilon:
        found["epsilon"] = dict(decays) if method.epsilon is None else method.epsilon
    return found


def _quantizer(method: Quantizer) -> dict[str, Any]:
    used = {"weights", "activations", "of"}
    if method.activations != "float":
        used.add("activation_bits")
    if method.activations == "static":
        used |= {"calibration_images", "range"}
        used |= {"percentile"} if method.range == "percentile" else set()
    return method.model_dump(include=used)
