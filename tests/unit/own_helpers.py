"""Networks that ``own_models`` makes, as a study names them."""

from __future__ import annotations

from pathlib import Path

import own_models
import torch

from recall_distortion import networks
from recall_distortion.networks.definition import Definition
from recall_distortion.study import own

MODELS = Path(own_models.__file__)
IMAGE = (8, 8)


def definition(function: str, **values: object) -> Definition:
    """Return what a study says of a network that ``own_models`` makes."""
    said = own.OwnNetwork(module=f"{MODELS.name}:{function}", **values)
    return own.definition(function.lower(), said, str(MODELS.parent))


def built(function: str, classes: int = 4, **values: object) -> torch.nn.Module:
    name = function.lower()
    return networks.build(
        name, channels=1, classes=classes, own=definition(function, **values), image=IMAGE
    )
