"""Networks of one's own in a study: how they are named, and what a job is told of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints, field_validator

from recall_distortion.compression.controls import FINETUNE, TRAINED, WAY_OF, WHILE_TRAINED
from recall_distortion.compression.facts import CHANNEL
from recall_distortion.networks.definition import SEED, Definition
from recall_distortion.study.arms import Methods
from recall_distortion.study.recipes import RecipePair
from recall_distortion.study.strict import Name, Strict
from recall_distortion.system import own_code
from recall_distortion.system.errors import NetworkError, StudyError

_OWN = "recall_distortion.networks.own"
_GROUPS = "recall_distortion.networks.channel_groups"
_CHANNEL = f".units.{CHANNEL.name}"
#: ``package.module:function`` or ``file.py:function``.
MODULE = r"^[^:\s]+:[A-Za-z_][A-Za-z0-9_]*$"


class NamedChannels(Strict):
    """Channels that go together, each kept or removed by itself, by the layers that have them."""

    made_by: Annotated[list[str], Field(min_length=1)] = Field(
        description="Linear layers and convolutions whose outputs they are, and the batch norms "
        "and depthwise convolutions behind these."
    )
    read_by: Annotated[list[str], Field(min_length=1)] = Field(
        description="Linear layers and convolutions that read them, and nothing beside."
    )


class OwnNetwork(Strict):
    """A network of one's own: what makes it, and what of it is what where that is not found."""

    module: Annotated[str, StringConstraints(pattern=MODULE)] = Field(
        description="The function that returns the torch.nn.Module: package.module:function, or "
        "file.py:function with the file's path from the study's folder."
    )
    options: dict[str, Any] = Field(
        {}, description="What the function is called with, besides channels and classes."
    )
    classifier: Annotated[str, StringConstraints(min_length=1)] | None = Field(
        None,
        description="The module that is never pruned; by default the last layer with an output for "
        "each class.",
    )
    prunable: Annotated[list[str], Field(min_length=1)] | None = Field(
        None,
        description="The parameters that may be pruned, by name or pattern (blocks.*.weight); by "
        "default the weights of linear layers, convolutions and attention.",
    )
    channels: Annotated[dict[Name, NamedChannels], Field(min_length=1)] | None = Field(
        None,
        description="Channels that unit: channel may remove, by a name for each group; by default "
        "those that a call of the network shows.",
    )
    weights: Annotated[str, StringConstraints(min_length=1)] | None = Field(
        None,
        description="A safetensors file of dense networks that are not trained again, its path "
        "from the study's folder; with {seed} in it one for each seed, else one for all, of which "
        "a study says nothing about other dense networks.",
    )

    @field_validator("weights")
    @classmethod
    def _plain_path(cls, weights: str | None) -> str | None:
        # Snakemake watches the files, and would put values of its own in place of both.
        if weights and re.search("[{}]|<[a-z][a-z0-9_]*>", weights.replace(SEED, "")):
            raise ValueError(
                "a brace, but for {seed}, or a name in angle brackets would be taken for a "
                "placeholder; make a link with a plainer name"
            )
        return weights

    @field_validator("options")
    @classmethod
    def _plain(cls, options: dict[str, Any]) -> dict[str, Any]:
        if not _is_plain(options):
            raise ValueError("options are numbers, texts, lists and mappings of them")
        return options


def modules(further: Sequence[str]) -> list[str]:
    """Return what jobs import by name: what makes the network, what finds its channels."""
    removes_channels = any(name.endswith(_CHANNEL) for name in further)
    return [_OWN, *[_GROUPS] * removes_channels]


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) for key in value) and all(map(_is_plain, value.values()))
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or type(value) in (str, int, float, bool)


def definition(name: str, own: OwnNetwork, folder: str) -> Definition:
    """Return what jobs are told of a network, with a word for each file that its code is made of.

    ``folder`` is the study's. Raises ``StudyError`` where its code is not there or is none.
    """
    try:
        code = own_code.words(own_code.locate(own.module.rpartition(":")[0], folder))
    except NetworkError as error:
        raise StudyError(f"key 'architectures.{name}.module': {own.module}: {error}") from None
    return Definition(
        own.module,
        folder,
        code,
        own.options,
        own.classifier or "",
        tuple(own.prunable or ()),
        str(Path(folder, Path(own.weights).expanduser())) if own.weights else "",
        {name: one.model_dump() for name, one in (own.channels or {}).items()},
    )


def check(
    where: str, own: OwnNetwork, methods: Methods, quantizers: Sequence[str], recipes: RecipePair
) -> None:
    """Check that what a study does with a network of one's own can be done.

    ``methods`` are by name those that prune it, None of controls. Raises ``ValueError``.
    """
    if quantizers:
        raise ValueError(
            f"methods: {', '.join(quantizers)} of {where} quantizes, and networks of one's own "
            "are not quantized; list it in a panel without them"
        )
    for key in ("training", "finetuning"):
        if getattr(recipes, key).dropout:
            raise ValueError(
                f"recipes: dropout of {key} is for the networks of this package; put nn.Dropout "
                f"into the module of {where}, which draws from each replicate's own stream"
            )
    for name, method in methods.items():
        if method is not None and method.removed is not None:
            raise ValueError(
                f"methods.{name}.removed: shares of layers are of the networks of this package, "
                f"and {where} is one's own; use ratios"
            )
        way = WAY_OF[name] if method is None else (method.schedule, method.retraining)
        early = method is not None and method.at != TRAINED
        if own.weights and (early or way[0] in WHILE_TRAINED or way[1] != FINETUNE):
            raise ValueError(
                f"methods: {name} of {where} goes back into a training, and weights brings dense "
                "networks that were trained elsewhere; use methods that fine-tune, or remove "
                "weights"
            )
