"""Networks of one's own in a study: how they are named, and what a job is told of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator

from recall_distortion.networks.definition import Definition
from recall_distortion.study.strict import Strict
from recall_distortion.system import own_code
from recall_distortion.system.errors import NetworkError, StudyError

#: What jobs of one's own networks import by name.
MODULES = ("recall_distortion.networks.own",)
_MODULE = r"^[^:\s]+:[A-Za-z_][A-Za-z0-9_]*$"


class OwnNetwork(Strict):
    """A network of one's own: what makes it, and what of it is what where that is not found."""

    module: Annotated[str, StringConstraints(pattern=_MODULE)] = Field(
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
    channels: Literal["auto"] | None = Field(
        "auto",
        description="auto, channels that may be removed are looked for where a method removes "
        "some; null, they are not, and unit: channel is refused.",
    )

    @field_validator("options")
    @classmethod
    def _plain(cls, options: dict[str, Any]) -> dict[str, Any]:
        if not _is_plain(options):
            raise ValueError("options are numbers, texts, lists and mappings of them")
        return options


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
        own.channels is not None,
    )
