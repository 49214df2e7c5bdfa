"""What a study's methods remove as one: whether they can, and what that means for their jobs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from recall_distortion.compression.channel_ratios import fraction_of_channels
from recall_distortion.compression.controls import ONE_SHOT, WAY_OF
from recall_distortion.compression.facts import CHANNEL, CHANNEL_CRITERIA, PROFILES, WEIGHT
from recall_distortion.networks import plans, structure
from recall_distortion.networks.structure import Layer
from recall_distortion.study import channels
from recall_distortion.study.architectures import is_built_in
from recall_distortion.study.arms import control_of
from recall_distortion.study.parts import Method
from recall_distortion.system.errors import NetworkError
from recall_distortion.vocabulary import CONTROLS, OF_ROUNDS

Methods = Mapping[str, Method | None]  # of one network, by name; controls and quantizers are None

_NORM = structure.BATCH_NORM


def check(where: str, architecture: str, methods: Methods, count: str) -> None:
    """Check what the methods of a network remove, and what ratios count.

    Raises ``ValueError`` for a criterion that the network has nothing for, for a count of nothing
    that a method removes, and where rounds of different units would share a control.
    """
    # Those of one's own networks are found later, by a process that has torch.
    is_known = is_built_in(architecture)
    kinds = {layer.kind for layer in plans.layers(architecture, 1, 2)} if is_known else {_NORM}
    for name, method in methods.items():
        if method is None:
            continue
        if method.facts.needs_batch_norm and _NORM not in kinds:
            others = [n for n, facts in CHANNEL_CRITERIA.items() if not facts.needs_batch_norm]
            raise ValueError(
                f"methods: {name} of {where} ranks channels by their batch norm, and "
                f"{architecture} has none; choose another network or one of {', '.join(others)}"
            )
        profile = PROFILES[method.profile] if method.profile else None
        if profile and profile.architecture != architecture:
            raise ValueError(
                f"methods.{name}.profile: {profile.name} is of {profile.architecture}, and {where} "
                "is another network; list the method in a panel of its own"
            )
        if method.removed is not None and is_known:
            of = structure.groups(plans.layers(architecture, 1, 2))
            channels.check_groups(where, name, method.removed, of)
        if count == "multiply_adds" and method.unit != CHANNEL.name and not method.sparsities:
            raise ValueError(
                f"count: multiply_adds is of networks without some channels, and {name} of {where} "
                "removes single weights; give it sparsities, or use count: total or prunable"
            )
    for arm in OF_ROUNDS:
        own = {n: m.unit for n, m in methods.items() if m and control_of(m) == arm}
        if len(set(own.values())) > 1:
            raise ValueError(
                f"methods: {' and '.join(own)} remove different units of {where} in rounds, which "
                f"are not as many to a ratio, so that {arm} is no control of both; give them a "
                "recipe each"
            )


def reach(layers: Sequence[Layer], method: Method, ratio: float, count: str, where: str) -> None:
    """Raise ``NetworkError`` where a network of ``layers`` cannot be so much smaller by channels.

    So it does where the method says which of them go, and leaves another ratio than it states.
    """
    if method.removed is not None:
        channels.check_ratio(layers, method.removed, ratio, count, where)
    else:
        fraction_of_channels(layers, ratio, count, where)


def check_scales(where: str, name: str, method: Method, layers: Sequence[Layer]) -> None:
    """Check that a criterion of batch norm has one of each group; raises ``NetworkError``."""
    if not method.facts.needs_batch_norm:
        return
    for group, parts in structure.parts(layers).items():
        if not any(part.role == structure.SCALE for part in parts):
            others = [n for n, facts in CHANNEL_CRITERIA.items() if not facts.needs_batch_norm]
            raise NetworkError(
                f"{name} of {where} ranks channels by their batch norm, and those of {group} have "
                f"none; choose one of {', '.join(others)}"
            )


def parameters(architecture: str, methods: Methods, bundle: Sequence[str]) -> dict[str, Any]:
    """Return what further decides a bundle's networks where units are no weights; else nothing."""
    found: dict[str, Any] = {}
    units = [_unit(name, methods) for name in bundle]
    if CHANNEL.name in units and is_built_in(architecture):
        found["plan"] = structure.word(plans.layers(architecture, 1, 2))
    rounds = [unit for name, unit in zip(bundle, units, strict=True) if name in OF_ROUNDS]
    if CHANNEL.name in rounds:
        found["unit"] = CHANNEL.name
    return found


def method_parameters(architecture: str, method: Method) -> dict[str, Any]:
    """Return what decides the networks of a method on a network, but the ratios."""
    found = method.parameters()
    if method.profile is not None or method.removed is not None:
        layers = plans.layers(architecture, 1, 2)
        found["channels"] = channels.counts(layers, method.profile, method.removed)
    return found


def _unit(name: str, methods: Methods) -> str:
    """Return the unit of a method, or of those whose rounds a control has."""
    method = methods[name]
    if method is not None:
        return method.unit
    own = [m.unit for m in methods.values() if m and control_of(m) == name and name in OF_ROUNDS]
    return own[0] if own else WEIGHT.name


def modules(methods: Methods, bundle: Collection[str]) -> list[str]:
    """Return what pruning by a bundle's methods imports by name: criteria, schedules and units."""
    pruning = [method for name in bundle if (method := methods[name])]
    criteria = {
        f"{'channel_scores' if method.unit == CHANNEL.name else 'scores'}.{method.criterion}"
        for method in pruning
    }
    schedules = {method.schedule for method in pruning}
    schedules |= {WAY_OF[name][0] for name in bundle if name in CONTROLS} - {ONE_SHOT}
    own = {method.unit for method in pruning}
    own |= {_unit(name, methods) for name in bundle if name in OF_ROUNDS}
    return [
        *(f"recall_distortion.compression.pruning.{name}" for name in sorted(criteria)),
        *(f"recall_distortion.compression.schedules.{name}" for name in sorted(schedules)),
        *(f"recall_distortion.compression.pruning.units.{name}" for name in sorted(own)),
    ]
