"""Predictions whose weights are not here: they were computed elsewhere and brought."""

from __future__ import annotations

from pathlib import Path

from recall_distortion.vocabulary import DENSE


def without_weights(results: Path) -> str | None:
    """Return how many files of predictions in a study's folder lack their weights, in words.

    None where all have them, or there are no predictions either.
    """
    folder = results / "predictions"
    files = sorted(folder.rglob("*.safetensors"))
    lacking = [path for path in files if not _has_weights(results, path.relative_to(folder))]
    if not lacking:
        return None
    return (
        f"{len(lacking)} of {len(files)} files were computed elsewhere: the weights that they are "
        "of are not here"
    )


def _has_weights(results: Path, name: Path) -> bool:
    """Return whether the weights lie here that a file of predictions, by its name, is of."""
    *panel, bundle, block = name.parts
    if not Path(results, DENSE, *panel, block).exists():
        return False
    return bundle == DENSE or any(Path(results, "compressed", *panel, bundle).glob(f"*/{block}"))
