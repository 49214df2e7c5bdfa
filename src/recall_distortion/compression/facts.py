"""What is known of criteria, quantizers and built-in methods without torch; studies and pages read.

Sentences stand here, so no job that computes networks imports this: a better one retrains nothing.
The functions are in ``pruning.scores`` and ``quantization``, which tests hold against these facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from recall_distortion.compression.formats import BITS, is_integer

_PAPER = "Good et al., NeurIPS 2022, arXiv 2206.02976"
_SCRIPT = "the authors’ script, GitHub yuxwind/shrinkbench_generate_model"


@dataclass(frozen=True)
class Criterion:
    """What scores a weight; the weights with the lowest scores are pruned.

    In ``formula`` θ is the weight, g the gradient of the mean cross-entropy by it, without weight
    decay, and ε what the criterion takes for the weight decay. ``keeps_more`` marks a threshold
    that leaves more weights than the ratio asks for. Criteria of channels have W, all weights of
    the filters that make a channel, γ, batch norm's factor, and A, the feature maps of one image, a
    row a channel; ``needs_images`` marks those that look at the latter.
    """

    name: str
    formula: str
    meaning: str
    source: str
    needs_gradient: bool = False
    uses_epsilon: bool = False
    keeps_more: bool = False
    needs_images: bool = False
    needs_batch_norm: bool = False


CRITERIA: dict[str, Criterion] = {
    facts.name: facts
    for facts in (
        Criterion(
            "magnitude",
            "|θ|",
            "The smallest weights go: magnitude pruning (MP).",
            f"{_PAPER}, section 6",
        ),
        Criterion(
            "gradient",
            "|θ g|",
            "To first order, how much the loss would change without the weight: gradient pruning "
            "(GP) as it was run; by the formula in the paper’s text it is undecayed pruning, too.",
            f"{_PAPER}, section 6, as in ShrinkBench, GitHub JJGO/shrinkbench",
            needs_gradient=True,
        ),
        Criterion(
            "regularized_gradient",
            "|θ (g + ε θ)|",
            "As gradient, but with the weight decay in the loss: gradient pruning (GP) as the "
            "paper’s text defines it.",
            _PAPER,
            needs_gradient=True,
            uses_epsilon=True,
        ),
        Criterion(
            "undecayed",
            "|−θ g + ε θ²|",
            "To first order, the change of the loss without the weight, plus ε θ² for the weight "
            "decay: undecayed pruning (UP) as it was published, with the absolute value.",
            f"{_PAPER}, section 6",
            needs_gradient=True,
            uses_epsilon=True,
        ),
        Criterion(
            "undecayed_signed",
            "−θ g + ε θ²",
            "Undecayed pruning (UP) as the published script ran it, without the absolute value: "
            "its threshold spares weights with large negative scores, too, so that more weights "
            "stay than the ratio asks for.",
            _SCRIPT,
            needs_gradient=True,
            uses_epsilon=True,
            keeps_more=True,
        ),
        Criterion(
            "lamp",
            "θ² / Σ θ′², over all θ′ of the layer with |θ′| ≥ |θ|",
            "The smallest weights of each layer go, and how many of which layer depends on how "
            "much of what is left of it each of them is: layer-adaptive magnitude pruning (LAMP). "
            "A layer’s scale does not matter, and its largest weight scores 1.",
            "Lee et al., ICLR 2021, arXiv 2010.07611",
        ),
        Criterion(
            "synflow",
            "|θ ∂R/∂θ|",
            "How much of the flow R passes through the weight; R is the sum of the outputs for an "
            "image of ones, with the absolute value of all that the network holds. No image of the "
            "data is looked at. The weights with the lowest scores go in 100 rounds, by the flow "
            "that is left: iterative synaptic flow pruning (SynFlow).",
            "Tanaka et al., NeurIPS 2020, arXiv 2006.05467",
        ),
        Criterion(
            "random",
            "a random number",
            "Weights go at random, each as likely as any other: random pruning (RP).",
            f"{_PAPER}, section 6",
        ),
    )
}


_LI = "Li et al., ICLR 2017, arXiv 1608.08710"

#: What scores a channel, where channels are removed; those with the lowest scores are.
CHANNEL_CRITERIA: dict[str, Criterion] = {
    facts.name: facts
    for facts in (
        Criterion(
            "l1_norm",
            "Σ |W|",
            "The channels with the smallest filters go, by the sum of their absolute weights.",
            _LI,
        ),
        Criterion(
            "l2_norm",
            "√Σ W²",
            "The channels with the smallest filters go, by their Euclidean norm.",
            _LI,
        ),
        Criterion(
            "chip",
            "mean over images of ‖A‖∗ − ‖A without the channel’s row‖∗",
            "The channels go whose feature maps the other channels’ come closest to spanning: "
            "channel independence (CHIP), by nuclear norms ‖·‖∗. Hidden units, of which an image "
            "gives a number each, have one A of all the images.",
            "Sui et al., NeurIPS 2021, arXiv 2110.13981",
            needs_images=True,
        ),
        Criterion(
            "batch_norm_scale",
            "|γ|",
            "The channels go that batch norm multiplies by the smallest factors: the criterion of "
            "network slimming, without its regularizer.",
            "Liu et al., ICCV 2017, arXiv 1708.06519",
            needs_batch_norm=True,
        ),
        Criterion(
            "random",
            "a random number",
            "Channels go at random, each of its layer as likely as any other.",
            _LI,
        ),
    )
}


@dataclass(frozen=True)
class Unit:
    """What is removed as one; ``meaning`` is a phrase of the page's and the schema's.

    ``criteria`` score it, and ``scopes`` are what scores may be ranked over, the first by default.
    """

    name: str
    meaning: str
    criteria: Mapping[str, Criterion]
    scopes: tuple[str, ...]


#: What a method removes that does not say otherwise.
WEIGHT = Unit(
    "weight",
    "single weights; biases and batch norm are left alone",
    CRITERIA,
    ("global", "layer", "erk"),
)
CHANNEL = Unit(
    "channel",
    "whole filters and hidden units, with their biases, their batch norm and all that the next "
    "layers take of them; what a shortcut adds goes together",
    CHANNEL_CRITERIA,
    ("layer",),
)

UNITS: dict[str, Unit] = {facts.name: facts for facts in (WEIGHT, CHANNEL)}


@dataclass(frozen=True)
class Profile:
    """Published numbers of channels, layer by layer, of one architecture.

    ``ratio`` is the published one; ``channels`` are how many stay of a group, by what its name
    begins with, and groups of no such name stay whole.
    """

    name: str
    architecture: str
    ratio: float
    channels: Mapping[str, int]
    meaning: str

    def of(self, group: str, size: int) -> int:
        """Return how many channels stay of a group of a size."""
        return next((n for start, n in self.channels.items() if group.startswith(start)), size)


PROFILES: dict[str, Profile] = {
    facts.name: facts
    for facts in (
        Profile(
            "chip_resnet56",
            "resnet56",
            3.54,
            {
                **{"stage1.": 8, "stage2.": 12, "stage3.": 19},
                **{"stage1": 9, "stage2_before": 5, "stage2_after": 5},
            },
            "at the rates of CHIP’s stronger setting of ResNet-56 (GitHub yuxwind/"
            "CHIP_NeurIPS2021), which keep 8, 12 and 19 channels within the blocks of the three "
            "stages and 9 and 19 between those of the first two; what these lose the third loses "
            "with them, 13 of 64, which CHIP’s code keeps",
        ),
    )
}


_SNIP = "Lee et al., ICLR 2019, arXiv 1810.02340"

#: Which weights are scored, by the word of a study; a phrase each.
SCORED: dict[str, str] = {
    "trained": "the weights as they are after the training",
    "early": "the weights of the epoch that the retraining rewinds to",
    "initialization": "the initial weights, from which the network is then trained under the mask "
    f"by the recipe's training; criterion gradient there is SNIP ({_SNIP})",
}


@dataclass(frozen=True)
class Schedule:
    """When a method prunes and retrains; ``meaning`` is a phrase of the page's and the schema's.

    ``of_dense`` says whether the networks were the dense ones before. Others are trained by the
    recipe of these, from weights of their own.
    """

    name: str
    meaning: str
    of_dense: bool = True


SCHEDULES: dict[str, Schedule] = {
    facts.name: facts
    for facts in (
        Schedule("one_shot", "pruned once, then fine-tuned"),
        Schedule(
            "iterative",
            "pruned in rounds of about a fifth of the weights that are left, each followed by a "
            "retraining; every ratio of the study is a round of one chain",
        ),
        Schedule(
            "gradual",
            "pruned more and more while it is trained from initial weights of its own, as by Zhu "
            "and Gupta, arXiv 1710.01878; what went may return until the last is removed",
            of_dense=False,
        ),
        Schedule(
            "events",
            "pruned at events of the dense network's own training, from its initial weights and in "
            "its order, as by Bartoldson et al., arXiv 1906.03728",
            of_dense=False,
        ),
    )
}


@dataclass(frozen=True)
class Retraining:
    """What follows a pruning; ``meaning`` is a phrase of the page's and the schema's.

    ``rewinds`` marks those that begin in an earlier epoch of the training.
    """

    name: str
    meaning: str
    rewinds: bool = False


_RENDA = "Renda et al., ICLR 2020, arXiv 2003.02389"
_FRANKLE = "Frankle and Carbin, ICLR 2019, arXiv 1803.03635"

RETRAININGS: dict[str, Retraining] = {
    facts.name: facts
    for facts in (
        Retraining("finetune", "trained on by the recipe's fine-tuning"),
        Retraining(
            "rewind",
            "what is left is set back to its value in an earlier epoch of the training and trained "
            f"from there as before, in another order: a lottery ticket ({_FRANKLE}; {_RENDA})",
            rewinds=True,
        ),
        Retraining(
            "rewind_rate",
            "what is left keeps its value and is trained by the schedule of the training from an "
            f"earlier epoch on ({_RENDA})",
            rewinds=True,
        ),
        Retraining(
            "reinit",
            "what is left gets fresh initial weights and is trained as a dense network is: what "
            f"the mask does without the ticket's weights ({_FRANKLE})",
        ),
        Retraining(
            "shuffled",
            "as rewind, with the mask permuted at random within each layer: what the layers' "
            "densities do without the mask (Frankle et al., ICLR 2021, arXiv 2009.08576)",
            rewinds=True,
        ),
    )
}


@dataclass(frozen=True)
class BuiltIn:
    """A method that studies may name without defining it; ε is the training's weight decay."""

    criterion: str
    scope: Literal["global", "layer", "erk"] = "global"
    schedule: str = "one_shot"
    at: str = "trained"
    unit: str = WEIGHT.name


