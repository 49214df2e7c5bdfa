"""What each method of a page is: its formula, a sentence, and the numbers that it was run with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from recall_distortion.compression.controls import FINETUNE, ITERATIVE, control_of
from recall_distortion.compression.event_facts import PERMANENT, REMOVALS
from recall_distortion.compression.facts import (
    ACTIVATIONS,
    BUILT_IN,
    CHANNEL,
    PROFILES,
    QUANTIZATION_SOURCE,
    QUANTIZERS,
    RANGES,
    RETRAININGS,
    SCHEDULES,
    UNITS,
    WEIGHT,
    Retraining,
    Schedule,
    Unit,
    weights_formula,
    weights_meaning,
)
from recall_distortion.compression.formats import BITS, is_integer, ratio
from recall_distortion.report.phrases import join
from recall_distortion.report.style import label
from recall_distortion.vocabulary import (
    CONTROL,
    CONTROL_EVENTS,
    CONTROL_GRADUAL,
    CONTROL_ITERATIVE,
    CONTROL_ITERATIVE_RATE,
    CONTROL_REINIT,
    CONTROL_REWIND,
    CONTROL_REWIND_RATE,
    CONTROL_TRANSFER,
    DENSE,
    RESEED,
    format_ratio,
)

# What the formulas are made of; the page says it once.
SYMBOLS = (
    "θ is a weight; g the gradient by it of the mean cross-entropy, without weight decay; ε the "
    "number that a criterion takes for the weight decay. The weights with the lowest scores are "
    "removed."
)
#: The same where channels are removed.
SYMBOLS_OF_CHANNELS = (
    "W are the weights of all filters that make a channel; γ is the factor of the batch norm "
    "behind it; A has the feature maps of one image, a row a channel. The channels with the lowest "
    "scores are removed; what several layers make or read is summed over these."
)
NOT_DEFINED = "Not defined in these tables."
_NO_SCORE = "–"
_MORCOS = "Morcos et al., NeurIPS 2019, arXiv 1906.02773"
_ARMS = {
    CONTROL: "The same retraining with nothing removed.",
    CONTROL_GRADUAL: "The training of what is pruned gradually, from the same initial weights and "
    "in the same order, with nothing removed. Its best epoch is one of the same.",
    CONTROL_EVENTS: "The dense network's own training, with nothing removed; its best epoch is one "
    "of those after the end of the events.",
    CONTROL_REWIND: "The retraining of what is rewound: the weights of the same epoch, trained in "
    "the same order, with nothing removed.",
    CONTROL_REWIND_RATE: "The dense network trained once more by the rewound schedule, with "
    "nothing removed.",
    CONTROL_ITERATIVE: "As many rounds of fine-tuning as the method has to its ratio, with nothing "
    "removed in any.",
    CONTROL_ITERATIVE_RATE: "As many rounds of training by the rewound schedule, with nothing "
    "removed in any.",
    CONTROL_REINIT: "The training of the same fresh weights with nothing removed.",
    CONTROL_TRANSFER: "The weights of another data set’s training that its tickets begin with, "
    "trained here in the same order, with nothing removed.",
    DENSE: "The trained network, from which nothing is removed.",
    RESEED: "Two dense networks of different seeds, one beside the other.",
}
_SCOPES = {
    "global": "all prunable weights ranked together",
    "layer": "ranked within each layer, so that every layer keeps the same fraction",
    "erk": "ranked within each layer, of which it keeps a fraction in proportion to the sum of its "
    "weights’ sides over their product, or all (Erdős–Rényi kernel, Evci et al., ICML 2020, arXiv "
    "1911.11134)",
}

# When what is not trained to the end is pruned, and what follows.
_BEFORE = {
    "initialization": "at initialization: its initial weights are scored",
    "early": "early: its weights after epoch {epoch} of the training are scored",
}
_THEN = {
    "rewind": "from these it is trained under the mask as a dense network is, in another order",
    "shuffled": "from these it is trained as a dense network is, in another order, under the "
    "mask permuted at random within each layer",
}
_SCOPES_OF_CHANNELS = (
    "ranked within each group of channels that go together, so that every group keeps the same "
    "fraction, and one at least"
)


@dataclass(frozen=True)
class Definition:
    """A method as the page explains it; ``source`` is where its criterion comes from, or empty."""

    method: str
    formula: str
    sentence: str
    source: str = ""


def definitions(study_facts: Mapping[str, Any], methods: Sequence[str]) -> list[Definition]:
    """Return what defines each of ``methods``, then what else the study's facts define.

    ``study_facts["methods"]`` is what ``Study.facts`` gives: criterion, scope, schedule and, where
    they are used, ratios or sparsities of its own, begin and end, gradient_examples and epsilon by
    the method's name, or what a quantizer does and its ratios. Tables from elsewhere may come
    without: built-in names are then explained as far as they are known, others not defined.
    """
    defined = study_facts.get("methods")
    if not isinstance(defined, Mapping):
        defined = {}
    names = dict.fromkeys([*map(str, methods), *map(str, defined)])
    return [_definition(name, defined.get(name)) for name in names]


def symbols(study_facts: Mapping[str, Any]) -> str:
    """Return what the formulas of a study's methods are made of."""
    defined = study_facts.get("methods")
    every = defined.values() if isinstance(defined, Mapping) else ()
    units = {facts.get("unit") for facts in every if isinstance(facts, Mapping)}
    return f"{SYMBOLS} {SYMBOLS_OF_CHANNELS}" if CHANNEL.name in units else SYMBOLS


