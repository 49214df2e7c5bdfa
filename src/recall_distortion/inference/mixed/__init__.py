"""Mixed models: designs, the fitters that estimate them, their comparison."""

from __future__ import annotations
