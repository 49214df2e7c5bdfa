"""Tickets across data in a study: where they come from, and what their jobs read.

A transfer is to all else a pruning method of one round, with the criterion of the method whose
tickets it takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recall_distortion.compression.controls import (
    EARLY,
    ONE_SHOT,
    TRAINED,
    TRANSFER,
    TRANSFER_SHUFFLED,
)
from recall_distortion.compression.facts import WEIGHT
from recall_distortion.networks import plans
from recall_distortion.study import arms
from recall_distortion.study.parts import METHODS, Method
from recall_distortion.study.transfers import Transfer
from recall_distortion.vocabulary import CONTROL_TRANSFER, Panel

Study = Any  # models.Study, which imports this module
ImageShape = Any  # reading.ImageShape, likewise

#: What a bundle with a transfer imports by name.
MODULE = "recall_distortion.compression.transfers"
_RETRAININGS = {"rewind": TRANSFER, "shuffled": TRANSFER_SHUFFLED, "reinit": "reinit"}


class Transferred(Method):
    """What a transfer is to jobs and tables: a method whose masks are another one's tickets."""

    ticket: str

    def parameters(self) -> dict[str, Any]:
        """Return what decides a job's networks, besides the ratios and the masks."""
        return super().parameters() | {"ticket": self.ticket}


def as_method(transfer: Transfer, source: Method) -> Method:
    """Return a transfer as a method, with what its ``source`` says of ratios and criterion."""
    fresh = transfer.retraining == "reinit"
    own = {
        "schedule": ONE_SHOT,
        "at": TRAINED if fresh else EARLY,
        "retraining": _RETRAININGS[transfer.retraining],
        "rewind_epochs": 0 if fresh else source.rewind_epochs,
        "ticket": transfer.of,
    }
    # Not validated: no study may say of a method what a transfer is.
    return Transferred.model_construct(**{**dict(source), **own})


def check_methods(methods: Mapping[str, Any]) -> None:
    """Check that transfers take the tickets of methods that have some.

    Raises ``ValueError`` with a message that names the key and what would be valid.
    """
    known = {**METHODS, **methods}
    for name, transfer in methods.items():
        if not isinstance(transfer, Transfer):
            continue
        of = known.get(transfer.of)
        if not (isinstance(of, Method) and of.retraining == "rewind" and of.unit == WEIGHT.name):
            valid = [
                other
                for other, method in known.items()
                if isinstance(method, Method)
                and method.retraining == "rewind"
                and method.unit == WEIGHT.name
            ]
            raise ValueError(
                f"methods.{name}.of: {transfer.of} is no method that removes single weights and "
                f"rewinds those that are left, so it has no tickets; valid: {', '.join(valid)}"
            )


def source(study: Study, panel: Panel) -> Panel | None:
    """Return where the transfers of a network come from; None where it has none."""
    found = _sources(study, panel)
    return next(iter(found.values()), None)


def _sources(study: Study, panel: Panel) -> dict[str, Panel]:
    transfers = {
        name: method
        for name in study.network(panel).methods
        if isinstance(method := study.methods.get(name), Transfer)
    }
    return {
        name: Panel(one.ticket_from, panel.architecture, one.recipe or panel.recipe)
        for name, one in transfers.items()
    }


def check(study: Study) -> None:
    """Check that each transfer's source is trained, and that jobs can follow each other.

    Raises ``ValueError`` with a message that names the key and what would be valid.
    """
    trained = {network.panel: network.methods for network in study.networks()}
    for panel in trained:
        sources = _sources(study, panel)
        for name, place in sources.items():
            of = study.methods[name].of
            if place == panel:
                raise ValueError(
                    f"methods.{name}.ticket_from: {panel} is listed with it, whose own tickets "
                    f"{of} trains; list it in a panel of another data set"
                )
            if of not in trained.get(place, ()):
                raise ValueError(
                    f"methods.{name}.ticket_from: no panel has {of} of {place}, whose tickets "
                    f"{panel} would train; add one"
                )
        if len(set(sources.values())) > 1:
            raise ValueError(
                f"methods: {' and '.join(sources)} bring tickets of several data sets to {panel}, "
                f"which has one {CONTROL_TRANSFER} for all; give them a recipe each"
            )
    of_all = {m.of for m in study.methods.values() if isinstance(m, Transfer)}
    for bundle, names in study.jobs.bundles.items():
        taking = [name for name in names if isinstance(study.methods.get(name), Transfer)]
        taken = [name for name in names if name in of_all]
        if taking and taken:
            raise ValueError(
                f"jobs.bundles.{bundle}: {taking[0]} trains what other jobs leave, and "
                f"{taken[0]} has tickets that a job trains, so they share none; move one of them"
            )