def _definition(name: str, facts: Any) -> Definition:
    if isinstance(facts, Mapping) and isinstance(facts.get("quantizer"), Mapping):
        return _quantizer(name, facts["quantizer"], facts.get("ratios"))
    if isinstance(facts, Mapping) and isinstance(facts.get("transfer"), Mapping):
        return Definition(name, _NO_SCORE, _transfer(facts["transfer"]), _MORCOS)
    if not isinstance(facts, Mapping) or "criterion" not in facts:
        if name in _ARMS:
            return Definition(name, _NO_SCORE, _ARMS[name])
        if name in QUANTIZERS:
            return _quantizer(name, {**vars(QUANTIZERS[name]), "of": DENSE}, None)
        if name not in BUILT_IN:
            return Definition(name, _NO_SCORE, NOT_DEFINED)
        facts = vars(BUILT_IN[name])
    unit = UNITS.get(str(facts.get("unit")), WEIGHT)
    criterion = unit.criteria.get(str(facts["criterion"]))
    if facts["criterion"] is None:
        return Definition(name, _NO_SCORE, _ARMS[name if name in _ARMS else CONTROL])
    if criterion is None:
        return Definition(name, _NO_SCORE, NOT_DEFINED)
    schedule = SCHEDULES.get(str(facts.get("schedule")))
    settings = [
        f"criterion {criterion.name}" if criterion.name != name else "",
        "reversed: those with the highest scores go instead"
        if facts.get("target") == "highest"
        else "",
        f"removes {unit.meaning}" if unit != WEIGHT else "",
        _scope(unit, facts),
        *_trained(schedule, RETRAININGS.get(str(facts.get("retraining"))), facts),
        _span(facts.get("begin"), facts.get("end")),
        *_events(facts.get("events")),
        _sparsities(facts.get("sparsities")) or _ratios(facts.get("ratios")),
        _gradient(facts.get("gradient_examples")) if criterion.needs_gradient else "",
        _images(facts.get("feature_images")) if criterion.needs_images else "",
        _epsilon(facts.get("epsilon")) if criterion.uses_epsilon else "",
    ]
    said = "; ".join(setting for setting in settings if setting)
    sentence = f"{criterion.meaning} {said[:1].upper()}{said[1:]}.".removesuffix(" .")
    return Definition(name, criterion.formula, sentence, criterion.source)


def _transfer(facts: Mapping[str, Any]) -> str:
    """Return what is trained of another data set's tickets."""
    retraining = str(facts.get("retraining", "rewind"))
    shuffled = ", permuted at random within each layer" if retraining == "shuffled" else ""
    masks = f"The masks of {label(str(facts.get('of')))} on {label(str(facts.get('ticket_from')))}"
    if "recipe" in facts:
        masks += f" ({label(str(facts['recipe']))})"
    if retraining == "reinit":
        return f"{masks}; under them fresh weights are trained here; read against {CONTROL_REINIT}."
    return (
        f"{masks}{shuffled}; under them the weights that it rewound to there are trained here, by "
        "the training’s schedule from that epoch on. An output layer for another number of classes "
        f"is drawn anew; read against {CONTROL_TRANSFER}."
    )


def _quantizer(name: str, facts: Mapping[str, Any], ratios: Any) -> Definition:
    weights, activations = str(facts.get("weights")), str(facts.get("activations"))
    if weights not in BITS or activations not in ACTIVATIONS:
        return Definition(name, _NO_SCORE, NOT_DEFINED)
    said = ACTIVATIONS[activations].format(bits=facts.get("activation_bits", 8))
    if activations == "static" and "calibration_images" in facts:
        count, rule = facts["calibration_images"], str(facts.get("range"))
        said += f": {count:,} of them drawn by the seed, {RANGES.get(rule, rule)}"
        if "percentile" in facts:
            ends = facts["percentile"], round(100 - facts["percentile"], 9)
            said += f" ({' and '.join(map(_decimal, ends))})"
    of = str(facts.get("of"))
    kind = "dense networks" if of == DENSE else f"the networks of {label(of)}, after retraining"
    parts = [
        weights_meaning(weights),
        f"{said[:1].upper()}{said[1:]}." if is_integer(weights) else "",
        "Batch norm is folded into the layers first; the classifier is quantized too.",
        f"Quantizes {kind}, and trains nothing;",
        f"read against {'1, dense networks being its control' if of == DENSE else label(of)};",
        _ratios(ratios) or f"ratio {format_ratio(ratio(weights))}",
    ]
    sentence = " ".join(part for part in parts if part) + "."
    source = QUANTIZATION_SOURCE if is_integer(weights) else ""
    return Definition(name, weights_formula(weights), sentence, source)


