"""Measures of networks beside recalls and slopes, each in a file of this folder with its facts.

Each is a column of networks.csv. Its means, its change from the dense networks and its difference
from the control stand in estimates.csv and on the page, whatever it measures. A file whose name
begins with an underscore holds what several of them share.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from recall_distortion.measures.measure import Measure, require_different_names
from recall_distortion.tables.schema import Column

#: Every measure: the ``MEASURE`` of all files here.
MEASURES: list[Measure] = [
    import_module(f"{__name__}.{module.name}").MEASURE
    for module in pkgutil.iter_modules(__path__)
    if not module.name.startswith("_")
]
require_different_names(MEASURES)
#: Their columns of networks.csv, behind those of the schema.
FURTHER: list[Column] = [measure.column for measure in MEASURES]
