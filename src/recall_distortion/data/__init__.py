"""Data sets as arrays: any source becomes one file of images, labels and split indices.

>>> from pathlib import Path
>>> from recall_distortion import data
>>> data.describe("digits")
Shape(channels=1, image_size=8, classes=10)
>>> data.prepare(
...     "digits", Path("digits.safetensors"), path=None, data_root="data",
...     holdout=0.1, test_fraction=0.5, seed=0,
... )  # doctest: +SKIP
>>> data.load("digits.safetensors").train_images.shape  # doctest: +SKIP
(899, 1, 8, 8)

Nothing here imports torch before a torchvision set is read. What reads sources is imported when it
is first asked for: who loads a prepared data set does not depend on it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recall_distortion.data.prepared import PreparedData, Shape, load
    from recall_distortion.data.preparing import describe, prepare

__all__ = ["PreparedData", "Shape", "describe", "load", "prepare"]

_MODULES = dict.fromkeys(("PreparedData", "Shape", "load"), "prepared") | dict.fromkeys(
    ("describe", "prepare"), "preparing"
)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
