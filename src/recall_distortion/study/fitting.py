"""The jobs of a study that fit mixed models: of which networks."""

from __future__ import annotations

from typing import Any

from recall_distortion.study.models import Study

# Networks whose mixed models one job fits. Starting R takes as long as fitting those of one small
# network; with many networks, jobs of a few each still fill the cores.
NETWORKS_PER_FIT = 4


def fits(study: Study) -> dict[str, dict[str, Any]]:
    """Return what each job that fits mixed models carries, by its name.

    ``networks`` are up to ``NETWORKS_PER_FIT`` panels, as lists, which the name counts.
    The last job, which may have the fewest of them, also has the models ``across`` all.
    """
    networks = [list(network.panel) for network in study.networks()]
    found = {}
    for start in range(0, len(networks), NETWORKS_PER_FIT):
        part = networks[start : start + NETWORKS_PER_FIT]
        end = start + len(part)
        across = end == len(networks)
        found[f"networks-{start + 1}-{end}"] = {"networks": part, "across": across}
    return found
