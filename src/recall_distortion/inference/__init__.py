"""What a study's networks say about all possible replicates: intervals, tests, mixed models.

- ``statistics``: intervals, the bootstrap over seeds, t-tests, of arrays;
- ``questions``: what is asked of a study, one question a file; ``estimates`` makes one table of the
  answers, ``questions.summary`` counts what the page states;
- ``mixed``: mixed models, their designs and fitters, each fitter a check on the other;
- ``jobs``: the same from files to files.

Everything works on the tables ``recall.csv`` and ``networks.csv`` wherever they come from.
Importing this package imports neither pymer4 nor rpy2 nor statsmodels: those take seconds, and only
the functions that fit a model need them.
"""

from __future__ import annotations
