"""The small convolutional networks in compiled loops on a CPU."""

from __future__ import annotations

from recall_distortion.fast.cpu.networks import faster

__all__ = ["faster"]
