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

Nothing here imports torch before a torchvision set is read.
"""

from __future__ import annotations

from recall_distortion.data.images import Shape
from recall_distortion.data.prepared import PreparedData, describe, load, prepare

__all__ = ["PreparedData", "Shape", "describe", "load", "prepare"]
