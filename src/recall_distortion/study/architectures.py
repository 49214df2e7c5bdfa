"""How a study names the networks that it trains."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from recall_distortion.networks import plans, sizes
from recall_distortion.system.errors import NetworkError


def _known(name: str) -> str:
    try:
        plans.architecture(name)
    except NetworkError:
        raise ValueError(f"one of {', '.join(plans.KNOWN)}") from None
    return name


#: A network of the package; of some the name says the depth and width, as thin_mlp_30x8.
ArchitectureName = Annotated[
    str,
    AfterValidator(_known),
    WithJsonSchema(
        {
            "type": "string",
            "anyOf": [{"enum": [*plans.ARCHITECTURES]}, {"pattern": sizes.PATTERN}],
        }
    ),
]
