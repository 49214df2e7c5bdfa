"""How what a study asks for is cut into jobs and named in paths."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from recall_distortion.vocabulary import format_ratio

_T = TypeVar("_T")

# Networks whose mixed models one job fits. Starting R takes as long as fitting those of one small
# network; with many networks, jobs of a few each still fill the cores.
NETWORKS_PER_FIT = 4


def in_order(ratios: list[float]) -> list[float]:
    """Return ratios from small to large, having checked that none is listed twice."""
    if len(set(ratios)) != len(ratios):
        raise ValueError("a ratio is listed twice")
    return sorted(ratios)


def groups(values: list[_T], size: int) -> list[list[_T]]:
    """Return consecutive values in lists of so many each, the last perhaps shorter."""
    return [values[start : start + size] for start in range(0, len(values), size)]


def joined(ratios: list[str]) -> str:
    """Return the name of the ratios that one job carries."""
    return "-".join(ratios)


def fits(networks: list[list[str]]) -> dict[str, dict[str, Any]]:
    """Return what each job that fits mixed models carries, by its name.

    ``networks`` are panels, as lists; a job has up to ``NETWORKS_PER_FIT``, which its name counts.
    The last job, which may have the fewest of them, also has the models ``across`` all.
    """
    found = {}
    for start, part in enumerate(groups(networks, NETWORKS_PER_FIT)):
        first = start * NETWORKS_PER_FIT + 1
        end = first + len(part) - 1
        found[f"networks-{first}-{end}"] = {"networks": part, "across": end == len(networks)}
    return found


def slug(value: Any) -> str:
    """Return an overridden value as a folder's name has it."""
    values = value if isinstance(value, list) else [value]
    parts = [format_ratio(v) if isinstance(v, float) and v > 1 else str(v) for v in values]
    if isinstance(value, bool):
        parts = [str(value).lower()]  # as YAML writes it
    return re.sub(r"[^A-Za-z0-9.,_-]", "_", ",".join(parts))