BUILT_IN: dict[str, BuiltIn] = {
    "magnitude": BuiltIn("magnitude"),
    "layerwise_magnitude": BuiltIn("magnitude", scope="layer"),
    **{name: BuiltIn(name) for name in CRITERIA if name not in ("magnitude", "synflow")},
    "snip": BuiltIn("gradient", at="initialization"),
    "synflow": BuiltIn("synflow", at="initialization"),
    "gradual": BuiltIn("magnitude", scope="layer", schedule="gradual"),
    **{
        name if name not in CRITERIA else f"{name}_channels": BuiltIn(
            name, scope="layer", unit=CHANNEL.name
        )
        for name in CHANNEL_CRITERIA
    },
}


@dataclass(frozen=True)
class BuiltInQuantizer:
    """A quantizer that studies may name without defining it; all else is as by default."""

    weights: str
    activations: Literal["float", "static", "dynamic"] = "float"


QUANTIZERS: dict[str, BuiltInQuantizer] = {
    "float16": BuiltInQuantizer("float16"),
    "bfloat16": BuiltInQuantizer("bfloat16"),
    "int8_static": BuiltInQuantizer("int8", "static"),
    "int8_dynamic": BuiltInQuantizer("int8", "dynamic"),
    **{f"{name}_weights": BuiltInQuantizer(name) for name in ("int8", "int6", "int4", "int3")},
}

