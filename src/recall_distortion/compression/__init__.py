"""From dense replicates to pruned and fine-tuned ones.

``facts`` and ``ratios`` are what a study reads and import no torch; what computes lies beside them.
"""

from __future__ import annotations
