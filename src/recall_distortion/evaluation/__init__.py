"""From networks and a test set to predictions."""

from __future__ import annotations
