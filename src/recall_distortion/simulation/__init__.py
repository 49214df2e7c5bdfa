"""Studies whose true slopes are known: do the intervals cover, do the tests hold their level?

- ``design``: what a simulated study is made of;
- ``arrays``: thousands of such studies at once, as arrays;
- ``tables``: one such study as the tables of a real one (``study``);
- ``estimators``: the package's intervals and tests over arrays of studies;
- ``slopes``, ``coverage``, ``levels``, ``mixed``: what is measured on them;
- ``scenarios``: the list of all settings;
- ``audits``, ``audit_settings``: pairs of models whose recalls are known, audited.

``python -m recall_distortion.simulation OUT.csv`` runs the studies, and docs/simulation.md says
what they show; ``python -m recall_distortion.simulation.audits OUT.csv`` runs the audits.
"""

from __future__ import annotations

from recall_distortion.simulation.design import Cell, Design, sweep, unbalanced
from recall_distortion.simulation.tables import study

__all__ = ["Cell", "Design", "study", "sweep", "unbalanced"]
