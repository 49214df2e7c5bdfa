"""What pruning a network does to its weak classes, and whether that is pruning's doing."""

from __future__ import annotations

__version__ = "0.1.0"