#: Where the scheme of whole numbers comes from, and the formula of its weights.
QUANTIZATION_SOURCE = (
    "Jacob et al., CVPR 2018, arXiv 1712.05877; the choices of TensorFlow Lite’s 8-bit "
    "specification, but for logits, which stay in float32"
)
#: What becomes of the numbers between layers, by the word of a study; a phrase each.
ACTIVATIONS: dict[str, str] = {
    "float": "what lies between layers stays in float32",
    "static": "what a layer gets has {bits} bits in a range measured on training images",
    "dynamic": "what a layer gets has {bits} bits in the image’s own range",
}
#: How calibration measures a range, by the word of a study; a phrase each.
RANGES: dict[str, str] = {
    "min_max": "from the least to the largest number",
    "percentile": "from one percentile to the other",
}


def weights_meaning(weights: str) -> str:
    """Return a sentence about a format of weights."""
    if is_integer(weights):
        return (
            f"Weights are whole numbers of {BITS[weights]} bits, symmetric about 0, times a scale "
            "each output channel."
        )
    return f"Weights and biases are rounded to {weights}; everything is computed in float32."


def weights_formula(weights: str) -> str:
    """Return what becomes of a weight θ, whose channel has the scale s."""
    if not is_integer(weights):
        return f"{weights}(θ)"
    return f"s · round(θ / s), s = max |θ| / {2 ** (BITS[weights] - 1) - 1}"
