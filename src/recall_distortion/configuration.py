"""What the workflow is asked to do: which study, with what overridden, on which data and GPUs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from recall_distortion.data import describe
from recall_distortion.errors import StudyError
from recall_distortion.study import Study, check_feasible, load

STUDIES = Path("config/studies")


@dataclass(frozen=True)
class Configuration:
    """A checked study, where torchvision's data lie, and how many GPUs may be used."""

    study: Study
    study_path: Path
    data_root: str
    gpus: int


def configure(config: Mapping[str, Any]) -> Configuration:
    """Return the study that a configuration names, checked against its data and networks.

    ``config`` holds ``study``, ``data_root`` and ``gpus`` (a number, or ``auto``); every other key
    overrides a plain value of the study. Raises ``StudyError`` or ``DataError`` before any job
    starts; the message names the file, the key and what would be valid.
    """
    values = dict(config)
    name = values.pop("study", None)
    known = ", ".join(sorted(path.stem for path in STUDIES.glob("*.yaml")))
    if not isinstance(name, str) or f"{name}.yaml" not in {p.name for p in STUDIES.glob("*.yaml")}:
        raise StudyError(f"key 'study': there is no study {name!r} in {STUDIES}; valid: {known}")
    data_root = values.pop("data_root", "data")
    if not isinstance(data_root, str) or not data_root:
        raise StudyError(f"key 'data_root': the folder that holds data sets, not {data_root!r}")
    gpus = values.pop("gpus", "auto")
    if gpus != "auto" and (not isinstance(gpus, int) or isinstance(gpus, bool) or gpus < 0):
        raise StudyError(f"key 'gpus': 'auto' or a number of GPUs, not {gpus!r}")
    path = STUDIES / f"{name}.yaml"
    study = load(path, {key: _plain(key, value) for key, value in values.items()})
    shapes = {
        key: describe(dataset.source, path=dataset.path) for key, dataset in study.datasets.items()
    }
    check_feasible(study, path, shapes)
    return Configuration(study, path, data_root, visible_gpus() if gpus == "auto" else gpus)


def _plain(key: str, value: Any) -> Any:
    """Return an override as a study file would hold it; Snakemake hands lists over as texts."""
    if isinstance(value, list):
        return [_plain(key, item) for item in value]
    if not isinstance(value, str):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        raise StudyError(f"command line: key {key!r}: {value!r} is not a value") from None


def visible_gpus() -> int:
    """Return how many NVIDIA GPUs this machine offers, without loading torch or the driver."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([part for part in visible.split(",") if part.strip() not in ("", "-1")])
    return len(list(Path("/dev").glob("nvidia[0-9]*")))
