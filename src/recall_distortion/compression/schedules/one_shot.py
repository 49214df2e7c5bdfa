"""Pruned once, then retrained."""

from __future__ import annotations

from collections.abc import Mapping

from recall_distortion.compression.schedules import Chain, Round


def chains(fractions: Mapping[str, float]) -> list[Chain]:
    """Return one round for each ratio, each from the dense network."""
    return [(Round(fraction, ratio),) for ratio, fraction in fractions.items()]
