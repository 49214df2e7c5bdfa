"""Files of predictions: what networks say of a test set, written, read and checked.

A file holds networks of one panel: ``labels`` [M], and under ``<method>/<ratio>/<state>/``
for K networks ``predicted`` [K, M], the classes' numbers in one byte where there are at most 256,
``loss`` [K, M], -log p of the true class, and ``probability`` [K, M] of the predicted one, both in
half precision. Predictions from elsewhere may come without the last two.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recall_distortion.system import sealed
from recall_distortion.system.errors import TableError
from recall_distortion.vocabulary import (
    ALL_CLASSES,
    CONTROL,
    CONTROLS,
    DENSE,
    ONE,
    ONE_BROUGHT,
    PANEL,
    RETRAINED,
    STATES,
    ZERO,
    Panel,
)

#: The largest finite number in half precision: a loss is never written as infinite.
LARGEST_LOSS = float(np.finfo(np.float16).max)

# What a failure says of where training stopped, and the state that the network did not reach.
_MISSED = {"training": DENSE, "finetuning": RETRAINED}
_EARLIER_STATES = ("pruned", "finetuned")
# What the numbers beside a prediction can be.
_RANGES = {"loss": (0.0, LARGEST_LOSS), "probability": (0.0, 1.0)}


@dataclass(frozen=True, order=True)
class Trained:
    """What trained networks, or fine-tuned them; all empty where nothing says."""

    device: str = ""
    engine: str = ""
    torch: str = ""

    @classmethod
    def of(cls, facts: Mapping[str, str]) -> Trained:
        """Return what a file's facts say: a GPU has a name, a CPU is that and nothing more."""
        device = facts["device"]
        if device != "cpu":
            device = facts.get("gpu", device)
        return cls(device, facts["engine"], facts["torch"])


@dataclass(frozen=True)
class Predictions:
    """K networks' predicted labels [K, M] of one cell and state, with the true labels [M].

    ``trained`` says how many of the networks were made by what. ``loss`` and ``probability`` are
    [K, M] in half precision, or None where nobody wrote them. ``control`` is the reference arm of
    the same training or retraining, in which nothing was removed.
    """

    panel: Panel
    method: str
    ratio: str
    state: str
    seeds: list[int]
    class_names: list[str]
    labels: np.ndarray
    predicted: np.ndarray
    trained: dict[Trained, int]
    loss: np.ndarray | None = None
    probability: np.ndarray | None = None
    control: str = CONTROL

    @property
    def is_one(self) -> bool:
        """Whether the networks are one dense network that was brought, once for each seed."""
        return bool(self.trained) and {made.engine for made in self.trained} == {ONE_BROUGHT}

    def __str__(self) -> str:
        return f"{self.panel}, {self.method} at {self.ratio}"


def index_type(classes: int) -> type[np.integer]:
    """Return the type that predicted classes are stored in."""
    return np.uint8 if classes <= 256 else np.int16


def write_predictions(
    path: str | Path,
    parts: Sequence[Predictions],
    *,
    failures: Sequence[Mapping[str, Any]] = (),
    made: Mapping[str, Any] | None = None,
) -> None:
    """Write the predictions of one panel, all of them or nothing.

    ``failures`` have method, ratio, stage (training or finetuning), seed and reason. ``made`` maps
    ``<method>/<ratio>`` to facts (device, engine, torch and, of a GPU, its name) about what
    ``trained`` (or fine-tuned) the networks and what ``evaluated`` them; predictions from elsewhere
    need not say it. Losses are cut off at 0, which rounding may miss, and ``LARGEST_LOSS``.
    """
    first = parts[0]
    arrays = {"labels": first.labels}
    seeds = {}
    for part in parts:
        key = f"{part.method}/{part.ratio}/{part.state}"
        seeds[key] = list(part.seeds)
        if not part.seeds:
            continue
        arrays[f"{key}/predicted"] = part.predicted.astype(index_type(len(part.class_names)))
        if part.loss is not None:
            arrays[f"{key}/loss"] = np.clip(part.loss, 0, LARGEST_LOSS).astype(np.float16)
        if part.probability is not None:
            arrays[f"{key}/probability"] = part.probability.astype(np.float16)
    metadata = {
        **first.panel._asdict(),
        "class_names": list(first.class_names),
        "seeds": seeds,
        "failures": [dict(failure) for failure in failures],
    }
    if controls := {part.method: part.control for part in parts if part.control != CONTROL}:
        metadata["controls"] = controls
    sealed.write(path, arrays, metadata if made is None else metadata | {"made": dict(made)})


