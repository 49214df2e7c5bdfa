"""A small valid study, and how tests change, write and load it."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from recall_distortion.study import load
from recall_distortion.system.errors import StudyError

RECIPE = {
    "training": {"phases": [{"epochs": 4, "learning_rate": 0.05}], "weight_decay": 0.0005},
    "finetuning": {"phases": [{"epochs": 2, "learning_rate": 0.05}]},
}
VALID = {
    "description": "A study.",
    "seeds": 3,
    "datasets": {"digits": {"source": "digits"}},
    "recipes": {"tiny": RECIPE},
    "methods": {"mine": {"criterion": "magnitude", "scope": "layer"}},
    "panels": [
        {"dataset": "digits", "architectures": ["mlp"], "methods": ["control", "magnitude", "mine"]}
    ],
    "ratios": [2, 10],
    "count": "prunable",
    "jobs": {"replicates": 2},
}


def changed(key: str, value: object) -> dict:
    """Return the valid study with one value set, by a dotted key; ``...`` removes it."""
    values = copy.deepcopy(VALID)
    *parents, last = [int(part) if part.isdigit() else part for part in key.split(".")]
    place = values
    for part in parents:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return values


def write(folder: Path, values: object, name: str = "mystudy.yaml") -> Path:
    path = folder / name
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values, sort_keys=False))
    return path


def message(path: Path, overrides: dict | None = None) -> str:
    with pytest.raises(StudyError) as caught:
        load(path, overrides)
    text = str(caught.value)
    assert "pydantic" not in text
    assert "Traceback" not in text
    return text
