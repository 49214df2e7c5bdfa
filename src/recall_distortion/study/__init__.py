"""Typed, strict studies: which networks are trained on which data, pruned how, and how often.

One YAML file per study, complete in itself, in ``config/studies/``. ``load`` reads one and raises
``StudyError`` with a message that names the file, the key and what would be valid.
``python -m recall_distortion.study`` prints the JSON schema that ``config/study.schema.json``
holds. Nothing here imports torch, because the Snakefile loads a study at every start.
"""

from __future__ import annotations

from recall_distortion.study.datasets import Dataset
from recall_distortion.study.models import Network, Study
from recall_distortion.study.parts import (
    METHODS,
    Jobs,
    Method,
    Panel,
    Phase,
    Recipe,
    RecipePair,
)
from recall_distortion.study.quantizers import Quantizer
from recall_distortion.study.reading import OVERRIDES, check_feasible, load, parse, schema

__all__ = [
    "METHODS",
    "OVERRIDES",
    "Dataset",
    "Jobs",
    "Method",
    "Network",
    "Panel",
    "Phase",
    "Quantizer",
    "Recipe",
    "RecipePair",
    "Study",
    "check_feasible",
    "load",
    "parse",
    "schema",
]
