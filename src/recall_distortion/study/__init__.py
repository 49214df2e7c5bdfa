"""Typed, strict studies: which networks are trained on which data, pruned how, and how often.

One YAML file per study, complete in itself, in ``config/studies/``. ``load`` reads one and raises
``StudyError`` with a message that names the file, the key and what would be valid.
``python -m recall_distortion.study`` prints the JSON schema that ``config/study.schema.json``
holds. Nothing here imports torch, because the Snakefile loads a study at every start.
"""

from __future__ import annotations

from recall_distortion.study.datasets import Dataset
from recall_distortion.study.examined import examine
from recall_distortion.study.models import Network, Study
from recall_distortion.study.parts import METHODS, Jobs, Method, Panel
from recall_distortion.study.quantizers import Quantizer
from recall_distortion.study.rates import Phase
from recall_distortion.study.reading import OVERRIDES, check_feasible, load, parse, schema
from recall_distortion.study.recipes import Recipe, RecipePair

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
    "examine",
    "load",
    "parse",
    "schema",
]