def _ratios(ratios: Any) -> str:
    if not isinstance(ratios, Sequence) or isinstance(ratios, str) or not ratios:
        return ""
    return f"at {'ratios' if len(ratios) > 1 else 'a ratio'} of its own: {join(list(ratios))}"


def _trained(
    schedule: Schedule | None, retraining: Retraining | None, facts: Mapping[str, Any]
) -> list[str]:
    """Return when networks are pruned, and what follows where it is no fine-tuning."""
    if schedule is None:
        return []
    before = _BEFORE.get(str(facts.get("at")))
    if retraining is None and schedule.name != ITERATIVE and not before:
        return [schedule.meaning]
    retraining = retraining or RETRAININGS["rewind" if before else FINETUNE]
    once = schedule.meaning.removesuffix(", then fine-tuned")
    against = f"read against {control_of(schedule.name, retraining.name)}"
    if before:
        when = before.format(epoch=facts.get("rewind_epochs"))
        return [f"{once} {when}", _THEN.get(retraining.name, retraining.meaning), against]
    said = [once, retraining.meaning]
    if retraining.rewinds and _is_number(facts.get("rewind_epochs")):
        epochs = int(facts["rewind_epochs"])
        said.append(f"rewound to epoch {epochs}" if epochs else "rewound to the start")
    return [*said, against]


def _sparsities(sparsities: Any) -> str:
    if not isinstance(sparsities, Sequence) or isinstance(sparsities, str) or not sparsities:
        return ""
    shares = join([_decimal(round(100 * share, 9)) for share in sparsities])
    return f"removing {shares} % of the prunable weights, which its ratios name"


def _span(begin: Any, end: Any) -> str:
    if not (_is_number(begin) and _is_number(end)):
        return ""
    ends = " to ".join(_decimal(round(100 * share, 9)) for share in (begin, end))
    return f"from {ends} % of the epochs; read against {CONTROL_GRADUAL}"


def _events(events: Any) -> list[str]:
    """Return when events come and what they do."""
    if not isinstance(events, Mapping):
        return []
    start, end, every = (events.get(name) for name in ("start", "end", "every"))
    when = f"after epoch {start}"
    if every is not None:
        when += f" and then every {every} epochs, up to epoch {end}"
    found = [f"{when}; the best epoch is one of those after epoch {end}"]
    removal = str(events.get("removal"))
    if removal in REMOVALS and removal != PERMANENT:
        steps = f"{events.get('steps')} steps"
        found.append(
            f"removal {removal}: {REMOVALS[removal].replace('so many steps', steps)}, so that the "
            "ratio is nominal and nothing is missing in the end"
        )
    return [*found, f"read against {CONTROL_EVENTS}"]


def _gradient(examples: Any) -> str:
    if not _is_number(examples):
        return ""
    return f"g over {examples:,} training images drawn at random, or all if there are fewer"


def _scope(unit: Unit, facts: Mapping[str, Any]) -> str:
    """Return what scores are ranked over, and how much stays of it where that is published."""
    if unit != CHANNEL:
        return _SCOPES.get(str(facts.get("scope")), "")
    profile, removed = PROFILES.get(str(facts.get("profile"))), facts.get("removed")
    if isinstance(removed, Mapping):
        shares = join([f"{name} {_decimal(round(100 * s, 9))} %" for name, s in removed.items()])
        return (
            f"ranked within each group, of whose channels {shares} go, rounded down, and no other"
        )
    return f"ranked within each group, {profile.meaning}" if profile else _SCOPES_OF_CHANNELS


def _images(count: Any) -> str:
    if not _is_number(count):
        return ""
    return f"feature maps of {count:,} training images drawn at random, or all if there are fewer"


def _epsilon(value: Any) -> str:
    """Return ε as a phrase: a number that the study sets, or decays by the name of a recipe."""
    if _is_number(value):
        return f"ε = {_decimal(value)}, set by the study"
    if not isinstance(value, Mapping) or not value or not all(map(_is_number, value.values())):
        return "the value of ε is not stated in these tables"
    recipes: dict[float, list[str]] = {}
    for name, decay in value.items():
        recipes.setdefault(float(decay), []).append(label(name))
    (first, names), *others = recipes.items()
    said = f"ε = {_decimal(first)}, the weight decay of the training recipe"
    if others:
        said += f"{'s' if len(names) > 1 else ''} {join(names)}"
    return "; ".join([said, *(f"{_decimal(decay)} for {join(those)}" for decay, those in others)])


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _decimal(value: float) -> str:
    """Return a number of a study in full and short: 0, 0.01, 5e-4."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{Decimal(repr(float(value))).normalize():f}"
    _, digits, exponent = Decimal(repr(float(value))).normalize().as_tuple()
    rest = "".join(map(str, digits[1:]))
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[0]}{'.' if rest else ''}{rest}e{int(exponent) + len(rest)}"
