"""What a study's slopes say about all possible replicates: intervals, tests, mixed models.

- ``intervals``: the paper's t intervals of the mean slope of each cell;
- ``contrasts``: the paper's four questions as t-tests;
- ``class_level``, ``model_level``, ``across``: mixed models of the classes' balances, of a panel's
  slopes, and of the slopes over networks and data sets;
- ``mixed_models``: those fitted by lme4 (through pymer4) and by statsmodels, each engine a check on
  the other, and ``beside``: the seed-level bootstrap of the same effects;
- ``tables``: the same from files to files.

Everything works on the tables ``recall.csv`` and ``alpha.csv`` wherever they come from. Importing
this package imports neither pymer4 nor rpy2 nor statsmodels: those take seconds, and only the
functions that fit a model need them.
"""

from __future__ import annotations
