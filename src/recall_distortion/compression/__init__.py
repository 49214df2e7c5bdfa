"""From dense replicates to pruned and fine-tuned ones."""

from __future__ import annotations

from recall_distortion.compression.blocks import (
    Compressed,
    compress_block,
    load_compressed,
)

__all__ = ["Compressed", "compress_block", "load_compressed"]