def check_shapes(study: Study, panel: Panel, shapes: Mapping[str, ImageShape]) -> str:
    """Return why a network's transfers cannot fit it; empty where they do.

    All layers are as on the source's images, but for the number of classes.
    """
    place = source(study, panel)
    if place is None:
        return ""
    if panel.architecture in study.architectures:
        return (
            f"tickets of {place.dataset} are trained on other data in networks of this package "
            f"alone, and {panel.architecture} is your own; leave out ticket_from"
        )
    own, other = (shapes[name] for name in (panel.dataset, place.dataset))
    layers = (
        plans.layers(panel.architecture, shape.channels, 2, (shape.image_size,) * 2)
        for shape in (own, other)
    )
    for here, there in zip(*layers, strict=True):
        if (here.inputs, here.outputs, here.area) != (there.inputs, there.outputs, there.area):
            sizes = [f"{s.channels} x {s.image_size} x {s.image_size}" for s in (own, other)]
            return (
                f"tickets of {place.dataset}, whose images are {sizes[1]}, do not fit "
                f"{panel.architecture} on {panel.dataset}, whose images are {sizes[0]}: "
                f"{here.name} has other weights; take tickets of a data set of the same shape"
            )
    return ""


def parameters(study: Study, panel: Panel, bundle: str) -> dict[str, Any]:
    """Return what further decides a bundle's networks: how the weights they begin with arose."""
    place = source(study, panel)
    if place is None or not _begins(study, panel, bundle):
        return {}
    names = study.network(panel).methods
    methods = {name: study.pruning(name) for name in names}
    epochs = arms.rewound(TRANSFER, methods)
    return {
        "source": {
            "recipe": study.network(place).recipe.training.parameters(),
            "epochs": epochs,
        }
    }


def _begins(study: Study, panel: Panel, bundle: str) -> bool:
    """Return whether any network of a bundle begins with another data set's weights."""
    names = study.bundles(panel)[bundle]
    own = {name: arms.control_of(m) for name in names if (m := study.pruning(name))}
    return CONTROL_TRANSFER in names or CONTROL_TRANSFER in own.values()


def inputs(study: Study, panel: Panel, bundle: str, group: str) -> tuple[str, list[dict[str, str]]]:
    """Return what a job reads of another data set: that, and the files of its tickets.

    The data set is empty where no weights come from it; each file is of a network, bundle and group
    of ratios, by what paths have in braces.
    """
    place = source(study, panel)
    if place is None:
        return "", []
    wanted = {
        (method.of, ratio)
        for name, ratios in study.job_ratios(panel, bundle, group).items()
        if isinstance(method := study.methods.get(name), Transfer)
        for ratio in ratios
    }
    files = [
        place._asdict() | {"bundle": other, "ratios": own}
        for other in study.bundles(place)
        for own in study.ratio_groups(place, other)
        if wanted.intersection(
            (name, ratio)
            for name, ratios in study.job_ratios(place, other, own).items()
            for ratio in ratios
        )
    ]
    return place.dataset if _begins(study, panel, bundle) else "", files


def modules(study: Study, panel: Panel, bundle: str | None) -> list[str]:
    """Return what a bundle's jobs import by name."""
    if bundle is None or source(study, panel) is None:
        return []
    names = study.bundles(panel)[bundle]
    taking = any(isinstance(study.methods.get(name), Transfer) for name in names)
    return [MODULE] if taking or CONTROL_TRANSFER in names else []
