"""What the workflow is asked to do: which study, with what overridden, on which data and GPUs."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from recall_distortion.data.preparing import describe
from recall_distortion.study import Study, check_feasible, examine, load, measuring, parse
from recall_distortion.system import devices
from recall_distortion.system.errors import StudyError
from recall_distortion.vocabulary import CONTROL

STUDIES = Path("config/studies")


@dataclass(frozen=True)
class Configuration:
    """A checked study, where torchvision's data lie, how many GPUs may be used, and how shared."""

    study: Study
    study_path: Path
    data_root: str
    gpus: int
    jobs_per_gpu: int


def configure(config: Mapping[str, Any]) -> Configuration:
    """Return the study that a configuration names, checked against its data and networks.

    ``config`` holds ``study``, ``data_root``, ``gpus`` (a number, or ``auto``) and
    ``jobs_per_gpu``; every other key overrides a plain value of the study. Raises ``StudyError`` or
    ``DataError`` before any job starts; the message names the file, the key and what would be
    valid.
    """
    values = dict(config)
    name = values.pop("study", None)
    known = ", ".join(sorted(path.stem for path in STUDIES.glob("*.yaml")))
    if not isinstance(name, str) or f"{name}.yaml" not in {p.name for p in STUDIES.glob("*.yaml")}:
        raise StudyError(f"key 'study': there is no study {name!r} in {STUDIES}; valid: {known}")
    data_root = values.pop("data_root", "data")
    if not isinstance(data_root, str) or not data_root:
        raise StudyError(f"key 'data_root': the folder that holds data sets, not {data_root!r}")
    # Snakemake hands it to its jobs in a shell's command line, as Python writes a text: in single
    # quotes, between which a shell reads nothing, unless there is one in the text itself.
    if "'" in data_root or repr(data_root) != f"'{data_root}'":
        raise StudyError(
            f"key 'data_root': {data_root!r} has a quote, a backslash or a character that cannot "
            "be printed, which a job's shell would misread; make a link to it with a plainer name"
        )
    gpus = values.pop("gpus", "auto")
    if gpus != "auto" and (not isinstance(gpus, int) or isinstance(gpus, bool) or gpus < 0):
        raise StudyError(f"key 'gpus': 'auto' or a number of GPUs from 0 on, not {gpus!r}")
    sharing = values.pop("jobs_per_gpu", 1)
    if not isinstance(sharing, int) or isinstance(sharing, bool) or sharing < 1:
        raise StudyError(f"key 'jobs_per_gpu': a whole number from 1 on, not {sharing!r}")
    path = STUDIES / f"{name}.yaml"
    study = load(path, {key: _plain(key, value) for key, value in values.items()})
    shapes = {key: describe(**dataset.which()) for key, dataset in study.datasets.items()}
    for key, dataset in study.datasets.items():
        # Snakemake puts values of its own in place of both, to watch the data for changes.
        if dataset.path and re.search("[{}]|<[a-z][a-z0-9_]*>", dataset.path):
            raise StudyError(
                f"{path}: key 'datasets.{key}.path': {dataset.path!r} has a brace or a name in "
                "angle brackets, which the workflow would take for a placeholder; make a link to "
                "it with a plainer name"
            )
    check_feasible(study, path, shapes, examine(study, path, shapes))
    if gpus == "auto":
        found = devices.usable()
        for problem in found.problems:
            print(problem, file=sys.stderr, flush=True)
        gpus = len(found.names)
        if found.problems:
            what = f"GPU {', '.join(found.names)}" if gpus else "the CPU"
            print(f"The study is computed on {what}.", file=sys.stderr, flush=True)
    return Configuration(study, path, data_root, gpus, sharing)


def cautions(study: Study) -> list[str]:
    """Return what a study cannot answer, however it turns out, a line each.

    Besides its own limits that is what a folder of results lacks where predictions alone were
    brought.
    """
    # Every job reads the workflow, and none needs this.
    from recall_distortion.inference.statistics.bootstrap import LEAST_REPLICATES

    found: list[str] = []
    if study.seeds == 1:
        found.append("1 seed: there will be no interval, test or verdict; these need two.")
    elif study.seeds < LEAST_REPLICATES:
        found.append(
            f"{study.seeds} seeds: where the test set is too small for the slopes of single "
            f"networks there will be no interval and no verdict; these need {LEAST_REPLICATES}."
        )
    arms = study.controls()
    lacking: dict[str, list[str]] = {}
    for network in study.networks():
        wanted = {arms.get(name, CONTROL) for name in network.methods if study.pruning(name)}
        for arm in sorted(wanted - {*network.methods}):
            lacking.setdefault(arm, []).append(str(network.panel))
    found += [
        f"No control for {', '.join(networks)}: whether a change is pruning's doing, or that of "
        f"{'further training' if arm == CONTROL else 'training again'}, will not be "
        f"answered; the method {arm} would."
        for arm, networks in lacking.items()
    ]
    lacked = measuring.not_brought(study, f"results/{study.folder}")
    for what, (first, *others) in lacked.items():
        more = f" and {len(others)} more" if others else ""
        found.append(
            f"No table of {what} was brought where weights were not ({first}{more}): {what} will "
            "not be answered there. Bring the table or the weights."
        )
    return found


def _plain(key: str, value: Any) -> Any:
    """Return an override as a study file would hold it; Snakemake hands lists over as texts."""
    if isinstance(value, list):
        return [_plain(key, item) for item in value]
    if not isinstance(value, str):
        return value
    try:
        return parse(value)
    except (yaml.YAMLError, ValueError):
        raise StudyError(f"command line: key {key!r}: {value[:60]!r} is not a value") from None