def read_predictions(path: str | Path) -> tuple[list[Predictions], list[dict[str, Any]]]:
    """Return what a file of predictions holds, and the networks that failed.

    Those have the keys of a network (``vocabulary.NETWORK``; the state is the one that was not
    reached), ``failure``, the reason, and device, engine and torch, empty where nothing says them.
    Predictions from elsewhere need not say what made their networks; a file that says it for some
    cells has to say it for all. Raises ``TableError`` naming the file where it is missing, damaged
    or foreign.
    """
    arrays, metadata = sealed.read(path, what="file of predictions")
    if "seeds" in metadata and "recipe" not in metadata:
        raise TableError(f"{path}: an earlier version wrote it (no recipe); {sealed.REMEDY}")
    try:
        _check_names(metadata)
        labels = arrays["labels"]
        found = [
            _part(path, arrays, labels, metadata, key, seeds)
            for key, seeds in metadata["seeds"].items()
        ]
        _check_failures(metadata["failures"], {part.method for part in found})
        failures = [_failed(metadata, failure) for failure in metadata["failures"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TableError(f"{path}: not a file of predictions ({error}); {sealed.REMEDY}") from None
    return found, failures


def read_all(paths: Iterable[str | Path]) -> tuple[list[Predictions], list[Mapping[str, Any]]]:
    """Return what all files of predictions hold; no network may stand in two of them."""
    parts: list[Predictions] = []
    failures: list[Mapping[str, Any]] = []
    files: dict[tuple[Panel, str, str, str, int], str | Path] = {}
    for path in paths:
        found, failed = read_predictions(path)
        parts += found
        failures += failed
        for part in found:
            key = (part.panel, part.method, part.ratio, part.state)
            for seed in part.seeds:
                if (other := files.setdefault((*key, seed), path)) != path:
                    raise TableError(
                        f"{other} and {path} both hold seed {seed} of {part}; one of them, or the "
                        "weights under dense or compressed that it was made of, is another's: "
                        "delete both, and these weights of both, and run the study again"
                    )
    return parts, failures


def check_classes(
    labels: np.ndarray, predicted: np.ndarray, names: Sequence[str], where: str
) -> None:
    """Raise ``TableError`` for an index that is none of the classes or a class without an image.

    ``where`` begins the message.
    """
    classes = len(names)
    for what, values in (("label", labels), ("prediction", predicted)):
        if not np.issubdtype(values.dtype, np.integer):
            raise TableError(f"{where}: a {what} is a class index, not {values.dtype}")
        if values.size and not (values.min() >= 0 and values.max() < classes):
            raise TableError(
                f"{where}: a {what} lies outside 0 to {classes - 1}: "
                f"{values.min()} to {values.max()}"
            )
    absent = np.flatnonzero(np.bincount(labels.astype(np.int64), minlength=classes) == 0)
    if len(absent):
        raise TableError(
            f"{where}: the test set has no image of class {names[absent[0]]!r}, so its recall is "
            "undefined; add images or leave the class out"
        )


def _part(
    path: str | Path,
    arrays: Mapping[str, np.ndarray],
    labels: np.ndarray,
    metadata: Mapping[str, Any],
    key: str,
    seeds: Any,
) -> Predictions:
    """Return the predictions under one key, checked."""
    method, ratio, state = key.split("/")
    if state in _EARLIER_STATES:
        raise TableError(f"{path}: an earlier version wrote it ({key}); {sealed.REMEDY}")
    if method in (ONE, ZERO, ALL_CLASSES):
        raise ValueError(f"a method is called {method!r}, a word of the tables")
    if state not in STATES or not 1 <= float(ratio) < math.inf:
        raise ValueError(f"the key {key!r}")
    if not _are_seeds(seeds):
        raise ValueError(f"the seeds of {key} are not different whole numbers")
    shape = (len(seeds), len(labels))
    # Of no network there is nothing to write.
    none = {
        "predicted": np.zeros(shape, index_type(len(metadata["class_names"]))),
        **dict.fromkeys(_RANGES, np.zeros(shape, np.float16)),
    }
    own = none if not seeds else {"predicted": arrays[f"{key}/predicted"]}
    own |= {name: arrays[f"{key}/{name}"] for name in _RANGES if f"{key}/{name}" in arrays}
    for name, values in own.items():
        if values.shape != shape:
            raise TableError(
                f"{path}: {key} holds {name} of shape {values.shape} for {len(seeds)} seeds and "
                f"{len(labels)} images; {sealed.REMEDY}"
            )
    where = f"{path}: {_panel(metadata)}, {method} at {ratio}"
    check_classes(labels, own["predicted"], metadata["class_names"], where)
    for name, (low, high) in _RANGES.items():
        if name in own:
            _check_range(own[name], low, high, f"{where}: a {name}")
    return Predictions(
        _panel(metadata),
        method,
        ratio,
        state,
        seeds,
        metadata["class_names"],
        labels,
        trained={_trained(metadata, f"{method}/{ratio}"): len(seeds)},
        control=_control(metadata, method),
        **own,
    )


def _check_range(values: np.ndarray, low: float, high: float, what: str) -> None:
    # A network whose logits overflow has no probabilities; its numbers are missing, not wrong.
    if values.dtype.kind != "f":
        raise TableError(f"{what} is a number of half precision, not {values.dtype}")
    if ((values < low) | (values > high)).any():
        raise TableError(f"{what} lies outside {low:g} to {high:g}; {sealed.REMEDY}")


def _failed(metadata: Mapping[str, Any], failure: Mapping[str, Any]) -> dict[str, Any]:
    trained = _trained(metadata, f"{failure['method']}/{failure['ratio']}")
    return {
        **_panel(metadata)._asdict(),
        "method": failure["method"],
        "ratio": failure["ratio"],
        "state": _MISSED[failure["stage"]],
        "seed": failure["seed"],
        "failure": failure["reason"],
        **vars(trained),
    }


def _control(metadata: Mapping[str, Any], method: str) -> str:
    found: str = metadata.get("controls", {}).get(method, CONTROL)
    if found not in CONTROLS:
        raise ValueError(f"the control of {method} is {found!r}; valid: {', '.join(CONTROLS)}")
    return found


def _panel(metadata: Mapping[str, Any]) -> Panel:
    return Panel(*(metadata[key] for key in PANEL))


def _check_names(metadata: Mapping[str, Any]) -> None:
    names = metadata["class_names"]
    texts = [*_panel(metadata), *names]
    if not isinstance(names, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{', '.join(PANEL)} and class_names are not texts")
    if not all(_panel(metadata)):
        raise ValueError(f"one of {', '.join(PANEL)} is empty")
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"class_names holds {repeated[0]!r} twice")


def _are_seeds(values: Any) -> bool:
    if not isinstance(values, list):
        return False
    whole = all(type(value) is int and 0 <= value < 2**63 for value in values)
    return whole and len(set(values)) == len(values)


def _check_failures(failures: list[Mapping[str, Any]], methods: set[str]) -> None:
    texts = ("method", "ratio", "stage", "reason")
    for failure in failures:
        if set(failure) != {*texts, "seed"} or not _are_seeds([failure["seed"]]):
            raise ValueError(f"the failure {failure!r}")
        if not all(isinstance(failure[name], str) for name in texts):
            raise ValueError(f"the failure {failure!r}")
        if failure["stage"] not in _MISSED:
            raise ValueError(f"a failure in {failure['stage']!r}")
        if failure["method"] not in methods or not float(failure["ratio"]) >= 1:
            raise ValueError(f"a failure of {failure['method']!r} at {failure['ratio']!r}")


def _trained(metadata: Mapping[str, Any], cell: str) -> Trained:
    if "made" not in metadata:
        return Trained()
    return Trained.of(metadata["made"][cell]["trained"])
