"""What a study may ask of its networks beside their predictions."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from recall_distortion.study.strict import Strict


class Curvature(Strict):
    """How flat the training loss is at each network: its Hessian, its gradients over images."""

    images: int = Field(
        512,
        ge=2,
        description="How many training images the loss is over, the same of all networks of a data "
        "set; all of them where there are fewer.",
    )
    eigenvalues: int = Field(
        10,
        ge=1,
        le=100,
        description="How many leading eigenvalues of the Hessian are sought, by magnitude, in at "
        "most four Hessian-vector products each.",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="What the images are drawn by.")


DeadUnits = Annotated[
    bool,
    Field(
        description="Whether dead and linear units of each network are counted, and training "
        "images that no unit of a layer lets through."
    ),
]
