"""What a study's slopes say about all possible replicates: intervals, tests, mixed models.

- ``intervals``: the paper's t intervals of the mean slope of each cell;
- ``contrasts``: the paper's four questions as t-tests;
- ``model``: the class-level mixed model of a data set and architecture;
- ``mixed_models``: that model fitted by lme4 (through pymer4) and by statsmodels, each engine a
  check on the other;
- ``tables``: the same from files to files.

Everything works on the tables ``recall.csv`` and ``alpha.csv`` wherever they come from. Importing
this package imports neither pymer4 nor rpy2 nor statsmodels: those take seconds, and only the
functions that fit a model need them.
"""

from __future__ import annotations
