"""Replicates of a study audited as if they were anyone's models: their predictions lie in files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from recall_distortion.auditing.answers import Answers, TestSet
from recall_distortion.auditing.of_models import Audit, compared
from recall_distortion.auditing.populations import Population
from recall_distortion.system.errors import AuditError
from recall_distortion.tables.predictions import Predictions, read_predictions
from recall_distortion.vocabulary import (
    COMPRESSED,
    CONTROLS,
    DENSE,
    OF_ROUNDS,
    RETRAINED,
    UNCOMPRESSED_TEXT,
    format_ratio,
)


def audit_replicate(
    folder: str | Path,
    *,
    method: str,
    ratios: Sequence[float],
    seed: int | None,
    network: str = "",
    level: float = 0.99,
) -> Audit:
    """Compare a study's dense network of a seed with what a method made of it at some ratios.

    Without a seed, all are compared of which every network is there (``populations``).
    ``folder`` is a study's folder of results, whose predictions must be there. The method's control
    is the control. ``network`` is its data set, architecture and recipe, as ``digits/cnn/small``,
    where the study has several. Candidates are named by method and ratio. Raises ``AuditError``.
    """
    panel = _panel(Path(folder, "predictions"), network)
    parts = list(_parts(panel, seed, {DENSE, *CONTROLS, method}))
    which = "any seed" if seed is None else f"seed {seed}"
    dense = _of(parts, DENSE, UNCOMPRESSED_TEXT, panel, which)
    known = sorted({float(part.ratio) for part in parts if part.method == method})
    if not known:
        there = sorted(path.name for path in panel.iterdir() if path.is_dir())
        raise AuditError(
            f"{panel}: has no method {method!r} of {which}; there are {', '.join(there)}"
        )
    candidates = {}
    for ratio in ratios or known:
        if ratio not in known:
            raise AuditError(
                f"{panel}: has no {method} at {format_ratio(ratio)} of {which}; there are "
                f"{', '.join(map(format_ratio, known))}"
            )
        text = format_ratio(ratio)
        candidates[f"{method} at {text}"] = _of(parts, method, text, panel, which)
    controls = _controls(panel, parts, method, [format_ratio(ratio) for ratio in ratios or known])
    sides = [dense, *candidates.values(), *([controls] if controls else [])]
    own = [{one for part in side for one in part.seeds} for side in sides]
    seeds = sorted(set.intersection(*own)) if seed is None else [seed]
    if not seeds:
        raise AuditError(f"{panel}: no seed has all of these networks")
    images = TestSet(list(dense[0].class_names), dense[0].labels.astype(np.int64))
    return compared(
        images,
        _model(dense, seeds, images),
        {name: _model(side, seeds, images) for name, side in candidates.items()},
        control=_model(controls, seeds, images) if controls else None,
        level=level,
    )


def _panel(folder: Path, network: str) -> Path:
    """Return the folder of a network's predictions; the only one where none is named."""
    if not folder.parent.is_dir():
        raise AuditError(f"{folder.parent}: there is no such folder")
    found = sorted(path.parent for path in folder.glob(f"*/*/*/{DENSE}"))
    if not found:
        raise AuditError(
            f"{folder}: holds no predictions; they are not in git: run the study, or `dvc pull`"
        )
    names = ["/".join(path.parts[-3:]) for path in found]
    if not network and len(found) == 1:
        return found[0]
    if network not in names:
        what = f"has no network {network!r}" if network else "has several networks"
        raise AuditError(f"{folder}: {what}; name one with --network: {', '.join(names)}")
    return found[names.index(network)]


def _parts(panel: Path, seed: int | None, methods: set[str]) -> Iterator[Predictions]:
    """Yield the predictions of some methods, those with a seed, retrained where there are two."""
    for path in sorted(panel.glob("*/*.safetensors")):
        parts, _ = read_predictions(path)
        retrained = {(part.method, part.ratio) for part in parts if part.state == RETRAINED}
        for part in parts:
            last = part.state != COMPRESSED or (part.method, part.ratio) not in retrained
            if part.method in methods and last and (seed is None or seed in part.seeds):
                yield part


def _controls(
    panel: Path, parts: Sequence[Predictions], method: str, ratios: Sequence[str]
) -> list[Predictions]:
    """Return the networks of a method's control, if the study has it and it is not the method."""
    arm = next(part.control for part in parts if part.method == method)
    found = [part for part in parts if part.method == arm != method]
    if arm not in OF_ROUNDS:
        return found
    if len(ratios) > 1:
        raise AuditError(
            f"{panel}: {method} is read against {arm}, which has other networks at each ratio; "
            f"give one --ratio of {', '.join(ratios)}"
        )
    return [part for part in found if part.ratio == ratios[0]]


def _of(
    parts: Sequence[Predictions], method: str, ratio: str, panel: Path, which: str
) -> list[Predictions]:
    found = [part for part in parts if (part.method, part.ratio) == (method, ratio)]
    if not any(part.seeds for part in found):
        raise AuditError(f"{panel}: has no {method} network of {which}")
    return found


def _model(
    parts: Sequence[Predictions], seeds: Sequence[int], images: TestSet
) -> Answers | Population:
    """Return the answers of the networks of some seeds; of one, an ``Answers``."""
    found = {
        str(seed): _answers(part, part.seeds.index(seed))
        for seed in seeds
        for part in parts
        if seed in part.seeds
    }
    return Population.of(found, images) if len(found) > 1 else next(iter(found.values()))


def _answers(part: Predictions, place: int) -> Answers:
    predicted = part.predicted[place].astype(np.int64)
    probability = None if part.loss is None else np.exp(-part.loss[place].astype(float))
    sure = None if part.probability is None else part.probability[place]
    right = predicted == part.labels
    return Answers(predicted, right, list(part.class_names), probability, confidence=sure)
