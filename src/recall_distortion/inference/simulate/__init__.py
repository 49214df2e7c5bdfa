"""Studies whose true slopes are known: do the intervals cover, do the tests hold their level?

- ``design``: what a simulated study is made of;
- ``engine``: thousands of such studies at once, as arrays;
- ``tables``: one such study as the tables of a real one (``study``);
- ``estimators``: the package's intervals and tests over arrays of studies;
- ``slopes``, ``coverage``, ``levels``, ``mixed``: what is asked of them, a scenario per setting;
- ``scenarios``: the list of all.

``python -m recall_distortion.inference.simulate OUT.csv`` runs them; docs/simulation.md says what
they show.
"""

from __future__ import annotations

from recall_distortion.inference.simulate.design import Cell, Design, sweep, unbalanced
from recall_distortion.inference.simulate.tables import study

__all__ = ["Cell", "Design", "study", "sweep", "unbalanced"]
