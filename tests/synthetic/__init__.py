"""Studies that the tests make up, so that what is true of them is known.

- ``cells``: which networks a study has, and their sparsities;
- ``of_slopes``: tables made from slopes, where no image is needed;
- ``of_answers``: tables measured from what networks answer, counted by class or image by image;
- ``report``: all tables of a study, as the report reads them;
- ``chain``: a study from files of predictions to its page.

The last two are imported by name, since what they need takes a second to import. Where only true
slopes matter, ``recall_distortion.simulation.study`` makes the tables.
"""

from __future__ import annotations

from tests.synthetic.cells import CONTROL, DENSE, MLP, RECIPE, Place, Tables, places, with_sparsity
from tests.synthetic.of_answers import counted, drawn, pictured, random_study
from tests.synthetic.of_slopes import dense, networks, recall, slopes, with_sums

__all__ = [
    "CONTROL",
    "DENSE",
    "MLP",
    "RECIPE",
    "Place",
    "Tables",
    "counted",
    "dense",
    "drawn",
    "networks",
    "pictured",
    "places",
    "random_study",
    "recall",
    "slopes",
    "with_sparsity",
    "with_sums",
]
